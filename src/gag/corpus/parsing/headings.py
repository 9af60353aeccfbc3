"""Which lines of a page are headings, and of what level: by size, weight and numbering, never by size alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gag.corpus.parsing.page import Line
from gag.corpus.parsing.sections import is_known_section

NUMBERED = re.compile(
    r"^(?:(?:Chapter|Section|Appendix|Part)\s+)?((?:\d{1,2}|[A-Z])(?:\.\d{1,2}){0,4}|[IVX]{1,5})[.)]?\s+(?=\S)"
)
LARGER = 1.08
"""A heading's type against the body's, where it is not bold."""

LONGEST = 160


def is_heading_line(lines: Sequence[Line], at: int, body: float, right: float) -> bool:
    """Whether line `at` of a column is (a line of) a heading; `right` is the column's right end."""
    line = lines[at]
    text = line.text
    letters = [c for c in text if c.isalpha()]
    if (
        len(letters) < 2
        or len(text) > LONGEST
        or text.endswith((",", ";", "-"))
        or len(letters) < 0.5 * len(text.replace(" ", ""))
    ):
        return False
    if is_known_section(text) and (line.bold or line.size >= 0.98 * body):
        return _apart(lines, at)
    if line.size < 0.98 * body:
        return False
    numbered = NUMBERED.match(text) is not None and text[-1] not in ".:" and letters[0].isupper()
    large = line.size >= LARGER * body
    if not (large or line.bold):
        return False
    if large:
        return _starts_well(text) and (not text.endswith(".") or numbered)
    if text.endswith((".", ",")) or not _starts_well(text):
        return False
    short = line.x1 < right - 0.1 * (right - line.x0)
    decimal = numbered and text[0].isdigit()
    return (decimal or short) and _apart(lines, at) and not _goes_on(lines, at)


def heading_level(text: str, line: Line, body: float, title: float) -> int:
    """1 for the title, by its size; 2 for a section, one more for each point of its number."""
    if line.size > title - 0.3 and not is_known_section(text):
        return 1
    number = NUMBERED.match(text)
    if number is not None:
        return min(6, 2 + number[1].count("."))
    if is_known_section(text) or line.size >= 1.15 * body:
        return 2
    return 3


def _starts_well(text: str) -> bool:
    return not text[0].islower() and text[0] not in ",.;:)"


def _apart(lines: Sequence[Line], at: int) -> bool:
    """Whether a line stands a little off from the one before, or is another size or weight."""
    if at == 0:
        return True
    before, line = lines[at - 1], lines[at]
    return line.y1 - before.y1 > 1.25 * line.size or before.bold != line.bold or abs(before.size - line.size) > 0.5


def _goes_on(lines: Sequence[Line], at: int) -> bool:
    """Whether the next line is the same sentence: it begins small, and no wider step parts them."""
    if at + 1 >= len(lines):
        return False
    line, after = lines[at], lines[at + 1]
    return after.text[:1].islower() and not after.bold and after.y1 - line.y1 < 1.5 * line.size
