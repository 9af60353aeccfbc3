"""BM25 against its formula, its words, and what it keeps on disk."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from gag.errors import MissingExtra, RunError
from gag.retrieval.lexical import Lexical, words

TEXTS = ["alum is a salt", "salt salt and pepper", "a metal", ""]


def by_hand(word: str, text: list[str], all_texts: list[list[str]]) -> float:
    """Lucene's BM25 of one word: idf times saturated frequency, k1 1.5, b 0.75."""
    holding = sum(word in other for other in all_texts)
    idf = math.log(1 + (len(all_texts) - holding + 0.5) / (holding + 0.5))
    longest = sum(map(len, all_texts)) / len(all_texts)
    frequency = text.count(word)
    return idf * frequency / (frequency + 1.5 * (1 - 0.75 + 0.75 * len(text) / longest))


def test_the_library_does_not_tell_every_step(caplog: pytest.LogCaptureFixture) -> None:
    Lexical.build(TEXTS).scores("salt")
    assert [record for record in caplog.records if record.name == "bm25s"] == []


def test_scores_by_hand() -> None:
    split = [words(text) for text in TEXTS]
    wanted = [by_hand("salt", text, split) + by_hand("alum", text, split) for text in split]
    got = Lexical.build(TEXTS).scores("Salt, ALUM or more?")
    assert got.dtype == np.float32
    assert np.allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize("question", ["", "?!", "nothing of theirs"])
def test_a_question_that_shares_no_word_scores_nothing(question: str) -> None:
    assert Lexical.build(TEXTS).scores(question).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Al-Cu, 4.5 wt%", ["al", "cu", "4", "5", "wt"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("H₂O ﬁne", ["h2o", "fine"]),
        ("東京の塔 Tower", ["東", "京", "の", "塔", "tower"]),
        ("", []),
    ],
)
def test_words(text: str, wanted: list[str]) -> None:
    assert words(text) == wanted


@pytest.mark.parametrize("texts", [TEXTS, ["", "?!"]])
def test_what_is_saved_is_loaded(texts: list[str], tmp_path: Path) -> None:
    made = Lexical.build(texts)
    made.save(tmp_path / "bm25")
    again = Lexical.load(tmp_path / "bm25", len(texts))
    assert np.array_equal(again.scores("a salt"), made.scores("a salt"))
    assert again.size == len(texts)


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    Lexical.build(TEXTS).save(tmp_path / "bm25")
    (tmp_path / "bm25" / "vocab.index.json").write_text("{")
    with pytest.raises(RunError, match="bm25") as caught:
        Lexical.load(tmp_path / "bm25", 4)
    assert "Delete" in caught.value.hint
    with pytest.raises(RunError):
        Lexical.load(tmp_path / "not there", 4)


def test_without_bm25s_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, *rest: object) -> object:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(MissingExtra, match=r"gag\[retrieval\]"):
        Lexical.build(TEXTS)
