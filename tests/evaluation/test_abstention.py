"""Answers that say they do not know, and those that only sound so."""

from __future__ import annotations

import pytest

from gag.evaluation.abstention import PATTERNS, abstained, abstained_rightly

ABSTAINING = [
    "I don’t know.",
    "i dont know",
    "I'm sorry, I do not know the answer to that.",
    "Unfortunately, there is no information available about this.",
    "I am not aware of any such thing.",
    "As an AI language model, I cannot provide that.",
    "**Unknown**",
    "I'm not sure. Could you give more context?",
    "I don't have enough information to determine the year, but I can help with something else.",
    "I cannot answer this question based on the given context.",
    "The provided context does not contain it.",
    "There is no mention of it in the text.",
    "",
    "  ！",
    "...",
]
ANSWERING = [
    "Paris",
    "The cause is unknown.",
    "It is caused by an unknown virus.",
    "I'm not sure, but I think it is Paris.",
    "I am not sure. However, it is probably Paris.",
    "There is no evidence that aspirin helps.",
    "The patient could not be identified.",
    "There is no cure.",
    "The exact cause of the syndrome is not known, but it is thought to be genetic.",
    "No",
    "None",
    "He did not know her name.",
    "It is Paris. I don't know more about it.",
    "我不知道",  # the patterns are English
    "a" * 100_000,
]


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.example)
def test_every_pattern_has_an_example_that_only_it_or_its_like_catches(pattern: object) -> None:
    assert abstained(pattern.example) == 1.0  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ABSTAINING)
def test_abstaining(text: str) -> None:
    assert abstained(text) == 1.0
    assert (abstained_rightly(text, []), abstained_rightly(text, ["Paris"])) == (1.0, 0.0)


@pytest.mark.parametrize("text", ANSWERING)
def test_answering(text: str) -> None:
    assert abstained(text) == 0.0
    assert (abstained_rightly(text, []), abstained_rightly(text, ["Paris"])) == (0.0, 1.0)
