"""What stands on pages and is no part of the text: running heads, page numbers, line numbers, publishers' stamps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from gag.corpus.parsing.boilerplate import is_boilerplate
from gag.corpus.parsing.page import Line, Page, Span, lines_of

EDGE = 0.12
"""Share of a page's height, at its top and its bottom, where furniture stands."""

PAGE_NUMBER = re.compile(
    r"(?:page|p\.|seite|-|–)?\s*(?:\d{1,5}|[ivxlc]{1,7}|(?:[A-Z]|\d{1,3})[-–.]?\d{1,4})\s*(?:(?:of|/|von)\s*\d{1,5}|-|–)?",
    re.IGNORECASE,
)


def without_furniture(pages: Sequence[Page], least: int) -> Iterator[tuple[Page, list[str]]]:
    """Each page without its furniture, and the furniture's lines.

    A line at an edge is furniture where it stands on `least` pages, figures in it not counted; a page number, line
    numbers and publishers' lines always are. With `least` 0 nothing is taken out.
    """
    if least == 0:
        yield from ((page, []) for page in pages)
        return
    edges = [_edge_lines(page) for page in pages]
    counts = Counter(key for lines in edges for key in {_key(line.text) for line in lines})
    for page, lines in zip(pages, edges, strict=True):
        numbers = _line_numbers(page)
        out = [
            line
            for line in lines
            if counts[_key(line.text)] >= max(2, least) or _is_number(line, lines, page) or is_boilerplate(line.text)
        ]
        out += [line for line in lines if line not in out and _beyond(line, out, page)]
        gone = {id(span) for line in out for span in line.spans} | {id(span) for span in numbers}
        texts = [line.text for line in out] + ([" ".join(span.text for span in numbers)] if numbers else [])
        yield replace(page, spans=tuple(span for span in page.spans if id(span) not in gone)), texts


def _edge_lines(page: Page) -> list[Line]:
    """Lines in the page's top and bottom zone, spans wide apart on their own."""
    zone = [s for s in page.spans if s.y1 < EDGE * page.height or s.y0 > (1 - EDGE) * page.height]
    return lines_of(zone)


def _is_number(line: Line, lines: Sequence[Line], page: Page) -> bool:
    """Whether a line is a page number: outermost at its edge, and nothing else on it."""
    if PAGE_NUMBER.fullmatch(line.text.strip()) is None:
        return False
    top = line.y1 < page.height / 2
    others = [other for other in lines if other is not line and (other.y1 < page.height / 2) == top]
    return all(other.y0 >= line.y0 for other in others) if top else all(other.y1 <= line.y1 for other in others)


def _beyond(line: Line, furniture: Sequence[Line], page: Page) -> bool:
    """Whether a line is further out than furniture at its edge: below a footer, above a head."""
    if line.y1 < page.height / 2:
        return any(other.y1 < page.height / 2 and line.y1 < other.y0 + 1 for other in furniture)
    return any(other.y1 >= page.height / 2 and line.y0 > other.y1 - 1 for other in furniture)


def _key(text: str) -> str:
    return re.sub(r"\d+", "#", " ".join(text.split())).casefold()


def _line_numbers(page: Page) -> list[Span]:
    """A manuscript's line numbers: ten or more numbers alone at one margin that rise by one or by five."""
    margin = [
        span
        for span in page.spans
        if re.fullmatch(r"\d{1,4}", span.text.strip()) and (span.x1 < 0.14 * page.width or span.x0 > 0.88 * page.width)
    ]
    if len(margin) < 10:
        return []
    margin.sort(key=lambda span: span.y0)
    rising = sum(int(b.text) - int(a.text) in (1, 5) for a, b in pairwise(margin))
    return margin if rising > 0.8 * (len(margin) - 1) else []
