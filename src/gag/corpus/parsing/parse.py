"""Which parser reads a file: by its content first, by its name where the content does not say."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib import util
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import which
from typing import Any, Literal

from gag.corpus.parsing.blocks import Parsed
from gag.corpus.parsing.decoding import decoded
from gag.corpus.parsing.errors import ParseError
from gag.corpus.parsing.jsonl import VERSION as ROWS_VERSION
from gag.corpus.parsing.quality import text_flags
from gag.errors import MissingExtra

Kind = Literal["pdf", "docx", "pptx", "xlsx", "html", "markdown", "text", "jsonl", "jats", "mineru"]

SUFFIXES: dict[str, Kind] = {
    ".pdf": "pdf",
    ".docx": "docx",
    ".pptx": "pptx",
    ".xlsx": "xlsx",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".md": "markdown",
    ".markdown": "markdown",
    ".txt": "text",
    ".text": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".nxml": "jats",
    ".xml": "jats",
    ".json": "mineru",
}
IN_PROCESS: frozenset[Kind] = frozenset({"markdown", "text", "jsonl"})
"""Kinds that no parser of another's is needed for; all others are read in a worker with limits."""

VERSION = 2
"""Counts the changes of our own parsers, so that files read before are read again."""

_PICTURES = {
    b"\x89PNG": "PNG picture",
    b"\xff\xd8\xff": "JPEG picture",
    b"GIF8": "GIF picture",
    b"II*\0": "TIFF picture",
}
_OTHERS = {
    b"PK\x03\x04": "ZIP archive",
    b"\x1f\x8b": "gzip archive",
    b"Rar!": "RAR archive",
    b"\x7fELF": "program",
} | _PICTURES


@dataclass(frozen=True)
class ParseOptions:
    """What of the configuration parsing depends on."""

    pdf_parser: str = "liteparse"
    office_parser: str = "markitdown"
    furniture_pages: int = 3
    max_pages: int = 2000
    max_bytes: int = 512_000_000

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)


def kind_by_name(path: Path) -> Kind | None:
    """The kind that a file's name says, or None for a name that says none we read."""
    return SUFFIXES.get(path.suffix.lower())


def checked_kind(path: Path, options: ParseOptions) -> tuple[Kind, list[str]]:
    """The kind that a file's content says, and a note where its name says another.

    Raises ParseError for an empty or too large file, and for content that is none of ours or locked.
    """
    size = path.stat().st_size
    named = kind_by_name(path)
    if size == 0:
        raise ParseError("empty: zero bytes")
    if size > options.max_bytes and named != "jsonl":
        raise ParseError(f"{size / 1e6:,.0f} MB, more than corpus.max_file_mb")
    with path.open("rb") as file:
        head = file.read(8192)
    found = _kind_by_content(path, head, named)
    if found is None or found == named:
        if named is None:
            raise ParseError("a kind of file that is not read")
        return named, []
    if named in ("text", "markdown") and found in ("html", "jats"):
        return named, []  # text about markup
    return found, [f"named {path.suffix}, but it is {found.upper() if len(found) == 4 or found == 'pdf' else found}"]


def parse(path: Path, kind: Kind, options: ParseOptions) -> Parsed:
    """A file's blocks by the parser of its kind (not JSONL, whose rows are documents); raises ParseError."""
    if kind == "pdf":
        return _parse_pdf(path, options)
    if kind in ("docx", "pptx", "xlsx"):
        return _parse_office(path, kind, options)
    if kind == "html":
        from gag.corpus.parsing.office import parse_html

        return parse_html(path)
    if kind == "jats":
        from gag.corpus.parsing.jats import parse_jats

        return parse_jats(path)
    if kind == "mineru":
        from gag.corpus.parsing.mineru import parse_mineru

        return parse_mineru(path)
    return parse_text(path.read_bytes(), kind)


def parse_text(data: bytes, kind: Kind) -> Parsed:
    """The blocks of Markdown or plain text."""
    from gag.corpus.parsing.markdown import markdown_blocks, plain_blocks

    text, notes = decoded(data)
    blocks = markdown_blocks(text) if kind == "markdown" else plain_blocks(text)
    return Parsed(kind, str(VERSION), blocks, quality=text_flags(text), notes=tuple(notes))


