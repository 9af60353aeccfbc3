"""Markdown and plain text as blocks; tables written in HTML become pipe tables."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from gag.corpus.parsing.blocks import Block, pipe_table
from gag.corpus.parsing.structure import FENCE, HEADING, text_blocks

_FRONT = re.compile(r"\A---\n\w[\w-]*:.*\n(?:(?!---\n)(?:\w[\w-]*:|[ \t-]).*\n){0,200}---\n")
_OPENING = re.compile(
    r"(?P<escaped>\\[\\`])|(?P<fence>^[ \t]*(?:```+(?=[^`\n]*$)|~~~+).*\n)|(?P<code>(?<!`)`+)"
    r"|(?P<comment><!--(?!\s*Slide number))|(?P<table><table\b)",
    re.IGNORECASE | re.MULTILINE,
)
_ENDS = {"comment": re.compile("-->"), "table": re.compile(r"</table\s*>", re.IGNORECASE)}
_PARAGRAPH_END = re.compile(r"\n[ \t]*(?:\n|```|~~~|#|\|)")
LONGEST_CODE = 2000
"""Characters that code inside a paragraph may have."""

_MARK = re.compile("\0(\\d+)\0")
"""Stands for code while the text around it is read; a NUL is no text and is taken out first."""

_SLIDE = re.compile(r"<!--\s*Slide number:\s*(\d+)\s*-->")
_SETEXT = re.compile(r"^(?![-*+] )(\S.*)\n {0,3}(=+|-{3,})[ \t]*$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]\n]*)\]\((?:<[^>\n]*>|[^()\s]*(?:\([^()\s]*\)[^()\s]*)*)(?:\s+\"[^\"\n]*\")?\)")
_STRONG = re.compile(r"\*\*(?=\S)(.{1,400}?)(?<=\S)\*\*|(?<!\w)__(?=\S)(.{1,400}?)(?<=\S)__(?!\w)")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+.!|~-])")
_DETAILS = re.compile(
    r"</?(?:details|summary|div|span|p|br|sup|sub|center|font|html|body)\b[^<>]{0,500}>", re.IGNORECASE
)


def markdown_blocks(text: str) -> tuple[Block, ...]:
    """The blocks of a Markdown text, links and emphasis as their words; slides of a presentation are pages."""
    text, code = _set_aside(_FRONT.sub("", text.replace("\0", "").replace("\r\n", "\n")))
    text = _SETEXT.sub(lambda match: f"{'#' if match[2][0] == '=' else '##'} {match[1].strip()}", text)
    blocks = []
    page = 0
    for number, part in enumerate(_SLIDE.split(text)):
        if number % 2:
            page = int(part)
        else:
            blocks += [_block(kind, words, page) for kind, words in _parts(part)]
    blocks = [block.with_text(_MARK.sub(lambda mark: code[int(mark[1])], block.text)) for block in blocks]
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
    text = _STRONG.sub(lambda match: match[1] or match[2], text)
    text = _DETAILS.sub(lambda match: "\n" if match[0].lower().startswith("<br") else "", text)
    return _ESCAPED.sub(r"\1", text)


def _set_aside(text: str) -> tuple[str, list[str]]:
    """The text with its code as marks, tables in HTML as pipe tables and no comments; and the code. In one pass."""
    parts: list[str] = []
    code: list[str] = []
    done = at = 0
    unclosed: set[str] = set()
    while opened := _OPENING.search(text, at):
        kind, start, at = str(opened.lastgroup), opened.start(), opened.end()
        if kind in _ENDS and kind not in unclosed:
            closed = _ENDS[kind].search(text, at)
            if closed is None:
                unclosed.add(kind)
                continue
            at = closed.end()
            new = f"\n\n{html_table(text[start:at])}\n\n" if kind == "table" else ""
            parts += [text[done:start], new]
            done = at
        elif kind in ("fence", "code"):
            start, end, at = _fenced(text, opened, unclosed) if kind == "fence" else _code_span(text, opened)
            if start < end:
                parts += [text[done:start], f"\0{len(code)}\0"]
                done = end
                code.append(text[start:end])
    return "".join([*parts, text[done:]]), code


def _fenced(text: str, opened: re.Match[str], unclosed: set[str]) -> tuple[int, int, int]:
    """Start and end of the lines between two fences, and where to read on; the second may be missing."""
    start, fence = opened.end(), opened[0].strip()
    fence = fence[: len(fence) - len(fence.lstrip(fence[0]))]
    if fence not in unclosed and len(fence) < LONGEST_CODE:
        closed = re.compile(rf"^[ \t]*{fence}{fence[0]}*[ \t]*$", re.MULTILINE).search(text, start)
        if closed is not None:
            return start, closed.start() - 1, closed.end()
        unclosed.add(fence)
    return (start, len(text), len(text)) if FENCE.match(opened[0]) else (start, start, start)


def _code_span(text: str, opened: re.Match[str]) -> tuple[int, int, int]:
    """Start and end of code inside a paragraph, with its marks, and where to read on; nothing where it has no end."""
    start, at, marks = opened.start(), opened.end(), opened[0]
    before = text[max(0, start - LONGEST_CODE) : start].rpartition("\n")[2].lstrip()
    end = (re.compile("\n") if before[:1] in ("#", "|") else _PARAGRAPH_END).search(text, at, at + LONGEST_CODE)
    limit = end.start() if end is not None else at + LONGEST_CODE
    closed = re.compile(rf"(?<!`){marks}(?!`)").search(text, at, limit) if len(marks) < 20 else None
    return (start, closed.end(), closed.end()) if closed is not None else (start, start, at)


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
