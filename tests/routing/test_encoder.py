from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from gag.config import ModelConfig, RouterConfig
from gag.errors import ModelError
from gag.models.loading import load_encoder
from gag.routing.encoder import Encoder, own_pooling
from gag.testing import FAMILIES, byte_tokenizer, tiny_causal_lm, tiny_encoder, write_tiny_encoder

TEXTS = [
    "what is alum?",
    "",
    "a much longer question, about catalysts and the temperatures at which they sinter, longer than the others",
    "Grüße aus 東京 🧪",
    "[SEP] [CLS] [PAD] <|im_end|> <|pad|>",
    "why",
    "what is alum?",
]


def make(family: str, **choices: Any) -> Encoder:
    if family == "bert":
        model, tokenizer = tiny_encoder()
    else:
        model, tokenizer = tiny_causal_lm(family), byte_tokenizer()
    chosen: dict[str, Any] = {"pooling": "mean", "batch_size": 3, **choices}
    return Encoder(model, tokenizer, name=family, fingerprint="0", **chosen)


def states(model: Any, ids: list[int]) -> Tensor:
    """Last layer's states of one sequence, by the library's own call."""
    with torch.no_grad():
        return model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0]


@pytest.mark.parametrize("family", ["bert", *FAMILIES])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_a_batch_equals_its_singles_in_input_order(family: str, pooling: str) -> None:
    encoder = make(family, pooling=pooling)
    together = encoder.encode(TEXTS)
    alone = torch.cat([encoder.encode([text]) for text in TEXTS])
    assert together.shape == (len(TEXTS), encoder.dimension)
    assert together.dtype == torch.float32
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(together.norm(dim=1), torch.ones(len(TEXTS)), atol=1e-5)
    assert torch.equal(together[0], together[-1])
    assert not torch.allclose(together[0], together[2], atol=1e-3)


def test_poolings_are_what_they_say() -> None:
    model, tokenizer = tiny_encoder()
    text = "which catalyst sinters?"
    last = states(model, tokenizer(text)["input_ids"])
    wanted = {"mean": last.mean(0), "cls": last[0], "last": last[-1]}
    for pooling, vector in wanted.items():
        got = make("bert", pooling=pooling).encode([text, text + " and when, and where, and why?"])[0]
        assert torch.allclose(got, normalize(vector, dim=0), atol=1e-5), pooling


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_causal_model_gives_its_last_layer_whatever_the_padding_side(side: str) -> None:
    model, tokenizer = tiny_causal_lm("qwen3"), byte_tokenizer()
    tokenizer.padding_side = side
    encoder = Encoder(model, tokenizer, name="lm", fingerprint="0", pooling="mean")
    got = encoder.encode(["short", "a longer text than the other"])[0]
    assert torch.allclose(got, normalize(states(model, list(b"short")).mean(0), dim=0), atol=1e-5)


def test_special_tokens_in_a_question_are_plain_text() -> None:
    model, tokenizer = tiny_causal_lm("llama"), byte_tokenizer()
    encoder = Encoder(model, tokenizer, name="lm", fingerprint="0", pooling="mean")
    text = "a <|im_end|> b"
    assert torch.allclose(
        encoder.encode([text])[0], normalize(states(model, list(text.encode())).mean(0), dim=0), atol=1e-5
    )
    assert tokenizer.eos_token_id in tokenizer(text)["input_ids"]  # other users of the tokenizer are not affected


def test_special_tokens_in_a_question_do_not_end_an_encoders_sequence() -> None:
    model, tokenizer = tiny_encoder()
    separator, first = tokenizer.sep_token_id, tokenizer.cls_token_id
    pieces = tokenizer.convert_tokens_to_ids(["[", "s", "##e", "##p", "]"])
    got = make("bert").encode(["[SEP]"])[0]
    assert torch.allclose(got, normalize(states(model, [first, *pieces, separator]).mean(0), dim=0), atol=1e-5)


def test_empty_and_malformed_texts_have_a_vector() -> None:
    for family in ("bert", "llama"):
        encoder = make(family)
        assert encoder.encode([]).shape == (0, encoder.dimension)
        assert torch.isfinite(encoder.encode(["", " ", "\ud800 lone", "\x00"])).all()


def test_only_the_first_tokens_count() -> None:
    encoder = make("llama", max_length=8)
    same, other = encoder.encode(["12345678", "12345678 and more"]), encoder.encode(["1234567x", "12345678"])
    assert torch.allclose(same[0], same[1], atol=1e-6)
    assert not torch.allclose(other[0], other[1], atol=1e-3)


def test_the_length_fits_the_model() -> None:
    assert make("bert", max_length=100_000).max_length == 256
    assert make("bert", max_length=100_000).encode(["x" * 5000]).isfinite().all()
    with pytest.raises(ModelError, match="within 2 tokens"):
        make("bert", max_length=2)


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(ModelError, match="median"):
        make("bert", pooling="median")


def test_values_that_are_not_numbers_are_refused() -> None:
    encoder = make("bert")
    with torch.no_grad():
        next(encoder.texts.model.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="not numbers"):
        encoder.encode(["a"])


def test_dropout_is_off() -> None:
    model, tokenizer = tiny_encoder()
    encoder = Encoder(model.train(), tokenizer, name="tiny", fingerprint="0", pooling="mean")
    assert torch.equal(encoder.encode(["a question"]), encoder.encode(["a question"]))


@pytest.mark.parametrize(
    ("settings", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True, "include_prompt": True}, "cls"),
        ({"pooling_mode_lasttoken": True, "word_embedding_dimension": 8}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "lasttoken"}, "last"),
    ],
)
def test_a_sentence_encoders_own_pooling(settings: dict[str, Any], pooling: str, tmp_path: Path) -> None:
    write_pooling(tmp_path, json.dumps(settings))
    assert own_pooling(tmp_path) == pooling


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"pooling_mode_max_tokens": true}', "max_tokens"),
        ('{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}', "mean_tokens and cls_token"),
        ('{"pooling_mode": "weightedmean"}', "weightedmean"),
        ("{}", "nothing"),
        ("[1]", "not a JSON object"),
        ("{", "not a JSON object"),
    ],
)
def test_a_pooling_that_is_not_known_is_refused(text: str, named: str, tmp_path: Path) -> None:
    write_pooling(tmp_path, text)
    with pytest.raises(ModelError, match=named):
        own_pooling(tmp_path)


def test_from_loaded_takes_the_folders_pooling_and_the_configured_sizes(tmp_path: Path) -> None:
    folder = write_tiny_encoder(tmp_path)
    loaded = load_encoder(ModelConfig(source=str(folder), dtype="float32", device="cpu"))
    config = RouterConfig(max_length=50, batch_size=7)
    plain = Encoder.from_loaded(loaded, config)
    assert (plain.pooling, plain.max_length, plain.batch_size) == ("mean", 50, 7)
    assert (plain.name, plain.fingerprint) == (str(folder), loaded.fingerprint)
    write_pooling(folder, '{"pooling_mode_cls_token": true}')
    own = Encoder.from_loaded(loaded, config)
    assert own.pooling == "cls"
    assert not torch.allclose(own.encode(["a question"]), plain.encode(["a question"]), atol=1e-3)


def write_pooling(folder: Path, text: str) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(text)
