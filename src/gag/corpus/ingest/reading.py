"""The first part of ingest: files that are new or changed are parsed, and their documents kept in the store."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gag.config import CorpusConfig
from gag.corpus.ingest.discover import Source
from gag.corpus.ingest.store import Store, StoredSource
from gag.corpus.parsing.blocks import Parsed
from gag.corpus.parsing.errors import ParseError
from gag.corpus.parsing.jsonl import VERSION, parsed_row, rows
from gag.corpus.parsing.parse import IN_PROCESS, Kind, ParseOptions, checked_kind, parse_text, parser_key
from gag.corpus.parsing.pool import Limits, Pool, Worker
from gag.progress import Progress
from gag.records import content_hash

EVERY = 200
"""Documents written between two commits: what an interruption may cost."""


@dataclass
class Job:
    """A file on its way: what it is, and the hash of what reading it depends on."""

    source: Source
    digest: str = ""
    size: int = 0
    kind: Kind = "text"
    key: str = ""
    notes: list[str] = field(default_factory=list)
    problem: str | None = None


class Reader:
    """Reads files into `store`; `failed` and `noted` are (file, words), `taken` and `unchanged` count files."""

    def __init__(self, store: Store, config: CorpusConfig, options: ParseOptions, on_progress: Progress) -> None:
        self._store, self._config, self._options, self._on_progress = store, config, options, on_progress
        self.failed: list[tuple[str, str]] = []
        self.noted: list[tuple[str, str]] = []
        self.taken = self.unchanged = 0

    def read(self, sources: Sequence[Source]) -> None:
        """Parse what is new or changed, in the order of the files, several at once where a worker is needed."""
        turn = int(self._store.value("turn") or 0) + 1
        self._store.keep("turn", str(turn))
        limits = Limits(self._config.parse_seconds, self._config.parse_memory_gb)
        with Pool(self._config.workers or os.cpu_count() or 1, limits) as pool:
            for done, (job, found) in enumerate(pool.map(self._jobs(sources), self._parse), 1):
                if found is _SAME:
                    self.unchanged += 1
                else:
                    self._take(job, found, turn)
                self._on_progress("read", done, len(sources), job.source.path.name)

    def _jobs(self, sources: Sequence[Source]) -> Iterator[Job]:
        for source in sources:
            job = Job(source)
            try:
                job.digest, job.size = _digest(source.path)
                job.kind, job.notes = checked_kind(source.path, self._options)
                job.key = content_hash(job.digest, parser_key(job.kind, self._options))
                stored = self._store.source(source.name)
                if stored is not None and stored.key == job.key and stored.status == "ok":
                    job.problem = "unchanged"
            except ParseError as error:
                job.problem = error.reason
            except OSError as error:
                job.problem = f"could not be read: {error.strerror or error}"
            yield job

    def _parse(self, worker: Worker, job: Job) -> Any:
        """What is found in a file: blocks, or None where this process reads it; raises ParseError."""
        if job.problem == "unchanged":
            return _SAME
        if job.problem is not None:
            raise ParseError(job.problem)
        return None if job.kind in IN_PROCESS else worker.parse(job.source.path, job.kind, self._options)

    def _take(self, job: Job, found: Any, turn: int) -> None:
        """Write a file's documents, or why there are none."""
        self._store.begin()
        try:
            if isinstance(found, ParseError):
                raise found
            number = self._store.put_source(self._row(job, "reading", {"notes": job.notes}))
            self._store.clear_problems(number)
            if job.kind == "jsonl":
                about = self._take_rows(job, number, turn)
            else:
                parsed: Parsed = found or parse_text(job.source.path.read_bytes(), job.kind)
                if not parsed.characters:
                    raise ParseError("no text in it")
                about = _about_parsed(parsed, job.notes)
                wanted = _slug(job.source.path.stem)
                self._put(wanted, (number, 0, turn), job.key, _document_row(job.source.name, parsed), parsed)
            self._store.drop_unmarked(number, turn)
            self._store.put_source(self._row(job, "ok", about))
            self.taken += 1
            self.noted += [(job.source.name, note) for note in about.get("notes", ())]
        except (ParseError, OSError) as error:
            self._fail(job, error)
        self._store.commit()

    def _fail(self, job: Job, error: ParseError | OSError) -> None:
        """Note why a file could not be read; what an earlier reading found in it stays."""
        reason = error.reason if isinstance(error, ParseError) else f"could not be read: {error.strerror or error}"
        if isinstance(error, ParseError) and error.scanned:
            reason += " Read its pictures with --set corpus.pdf_parser=docling or mineru"
        before = self._store.source(job.source.name)
        kept = self._store.count(f"source = {before.id}") if before is not None else 0
        if kept:
            reason += f"; its {kept} document{'s' * (kept != 1)} of an earlier reading stay"
        self._store.put_source(self._row(job, "failed", {"notes": job.notes, "reason": reason}))
        self.failed.append((job.source.name, reason))

    def _take_rows(self, job: Job, number: int, turn: int) -> dict[str, Any]:
        """The documents of a JSONL file; those that are there already and equal are kept with all their work."""
        count = 0
        for line, row in rows(job.source.path):
            try:
                if isinstance(row, ParseError):
                    raise row
                self._take_row(job, row, (number, line, turn))
                count += 1
            except ParseError as error:
                self._store.put_problem(number, f"line {line}", error.reason)
                self.failed.append((f"{job.source.name} line {line}", error.reason))
            if line % EVERY == 0:
                self._store.commit()
                self._on_progress("read", count, count, f"documents of {job.source.path.name}")
                self._store.begin()
        if not count:
            raise ParseError("no document in it")
        return {"parser": "jsonl", "version": VERSION, "documents": count}

    def _take_row(self, job: Job, row: dict[str, Any], place: tuple[int, int, int]) -> None:
        number, line, turn = place
        key = content_hash(row, parser_key("jsonl", self._options))
        row_id, slug = str(row["id"]), _slug(job.source.path.stem)
        for name in (row_id, f"{slug}:{row_id}", f"{slug}-{_path_mark(job.source.name)}:{row_id}"):
            stored = self._store.document_key(name)
            if stored is None or stored[0] == number:
                break
        if stored is not None and stored[0] == number and stored[2] == turn:
            raise ParseError(f"the id {row['id']!r} is already used in this file")
        if stored is not None and stored[:2] == (number, key):
            self._store.mark(name, number, line, turn)
            return
        parsed = parsed_row(row)
        about = _document_row(row.get("source") or job.source.name, parsed)
        self._store.put_document(name, place, key, about, parsed.to_json())

    def _put(self, wanted: str, place: tuple[int, int, int], key: str, row: dict[str, Any], parsed: Parsed) -> None:
        """Write a file's document under its name, or one made of its name and path where another file has that."""
        taken = self._store.document_key(wanted)
        if taken is not None and taken[0] != place[0]:
            wanted = f"{wanted}-{_path_mark(row['source'])}"
        self._store.put_document(wanted, place, key, row, parsed.to_json())

    def _row(self, job: Job, status: str, about: dict[str, Any]) -> StoredSource:
        return StoredSource(job.source.name, job.digest, job.size, job.key, job.kind, status, about)


