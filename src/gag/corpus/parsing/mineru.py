"""MinerU's output as it stands: content_list.json (flat, or by page as its second version is), middle.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gag.corpus.parsing.blocks import Block, BlockKind, Parsed
from gag.corpus.parsing.decoding import decoded
from gag.corpus.parsing.errors import ParseError
from gag.corpus.parsing.markdown import html_table, markdown_blocks, plain_words

SUFFIXES = ("_content_list_v2.json", "_content_list.json", "_middle.json")
"""Of one document's files: the one that says most first."""

ALSO = (
    "_model.json",
    "_model_output.txt",
    "_layout.pdf",
    "_span.pdf",
    "_spans.pdf",
    "_origin.pdf",
    "_line_sort.pdf",
    ".md",
)
"""What else MinerU writes for a document; it says nothing that the files above do not."""

_FURNITURE = frozenset(
    {"header", "footer", "page_number", "aside_text", "page_header", "page_footer", "page_aside_text", "discarded"}
)
_NOTES = frozenset({"page_footnote", "footnote"})
_IMAGES = frozenset({"image", "chart", "img", "seal"})


def parse_mineru(path: Path) -> Parsed:
    """The blocks of a MinerU file; raises ParseError for JSON that is none of its."""
    text, notes = decoded(path.read_bytes())
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ParseError("damaged JSON") from None
    version = "content_list"
    if isinstance(value, dict) and isinstance(value.get("pdf_info"), list):
        version, pages = f"middle {value.get('_version_name', '')}".strip(), value["pdf_info"]
        found = [_at(block, n) for n, page in enumerate(pages, 1) for block in _middle_page(page)]
    elif isinstance(value, list) and value and all(isinstance(page, list) for page in value):
        version, pages = "content_list_v2", value
        found = [
            _at(b, n)
            for n, page in enumerate(value, 1)
            for item in page
            if isinstance(item, dict)
            for b in _second(item)
        ]
    elif isinstance(value, list) and value and all(isinstance(item, dict) and "type" in item for item in value):
        numbers = [item.get("page_idx", 0) for item in value]
        pages = [None] * (max((n for n in numbers if isinstance(n, int)), default=0) + 1)
        found = [_at(b, int(item.get("page_idx") or 0) + 1) for item in value for b in _first(item)]
    else:
        raise ParseError("JSON, but no content_list or middle file of MinerU")
    blocks = tuple(block for block in found if block.text.strip())
    title = next((b.text for b in blocks if b.kind == "heading" and b.level == 1), None)
    return Parsed("mineru", version, blocks, title=title, pages=len(pages), notes=tuple(notes))


def _first(item: Mapping[str, Any]) -> Iterator[Block]:
    """One entry of the flat content_list.json."""
    kind = str(item["type"])
    if kind in _FURNITURE or kind in _NOTES:
        yield Block("furniture" if kind in _FURNITURE else "footnote", _words(item.get("text")))
    elif kind == "table":
        yield from _table(item.get("table_caption"), item.get("table_body"), item.get("table_footnote"))
    elif kind in _IMAGES:
        for key in (f"{kind}_caption", "image_caption", "img_caption"):
            yield Block("caption", _words(item.get(key)))
        yield Block("image", str(item.get("img_path") or "image"))
        yield Block("footnote", _words(item.get(f"{kind}_footnote") or item.get("img_footnote")))
    elif kind == "list":
        yield from _listed(item.get("list_items"), item.get("sub_type"))
    elif kind == "code":
        yield Block("caption", _words(item.get("code_caption")))
        yield Block("code", str(item.get("code_body") or ""))
    elif kind == "ref_text":
        yield from _listed([item.get("text")], kind)
    else:
        level = item.get("text_level") or 0
        yield _leaf(_words(item.get("text")), level if isinstance(level, int) else 0)


