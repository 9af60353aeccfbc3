"""JATS articles (PubMed Central's .nxml and publishers' XML): the structure is given, so nothing has to be guessed."""

from __future__ import annotations

import html.entities
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from gag.corpus.parsing.blocks import Block, Parsed, pipe_table
from gag.corpus.parsing.errors import ParseError
from gag.corpus.parsing.markdown import spread

VERSION = "1"
BACK = {
    "ack": "Acknowledgements",
    "ref-list": "References",
    "fn-group": "Author information",
    "glossary": "Glossary",
    "notes": "Notes",
    "bio": "Author information",
}
"""Parts of the back matter that may lack a title, and the heading they get."""

_LETTER = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos);)([A-Za-z]{2,31}\d{0,2});")
_SKIPPED = frozenset({"object-id", "table-wrap-foot", "permissions", "alternatives-text", "label", "title", "caption"})
_PROSE = frozenset({"p", "disp-quote", "verse-group", "speech", "statement", "boxed-text", "disp-formula", "def-list"})


def parse_jats(path: Path) -> Parsed:
    """A JATS article's blocks; raises ParseError for XML that is damaged, of another kind, or of several articles.

    External entities are not read, nothing is fetched, and expansion is bounded by the parser.
    """
    root = _root(path)
    articles = [root] if _name(root) == "article" else [e for e in root.iter() if _name(e) == "article"]
    if not articles:
        raise ParseError(f"XML of another kind than JATS (its root is <{_name(root)}>)")
    if len(articles) > 1:
        raise ParseError(f"{len(articles)} articles in one file: split it, one <article> a file")
    article = articles[0]
    title = _found(article, "front", "article-meta", "title-group", "article-title")
    name = inline(title) if title is not None else ""
    blocks = [Block("heading", name, 1)] if name else []
    for abstract in _all(article, "front", "article-meta", "abstract"):
        own = _child(abstract, "title")
        blocks.append(Block("heading", inline(own) if own is not None else "Abstract", 2))
        blocks += _blocks(abstract, 2)
    for body in _all(article, "body"):
        blocks += _blocks(body, 1)
    for back in _all(article, "back"):
        blocks += _blocks(back, 1)
    for floats in _all(article, "floats-group"):
        blocks += _blocks(floats, 1)
    meta = dict(_identifiers(article))
    return Parsed("jats", VERSION, tuple(b for b in blocks if b.text.strip()), title=name or None, meta=meta)


def _root(path: Path) -> Any:
    """The file's root element; names of HTML's letters (&alpha;) that the file does not define are taken as those."""
    etree: Any = import_module("lxml.etree")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=False)
    data = path.read_bytes()
    try:
        try:
            return etree.fromstring(data, parser)
        except etree.XMLSyntaxError as error:
            if "Entity" not in str(error.msg) or "not defined" not in str(error.msg):
                raise
            return etree.fromstring(_LETTER.sub(_letter, data), parser)
    except etree.XMLSyntaxError as error:
        said = " ".join(str(error.msg).split())[:120]
        raise ParseError(f"damaged XML (line {error.lineno}: {said})") from None


def _letter(match: re.Match[bytes]) -> bytes:
    letters = html.entities.html5.get(match[1].decode("ascii") + ";")
    return match[0] if letters is None else "".join(f"&#{ord(one)};" for one in letters).encode("ascii")


def inline(element: Any) -> str:
    """An element's words on one line; raised signs after `^`, pointers to references without their raising."""
    return " ".join(_inline(element).split())


def _blocks(element: Any, level: int) -> Iterator[Block]:
    """The blocks below `element`, whose own headings are one deeper than `level`."""
    for child in element:
        name = _name(child)
        if name in ("sec", "app", "app-group") or name in BACK:
            title = _child(child, "title")
            words = inline(title) if title is not None else BACK.get(name, "")
            label = _child(child, "label")
            if label is not None and words and not words.startswith(inline(label)):
                words = f"{inline(label)} {words}"
            if words:
                yield Block("heading", words, min(6, level + 1))
            yield from _references(child) if name == "ref-list" else _blocks(child, level + bool(words))
        elif name in ("fig", "table-wrap", "fig-group", "table-wrap-group", "boxed-text", "supplementary-material"):
            yield from _float(child, level)
        elif name == "list":
            yield Block("paragraph", "\n".join(_items(child)))
        elif name in _PROSE:
            yield from _paragraph(child, level)
        elif name not in _SKIPPED and name:
            yield from _blocks(child, level) if len(child) else iter([Block("paragraph", inline(child))])


