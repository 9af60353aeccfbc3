"""`gag rog train`, and `gag eval` on a graph: what only a graph can be measured by."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gag.cli.building import where
from gag.cli.graph import GraphName
from gag.cli.options import AsJson, Overrides, WorkspaceFolder
from gag.cli.output import note, notes, warn, write_json, write_table, write_text
from gag.cli.progress import shown_progress
from gag.errors import InputError, RunError

if TYPE_CHECKING:
    from gag.evaluation.table import Row
    from gag.graph.explanation import Explanation
    from gag.methods.rog import ReasoningOnGraphs
    from gag.progress import Progress
    from gag.records import Question
    from gag.workspace import Workspace

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


@dataclass(frozen=True)
class GraphEvaluation:
    """`gag eval` on a graph: the method, the graph (None where none was named), and where answers go."""

    method: str
    graph: str | None
    out: Path | None = None
    as_json: bool = False


def evaluate_graph(place: Workspace, asked: Sequence[Question], wanted: GraphEvaluation) -> None:
    """Hits@1, F1, the plans' precision and recall, entailed answers, path-following time, with intervals.

    A plan is compared with the question's `paths` (lists of relations), else with the paths that lead to its answers.
    A question that cannot be answered counts as wrong and is named.
    """
    from gag.cli.explaining import check_graph_options
    from gag.evaluation.graph_metrics import graph_rows
    from gag.methods.rog import build
    from gag.records import write_jsonl

    check_graph_options(wanted.method, wanted.graph, explain=False, picture=None)
    started = time.perf_counter()
    with notes().status("loading models"):
        made = build(place, str(wanted.graph), wanted.method)
    with shown_progress() as on_progress:
        found, failed = explained(made, asked, on_progress)
    if len(failed) == len(asked):
        raise RunError(
            f"{made.name} answered none of {len(asked)} questions; the first failed: {next(iter(failed.values()))}",
            "Mend that, then run the same command again.",
        )
    rows = graph_rows(made.name, made.graph.name, asked, found, gold_paths(made, asked))
    if wanted.out is not None:
        write_jsonl(wanted.out, [_answered(q, e, failed.get(q.id)) for q, e in zip(asked, found, strict=True)])
    if wanted.as_json:
        write_json(
            {
                "method": made.name,
                "graph": made.graph.name,
                "questions": len(asked),
                "failed": [{"id": identity, "error": error} for identity, error in failed.items()],
                "rows": [{k: v for k, v in asdict(row).items() if v not in ("", None)} for row in rows],
                "seconds": round(time.perf_counter() - started, 3),
            }
        )
        return
    _print(made.name, rows)
    for identity, reason in list(failed.items())[:SHOWN]:
        warn(f"failed: {identity}: {reason}")
    if failed:
        warn(f"{len(failed)} of {len(asked)} questions failed; they count as wrong.")


def explained(
    method: ReasoningOnGraphs, questions: Sequence[Question], on_progress: Progress
) -> tuple[list[Explanation | None], dict[str, str]]:
    """An explanation a question, None and the reason by question id where it cannot be answered."""
    from gag.errors import GagError

    found: list[Explanation | None] = []
    failed: dict[str, str] = {}
    for start in range(0, len(questions), AT_ONCE):
        part = questions[start : start + AT_ONCE]
        try:
            found += method.explain(part)
        except InputError:
            for question in part:
                try:
                    found += method.explain([question])
                except GagError as error:
                    failed[question.id] = error.message
                    found.append(None)
        on_progress(method.name, len(found), len(questions), f"{len(failed)} failed" if failed else "")
    return found, failed


def gold_paths(method: ReasoningOnGraphs, questions: Sequence[Question]) -> dict[str, list[tuple[str, ...]]]:
    """The relation paths that are right for each question: its own `paths`, else those that its answers tell."""
    from gag.graph.examples import label_questions

    gold: dict[str, list[tuple[str, ...]]] = {}
    unknown = []
    for question in questions:
        given = question.meta.get("paths")
        if isinstance(given, list) and all(isinstance(path, list) for path in given):
            gold[question.id] = [tuple(map(str, path)) for path in given]
        else:
            unknown.append(question)
    if unknown:
        try:
            found = label_questions(method.graph, unknown, method.config)
        except InputError:
            return gold
        gold |= {item.question.id: list(item.labels) for item in found.labelled}
    return gold


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


def _answered(question: Question, explanation: Explanation | None, error: str | None) -> dict[str, Any]:
    shown = {} if explanation is None else explanation.to_json()
    return {"id": question.id, "answers": list(question.answers), "error": error, **shown}


def _print(method: str, rows: Sequence[Row]) -> None:
    cells = []
    for row in rows:
        scale, shape = (1000, "{:.2f} ms") if row.metric == "follow_seconds" else (100, "{:.1f} %")
        low, high = (shape.format(scale * end) if end is not None else "–" for end in (row.ci_low, row.ci_high))
        cells.append([row.metric, shape.format(scale * row.value), f"{low} to {high}", str(row.n)])
    write_table([method, "mean", "95 % interval", "questions"], cells, numbers=[1, 2, 3])
    note("Plans are compared with the question's own paths, or with those that lead to its answers.")
