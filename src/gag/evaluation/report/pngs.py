"""The report's charts as small PNGs for documents (matplotlib, no display needed)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gag.atomic import new_file
from gag.evaluation.bench.config import BenchConfig
from gag.evaluation.bench.found import Found
from gag.evaluation.report.charts import apart
from gag.evaluation.report.series import Point, Series, bars, cost_and_quality, curves
from gag.evaluation.routing_tables import PrototypeMap, RoutingResult

DPI = 110
ACCENT, INK = "#1f5fbf", "#1d2430"
COLOURS = {"own": ACCENT, "bar": "#9db7d9", "ref": "#b4bac3"}
PALETTE = (
    "#6b7280", "#1f5fbf", "#d1702a", "#2c8c5a", "#8a4fb3", "#c0392f", "#148a96", "#a3821a", "#c2518f", "#5a6f2f",
)  # fmt: skip


def write_pngs(folder: Path, config: BenchConfig, found: Found) -> list[Path]:
    """Write the charts that there are numbers for, and return their files."""
    rows, metric, reference = found.rows, config.main_metric, config.reference
    made = []
    for name, drawn, draw in (
        ("comparison", bars(rows, metric), _bars),
        ("cost", cost_and_quality(rows, metric), _scatter),
        ("stages", curves(rows, "stages", metric), _bars),
        ("readout", curves(rows, "readout", metric), _curve),
        ("depth", curves(rows, "depth", metric), _curve),
    ):
        if drawn:
            made.append(_small_multiples(folder / f"{name}.png", drawn, draw, reference))
    for result in found.routing:
        made.append(_confusion(folder / f"confusion-{result.name}.png", result))
    if found.prototype_map is not None:
        made.append(_map(folder / "prototypes.png", found.prototype_map))
    return made


def _small_multiples(path: Path, drawn: Sequence[Series], draw: Any, reference: str) -> Path:
    height = max(2.6, 0.28 * max(len(series.points) for series in drawn) + 0.9) if draw is _bars else 2.9
    figure = _figure(3.9 * len(drawn), height)
    for place, series in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
        draw(place, series, reference)
        place.set_title(series.dataset, fontsize=9.5, loc="left", fontweight="bold")
        place.spines[["top", "right"]].set_visible(False)
    return _save(figure, path)


def _bars(place: Any, series: Series, reference: str) -> None:
    points = series.points[::-1]
    colours = [COLOURS[point.kind(reference)] for point in points]
    place.barh([p.label for p in points], [p.value for p in points], color=colours, height=0.62)
    for number, point in enumerate(points):
        if point.low is not None and point.high is not None:
            place.plot([point.low, point.high], [number, number], color=INK, linewidth=1.1)
    place.set_xlabel(series.measure, fontsize=8)
    place.grid(axis="x", color="#e8ebef")
    place.set_axisbelow(True)
    place.tick_params(labelsize=8, length=0)


def _scatter(place: Any, series: Series, reference: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for point in series.points:
        _interval(place, point.x, point)
        place.plot([point.x], [point.value], "o", color=COLOURS[point.kind(reference)], markersize=6)
    place.set_xscale("log")
    place.margins(x=0.3)
    place.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    place.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    place.xaxis.set_minor_formatter(NullFormatter())
    _axes(place, series.x_name, series.measure)
    place.figure.canvas.draw()  # only then the places of points on the page are known
    in_points = 72 / place.figure.dpi
    dots = [place.transData.transform((point.x, point.value)) * in_points for point in series.points]
    heights = apart([(x, -y) for x, y in dots], wide=50, high=8.5)
    for point, (_, y), height in zip(series.points, dots, heights, strict=True):
        moved = (6, 3 - height - y)
        leader = {"arrowstyle": "-", "color": "#a3acb8", "linewidth": 0.6} if abs(moved[1] - 3) > 6 else None
        place.annotate(
            point.label, (point.x, point.value), moved, textcoords="offset points", fontsize=7, arrowprops=leader
        )


def _curve(place: Any, series: Series, reference: str) -> None:
    places = range(len(series.points))
    place.plot(places, [p.value for p in series.points], "-o", color=ACCENT, markersize=5)
    for number, point in zip(places, series.points, strict=True):
        _interval(place, number, point)
    place.set_xticks(list(places), [p.label.removeprefix(series.varied) for p in series.points])
    _axes(place, series.varied.strip(" ="), series.measure)


def _interval(place: Any, x: float | None, point: Point) -> None:
    if point.low is not None and point.high is not None:
        place.plot([x, x], [point.low, point.high], color="#5b6675", linewidth=1.2, alpha=0.6, zorder=1)


def _axes(place: Any, x: str, y: str) -> None:
    place.set_xlabel(x, fontsize=8)
    place.set_ylabel(y, fontsize=8)
    place.grid(axis="y", color="#e8ebef")
    place.set_axisbelow(True)
    place.tick_params(labelsize=8)


def _confusion(path: Path, result: RoutingResult) -> Path:
    stage = result.stages[-1]
    rights = [name for name, row in stage.confusion.items() if sum(row.values())]
    counts = [[stage.confusion[right][taken] for taken in stage.routes] for right in rights]
    shares = [[count / sum(row) for count in row] for row in counts]
    figure = _figure(1.6 + 0.75 * len(stage.routes), 1.2 + 0.42 * len(rights))
    place = figure.subplots()
    place.imshow(shares, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
    place.set_xticks(range(len(stage.routes)), stage.routes, fontsize=8, rotation=30, ha="right")
    place.set_yticks(range(len(rights)), rights, fontsize=8)
    place.set_xlabel("route taken", fontsize=8)
    place.set_ylabel("right route", fontsize=8)
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            place.text(j, i, str(count), ha="center", va="center", fontsize=8, color=INK)
    return _save(figure, path)


def _map(path: Path, found: PrototypeMap) -> Path:
    figure = _figure(6.4, 4.2)
    place = figure.subplots()
    for number, route in enumerate(dict.fromkeys(point.route for point in found.points)):
        colour = PALETTE[number % len(PALETTE)]
        mine = [point for point in found.points if point.route == route]
        asked = [point for point in mine if point.text is not None]
        banks = [point for point in mine if point.text is None]
        place.scatter([p.x for p in asked], [p.y for p in asked], s=9, color=colour, alpha=0.6, linewidths=0)
        place.scatter(
            [p.x for p in banks], [p.y for p in banks], s=26, marker="D", color=colour, edgecolors="white",
            linewidths=0.7, label=route,
        )  # fmt: skip
    place.set_xticks([])
    place.set_yticks([])
    place.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return _save(figure, path)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> Path:
    with new_file(path) as partial:
        figure.savefig(partial, dpi=DPI, format="png")
    return path
