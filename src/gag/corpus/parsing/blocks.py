"""What every parser gives: a document as blocks in reading order, with what is known of their pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

BlockKind = Literal[
    "heading", "paragraph", "table", "code", "caption", "footnote", "reference", "image", "furniture", "figure"
]
"""reference: an entry of a reference list. figure: words inside a picture. furniture: a page's header, footer, number.

The last four are what a parser already knows; it leaves them in, so that what is cut can be seen.
"""


@dataclass(frozen=True)
class Block:
    """One piece of a document. A table's text is a pipe table, a heading's has no `#`.

    `level` is a heading's, from 1. `page` counts from 1; 0 where there are no pages. `column` numbers the columns of
    the whole document, so that a paragraph that goes on in the next one is seen.
    """

    kind: BlockKind
    text: str
    level: int = 0
    page: int = 0
    column: int = 0

    def with_text(self, text: str) -> Block:
        """The same block with another text."""
        return replace(self, text=text)


@dataclass(frozen=True)
class Parsed:
    """A file as blocks. `wrapped` says that line ends inside a block are the page's, not the author's.

    `quality` are flags (`gag.corpus.parsing.quality`); `notes` say what a person should know of how it was read; `meta`
    goes to the document's meta.
    """

    parser: str
    version: str
    blocks: tuple[Block, ...]
    title: str | None = None
    pages: int | None = None
    wrapped: bool = False
    quality: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def characters(self) -> int:
        """Characters of all blocks."""
        return sum(len(block.text) for block in self.blocks)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary, with the blocks as short rows."""
        rows = [[b.kind, b.text, b.level, b.page, b.column] for b in self.blocks]
        return {**asdict(replace(self, blocks=())), "blocks": rows}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Parsed:
        """What `to_json` wrote."""
        blocks = tuple(Block(*fields) for fields in row["blocks"])
        return cls(**{**row, "blocks": blocks, "quality": tuple(row["quality"]), "notes": tuple(row["notes"])})


def pipe_table(rows: list[list[str]]) -> str:
    """Rows of cells as a Markdown table whose first row is the head; empty where there is no text."""
    rows = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    rows = [row for row in rows if any(row)]
    if not rows:
        return ""
    wide = max(len(row) for row in rows)
    rows = [row + [""] * (wide - len(row)) for row in rows]
    keep = [number for number in range(wide) if any(row[number] for row in rows)]
    lines = ["| " + " | ".join(row[number] for number in keep) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(keep), *lines[1:]])