def _path_mark(name: str) -> str:
    """A few letters that tell files of one name apart, by their paths."""
    return hashlib.sha256(name.encode()).hexdigest()[:6]


_SAME = object()
"""Stands for a file that is as it was."""


def _digest(path: Path) -> tuple[str, int]:
    """sha256 and size of a file; of a huge one too, a piece at a time."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()


def _slug(stem: str) -> str:
    """A document's id from its file's name."""
    words = stem.encode("utf-8", "replace").decode("utf-8")
    words = re.sub(
        r"[^\w.+-]+", "_", words.removesuffix("_content_list").removesuffix("_content_list_v2").removesuffix("_middle")
    )
    return words.strip("_.")[:100] or "document"


def _document_row(source: str, parsed: Parsed) -> dict[str, Any]:
    """What a document's row says beside its text."""
    meta: dict[str, Any] = {**parsed.meta, "parser": parsed.parser, "parser_version": parsed.version}
    if parsed.pages:
        meta |= {"pages": parsed.pages, "characters_a_page": round(parsed.characters / parsed.pages)}
    if parsed.quality:
        meta["quality"] = list(parsed.quality)
    return {"source": source, "meta": meta}


def _about_parsed(parsed: Parsed, notes: Sequence[str]) -> dict[str, Any]:
    return {
        "parser": parsed.parser,
        "version": parsed.version,
        "pages": parsed.pages,
        "quality": list(parsed.quality),
        "notes": [*notes, *parsed.notes],
    }
