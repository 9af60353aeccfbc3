"""An explanation as a picture: entities in columns, a column a hop, the paths to the answers between them (SVG)."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from gag.graph.explanation import Explanation, Triple
from gag.graph.terms import INVERSE

LONGEST = 28
"""Letters of a name in its box; all of it is in the tool tip."""
MOST_ROWS = 40
"""Boxes in a column; paths to further ones are left out, and said."""

_BOX_HEIGHT, _ROW, _GAP, _MARGIN, _TOP = 28, 44, 170, 24, 84
_LETTER = 7.3
_COLOURS = ("#1b6ca8", "#a23b72", "#3f7d20", "#b5651d", "#5b4b8a", "#00727a")


@dataclass
class _Layout:
    """Boxes by (column, name) in order of appearance, and edges (column, head, step, tail)."""

    columns: list[list[str]] = field(default_factory=list)
    edges: dict[tuple[int, str, str, str], None] = field(default_factory=dict)
    answers: set[tuple[int, str]] = field(default_factory=set)
    left_out: int = 0

    def add(self, path: tuple[Triple, ...]) -> None:
        """A path, unless one of its columns is full."""
        places = [(0, path[0].head), *((n, triple.tail) for n, triple in enumerate(path, 1))]
        for column, name in places:
            full = column < len(self.columns) and len(self.columns[column]) >= MOST_ROWS
            if full and name not in self.columns[column]:
                self.left_out += 1
                return
        for column, name in places:
            if column == len(self.columns):
                self.columns.append([])
            if name not in self.columns[column]:
                self.columns[column].append(name)
        for column, triple in enumerate(path):
            self.edges[column, triple.head, triple.step, triple.tail] = None
        self.answers.add(places[-1])


def draw(explanation: Explanation) -> str:
    """The SVG text; everything in it that came from outside is escaped, and it refers to nothing outside itself."""
    layout = _Layout()
    for answer in explanation.answers:
        for path in answer.paths:
            layout.add(path)
    notes = list(explanation.notes)
    if layout.left_out:
        notes.append(f"{layout.left_out} more paths are not drawn.")
    if not layout.columns:
        notes.append("No path of the graph leads to an answer.")
    widths = [max(_width(name) for name in column) for column in layout.columns]
    lefts = [_MARGIN + sum(widths[:n]) + n * _GAP for n in range(len(widths))]
    rows = max((len(column) for column in layout.columns), default=0)
    width = max(640, int(sum(widths) + max(0, len(widths) - 1) * _GAP + 2 * _MARGIN))
    height = _TOP + rows * _ROW + _MARGIN + 18 * len(notes)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{_xml(explanation.question)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(_MARGIN, 32, explanation.question, size=16, limit=width // 9),
        _text(_MARGIN, 54, _summary(explanation), colour="#555555", limit=width // 7),
    ]
    centres = {
        (n, name): _TOP + _ROW * (row + (rows - len(column)) / 2) + _BOX_HEIGHT / 2
        for n, column in enumerate(layout.columns)
        for row, name in enumerate(column)
    }
    parts += _edges(layout, centres, lefts, widths)
    for (column, name), middle in centres.items():
        parts.append(_box(lefts[column], middle, widths[column], name, (column, name) in layout.answers, column == 0))
    for line, note in enumerate(notes):
        parts.append(_text(_MARGIN, _TOP + rows * _ROW + 18 * (line + 1), note, colour="#a03000", limit=width // 7))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _edges(
    layout: _Layout, centres: dict[tuple[int, str], float], lefts: list[float], widths: list[float]
) -> list[str]:
    """Curves, and between two columns the name of every relation once, at the middle of its edges."""
    steps = list(dict.fromkeys(step for _, _, step, _ in layout.edges))
    colour = {step: _COLOURS[n % len(_COLOURS)] for n, step in enumerate(steps)}
    curves: list[str] = []
    middles: dict[tuple[int, str], list[float]] = {}
    for column, head, step, tail in layout.edges:
        x1, y1 = lefts[column] + widths[column], centres[column, head]
        x2, y2 = lefts[column + 1], centres[column + 1, tail]
        if step.startswith(INVERSE):
            x1 += 6
        else:
            x2 -= 6
        half = (x1 + x2) / 2
        curves.append(
            f'<path d="M{x1:.1f} {y1:.1f} C{half:.1f} {y1:.1f} {half:.1f} {y2:.1f} {x2:.1f} {y2:.1f}" fill="none" '
            f'stroke="{colour[step]}" stroke-opacity="0.75" stroke-width="1.5"/>'
        )
        curves.append(_head(x1, y1, -6, colour[step]) if step.startswith(INVERSE) else _head(x2, y2, 6, colour[step]))
        middles.setdefault((column, step), []).append((y1 + y2) / 2)
    labels: list[str] = []
    taken: dict[int, list[float]] = {}
    for (column, step), ys in sorted(middles.items(), key=lambda item: (item[0][0], sum(item[1]) / len(item[1]))):
        y = sum(ys) / len(ys)
        while any(abs(y - other) < 16 for other in taken.get(column, [])):
            y += 16
        taken.setdefault(column, []).append(y)
        name = step.removeprefix(INVERSE)
        shown = f"← {name}" if step.startswith(INVERSE) else f"{name} →"
        labels.append(
            f'<text x="{lefts[column] + widths[column] + _GAP / 2:.1f}" y="{y + 4:.1f}" text-anchor="middle" '
            f'fill="{colour[step]}" stroke="#ffffff" stroke-width="4" paint-order="stroke">'
            f"{_xml(_short(shown, 24))}</text>"
        )
    return [*curves, *labels]


def _box(left: float, middle: float, width: float, name: str, answer: bool, start: bool) -> str:
    fill, line = ("#fff3cd", "#b8860b") if answer else ("#d9e8f5", "#1b6ca8") if start else ("#f4f4f4", "#888888")
    top = middle - _BOX_HEIGHT / 2
    return (
        f'<g><title>{_xml(name)}</title><rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
        f'height="{_BOX_HEIGHT}" rx="6" fill="{fill}" stroke="{line}"/>'
        f'<text x="{left + width / 2:.1f}" y="{middle + 4.5:.1f}" text-anchor="middle" fill="#1a1a1a">'
        f"{_xml(_short(name, LONGEST))}</text></g>"
    )


def _head(x: float, y: float, size: float, colour: str) -> str:
    return (
        f'<path d="M{x - size:.1f} {y - 4:.1f} L{x + size:.1f} {y:.1f} L{x - size:.1f} {y + 4:.1f} Z" fill="{colour}"/>'
    )


def _text(x: float, y: float, text: str, *, size: int = 13, colour: str = "#1a1a1a", limit: int = 90) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}">{_xml(_short(text, limit))}</text>'


def _summary(explanation: Explanation) -> str:
    plans = "; ".join(" / ".join(plan.path) for plan in explanation.plans if plan.path) or "no plan"
    count = len(explanation.answers)
    return f"{count} answer{'' if count == 1 else 's'} by {plans}"


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _xml(text: str) -> str:
    """`text` escaped, without the characters that XML cannot hold."""
    return escape(
        "".join(c if c >= " " and c not in "\ufffe\uffff" and not "\ud800" <= c <= "\udfff" else " " for c in text)
    )


def _width(name: str) -> float:
    return 18 + _LETTER * min(len(name), LONGEST)
