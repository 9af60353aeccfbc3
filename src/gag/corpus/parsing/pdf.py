"""PDF files: spans by liteparse, or by pypdfium2 where that cannot, laid out by `gag.corpus.parsing.layout`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from gag.corpus.parsing.blocks import Block, Parsed
from gag.corpus.parsing.errors import ParseError
from gag.corpus.parsing.layout import blocks_of
from gag.corpus.parsing.page import Page, Rule, Span
from gag.corpus.parsing.pdfium import pdfium_pages
from gag.corpus.parsing.quality import INTERLEAVED, is_interleaved, page_flags

BOLD = re.compile(r"bold|black|heavy|medi\b|-b$", re.IGNORECASE)
MARKED = re.compile(r"(.*(?:[^\W\d_]{4}|[^\W\d_][.,;:)”\"’]+))(\d{1,3}(?:[,–-]\d{1,3})*)([.,;:]?)")
"""A word of four letters, or a sentence's sign, and the numbers of notes; "cm2" is none."""

MATH_SIGNS = {
    r"\to": "→",
    r"\rightarrow": "→",
    r"\leftarrow": "←",
    r"\|": "‖",
    r"\in": "∈",
    r"\times": "×",
    r"\leq": "≤",
}
MATH_SIGNS |= {r"\geq": "≥", r"\neq": "≠", r"\not": "", r"\pm": "±", r"\sum": "∑", r"\cdot": "·", r"\infty": "∞"}

PICTURE = 0.5
"""Of a page: so much picture and hardly a letter is a scan."""


def parse_pdf(path: Path, *, reader: str, max_pages: int, furniture_pages: int) -> Parsed:
    """A PDF file's blocks; raises ParseError where it is locked, damaged, too long or holds no text.

    With `reader` liteparse, pypdfium2 reads what liteparse cannot, and a note says so.
    """
    count = checked_pages(path, max_pages)
    notes: list[str] = []
    name = reader
    pages: list[Page] = []
    if reader == "liteparse":
        try:
            pages, notes = _by_liteparse(path)
        except Exception as error:  # a native library's own error types
            notes = [f"liteparse could not read it ({_said(error)}); pypdfium2 did"]
    if not any(page.spans for page in pages):
        name = "pypdfium2"
        with _opened(path) as document:
            pages = pdfium_pages(document)
    if not any(page.spans for page in pages):
        raise ParseError(f"no text in its {count} page{'s' * (count != 1)}: a scan without a text layer?", scanned=True)
    missing = count - len(pages)
    if missing > 0:
        notes.append(f"{missing} of {count} pages could not be read")
    blocks = blocks_of(pages, furniture_pages)
    mixed = is_interleaved([line for b in blocks if b.kind == "paragraph" for line in b.text.split("\n")])
    return Parsed(
        parser=name,
        version=version(name),
        blocks=tuple(blocks),
        title=_title(blocks),
        pages=count,
        wrapped=True,
        quality=(*page_flags(pages), *((INTERLEAVED,) if mixed else ())),
        notes=tuple(notes),
    )


def checked_pages(path: Path, max_pages: int) -> int:
    """The number of pages of a PDF file that can be opened and is not too long; raises ParseError."""
    with _opened(path) as document:
        count = len(document)
    if count > max_pages:
        raise ParseError(f"{count:,} pages, more than corpus.max_pages ({max_pages:,})")
    if count == 0:
        raise ParseError("no pages")
    return count


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file as pypdfium2's document; raises ParseError where it is locked or damaged."""
    pypdfium2: Any = import_module("pypdfium2")

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        reason = str(error)
        if "password" in reason.lower():
            raise ParseError("protected by a password") from None
        raise ParseError(f"no whole PDF file: truncated or damaged ({_said(error)})") from None
    try:
        yield document
    finally:
        document.close()


def _by_liteparse(path: Path) -> tuple[list[Page], list[str]]:
    import liteparse

    parser = liteparse.LiteParse(
        ocr_enabled=False,
        quiet=True,
        num_workers=1,
        continue_on_page_error=True,
        extract_text_metadata=True,
        emit_word_boxes=True,
        extract_vector_graphics=True,
        include_complexity=True,
        image_mode="off",
    )
    result = parser.parse(path.read_bytes())
    notes = [f"page {error.page_num}: {_said(error.message)}" for error in result.page_errors]
    return [_liteparse_page(page) for page in result.pages], notes


