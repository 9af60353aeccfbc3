"""From pages of spans to blocks in reading order: columns, lines, paragraphs, headings, tables, captions, footnotes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from gag.corpus.parsing.blocks import Block, BlockKind
from gag.corpus.parsing.columns import in_columns
from gag.corpus.parsing.furniture import without_furniture
from gag.corpus.parsing.headings import heading_level, is_heading_line
from gag.corpus.parsing.page import Line, Page, Span, body_size, lines_of, pitch
from gag.corpus.parsing.page_tables import Table, aligned_table, ruled_tables, table_text

BULLET = re.compile(r"^(?:[•◦▪■●○–‣∙·*]|[\x00-\x1f\uf0b7\uf0a7]|\(?(?:\d{1,2}|[a-z]|[ivx]{1,4})[.)])\s+\S")
FLOAT = re.compile(
    r"^(?:fig(?:ure|\.)|scheme|chart|box|tab(?:le|\.)|algorithm)\s*\.?\s*[A-Z]?\d+\w?\s*[.:|(–—-]", re.IGNORECASE
)
FIGURE = re.compile(r"fig(?:ure|\.)|scheme|chart", re.IGNORECASE)
FOOTNOTE = re.compile(r"^(?:\d{1,2}|[*∗†‡§¶]+)\s?\S")
ENDED = re.compile(r"[.!?:;…][\"'”’)\]]*(?:\[[\d,– -]+\]|\d{1,3})?$")


SMALL = 0.93
"""Of the body's size: smaller is a note."""


@dataclass
class _Column:
    """The lines of one column: its left and right ends, the usual step between lines, the sizes of body and title."""

    lines: list[Line]
    x0: float
    x1: float
    step: float
    body: float
    title: float

    @classmethod
    def of(cls, spans: Sequence[Span], body: float, title: float) -> _Column:
        lines = lines_of(spans)
        text = [line for line in lines if abs(line.size - body) < 1.2] or lines
        return cls(lines, _usual(text), max(line.x1 for line in text), pitch(text, body), body, title)


def blocks_of(pages: Sequence[Page], furniture_pages: int = 3) -> list[Block]:
    """The pages' blocks in reading order, furniture before the page it is on; paragraphs keep their line ends."""
    body = body_size(pages)
    blocks: list[Block] = []
    title = _title_size(pages, body)
    column = 0
    for page, furniture in without_furniture(pages, furniture_pages):
        blocks += [Block("furniture", text, page=page.number, column=column) for text in furniture]
        for found in _page_blocks(page, body, title):
            column += 1
            blocks += [replace(block, page=page.number, column=column) for block in found]
        title = title if not page.spans else float("inf")
    return blocks


def _page_blocks(page: Page, body: float, title: float) -> Iterator[list[Block]]:
    """The blocks of each column of a page."""
    tables, rest = ruled_tables(page)
    marks = [Span(t.x0, t.y0, t.x1, t.y1, f"\x00{number}", body) for number, t in enumerate(tables)]
    for spans in in_columns([*rest, *marks], page.width, page.height):
        held = [span for span in spans if span.text.startswith("\x00")]
        words = [span for span in spans if not span.text.startswith("\x00")]
        yield list(_with_tables(words, [tables[int(span.text[1:])] for span in held], body, title))


def _with_tables(words: Sequence[Span], tables: Sequence[Table], body: float, title: float) -> Iterator[Block]:
    """A column's blocks, each table between what stands above and below it."""
    if not words:
        yield from (Block("table", table.text) for table in tables)
        return
    column = _Column.of(words, body, title)
    ordered = sorted(tables, key=lambda table: table.y0)
    for above, below in pairwise([None, *ordered, None]):
        top, bottom = (above.y0 if above else float("-inf")), (below.y0 if below else float("inf"))
        part = [line for line in column.lines if top <= (line.y0 + line.y1) / 2 < bottom]
        blocks = _without_figure_text(list(_column_blocks(replace(column, lines=part))), column)
        if above is not None:
            labels = bool(blocks) and FIGURE.match(blocks[0].text) is not None and _is_wordy(above.text)
            yield Block("figure" if labels else "table", above.text)
        yield from blocks


def _column_blocks(column: _Column) -> Iterator[tuple[Block, list[Line]]]:
    """Each block with the lines it is made of."""
    lines = column.lines
    at, noted = 0, False
    while at < len(lines):
        rows = aligned_table(lines[at:])
        if rows:
            yield Block("table", table_text(lines[at : at + rows])), lines[at : at + rows]
            at += rows
            continue
        end = at + 1
        if is_heading_line(lines, at, column.body, column.x1):
            while end < len(lines) and _same_heading(lines[end - 1], lines[end], lines, column):
                end += 1
            text = " ".join(line.text for line in lines[at:end])
            yield Block("heading", text, level=heading_level(text, lines[at], column.body, column.title)), lines[at:end]
        else:
            while end < len(lines) and not _begins(lines, end, column):
                end += 1
            kind = _paragraph_kind(lines[at:end], column, noted)
            noted = kind == "footnote" or (noted and kind != "paragraph")
            yield Block(kind, "\n".join(line.text for line in lines[at:end])), lines[at:end]
        at = end


