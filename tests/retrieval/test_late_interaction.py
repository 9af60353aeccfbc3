"""ColBERT's encoder against a forward pass written out here, and a plain encoder's token states."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch.nn.functional import normalize

from gag.config import ModelConfig, ModelsConfig, RetrievalConfig
from gag.errors import ModelError
from gag.models.loading import LoadedModel, load_encoder
from gag.retrieval.colbert import punctuation
from gag.retrieval.late_interaction import TokenEncoder, maxsim, token_encoder
from gag.testing import byte_tokenizer, tiny_causal_lm, tiny_encoder

Load = Callable[..., TokenEncoder]
CLS, SEP, MASK, Q, D = 2, 3, 4, 5, 6
WHAT, IS, ALUM, A, SALT, OF, METAL = range(11, 18)
DOT, COMMA = 7, 8


def by_hand(folder: Path, ids: list[int], attended: list[int]) -> np.ndarray:
    """Unit vectors of a one-layer BERT with two heads and a projection, one operation at a time."""
    w: dict[str, Any] = load_file(folder / "model.safetensors")

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"bert.{name}.weight"].T + w[f"bert.{name}.bias"]

    def layer_norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-12)
        return scaled * w[f"bert.{name}.weight"] + w[f"bert.{name}.bias"]

    x = w["bert.embeddings.word_embeddings.weight"][ids] + w["bert.embeddings.position_embeddings.weight"][: len(ids)]
    x = layer_norm(x + w["bert.embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    layer = "encoder.layer.0."
    query, key, value = (linear(x, f"{layer}attention.self.{name}") for name in ("query", "key", "value"))
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = query[:, head] @ key[:, head].T / math.sqrt(4)
        weights = np.exp(scores - scores.max(1, keepdims=True)) * np.array(attended)
        heads.append(weights / weights.sum(1, keepdims=True) @ value[:, head])
    mixed = linear(np.concatenate(heads, axis=1), f"{layer}attention.output.dense")
    x = layer_norm(x + mixed, f"{layer}attention.output.LayerNorm")
    inner = linear(x, f"{layer}intermediate.dense")
    inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
    x = layer_norm(x + linear(inner, f"{layer}output.dense"), f"{layer}output.LayerNorm")
    projected = x @ w["linear.weight"].T
    return projected / np.linalg.norm(projected, axis=1, keepdims=True)


def test_a_question_by_hand(colbert: Path, load: Load) -> None:
    """[CLS] [Q] what is alum ? [SEP] [MASK]: eight tokens, all eight kept, the mask seen by none."""
    (got,) = load(colbert).queries(["What is alum?"])
    wanted = by_hand(colbert, [CLS, Q, WHAT, IS, ALUM, 10, SEP, MASK], [1, 1, 1, 1, 1, 1, 1, 0])
    assert got.shape == (8, 4) and got.dtype == torch.float32
    assert np.allclose(got.numpy(), wanted, atol=1e-5)


def test_a_passage_by_hand(colbert: Path, load: Load) -> None:
    """[CLS] [D] alum , a salt . [SEP]: punctuation is read, and gives no vector."""
    (got,) = load(colbert).passages(["Alum, a salt."])
    wanted = by_hand(colbert, [CLS, D, ALUM, COMMA, A, SALT, DOT, SEP], [1] * 8)
    assert np.allclose(got.numpy(), wanted[[0, 1, 2, 4, 5, 7]], atol=1e-5)


def test_the_score_by_hand(colbert: Path, load: Load) -> None:
    encoder = load(colbert)
    query = by_hand(colbert, [CLS, Q, WHAT, IS, ALUM, 10, SEP, MASK], [1] * 7 + [0])
    passage = by_hand(colbert, [CLS, D, ALUM, COMMA, A, SALT, DOT, SEP], [1] * 8)[[0, 1, 2, 4, 5, 7]]
    wanted = sum(max(float(q @ d) for d in passage) for q in query)
    got = maxsim(encoder.queries(["What is alum?"])[0], encoder.passages(["Alum, a salt."])[0])
    assert got == pytest.approx(wanted, abs=1e-4)


def test_maxsim_of_three_vectors() -> None:
    query = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    passage = torch.tensor([[0.0, 1.0], [0.8, 0.6], [-1.0, 0.0]])
    assert maxsim(query, passage) == pytest.approx(0.8 + 0.96)
    assert maxsim(query, passage.half()) == pytest.approx(0.8 + 0.96, abs=1e-3)


def test_masks_that_are_attended_to(tmp_path: Path, write_colbert: Callable[..., Path], load: Load) -> None:
    settings = {"query_maxlen": 8, "attend_to_mask_tokens": True}
    folder = write_colbert(tmp_path / "attending", settings=settings)
    (got,) = load(folder).queries(["what is alum"])
    ids = [CLS, Q, WHAT, IS, ALUM, SEP, MASK, MASK]
    assert np.allclose(got.numpy(), by_hand(folder, ids, [1] * 8), atol=1e-5)
    assert not np.allclose(got.numpy(), by_hand(folder, ids, [1] * 6 + [0, 0]), atol=1e-3)


def test_punctuation_may_be_kept(tmp_path: Path, write_colbert: Callable[..., Path], load: Load) -> None:
    folder = write_colbert(tmp_path / "keeping", settings={"mask_punctuation": False})
    assert load(folder).passages(["alum, a salt."])[0].shape == (8, 4)


def test_what_counts_as_punctuation(colbert: Path) -> None:
    """Marks of the vocabulary; those it does not know are not confused with the unknown token."""
    loaded = load_encoder(ModelConfig(source=str(colbert), dtype="float32"))
    assert punctuation(loaded.tokenizer) == {7, 8, 9, 10}


def test_a_long_question_is_not_cut(colbert: Path, load: Load) -> None:
    (got,) = load(colbert).queries(["what is a salt of metal of a metal"])
    ids = [CLS, Q, WHAT, IS, A, SALT, OF, METAL, OF, A, METAL, SEP]
    assert np.allclose(got.numpy(), by_hand(colbert, ids, [1] * len(ids)), atol=1e-5)


def test_a_long_passage_is_cut_into_windows_with_markers_of_their_own(colbert: Path, load: Load) -> None:
    (got,) = load(colbert).passages(["what is alum a salt of metal. a salt"])  # 10 words and marks, 7 to a window
    first = by_hand(colbert, [CLS, D, WHAT, IS, ALUM, A, SALT, SEP], [1] * 8)
    second = by_hand(colbert, [CLS, D, OF, METAL, DOT, A, SALT, SEP], [1] * 8)[[0, 1, 2, 3, 5, 6, 7]]
    assert np.allclose(got.numpy(), np.concatenate([first, second]), atol=1e-5)


def test_the_window_can_be_chosen(colbert: Path, load: Load) -> None:
    text = "what is alum a salt of metal a salt of metal"
    assert len(load(colbert, window=32).passages([text])[0]) == 11 + 3
    with pytest.raises(ModelError, match=r"33 tokens.*reads 32"):
        load(colbert, window=33)


def test_markers_in_a_text_are_plain_text(colbert: Path, load: Load) -> None:
    encoder = load(colbert)
    (got,) = encoder.passages(["[unused1] [MASK] alum"])
    assert len(got) > 3 + 3  # brackets and letters, each unknown; not one token each


@pytest.mark.parametrize("name", ["colbert", "plain"])
def test_a_batch_equals_its_singles_in_input_order(name: str, request: pytest.FixtureRequest, load: Load) -> None:
    encoder = load(request.getfixturevalue(name), batch_size=3)
    texts = [
        "what is alum?",
        "",
        "a salt " * 40,
        "Grüße aus 東京 🧪",
        "\ud800 lone",
        "a",
        "what is alum?",
        "!!!",
        "of " * 9,
    ]
    for encode in (encoder.queries, encoder.passages):
        together = encode(texts)
        for text, vectors in zip(texts, together, strict=True):
            assert torch.allclose(vectors, encode([text])[0], atol=1e-5)
            assert len(vectors) >= 1
            assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-5)
        assert torch.equal(together[0], together[6])
        assert encode([]) == []


def test_without_a_checkpoint_the_sentence_encoders_tokens_are_taken(plain: Path) -> None:
    models = ModelsConfig(encoder=ModelConfig(source=plain.name, dtype="float32"))
    encoder = token_encoder(RetrievalConfig(), models, root=plain.parent)
    assert (encoder.kind, encoder.name, encoder.dimension) == ("encoder", plain.name, 32)
    model, tokenizer = tiny_encoder()
    with torch.no_grad():
        states = model(**tokenizer("what?", return_tensors="pt")).last_hidden_state[0]
    wanted = normalize(states[1:-1], dim=1)
    assert torch.allclose(encoder.passages(["what?"])[0], wanted, atol=1e-5)
    assert torch.allclose(encoder.queries(["what?"])[0], wanted, atol=1e-5)


def test_a_configured_checkpoint_comes_first(colbert: Path, plain: Path) -> None:
    models = ModelsConfig(encoder=ModelConfig(source=str(plain), dtype="float32"))
    config = RetrievalConfig(encoder=ModelConfig(source=str(colbert), dtype="float32"))
    encoder = token_encoder(config, models)
    assert (encoder.kind, encoder.name, encoder.dimension) == ("colbert", str(colbert), 4)


def test_a_passage_longer_than_the_encoder_reads(plain: Path, load: Load) -> None:
    """254 letters to a window: 600 letters are three windows of 200, and nothing is left out."""
    encoder = load(plain)
    text = " ".join("abcdefghij" * 60)
    (got,) = encoder.passages([text])
    assert len(got) == 600
    letters = text.split()
    parts = [encoder.passages([" ".join(letters[start : start + 200])])[0] for start in (0, 200, 400)]
    assert torch.allclose(got, torch.cat(parts), atol=1e-5)


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_a_causal_model_gives_its_last_states(family: str) -> None:
    loaded = LoadedModel(tiny_causal_lm(family), byte_tokenizer(), "lm", None, "f" * 64, Path("nowhere"))
    encoder = TokenEncoder.from_loaded(loaded, RetrievalConfig())
    with torch.no_grad():
        states = loaded.model(torch.tensor([list(b"alum")]), output_hidden_states=True).hidden_states[-1][0]
    assert torch.allclose(encoder.passages(["alum", "a longer one"])[0], normalize(states, dim=1), atol=1e-5)
    assert encoder.passages([""])[0].shape == (1, 32)


def test_the_fingerprint_names_all_that_decides_the_vectors(
    tmp_path: Path, colbert: Path, write_colbert: Callable[..., Path], load: Load
) -> None:
    same = write_colbert(tmp_path / "same")
    fuller = write_colbert(tmp_path / "fuller", settings={"query_maxlen": 16})
    other = write_colbert(tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    save_file({**tensors, "linear.weight": tensors["linear.weight"] * 2}, other / "model.safetensors")
    found = [load(folder).fingerprint for folder in (colbert, same, fuller, other)]
    found.append(load(colbert, window=9).fingerprint)
    assert found[0] == found[1]
    assert len(set(found)) == 4
    assert load(colbert, batch_size=7).fingerprint == found[0]


def test_a_checkpoint_without_settings_has_colbertv2s(colbert: Path, load: Load) -> None:
    (colbert / "artifact.metadata").unlink()
    assert load(colbert).queries(["alum"])[0].shape == (32, 4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('{"query_maxlen": "32"}', "query_maxlen cannot be '32'"),
        ('{"query_maxlen": true}', "query_maxlen cannot be True"),
        ('{"doc_maxlen": 3}', "doc_maxlen cannot be 3"),
        ('{"doc_token_id": "[D]"}', r"lacks the token \[D\]"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: str, said: str, colbert: Path, load: Load) -> None:
    (colbert / "artifact.metadata").write_text(settings)
    with pytest.raises(ModelError, match=said):
        load(colbert)


def test_a_checkpoint_without_its_projection_is_refused(
    tmp_path: Path, write_colbert: Callable[..., Path], load: Load
) -> None:
    with pytest.raises(ModelError, match=r"no linear\.weight"):
        load(write_colbert(tmp_path / "half", projected=False))


def test_a_projection_of_another_width_is_refused(colbert: Path, load: Load) -> None:
    tensors = load_file(colbert / "model.safetensors")
    save_file({**tensors, "linear.weight": np.ones((4, 9), dtype=np.float32)}, colbert / "model.safetensors")
    with pytest.raises(ModelError, match=r"\[4, 9\], not \[d, 8\]"):
        load(colbert)


def test_pickled_weights_are_refused(colbert: Path, load: Load) -> None:
    (colbert / "model.safetensors").unlink()
    torch.save({"linear.weight": torch.ones(4, 8)}, colbert / "pytorch_model.bin")
    with pytest.raises(ModelError):
        load(colbert)


def test_values_that_are_not_numbers_are_refused(plain: Path) -> None:
    loaded = load_encoder(ModelConfig(source=str(plain), dtype="float32"))
    encoder = TokenEncoder.from_loaded(loaded, RetrievalConfig())
    with torch.no_grad():
        next(loaded.model.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="not numbers"):
        encoder.queries(["a"])
