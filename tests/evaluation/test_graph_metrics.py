"""Graph metrics by hand."""

from __future__ import annotations

import pytest

from gag.evaluation.graph_metrics import answer_f1, graph_rows, hits_at_1, path_precision, path_recall
from gag.graph.explanation import Explanation, PlannedPath, ShownAnswer, Triple
from gag.records import Question


@pytest.mark.parametrize(
    ("said", "answers", "hit", "f1"),
    [
        ("Ana Ruiz\nBo", ["Bo", "Ana Ruiz"], 1, 1),
        ("ana ruiz.", ["Ana Ruiz", "Bo"], 1, 2 / 3),
        ("Cy\nBo", ["Bo"], 0, 2 / 3),
        ("\n  \nBo\nBo\n", ["Bo"], 1, 1),
        ("", ["Bo"], 0, 0),
        ("Bo and Ana", ["Bo"], 0, 0),
    ],
)
def test_the_first_answer_and_the_set(said: str, answers: list[str], hit: float, f1: float) -> None:
    assert hits_at_1(said, answers) == hit
    assert answer_f1(said, answers) == pytest.approx(f1)


def test_plans_against_gold_paths() -> None:
    gold = [("a",), ("b", "c")]
    assert path_precision([("a",), ("x",)], gold) == 0.5 and path_recall([("a",), ("x",)], gold) == 0.5
    assert path_precision([], gold) == 0 and path_recall([], gold) == 0


def test_rows_over_questions_one_of_which_failed() -> None:
    path = ((Triple("x", "a", "Bo"),),)
    good = Explanation(
        "q",
        ("x",),
        (PlannedPath("x", ("a",), 1.0, 1),),
        (ShownAnswer("Bo", path), ShownAnswer("Cy")),
        (),
        {"follow": 0.5},
    )
    questions = [Question("1", "q", ("Bo",)), Question("2", "q", ("Bo",)), Question("3", "q", ("Bo",))]
    rows = {r.metric: r for r in graph_rows("rog", "g", questions, [good, None, good], {"1": [("a",)], "2": [("a",)]})}
    assert {name: (round(r.value, 3), r.n) for name, r in rows.items()} == {
        "hits_at_1": (0.667, 3),
        "answer_f1": (0.444, 3),
        "path_precision": (0.5, 2),
        "path_recall": (0.5, 2),
        "entailed": (0.333, 3),
        "follow_seconds": (0.5, 2),
    }
    assert all(r.method == "rog" and r.domain == "g" for r in rows.values())