def _liteparse_page(page: Any) -> Page:
    rules = [
        Rule(min(line.x1, line.x2), max(line.x1, line.x2), line.y1)
        for line in (page.vector_graphics.lines if page.vector_graphics else ())
        if abs(line.y1 - line.y2) < 1
    ]
    upright = [item for item in page.text_items if abs(item.rotation) < 5]
    tall = _tallness(upright)
    spans = [span for item in upright for span in _item_spans(item, tall.get(item.font_name, tall[None]))]
    about = page.complexity
    scanned = about is not None and len(spans) < 3 and bool(about.full_page_image or about.image_coverage > PICTURE)
    return Page(
        page.page_num, page.width, page.height, tuple(spans), tuple(rules), scanned, bool(about and about.is_garbled)
    )


def _item_spans(item: Any, tall: float) -> Iterator[Span]:
    """A text item as a span, without the marks of notes in it; `tall` is a box's height for each point of type.

    Its words are spans of their own where a gap is wide, as in a table, or may hold the upper half of a fraction.
    """
    heights = sorted(word.height for word in item.words) or [item.height]
    usual = heights[(len(heights) - 1) // 2]
    size = max(
        float(item.font_height or item.font_size or item.height), 0.9 * usual / tall if len(heights) > 1 else 0.0
    )
    bold = (item.font_weight or 400) >= 600 or BOLD.search(item.font_name or "") is not None
    gaps = [after.x - word.x - word.width for word, after in pairwise(item.words)]
    if "\u2044" in item.text or any(gap > 0.9 * size for gap in gaps):
        for word in item.words:
            yield Span(word.x, word.y, word.x + word.width, word.y + word.height, word.text, size, bold)
        return
    text = _plain_math(_without_marks(item, tall * size))
    if text.strip():
        words = tuple((word.x, word.x + word.width, word.text) for word in item.words)
        yield Span(item.x, item.y, item.x + item.width, item.y + item.height, text, size, bold, words)


def _without_marks(item: Any, height: float) -> str:
    """The item's text but for raised numbers at the ends of words, which point to notes: boxes higher than `height`."""
    text, words = str(item.text), item.words
    if [word.text for word in words] != text.split():
        return text
    low = max((word.y for word in words), default=item.y)
    pieces = []
    for word in words:
        raised = word.height > height + 0.6 and (word.y < low - 0.6 or len(words) == 1)
        marked = MARKED.fullmatch(word.text) if raised else None
        pieces.append(marked[1] + marked[3] if marked else word.text)
    return " ".join(pieces)


def _tallness(items: Sequence[Any]) -> dict[str | None, float]:
    """Height of a word's box for each point of its type, by font, as most of a page have it; None for all fonts."""
    ratios: dict[str | None, list[float]] = {None: []}
    for item in items:
        if item.font_height and len(item.words) > 1:
            found = [word.height / item.font_height for word in item.words]
            ratios[None] += found
            ratios.setdefault(item.font_name, []).extend(found)
    return {font: median(found) for font, found in ratios.items() if found} or {None: 1.2}


def _plain_math(text: str) -> str:
    """Text without the LaTeX that liteparse writes for letters of mathematical fonts."""
    if not re.search(r"\\[a-z]+|[_^]\{", text):
        return text
    for command, sign in MATH_SIGNS.items():
        text = text.replace(command, sign)
    text = re.sub(r"\\math[a-z]*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"([_^])\{([^{}]*)\}", r"\1\2", text)
    return re.sub(r"\\(?:left|right|big|Big)?|\$", "", text)


def _title(blocks: list[Block]) -> str | None:
    """The largest heading of the first page, when it is its first."""
    return next((block.text for block in blocks[:8] if block.kind == "heading" and block.level == 1), None)


def _said(error: object) -> str:
    return " ".join(str(error).split())[:200]
