"""What ingest knows of a domain's files and documents: an SQLite file in the domain's runs, from which it goes on.

Every file and its documents are written in one transaction, so that an interruption leaves whole documents only. The
parsed blocks are kept, so that another choice of cleaning or chunking parses nothing again. Memory does not grow with
the corpus: documents are read one at a time.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from gag.errors import RunError

DAMAGED = "not what was written"
_DISK = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
}
COPIES = "copies"
"""What copies were looked for among, under this name among the kept values."""
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS sources (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE, digest TEXT, size INTEGER, key TEXT, kind TEXT, status TEXT, about TEXT);
CREATE TABLE IF NOT EXISTS problems (source INTEGER, place TEXT, reason TEXT);
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, source INTEGER, position INTEGER, key TEXT, round INTEGER, row TEXT, parsed BLOB,
    clean_key TEXT, text TEXT, cleaned TEXT, digest TEXT, bands BLOB, copy_of TEXT, likeness REAL,
    chunk_key TEXT, passages BLOB, tokens INTEGER);
CREATE INDEX IF NOT EXISTS by_source ON documents (source, position);
"""


@dataclass(frozen=True)
class StoredSource:
    """A file: its name, sha256, size, the hash of what its parsing depends on, and what is known of it.

    `status` is ok, failed or reading (interrupted within). `about` holds kind, parser, pages, notes, reason.
    """

    name: str
    digest: str
    size: int
    key: str
    kind: str
    status: str
    about: dict[str, Any] = field(default_factory=dict)
    id: int = 0


@dataclass(frozen=True)
class StoredDocument:
    """A document: its row (id, title, source, meta), parsed blocks, cleaned text and what was cut, and its passages.

    `passages` are (start, end, heading, page); `copy_of` names the document that it repeats.
    """

    id: str
    source: str
    row: dict[str, Any]
    text: str
    cleaned: dict[str, Any]
    copy_of: str | None
    likeness: float | None
    clean_key: str | None
    chunk_key: str | None
    passages: list[list[Any]]


