"""The structure of a document's text: headings, paragraphs, tables and code, as spans that cover it without a gap.

A cleaned document is Markdown in the plainest sense: `#` headings, blocks parted by blank lines, pipe tables, fenced
code. Plain text is read by the same rules; it has paragraphs only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["heading", "paragraph", "table", "code"]

HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*?)(?:[ \t]+#+)?[ \t]*$")
FENCE = re.compile(r" {0,3}(```+(?=[^`\n]*$)|~~~+)")
CAPTION = re.compile(r"\W{0,4}(?:supplementary |supporting |extended data )?tab(?:le|\.)\s*\w{0,4}\d", re.IGNORECASE)
"""How a table's caption begins; it is kept with the table after it."""


@dataclass(frozen=True)
class TextBlock:
    """Characters `start` to `end` of a text, with the white space after them; `path` are the headings it is under.

    A heading's own words are the last of its path.
    """

    kind: Kind
    start: int
    end: int
    path: tuple[str, ...]


def text_blocks(text: str) -> list[TextBlock]:
    """The blocks of `text` in order; each begins where the one before ends, the first at 0, the last ends the text."""
    found: list[TextBlock] = []
    headings: list[tuple[int, str]] = []
    for kind, start, line in _starts(text):
        if kind == "heading":
            match = HEADING.match(line)
            assert match is not None
            level = len(match[1])
            headings = [(above, words) for above, words in headings if above < level] + [(level, match[2])]
        if found:
            found[-1] = TextBlock(found[-1].kind, found[-1].start, start, found[-1].path)
        path = tuple(words for _, words in headings)
        found.append(TextBlock(kind, start if found else 0, len(text), path))
    return found


def is_caption(text: str) -> bool:
    """Whether a paragraph is a table's caption."""
    return CAPTION.match(text) is not None and len(text) < 1000


def _starts(text: str) -> list[tuple[Kind, int, str]]:
    """Kind, first character and first line of every block."""
    starts: list[tuple[Kind, int, str]] = []
    inside: Kind | None = None
    fence = ""
    position = 0
    for line in text.split("\n"):
        here, position = position, position + len(line) + 1
        if fence:
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence, inside = "", None
            continue
        if not line.strip():
            inside = None
            continue
        kind = _kind(line)
        if kind == "code":
            opened = FENCE.match(line)
            assert opened is not None
            fence = opened[1]
        if kind != inside or kind in ("heading", "code"):
            starts.append((kind, here, line))
        inside = None if kind == "heading" else kind
    return starts


def _kind(line: str) -> Kind:
    if HEADING.match(line):
        return "heading"
    if FENCE.match(line):
        return "code"
    return "table" if line.lstrip().startswith("|") else "paragraph"
