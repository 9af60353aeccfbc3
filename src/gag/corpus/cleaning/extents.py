"""How far a section reaches that is left out: its heading says where it begins, the text must show where it ends."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gag.corpus.cleaning.references import may_be_entry
from gag.corpus.parsing.blocks import Block
from gag.corpus.parsing.sections import is_known_section, section_kind

LONGEST = 2500
"""Characters that a section of names, thanks or supporting files may have; more only in a long document."""

SHARE = 1 / 3
"""The part of a document above which such a section is taken for the text itself."""

_NUMBER = re.compile(r"\W*((?:\d{1,3}|[A-Z])(?:\.\d{1,3})*)\b")
_TEXT = re.compile(r"[.!?:。！？]\W*$|^\s*(?:[-*•]|\d+[.)])\s")
_NO_HEADING = re.compile(r"[\n,;@]|\b[A-Z]\.|[.!]$")


def section_end(blocks: Sequence[Block], at: int, kind: str, *, bare: bool, wrapped: bool) -> int:
    """Where the section of `kind` ends that block `at` opens; `at` itself where it is taken for text.

    `bare` says that the heading is a line like others, `wrapped` that headings' levels are a guess (see `Parsed`).
    """
    listed = kind == "references"
    stated = listed and not bare and not wrapped
    end = at + 1
    while end < len(blocks):
        block = blocks[end]
        if block.kind == "heading":
            if _ends(block, blocks[at], stated):
                break
        elif block.kind in ("paragraph", "footnote") and not stated:
            if bare and _is_like_heading(blocks, end) and not (listed and may_be_entry(block.text)):
                break
            if listed and not any(may_be_entry(text) for text in _two(blocks, end)):
                break
        end += 1
    if listed:
        return end if stated or end > at + 1 else at
    size, whole = (sum(len(block.text) for block in some) for some in (blocks[at:end], blocks))
    return at if size > (min if bare else max)(LONGEST, whole * SHARE) else end


def _ends(heading: Block, opener: Block, stated: bool) -> bool:
    """Whether a heading ends the section of `opener`: any that is not numbered below it, or as high where `stated`."""
    if section_kind(heading.text) is not None or is_known_section(heading.text):
        return True
    if stated:
        return heading.level <= opener.level
    number = _NUMBER.match(opener.text)
    return number is None or not heading.text.lstrip().startswith(f"{number[1]}.")


def _is_like_heading(blocks: Sequence[Block], at: int) -> bool:
    """Whether a paragraph is a short line without names in it, and sentences, a list, table or code follow."""
    text = blocks[at].text.strip()
    if at + 1 == len(blocks) or len(text) > 80 or len(text.split()) > 10 or text[:1].islower():
        return False
    after = blocks[at + 1]
    follows = after.kind in ("table", "code") or _TEXT.search(after.text) is not None
    return follows and _NO_HEADING.search(text) is None


def _two(blocks: Sequence[Block], at: int) -> list[str]:
    """The texts of a paragraph and of the next one of its section."""
    texts: list[str] = []
    for block in blocks[at:]:
        if block.kind == "heading" or len(texts) == 2:
            break
        if block.kind in ("paragraph", "footnote"):
            texts.append(block.text)
    return texts