class Store:
    """The SQLite file; a context manager that closes it.

    Raises RunError, at the start and where the context ends, for a file that is damaged or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._touched = False
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
        except sqlite3.DatabaseError as error:
            raise _explained(path, error) from None
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA cache_size=-16000")
            self._db.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise _explained(path, error) from None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        if isinstance(error, sqlite3.DatabaseError) and (said := _explained(self.path, error)) is not error:
            raise said from None

    def begin(self) -> None:
        """Open a transaction where none is open."""
        if not self._db.in_transaction:
            self._db.execute("BEGIN")

    def commit(self) -> None:
        """Keep what was written."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    def rollback(self) -> None:
        """Forget what was written since `begin`."""
        self._touched = False
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def value(self, key: str) -> str | None:
        """A value that `keep` wrote."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def keep(self, key: str, value: str) -> None:
        """Write a value."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def source(self, name: str) -> StoredSource | None:
        """A file by its name."""
        row = self._db.execute(f"{_SOURCE} WHERE name = ?", (name,)).fetchone()
        return _source(row) if row else None

    def sources(self) -> Iterator[StoredSource]:
        """All files, in the order they came."""
        for row in self._db.execute(f"{_SOURCE} ORDER BY id"):
            yield _source(row)

    def put_source(self, source: StoredSource) -> int:
        """Write a file's row; gives its number."""
        before = self.source(source.name)
        if before is not None and replace(before, id=source.id) == source:
            return before.id
        self._touch()
        about = json.dumps(source.about)
        self._db.execute(
            "INSERT INTO sources (name, digest, size, key, kind, status, about) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, size = excluded.size, key = excluded.key, "
            "kind = excluded.kind, status = excluded.status, about = excluded.about",
            (source.name, source.digest, source.size, source.key, source.kind, source.status, about),
        )
        return int(self._db.execute("SELECT id FROM sources WHERE name = ?", (source.name,)).fetchone()[0])

    def drop_source(self, name: str) -> int:
        """Take out a file and its documents; gives how many those were."""
        found = self.source(name)
        if found is None:
            return 0
        self._touch()
        count = self._db.execute("DELETE FROM documents WHERE source = ?", (found.id,)).rowcount
        self._db.execute("DELETE FROM problems WHERE source = ?", (found.id,))
        self._db.execute("DELETE FROM sources WHERE id = ?", (found.id,))
        return int(count)

    def problems(self, source: int) -> Iterator[tuple[str, str]]:
        """Place and reason of what could not be used in a file."""
        rows = self._db.execute("SELECT place, reason FROM problems WHERE source = ? ORDER BY rowid", (source,))
        yield from ((str(place), str(reason)) for place, reason in rows)

    def put_problem(self, source: int, place: str, reason: str) -> None:
        """Note what could not be used."""
        self._touch()
        self._db.execute("INSERT INTO problems VALUES (?, ?, ?)", (source, place, reason))

    def clear_problems(self, source: int) -> None:
        """Forget a file's problems, before it is read again."""
        self._db.execute("DELETE FROM problems WHERE source = ?", (source,))

    def document_key(self, document: str) -> tuple[int, str, int] | None:
        """The number of a document's file, the key it was read under, and in which reading it was last seen."""
        row = self._db.execute("SELECT source, key, round FROM documents WHERE id = ?", (document,)).fetchone()
        return (int(row[0]), str(row[1]), int(row[2])) if row else None

    def mark(self, document: str, source: int, position: int, turn: int) -> None:
        """Say that a document is still in its file."""
        self._touch()
        self._db.execute(
            "UPDATE documents SET position = ?, round = ? WHERE id = ? AND source = ?",
            (position, turn, document, source),
        )

    def put_document(
        self, document: str, place: tuple[int, int, int], key: str, row: dict[str, Any], parsed: Any
    ) -> None:
        """Write a document as it was parsed; `place` is its file, its position there and the number of this reading.

        Whether it is a copy of another is then open again, also where its words are those it had.
        """
        packed = zlib.compress(json.dumps(parsed).encode("ascii"), 1)
        self._touch()
        self._db.execute("DELETE FROM meta WHERE key = ?", (COPIES,))
        self._db.execute(
            "INSERT OR REPLACE INTO documents (id, source, position, round, key, row, parsed) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (document, *place, key, json.dumps(row), packed),
        )

    def drop_unmarked(self, source: int, turn: int) -> int:
        """Take out the documents of a file that this reading did not find in it."""
        count = self._db.execute("DELETE FROM documents WHERE source = ? AND round != ?", (source, turn)).rowcount
        if count:
            self._touch()
        return int(count)

    def put_cleaned(
        self, document: str, key: str, text: str, cleaned: dict[str, Any], digest: str, bands: bytes
    ) -> None:
        """Write a document's clean text, what was cut, and what its copies are found by."""
        self._touch()
        self._db.execute(
            "UPDATE documents SET clean_key = ?, text = ?, cleaned = ?, digest = ?, bands = ?, chunk_key = NULL "
            "WHERE id = ?",
            (key, text, json.dumps(cleaned, ensure_ascii=False), digest, bands, document),
        )

    def parsed(self, document: str) -> Any:
        """A document's parsed blocks, as they were written."""
        row = self._db.execute("SELECT parsed FROM documents WHERE id = ?", (document,)).fetchone()
        return _unpacked(row[0])

    def put_passages(self, document: str, key: str, passages: Sequence[Sequence[Any]]) -> None:
        """Write where a document is cut."""
        packed = zlib.compress(json.dumps(passages, ensure_ascii=False).encode("utf-8"), 1)
        self._touch()
        self._db.execute("UPDATE documents SET chunk_key = ?, passages = ? WHERE id = ?", (key, packed, document))

    def put_copies(self, copies: Sequence[tuple[str, float, str]]) -> None:
        """Say which documents repeat which (copied, likeness, copy), and that no other does."""
        self._touch()
        self._db.execute("UPDATE documents SET copy_of = NULL, likeness = NULL WHERE copy_of IS NOT NULL")
        self._db.executemany("UPDATE documents SET copy_of = ?, likeness = ? WHERE id = ?", copies)

    def ids(self) -> list[str]:
        """The documents that have text, in order: by file as they came, then by position."""
        rows = self._db.execute(
            "SELECT id FROM documents WHERE text IS NOT NULL AND text != '' ORDER BY source, position"
        )
        return [str(row[0]) for row in rows]

    def stale(self, clean_key: str) -> Iterator[str]:
        """Documents that were not cleaned under this key."""
        rows = self._db.execute(
            "SELECT id FROM documents WHERE clean_key IS NOT ? ORDER BY source, position", (clean_key,)
        ).fetchall()
        yield from (str(row[0]) for row in rows)

    def digests(self) -> Iterator[tuple[str, str]]:
        """Id and text digest of the documents with text, in order."""
        rows = self._db.execute(
            "SELECT id, digest FROM documents WHERE text IS NOT NULL AND text != '' ORDER BY source, position"
        )
        yield from ((str(one), str(digest)) for one, digest in rows)

    def band(self, number: int, count: int) -> npt.NDArray[np.uint64]:
        """Band `number` of the documents with text, in order, as uint64 `[count]`."""
        keys = np.empty(count, dtype="<u8")
        rows = self._db.execute(
            "SELECT substr(bands, ?, 8) FROM documents WHERE text IS NOT NULL AND text != '' ORDER BY source, position",
            (8 * number + 1,),
        )
        for at, (piece,) in enumerate(rows):
            keys[at] = int.from_bytes(piece, "little")
        return keys

    def text(self, document: str) -> str:
        """A document's clean text."""
        return str(self._db.execute("SELECT text FROM documents WHERE id = ?", (document,)).fetchone()[0])

    def documents(self) -> Iterator[StoredDocument]:
        """All documents, in order, copies and empty ones too; the store may be written to meanwhile."""
        places = self._db.execute("SELECT rowid FROM documents ORDER BY source, position").fetchall()
        for (place,) in places:
            row = self._db.execute(f"{_DOCUMENT} WHERE documents.rowid = ?", (place,)).fetchone()
            if row is not None:
                yield _document(row)

    def document(self, name: str) -> StoredDocument:
        """One document."""
        return _document(self._db.execute(f"{_DOCUMENT} WHERE documents.id = ?", (name,)).fetchone())

    def _touch(self) -> None:
        """Forget that the corpus was written: it is not what is in here any more."""
        if not self._touched:
            self._db.execute("DELETE FROM meta WHERE key = 'written'")
            self._touched = True

    def count(self, where: str = "1") -> int:
        """How many documents there are that fulfil an SQL condition."""
        return int(self._db.execute(f"SELECT count(*) FROM documents WHERE {where}").fetchone()[0])


