"""`gag synth`: question-answer pairs from a domain's passages."""

from __future__ import annotations

import json
import sys
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gag.cli.building import shown_path, where
from gag.cli.options import AsJson, DomainName, Overrides, WorkspaceFolder
from gag.cli.output import note, notes, warn, write_json, write_table, write_text
from gag.cli.progress import shown_progress
from gag.errors import ConfigError, InputError, RunError

if TYPE_CHECKING:
    from gag.config import SynthesisConfig
    from gag.corpus.generators import Writer
    from gag.corpus.journal import Remembered
    from gag.corpus.synthesis import Report, Result, Synthesis, Task
    from gag.records import Passage
    from gag.workspace import Workspace

StyleName = Literal["plain", "raft", "unanswerable", "cross-document"]
PREVIEWED = 3
"""Passages of a preview."""
SHOWN_DOCUMENTS, SHOWN_FAILURES = 12, 10


def synth(
    name: DomainName,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Who writes: extractive (rules, no model), base, a hub id, folder or package:NAME, or an endpoint's "
            "address https://HOST/v1#MODEL; else synthesis.model.",
        ),
    ] = None,
    per_passage: Annotated[
        int | None, typer.Option("--per-passage", metavar="N", min=1, help="Facts asked for in a passage.")
    ] = None,
    style: Annotated[
        StyleName | None,
        typer.Option("--style", help="What is asked: of a passage, with distractors, beyond it, or of two documents."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Take the first N passages only.")
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what would be asked and what it costs; keep nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before passages are sent to an endpoint.")
    ] = False,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Write question-answer pairs from a domain's passages, check each, and keep those that pass.

    Replies of a model are kept one by one: after an interruption or a failure the same command asks only for the rest.
    """
    from gag.corpus.endpoint import is_endpoint
    from gag.corpus.synthesis import Synthesis
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    given = {"model": model, "per_passage": per_passage, "style": style}
    config = place.config.synthesis.model_copy(update={k: v for k, v in given.items() if v is not None})
    task = _task(place, name, config, limit, preview)
    remembered = _writer(place, name, config)
    with shown_progress() as on_progress, closing(remembered) if remembered is not None else nullcontext():
        run = Synthesis(task, remembered, on_progress)
        if is_endpoint(config.model) and remembered is not None:
            if preview:
                _show_request(run, remembered, as_json)
                return
            _agree(run, remembered, config, yes)
        result = run.run()
    if preview:
        _show_pairs(result, as_json)
        return
    kept = _keep(place, name, result, task)
    _show(place, name, result.report, kept, as_json)
    if result.report.failed:
        raise RunError(
            f"{len(result.report.failed)} of {len(task.passages)} passages failed; what came of the others is kept.",
            "Run the same command again: it asks only for what is missing.",
        )


def _task(place: Workspace, name: str, config: SynthesisConfig, limit: int | None, preview: bool) -> Task:
    """The domain's passages with titles and sides; nothing is written for a preview."""
    from gag.corpus.splits import FILE, assign, assign_and_keep, kept_sides
    from gag.corpus.synthesis import Task
    from gag.records import read_documents

    passages = _passages(place, name)
    documents = place.data(name) / "documents.jsonl"
    titles = {d.id: d.title for d in read_documents(documents) if d.title} if documents.is_file() else {}
    for passage in passages:
        if passage.document_id not in titles and passage.heading:
            titles[passage.document_id] = passage.heading.split(" > ")[0]
    ids, sides_file = [p.document_id for p in passages], place.data(name) / FILE
    if preview:
        kept = kept_sides(sides_file, config.test_share, config.seed)
        sides = assign(ids, config.test_share, config.seed, kept)
    else:
        sides = assign_and_keep(sides_file, ids, config.test_share, config.seed)
    chosen = passages[: min(limit or len(passages), PREVIEWED if preview else len(passages))]
    return Task(name, place.prompts(name).field, chosen, titles, sides, config)


def _passages(place: Workspace, name: str) -> list[Passage]:
    from gag.records import read_passages

    configured = place.domain(name).passages
    path = place.path(configured) if configured else place.data(name) / "passages.jsonl"
    if not configured and not path.is_file():
        raise InputError(
            f"The domain {name} has no passages: {shown_path(path)} is not there.",
            f"Make them from files: gag ingest {name} FOLDER{where(place)}",
        )
    return read_passages(path)


def _writer(place: Workspace, name: str, config: SynthesisConfig) -> Remembered | None:
    """The writer with its journal; None for the extractive generator."""
    from gag.corpus.endpoint import EndpointWriter, is_endpoint
    from gag.corpus.journal import Journal, Remembered
    from gag.records import content_hash

    if config.model == "extractive":
        return None
    writer: Writer
    if is_endpoint(config.model):
        writer = EndpointWriter(config.model, config)
    else:
        from gag.corpus.local_writer import LocalWriter
        from gag.models.base import Base
        from gag.models.loading import load_causal_lm

        chosen = place.config.models.base
        if config.model != "base":
            chosen = chosen.model_copy(update={"source": config.model, "revision": None})
        with notes().status("loading the model"):
            base = Base.from_loaded(load_causal_lm(chosen, root=place.root))
        writer = LocalWriter(base, temperature=config.temperature, batch_size=config.batch_size, seed=config.seed)
    folder = place.runs(name) / f"synth-{content_hash('synth', writer.name)[:12]}"
    return Remembered(writer, Journal(folder / "journal.jsonl"))


def _agree(run: Synthesis, writer: Remembered, config: SynthesisConfig, yes: bool) -> None:
    """Say what will be sent and what it costs; ask unless told not to."""
    said = _cost(run, writer, config)
    if said is None:
        return
    note(said)
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("Passages would be sent to the endpoint, and nobody is there to ask.", "Add --yes.")
    if notes().input("Go on? [y/N] ", markup=False).strip().lower() not in ("y", "yes"):
        raise ConfigError("Nothing was sent.", "Another writer: --model extractive, --model base.")


def _cost(run: Synthesis, writer: Remembered, config: SynthesisConfig) -> str | None:
    """What the run will send, about; None where every reply is known already."""
    from gag.corpus.endpoint import estimate
    from gag.corpus.synthesis import CHECK_TOKENS

    requests = run.requests()
    prompts = run.prompts(requests)
    tokens = config.tokens_per_pair * run.pairs_per_request
    new = [p for p in prompts if writer.missing([p], tokens)]
    if not new:
        return None
    first = estimate(new, tokens, config)
    pairs = sum(len(r.kinds) for r in requests) * len(new) // max(1, len(prompts))
    sent, received = first.tokens_in + 100 * pairs, first.tokens_out + CHECK_TOKENS // 2 * pairs
    price = "no price is set: synthesis.price_in, synthesis.price_out"
    if config.price_in is not None and config.price_out is not None:
        most = (sent * config.price_in + received * config.price_out) / 1e6
        price = f"at most about {most:.2f} by synthesis.price_in and price_out"
    return (
        f"{len(new)} requests and {pairs} short checks go to {writer.name}: about {sent:,} tokens sent, "
        f"at most {received:,} received; {price}."
    )


def _show_request(run: Synthesis, writer: Remembered, as_json: bool) -> None:
    """The cost and the first prompt; nothing is sent."""
    from gag.formats import texts_by_role

    requests = run.requests()
    prompt = [turn for message in run.prompts(requests[:1])[0] for turn in texts_by_role([message]).items()]
    cost = _cost(run, writer, run.task.config) or "Every reply is known already: nothing would be sent."
    if as_json:
        write_json(
            {
                "cost": cost,
                "requests": len(requests),
                "prompt": [{"role": role, "content": text} for role, text in prompt],
            }
        )
        return
    for role, text in prompt:
        write_text(f"[{role}]\n{text}\n")
    note(f"Of the first {len(run.task.passages)} passages: {cost}")


def _show_pairs(result: Result, as_json: bool) -> None:
    rows = [(q, None) for q in result.accepted] + [(q, q.meta["refused"]) for q in result.refused]
    if as_json:
        pairs = [
            {"question": q.question, "answer": q.answers[0], "quote": q.meta.get("quote", ""), "refused": refused}
            for q, refused in rows
        ]
        write_json({"report": result.report.to_json(), "pairs": pairs})
        return
    for question, refused in rows:
        mark = "+" if refused is None else f"- {refused['gate']}: {refused['reason']}"
        write_text(f"{mark}\n  Q {question.question}\n  A {question.answers[0]}")
    note(f"{len(result.accepted)} of {len(rows)} pairs pass. Nothing was kept (--preview).")


def _keep(place: Workspace, name: str, result: Result, task: Task) -> int:
    """Write pairs and report; returns how many earlier pairs stay beside them."""
    from gag.atomic import new_file
    from gag.corpus.review import QaSet

    texts = {p.id: p.text for p in _passages(place, name)}
    style = task.config.style
    with QaSet(place.data(name)).alone() as pairs:
        kept = pairs.replace(style, result.accepted, result.refused, texts)
    folder = place.runs(name) / "synth"
    with new_file(folder / f"report-{style}.json") as partial:
        partial.write_text(json.dumps(result.report.to_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return kept


def _show(place: Workspace, name: str, report: Report, kept: int, as_json: bool) -> None:
    path = place.data(name) / "qa.jsonl"
    if as_json:
        write_json({"file": str(path), "kept": kept, **report.to_json()})
    else:
        rows: list[tuple[str, str]] = [("candidates", str(report.candidates))]
        rows += [(f"refused: {gate}", str(count)) for gate, count in report.refused.items()]
        rows += [("accepted", str(report.accepted))]
        write_table(["pairs", "count"], rows, numbers=[1])
        if report.unreadable:
            note(f"{report.unreadable} replies held no pair that could be read.")
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(report.kinds.items()))
        write_text(f"Kinds: {kinds or 'none'}")
        _show_coverage(report)
        sides = ", ".join(
            f"{side} {row['pairs']} pairs of {row['documents']} documents" for side, row in report.splits.items()
        )
        write_text(f"Split by document: {sides}")
        write_text(f"Written: {shown_path(path)}" + (f" (with {kept} earlier or own pairs)" if kept else ""))
        if report.accepted:
            write_text(f"Look at them: gag qa {name} --review{where(place)}\nThen: gag build {name}{where(place)}")
    if not report.accepted:
        why = f"gag qa {name} --list --rejected{where(place)}"
        warn(f"No pair passed the gates; earlier ones stay. Why, pair by pair: {why}")
    for passage, reason in list(report.failed.items())[:SHOWN_FAILURES]:
        warn(f"{passage}: {reason}")
    if len(report.failed) > SHOWN_FAILURES:
        warn(f"… and {len(report.failed) - SHOWN_FAILURES} more, all in the report with --json")


def _show_coverage(report: Report) -> None:
    documents = report.documents
    passages = sum(row["passages"] for row in documents.values())
    covered = sum(row["covered"] for row in documents.values())
    empty = [name for name, row in documents.items() if not row["pairs"]]
    write_text(
        f"Coverage: {covered} of {passages} passages, {len(documents) - len(empty)} of {len(documents)} documents, "
        f"{len(report.headings)} headings"
    )
    if empty:
        more = f" … and {len(empty) - SHOWN_DOCUMENTS} more" if len(empty) > SHOWN_DOCUMENTS else ""
        write_text(f"  without a pair: {', '.join(empty[:SHOWN_DOCUMENTS])}{more}")
