"""A domain's corpus as files: documents.jsonl, passages.jsonl and the journal ingest.json, written a row at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from gag.atomic import disk_errors, new_file
from gag.corpus.ingest.discover import Left
from gag.corpus.ingest.store import Store, StoredDocument
from gag.errors import InputError
from gag.records import Document

WRITTEN = (
    *("documents.jsonl", "passages.jsonl", "ingest.json", "ingest.html"),
    *("qa.jsonl", "rejected.jsonl", "review.jsonl", "splits.json", "raft.jsonl", "exports"),
)
"""What this program writes into a domain's folder of data, and no folder that is read as documents brings in again."""
_BEGUN = "writing"
"""Under this name among the store's kept values: ingest has begun to write the domain's files."""


@dataclass(frozen=True)
class CorpusFiles:
    """Where a domain's corpus lies."""

    folder: Path

    @property
    def documents(self) -> Path:
        """The clean documents, without copies."""
        return self.folder / "documents.jsonl"

    @property
    def passages(self) -> Path:
        """Their passages."""
        return self.folder / "passages.jsonl"

    @property
    def journal(self) -> Path:
        """What came from where, what was cut, what failed."""
        return self.folder / "ingest.json"

    @property
    def report(self) -> Path:
        """What was cut, side by side with what stayed."""
        return self.folder / "ingest.html"


@dataclass(frozen=True)
class Totals:
    """What the corpus holds; `flagged` are (document, flags), `empty` documents of which cleaning left nothing."""

    sources: int
    documents: int
    passages: int
    characters: int
    cut: dict[str, int]
    copies: tuple[tuple[str, str, float], ...]
    flagged: tuple[tuple[str, str], ...]
    empty: tuple[str, ...]

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Totals:
        """What `asdict` made, through JSON."""
        lists = {key: tuple(map(tuple, row[key])) for key in ("copies", "flagged")}
        return cls(**{**row, **lists, "empty": tuple(row["empty"])})


def document_of(stored: StoredDocument) -> Document:
    """A stored document as the record that others read."""
    meta = dict(stored.row["meta"])
    starts = stored.cleaned.get("page_starts")
    if starts:
        meta["page_starts"] = starts
    return Document(stored.id, stored.text, stored.cleaned.get("title"), stored.row["source"], meta)


def wrote(store: Store, files: CorpusFiles) -> bool:
    """Whether ingest has written this corpus, or begun to; a journal is its own even where the store is gone."""
    return any(store.value(key) is not None for key in ("written", _BEGUN)) or files.journal.is_file()


def check_own(store: Store, files: CorpusFiles, domain: str) -> None:
    """Raise InputError where a file that would be written is there and not ingest's."""
    for path in (files.documents, files.passages):
        if path.exists() and not wrote(store, files):
            raise InputError(
                f"{path} is yours: gag ingest did not write it, and would replace it.",
                f"Move it elsewhere and name it: gag ingest {domain} FILE",
            )


def write_files(store: Store, files: CorpusFiles, about: dict[str, Any], left: Sequence[Left]) -> Totals:
    """Write the corpus and its journal where they changed. Raises RunError for the disk's errors."""
    unread = json.dumps([[one.name, one.reason] for one in left])
    choices = json.dumps(about, sort_keys=True)
    files_there = all(path.is_file() for path in (files.documents, files.passages, files.journal))
    written = store.value("written")
    if written is not None and files_there and (store.value("left"), store.value("about")) == (unread, choices):
        return Totals.from_json(json.loads(written))
    store.begin()
    store.keep(_BEGUN, "1")
    store.commit()
    with disk_errors(f"{files.folder} could not be written"):
        _write_corpus(store, files)
        totals = _totals(store)
        with new_file(files.journal) as partial:
            _write_journal(store, partial, about, left, totals)
    store.begin()
    for key, value in (("left", unread), ("about", choices), ("written", json.dumps(asdict(totals)))):
        store.keep(key, value)
    store.commit()
    return totals


