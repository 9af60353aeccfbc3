"""`gag raft`: examples of answering from passages, and a copy of the base tuned on them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gag.cli.building import shown_path, where
from gag.cli.options import AsJson, DomainName, Overrides, Unasked, WorkspaceFolder
from gag.cli.output import note, warn, write_json, write_table, write_text
from gag.cli.progress import shown_progress
from gag.cli.writing import agree_to, priced
from gag.errors import InputError

if TYPE_CHECKING:
    from gag.config import RaftConfig
    from gag.corpus.synthesis.journal import Remembered
    from gag.methods.raft_training import Made
    from gag.methods.shelf import Shelf
    from gag.records import Question
    from gag.workspace import Workspace

FormatName = Literal["trl", "chat", "completion", "alpaca"]
SHOWN = 5
"""Questions left out that are named; --json names all."""


def raft_app() -> typer.Typer:
    """The group of verbs."""
    app = typer.Typer(name="raft", help="RAFT: tune a copy of the base to answer from passages.", no_args_is_help=True)
    app.callback()(_group)
    app.command("data")(data)
    app.command("train")(train)
    return app


@dataclass(frozen=True)
class _Written:
    """What `gag raft data` made and where it lies; `export` is the file for another trainer, if one was asked for."""

    made: Made
    path: Path
    export: Path | None


def data(
    name: DomainName,
    qa: Annotated[
        Path | None, typer.Option("--qa", metavar="FILE", help="JSONL of pairs; else the domain's own pairs.")
    ] = None,
    distractors: Annotated[
        int | None, typer.Option("--distractors", metavar="K", min=0, help="Passages that do not help, an example.")
    ] = None,
    oracle_share: Annotated[
        float | None,
        typer.Option("--oracle-share", metavar="P", min=0, max=1, help="Share of examples with the right passage."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of the draws.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Who writes the reasons; else raft.reasoner.")
    ] = None,
    export_as: Annotated[
        FormatName | None, typer.Option("--format", help="Also write them for another trainer, beside.")
    ] = None,
    yes: Unasked = False,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Make RAFT examples: a question, near-miss passages, mostly the right one too, and an answer that quotes it.

    The right passage is the one that a pair names, the one that holds its quote, or the one that its context is.
    Replies of a model are kept one by one: after an interruption the same command asks only for the rest.
    """
    from gag.methods.shelf import Shelf
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ()).of(name)
    given = {"distractors": distractors, "oracle_share": oracle_share, "seed": seed, "reasoner": model}
    config = place.config.raft.model_copy(update={key: value for key, value in given.items() if value is not None})
    with shown_progress() as on_progress:
        shelf = Shelf(place, on_progress=on_progress)
        questions = _questions(place, name, qa)
        made = _make(shelf, name, questions, config, yes)
    _show(place, name, _keep(place, name, made, export_as), as_json)


