"""Reading order on a page: columns are found by the gutter between them, and read from left to right.

What stands across the gutter with nothing beside it (a title, a wide table) parts the page into bands; each band's
columns are read before the next band.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from gag.corpus.parsing.page import Span

LEAST_SHARE = 0.12
"""Of a page's printed height: so much must have text on both sides of a gutter."""

NARROWEST = 0.17
"""Of the page's width: columns have a median line at least as wide."""


def in_columns(spans: Sequence[Span], width: float, height: float) -> list[list[Span]]:
    """The spans of each column or full-width band of a page, in reading order; within one by nothing yet."""
    groups = [group for group in _ordered(list(spans), width, height, 0) if group]
    return groups or []


def _ordered(spans: list[Span], width: float, height: float, depth: int) -> list[list[Span]]:
    gutter = _gutter(spans, width, height) if depth < 3 else None
    if gutter is None:
        return [spans]
    left, right, across = [], [], []
    for span in spans:
        if span.x1 <= gutter + 1:
            left.append(span)
        elif span.x0 >= gutter - 1:
            right.append(span)
        else:
            across.append(span)
    bands = []
    for span in across:
        alone = not any(_beside(span, other) for other in right) and not _beside_most(span, left)
        if alone:
            bands.append(span)
        elif (span.x0 + span.x1) / 2 < gutter:
            left.append(span)
        else:
            right.append(span)
    found: list[list[Span]] = []
    for band in _stacked(bands):
        top = min(span.y0 for span in band)
        for side in (left, right):
            above = [span for span in side if span.middle < top]
            side[:] = [span for span in side if span.middle >= top]
            found += _ordered(above, width, height, depth + 1)
        bottom = max(span.y1 for span in band)
        beside = [span for side in (left, right) for span in side if span.middle < bottom]
        left = [span for span in left if span.middle >= bottom]
        right = [span for span in right if span.middle >= bottom]
        found.append([*band, *beside])
    found += _ordered(left, width, height, depth + 1)
    found += _ordered(right, width, height, depth + 1)
    return [group for group in found if group]


def _gutter(spans: Sequence[Span], width: float, height: float) -> float | None:
    """The middle of the gutter between two columns, or None."""
    if len(spans) < 6:
        return None
    start, end = min(s.x0 for s in spans), max(s.x1 for s in spans)
    printed = _length([(s.y0, s.y1) for s in spans])
    best: tuple[float, float] | None = None
    edges = sorted({round(s.x0) for s in spans if s.x0 > start + NARROWEST * width})
    for edge in edges:
        x = edge - 1.0
        if x > end - NARROWEST * width:
            break
        left = [s for s in spans if s.x1 <= x + 1]
        right = [s for s in spans if s.x0 >= x - 1]
        if len(left) < 3 or len(right) < 3:
            continue
        both = _both(left, right)
        shared = _length(both)
        if shared < LEAST_SHARE * max(printed, 0.25 * height):
            continue
        crossing = [s for s in spans if s.x1 > x + 1 and s.x0 < x - 1]
        within = _length([(max(a, s.y0), min(b, s.y1)) for s in crossing for a, b in both if s.y0 < b and a < s.y1])
        aligned = sum(1 for s in right if abs(s.x0 - edge) < 3) / len(right)
        if within > 0.15 * shared or not (_wide(left, x, width) and _wide(right, end, width)):
            continue
        score = shared - 3 * within + 0.3 * shared * aligned
        if best is None or score > best[0]:
            nearest = max(s.x1 for s in left)
            best = (score, (max(nearest, x - 40) + edge) / 2 if nearest < edge else x)
    return best[1] if best else None


def _wide(spans: Sequence[Span], end: float, width: float) -> bool:
    """Whether the side is text in lines, not the cells of a table: the longer half of its lines is wide enough."""
    rows: list[list[float]] = []
    for span in sorted(spans, key=lambda s: s.middle):
        if rows and span.middle - rows[-1][2] < 3:
            rows[-1] = [min(rows[-1][0], span.x0), max(rows[-1][1], span.x1), rows[-1][2], rows[-1][3] + len(span.text)]
        else:
            rows.append([span.x0, span.x1, span.middle, float(len(span.text))])
    wide = sorted((row[1] - row[0] for row in rows), reverse=True)
    letters = sorted((row[3] for row in rows), reverse=True)
    return wide[len(wide) // 3] >= NARROWEST * width and letters[len(letters) // 3] >= 16


def _both(left: Sequence[Span], right: Sequence[Span]) -> list[tuple[float, float]]:
    """Heights where there is text on both sides, gaps between lines filled."""
    one, other = _filled(left), _filled(right)
    return [(max(a, c), min(b, d)) for a, b in one for c, d in other if max(a, c) < min(b, d)]


def _filled(spans: Sequence[Span]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for top, bottom in sorted((s.y0, s.y1) for s in spans):
        if merged and top - merged[-1][1] < 12:
            merged[-1] = (merged[-1][0], max(merged[-1][1], bottom))
        else:
            merged.append((top, bottom))
    return merged


def _length(intervals: Sequence[tuple[float, float]]) -> float:
    """Length of the union."""
    total, reach = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reach))
        reach = max(reach, end)
    return total


def _beside(span: Span, other: Span) -> bool:
    """Whether `other` stands on the line of `span`."""
    return min(span.y1, other.y1) - max(span.y0, other.y0) > 0.5 * min(span.y1 - span.y0, other.y1 - other.y0)


def _beside_most(span: Span, left: Sequence[Span]) -> bool:
    """Whether a whole line of the left column stands beside a span that begins near the gutter."""
    return any(_beside(span, other) and other.x1 - other.x0 > 0.5 * (span.x1 - span.x0) for other in left)


def _stacked(bands: Sequence[Span]) -> list[list[Span]]:
    """Full-width spans that follow each other closely, as one band."""
    ordered = sorted(bands, key=lambda s: s.y0)
    stacks: list[list[Span]] = [[ordered[0]]] if ordered else []
    for before, span in pairwise(ordered):
        if span.y0 - before.y1 < 1.5 * max(span.size, before.size):
            stacks[-1].append(span)
        else:
            stacks.append([span])
    return stacks