def _paragraph(element: Any, level: int) -> Iterator[Block]:
    """A paragraph, and after it the figures, tables and lists that stand inside it."""
    floats = [e for e in element.iter() if _name(e) in ("fig", "table-wrap", "list", "supplementary-material")]
    outer = [e for e in floats if not any(a in floats for a in e.iterancestors())]
    for one in outer:
        tail, before = one.tail or "", one.getprevious()
        if before is not None:
            before.tail = (before.tail or "") + " " + tail
        else:
            one.getparent().text = (one.getparent().text or "") + " " + tail
        one.getparent().remove(one)
    yield Block("paragraph", inline(element))
    for one in outer:
        yield from [Block("paragraph", "\n".join(_items(one)))] if _name(one) == "list" else _float(one, level)


def _float(element: Any, level: int) -> Iterator[Block]:
    """A figure's caption; a table with its caption and notes."""
    name = _name(element)
    if name in ("fig-group", "table-wrap-group", "boxed-text"):
        yield from _blocks(element, level)
        return
    label, caption = _child(element, "label"), _child(element, "caption")
    words = [inline(part) for part in (label, caption) if part is not None]
    text = (words[0].rstrip(".: ") + ". " + words[1]) if len(words) == 2 else "".join(words)
    if text:
        kind = "supplementary" if name == "supplementary-material" else name
        yield Block("figure" if kind == "supplementary" else "caption", text)
    for table in (e for e in element.iter() if _name(e) == "table"):
        rows = [[_cell(c) for c in row if _name(c) in ("td", "th")] for row in table.iter() if _name(row) == "tr"]
        yield Block("table", pipe_table(spread(rows)))
    foot = _child(element, "table-wrap-foot")
    if foot is not None and inline(foot):
        yield Block("footnote", inline(foot))


def _references(element: Any) -> Iterator[Block]:
    for ref in element:
        if _name(ref) in ("ref", "ref-list", "p"):
            yield Block("paragraph", inline(ref))


def _items(element: Any, indent: str = "") -> Iterator[str]:
    ordered = element.get("list-type") in ("order", "alpha-lower", "roman-lower")
    items = [child for child in element if _name(child) == "list-item"]
    for number, item in enumerate(items, 1):
        nested = [child for child in item if _name(child) == "list"]
        for child in nested:
            item.remove(child)
        yield f"{indent}{f'{number}.' if ordered else '-'} {inline(item)}"
        for child in nested:
            yield from _items(child, indent + "  ")


def _cell(element: Any) -> tuple[str, int, int]:
    wide, high = (
        max(1, min(int(v), 100)) if (v := element.get(n, "1")).isdigit() else 1 for n in ("colspan", "rowspan")
    )
    return inline(element), wide, high


def _inline(element: Any) -> str:
    name = _name(element)
    if not name:
        return html.entities.html5.get(f"{getattr(element, 'name', '')};", "")
    if name in ("tex-math", "graphic", "inline-graphic", "media", "object-id", "sec-meta"):
        return ""
    text = (element.text or "") + "".join(_inline(child) + (child.tail or "") for child in element)
    if name == "sup":
        points = any(_name(child) == "xref" for child in element.iter())
        short = re.fullmatch(r"[\d+\-−–=±/.,]{1,6}|[a-z]{1,2}", text.strip()) is not None
        return text if points or not short else f"^{text.strip()}"
    if name in ("p", "title", "label", "td", "break", "list-item", "surname", "given-names", "year", "source", "name"):
        return f" {text} "
    if name in ("article-title", "volume", "fpage", "lpage", "pub-id", "mixed-citation", "element-citation"):
        return f" {text} "
    return text


def _name(element: Any) -> str:
    """The element's name without its namespace; empty for comments, instructions and entities."""
    tag = element.tag
    return tag.rsplit("}", 1)[-1] if isinstance(tag, str) else ""


def _child(element: Any, name: str) -> Any:
    return next((child for child in element if _name(child) == name), None)


def _found(element: Any, *names: str) -> Any:
    for name in names:
        element = _child(element, name) if element is not None else None
    return element


def _all(element: Any, *names: str) -> list[Any]:
    parent = _found(element, *names[:-1])
    return [child for child in parent if _name(child) == names[-1]] if parent is not None else []


def _identifiers(article: Any) -> Iterator[tuple[str, str]]:
    meta = _found(article, "front", "article-meta")
    for child in meta if meta is not None else ():
        kind = child.get("pub-id-type")
        if _name(child) == "article-id" and kind in ("doi", "pmid", "pmc", "pmcid"):
            yield kind, inline(child)
