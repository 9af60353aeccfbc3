"""The public fakes behave as the real models they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from gag import testing

TOKENIZER = testing.byte_tokenizer()


def test_there_are_the_six_families() -> None:
    assert testing.FAMILIES == ("llama", "qwen2", "qwen3", "gemma3", "mistral", "gpt_neox")


@pytest.mark.parametrize("family", testing.FAMILIES)
def test_a_tiny_model_generates_and_takes_embeddings(family: str) -> None:
    model = testing.tiny_causal_lm(family)
    assert model.config.model_type == {"gemma3": "gemma3_text"}.get(family, family)
    assert model.dtype == torch.float32 and not model.training
    ids = torch.tensor([list(b"What is a catalyst?")])
    with torch.no_grad():
        out = model(input_ids=ids, output_hidden_states=True)
        same = model(inputs_embeds=model.get_input_embeddings()(ids))
    assert out.logits.shape == (1, ids.shape[1], testing.VOCABULARY)
    assert len(out.hidden_states) == 4 and out.hidden_states[-1].shape[-1] == 32
    torch.testing.assert_close(out.logits, same.logits)
    assert out.logits.std() > 0.1
    generated = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False)
    assert generated.shape[1] <= ids.shape[1] + 4


@pytest.mark.parametrize("family", testing.FAMILIES)
def test_ids_of_ends_and_padding_are_the_tokenizers(family: str) -> None:
    model = testing.tiny_causal_lm(family)
    for config in (model.config, model.generation_config):
        assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (257, 259, 256)
    assert TOKENIZER.eos_token_id == 259 and TOKENIZER.pad_token_id == 256
    assert len(TOKENIZER) == testing.VOCABULARY == model.get_input_embeddings().num_embeddings


def test_grouped_query_attention_and_sliding_windows() -> None:
    for family in testing.FAMILIES:
        config = testing.tiny_causal_lm(family, sliding_window=8).config
        if family != "gpt_neox":
            assert config.num_key_value_heads < config.num_attention_heads
        assert (getattr(config, "sliding_window", None) == 8) == (family in ("mistral", "gemma3"))
    assert set(testing.tiny_causal_lm("gemma3").config.layer_types) == {"sliding_attention", "full_attention"}


@pytest.mark.parametrize("family", ["mistral", "gemma3"])
def test_a_short_window_changes_a_long_text(family: str) -> None:
    ids = torch.tensor([list(b"a text longer than the window")])
    with torch.no_grad():
        wide, narrow = (testing.tiny_causal_lm(family, sliding_window=w)(ids).logits for w in (512, 4))
    assert not torch.allclose(wide[:, -1], narrow[:, -1], atol=1e-3)


def test_the_seed_decides_the_weights_and_nothing_else_changes() -> None:
    state = torch.random.get_rng_state()
    first, again, other = (testing.tiny_causal_lm(seed=seed).get_input_embeddings().weight for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_sizes_can_be_chosen_and_a_wrong_one_is_refused() -> None:
    model = testing.tiny_causal_lm("qwen3", hidden_size=64, layers=2, max_positions=128)
    assert (model.config.hidden_size, model.config.num_hidden_layers) == (64, 2)
    assert model.config.max_position_embeddings == 128
    with pytest.raises(ValueError, match="multiple"):
        testing.tiny_causal_lm(hidden_size=33)


@given(st.text())
def test_every_text_survives_the_byte_tokenizer(text: str) -> None:
    data = text.encode("utf-8", errors="replace")
    ids = TOKENIZER(data.decode(), add_special_tokens=True, split_special_tokens=True).input_ids
    assert ids == list(data)
    assert TOKENIZER.decode(ids) == data.decode()


def test_added_tokens_are_special_except_think() -> None:
    ids = TOKENIZER("<|im_start|><think><|im_end|>", add_special_tokens=False).input_ids
    assert ids == [testing.IM_START_ID, testing.THINK_ID, testing.IM_END_ID]
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == "<think>"
    assert set(TOKENIZER.all_special_ids) == {256, 257, 258, 259}


def test_the_chat_template_knows_system_messages() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    text = TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    assert testing.byte_tokenizer(chat_template=False).chat_template is None


@pytest.mark.parametrize("family", testing.FAMILIES)
def test_a_written_model_loads_with_the_auto_classes(family: str, tmp_path: Path) -> None:
    folder = testing.write_tiny_model(tmp_path / "model", family, seed=3)
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("Ünder <think> 水", return_tensors="pt").input_ids
    assert ids.tolist() == TOKENIZER("Ünder <think> 水", return_tensors="pt").input_ids.tolist()
    assert tokenizer.chat_template == testing.CHAT_TEMPLATE and tokenizer.padding_side == "left"
    assert model.generation_config.eos_token_id == 259 and type(model) is type(testing.tiny_causal_lm(family))
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, testing.tiny_causal_lm(family, seed=3)(ids).logits)


def test_the_encoder_reads_texts_and_loads_from_a_folder(tmp_path: Path) -> None:
    model, tokenizer = testing.tiny_encoder()
    batch = tokenizer(["A catalyst, 5 nm.", "Dose"], padding=True, return_tensors="pt")
    assert tokenizer.unk_token_id not in batch.input_ids
    assert batch.input_ids[0, 0] == tokenizer.cls_token_id and batch.attention_mask[1].sum() == 6
    folder = testing.write_tiny_encoder(tmp_path / "encoder")
    loaded = AutoModel.from_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder)("Dose").input_ids == tokenizer("Dose").input_ids
    with torch.no_grad():
        states = model(**batch).last_hidden_state
        torch.testing.assert_close(loaded(**batch).last_hidden_state, states)
    assert states.shape[-1] == 32 and not torch.allclose(states[0, 0], states[1, 0], atol=1e-2)
