"""Charts as inline SVG: small, sharp at any size, in the page's own colours, every text of theirs escaped.

An element's `data-tip` is what the page shows when a pointer is over it; the whole chart has a title for readers that
see no picture. Sizes are in the units of the view box; the page scales it.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence

from gag.evaluation.report.series import Point, Series
from gag.evaluation.routing_tables import MapPoint, PrototypeMap

WIDTH = 380
_LABEL, _RIGHT, _ROW = 92, 52, 25
_PLOT_LEFT, _PLOT_RIGHT, _PLOT_TOP, _PLOT_HEIGHT = 48, 12, 12, 200


def bar_chart(series: Series, reference: str) -> str:
    """Horizontal bars with 95 % intervals, one a method; the reference in grey, gag's kind in the accent colour."""
    left, right = _LABEL, WIDTH - _RIGHT
    ends = [end for p in series.points for end in (p.value, p.low, p.high) if end is not None]
    ticks = nice_ticks(min(0.0, *ends), max(*ends, 1e-9), 4)
    bottom = 8 + _ROW * len(series.points)

    def x(value: float) -> float:
        return left + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (right - left)

    body = [_line(x(t), 4, x(t), bottom, "grid") + _text(x(t), bottom + 16, _tick(t, ticks), "tick mid") for t in ticks]
    for number, point in enumerate(series.points):
        y = 8 + _ROW * number
        kind = point.kind(reference)
        start, end = sorted((x(0.0), x(point.value)))
        parts = [
            f'<rect class="hit" x="0" y="{y:.1f}" width="{WIDTH}" height="{_ROW}"/>',
            _text(left - 8, y + 15.5, _short(point.label, 14), "label end"),
            f'<rect class="{kind}" x="{start:.1f}" y="{y + 4}" width="{max(end - start, 0.8):.1f}" height="14"/>',
            _whisker(x, point, y + 11),
            _text(WIDTH - 2, y + 15.5, _shown(point.value), "value end"),
        ]
        body.append(_hover(point, series, parts))
    body.append(_text((left + right) / 2, bottom + 36, series.measure, "axis mid"))
    return _svg(f"{series.dataset}: {series.measure}", WIDTH, bottom + 44, body)


def scatter_chart(series: Series, reference: str) -> str:
    """Quality over cost, seconds on a logarithmic axis; vertical lines are 95 % intervals of the quality."""
    left, right, top, bottom = _frame()
    xs = [p.x for p in series.points if p.x is not None]
    decades = log_ticks(min(xs), max(xs))
    ends = [end for p in series.points for end in (p.value, p.low, p.high) if end is not None]
    ticks = nice_ticks(min(ends), max(ends))
    low, high = math.log10(min(*xs, *decades)), math.log10(max(*xs, *decades))

    def x(value: float) -> float:
        return left + 10 + (math.log10(value) - low) / max(high - low, 1e-9) * (right - left - 78)

    def y(value: float) -> float:
        return bottom - (value - ticks[0]) / (ticks[-1] - ticks[0]) * (bottom - top)

    body = [
        _line(left, y(t), right, y(t), "grid") + _text(left - 7, y(t) + 4, _tick(t, ticks), "tick end") for t in ticks
    ]
    body += [
        _line(x(t), bottom, x(t), bottom + 4, "axisline") + _text(x(t), bottom + 17, f"{t:g}", "tick mid")
        for t in decades
    ]
    labels = apart([(x(p.x or 1.0), y(p.value)) for p in series.points])
    for point, label_y in zip(series.points, labels, strict=True):
        at, up = x(point.x or 1.0), y(point.value)
        kind = point.kind(reference)
        parts = []
        if point.low is not None and point.high is not None:
            parts.append(_line(at, y(point.low), at, y(point.high), "whisker soft"))
        if abs(label_y - up) > 6:
            parts.append(_line(at + 4, up, at + 9, label_y, "leader"))
        parts.append(f'<circle class="hit" cx="{at:.1f}" cy="{up:.1f}" r="11"/>')
        parts.append(f'<circle class="{kind}" cx="{at:.1f}" cy="{up:.1f}" r="5"/>')
        parts.append(_text(at + 10, label_y + 4, _short(point.label, 14), "label"))
        body.append(_hover(point, series, parts, f"; {point.x:.3g} s"))
    body.append(_text((left + right) / 2, bottom + 37, f"{series.x_name}, logarithmic", "axis mid"))
    body.append(_side(series.measure, top, bottom))
    return _svg(f"{series.dataset}: {series.measure}, against {series.x_name}", WIDTH, bottom + 46, body)


def curve_chart(series: Series) -> str:
    """A line over the variants of an ablation, each with its 95 % interval."""
    left, right, top, bottom = _frame()
    ends = [end for p in series.points for end in (p.value, p.low, p.high) if end is not None]
    ticks = nice_ticks(min(ends), max(ends))
    step = (right - left - 30) / max(len(series.points) - 1, 1)

    def x(position: int) -> float:
        return left + 15 + step * position

    def y(value: float) -> float:
        return bottom - (value - ticks[0]) / (ticks[-1] - ticks[0]) * (bottom - top)

    body = [
        _line(left, y(t), right, y(t), "grid") + _text(left - 7, y(t) + 4, _tick(t, ticks), "tick end") for t in ticks
    ]
    path = " ".join(f"{'M' if i == 0 else 'L'}{x(i):.1f} {y(p.value):.1f}" for i, p in enumerate(series.points))
    body.append(f'<path class="curve" d="{path}"/>')
    word = series.varied
    for number, point in enumerate(series.points):
        parts = []
        if point.low is not None and point.high is not None:
            parts.append(_line(x(number), y(point.low), x(number), y(point.high), "whisker soft"))
        parts.append(f'<circle class="hit" cx="{x(number):.1f}" cy="{y(point.value):.1f}" r="12"/>')
        parts.append(f'<circle class="own" cx="{x(number):.1f}" cy="{y(point.value):.1f}" r="4.5"/>')
        parts.append(_text(x(number), bottom + 17, point.label.removeprefix(word), "tick mid"))
        body.append(_hover(point, series, parts))
    body.append(_text((left + right) / 2, bottom + 37, word.strip(" ="), "axis mid"))
    body.append(_side(series.measure, top, bottom))
    return _svg(f"{series.dataset}: {series.measure} by {word.strip(' =')}", WIDTH, bottom + 46, body)