_SOURCE = "SELECT name, digest, size, key, kind, status, about, id FROM sources"
_DOCUMENT = (
    "SELECT documents.id, sources.name, row, text, cleaned, copy_of, likeness, clean_key, chunk_key, passages "
    "FROM documents JOIN sources ON sources.id = documents.source"
)


def _source(row: Sequence[Any]) -> StoredSource:
    name, digest, size, key, kind, status, about, number = row
    return StoredSource(name, digest, size, key, kind, status, _read(about), number)


def _document(row: Sequence[Any]) -> StoredDocument:
    name, source, about, text, cleaned, copy_of, likeness, clean_key, chunk_key, packed = row
    return StoredDocument(
        id=name,
        source=source,
        row=_read(about),
        text=text or "",
        cleaned=_read(cleaned or "{}"),
        copy_of=copy_of,
        likeness=likeness,
        clean_key=clean_key,
        chunk_key=chunk_key,
        passages=_unpacked(packed) if packed else [],
    )


def _unpacked(packed: bytes) -> Any:
    try:
        return _read(zlib.decompress(packed))
    except zlib.error as error:
        raise sqlite3.DatabaseError(f"{DAMAGED}: {error}") from None


def _read(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise sqlite3.DatabaseError(f"{DAMAGED}: {error}") from None


def _explained(path: Path, error: sqlite3.DatabaseError) -> Exception:
    """What to say of an error; the error itself where it is neither the disk's nor the file's."""
    code = getattr(error, "sqlite_errorcode", None)
    kind = None if code is None else code & 0xFF  # the rest of an extended code says where
    if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or str(error).startswith((DAMAGED, "Could not decode")):
        return RunError(
            f"{path} is damaged ({error}).", "Delete it and run the same command again: every file is read anew."
        )
    if kind in _DISK:
        return RunError(f"{path} could not be written: {error}.", "Make room on the disk and check its permissions.")
    return error
