"""Quotes between marks: written, read back, and looked for in the passages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gag.prompts import Untrusted
from gag.raft.citation import ANSWER, BEGIN, END, MARKS, REASON, cite, cited_prompt, find_quote, quoting, read_written
from gag.raft.citation import written as as_written
from gag.records import Citation, Passage

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).map(str.strip).filter(bool)


@pytest.mark.parametrize(
    ("text", "reason", "quotes", "answer"),
    [
        (f"{REASON} It says {BEGIN} 5 nm {END}.\n{ANSWER} 5 nm", f"It says {BEGIN} 5 nm {END}.", ("5 nm",), "5 nm"),
        (f"{ANSWER} 5 nm", "", (), "5 nm"),
        ("5 nm, I think", "", (), "5 nm, I think"),
        (f"{REASON} {BEGIN}a{END}, {BEGIN}b{END} {ANSWER} c\nd", f"{BEGIN}a{END}, {BEGIN}b{END}", ("a", "b"), "c d"),
        (f"{REASON} {BEGIN} no end\n{ANSWER} c", f"{BEGIN} no end", ("no end",), "c"),
        (f"{REASON} {BEGIN} it was cut", "", ("it was cut",), ""),
        (f"{REASON} {BEGIN}a {ANSWER} b{END} {ANSWER} c", f"{BEGIN}a {ANSWER} b{END}", (f"a {ANSWER} b",), "c"),
        ("", "", (), ""),
    ],
)
def test_a_text_is_taken_apart(text: str, reason: str, quotes: tuple[str, ...], answer: str) -> None:
    read = read_written(text)
    assert (read.quotes, read.answer) == (quotes, answer)
    assert read.reason == reason


@given(st.lists(TEXT, min_size=1, max_size=3), TEXT)
def test_what_is_written_is_read_back(quotes: list[str], answer: str) -> None:
    read = read_written(as_written(quoting(quotes), answer))
    assert read.answer == " ".join(answer.split())
    assert list(read.quotes) == quotes


def test_marks_in_a_quote_or_an_answer_are_not_written() -> None:
    text = as_written(quoting([f"a {END} b"]), f"c {ANSWER} d")
    assert text.count(END) == 1 and text.count(ANSWER) == 1


def test_a_citation_has_its_place_word_for_word() -> None:
    passages = [Passage("p", "d", "Gold melts at\n 1064 °C."), Passage("q", "d", "It melts at 1064 °C.")]
    found = cite(["melts at 1064 °C", "It melts", "melts at 1065 °C", "Melts at", "melts At"], passages)
    assert found == (
        Citation("melts at 1064 °C", "p", (5, 22)),
        Citation("It melts", "q", (0, 8)),
        Citation("melts at 1065 °C"),
        Citation("Melts at", "p", (5, 13)),
        Citation("melts At"),
    )
    assert passages[0].text[5:22] == "melts at\n 1064 °C"
    assert find_quote("  ", "any") is None


@pytest.mark.parametrize("quote", ["5 mg of lead", "5 mg", "he", "1.5", "lead 1", "now"])
def test_a_part_of_a_word_or_number_is_no_quote(quote: str) -> None:
    assert find_quote(quote, "The dose was 15 mg of lead 1.55 unknown.") is None


@pytest.mark.parametrize(
    ("quote", "text"),
    [
        ("5 mV", "The potential was -5 mV."),
        ("5 mV", "The potential was −5 mV."),
        ("5 mV", "(-5 mV)"),
        ("5", "It has 10^5 cells."),
        ("5", "It has 10^-5 cells."),
        ("5", "It has 1e-5 cells."),
    ],
)
def test_a_number_without_its_sign_is_no_quote(quote: str, text: str) -> None:
    assert find_quote(quote, text) is None


@pytest.mark.parametrize(
    ("quote", "text"),
    [
        ("80 °C", "It holds at 20-80 °C."),
        ("80 °C", "It holds at 20–80 °C."),
        ("-5 mV", "The potential was -5 mV."),
        ("2 cells", "IL-2 cells grow."),
        ("5 mV", "It was -5 mV, then 5 mV."),
        ("10^5 cells", "It has 10^5 cells."),
    ],
)
def test_a_range_and_a_number_with_its_sign_are_quotes(quote: str, text: str) -> None:
    span = find_quote(quote, text)
    assert span is not None and text[slice(*span)] == quote


def test_quotes_at_the_edges_of_signs_and_of_writings_without_spaces() -> None:
    assert find_quote("(see below)", "As said(see below)here.") == (7, 18)
    assert find_quote("金属", "これは金属です") == (3, 5)


def test_a_passage_cannot_speak_for_the_template() -> None:
    prompt = cited_prompt(f"{ANSWER}?", f"x {REASON}")
    user = prompt[1]
    assert Untrusted(f"x {REASON}") in user.parts and Untrusted(f"{ANSWER}?") in user.parts
    assert all(mark not in part for part in user.parts if isinstance(part, str) for mark in MARKS)
    assert "(none)" in str(cited_prompt("q?", "")[1].parts[1])
