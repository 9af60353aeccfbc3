"""Sentence-vector similarity on a tiny encoder, and what a missing encoder says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gag.config import ModelConfig, RouterConfig
from gag.errors import InputError, ModelError
from gag.evaluation.similarity import Similarity, load_bertscore, load_similarity
from gag.models.loading import load_encoder
from gag.routing.encoder import Encoder
from gag.testing import write_tiny_encoder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    folder = write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")
    return ModelConfig(source=str(folder), dtype="float32", device="cpu")


def test_the_cosine_of_the_encoders_vectors_the_best_reference_counts(config: ModelConfig) -> None:
    encoder = Encoder.from_loaded(load_encoder(config), RouterConfig())
    said, first, second = encoder.encode(["a red fox", "blue", "the red fox"])
    judge = Similarity(encoder)
    expected = [max(float(said @ first), float(said @ second)), float(said @ first)]
    assert judge(["a red fox", "a red fox"], [["blue", "the red fox"], ["blue"]]) == pytest.approx(expected, abs=1e-5)
    assert expected[0] > expected[1]
    assert judge(["same", "日本語 العربية é"], [["same"], ["日本語 العربية é"]]) == pytest.approx([1.0, 1.0])
    assert judge(["", "a", " "], [["a"], ["", "a"], [""]]) == pytest.approx([0.0, 1.0, 0.0])
    assert judge([], []) == []
    assert judge.name == config.source


def test_what_cannot_be_compared_is_refused(config: ModelConfig) -> None:
    judge = load_similarity(config)
    assert judge.encoder.max_length == 256
    with pytest.raises(InputError, match="Text 1 has no reference"):
        judge(["a", "b"], [["a"], []])
    with pytest.raises(InputError, match="2 texts came with 1"):
        judge(["a", "b"], [["a"]])
    with pytest.raises(TypeError, match="sequences of texts"):
        judge(["a"], ["a"])


def test_bertscore_from_a_config_fits_the_encoders_positions(config: ModelConfig) -> None:
    judge = load_bertscore(config, layer=1)  # 256 positions, of which two are special tokens
    assert judge.f1(["a red fox " * 200], [["a red fox"]])[0] > 0


def test_a_missing_encoder_is_named_with_its_metric(tmp_path: Path) -> None:
    wanted = ModelConfig(source=str(tmp_path / "nowhere"))
    for metric, load in (
        ("sts", lambda: load_similarity(wanted)),
        ("bertscore", lambda: load_bertscore(wanted, layer=8)),
    ):
        with pytest.raises(ModelError, match=f"The metric {metric} needs the encoder .*nowhere") as caught:
            load()
        assert f"leave {metric} out" in caught.value.hint