def _second(item: Mapping[str, Any]) -> Iterator[Block]:
    """One block of content_list_v2.json: its words are lists of spans under keys named after its kind."""
    kind = str(item.get("type", ""))
    content = item.get("content")
    if not isinstance(content, Mapping):
        yield _leaf(_words(content), 0)
        return
    if kind in _FURNITURE or kind in _NOTES:
        yield Block("furniture" if kind in _FURNITURE else "footnote", " ".join(_words(v) for v in content.values()))
    elif kind == "title":
        level = content.get("level")
        yield _leaf(_words(content.get("title_content")), level if isinstance(level, int) and level > 0 else 1)
    elif kind == "table":
        yield from _table(content.get("table_caption"), content.get("html"), content.get("table_footnote"))
    elif kind in _IMAGES:
        yield Block("caption", _words(content.get(f"{kind}_caption")))
        yield Block("image", kind)
        yield Block("footnote", _words(content.get(f"{kind}_footnote")))
    elif kind in ("list", "index"):
        items = [
            part.get("item_content") if isinstance(part, Mapping) else part for part in content.get("list_items") or []
        ]
        yield from _listed(items, content.get("list_type"))
    elif kind in ("code", "algorithm"):
        yield Block("caption", _words(content.get(f"{kind}_caption")))
        yield Block("code", _words(content.get(f"{kind}_content"), by="\n"))
    elif kind == "equation_interline":
        yield Block("paragraph", _words(content.get("math_content")))
    else:
        yield _leaf(_words(content.get(f"{kind}_content") or list(content.values())), 0)


def _middle_page(page: Mapping[str, Any]) -> Iterator[Block]:
    for block in page.get("para_blocks") or page.get("preproc_blocks") or []:
        yield from _middle(block)
    for block in page.get("discarded_blocks") or []:
        kind: BlockKind = "footnote" if block.get("type") in _NOTES else "furniture"
        yield Block(kind, _lines(block))


def _middle(block: Mapping[str, Any]) -> Iterator[Block]:
    """One block of middle.json: lines of spans, or blocks of such."""
    kind = str(block.get("type", ""))
    inner = block.get("blocks") or []
    if kind == "title":
        level = block.get("level")
        yield _leaf(_lines(block), level if isinstance(level, int) and level > 0 else 1)
    elif kind.endswith("_caption") or kind.endswith("_footnote"):
        yield Block("caption" if kind.endswith("caption") else "footnote", _lines(block))
    elif kind in ("table_body", "image_body", "chart_body"):
        for span in (span for line in block.get("lines") or [] for span in line.get("spans") or []):
            if isinstance(span.get("html"), str):
                yield Block("table", html_table(span["html"]))
            elif span.get("type") in ("image", "chart") or span.get("image_path"):
                yield Block("image", str(span.get("image_path") or "image"))
    elif kind == "ref_text":
        yield from _listed([_lines(block)], kind)
    elif kind in ("list", "index") and inner:
        yield from _listed([_lines(one) for one in inner], block.get("sub_type"))
    elif kind in ("list", "index"):
        yield Block("paragraph", "\n".join(f"- {_lines({'lines': [line]})}" for line in block.get("lines") or []))
    elif inner:
        for one in inner:
            yield from _middle(one)
    else:
        yield Block("code" if kind == "code_body" else "paragraph", _lines(block))


def _lines(block: Mapping[str, Any]) -> str:
    spans = [s for line in block.get("lines") or [] for s in line.get("spans") or []]
    inner = [_lines(one) for one in block.get("blocks") or []]
    return " ".join([*(str(s.get("content") or "").strip() for s in spans), *inner]).strip()


def _table(caption: object, body: object, foot: object) -> Iterator[Block]:
    yield Block("caption", _words(caption))
    if isinstance(body, str) and body.strip():
        if "<t" in body.lower():
            yield Block("table", html_table(body))
        else:
            yield from markdown_blocks(body)
    yield Block("footnote", _words(foot))


def _listed(items: object, sub_type: object) -> Iterator[Block]:
    """A list as one block; entries of a reference list one by one, so that they are seen as such."""
    words = [_words(item) for item in items] if isinstance(items, list) else []
    if sub_type in ("ref_text", "reference_list"):
        yield from (Block("reference", text) for text in words)
    else:
        yield Block(
            "paragraph",
            "\n".join(
                text if text[:1] in "-•*" or text[:2].strip(".").isdigit() else f"- {text}" for text in words if text
            ),
        )


def _leaf(text: str, level: int) -> Block:
    return Block("heading", text, min(6, level)) if level > 0 else Block("paragraph", text)


def _words(value: object, by: str = " ") -> str:
    """The words of a text, a span, or lists of them."""
    if isinstance(value, str):
        return plain_words(value).strip()
    if isinstance(value, Mapping):
        inner = value.get("content", value.get("text", value.get("item_content")))
        return _words(inner, by)
    if isinstance(value, list):
        return by.join(text for text in (_words(one, by) for one in value) if text)
    return ""


def _at(block: Block, page: int) -> Block:
    return Block(block.kind, block.text, block.level, page)
