"""The gate wants it shown, on enough facts: a bounded loss on old questions, a gain on new ones."""

from __future__ import annotations

import pytest

from gag.config import UpdateConfig
from gag.evaluation.statistics import Interval
from gag.updating.gate import Measured, refusals
from gag.updating.plan import LEARNT, NEW, OLD
from gag.updating.update import rows_shown


def row(kind: str, low: float, high: float, units: int = 30, metric: str = "nll") -> Measured:
    mean = (low + high) / 2
    return Measured(kind, metric, 40, 2.0, 2.0 + mean, Interval(mean, low, high, 40, units))


GAIN = row(NEW, -2.0, -1.0)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(OLD, -0.1, 0.2), row(LEARNT, 0.0, 0.29), GAIN], None),
        ([row(OLD, -0.1, 0.31), row(LEARNT, 0.0, 0.29), GAIN], None),  # not shown to get worse
        ([row(OLD, 0.31, 0.4), GAIN], "old questions get worse by 0.355"),
        ([row(OLD, -0.1, 0.2), row(LEARNT, -0.1, 0.31), GAIN], "what it learnt before may get worse by 0.310"),
        ([row(LEARNT, 0.0, 0.1), row(NEW, -0.5, 0.0)], "not shown to get better"),
        ([row(LEARNT, 0.0, 0.1), row(NEW, -1.0, -0.5, units=1)], None),  # few new facts are learnt as many are
        ([row(LEARNT, 0.0, 0.1)], "no new question was asked"),
        ([row(LEARNT, 0.0, 0.1, units=5), GAIN], "too few old facts"),
        ([row(LEARNT, 0.0, 0.1, units=6), GAIN], None),
        ([row(OLD, 9.0, 9.0, units=1), row(LEARNT, 0.0, 0.1), GAIN], None),
        ([GAIN], None),  # it never learnt anything that could get worse
        ([row(OLD, 5, 9, metric="token_f1"), GAIN], None),
    ],
)
def test_refusals(rows: list[Measured], said: str | None) -> None:
    reasons = refusals(rows, UpdateConfig(max_loss=0.3))
    assert (not reasons) if said is None else (len(reasons) == 1 and said in reasons[0])


def test_what_is_not_asked_any_more_is_not_taken_for_kept() -> None:
    (reason,) = refusals([row(OLD, -0.1, 0.2), GAIN], UpdateConfig(), dropped=100)
    assert "none of the pairs that it learnt is left to be asked" in reason
    assert not refusals([row(LEARNT, 0.0, 0.1), GAIN], UpdateConfig(), dropped=100)


def test_the_table() -> None:
    rows = [row(OLD, -0.1, 0.3), row(OLD, 0.02, 0.04, metric="token_f1"), GAIN]
    assert rows_shown(rows)[0] == [
        "old", "40", "2.000", "2.100", "+0.100 [-0.100, +0.300]", "200.0", "203.0", "+3.0 [+2.0, +4.0]"
    ]  # fmt: skip
    assert rows_shown(rows)[1][:2] == [NEW, "40"]
