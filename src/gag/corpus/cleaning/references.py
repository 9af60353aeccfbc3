"""Entries of a reference list, told by their form, where no heading says that the list begins."""

from __future__ import annotations

import re
from collections.abc import Sequence

LEAST = 5
"""So many entries in a row are a list."""

_YEAR = re.compile(r"\b(?:18|19|20)\d\d[a-z]?\b")
_NUMBERED = re.compile(r"^\s*(?:\[\d{1,4}\]|\(?\d{1,4}[.)])\s")
_INITIALS = re.compile(
    r"^\s*(?:\[\w{1,12}\]|\(?\d{1,4}[.)]?)?\s*(?:[A-ZÀ-Þ][\w'’-]+(?: [A-Z][\w'’-]+)?,? (?:[A-Z]\.?[ -]?){1,4}[,;&.]"
    r"|(?:[A-Z]\.[ -]?){1,3} ?[A-ZÀ-Þ][\w'’-]+,)"
)
_NAMES = re.compile(r"^\s*(?:\[\w{1,12}\]|\(?\d{1,4}[.)]?)?\s*(?:[A-ZÀ-Þ][\w.'’-]+ ){1,3}[A-ZÀ-Þ][\w'’-]+(?:, | and )")
_SOURCES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?i:\bdoi\b|https?://|\barxiv|\bpubmed\b|\bcrossref\b)",
        r"\b\d+\s*\(\d+\)|\b\d+:\s?(?:\d{3,}|\d+[–-]\d+(?![\d:]))|(?i:\bvol\.)",
        r"\bpp?\.\s*\d|\d+[–-]\d+\.?\s*$",
        r"\bIn (?:Proc|[A-Z]{3,})|(?<=\w )Press\b|\b(?:Springer|Elsevier|Wiley)\b",
        r"(?i:\bet al\b)",
        r"(?i:\bpreprint\b)",
    )
)
"""Where a work appeared: a link, a volume, pages, proceedings or a publisher; and what only citations say."""


def is_reference(text: str) -> bool:
    """Whether a paragraph is one entry of a reference list: names, a year, and where it appeared."""
    if not 30 < len(text) < 700 or _YEAR.search(text) is None:
        return False
    sources = sum(pattern.search(text) is not None for pattern in _SOURCES)
    numbered = _NUMBERED.match(text) is not None
    if _INITIALS.match(text) is not None:
        return numbered or sources > 0
    return sources > 0 if _NAMES.match(text) is not None else numbered and sources > 1


def may_be_entry(text: str) -> bool:
    """Whether a paragraph under the heading of a reference list has any sign of an entry."""
    patterns = (_YEAR, _NUMBERED, _INITIALS, *_SOURCES)
    return any(pattern.search(text) is not None for pattern in patterns)


def reference_runs(texts: Sequence[str]) -> set[int]:
    """Numbers of the texts that are in runs of `LEAST` or more entries; what is not one may stand between two."""
    runs: set[int] = set()
    current: list[int] = []
    missed = 0
    for number, text in enumerate([*texts, ""]):
        if number < len(texts) and text and is_reference(text):
            current.append(number)
            missed = 0
        elif number < len(texts) and text and len(text) < 300 and missed == 0 and current:
            missed += 1
        else:
            if len(current) >= LEAST:
                runs.update(range(current[0], current[-1] + 1))
            current, missed = [], 0
    return runs
