"""Each gate lets the right pair through and refuses the wrong one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gag.corpus.language.topics import read_corpus
from gag.corpus.synthesis.gates import GATES, Gates, NearDuplicates, agrees, normalised
from gag.corpus.synthesis.generators import Candidate, Source
from gag.records import Passage

TEXT = "The Plovert pump moves 12 ml a day at minus 31 mV. It is kept at 4 °C in a µm-fine “mesh”."
OTHERS = [Passage(f"o{n}#1", f"o{n}", "The pump moves water a day. It is kept cold in a mesh.") for n in range(9)]
PASSAGE = Passage("d#1", "d", TEXT)
QUOTE = "The Plovert pump moves 12 ml a day at minus 31 mV."
GOOD = Candidate(
    "How much does the Plovert pump move a day?", "12 ml", (Source("d#1", "d", QUOTE),), "numeric", "plain"
)


def gates() -> Gates:
    rows = [PASSAGE, *OTHERS]
    return Gates({p.id: p for p in rows}, read_corpus(rows, {"d": "Plovert"}), 0.8)


def quoted(quote: str) -> tuple[Source, ...]:
    return (Source("d#1", "d", quote),)


def test_a_good_pair_passes_all() -> None:
    chosen = gates()
    assert chosen.check(GOOD) is None
    assert chosen.answerable(GOOD) is None
    assert chosen.judged(GOOD, "It moves 12 ml a day.") is None


def test_a_title_that_was_cut_within_its_brackets_is_no_fault_of_the_question() -> None:
    assert gates().check(replace(GOOD, question="In “Plovert pumps (of …”: how much does the pump move a day?")) is None


@pytest.mark.parametrize(
    ("gate", "wrong"),
    [
        ("form", {"question": "?"}),
        ("form", {"question": "How much does the Plovert pump"}),
        ("form", {"answer": "  "}),
        ("form", {"answer": "…"}),
        ("form", {"answer": "word " * 200}),
        ("form", {"question": "Does the Plovert pump move 12 ml a day?"}),
        ("form", {"answer": "Hobel et al"}),
        ("form", {"question": "How much does the Plovert pump move a day), validation?"}),
        ("form", {"question": "How much does the Plovert pump (a mill move a day?"}),
        ("quote", {"sources": quoted("The Plovert pump moves 13 ml a day.")}),
        ("quote", {"sources": quoted("")}),
        ("self-contained", {"question": "How much does the pump move in this study?"}),
        ("self-contained", {"question": "According to the passage, how much does the Plovert pump move?"}),
        ("self-contained", {"question": "How much does it move a day in the Plovert house?"}),
        ("self-contained", {"question": "How much does this pump from Plovert move, as described above?"}),
        ("self-contained", {"question": "How much did we see the Plovert pump move?"}),
        ("self-contained", {"question": "How much does the pump move a day?"}),
        ("numbers", {"answer": "14 ml"}),
        ("numbers", {"answer": "12 g"}),
        ("numbers", {"answer": "31 mV"}),
    ],
)
def test_a_wrong_pair_is_refused(gate: str, wrong: dict[str, object]) -> None:
    refusal = gates().check(replace(GOOD, **wrong))  # type: ignore[arg-type]
    assert refusal is not None
    assert refusal.gate == gate
    assert gate in GATES and refusal.reason


@pytest.mark.parametrize(
    "quote", ["the  plovert pump moves 12 ml a day", 'kept at 4 °C in a μm-fine "mesh"', "at minus 31 mV. It is"]
)
def test_quotes_are_compared_without_regard_to_type_setting(quote: str) -> None:
    assert gates().check(replace(GOOD, sources=quoted(quote))) is None


def test_units_and_signs_are_read_for_what_they_mean() -> None:
    for answer in ("0.012 l", "−31 mV", "277.15 K"):
        assert gates().check(replace(GOOD, answer=answer)) is None


def test_a_name_tells_a_question_from_those_about_others() -> None:
    refusal = gates().check(replace(GOOD, question="How much water does the cold pump move a day?"))
    assert refusal is not None and "tells this document" in refusal.reason


@pytest.mark.parametrize(
    ("question", "alike"),
    [
        ("How much does the Plovert pump move a day?", True),
        ("How much does the pump Plovert move each day?", True),
        ("How much does the Tarvik pump move a day?", False),
        ("How much does the Plovert pump move in 2 days?", False),
        ("Why is the Plovert pump kept cold?", False),
    ],
)
def test_near_duplicates(question: str, alike: bool) -> None:
    chosen = gates()
    assert chosen.check(GOOD) is None
    refusal = chosen.check(replace(GOOD, question=question, fact="another"))
    assert (refusal is not None and refusal.gate == "duplicate") is alike


def test_what_other_pairs_ask_is_not_asked_again() -> None:
    chosen = gates()
    chosen.remember(GOOD.question, "another fact")
    refusal = chosen.check(GOOD)
    assert refusal is not None and refusal.gate == "duplicate"


def test_wordings_of_one_fact_may_be_alike_but_not_equal() -> None:
    seen = NearDuplicates(0.8, read_corpus([PASSAGE], {}))
    assert seen.add("What is the flow rate of Plovert?", "f") is None
    assert seen.add("State the flow rate of Plovert.", "f") is None
    assert seen.add("what is the  flow rate of Plovert", "f") is not None
    assert seen.add("Name the flow rate of Plovert.", "g") is not None


@pytest.mark.parametrize(
    ("answer", "reply", "same"),
    [
        ("12 ml", "about 12 ml a day", True),
        ("12 ml", "13 ml", False),
        ("0.012 l", "12 ml", True),
        ("the red wheel", "a red wheel", True),
        ("the red wheel", "a blue lamp", False),
        ("grey tin", "The shell is made from grey tin.", True),
    ],
)
def test_when_two_answers_agree(answer: str, reply: str, same: bool) -> None:
    assert agrees(answer, reply) is same


def test_the_second_pass() -> None:
    chosen = gates()
    assert chosen.judged(GOOD, "not stated") is not None
    assert chosen.judged(GOOD, "The text does not say how much.") is not None
    unanswerable = replace(GOOD, kind="unanswerable", sources=quoted(""), answer="The documents do not say.")
    assert chosen.check(unanswerable) is None
    assert chosen.judged(unanswerable, "Not stated.") is None
    assert chosen.judged(unanswerable, "12 ml") is not None


def test_the_second_pass_without_a_model() -> None:
    chosen = gates()
    assert chosen.answerable(replace(GOOD, answer="14 ml")) is not None
    off = replace(GOOD, question="Which famous singer opened the Plovert opera festival in Vienna?")
    refusal = chosen.answerable(off)
    assert refusal is not None and "says nothing of" in refusal.reason


def test_normalised() -> None:
    assert normalised("A “µ”  −x\n’") == normalised('a "μ" -X \'')