def train(
    name: DomainName,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Tune a copy of the base (an adapter; the base stays as it is) on the examples of `gag raft data`.

    Interrupted anywhere, the same command goes on; when nothing changed, what was trained is kept.
    """
    from gag.methods.raft_training import EXAMPLES, trained_raft
    from gag.methods.shelf import Shelf
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    path = place.data(name) / EXAMPLES
    if not path.is_file():
        raise InputError(
            f"The domain {name} has no RAFT examples: {shown_path(path)} is not there.",
            f"Make them: gag raft data {name} --qa FILE.jsonl{where(place)}",
        )
    with shown_progress() as on_progress:
        shelf = Shelf(place, on_progress=on_progress)
        with shelf.system.frozen():
            trained = trained_raft(shelf, name)
    if as_json:
        row = {"examples": trained.examples, "shortened": trained.shortened, "adapter": str(trained.adapter)}
        write_json({"domain": name, **row})
        return
    for remark in shelf.remarks.values():
        note(remark)
    if trained.shortened:
        warn(f"{trained.shortened} examples lost distractors to fit raft.max_length.")
    write_text(f"Tuned: {shown_path(trained.adapter)}")
    write_text(f'Ask it: gag ask --method raft --domain {name} "…"{where(place)}')


def _group() -> None:
    """RAFT: tune a copy of the base to answer from passages."""


def _questions(place: Workspace, name: str, qa: Path | None) -> list[Question]:
    """The pairs of `--qa`, else the domain's; of synthesised ones those that were not kept for testing."""
    from gag.corpus.synthesis.splits import pairs_not_for_testing

    path = qa or place.qa(name)
    if path is None:
        raise InputError(f"The domain {name} has no pairs.", "Name a file: --qa FILE.jsonl")
    return pairs_not_for_testing(path)


def _make(shelf: Shelf, name: str, questions: list[Question], config: RaftConfig, yes: bool) -> Made:
    from gag.corpus.synthesis.domain_pairs import open_writer
    from gag.corpus.synthesis.endpoint import is_endpoint
    from gag.methods.raft_training import make_examples

    place, on_progress = shelf.workspace, shelf.on_progress
    passages, store = shelf.passages(name), shelf.store(name)
    synthesis = place.config.synthesis.model_copy(update={"model": config.reasoner})
    with open_writer(place, name, synthesis) as writer:
        if writer is not None and is_endpoint(config.reasoner):
            agree_to(_cost(writer, questions, shelf, name, config), yes)
        return make_examples(questions, passages, store, config, writer=writer, on_progress=on_progress)


def _cost(writer: Remembered, questions: list[Question], shelf: Shelf, name: str, config: RaftConfig) -> str | None:
    """What will be sent, about; None where every reply is known already."""
    from gag.corpus.synthesis.endpoint import estimate
    from gag.raft.oracle import Oracle, Oracles
    from gag.raft.reasoning import reasoning_prompt

    finder = Oracles(shelf.passages(name))
    found = [(question, finder.find(question)) for question in questions]
    prompts = [reasoning_prompt(question, oracle) for question, oracle in found if isinstance(oracle, Oracle)]
    new = [prompt for prompt in prompts if writer.missing([prompt], config.reason_tokens)]
    if not new:
        return None
    synthesis = shelf.workspace.config.synthesis
    about = estimate(new, config.reason_tokens, synthesis)
    return (
        f"{len(new)} requests go to {writer.name}: about {about.tokens_in:,} tokens sent, at most "
        f"{about.tokens_out:,} received; {priced(about.tokens_in, about.tokens_out, synthesis)}."
    )


def _keep(place: Workspace, name: str, made: Made, export_as: FormatName | None) -> _Written:
    from gag.atomic import new_file
    from gag.methods.raft_training import EXAMPLES
    from gag.raft.examples import exported, write_examples

    path = place.data(name) / EXAMPLES
    export = None
    if export_as is not None:
        export = path.with_name(f"raft-{export_as}.jsonl")
        rows = (json.dumps(row, ensure_ascii=False) + "\n" for row in exported(made.examples, export_as))
        with new_file(export) as partial:
            partial.write_text("".join(rows), encoding="utf-8")
    write_examples(path, made.examples)
    return _Written(made, path, export)


def _show(place: Workspace, name: str, kept: _Written, as_json: bool) -> None:
    made = kept.made
    examples = made.examples
    with_oracle = sum(example.has_oracle for example in examples)
    if as_json:
        row: dict[str, Any] = {
            "file": str(kept.path),
            "export": None if kept.export is None else str(kept.export),
            "examples": len(examples),
            "with_oracle": with_oracle,
            "found_by": dict(made.found_by),
            "reasons_written": made.reasons_written,
            "reasons_refused": dict(made.reasons_refused),
            "left_out": made.left_out,
        }
        write_json(row)
        return
    rows = [("examples", str(len(examples))), ("with the right passage", str(with_oracle))]
    rows += [(f"right passage found by {whence}", str(count)) for whence, count in made.found_by.items()]
    if made.reasons_written or made.reasons_refused:
        rows += [("reasons of the model", str(made.reasons_written))]
        rows += [(f"quotes alone: {why}", str(count)) for why, count in made.reasons_refused.most_common()]
    rows += [(f"left out: {why}", str(count)) for why, count in Counter(made.left_out.values()).most_common(SHOWN)]
    write_table(["RAFT", "count"], rows, numbers=[1])
    for identity, reason in list(made.left_out.items())[:SHOWN]:
        warn(f"left out: {identity}: {reason}")
    if len(made.left_out) > SHOWN:
        warn(f"… and {len(made.left_out) - SHOWN} more, all of them with --json")
    write_text(f"Written: {shown_path(kept.path)}")
    if kept.export is not None:
        write_text(f"Written: {shown_path(kept.export)}")
    write_text(f"Then: gag raft train {name}{where(place)}")
