"""What the plans and the shown paths are worth, question by question, with a method whose answers are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import pytest

from gag.config import RogConfig
from gag.errors import InputError
from gag.evaluation.answers import ask
from gag.evaluation.graph_answers import GRAPH_METRICS, PATH_METRICS, Explained
from gag.evaluation.runner import Evaluated, scored
from gag.graph.explanation import Explanation, PlannedPath, ShownAnswer, Triple
from gag.methods.rog import ReasoningOnGraphs
from gag.records import Answer, Question

SHOWN = (ShownAnswer("Bo", ((Triple("x", "a", "Bo"),),)), ShownAnswer("Cy"))


class _Relations:
    """A graph of which only the relations matter."""

    def relation(self, name: str) -> str:
        if name not in ("a", "b"):
            raise InputError(f"The graph has no relation {name!r}.", "Name one that it has.")
        return name


class _Given:
    """Answers Bo and Cy to every question but one, with the plans given to it."""

    name, graph, config = "rog", _Relations(), RogConfig()

    def __init__(self, plans: Sequence[tuple[str, ...]]) -> None:
        self.plans = tuple(PlannedPath("x", path, 1.0, 1) for path in plans)

    def answer_and_explain(self, questions: Sequence[Question]) -> tuple[list[Answer], list[Explanation]]:
        if any(q.id == "odd" for q in questions):
            raise InputError("No entity.", "Mark one.")
        why = Explanation("q", ("x",), self.plans, SHOWN, (), {"follow": 0.5})
        return [Answer(q.id, "Bo\nCy", "rog") for q in questions], [why for _ in questions]


def _measured(plans: Sequence[tuple[str, ...]], questions: Sequence[Question]) -> Evaluated:
    method = Explained(cast(ReasoningOnGraphs, _Given(plans)))
    outcomes = ask(method, questions, nll=False)
    text = [name for name in GRAPH_METRICS if name not in PATH_METRICS]
    return method.measured(scored(method.name, outcomes, text), GRAPH_METRICS)


def _question(name: str, **meta: Any) -> Question:
    return Question(name, "q", ("Bo",), meta={"paths": [["a"]], **meta})


def test_a_value_a_question_and_a_failed_one_counts_as_wrong() -> None:
    found = _measured([("a",), ("b",)], [_question("1"), _question("odd"), _question("2", paths=[["a"], ["b"]])])
    assert list(found.values) == list(GRAPH_METRICS)
    assert found.values["hits_at_1"] == (1, 0, 1)
    assert found.values["answer_f1"] == pytest.approx((2 / 3, 0, 2 / 3))
    assert found.values["path_precision"] == (0.5, 0, 1) and found.values["path_recall"] == (1, 0, 1)
    assert found.values["entailed"] == (0.5, 0, 0.5)
    assert found.values["follow_seconds"][0] == 0.5 and math.isnan(found.values["follow_seconds"][1])
    rows = {row.metric: row.n for row in found.rows("g")}
    assert rows["hits_at_1"] == 3 and rows["follow_seconds"] == 2


def test_a_method_that_does_not_plan_has_no_path_metrics() -> None:
    found = _measured([()], [_question("1")])
    assert math.isnan(found.values["path_precision"][0]) and math.isnan(found.values["path_recall"][0])
    assert "path_recall" not in {row.metric for row in found.rows("g")}


def test_no_plan_at_all_is_a_missed_one() -> None:
    assert _measured([], [_question("1")]).values["path_recall"] == (0,)


@pytest.mark.parametrize(
    ("paths", "says"),
    [("a", "is no list of paths"), ([[]], "is no list of paths"), ([["zed"]], "has no relation 'zed'")],
)
def test_wrong_gold_paths_are_told(paths: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        _measured([("a",)], [_question("1", paths=paths)])
