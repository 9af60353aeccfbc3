"""A domain's pairs, made of its passages: what is asked about which, who writes, and what is kept of a run.

Which passages were asked about is kept by their text, so that a later run can be about new and changed ones alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gag.atomic import new_file
from gag.config import SynthesisConfig
from gag.corpus.synthesis.endpoint import EndpointWriter, is_endpoint
from gag.corpus.synthesis.journal import Journal, Remembered
from gag.corpus.synthesis.review import QaSet, passages_of
from gag.corpus.synthesis.splits import FILE, assign, assign_and_keep, kept_sides
from gag.corpus.synthesis.synthesis import Result, Task
from gag.errors import InputError, RunError
from gag.records import Passage, content_hash, read_documents, read_passages
from gag.workspace import Workspace

if TYPE_CHECKING:
    from gag.corpus.synthesis.generators import Writer
    from gag.models.base import Base


def domain_passages(place: Workspace, name: str) -> list[Passage]:
    """A domain's passages, none where all its documents were taken out; raises InputError where it never had any."""
    configured = place.domain(name).passages
    path = place.path(configured) if configured else place.data(name) / "passages.jsonl"
    if not configured and not path.is_file():
        raise InputError(
            f"The domain {name} has no passages: {path} is not there.",
            f"Make them from files: gag ingest {name} FOLDER --workspace {place.root}",
        )
    return read_passages(path) if configured or path.stat().st_size else []


def synthesis_task(
    place: Workspace,
    name: str,
    config: SynthesisConfig,
    *,
    limit: int | None = None,
    preview: int | None = None,
    only: Collection[str] | None = None,
) -> Task:
    """The domain's passages with titles and sides: all, the first `limit`, or those whose ids are in `only`.

    The others still say which words are common. With `preview`, that many are taken and nothing is written.
    """
    passages = domain_passages(place, name)
    documents = place.data(name) / "documents.jsonl"
    titles = {d.id: d.title for d in read_documents(documents) if d.title} if documents.is_file() else {}
    for passage in passages:
        if passage.document_id not in titles and passage.heading:
            titles[passage.document_id] = passage.heading.split(" > ")[0]
    ids, sides_file = [p.document_id for p in passages], place.data(name) / FILE
    if preview is not None:
        kept = kept_sides(sides_file, config.test_share, config.seed)
        sides = assign(ids, config.test_share, config.seed, kept)
    else:
        sides = assign_and_keep(sides_file, ids, config.test_share, config.seed)
    chosen, around = passages[: min(limit or len(passages), preview or len(passages))], []
    if only is not None:
        chosen, around = [p for p in passages if p.id in only], [p for p in passages if p.id not in only]
    asked = {p.id for p in chosen}
    known = (
        []
        if len(chosen) == len(passages)
        else [pair for pair in QaSet(place.data(name)).used if asked.isdisjoint(passages_of(pair))]
    )
    return Task(name, place.prompts(name).field, chosen, titles, sides, config, around, known)


@contextmanager
def open_writer(place: Workspace, name: str, config: SynthesisConfig) -> Iterator[Remembered | None]:
    """Who writes, with the journal of what was written; None for the extractive generator.

    A model in this process is proven unchanged at the end, however that comes: RunError, and its replies are dropped.
    """
    if config.model == "extractive":
        yield None
        return
    base: Base | None = None
    with ExitStack() as stack:
        writer: Writer
        if is_endpoint(config.model):
            writer = EndpointWriter(config.model, config)
        else:
            from gag.corpus.synthesis.local_writer import LocalWriter
            from gag.models.base import Base
            from gag.models.loading import load_causal_lm

            chosen = place.config.models.base
            if config.model != "base":
                chosen = chosen.model_copy(update={"source": config.model, "revision": None})
            base = Base.from_loaded(load_causal_lm(chosen, root=place.root))
            writer = LocalWriter(base, temperature=config.temperature, batch_size=config.batch_size, seed=config.seed)
        folder = place.runs(name) / f"synth-{content_hash('synth', writer.name)[:12]}"
        journal = Journal(folder / "journal.jsonl")
        remembered = stack.enter_context(closing(Remembered(writer, journal)))
        if base is not None:
            stack.enter_context(_unchanged(base, journal))
        yield remembered


@contextmanager
def _unchanged(base: Base, journal: Journal) -> Iterator[None]:
    """Raise RunError where the body changed the model, and drop what it added to the journal."""
    from gag.models.fingerprint import check_unchanged, weights_checksum

    before, size = weights_checksum(base.model), journal.size
    try:
        yield
    finally:
        try:
            check_unchanged(base.model, before, f"the model {base.source}")
        except RunError:
            journal.cut(size)
            raise


def keep_pairs(place: Workspace, name: str, result: Result, task: Task) -> int:
    """Write pairs, report and what was asked about; returns how many earlier pairs stay beside the new ones."""
    passages = domain_passages(place, name)
    style = task.config.style
    with QaSet(place.data(name)).alone() as pairs:
        texts, asked_about = {p.id: p.text for p in passages}, {p.id for p in task.passages}
        kept = pairs.replace(style, result.accepted, result.refused, texts, asked=asked_about)
    folder = place.runs(name) / "synth"
    with new_file(folder / f"report-{style}.json") as partial:
        partial.write_text(json.dumps(result.report.to_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    there = {p.id for p in passages}
    asked = {i: digest for i, digest in _asked(place, name, style).items() if i in there}
    without = {*result.report.failed, *result.report.left_out}
    asked |= {p.id: _digest(p) for p in task.passages if p.id not in without}
    with new_file(_asked_file(place, name, style)) as partial:
        partial.write_text(json.dumps(asked, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    return kept


def unasked(place: Workspace, name: str, style: str, passages: Sequence[Passage]) -> list[Passage]:
    """Those of `passages` that no run of this style was about, as they read now."""
    asked = _asked(place, name, style)
    return [passage for passage in passages if asked.get(passage.id) != _digest(passage)]


def _asked_file(place: Workspace, name: str, style: str) -> Path:
    return place.runs(name) / "synth" / f"passages-{style}.json"


def _asked(place: Workspace, name: str, style: str) -> dict[str, str]:
    """Passage ids with the digest of the text that was asked about; none where the file is not there or damaged."""
    try:
        row = json.loads(_asked_file(place, name, style).read_text("utf-8"))
        return {str(i): str(digest) for i, digest in row.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _digest(passage: Passage) -> str:
    return content_hash(passage.text, passage.heading)[:16]
