"""`gag rog train`, and `gag eval` on a graph: what only a graph can be measured by."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gag.cli.building import where
from gag.cli.graph import GraphName
from gag.cli.options import AsJson, Overrides, WorkspaceFolder
from gag.cli.output import warn, write_json, write_text
from gag.cli.progress import shown_progress
from gag.errors import InputError

if TYPE_CHECKING:
    from gag.records import Question

AT_ONCE = 32
SHOWN = 5

QuestionFiles = Annotated[
    list[Path],
    typer.Option(
        "--questions", metavar="FILE", help="JSONL of questions with answers; may be repeated.", show_default=False
    ),
]


def rog_app() -> typer.Typer:
    """The group of verbs."""
    app = typer.Typer(name="rog", help="Reasoning on Graphs: teach a model to plan.", no_args_is_help=True)
    app.callback()(_group)
    app.command("train")(train)
    return app


def train(
    name: GraphName,
    questions: QuestionFiles,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train the small model to plan relation paths of a graph and to answer from what they reach.

    Interrupted anywhere, the same command goes on; when nothing changed, what was trained is kept.
    """
    from gag.methods.rog_training import train_rog
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    asked = _read(questions)
    started = time.perf_counter()
    with shown_progress() as on_progress:
        trained, left_out = train_rog(place, name, asked, on_progress=on_progress)
    seconds = time.perf_counter() - started
    if as_json:
        adapter = str(trained.adapter(place, name))
        write_json(
            {
                "graph": name,
                "questions": len(asked),
                "left_out": left_out,
                "adapter": adapter,
                "seconds": round(seconds, 3),
            }
        )
        return
    for identity, reason in list(left_out.items())[:SHOWN]:
        warn(f"left out: {identity}: {reason}")
    if left_out:
        warn(f"{len(left_out)} of {len(asked)} questions taught nothing.")
    write_text(f"Trained on {len(asked) - len(left_out)} questions, {seconds:.0f} s. Ask it:")
    write_text(f'  gag ask --method rog --graph {name} "…" --explain{where(place)}')


def _group() -> None:
    """Reasoning on Graphs: teach a model to plan."""


def _read(files: Sequence[Path]) -> list[Question]:
    """Questions of all files; raises InputError for one without an answer or an id used twice."""
    from gag.records import read_questions

    found: list[Question] = []
    seen: dict[str, Path] = {}
    for path in files:
        for question in read_questions(path, require_answers=True):
            if question.id in seen:
                raise InputError(
                    f"{path}: the id {question.id!r} is used in {seen[question.id]} too.",
                    "Give every question an id of its own.",
                )
            seen[question.id] = path
            found.append(question)
    return found
