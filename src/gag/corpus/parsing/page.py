"""A page as a PDF reader gives it: pieces of text with their boxes, and horizontal rules. Points, from the top left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

STRAY_SPACE = re.compile(r"(?<=\w) ([,.])(?= (?!\.)|$)")
"""Left where a note's mark stood."""

NUMBER = re.compile(r"[+\-−±~<>]?\d[\d.,]*%?")

MARK = re.compile(r"\d{1,3}(?:[,–-]\s?\d{1,3})*")
MARKED = re.compile(r"[^\W\d_]{4}$|[^\W\d_][.,;:)”\"’]+$")
"""What a note's mark follows: a word of four letters or a sentence's sign, not a unit."""


@dataclass(frozen=True)
class Span:
    """A piece of one line. `size` is the type's size in points; `words` are left end, right end and text of each."""

    x0: float
    y0: float
    x1: float
    y1: float
    text: str
    size: float
    bold: bool = False
    words: tuple[tuple[float, float, str], ...] = ()

    @property
    def middle(self) -> float:
        """Height of its middle."""
        return (self.y0 + self.y1) / 2


@dataclass(frozen=True)
class Rule:
    """A horizontal rule."""

    x0: float
    x1: float
    y: float


@dataclass(frozen=True)
class Page:
    """One page. `scanned`: mostly picture and no text; `garbled`: the reader says that its letters are wrong."""

    number: int
    width: float
    height: float
    spans: tuple[Span, ...]
    rules: tuple[Rule, ...] = ()
    scanned: bool = False
    garbled: bool = False


@dataclass(frozen=True)
class Line:
    """Spans side by side, from left to right."""

    spans: tuple[Span, ...]

    @property
    def x0(self) -> float:
        """Left end."""
        return self.spans[0].x0

    @property
    def x1(self) -> float:
        """Right end."""
        return max(span.x1 for span in self.spans)

    @property
    def y0(self) -> float:
        """Top of the largest span."""
        return max(self.spans, key=lambda span: len(span.text)).y0

    @property
    def y1(self) -> float:
        """Bottom of the largest span."""
        return max(self.spans, key=lambda span: len(span.text)).y1

    @property
    def size(self) -> float:
        """Size of most of its letters."""
        return max(self.spans, key=lambda span: len(span.text)).size

    @property
    def bold(self) -> bool:
        """Whether every span with letters is bold."""
        return all(span.bold for span in self.spans if any(c.isalnum() for c in span.text))

    @property
    def text(self) -> str:
        """Its spans' texts, spaced where there is room for it: more where the size changes, as in small caps."""
        text = self.spans[0].text
        for before, span in pairwise(self.spans):
            capitals = before.size > 1.1 * span.size and before.text[-1:].isupper() and span.text.isupper()
            room = span.x0 - before.x1 > (0.3 if capitals else 0.12) * max(span.size, before.size, 4.0)
            text += (" " if room else "") + span.text
        return STRAY_SPACE.sub(r"\1", " ".join(text.split()))

    def cells(self, gap: float) -> list[tuple[float, float, str]]:
        """Left end, right end and text of its parts, parted where the gap is wider than `gap` times the size.

        Between two numbers less is enough: they seldom stand side by side in a text.
        """
        words = [word for span in self.spans for word in span.words or ((span.x0, span.x1, span.text),)]
        parts: list[list[tuple[float, float, str]]] = [words[:1]]
        for before, word in pairwise(words):
            numbers = NUMBER.fullmatch(word[2]) is not None and NUMBER.fullmatch(before[2]) is not None
            if word[0] - before[1] > (0.6 if numbers else 1.0) * gap * max(self.size, 4.0):
                parts.append([])
            parts[-1].append(word)
        return [(part[0][0], max(x1 for _, x1, _ in part), " ".join(text for _, _, text in part)) for part in parts]


def lines_of(spans: Sequence[Span]) -> list[Line]:
    """Spans of one column as lines, from the top; what overlaps a line's height by half is on it."""
    rows: list[list[Span]] = []
    for span in sorted(spans, key=lambda s: (s.middle, s.x0)):
        for row in reversed(rows[-4:]):
            if _on_line(span, row):
                row.append(span)
                break
        else:
            rows.append([span])
    lines = [Line(tuple(_without_marks(sorted(row, key=lambda s: s.x0)))) for row in rows]
    return sorted(lines, key=lambda line: line.y1)


def body_size(pages: Sequence[Page]) -> float:
    """The size of most letters of the document, in points; 10 where there are none."""
    letters: dict[float, int] = {}
    for page in pages:
        for span in page.spans:
            size = round(span.size * 2) / 2
            letters[size] = letters.get(size, 0) + len(span.text)
    return max(letters, key=lambda size: letters[size]) if letters else 10.0


def pitch(lines: Sequence[Line], default: float) -> float:
    """The usual distance from one line to the next."""
    steps = [b.y1 - a.y1 for a, b in pairwise(lines) if 0.5 * default < b.y1 - a.y1 < 3 * default]
    return median(steps) if len(steps) > 2 else 1.25 * default


def _without_marks(row: Sequence[Span]) -> list[Span]:
    """The spans of a line but for small raised numbers after a word or a sentence's sign, which point to notes."""
    kept = [row[0]]
    main = max(row, key=lambda s: len(s.text))
    for span, after in pairwise([*row[1:], None]):
        assert span is not None
        raised = span.size < 0.85 * main.size and span.y1 < main.y1 - 0.12 * main.size
        raised = raised and not (after is not None and after.text.startswith(("\u2044", "/")))
        if not (raised and MARK.fullmatch(span.text.strip()) and MARKED.search(kept[-1].text.rstrip())):
            kept.append(span)
    return kept


def _on_line(span: Span, row: Sequence[Span]) -> bool:
    """Whether `span` overlaps the row's main span by half the lower of the two, and lies beside what is there."""
    main = max(row, key=lambda s: len(s.text))
    overlap = min(span.y1, main.y1) - max(span.y0, main.y0)
    if overlap < 0.5 * min(span.y1 - span.y0, main.y1 - main.y0):
        return False
    return all(min(span.x1, s.x1) - max(span.x0, s.x0) < 0.5 * min(span.x1 - span.x0, s.x1 - s.x0) + 0.5 for s in row)
