"""The numbers behind the charts, taken from the rows once, for the report's SVG and for the PNGs alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gag.evaluation.table import Row, distinct, metric_format


@dataclass(frozen=True)
class Point:
    """One value with its interval (None where it has none), as the metric is shown (per cent, seconds)."""

    label: str
    value: float
    low: float | None
    high: float | None
    x: float | None = None
    """Where a scatter puts it."""

    def kind(self, reference: str) -> Literal["ref", "own", "bar"]:
        """How it is drawn: the method that the others are compared with, one of gag's kind, or another."""
        return "ref" if self.label == reference else "own" if self.label.startswith("gag") else "bar"


@dataclass(frozen=True)
class Series:
    """Points of one data set and what they measure."""

    dataset: str
    metric: str
    unit: str
    better: str
    points: tuple[Point, ...]
    x_name: str = ""

    @property
    def measure(self) -> str:
        """The metric with its unit and direction, for an axis."""
        unit = f" ({self.unit})" if self.unit else ""
        way = f", {self.better} is better" if self.better else ""
        return f"{self.metric.replace('_', ' ')}{unit}{way}"

    @property
    def varied(self) -> str:
        """What all labels begin with where a table varies a number: "layer " or "k = "."""
        words = [word for word in ("layer ", "k = ") if all(p.label.startswith(word) for p in self.points)]
        return words[0] if words else ""


def bars(rows: Sequence[Row], metric: str) -> list[Series]:
    """A series a data set of the main table: every method's mean of `metric`."""
    return [_series(rows, "main", dataset, metric) for dataset in _datasets(rows, "main", metric)]


def cost_and_quality(rows: Sequence[Row], metric: str) -> list[Series]:
    """A series a data set: quality over the median seconds of one question (or mean seconds in a batch)."""
    out = []
    for dataset in _datasets(rows, "main", metric):
        one = {r.method: r.value for r in rows if (r.table, r.dataset, r.metric) == ("cost", dataset, "total_p50")}
        batch = {r.method: r.value for r in rows if (r.table, r.dataset, r.metric) == ("main", dataset, "seconds")}
        series = _series(rows, "main", dataset, metric)
        seconds, name = (
            (one, "seconds a question, asked alone (median)") if one else (batch, "seconds a question, in a batch")
        )
        points = tuple(replace(p, x=seconds[p.label]) for p in series.points if seconds.get(p.label, 0.0) > 0)
        if len(points) > 1:
            out.append(replace(series, points=points, x_name=name))
    return out


def curves(rows: Sequence[Row], table: str, metric: str) -> list[Series]:
    """A series a data set of an ablation: `metric` (else the table's first one) of every variant, in order."""
    out = []
    for dataset in distinct(row.dataset for row in rows if row.table == table):
        metrics = distinct(row.metric for row in rows if (row.table, row.dataset) == (table, dataset))
        chosen = metric if metric in metrics else metrics[0]
        out.append(_series(rows, table, dataset, chosen))
    return [series for series in out if len(series.points) > 1]


def _series(rows: Sequence[Row], table: str, dataset: str, metric: str) -> Series:
    shape = metric_format(metric)
    points = tuple(
        Point(row.method, row.value * shape.scale, _scaled(row.ci_low, shape.scale), _scaled(row.ci_high, shape.scale))
        for row in rows
        if (row.table, row.dataset, row.metric) == (table, dataset, metric)
    )
    return Series(dataset, metric, shape.unit, shape.better, points)


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _datasets(rows: Sequence[Row], table: str, metric: str) -> list[str]:
    return distinct(row.dataset for row in rows if row.table == table and row.metric == metric)
