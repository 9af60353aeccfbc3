"""Graph metrics by hand."""

from __future__ import annotations

import pytest

from gag.evaluation.graph_metrics import answer_f1, hits_at_1, path_precision, path_recall


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
