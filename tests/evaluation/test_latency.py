"""An answer that a method had to see already is not written a second time when its cost is measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gag.answering import Prepared
from gag.config import GenerationConfig
from gag.errors import InputError
from gag.evaluation.latency import Timed, timed
from gag.methods.method import BaseBacked
from gag.records import Question


class Seen:
    """Prepares questions whose answers are written already."""

    name = "seen"

    def __init__(self) -> None:
        self.base: Any = SimpleNamespace()  # without `stream`: nobody may ask it to write

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        done: Any = SimpleNamespace(ids=(1, 2, 3), text="said", seconds=0.1)
        prompt: Any = SimpleNamespace(ids=(1,), slots=())
        return [Prepared(q, prompt, GenerationConfig(), completion=done) for q in questions]


def test_a_given_answer_is_timed_as_it_is() -> None:
    found = timed(BaseBacked(cast(Any, Seen())), [Question("q", "?", ("a",))] * 2)
    assert found.tokens == (4, 4)
    assert found.first == found.total, "the first token comes when the whole answer is there"


class Choosy(Seen):
    """Cannot answer questions that are too long."""

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        if any(len(q.question) > 5 for q in questions):
            raise InputError("too long", "")
        return super().prepare(questions)


class Cold(Choosy):
    """The first answer takes long."""

    asked = 0

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        done = super().prepare(questions)
        time.sleep(0.1 if self.asked == 0 else 0)
        self.asked += 1
        return done


def test_a_question_that_cannot_be_answered_costs_nothing() -> None:
    method, long, short = (
        BaseBacked(cast(Any, Choosy())),
        Question("l", "much too long?", ("a",)),
        Question("s", "?", ()),
    )
    assert len(timed(method, [long, short, short]).total) == 2
    cold = Cold()
    assert max(timed(BaseBacked(cast(Any, cold)), [long, short, short]).total) < 0.05, "the first one is not counted"
    assert cold.asked == 3
    with pytest.raises(InputError, match="too long"):
        timed(method, [long, long])


def test_what_was_written_before_is_no_speed() -> None:
    found = Timed(first=(0.5, 0.2), total=(0.5, 1.2), tokens=(21, 21), memory=None)
    assert found.values()["tokens_per_second"] == 20.0, "20 tokens in the one second that was seen"
    assert Timed((), (2.0,), (8,), None).values()["tokens_per_second"] == 4.0
