"""What a config says of its sizes, also where a model of text and pictures keeps that in a part of its own."""

from __future__ import annotations

import pytest
from transformers import (
    AutoConfig,
    BloomConfig,
    Gemma3Config,
    GPTNeoConfig,
    LlamaConfig,
    MistralConfig,
    MptConfig,
    PreTrainedConfig,
    Qwen3Config,
)

from gag.models.sizes import context_of, layers_of, plain_attention

TEXT = {"num_hidden_layers": 7, "max_position_embeddings": 96, "sliding_window": 16}


def test_a_model_of_text_and_pictures_says_what_its_text_part_says() -> None:
    config = Gemma3Config(text_config=TEXT)
    assert (context_of(config), layers_of(config), plain_attention(config)) == (96, 7, False)


@pytest.mark.parametrize(
    ("config", "plain"),
    [
        (LlamaConfig(), True),
        (Qwen3Config(), True),
        (MistralConfig(sliding_window=None), True),
        (MistralConfig(sliding_window=64), False),
        (AutoConfig.for_model("gpt_neox"), True),
        (GPTNeoConfig(), False),
        (MptConfig(), False),
        (BloomConfig(), True),
    ],
)
def test_whose_layers_all_see_everything(config: PreTrainedConfig, plain: bool) -> None:
    assert plain_attention(config) is plain


def test_a_context_under_another_name() -> None:
    assert context_of(MptConfig(max_seq_len=77)) == 77
    assert context_of(BloomConfig()) is None
