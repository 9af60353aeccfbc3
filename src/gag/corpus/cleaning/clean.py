"""A parsed document as clean text: lines and pages joined, what is no part of its subject cut, and the cuts kept.

The text is Markdown in the plainest sense (see `gag.corpus.parsing.structure`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gag.config import CorpusConfig
from gag.corpus.cleaning.characters import plain_characters
from gag.corpus.cleaning.extents import section_end
from gag.corpus.cleaning.references import reference_runs
from gag.corpus.cleaning.wrapping import Vocabulary, goes_on, join_lines, mend_hyphens
from gag.corpus.parsing.blocks import Block, Parsed
from gag.corpus.parsing.boilerplate import is_boilerplate
from gag.corpus.parsing.sections import is_known_section, run_in_kind, section_kind

VERSION = 2
"""Counts the changes of cleaning, so that documents cleaned before are cleaned again."""

IMAGE_LINE = re.compile(
    r"!\[[^\]\n]{0,2000}\](?:\([^)\n]{0,4000}\)|\[[^\]\n]{0,200}\])|<img\b[^<>]{0,4000}>"
    r"|\[image[^\]\n]{0,500}\]|data:image/\S+",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Cut:
    """Something left out: the parsed block it was, why, and its words."""

    block: int
    reason: str
    text: str
    page: int = 0


@dataclass(frozen=True)
class Cleaned:
    """The text, where each page begins in it, and what was cut. `text` is empty where nothing was left."""

    text: str
    title: str | None
    page_starts: tuple[int, ...]
    cuts: tuple[Cut, ...]


@dataclass
class _Item:
    """A block on its way: its number among the parsed ones, its text by page, whether it is a heading by its words."""

    number: int
    block: Block
    pieces: list[tuple[int, str]] = field(default_factory=list)
    bare: bool = False

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.pieces)


def clean(parsed: Parsed, config: CorpusConfig) -> Cleaned:
    """`parsed` without images, furniture, boilerplate and the sections that `config.cut_sections` names."""
    cuts: list[Cut] = []
    items = [_Item(number, block) for number, block in enumerate(_normalised(parsed))]
    items = _without(items, cuts, lambda item: _known(item, config.cut_sections))
    items = [one for item in items if (one := _without_image_lines(item, cuts)) is not None]
    items = [_with_heading(item) for item in items]
    title = plain_characters(parsed.title).strip() if parsed.title else _title(items)
    items = _without_sections(items, cuts, config.cut_sections, parsed.wrapped)
    if "authors" in config.cut_sections and parsed.wrapped:
        items = _without_author_block(items, cuts)
    items = _without(
        items, cuts, lambda item: "boilerplate" if _is_prose(item) and is_boilerplate(item.block.text) else None
    )
    if "references" in config.cut_sections:
        listed = reference_runs([item.block.text if _is_prose(item) else "" for item in items])
        items = [item for at, item in enumerate(items) if not _cut_if(at in listed, item, "references", cuts)]
    items = _joined(items, parsed.wrapped)
    items = [
        item for at, item in enumerate(items) if not _cut_if(_is_bare(items, at), item, "heading without text", cuts)
    ]
    text, starts = _rendered(items, parsed.pages or 0)
    cuts.sort(key=lambda cut: cut.block)
    return Cleaned(text, title, starts, tuple(cuts))


def _normalised(parsed: Parsed) -> Iterable[Block]:
    for block in parsed.blocks:
        text = plain_characters(block.text)
        yield block.with_text(text if block.kind == "code" else text.strip("\n "))


def _without(items: Sequence[_Item], cuts: list[Cut], reason_of: Callable[[_Item], str | None]) -> list[_Item]:
    """The items that have text and no reason to be cut."""
    kept = []
    for item in items:
        reason = reason_of(item)
        if item.block.text.strip() and not _cut_if(reason is not None, item, str(reason), cuts):
            kept.append(item)
    return kept


def _cut_if(condition: bool, item: _Item, reason: str, cuts: list[Cut]) -> bool:
    if condition:
        cuts.append(Cut(item.number, reason, item.text or item.block.text, item.block.page))
    return condition


def _known(item: _Item, cut_sections: Sequence[str]) -> str | None:
    """Why a block is cut that the parser already knows to be no text."""
    if item.block.kind == "reference":
        return "references" if "references" in cut_sections else None
    reasons = {"image": "image", "figure": "words in a figure", "furniture": "page furniture"}
    return reasons.get(item.block.kind)


def _without_image_lines(item: _Item, cuts: list[Cut]) -> _Item | None:
    """The item without image lines and inline images; None where nothing else was in it."""
    text = item.block.text
    if item.block.kind == "code" or IMAGE_LINE.search(text) is None:
        return item
    cuts += [Cut(item.number, "image", match[0].strip(), item.block.page) for match in IMAGE_LINE.finditer(text)]
    lines = [re.sub(r"[ \t]{2,}", " ", IMAGE_LINE.sub(" ", line)).strip() for line in text.split("\n")]
    text = "\n".join(line for line in lines if line)
    return _Item(item.number, item.block.with_text(text)) if text else None


def _with_heading(item: _Item) -> _Item:
    """A paragraph that is the name of a section and nothing else is its heading."""
    block = item.block
    if block.kind == "paragraph" and "\n" not in block.text and is_known_section(block.text):
        words = block.text.strip(" *_#:")
        return _Item(item.number, Block("heading", words, 2, block.page, block.column), bare=True)
    return item


def _title(items: Sequence[_Item]) -> str | None:
    """The first heading, where it is the title: the only one of its level, or before all text."""
    if items and items[0].block.kind == "heading" and not is_known_section(items[0].block.text):
        return items[0].block.text
    return next((i.block.text for i in items[:12] if i.block.kind == "heading" and i.block.level == 1), None)


def _without_sections(items: Sequence[_Item], cuts: list[Cut], kinds: Sequence[str], wrapped: bool) -> list[_Item]:
    """The items outside the sections of `kinds`, and without the paragraphs that open with such a heading."""
    kept: list[_Item] = []
    blocks = [item.block for item in items]
    at = 0
    while at < len(items):
        item = items[at]
        heading = item.block.kind == "heading"
        kind = section_kind(item.block.text) if heading else run_in_kind(item.block.text) if _is_prose(item) else None
        end = at
        if kind is not None and kind in kinds:
            end = section_end(blocks, at, kind, bare=item.bare, wrapped=wrapped) if heading else at + 1
            cuts += [Cut(one.number, kind, one.block.text, one.block.page) for one in items[at:end]]
        if end == at:
            kept.append(item)
        at = max(end, at + 1)
    return kept


def _without_author_block(items: Sequence[_Item], cuts: list[Cut]) -> list[_Item]:
    """The items but for names and addresses between the title and the abstract, on the first page of a paper."""
    abstract = next((at for at, item in enumerate(items) if _opens_abstract(item)), None)
    if abstract is None or not items or items[abstract].block.page != 1:
        return list(items)
    first = 1 if items[0].block.kind == "heading" else 0
    between = items[first:abstract]
    if sum(len(item.block.text) for item in between) > 2500:
        return list(items)
    cuts += [Cut(item.number, "authors", item.block.text, item.block.page) for item in between]
    return [*items[:first], *items[abstract:]]


def _opens_abstract(item: _Item) -> bool:
    return re.match(r"\W{0,4}(?:abstract|summary|a b s t r a c t)\b", item.block.text, re.IGNORECASE) is not None


def _is_prose(item: _Item) -> bool:
    return item.block.kind in ("paragraph", "footnote")


def _joined(items: Sequence[_Item], wrapped: bool) -> list[_Item]:
    """The items with their lines joined, a paragraph that goes on after a column, page or float as one."""
    vocabulary = Vocabulary(item.block.text for item in items)
    joined: list[_Item] = []
    open_at: int | None = None
    for item in items:
        block = item.block
        if block.kind in ("table", "code"):
            text = block.text
        elif wrapped:
            text = join_lines(block.text.split("\n"), vocabulary)
        else:
            text = mend_hyphens(block.text, vocabulary)
        if wrapped and block.kind == "paragraph" and open_at is not None:
            before = joined[open_at]
            moved = before.block.column != block.column or open_at != len(joined) - 1
            if moved and goes_on(before.text, text):
                head = join_lines([before.text, text], vocabulary).removesuffix(text)
                before.pieces = [*_cropped(before.pieces, head), (block.page, text)]
                before.block = Block("paragraph", "", 0, before.block.page, block.column)
                continue
        joined.append(_Item(item.number, block, [(block.page, text)]))
        if block.kind == "paragraph":
            open_at = len(joined) - 1
        elif block.kind == "heading":
            open_at = None
    return joined


def _cropped(pieces: Sequence[tuple[int, str]], text: str) -> list[tuple[int, str]]:
    """The pieces with the last one changed so that all join to `text`."""
    before = "".join(piece for _, piece in pieces[:-1])
    return [*pieces[:-1], (pieces[-1][0], text[len(before) :])]


def _is_bare(items: Sequence[_Item], at: int) -> bool:
    """Whether a heading has nothing under it: it ends the document, or one as high follows at once. Not the title's."""
    block = items[at].block
    if block.kind != "heading" or at == 0:
        return False
    after = items[at + 1].block if at + 1 < len(items) else None
    return after is None or (after.kind == "heading" and after.level < block.level and after.level > 0)


def _rendered(items: Sequence[_Item], pages: int) -> tuple[str, tuple[int, ...]]:
    """The text, and the first character of each page."""
    parts: list[str] = []
    length = 0
    starts: dict[int, int] = {}
    for item in items:
        if not item.text.strip():
            continue
        if parts:
            parts.append("\n\n")
            length += 2
        mark = "#" * max(1, min(6, item.block.level)) + " " if item.block.kind == "heading" else ""
        for page, piece in item.pieces:
            starts.setdefault(page, length)
            parts += [mark, piece]
            length += len(mark) + len(piece)
            mark = ""
    text = "".join(parts)
    found: list[int] = []
    for page in range(pages, 0, -1):
        found.append(min(starts.get(page, length), found[-1] if found else length))
    return text, tuple(reversed(found))
