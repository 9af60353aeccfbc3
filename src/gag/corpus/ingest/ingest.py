"""From files to a domain's documents and passages: read, clean, find copies, chunk, write; what is done is kept.

Everything lies in the domain's runs (`ingest/corpus.sqlite`); `data/<domain>/` holds what others read, written anew
when it changed. A step is redone only for what its inputs' hash says: the file, its parser and version, the choices.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gag.atomic import alone
from gag.config import CorpusConfig, ModelConfig
from gag.corpus.chunk import chunk_document
from gag.corpus.cleaning import clean as cleaning
from gag.corpus.cleaning.clean import Cleaned, clean
from gag.corpus.cleaning.duplicates import bands, near_copies, text_digest
from gag.corpus.ingest.discover import Left, Source, discover
from gag.corpus.ingest.files import WRITTEN, CorpusFiles, Totals, check_own, document_of, write_files, wrote
from gag.corpus.ingest.reading import EVERY, Reader
from gag.corpus.ingest.store import COPIES, Store
from gag.corpus.parsing.blocks import Parsed
from gag.corpus.parsing.parse import ParseOptions, check_packages, check_parsers
from gag.errors import InputError
from gag.progress import Progress, silent
from gag.records import content_hash
from gag.workspace import Workspace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Ingested:
    """What one run did: files taken up, those that were there unchanged, and what the corpus is now.

    `failed` and `noted` are (file, reason) and (file, what a person should know of how it was read).
    """

    files: CorpusFiles
    totals: Totals
    taken: int
    unchanged: int
    failed: tuple[tuple[str, str], ...]
    noted: tuple[tuple[str, str], ...]
    left: tuple[Left, ...]
    gone: tuple[str, ...]
    pruned: tuple[str, ...]


class Ingest:
    """The corpus of one domain of a workspace."""

    def __init__(self, workspace: Workspace, domain: str, on_progress: Progress = silent) -> None:
        self.workspace, self.domain, self.on_progress = workspace, domain, on_progress
        self.config: CorpusConfig = workspace.config.of(domain).corpus
        self.options = ParseOptions(
            self.config.pdf_parser,
            self.config.office_parser,
            self.config.furniture_pages,
            self.config.max_pages,
            int(self.config.max_file_mb * 1e6),
        )
        self._folder = workspace.runs(domain) / "ingest"

    @property
    def files(self) -> CorpusFiles:
        """Where the corpus is written."""
        return CorpusFiles(self.workspace.root / "data" / self.domain)

    def run(self, paths: Sequence[Path] = (), *, prune: bool = False) -> Ingested:
        """Take up what is new or changed in `paths` (none: the files known already), and write the corpus.

        With `prune`, documents whose file is gone are taken out. Raises InputError for a path that is not there and
        where there is nothing to read or the domain's files are somebody's own, MissingExtra for a parser that is not
        installed, BusyError.
        """
        check_parsers(self.options)
        busy = f"Another process is ingesting into {self.domain}."
        with alone(self._folder, busy, "Wait until it is done, then try again."), self.store() as store:
            check_own(store, self.files, self.domain)
            own = self._own(paths, wrote(store, self.files))
            found = list(discover(paths, self.workspace.root, own)) if paths else self._known(store)
            sources = [one for one in found if isinstance(one, Source)]
            left = tuple(one for one in found if isinstance(one, Left))
            gone = list(self._gone(store, sources))
            if not sources and all(one.unread for one in left) and not (prune and gone):
                raise InputError(*_nothing(paths, left))
            check_packages({source.kind for source in sources if source.kind})
            pruned = tuple(self._prune(store, gone)) if prune else ()
            reader = Reader(store, self.config, self.options, self.on_progress)
            reader.failed += [(one.name, one.reason) for one in left if not one.unread]
            reader.read(sources)
            self._clean(store)
            self._find_copies(store)
            self._chunk(store)
            totals = write_files(store, self.files, self._about(), left)
        still = tuple(name for name in gone if name not in pruned)
        counts = (reader.taken, reader.unchanged, tuple(reader.failed), tuple(reader.noted))
        return Ingested(self.files, totals, *counts, left, still, pruned)

    def store(self) -> Store:
        """What is known of the corpus, to look at."""
        return Store(self._folder / "corpus.sqlite")

    def _own(self, paths: Sequence[Path], wrote_here: bool) -> list[Path]:
        """What a folder to read may hold that ingest or others of this program wrote.

        A file of this domain that is among `paths` themselves is somebody's own where ingest never wrote here.
        """
        others = (path.parent for path in (self.workspace.root / "data").glob(f"*/{self.files.journal.name}"))
        written = [folder / name for folder in others for name in WRITTEN]
        named = set() if wrote_here else {path.resolve() for path in paths}
        written += [path for name in WRITTEN if (path := self.files.folder / name).resolve() not in named]
        return [self.workspace.root / "runs", self.workspace.modules, *written]

    def _known(self, store: Store) -> list[Source | Left]:
        """The files read before that are still there."""
        paths = [self.workspace.root / source.name for source in store.sources()]
        there = [path for path in paths if path.exists()]
        return list(discover(there, self.workspace.root))

    def _gone(self, store: Store, sources: Sequence[Source]) -> Iterator[str]:
        here = {source.name for source in sources}
        for stored in store.sources():
            if stored.name not in here and not os.path.lexists(self.workspace.root / stored.name):
                yield stored.name

    def _prune(self, store: Store, gone: Sequence[str]) -> Iterator[str]:
        store.begin()
        for name in gone:
            store.drop_source(name)
            yield name
        store.commit()

    def _clean(self, store: Store) -> None:
        key = content_hash("clean", cleaning.VERSION, self.config.cut_sections)
        stale = list(store.stale(key))
        store.begin()
        for done, name in enumerate(stale, 1):
            parsed = Parsed.from_json(store.parsed(name))
            cleaned = clean(parsed, self.config)
            digest, pieces = (text_digest(cleaned.text), bands(cleaned.text)) if cleaned.text else ("", b"")
            store.put_cleaned(name, key, cleaned.text, _cleaned_row(cleaned), digest, pieces)
            self._between(store, "clean", done, len(stale))
        store.commit()

    def _find_copies(self, store: Store) -> None:
        """Mark the documents that repeat an earlier one."""
        ids: list[str] = []
        first: dict[str, int] = {}
        copies: dict[int, tuple[int, float]] = {}
        state = hashlib.sha256(str(self.config.near_duplicates).encode())
        for number, (name, digest) in enumerate(store.digests()):
            ids.append(name)
            state.update(f"{name}\0{digest}\0".encode())
            earlier = first.setdefault(digest, number)
            if earlier != number:
                copies[number] = (earlier, 1.0)
        if store.value(COPIES) == state.hexdigest():
            return
        if self.config.near_duplicates and len(ids) > 1:
            self.on_progress("compare", 0, len(ids))
            found = near_copies(
                lambda number: store.band(number, len(ids)),
                lambda number: store.text(ids[number]),
                self.config.near_duplicates,
                copies,
            )
            copies |= {number: (earlier, likeness) for number, earlier, likeness in found}
            self.on_progress("compare", len(ids), len(ids), f"{len(copies)} copies")
        store.begin()
        store.put_copies(
            [(ids[earlier], round(likeness, 4), ids[copy]) for copy, (earlier, likeness) in copies.items()]
        )
        store.keep(COPIES, state.hexdigest())
        store.commit()

    def _chunk(self, store: Store) -> None:
        model = self._model()
        choices = (self.config.chunk_tokens, self.config.chunk_overlap, self.config.table_tokens)
        key = content_hash("chunk", model.source, model.revision, choices)
        total = store.count("text != '' AND copy_of IS NULL")
        tokenizer: PreTrainedTokenizerBase | None = None
        done = 0
        store.begin()
        for stored in store.documents():
            if not stored.text or stored.copy_of is not None:
                continue
            done += 1
            if stored.chunk_key == key:
                continue
            if tokenizer is None:
                tokenizer = self._tokenizer(model)
            cut = chunk_document(document_of(stored), tokenizer, choices[0], choices[1], table_tokens=choices[2])
            store.put_passages(stored.id, key, [(*(p.span or ()), p.heading, p.page) for p in cut])
            self._between(store, "chunk", done, total)
        store.commit()

    def _between(self, store: Store, step: str, done: int, total: int) -> None:
        """Say how far it is, and keep what is done now and then."""
        if done % EVERY == 0:
            store.commit()
            store.begin()
        if done % 20 == 0 or done == total:
            self.on_progress(step, done, total)

    def _model(self) -> ModelConfig:
        """The model whose tokens passages are measured in: the domain's expert."""
        expert = self.workspace.domain(self.domain).expert
        folder = self.workspace.path(expert) if expert else None
        if folder is not None and (folder / "config.json").is_file() and (folder / "tokenizer_config.json").is_file():
            return ModelConfig(source=str(expert))
        return self.workspace.config.models.expert

    def _tokenizer(self, model: ModelConfig) -> PreTrainedTokenizerBase:
        from gag.models.loading import load_tokenizer

        return load_tokenizer(model, root=self.workspace.root)

    def _about(self) -> dict[str, Any]:
        """What of the choices the journal names."""
        return {"domain": self.domain, "tokenizer": self._model().source, "corpus": self.config.model_dump(mode="json")}


def _cleaned_row(cleaned: Cleaned) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for cut in cleaned.cuts:
        counts[cut.reason] = counts.get(cut.reason, 0) + len(cut.text)
    return {"title": cleaned.title, "page_starts": list(cleaned.page_starts), "cut": counts}


def _nothing(paths: Sequence[Path], left: Sequence[Left]) -> tuple[str, str]:
    if not paths:
        return "No file was named, and none was read before.", "Name files or folders: gag ingest NAME papers/"
    kinds = ", ".join(sorted({one.reason for one in left})) or "nothing"
    return (
        f"There is nothing to read in {', '.join(map(str, paths))} (found: {kinds}).",
        "Files that are read: PDF, DOCX, PPTX, XLSX, HTML, Markdown, text, JSONL, JATS XML, MinerU output.",
    )
