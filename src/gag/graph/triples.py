"""Triple files, read as a stream: tables (head, relation, tail between tabs), N-Triples and Turtle."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from gag.errors import InputError, MissingExtra
from gag.graph.terms import BLANK, check_relation_name, entity_term, relation_term

Statement = tuple[str, str, str]
"""Subject, predicate and object as N-Triples terms."""

SUFFIXES = (".tsv", ".nt", ".ttl")
_TYPED = '"^^<http://www.w3.org/2001/XMLSchema#'


def read_statements(path: Path) -> Iterator[Statement]:
    """The statements of a file in order; raises InputError with file and line for anything it refuses.

    Blank nodes get IRIs of their own, as a query could not name them otherwise.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path} is no triple file that is known here ({path.suffix or 'no suffix'}).",
            f"Write one of {', '.join(SUFFIXES)}: a table of head, relation, tail; N-Triples; Turtle.",
        )
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a file.", "Name a triple file in it.")
    if not path.is_file():
        raise InputError(f"{path} does not exist.", "Check the path; it is relative to the current folder.")
    return _table(path) if path.suffix.lower() == ".tsv" else _rdf(path)


def require_pyoxigraph() -> Any:
    """The package that reads and keeps triples; raises MissingExtra."""
    try:
        import pyoxigraph
    except ImportError:
        raise MissingExtra("Graphs need the package pyoxigraph.", "pip install 'gag[graph]'") from None
    return pyoxigraph


def stored_spelling(terms: Iterable[str]) -> dict[str, str]:
    """How the store spells those of `terms` that it spells in another way: `"01"` as `"1"`, `"1.50"` as `"1.5"`."""
    typed = list(dict.fromkeys(term for term in terms if _TYPED in term and term[0] == '"'))
    if not typed:
        return {}
    found = require_pyoxigraph().Store().query(f"SELECT ?o WHERE {{ VALUES ?o {{ {' '.join(typed)} }} }}")
    spelt = zip(typed, (str(row["o"]) for row in found), strict=True)
    return {term: stored for term, stored in spelt if stored != term}


class StatementStream(io.RawIOBase):
    """Statements as the bytes of an N-Triples file, made while they are read; `seen` is told of them, some at a time.

    Nothing is kept, so that a file larger than memory loads.
    """

    def __init__(self, statements: Iterator[Statement], seen: Callable[[Sequence[Statement]], None]) -> None:
        self.statements, self.seen, self.left = statements, seen, b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At least one statement, and enough of them that reading on is not called for every line."""
        wanted = max(size, 1 << 16)
        parts, length = [self.left], len(self.left)
        read: list[Statement] = []
        while length < wanted:
            statement = next(self.statements, None)
            if statement is None:
                break
            read.append(statement)
            line = "{} {} {} .\n".format(*statement).encode()
            parts.append(line)
            length += len(line)
        self.seen(read)
        whole = b"".join(parts)
        cut = len(whole) if size < 0 else size
        self.left = whole[cut:]
        return whole[:cut]


def _table(path: Path) -> Iterator[Statement]:
    subject, predicate = lru_cache(1 << 16)(entity_term), lru_cache(1 << 12)(relation_term)
    empty = True
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            head, relation, tail = _fields(line, f"{path} line {number}")
            empty = False
            yield subject(head), predicate(relation), subject(tail)
    if empty:
        raise InputError(f"{path} has no triples.", "Write one triple a line: head TAB relation TAB tail.")


def _fields(line: bytes, where: str) -> list[str]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 text (byte {error.start + 1}).", "Save the file as UTF-8.") from None
    fields = [field.strip() for field in text.rstrip("\r\n").split("\t")]
    if len(fields) != 3:
        raise InputError(
            f"{where}: {len(fields)} part{'' if len(fields) == 1 else 's'} between tabs, not 3 ({text.strip()!r:.60}).",
            "Write that line as head TAB relation TAB tail, or remove it.",
        )
    for what, field in zip(("head", "relation", "tail"), fields, strict=True):
        if not field:
            raise InputError(f"{where}: the {what} is empty.", "Fill it in, or remove that line.")
    check_relation_name(fields[1], where)
    return fields


def _rdf(path: Path) -> Iterator[Statement]:
    ox = require_pyoxigraph()
    empty = True
    try:
        for quad in ox.parse(path=str(path)):
            empty = False
            yield _term(quad.subject, ox, path), str(quad.predicate), _term(quad.object, ox, path)
    except SyntaxError as error:
        said = (str(error.msg).partition(": ")[2] or str(error.msg)).rstrip(".")
        raise InputError(f"{path} line {error.lineno}: {said}.", "Mend that line, or remove it.") from None
    if empty:
        raise InputError(f"{path} has no triples.", "Write at least one: <subject> <predicate> <object> .")


def _term(term: Any, ox: Any, path: Path) -> str:
    if isinstance(term, ox.BlankNode):
        return f"<{BLANK}{term.value}>"
    if isinstance(term, ox.Triple):
        raise InputError(f"{path}: a triple inside a triple ({str(term)[:60]}).", "Leave such statements out.")
    return str(term)