def parser_key(kind: Kind, options: ParseOptions) -> dict[str, Any]:
    """What the result of parsing depends on beside the file: parsers with their versions, and options."""
    packages: tuple[str, ...] = ()
    chosen: Mapping[str, Any] = {}
    if kind == "pdf":
        packages = ("liteparse", "pypdfium2") if options.pdf_parser == "liteparse" else (options.pdf_parser,)
        chosen = {"parser": options.pdf_parser, "furniture": options.furniture_pages, "pages": options.max_pages}
    elif kind in ("docx", "pptx", "xlsx"):
        packages, chosen = (options.office_parser,), {"parser": options.office_parser, "pages": options.max_pages}
    elif kind == "html":
        packages = ("markitdown",)
    elif kind == "jsonl":
        chosen = {"rows": ROWS_VERSION}
    return {"kind": kind, "version": VERSION, "packages": {name: _version(name) for name in packages}, **chosen}


def check_parsers(options: ParseOptions) -> None:
    """Raise MissingExtra where a parser that the configuration names is not installed."""
    if "docling" in (options.pdf_parser, options.office_parser) and util.find_spec("docling") is None:
        raise MissingExtra("docling is not installed, but corpus names it.", 'pip install "gag[docling]"')
    if options.pdf_parser == "mineru" and which("mineru") is None:
        raise MissingExtra(
            "The command mineru is not there, but corpus.pdf_parser names it.", 'pip install "gag[mineru]"'
        )


def check_packages(kinds: set[Kind]) -> None:
    """Raise MissingExtra where files of these kinds need packages of the extra `ingest` that are not installed."""
    needed = {"pdf": ("liteparse", "pypdfium2"), "jats": ("lxml",), "html": ("markitdown",)}
    needed |= dict.fromkeys(("docx", "pptx", "xlsx"), ("markitdown",))
    missing = sorted({name for kind in kinds for name in needed.get(kind, ()) if util.find_spec(name) is None})
    if missing:
        raise MissingExtra(f"To read these files, {', '.join(missing)} must be installed.", 'pip install "gag[ingest]"')


def _parse_pdf(path: Path, options: ParseOptions) -> Parsed:
    if options.pdf_parser in ("docling", "mineru"):
        from gag.corpus.parsing.outside import parse_by_docling, parse_by_mineru
        from gag.corpus.parsing.pdf import checked_pages

        count = checked_pages(path, options.max_pages)
        parsed = (parse_by_docling if options.pdf_parser == "docling" else parse_by_mineru)(path)
        return replace(parsed, pages=count)
    from gag.corpus.parsing.pdf import parse_pdf

    return parse_pdf(
        path, reader=options.pdf_parser, max_pages=options.max_pages, furniture_pages=options.furniture_pages
    )


def _parse_office(path: Path, kind: str, options: ParseOptions) -> Parsed:
    if options.office_parser == "docling":
        from gag.corpus.parsing.office import checked_archive
        from gag.corpus.parsing.outside import parse_by_docling

        checked_archive(path, options.max_bytes)
        return parse_by_docling(path)
    from gag.corpus.parsing.office import parse_office

    return parse_office(path, kind, options.max_bytes, options.max_pages)


def _kind_by_content(path: Path, head: bytes, named: Kind | None) -> Kind | None:
    """The kind that the first bytes show, None where they are text of any kind; raises ParseError for another's."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"%PDF-") or (named in (None, "pdf") and b"%PDF-" in head[:1024] and not start[:1].isalpha()):
        return "pdf"
    if head.startswith(b"PK\x03\x04"):
        return _office_kind(path)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise ParseError(_old_office(path))
    for mark, what in _OTHERS.items():
        if head.startswith(mark):
            raise ParseError(f"a {what}, not text")
    if named == "pdf" and re.match(rb"<!doctype html|<html", start, re.IGNORECASE) is None:
        raise ParseError("named .pdf, but it does not begin as a PDF file does")
    if named in ("docx", "pptx", "xlsx") and not start.startswith((b"<!", b"<html", b"<HTML")):
        raise ParseError(f"named {path.suffix}, but it is no Office file")
    if re.match(rb"<!doctype html|<html\b", start, re.IGNORECASE):
        return "html"
    if start.startswith(b"<?xml") or re.match(rb"<!DOCTYPE article|<article\b|<pmc-articleset\b", start):
        return "html" if b"<html" in head.lower() else "jats"
    return None


def _office_kind(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError):
        raise ParseError("a truncated or damaged archive or Office file") from None
    kinds: tuple[tuple[str, Kind], ...] = (("word/", "docx"), ("ppt/", "pptx"), ("xl/", "xlsx"))
    for folder, kind in kinds:
        if any(name.startswith(folder) for name in names):
            return kind
    raise ParseError("a ZIP archive, not text")


def _old_office(path: Path) -> str:
    with path.open("rb") as file:
        encrypted = "EncryptedPackage".encode("utf-16-le") in file.read(4_000_000)
    return "protected by a password" if encrypted else "an old binary Office file: save it as .docx, .pptx or .xlsx"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
