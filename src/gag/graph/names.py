"""The names of a graph's entities, in a file of their own: exact, without case, and by letter triples.

SQLite on disk, because a graph may have more entities than memory; filled while the triples stream by.
"""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from gag.errors import RunError
from gag.graph.terms import ALIASES, LABELS, is_literal, label_of, literal_value
from gag.graph.triples import Statement

_SCHEMA = """
CREATE TABLE entity (id INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE, label TEXT NOT NULL, labelled INTEGER NOT NULL);
CREATE TABLE alias (entity INTEGER NOT NULL, text TEXT NOT NULL);
"""
_INDEX = """
CREATE TABLE name (id INTEGER PRIMARY KEY, plain TEXT NOT NULL, text TEXT NOT NULL, entity INTEGER NOT NULL);
INSERT INTO name (plain, text, entity) SELECT plain(label), label, id FROM entity WHERE plain(label) != '';
INSERT INTO name (plain, text, entity) SELECT plain(text), text, entity FROM alias WHERE plain(text) != '';
CREATE INDEX name_plain ON name (plain);
DROP TABLE alias;
CREATE VIRTUAL TABLE gram USING fts5 (plain, content = '', tokenize = 'trigram');
INSERT INTO gram (rowid, plain) SELECT id, plain FROM name;
"""
_SEEN = 1 << 18
_LONGEST = 200
"""Characters of a name; a longer literal is a text, not the name of anything."""


@dataclass(frozen=True)
class Named:
    """An entity and the name it was found by; `score` is 1 for the name itself, else the share of letter triples."""

    term: str
    label: str
    name: str
    score: float = 1.0


class NameWriter:
    """Collects the names of statements as they pass, then writes the index; the file is whole after `finish`."""

    def __init__(self, path: Path, language: str, aliases: Iterable[str]) -> None:
        self.language, self._aliases = language, frozenset(f"<{iri}>" for iri in ALIASES) | frozenset(aliases)
        self._labels = frozenset(f"<{iri}>" for iri in LABELS)
        self._seen: set[str] = set()
        self._entities: list[tuple[str, str]] = []
        self._named: list[tuple[str, str, int]] = []
        self._file = _connected(path)
        self._file.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _SCHEMA)

    @property
    def attributes(self) -> frozenset[str]:
        """Terms of the properties that name entities, and so are no relations."""
        return self._labels | self._aliases

    def add(self, statement: Statement, stored: str | None = None) -> None:
        """Take note of what a statement says of names; `stored`: how the store spells its tail, if in another way."""
        subject, predicate, tail = statement
        self.add_entity(subject)
        if predicate in self._labels or predicate in self._aliases:
            text, language = literal_value(tail) if is_literal(tail) else (label_of(tail), "")
            label = predicate in self._labels and language in ("", self.language)
            self.add_name(subject, text, label=label)
        elif stored is None:
            self.add_entity(tail)
        elif tail not in self._seen:
            self.add_name(stored, literal_value(tail)[0], label=False)
            self._seen.add(tail)

    def add_name(self, term: str, text: str, *, label: bool) -> None:
        """A name of an entity that has been added; the first `label` is what it is called."""
        self.add_entity(term)
        self._named.append((term, text, int(label)))
        if len(self._named) >= _SEEN:
            self._flush()

    def finish(self) -> int:
        """Write the index and close the file; returns the number of entities."""
        self._flush()
        self._file.executescript(_INDEX)
        count = int(self._file.execute("SELECT count(*) FROM entity").fetchone()[0])
        self._file.commit()
        self._file.close()
        return count

    def close(self) -> None:
        """Close the file as it is, where something went wrong."""
        with suppress(sqlite3.Error):
            self._file.close()

    def add_entity(self, term: str) -> None:
        """An entity, called what its term says until a label says otherwise."""
        if term in self._seen:
            return
        if len(self._seen) >= _SEEN:
            self._flush()
        self._seen.add(term)
        label = label_of(term)
        if len(label) <= _LONGEST:
            self._entities.append((term, label))

    def _flush(self) -> None:
        rows = self._file
        rows.executemany("INSERT OR IGNORE INTO entity (term, label, labelled) VALUES (?, ?, 0)", self._entities)
        for term, text, label in self._named:
            if label:
                done = rows.execute(
                    "UPDATE entity SET label = ?, labelled = 1 WHERE term = ? AND labelled = 0", (text, term)
                )
                if done.rowcount:
                    continue
            rows.execute("INSERT INTO alias SELECT id, ? FROM entity WHERE term = ? AND label != ?", (text, term, text))
        self._entities, self._named = [], []
        self._seen.clear()


