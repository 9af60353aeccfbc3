"""General answers are compared on equal input: together, and alone where the batches may have made the difference."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gag.evaluation.agreement import Agreement, general_agreement
from gag.records import GENERAL, Answer, Question, Route

QUESTIONS = [Question(f"q{i}", f"who is {i}?") for i in range(4)]


class Alone:
    """Says the same to each question, asked alone; counts how often it is."""

    def __init__(self, name: str, texts: Sequence[str]) -> None:
        self.name, self.texts, self.asked = name, texts, 0

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        assert len(questions) == 1
        self.asked += 1
        return [Answer(q.id, self.texts[int(q.id[1:])], self.name) for q in questions]


def answers(texts: str, routes: Sequence[str | None]) -> list[Answer]:
    return [
        Answer(q.id, text, "gag", route=None if route is None else Route(route, {}))
        for q, text, route in zip(QUESTIONS, texts, routes, strict=True)
    ]


def test_equal_texts_need_no_second_look() -> None:
    gag = answers("abxd", [GENERAL, GENERAL, "alloys", GENERAL])
    base = answers("abcd", [None] * 4)

    def methods() -> tuple[Alone, Alone]:
        raise AssertionError("nothing differs on the general route")

    assert general_agreement(QUESTIONS, gag, base, methods) == Agreement((0, 1, 3), (0, 1, 3), 0)


@pytest.mark.parametrize(("alone", "same", "again"), [("abcd", (0, 1, 2, 3), 2), ("aXcd", (0, 2, 3), 1)])
def test_what_differs_is_asked_again_alone(alone: str, same: tuple[int, ...], again: int) -> None:
    gag, base = answers("aBCd", [GENERAL] * 4), answers("abcd", [None] * 4)
    one, other = Alone("gag", alone), Alone("base", "abcd")
    found = general_agreement(QUESTIONS, gag, base, lambda: (one, other))
    assert found == Agreement((0, 1, 2, 3), same, again)
    assert one.asked == other.asked == 2
