"""A PDF file's pages by pypdfium2, letter by letter: what is left when liteparse cannot read a file."""

from __future__ import annotations

import ctypes
import math
from importlib import import_module
from typing import Any

from gag.corpus.parsing.page import Page, Span

PICTURE = 0.5
"""Of a page: so much picture and not a letter is a scan."""

GAP = 0.9
"""Letters that are further apart than so many times their size are in two spans."""

_HYPHENS = {2: "-", 0xFFFE: "-"}
"""What pdfium gives for a hyphen at a line's end."""


def pdfium_pages(document: Any) -> list[Page]:
    """The pages of an open document that can be read."""
    pages = []
    for number in range(len(document)):
        try:
            page = document[number]
            pages.append(_page(page, number + 1))
            page.close()
        except Exception:  # a damaged page raises anything; the others are read, and the count says that one is missing
            continue
    return pages


def _page(page: Any, number: int) -> Page:
    width, height = page.get_size()
    left, bottom = page.get_cropbox()[:2]
    text = page.get_textpage()
    spans: list[Span] = []
    run: list[_Letter] = []
    for letter in _letters(text):
        if run and (letter is None or not letter.follows(run[-1])):
            spans += _span(run, left, height + bottom)
            run = []
        if letter is not None:
            run.append(letter)
    spans += _span(run, left, height + bottom)
    pictures = sum(_area(item) for item in page.get_objects(filter=[3], max_depth=2)) / (width * height)
    text.close()
    return Page(number, width, height, tuple(spans), scanned=not spans and pictures > PICTURE)


class _Letter:
    """A letter and its box, from the page's lower left."""

    __slots__ = ("bold", "bottom", "left", "right", "size", "text", "top")

    def __init__(self, text: str, box: tuple[float, float, float, float], size: float, bold: bool) -> None:
        self.text, self.size, self.bold = text, size, bold
        self.left, self.right, self.bottom, self.top = box

    def follows(self, other: _Letter) -> bool:
        """Whether it goes on in the same run: of one size, on one line, not far to the right."""
        level = min(self.top, other.top) - max(self.bottom, other.bottom)
        low = 0.4 * min(self.top - self.bottom, other.top - other.bottom)
        near = -0.6 * other.size < self.left - other.right < GAP * other.size
        return near and level >= min(low, 0.0) and abs(self.size - other.size) < 0.15 * other.size


def _letters(text: Any) -> Any:
    """Every letter of a page in its own order, None where a line ends; spaces as pdfium sees them."""
    raw: Any = import_module("pypdfium2.raw")
    sides = [ctypes.c_double() for _ in range(4)]
    pointers = [ctypes.byref(side) for side in sides]
    matrix = raw.FS_MATRIX()
    last: _Letter | None = None
    for index in range(raw.FPDFText_CountChars(text)):
        code = raw.FPDFText_GetUnicode(text, index)
        if code in (10, 13, 0):
            yield None
            continue
        letter = _HYPHENS.get(code) or chr(code)
        raw.FPDFText_GetCharBox(text, index, *pointers)
        box = (sides[0].value, sides[1].value, sides[2].value, sides[3].value)
        if letter.isspace() or box[1] <= box[0]:
            if last is not None:
                last.text += " " if letter.isspace() else letter
            continue
        scale = math.hypot(matrix.c, matrix.d) if raw.FPDFText_GetMatrix(text, index, ctypes.byref(matrix)) else 1.0
        size = scale * abs(raw.FPDFText_GetFontSize(text, index)) or box[3] - box[2]
        last = _Letter(letter, box, size, raw.FPDFText_GetFontWeight(text, index) >= 600)
        yield last


def _span(run: list[_Letter], left: float, top: float) -> list[Span]:
    text = "".join(letter.text for letter in run)
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    words = " ".join(text.split()) + (" " if text[-1:].isspace() else "")
    if not words.strip():
        return []
    size = max(letter.size for letter in run)
    low = sorted(letter.bottom for letter in run)[len(run) // 2]
    bold = sum(letter.bold for letter in run) > 0.5 * len(run)
    top -= low + 0.8 * size
    parts = tuple((x0 - left, x1 - left, word) for x0, x1, word in _words(run))
    return [Span(run[0].left - left, top, run[-1].right - left, top + size, words, size, bold, parts)]


def _words(run: list[_Letter]) -> list[tuple[float, float, str]]:
    """Left and right end and text of each word of a run."""
    words: list[tuple[float, float, str]] = []
    ended = True
    for letter in run:
        text = letter.text.rstrip()
        if ended or not words:
            words.append((letter.left, letter.right, text))
        else:
            words[-1] = (words[-1][0], letter.right, words[-1][2] + text)
        ended = letter.text != text
    return words


def _area(picture: Any) -> float:
    x0, y0, x1, y1 = picture.get_bounds()
    return abs(float((x1 - x0) * (y1 - y0)))
