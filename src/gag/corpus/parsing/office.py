"""DOCX, PPTX, XLSX and HTML by markitdown, none of whose network or model converters is used."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gag.corpus.parsing.blocks import Parsed
from gag.corpus.parsing.decoding import decoded
from gag.corpus.parsing.errors import ParseError
from gag.corpus.parsing.markdown import markdown_blocks
from gag.corpus.parsing.quality import text_flags

MOST_RATIO = 200
"""A packed file that unpacks to more than so many times its size, and to much, is a bomb."""

_UNSEEN = re.compile(
    rb"<(script|style|noscript|template|svg|iframe|object|nav)\b.*?</\1\s*>|<(?:script|iframe|object)\b[^>]*/>",
    re.DOTALL | re.I,
)


def parse_office(path: Path, kind: str, max_bytes: int, max_pages: int) -> Parsed:
    """A DOCX, PPTX or XLSX file's blocks; raises ParseError for a damaged file or one that unpacks to too much."""
    checked_archive(path, max_bytes)
    from markitdown import StreamInfo, converters

    made: dict[str, Callable[[], Any]] = {
        "docx": converters.DocxConverter,
        "pptx": converters.PptxConverter,
        "xlsx": converters.XlsxConverter,
    }
    converter = made[kind]()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = converter.convert(io.BytesIO(path.read_bytes()), StreamInfo(extension=f".{kind}"))
    except MemoryError:
        raise
    except Exception as error:
        raise ParseError(f"a damaged {kind.upper()} file ({_said(error)})") from None
    text = _without_empty_cells(result.markdown) if kind == "xlsx" else result.markdown
    blocks = markdown_blocks(text)
    pages = max((block.page for block in blocks), default=0) or None
    if pages is not None and pages > max_pages:
        raise ParseError(f"{pages:,} slides, more than corpus.max_pages ({max_pages:,})")
    return Parsed("markitdown", version("markitdown"), blocks, pages=pages, quality=text_flags(text))


def parse_html(path: Path) -> Parsed:
    """An HTML file's blocks; scripts, styles, navigation and embedded objects are no text."""
    from markitdown.converters import HtmlConverter

    data = path.read_bytes()
    text, notes = decoded(data)
    source = _UNSEEN.sub(b" ", text.encode("utf-8", "replace")).decode("utf-8")
    title = re.search(r"<title[^>]*>([^<]{1,500})</title>", source, re.IGNORECASE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = HtmlConverter().convert_string(source)
    except MemoryError:
        raise
    except Exception as error:
        raise ParseError(f"HTML that cannot be read ({_said(error)})") from None
    blocks = markdown_blocks(result.markdown)
    name = " ".join(_unescaped(title[1]).split()) if title else None
    return Parsed(
        "markitdown", version("markitdown"), blocks, title=name or None, quality=text_flags(text), notes=tuple(notes)
    )


def checked_archive(path: Path, max_bytes: int) -> None:
    """Raise ParseError for an Office file that is no whole archive, or that unpacks to more than `max_bytes`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError):
        raise ParseError("no whole Office file: truncated or damaged") from None
    if any(member.flag_bits & 1 for member in members):
        raise ParseError("protected by a password")
    whole = sum(member.file_size for member in members)
    packed = max(1, path.stat().st_size)
    if whole > max_bytes or (whole > MOST_RATIO * packed and whole > 50_000_000):
        raise ParseError(f"unpacks from {packed / 1e6:,.1f} MB to {whole / 1e6:,.0f} MB: a zip bomb?")


def _without_empty_cells(markdown: str) -> str:
    """Sheets without what pandas writes for empty cells and unnamed columns."""
    return re.sub(r"(?<=\| )(?:NaN|NaT|Unnamed: \d+(?:_level_\d+)?)(?= \|)", "", markdown)


def _unescaped(text: str) -> str:
    import html

    return html.unescape(text)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
