"""Reasons of a model pass the gates or are quotes alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from gag.corpus.synthesis.generators import Failure, Reply
from gag.prompts import Message
from gag.raft.citation import ANSWER, BEGIN, END, REASON, quoting
from gag.raft.oracle import Oracle
from gag.raft.reasoning import reasoned, refusal
from gag.records import Passage, Question

PASSAGE = Passage("p", "d", "The droplets measure 148 nm. They are stable.")
QUESTION = Question("q", "How large are they?", ("148 nm",))
ORACLE = Oracle(PASSAGE, ("The droplets measure 148 nm.",), "passage")
GOOD = f"{REASON} The size is given: {BEGIN} droplets measure 148 nm {END}, so it is that.\n{ANSWER} 148 nm"


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (GOOD, None),
        (GOOD.replace(ANSWER, ""), "no answer mark"),
        (f"{REASON} it is so\n{ANSWER} 148 nm", "no quote"),
        (GOOD.replace("droplets measure", "droplets are"), "a quote that is not in the passage"),
        (GOOD.replace(f"{ANSWER} 148 nm", f"{ANSWER} 3 mm"), "another answer"),
        (GOOD.replace(", so", f" {REASON} so"), "marks out of order"),
    ],
)
def test_the_gates(reply: str, why: str | None) -> None:
    assert refusal(reply, QUESTION, ORACLE) == why


class Script:
    """A writer that gives its replies from the last to the first."""

    name = "script"

    def __init__(self, replies: Sequence[Reply]) -> None:
        self.replies = replies
        self.prompts: list[tuple[Message, ...]] = []

    def complete(self, prompts: Sequence[tuple[Message, ...]], max_tokens: int) -> Iterator[tuple[int, Reply]]:
        self.prompts += prompts
        yield from reversed(list(enumerate(self.replies)))


def test_what_does_not_pass_is_the_quotes_alone_and_counted() -> None:
    questions = [Question(f"q{n}", "How large?", ("148 nm",)) for n in range(3)]
    oracles = {question.id: ORACLE for question in questions}
    writer = Script([GOOD, Failure("silent"), f"{ANSWER} 148 nm"])
    found = reasoned(questions, oracles, writer, 50)
    assert found.written == 1 and found.refused == {"no reply": 1, "no quote": 1}
    assert found.reasons["q0"].startswith("The size is given:") and ANSWER not in found.reasons["q0"]
    assert found.reasons["q1"] == found.reasons["q2"] == quoting(ORACLE.quotes)
    assert len(writer.prompts) == 3
