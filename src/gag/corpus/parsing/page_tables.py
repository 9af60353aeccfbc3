"""Tables on a page: between horizontal rules of one length, or lines whose cells stand under one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from gag.corpus.parsing.blocks import pipe_table
from gag.corpus.parsing.page import Line, Page, Rule, Span, lines_of

CELL_GAP = 0.9
"""Two cells are parted by at least so much, in sizes of the type, where no rules say that there is a table."""

RULED_GAP = 0.4
"""The same between rules."""


@dataclass(frozen=True)
class Table:
    """A table and its box."""

    x0: float
    y0: float
    x1: float
    y1: float
    text: str


def ruled_tables(page: Page) -> tuple[list[Table], list[Span]]:
    """The tables that rules enclose, and the spans that are in none."""
    rest = list(page.spans)
    tables: list[Table] = []
    for rules in _same_length(page.rules):
        for first, last in _runs(rules, page.height):
            x0, x1 = first.x0 - 3, first.x1 + 3
            inside = [s for s in rest if x0 <= (s.x0 + s.x1) / 2 <= x1 and first.y - 2 <= s.middle <= last.y + 2]
            inside += _head_above([s for s in rest if x0 <= (s.x0 + s.x1) / 2 <= x1], first.y) if inside else []
            text = _ruled_text(lines_of(inside), x1 - x0) if inside else ""
            if text:
                tables.append(Table(x0, first.y, x1, last.y, text))
                taken = set(map(id, inside))
                rest = [span for span in rest if id(span) not in taken]
    return tables, rest


def aligned_table(lines: Sequence[Line]) -> int:
    """How many lines from the first on are a table without rules; 0 where they are none."""
    count = 0
    starts: list[float] = []
    for line in lines:
        cells = line.cells(CELL_GAP)
        if len(cells) < 2 or any(len(text) > 40 for _, _, text in cells[1:]) or len(cells[0][2]) > 60:
            break
        if count and line.y1 - lines[count - 1].y1 > 3.2 * line.size:
            break
        if count and sum(any(abs(x0 - s) < 6 for s in starts) for x0, _, _ in cells) < 2 and len(cells) < 4:
            break
        starts += [x0 for x0, _, _ in cells]
        count += 1
    rows = [line.cells(CELL_GAP) for line in lines[:count]]
    enough = count >= 3 and sum(len(row) for row in rows) >= 2.5 * count
    return 0 if not enough or any(_is_formula(line.text) for line in lines[:count]) else count


def table_text(lines: Sequence[Line], gap: float = CELL_GAP) -> str:
    """Lines as a pipe table, their cells put into columns by where they stand."""
    rows = [line.cells(gap) for line in lines]
    edges = _columns(rows)
    table = []
    for row in rows:
        cells = [""] * len(edges)
        for x0, x1, text in row:
            number = max(range(len(edges)), key=lambda n: _shared((x0, x1), edges[n]))
            cells[number] = f"{cells[number]} {text}".strip()
        table.append(cells)
    return pipe_table(table)


def _ruled_text(lines: Sequence[Line], width: float) -> str:
    """The table's text; empty where what is between the rules is running text."""
    rows = [line.cells(RULED_GAP) for line in lines]
    several = sum(len(row) > 1 for row in rows)
    if several < 2 or several < 0.4 * len(rows):
        return ""
    cells = [cell for row in rows if len(row) > 1 for cell in row]
    narrow = median(x1 - x0 for x0, x1, _ in cells) < 0.4 * width
    figures = sum(any(c.isdigit() for c in text) and len(text) < 12 for _, _, text in cells)
    return table_text(lines, RULED_GAP) if narrow or 2 * figures >= len(cells) else ""


def _head_above(spans: Sequence[Span], y: float) -> list[Span]:
    """The spans of the line right above a table's first rule, where it is a row of cells."""
    near = [span for span in spans if y - 2.2 * span.size < span.y0 and span.y1 < y + 2]
    lines = lines_of(near)
    return list(lines[-1].spans) if len(lines) == 1 and len(lines[0].cells(CELL_GAP)) > 2 else []


def _columns(rows: Sequence[Sequence[tuple[float, float, str]]]) -> list[tuple[float, float]]:
    """Left and right of every column: cells of full rows that share their width, narrow ones first."""
    widest = max((len(row) for row in rows), default=0)
    full = [row for row in rows if len(row) >= max(2, 0.6 * widest)]
    columns: list[tuple[float, float]] = []
    for x0, x1, _ in sorted((cell for row in full for cell in row), key=lambda cell: cell[1] - cell[0]):
        hit = [number for number, column in enumerate(columns) if _shared((x0, x1), column) > 0]
        if not hit:
            columns.append((x0, x1))
        elif len(hit) == 1:
            old = columns[hit[0]]
            columns[hit[0]] = (min(old[0], x0), max(old[1], x1))
    return sorted(columns) or [(0.0, 1.0)]


def _shared(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Width in common; negative: the distance."""
    return min(one[1], other[1]) - max(one[0], other[0])


def _same_length(rules: Sequence[Rule]) -> list[list[Rule]]:
    groups: list[list[Rule]] = []
    for rule in sorted(rules, key=lambda r: r.y):
        if rule.x1 - rule.x0 < 60:
            continue
        for group in groups:
            if abs(group[0].x0 - rule.x0) < 6 and abs(group[0].x1 - rule.x1) < 6:
                group.append(rule)
                break
        else:
            groups.append([rule])
    return [group for group in groups if len(group) > 1]


def _runs(rules: Sequence[Rule], height: float) -> list[tuple[Rule, Rule]]:
    """First and last rule of each run whose steps are no larger than half a page."""
    runs: list[list[Rule]] = [[rules[0]]]
    for rule in rules[1:]:
        if rule.y - runs[-1][-1].y < 0.5 * height:
            runs[-1].append(rule)
        else:
            runs.append([rule])
    return [(run[0], run[-1]) for run in runs if len(run) > 1 and run[-1].y - run[0].y > 8]


def _is_formula(text: str) -> bool:
    return any(sign in text for sign in "=∑∈≤∥") and not any(c.isdigit() for c in text[-2:])