def _begins(lines: Sequence[Line], at: int, column: _Column) -> bool:
    """Whether a paragraph ends before line `at`."""
    before, line = lines[at - 1], lines[at]
    if line.y1 - before.y1 > 1.45 * column.step + 0.5 * max(0.0, line.size - before.size):
        return True
    notes = max(line.size, before.size) < SMALL * column.body
    if not notes and abs(line.size - before.size) > 0.12 * before.size and min(len(line.text), len(before.text)) > 3:
        return True
    if is_heading_line(lines, at, column.body, column.x1) or aligned_table(lines[at:]):
        return True
    if FLOAT.match(line.text) or (BULLET.match(line.text) and ENDED.search(before.text)):
        return True
    full = before.x1 > column.x1 - 0.12 * (column.x1 - column.x0)
    indented = 0.5 * line.size < line.x0 - before.x0 < 4 * line.size and line.x0 - column.x0 > 0.5 * line.size
    if line.size < SMALL * column.body and _new_note(before, line, indented):
        return True
    if indented and (ENDED.search(before.text) or not full) and _starts_upper(line.text):
        return True
    return not full and ENDED.search(before.text) is not None and _starts_upper(line.text) and line.x0 <= before.x0 + 2


def _new_note(before: Line, line: Line, indented: bool) -> bool:
    """Whether a footnote begins: a mark after a sentence's end, an indent, or the note of the number before."""
    if FOOTNOTE.match(line.text) is None:
        return False
    one, two = (re.match(r"\d{1,2}", text) for text in (before.text, line.text))
    return indented or ENDED.search(before.text) is not None or (one and two and int(two[0]) == int(one[0]) + 1) is True


def _same_heading(before: Line, line: Line, lines: Sequence[Line], column: _Column) -> bool:
    """Whether a heading goes on in the next line."""
    near = line.y1 - before.y1 < 1.6 * max(line.size, before.size)
    alike = abs(line.size - before.size) < 0.6 and line.bold == before.bold
    numbered = re.match(r"^(?:\d+(?:\.\d+)*|[IVX]+)[.)]?\s+\S", line.text)
    at = lines.index(line)
    return near and alike and not numbered and is_heading_line(lines, at, column.body, column.x1)


def _paragraph_kind(lines: Sequence[Line], column: _Column, noted: bool) -> BlockKind:
    """caption, footnote or paragraph; what is small after a footnote is one too."""
    text = lines[0].text
    if FLOAT.match(text):
        return "caption"
    small = max(line.size for line in lines) < SMALL * column.body
    return "footnote" if small and (noted or FOOTNOTE.match(text)) else "paragraph"


def _without_figure_text(pairs: Sequence[tuple[Block, Sequence[Line]]], column: _Column) -> list[Block]:
    """The blocks, with words inside a picture told apart as `figure`: labels that stand right above its caption."""
    found = [block for block, _ in pairs]
    for number, block in enumerate(found):
        if block.kind != "caption" or FIGURE.match(block.text) is None:
            continue
        for above in range(number - 1, -1, -1):
            if not _is_label(*pairs[above], column):
                break
            found[above] = replace(found[above], kind="figure")
    return found


def _is_label(block: Block, lines: Sequence[Line], column: _Column) -> bool:
    """Whether a block is a picture's words and no sentence: small or short lines, none that ends a sentence."""
    if block.kind in ("caption", "heading") or not lines:
        return False
    width = column.x1 - column.x0
    slight = all(line.size < SMALL * column.body or line.x1 - line.x0 < 0.6 * width for line in lines)
    return slight and not (re.search(r"[a-z]{3,}[.?!:]$", block.text) and len(block.text.split()) > 5)


def _is_wordy(table: str) -> bool:
    """Whether hardly a cell has a figure in it: a picture's labels, not a table."""
    cells = [cell for line in table.split("\n")[2:] for cell in line.strip("| ").split("|")]
    return sum(any(c.isdigit() for c in cell) for cell in cells) < 0.2 * len(cells)


def _title_size(pages: Sequence[Page], body: float) -> float:
    """The size of the title: the largest type in the upper part of the first page that has text; infinite if common."""
    first = next((page for page in pages if page.spans), None)
    if first is None:
        return float("inf")
    sizes = [s.size for s in first.spans if s.y1 < 0.6 * first.height and _is_wording(s.text)]
    return max(sizes) if sizes and max(sizes) >= 1.15 * body else float("inf")


def _usual(lines: Sequence[Line]) -> float:
    """The left end that most lines have."""
    counts: dict[float, int] = {}
    for line in lines:
        key = round(line.x0 / 2) * 2.0
        counts[key] = counts.get(key, 0) + 1
    return max(counts, key=lambda key: (counts[key], -key))


def _is_wording(text: str) -> bool:
    """Whether a title could have it: mostly letters, and no address."""
    letters = sum(c.isalpha() for c in text)
    return letters > 3 and letters > 0.6 * len(text.replace(" ", "")) and "@" not in text


def _starts_upper(text: str) -> bool:
    letters = [c for c in text if c.isalpha()]
    return not letters or letters[0].isupper() or not letters[0].islower()
