"""Sentences, word classes and verb forms, on plain English."""

from __future__ import annotations

import pytest

from gag.corpus.language.english import lemma_of, noun_phrases, sentences, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rose. It fell again.", ["It rose.", "It fell again."]),
        (
            "See Fig. 3 for P. falciparum, e.g. here. Next one.",
            ["See Fig. 3 for P. falciparum, e.g. here.", "Next one."],
        ),
        ("At 4.5 °C it froze. Why?", ["At 4.5 °C it froze.", "Why?"]),
        ("It ended.Results:They grew.", ["It ended.", "Results:They grew."]),
        ("one line\nanother", ["one line", "another"]),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert [text[s:e] for s, e in sentences(text)] == expected


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("The pump drives the wheel", "D N V D N"),
        ("Vials are stored at 4 °C", "N X V P # N N"),
        ("Results show that it works", "N V W R V"),
        ("a zeta potential of minus 31 mV", "D N N P # # N"),
        ("the driver was used to test the wheel", "D N X V T V D N"),
        ("a receptor called Bexolt", "D N V N"),
        ("the part is no longer made", "D N X A A V"),
        ("the effect is delayed swelling", "D N X N N"),
    ],
)
def test_word_classes(text: str, kinds: str) -> None:
    assert " ".join(w.kind for w in words(text)) == kinds


def test_words_keep_their_places() -> None:
    text = "Kept at −40 °C, “dry”, for 1,340 cycles (IL-6)."
    assert all(text[w.start : w.end] == w.text for w in words(text))
    assert "1,340" in [w.text for w in words(text)]


def test_noun_phrases_leave_determiners_out() -> None:
    tagged = words("The old red pump drives a small wheel")
    assert [" ".join(w.text for w in tagged[s:e]) for s, e in noun_phrases(tagged)] == ["old red pump", "small wheel"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [("carries", ("carry", "s")), ("kept", ("keep", "ed")), ("stopped", ("stop", "ed")), ("quorl", None)],
)
def test_lemmas(form: str, expected: tuple[str, str] | None) -> None:
    assert lemma_of(form) == expected
