"""Passages: a document cut along its structure into pieces of at most so many tokens (paper: 480, no overlap).

A paragraph is cut only where it does not fit a passage, then between sentences; a table is kept whole up to a limit of
its own, then cut between rows. Passages cut without overlap join to the document's text, character by character.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from gag.corpus.parsing.structure import TextBlock, is_caption, text_blocks
from gag.records import Document, Passage

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENS = 480
TABLE_TOKENS = 2048

_ENDS = (
    re.compile(r"\n+"),
    re.compile(r"(?<=[.!?…。！？؟।])[\"'”’)\]]*\s+|(?<=[。！？])"),
    re.compile(r"\s+"),
)
"""Where a block that does not fit is cut: after lines, else sentences, else words, else (in halves) anywhere."""


@dataclass(frozen=True)
class _Unit:
    """What is never cut: a block that fits, or a sentence or row of one that does not; white space after it included.

    `keeps_next` says that it should not be a passage's last: a heading, or a caption and its table.
    """

    start: int
    end: int
    tokens: int
    block: TextBlock
    keeps_next: bool = False


class _Text:
    """A text and how many tokens its parts have."""

    def __init__(self, text: str, tokenizer: PreTrainedTokenizerBase) -> None:
        self.text = text
        self._tokenizer = tokenizer

    def tokens(self, spans: Sequence[tuple[int, int]], *, bare: bool = False) -> list[int]:
        """Tokens of each span, without special ones; `bare` leaves out the white space around it."""
        texts = [self.text[start:end].strip() if bare else self.text[start:end] for start, end in spans]
        if not texts:
            return []
        encoded = self._tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def fitting(self, spans: Sequence[tuple[int, int]], limit: int) -> list[int | None]:
        """Tokens of each span, None where it has more than `limit` even without the white space around it."""
        counts: list[int | None] = []
        for (start, end), count in zip(spans, self.tokens(spans), strict=True):
            around = end - start - len(self.text[start:end].strip())
            fits = count <= limit
            if not fits and around > 2 and count - limit <= 4 * around:
                fits = self.tokens([(start, end)], bare=True)[0] <= limit
            counts.append(min(count, limit) if fits else None)
        return counts


def chunk_document(
    document: Document,
    tokenizer: PreTrainedTokenizerBase,
    tokens: int = TOKENS,
    overlap: int = 0,
    *,
    table_tokens: int = TABLE_TOKENS,
) -> list[Passage]:
    """`document` as passages of at most `tokens` tokens, of which up to `overlap` repeat the passage before.

    Only a table may have more, up to `table_tokens`. Nothing is repeated across a heading. Pages come from the
    document's `meta["page_starts"]` (first character of each page), where it has them. An id is
    `<document id>#<number from 1>`. Raises ValueError for an overlap above half of `tokens`.
    """
    if not 0 <= overlap <= tokens // 2:
        raise ValueError(f"overlap must be 0 to {tokens // 2}, half of the tokens, not {overlap}")
    text = _Text(document.text, tokenizer)
    pages = [int(start) for start in document.meta.get("page_starts", ())]
    groups = _groups(text, tokens - overlap, max(table_tokens, tokens) - overlap)
    passages = []
    for number, group in enumerate(groups):
        begin, end = group[0].start, group[-1].end
        repeats = overlap and number and group[0].block.kind != "heading"
        start = _overlapped(text, groups[number - 1], begin, overlap) if repeats else begin
        passages.append(
            Passage(
                id=f"{document.id}#{number + 1}",
                document_id=document.id,
                text=document.text[start:end],
                heading=" > ".join(_heading(group, document.title)) or None,
                span=(start, end),
                page=(bisect_right(pages, begin) or 1) if pages else None,
            )
        )
    return passages


def _groups(text: _Text, limit: int, table_limit: int) -> list[list[_Unit]]:
    """The units of each passage; tokens are added up unit by unit, then counted in each passage as a whole."""
    room = limit
    while True:
        groups = _packed(_units(text, room, table_limit), room, table_limit)
        allowed = [table_limit if max(u.tokens for u in group) > limit else limit for group in groups]
        full = [n for n, group in enumerate(groups) if sum(u.tokens + 1 for u in group) > allowed[n] and len(group) > 1]
        counts = text.tokens([(groups[n][0].start, groups[n][-1].end) for n in full], bare=True)
        excess = max((count - allowed[n] for n, count in zip(full, counts, strict=True)), default=0)
        if excess <= 0 or room <= limit // 2:
            return groups
        room = max(limit // 2, room - excess)  # a tokenizer whose parts have fewer tokens than the whole: rare


def _units(text: _Text, limit: int, table_limit: int) -> list[_Unit]:
    blocks = text_blocks(text.text)
    counts = text.fitting([(block.start, block.end) for block in blocks], limit)
    captions = [b.kind == "paragraph" and is_caption(text.text[b.start : b.end]) for b in blocks]
    tables = [block.kind == "table" for block in blocks]
    units: list[_Unit] = []
    for number, (block, count) in enumerate(zip(blocks, counts, strict=True)):
        span = (block.start, block.end)
        if count is None and tables[number]:
            count = text.fitting([span], table_limit)[0]
        next_is_table, next_is_caption = [*tables[number + 1 :][:1], False][0], [*captions[number + 1 :][:1], False][0]
        keeps = block.kind == "heading" or (captions[number] and next_is_table) or (tables[number] and next_is_caption)
        if count is not None:
            units.append(_Unit(*span, count, block, keeps))
        else:
            units += [_Unit(*part, block) for part in _cut(text, span, limit)]
    return units


def _cut(text: _Text, span: tuple[int, int], limit: int, rule: int = 0) -> Iterator[tuple[int, int, int]]:
    """`span` in parts that fit, each with its tokens: cut by the rules in turn, then in halves."""
    start, end = span
    inner = text.text[start:end]
    first, last = end - len(inner.lstrip()), start + len(inner.rstrip())
    if rule < len(_ENDS):
        cuts = [match.end() for match in _ENDS[rule].finditer(text.text, first, last)]
    elif last - first > 1:
        cuts = [(first + last) // 2]
    else:  # one character with more tokens than a passage may have
        yield start, end, limit
        return
    edges = [start]
    for cut in cuts:
        if first < cut < last and text.text[edges[-1] : cut].strip():
            edges.append(cut)
    if len(edges) == 1:
        yield from _cut(text, span, limit, rule + 1)
        return
    parts = list(pairwise([*edges, end]))
    for part, count in zip(parts, text.fitting(parts, limit), strict=True):
        if count is not None:
            yield *part, count
        else:
            yield from _cut(text, part, limit, min(rule + 1, len(_ENDS)))


def _packed(units: Sequence[_Unit], limit: int, table_limit: int) -> list[list[_Unit]]:
    """Units in order, a passage filled before the next begins; a heading begins one unless there is little before it.

    What keeps to its next moves on with it from a passage's end. A table above `limit` shares its passage with
    nothing but its heading and caption.
    """
    groups: list[list[_Unit]] = []
    current: list[_Unit] = []
    for unit in units:
        large = unit.tokens > limit
        filled = sum(one.tokens for one in current)
        full = large or filled + unit.tokens > limit
        begins = unit.block.kind == "heading" and filled >= limit // 4 and not all(u.keeps_next for u in current)
        if current and (full or begins):
            stay = len(current)
            while stay and current[stay - 1].keeps_next:
                stay -= 1
            groups.append(current[:stay])
            current = current[stay:]
            if sum(one.tokens for one in current) + unit.tokens > (table_limit if large else limit):
                groups.append(current)
                current = []
        current.append(unit)
        if large:
            groups.append(current)
            current = []
    return [group for group in (*groups, current) if group]


def _heading(group: Sequence[_Unit], title: str | None) -> tuple[str, ...]:
    """The title, and the headings that everything in the passage is under; the first ones where none is in common."""
    paths = [unit.block.path for unit in group if unit.block.kind != "heading"] or [group[-1].block.path]
    common = 0
    while all(len(path) > common and path[common] == paths[0][common] for path in paths):
        common += 1
    path = paths[0][:common] or paths[0]
    return path if title is None or path[:1] == (title,) else (title, *path)


def _overlapped(text: _Text, before: Sequence[_Unit], begin: int, overlap: int) -> int:
    """Where a passage starts that repeats the end of the one before: a sentence's start, else a word's, else `begin`.

    What stands before that one's last heading is not repeated.
    """
    first = max((unit.end for unit in before if unit.block.kind == "heading"), default=before[0].start)
    lowest = max(first, begin - 40 * overlap)
    for ends in _ENDS[1:]:
        starts = [match.end() for match in ends.finditer(text.text, lowest, begin) if match.end() < begin]
        starts = [first, *starts] if lowest == first else starts
        counts = text.tokens([(start, begin) for start in starts])
        fitting = [start for start, count in zip(starts, counts, strict=True) if count <= overlap]
        if fitting:
            return fitting[0]
    return begin
