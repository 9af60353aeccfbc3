"""Copies: found where most is shared, not where it is not, whatever stands between them."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest

from gag.corpus.cleaning.duplicates import BANDS, bands, near_copies, shingles, similarity, text_digest


def copies(texts: list[str], least: float) -> dict[int, tuple[int, float]]:
    kept = [bands(text) for text in texts]
    assert all(len(one) == 8 * BANDS for one in kept)

    def band(number: int) -> np.ndarray:
        return np.array([int.from_bytes(one[8 * number : 8 * number + 8], "little") for one in kept], dtype=np.uint64)

    return {copy: (first, like) for copy, first, like in near_copies(band, lambda n: texts[n], least)}


def changed(text: str, words: int, seed: int) -> str:
    parts = text.split()
    for place in random.Random(seed).sample(range(len(parts)), words):
        parts[place] = f"other{place}"
    return " ".join(parts)


def test_near_copies_are_found_and_others_not(make: SimpleNamespace) -> None:
    texts = [make.sentences(20, seed) for seed in range(30)]
    near = [changed(texts[seed], 3, seed) for seed in range(10)]
    far = [changed(texts[seed], 60, seed) for seed in range(10, 20)]
    found = copies([*texts, *near, *far], 0.8)
    assert {copy: first for copy, (first, _) in found.items()} == {30 + seed: seed for seed in range(10)}
    assert all(0.8 <= like < 1 for _, like in found.values())


def test_a_chain_ends_at_the_first(make: SimpleNamespace) -> None:
    text = make.sentences(20)
    assert copies([text, text, text + " More.", text], 0.9) == {
        1: (0, 1.0),
        2: (0, similarity(shingles(text), shingles(text + " More."))),
        3: (0, 1.0),
    }


def test_jaccard_and_digest() -> None:
    assert similarity({"a", "b"}, {"b", "c"}) == 1 / 3 and similarity(set(), set()) == 0
    assert shingles("Two words") == {"two words"} and len(shingles("a b c d e f")) == 2
    assert text_digest("A  b.\n") == text_digest("a b") != text_digest("ab")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Keep it at -5 °C", "Keep it at 5 °C"),
        ("Here ΔG < 0", "Here ΔG > 0"),
        ("Written in C", "Written in C++"),
        ("Cl− is there", "Cl is there"),
        ("a dose of 1.5 ml", "a dose of 1:5 ml"),
    ],
)
def test_texts_that_differ_in_a_sign_are_no_copies(one: str, other: str) -> None:
    assert text_digest(one) != text_digest(other) and copies([one, other], 0.8) == {}


def test_kinds_of_dash_and_quote_hide_no_copy() -> None:
    assert text_digest("“Cold” at −5 °C – always") == text_digest('"cold"  at -5 °C - always.')
    assert text_digest("# T\n\n| a |\n|---|") == text_digest("T a")


def test_one_document_and_none() -> None:
    assert copies(["only one"], 0.5) == {}
    assert copies([], 0.5) == {}