class Names:
    """The index, read only."""

    def __init__(self, path: Path) -> None:
        again = "Load the graph again: gag graph load NAME --triples FILE"
        if not path.is_file():
            raise RunError(f"{path} is missing.", again)
        self._file = _connected(path, read_only=True)
        if not _whole(self._file, path):
            self._file.close()
            raise RunError(f"{path} is damaged.", again)

    def labels(self, terms: Sequence[str]) -> list[str]:
        """What each term is called; what it says of itself where the index has no name for it."""
        known: dict[str, str] = {}
        for start in range(0, len(terms), 500):
            part = list(dict.fromkeys(terms[start : start + 500]))
            marks = ",".join("?" * len(part))
            known |= dict(self._file.execute(f"SELECT term, label FROM entity WHERE term IN ({marks})", part))
        return [known.get(term) or label_of(term) for term in terms]

    def exact(self, names: Sequence[str]) -> dict[str, list[Named]]:
        """For each of `names` that is one, without regard to case and outer punctuation, the entities called so.

        Where some are written just as asked for, those alone.
        """
        found: dict[str, list[Named]] = {}
        keys = {name: plain(name) for name in names}
        wanted = list({key for key in keys.values() if key})
        rows: dict[str, list[tuple[str, str, str]]] = {}
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            marks = ",".join("?" * len(part))
            query = (
                "SELECT plain, term, label, text FROM name JOIN entity ON entity.id = name.entity "
                f"WHERE plain IN ({marks}) ORDER BY term"
            )
            for key, *row in self._file.execute(query, part):
                rows.setdefault(key, []).append((row[0], row[1], row[2]))
        for name, key in keys.items():
            there = [Named(*row) for row in rows.get(key, ())]
            same = [named for named in there if named.name == name]
            if there:
                found[name] = list({named.term: named for named in same or there}.values())
        return found

    def similar(self, text: str, count: int = 5) -> list[Named]:
        """Entities whose names share most letter triples with `text`, best first (Dice's coefficient)."""
        wanted = _triples(plain(text))
        if not wanted:
            return []
        asked = [triple for triple in sorted(wanted) if len(triple) == 3 and "\0" not in triple]  # the end of a query
        match = " OR ".join('"' + triple.replace('"', '""') + '"' for triple in asked)
        query = (
            "SELECT term, label, text FROM "
            "(SELECT rowid AS found FROM gram WHERE gram MATCH ? ORDER BY rank LIMIT 200) "
            "JOIN name ON name.id = found JOIN entity ON entity.id = name.entity"
        )
        best: dict[str, Named] = {}
        for term, label, name in self._file.execute(query, (match,)) if match else ():
            mine = _triples(plain(name))
            score = 2 * len(wanted & mine) / (len(wanted) + len(mine))
            if term not in best or score > best[term].score:
                best[term] = Named(term, label, name, score)
        return sorted(best.values(), key=lambda named: (-named.score, named.label))[:count]

    def entities(self) -> Iterator[tuple[int, str, str]]:
        """Number, term and label of every entity that is no literal, in the order in which they were met."""
        for number, term, label in self._file.execute("SELECT id, term, label FROM entity ORDER BY id"):
            if not is_literal(term):
                yield number, term, label

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def plain(name: str) -> str:
    """A name as it is compared: one form of every letter, no case, single spaces, no quotes or stops around it.

    A name of nothing but punctuation ("$") stays as it is.
    """
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    bare = text.strip(" \"'“”‘’.,;:!?")
    return bare or text


def _triples(text: str) -> set[str]:
    padded = f" {text} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


def _connected(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    where = f"file:{quote(str(path.resolve()))}" + ("?mode=ro&immutable=1" if read_only else "")
    file = sqlite3.connect(where, uri=True, check_same_thread=False)
    file.create_function("plain", 1, plain, deterministic=True)
    return file


def _whole(file: sqlite3.Connection, path: Path) -> bool:
    """Whether an index has all its pages and tables; what is in them is not read."""
    try:
        (pages,), (size,) = (file.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "page_size"))
        for table in ("entity", "name", "gram"):
            file.execute(f"SELECT rowid FROM {table} LIMIT 1").fetchone()
    except sqlite3.Error:
        return False
    return bool(path.stat().st_size >= pages * size)
