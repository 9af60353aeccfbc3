"""Markdown and plain text as blocks; tables written in HTML become pipe tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

from gag.corpus.parsing.blocks import Block, pipe_table
from gag.corpus.parsing.structure import HEADING, text_blocks

_FRONT = re.compile(r"\A---\n(?:[\w-]+:.*\n|[ \t-].*\n){1,200}---\n")
_COMMENT = (re.compile(r"<!--(?!\s*Slide number)"), re.compile("-->"))
_SLIDE = re.compile(r"<!--\s*Slide number:\s*(\d+)\s*-->")
_TABLE = (re.compile(r"<table\b", re.IGNORECASE), re.compile(r"</table\s*>", re.IGNORECASE))
_SETEXT = re.compile(r"^(?! {4})(\S.*)\n {0,3}(=+|-{3,})[ \t]*$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]\n]*)\]\((?:<[^>\n]*>|[^()\s]*(?:\([^()\s]*\)[^()\s]*)*)(?:\s+\"[^\"\n]*\")?\)")
_STRONG = re.compile(r"(\*\*|__)(?=\S)(.{1,400}?)(?<=\S)\1")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+.!|~-])")
_DETAILS = re.compile(
    r"</?(?:details|summary|div|span|p|br|sup|sub|center|font|html|body)\b[^<>]{0,500}>", re.IGNORECASE
)


def markdown_blocks(text: str) -> tuple[Block, ...]:
    """The blocks of a Markdown text, links and emphasis as their words; slides of a presentation are pages."""
    text = _FRONT.sub("", text.replace("\r\n", "\n"))
    text = _replaced(text, _COMMENT, lambda _: "")
    text = _replaced(text, _TABLE, lambda table: f"\n\n{html_table(table)}\n\n")
    text = _SETEXT.sub(lambda match: f"{'#' if match[2][0] == '=' else '##'} {match[1].strip()}", text)
    blocks = []
    page = 0
    for number, part in enumerate(_SLIDE.split(text)):
        if number % 2:
            page = int(part)
        else:
            blocks += [_block(kind, words, page) for kind, words in _parts(part)]
    return tuple(block for block in blocks if block.text.strip())


def plain_blocks(text: str) -> tuple[Block, ...]:
    """The paragraphs of a plain text: what stands between empty lines. Nothing in it is markup."""
    paragraphs = re.split(r"\n[ \t]*(?:\n[ \t]*)+", text.replace("\r\n", "\n").replace("\r", "\n").strip("\n"))
    return tuple(Block("paragraph", words.rstrip()) for words in paragraphs if words.strip())


def html_table(source: str) -> str:
    """A table in HTML as a pipe table; a cell over several columns or rows stands in each of them."""
    reader = _TableReader()
    reader.feed(source)
    reader.close()
    return pipe_table(spread(reader.rows))


def spread(rows: list[list[tuple[str, int, int]]]) -> list[list[str]]:
    """Rows of cells (text, columns, rows it covers) as a plain grid."""
    grid: list[list[str]] = []
    held: dict[tuple[int, int], str] = {}
    for y, row in enumerate(rows):
        cells: list[str] = []
        for text, wide, high in row:
            while (y, len(cells)) in held:
                cells.append(held.pop((y, len(cells))))
            for x in range(len(cells), len(cells) + wide):
                held.update({(below, x): text for below in range(y + 1, y + high)})
            cells += [text] * wide
        while (y, len(cells)) in held:
            cells.append(held.pop((y, len(cells))))
        grid.append(cells)
    return grid


def plain_words(text: str) -> str:
    """A Markdown text's words: links by their text, without the marks of emphasis, escapes and inline HTML."""
    text = _LINK.sub(r"\1", text)
    text = _STRONG.sub(r"\2", text)
    text = _DETAILS.sub(lambda match: "\n" if match[0].lower().startswith("<br") else "", text)
    return _ESCAPED.sub(r"\1", text)


def _replaced(text: str, marks: tuple[re.Pattern[str], re.Pattern[str]], by: Callable[[str], str]) -> str:
    """`text` with all between an opening and the next closing mark, both included, replaced; in one pass."""
    parts, at = [], 0
    while (opened := marks[0].search(text, at)) and (closed := marks[1].search(text, opened.end())):
        parts += [text[at : opened.start()], by(text[opened.start() : closed.end()])]
        at = closed.end()
    return "".join([*parts, text[at:]])


def _parts(text: str) -> list[tuple[str, str]]:
    return [(block.kind, text[block.start : block.end].strip("\n")) for block in text_blocks(text)]


def _block(kind: str, words: str, page: int) -> Block:
    if kind == "heading":
        match = HEADING.match(words.strip("\n"))
        assert match is not None
        return Block("heading", plain_words(match[2]), len(match[1]), page)
    if kind == "code":
        return Block("code", words, page=page)
    if kind == "table":
        return Block("table", "\n".join(line.strip() for line in _LINK.sub(r"\1", words).split("\n")), page=page)
    return Block("paragraph", plain_words(words), page=page)


class _TableReader(HTMLParser):
    """Collects the rows of the tables in a piece of HTML; a table inside a cell gives its words to the cell."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[tuple[str, int, int]]] = []
        self._cell: list[str] | None = None
        self._size = (1, 1)
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._depth += tag == "table"
        if self._depth > 1:
            self._say(" ")
        elif tag == "tr":
            self._end_cell()
            self.rows.append([])
        elif tag in ("td", "th"):
            self._end_cell()
            given = dict(attrs)
            self._cell, self._size = [], (_count(given.get("colspan")), _count(given.get("rowspan")))
        elif tag in ("br", "p", "li"):
            self._say(" ")

    def handle_endtag(self, tag: str) -> None:
        self._depth -= tag == "table"
        if (self._depth == 1 and tag in ("td", "th", "tr")) or self._depth == 0:
            self._end_cell()

    def handle_data(self, data: str) -> None:
        self._say(data)

    def _say(self, text: str) -> None:
        if self._cell is not None:
            self._cell.append(text)

    def _end_cell(self) -> None:
        if self._cell is not None:
            if not self.rows:
                self.rows.append([])
            self.rows[-1].append((" ".join("".join(self._cell).split()), *self._size))
            self._cell = None


def _count(value: str | None) -> int:
    """A span as the file gives it, kept within reason."""
    return max(1, min(int(value), 100)) if value and value.isdigit() else 1
