"""`gag synth`: question-answer pairs from a domain's passages."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gag.cli.building import shown_path, where
from gag.cli.options import AsJson, DomainName, Overrides, Unasked, WorkspaceFolder
from gag.cli.output import note, notes, warn, write_json, write_table, write_text
from gag.cli.progress import shown_progress
from gag.cli.writing import agree_to, priced
from gag.errors import RunError

if TYPE_CHECKING:
    from gag.config import SynthesisConfig
    from gag.corpus.synthesis.journal import Remembered
    from gag.corpus.synthesis.synthesis import Report, Result, Synthesis
    from gag.workspace import Workspace

StyleName = Literal["plain", "raft", "unanswerable", "cross-document"]
PREVIEWED = 3
"""Passages of a preview."""
SHOWN_DOCUMENTS, SHOWN_FAILURES = 12, 10
TOKENS_A_CHECK = 100
"""Tokens sent for a check whose pair is not written yet, about."""


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
    yes: Unasked = False,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Write question-answer pairs from a domain's passages, check each, and keep those that pass.

    Replies of a model are kept one by one: after an interruption or a failure the same command asks only for the rest.
    """
    from gag.corpus.synthesis.domain_pairs import keep_pairs, open_writer, synthesis_task
    from gag.corpus.synthesis.endpoint import is_endpoint
    from gag.corpus.synthesis.review import QaSet
    from gag.corpus.synthesis.synthesis import Synthesis
    from gag.errors import InputError
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ()).of(name)
    given = {"model": model, "per_passage": per_passage, "style": style}
    config = place.config.synthesis.model_copy(update={k: v for k, v in given.items() if v is not None})
    task = synthesis_task(place, name, config, limit=limit, preview=PREVIEWED if preview else None)
    if not task.passages:
        with QaSet(place.data(name)).alone() as pairs:
            pairs.replace(config.style, [], [], {})
        raise InputError(
            f"The domain {name} has no passages: all its documents were taken out, and their pairs too.",
            f"Bring documents in: gag ingest {name} FOLDER",
        )
    with ExitStack() as stack:
        with notes().status("loading the model") if config.model != "extractive" else nullcontext():
            remembered = stack.enter_context(open_writer(place, name, config))
        on_progress = stack.enter_context(shown_progress())
        run = Synthesis(task, remembered, on_progress)
        if is_endpoint(config.model) and remembered is not None:
            if preview:
                _show_request(run, remembered, as_json)
                return
            agree(run, remembered, config, yes)
        result = run.run()
    if preview:
        _show_pairs(result, as_json)
        return
    kept = keep_pairs(place, name, result, task)
    _show(place, name, result.report, kept, as_json)
    if result.report.failed:
        raise RunError(
            f"{len(result.report.failed)} of {len(task.passages)} passages failed; what came of the others is kept.",
            "Run the same command again: it asks only for what is missing.",
        )
    if not result.report.accepted and len(result.report.left_out) == len(task.passages):
        raise RunError(
            f"All {len(task.passages)} passages are left out: {next(iter(result.report.left_out.values()))}.",
            "Choose other values of synthesis.tokens_per_pair and synthesis.check_tokens, or another writer.",
        )


def agree(run: Synthesis, writer: Remembered, config: SynthesisConfig, yes: bool) -> None:
    """Say what will be sent and what it costs; ask unless told not to."""
    agree_to(_cost(run, writer, config), yes)


def _cost(run: Synthesis, writer: Remembered, config: SynthesisConfig) -> str | None:
    """What the run will send, about; None where every reply is known already."""
    from gag.corpus.synthesis.endpoint import estimate

    new, checks = run.unknown(writer)
    if not new and not checks:
        return None
    requests = run.requests()
    first = estimate(new, config.tokens_per_pair * run.pairs_per_request, config)
    known = estimate(checks, config.check_tokens, config)
    pairs = sum(len(r.kinds) for r in requests) * len(new) // max(1, len(requests))
    sent = first.tokens_in + known.tokens_in + TOKENS_A_CHECK * pairs
    received = first.tokens_out + known.tokens_out + config.check_tokens * pairs
    return (
        f"{len(new)} requests and {len(checks) + pairs} short checks go to {writer.name}: about {sent:,} tokens sent, "
        f"at most {received:,} received; {priced(sent, received, config)}."
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
    warn_of_failed(report.failed)
    warn_of_left_out(report.left_out)


def warn_of_left_out(left_out: Mapping[str, str]) -> None:
    """Name the passages that the writer can write nothing about."""
    if left_out:
        count = f"{len(left_out)} passage{'' if len(left_out) == 1 else 's'}"
        warn(f"{count} left out, wholly or in part: the same prompts would fail again, and are not sent again.")
        warn_of_failed(left_out)


def warn_of_failed(failed: Mapping[str, str]) -> None:
    """Name passages that failed, each with its reason."""
    for passage, reason in list(failed.items())[:SHOWN_FAILURES]:
        warn(f"{passage}: {reason}")
    if len(failed) > SHOWN_FAILURES:
        warn(f"… and {len(failed) - SHOWN_FAILURES} more, all in the report with --json")


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
