from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn.functional import normalize

from gag.config import RouterConfig
from gag.errors import InputError, RunError
from gag.records import Question, write_jsonl
from gag.routing.encoder import Encoder
from gag.routing.prototypes import (
    bank_key,
    build_bank,
    cached_bank,
    choose_questions,
    general_questions,
    pool_banks,
    question_bank,
    route_of,
)

QUESTIONS = [f"what is the dose of batch {letter}{number}?" for letter in "abcdef" for number in range(5)]


def random_unit(n: int, d: int = 16, seed: int = 0) -> Tensor:
    return normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_the_bank_is_the_normalised_centres_of_k_means() -> None:
    embeddings = random_unit(300)
    bank = build_bank(embeddings, RouterConfig(prototypes=8))
    centres = KMeans(8, n_init=10, random_state=42).fit(embeddings.numpy()).cluster_centers_
    assert bank.dtype == torch.float32
    assert bank.shape == (8, 16)
    assert np.allclose(bank.numpy(), centres / np.linalg.norm(centres, axis=1, keepdims=True), atol=1e-5)


def test_clusters_are_found() -> None:
    corners = torch.eye(16)[:5]
    embeddings = normalize(corners.repeat(40, 1) + 0.05 * random_unit(200), dim=-1)
    similarity = build_bank(embeddings, RouterConfig(prototypes=5)) @ corners.T
    assert (similarity.amax(0) > 0.99).all()


def test_a_bank_is_the_same_bits_every_time_and_depends_on_the_seed() -> None:
    embeddings = random_unit(500)
    first = build_bank(embeddings, RouterConfig(prototypes=8, n_init=1))
    assert torch.equal(first, build_bank(embeddings, RouterConfig(prototypes=8, n_init=1)))
    assert not torch.equal(first, build_bank(embeddings, RouterConfig(prototypes=8, n_init=1, seed=1)))


def test_few_questions_are_each_a_prototype() -> None:
    embeddings = random_unit(6)
    twice = torch.cat([embeddings, embeddings.flip(0)])
    assert torch.allclose(build_bank(twice, RouterConfig(prototypes=32)), embeddings, atol=1e-6)
    assert torch.allclose(build_bank(twice, RouterConfig(prototypes=6)), embeddings, atol=1e-6)
    assert build_bank(twice, RouterConfig(prototypes=5)).shape == (5, 16)
    assert build_bank(embeddings[:1], RouterConfig()).shape == (1, 16)


def test_a_centre_that_points_nowhere_becomes_a_question() -> None:
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    bank = build_bank(opposite, RouterConfig(prototypes=1))
    assert torch.equal(bank, opposite[:1])


def test_no_question_is_refused() -> None:
    with pytest.raises(InputError, match="at least one question"):
        build_bank(torch.empty(0, 4), RouterConfig())


def test_at_most_max_questions_are_chosen_always_the_same_ones_in_their_order() -> None:
    config = RouterConfig(max_questions=10)
    chosen = choose_questions(range(100), config)
    assert len(set(chosen)) == 10
    assert chosen == sorted(chosen) == choose_questions(range(100), config)
    assert chosen != choose_questions(range(100), RouterConfig(max_questions=10, seed=1))
    assert choose_questions(range(10), config) == list(range(10))
    embeddings = random_unit(100)
    assert torch.allclose(build_bank(embeddings, config), embeddings[chosen], atol=1e-6)


def test_only_chosen_questions_are_encoded(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RouterConfig(prototypes=4, max_questions=10)
    whole = build_bank(encoder.encode(QUESTIONS), config)
    encoded: list[str] = []
    plain = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, texts: encoded.extend(texts) or plain(self, texts))
    assert torch.allclose(question_bank(QUESTIONS, encoder, config), whole, atol=1e-5)
    assert len(encoded) == 10


def test_the_cache_saves_encoding(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RouterConfig(prototypes=4, n_init=1)
    bank = cached_bank(QUESTIONS, encoder, config, tmp_path / "prototypes")
    assert [p.name for p in (tmp_path / "prototypes").iterdir()] == [
        f"{bank_key(QUESTIONS, encoder, config).digest}.safetensors"
    ]
    monkeypatch.setattr(Encoder, "encode", lambda *_: pytest.fail("encoded again"))
    assert torch.equal(bank, cached_bank(QUESTIONS, encoder, config, tmp_path / "prototypes"))


def test_a_damaged_cache_file_is_built_again(encoder: Encoder, tmp_path: Path) -> None:
    config = RouterConfig(prototypes=4, n_init=1)
    bank = cached_bank(QUESTIONS, encoder, config, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:-9], b"", whole.replace(file.stem.encode(), b"0" * 64)):
        file.write_bytes(damaged)
        assert torch.equal(bank, cached_bank(QUESTIONS, encoder, config, tmp_path))
        assert file.read_bytes() == whole


@pytest.mark.parametrize("change", ["prototypes", "max_questions", "n_init", "seed", "questions", "encoder", "length"])
def test_every_input_is_in_the_key(change: str, encoder: Encoder) -> None:
    config = RouterConfig()
    before = bank_key(QUESTIONS, encoder, config)
    questions, changed = (
        QUESTIONS,
        Encoder(
            encoder.texts.model, encoder.texts.tokenizer, name="x", fingerprint=encoder.fingerprint, pooling="mean"
        ),
    )
    assert bank_key(questions, changed, config.model_copy(update={"batch_size": 3})).digest == before.digest
    if change == "questions":
        questions = QUESTIONS[:-1]
    elif change == "encoder":
        changed.fingerprint = "other"
    elif change == "length":
        changed.max_length = 12
    else:
        config = config.model_copy(update={change: 7})
    assert bank_key(questions, changed, config).digest != before.digest


def test_a_cache_that_cannot_be_written_says_so(encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunError, match="cannot be written"):
        cached_bank(QUESTIONS, encoder, RouterConfig(prototypes=2, n_init=1), tmp_path / "file" / "prototypes")


def test_general_questions_come_from_the_package_or_from_the_user(tmp_path: Path) -> None:
    shipped = general_questions(RouterConfig(), None)
    assert len(shipped) >= 200
    mine = [Question("1", "who wrote Faust?")]
    write_jsonl(tmp_path / "mine.jsonl", mine)
    assert general_questions(RouterConfig(general_questions="mine.jsonl"), tmp_path) == mine
    with pytest.raises(InputError, match="does not exist"):
        general_questions(RouterConfig(general_questions="none.jsonl"), tmp_path)


def test_pool_banks_are_by_route_general_first(encoder: Encoder) -> None:
    pool = [Question(str(i), text, meta={"route": "doses"}) for i, text in enumerate(QUESTIONS)]
    pool += [Question("g", "who wrote Faust?", domain="general"), Question("h", "and Werther?", domain="general")]
    banks = pool_banks(pool, encoder, RouterConfig(prototypes=4, n_init=1))
    assert {name: len(bank) for name, bank in banks.items()} == {"general": 2, "doses": 4}
    assert list(banks) == ["general", "doses"]
    assert torch.equal(banks["doses"], question_bank(QUESTIONS, encoder, RouterConfig(prototypes=4, n_init=1)))


def test_the_right_route_of_a_question() -> None:
    assert route_of(Question("1", "q", domain="law", meta={"route": "math"})) == "law"
    assert route_of(Question("1", "q", meta={"route": "math"})) == "math"
    for meta in ({}, {"route": 3}, {"route": ""}):
        with pytest.raises(InputError, match="which route is right"):
            route_of(Question("1", "q", meta=meta))