def passage_rows(stored: StoredDocument) -> Iterator[dict[str, Any]]:
    """A document's passages as rows of passages.jsonl."""
    for number, (start, end, heading, page) in enumerate(stored.passages, 1):
        row: dict[str, Any] = {"id": f"{stored.id}#{number}", "document_id": stored.id, "text": stored.text[start:end]}
        row |= {"heading": heading} if heading else {}
        row |= {"span": [start, end]}
        yield row | ({"page": page} if page else {})


def _write_corpus(store: Store, files: CorpusFiles) -> None:
    with (
        new_file(files.documents) as one,
        new_file(files.passages) as other,
        one.open("w", encoding="utf-8") as documents,
        other.open("w", encoding="utf-8") as passages,
    ):
        for stored in store.documents():
            if stored.text and stored.copy_of is None:
                _write_document(stored, documents, passages)


def _write_document(stored: StoredDocument, documents: IO[str], passages: IO[str]) -> None:
    record = document_of(stored)
    row = {
        "id": record.id,
        "title": record.title,
        "text": record.text,
        "source": record.source,
        "meta": dict(record.meta),
    }
    documents.write(_line({key: value for key, value in row.items() if value not in (None, {})}))
    passages.writelines(_line(passage) for passage in passage_rows(stored))


def _totals(store: Store) -> Totals:
    documents = passages = characters = 0
    cut: dict[str, int] = {}
    copies, flagged, empty = [], [], []
    for stored in store.documents():
        for reason, count in stored.cleaned.get("cut", {}).items():
            cut[reason] = cut.get(reason, 0) + count
        if stored.row["meta"].get("quality"):
            flagged.append((stored.id, ", ".join(stored.row["meta"]["quality"])))
        if not stored.text:
            empty.append(stored.id)
        elif stored.copy_of is not None:
            copies.append((stored.id, stored.copy_of, stored.likeness or 0.0))
        else:
            documents += 1
            passages += len(stored.passages)
            characters += len(stored.text)
    sources = sum(source.status == "ok" for source in store.sources())
    return Totals(sources, documents, passages, characters, cut, tuple(copies), tuple(flagged), tuple(empty))


def _write_journal(store: Store, path: Path, about: dict[str, Any], left: Sequence[Left], totals: Totals) -> None:
    head = {"version": 1, **about, "documents": totals.documents, "passages": totals.passages, "cut": totals.cut}
    with path.open("w", encoding="utf-8") as out:
        out.write(json.dumps(head, ensure_ascii=False)[:-1])
        _write_list(out, "sources", _source_rows(store))
        _write_list(out, "corpus_documents", _document_rows(store))
        _write_list(out, "not_read", ({"name": one.name, "reason": one.reason} for one in left))
        out.write("}\n")


def _source_rows(store: Store) -> Iterator[dict[str, Any]]:
    for source in store.sources():
        row = {
            "name": source.name,
            "sha256": source.digest,
            "bytes": source.size,
            "kind": source.kind,
            "status": source.status,
        }
        row |= {key: value for key, value in source.about.items() if value not in (None, [])}
        problems = [{"place": place, "reason": reason} for place, reason in store.problems(source.id)]
        yield row | ({"problems": problems} if problems else {})


def _document_rows(store: Store) -> Iterator[dict[str, Any]]:
    for stored in store.documents():
        row: dict[str, Any] = {"id": stored.id, "file": stored.source, "characters": len(stored.text)}
        row |= {key: stored.row["meta"][key] for key in ("parser", "pages", "quality") if key in stored.row["meta"]}
        row |= {"cut": stored.cleaned["cut"]} if stored.cleaned.get("cut") else {}
        if stored.copy_of is not None:
            row |= {"copy_of": stored.copy_of, "likeness": stored.likeness}
        else:
            row["passages"] = len(stored.passages)
        yield row


def _write_list(out: IO[str], name: str, rows: Iterator[dict[str, Any]]) -> None:
    out.write(f',\n"{name}": [')
    for number, row in enumerate(rows):
        out.write((",\n" if number else "\n") + json.dumps(row, ensure_ascii=False))
    out.write("]")


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