def map_chart(found: PrototypeMap, routes: Sequence[str]) -> str:
    """Prototypes (diamonds) and test questions (dots) in the plane; a ring marks a question that went elsewhere."""
    width, height, edge = 920, 520, 24
    xs, ys = [p.x for p in found.points], [p.y for p in found.points]
    scale = min((width - 2 * edge) / max(max(xs) - min(xs), 1e-9), (height - 2 * edge) / max(max(ys) - min(ys), 1e-9))
    middle_x, middle_y = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2

    def place(point: MapPoint) -> tuple[float, float]:
        return width / 2 + (point.x - middle_x) * scale, height / 2 - (point.y - middle_y) * scale

    dots, prototypes = [], []
    for point in found.points:
        at, up = place(point)
        colour = f"c{routes.index(point.route) % 10}"
        if point.text is None:
            size = 5.5
            shape = f"M{at:.1f} {up - size:.1f}l{size} {size}l-{size} {size}l-{size} -{size}z"
            prototypes.append(
                f'<path class="{colour} proto" d="{shape}" data-tip="{_safe(f"prototype of {point.route}")}"/>'
            )
            continue
        astray = point.taken is not None and point.taken != point.route
        tip = f"{point.route}: {point.text}" + (f" (went to {point.taken})" if astray else "")
        dots.append(f'<circle class="{colour} dot" cx="{at:.1f}" cy="{up:.1f}" r="3.2" data-tip="{_safe(tip)}"/>')
        if astray:
            dots.append(f'<circle class="astray" cx="{at:.1f}" cy="{up:.1f}" r="6.5"/>')
    share = f"{100 * found.explained:.0f} %"
    title = f"Prototypes and test questions of {len(routes)} routes in two dimensions ({share} of the variance)"
    return _svg(title, width, height, [*dots, *prototypes], "map")


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round values that enclose low and high; at least two, ascending."""
    if not high > low:
        low, high = low - (abs(low) or 1.0) * 0.1, high + (abs(high) or 1.0) * 0.1
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(start, max(end, start + 1) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """The values 1, 2, 5 times a power of ten that lie between low and high, and the next one on either side."""
    values = [float(f"{m}e{e}") for e in range(-7, 8) for m in (1, 2, 5)]
    below = [value for value in values if value <= low]
    above = [value for value in values if value >= high]
    return [*below[-1:], *(value for value in values if low < value < high), *above[:1]]


def _frame() -> tuple[float, float, float, float]:
    return _PLOT_LEFT, WIDTH - _PLOT_RIGHT, _PLOT_TOP, _PLOT_TOP + _PLOT_HEIGHT


def apart(places: Sequence[tuple[float, float]], *, wide: float = 84, high: float = 13) -> list[float]:
    """Heights of the labels of points at `places`, moved down so that labels of that size do not lie on each other."""
    heights = [y for _, y in places]
    for i in sorted(range(len(places)), key=lambda i: places[i][1]):
        for j in sorted(range(len(places)), key=lambda j: heights[j]):
            near = places[j][1] < places[i][1] or (places[j][1] == places[i][1] and j < i)
            if near and abs(places[i][0] - places[j][0]) < wide and heights[i] - heights[j] < high:
                heights[i] = heights[j] + high
    return heights


def _whisker(x: Callable[[float], float], point: Point, y: float) -> str:
    if point.low is None or point.high is None:
        return ""
    low, high = x(point.low), x(point.high)
    return (
        _line(low, y, high, y, "whisker") + _line(low, y - 3.5, low, y + 3.5, "whisker")
        + _line(high, y - 3.5, high, y + 3.5, "whisker")
    )  # fmt: skip


def _hover(point: Point, series: Series, parts: Sequence[str], more: str = "") -> str:
    interval = "" if point.low is None or point.high is None else f" [{_shown(point.low)}, {_shown(point.high)}]"
    tip = f"{point.label}: {_shown(point.value)}{interval}{' ' + series.unit if series.unit else ''}{more}"
    return f'<g data-tip="{_safe(tip)}">{"".join(parts)}</g>'


def _svg(title: str, width: float, height: float, body: Sequence[str], kind: str = "chart") -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{_safe(title)}">'
        f"{''.join(body)}</svg>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{_safe(text)}</text>'


def _side(text: str, top: float, bottom: float) -> str:
    """An axis name that reads upwards."""
    y = (top + bottom) / 2
    return f'<text class="axis mid" transform="translate(12 {y:.1f}) rotate(-90)">{_safe(text)}</text>'


def _shown(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _tick(value: float, ticks: Sequence[float]) -> str:
    """With as few decimals as tell the ticks apart."""
    decimals = next(d for d in range(13) if all(abs(round(t, d) - t) < 1e-9 * max(1.0, abs(t)) for t in ticks))
    return f"{value:,.{decimals}f}"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _safe(text: str) -> str:
    return html.escape(text, quote=True)
