"""Flags of a document that was read but may be read wrong: scanned pages, garbled letters, columns mixed up."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from gag.corpus.parsing.page import Page

SCANNED, GARBLED, INTERLEAVED = "scanned without text layer", "garbled encoding", "two columns interleaved"
FLAGS = (SCANNED, GARBLED, INTERLEAVED)

_CID = re.compile(r"\(cid:\d+\)")
_HYPHENATED = re.compile(r"[^\W\d_]{2}[-\u2010]$")
_MOJIBAKE = re.compile("Ã[\u0080-\u00bf©¨¤¶¼]|â€[\u0090-\u00bf™œ\u009d]|Â[\u00a0-\u00bf]|ï¿½")


def page_flags(pages: Sequence[Page]) -> tuple[str, ...]:
    """The flags of a document by its pages: half of them scanned; a fifth of them garbled, or the text so."""
    flags = []
    if pages and 2 * sum(page.scanned for page in pages) >= len(pages):
        flags.append(SCANNED)
    text = "\n".join(span.text for page in pages for span in page.spans)
    if 5 * sum(page.garbled for page in pages) >= max(1, len(pages)) or is_garbled(text):
        flags.append(GARBLED)
    return tuple(flags)


def text_flags(text: str) -> tuple[str, ...]:
    """The flags of a text whose lines are as they were on the page."""
    flags = (GARBLED,) if is_garbled(text) else ()
    return (*flags, INTERLEAVED) if is_interleaved(text.split("\n")) else flags


def is_garbled(text: str) -> bool:
    """Whether letters are wrong: one in fifty is a replacement, private or control character or part of a mix-up."""
    letters = len(text) - text.count(" ") - text.count("\n")
    if letters < 40:
        return False
    odd = sum(unicodedata.category(c) in ("Co", "Cn", "Cs") or c == "\ufffd" for c in text if ord(c) > 127)
    odd += sum(ord(c) < 32 and c not in "\n\r\t\f\v" for c in text)
    odd += sum(len(match) for match in _CID.findall(text)) + 2 * len(_MOJIBAKE.findall(text))
    return odd > 0.02 * letters


def _has_gap(line: str) -> bool:
    """Whether a line has two long halves, three spaces or more between them."""
    halves = [half for half in line.split("   ") if half.strip()]
    return len(halves) == 2 and all(len(half.strip()) > 15 for half in halves)


def is_interleaved(lines: Sequence[str]) -> bool:
    """Whether two columns were read across: lines with a wide gap inside, or words parted at a line's end.

    Of 8 or more hyphens at line ends, two in five are followed by something else than the rest of a word; or a third of
    40 and more lines have a gap of three spaces between two long halves.
    """
    full = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("|")]
    gaps = sum(_has_gap(line) for line in full if "   " in line)
    if len(full) >= 40 and 3 * gaps > len(full):
        return True
    ends = [number for number, line in enumerate(full[:-1]) if _HYPHENATED.search(line)]
    stray = sum(not full[number + 1][0].islower() for number in ends)
    return len(ends) >= 8 and 5 * stray >= 2 * len(ends)
