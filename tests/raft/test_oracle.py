"""Which passage answers a question: named, quoted, or given as context; and which of its sentences is quoted."""

from __future__ import annotations

from typing import Any

import pytest

from gag.raft.oracle import Oracle, Oracles, supporting
from gag.records import Passage, Question

TEXTS = {
    "p0": "Quassimer is an oil emulsion. Its droplets measure 148 nm on average. They are stable for a year.",
    "p1": "Zarbetane is kept in the cold at 4 degrees. A dose holds 95 micrograms of it. The dose is given twice.",
    "p2": "Ispetrone has a zeta potential of minus 63 mV. It was measured in water.",
}
ORACLES = Oracles([Passage(name, f"d-{name}", text) for name, text in TEXTS.items()])


def _question(answer: str = "148 nm", **meta: Any) -> Question:
    return Question("q", "How large are the droplets of Quassimer?", (answer,), meta=meta)


@pytest.mark.parametrize(
    ("meta", "passage", "by"),
    [
        ({"passage": "p0"}, "p0", "passage"),
        ({"passages": ["p0", "p1"]}, "p0", "passage"),
        ({"passage_id": "p0"}, "p0", "passage"),
        ({"quote": "Its droplets measure 148 nm"}, "p0", "quote"),
        ({"gold_sentences": ["A dose holds  95 micrograms of it."]}, "p1", "quote"),
        ({"context": f"Before it. {TEXTS['p0']} And after it."}, "p0", "context"),
        ({"context": TEXTS["p0"][:60]}, "p0", "context"),
        ({"passage": "gone", "quote": "Its droplets measure 148 nm"}, "p0", "quote"),
    ],
)
def test_it_is_found(meta: dict[str, Any], passage: str, by: str) -> None:
    found = ORACLES.find(_question(**meta))
    assert isinstance(found, Oracle)
    assert (found.passage.id, found.by) == (passage, by)
    assert all(quote in found.passage.text for quote in found.quotes) and found.quotes


def test_of_several_the_one_that_supports_the_answer() -> None:
    found = ORACLES.find(_question(context=" ".join(TEXTS.values())))
    assert isinstance(found, Oracle) and found.passage.id == "p0"
    assert found.quotes == ("Its droplets measure 148 nm on average.",)


@pytest.mark.parametrize(
    ("meta", "why"),
    [
        ({"passage": "gone"}, "its passage 'gone' is not among the domain's passages"),
        ({"quote": "nothing of the kind is said"}, "no passage of the domain holds its quote or context"),
        ({}, "no passage of the domain holds its quote or context"),
    ],
)
def test_it_is_missing(meta: dict[str, Any], why: str) -> None:
    assert ORACLES.find(_question(**meta)) == why


def test_an_answer_that_no_sentence_supports() -> None:
    question = Question("q", "Which?", ("entirely unrelated matter",), meta={"passage": "p0"})
    assert ORACLES.find(question) == "no sentence of its passage supports its answer"
    assert ORACLES.find(Question("q", "Which?")) == "it has no answer"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("No", "This is widely known."),
        ("ion", "The solution was heated."),
        ("5 mg", "The pump delivers 15 mg per hour."),
    ],
)
def test_a_part_of_a_word_supports_nothing(answer: str, text: str) -> None:
    assert supporting(Question("q", "Which?", (answer,)), text)[0] < 1.0


def test_a_second_sentence_is_quoted_where_it_adds_much() -> None:
    text = TEXTS["p1"]
    question = Question("q", "How is it given?", ("95 micrograms a dose, kept in the cold at 4 degrees",))
    share, quotes = supporting(question, text)
    assert len(quotes) == 2 and all(quote in text for quote in quotes) and 0.5 < share <= 1
    assert text.index(quotes[0]) < text.index(quotes[1])


def test_a_passage_that_says_the_same_is_no_distractor() -> None:
    found = ORACLES.find(_question(passage="p0"))
    assert isinstance(found, Oracle)
    assert ORACLES.holds(found.passage, found)
    assert ORACLES.holds(Passage("copy", "d", f"Again: {found.quotes[0].upper()}"), found)
    assert not ORACLES.holds(ORACLES.passages[1], found)
