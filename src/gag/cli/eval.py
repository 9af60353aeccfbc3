"""`gag eval`: one method on a file of questions, measured."""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gag.cli.explaining import asks_graph, check_graph_options
from gag.cli.options import AsJson, Overrides, WorkspaceFolder
from gag.cli.output import note, notes, warn, write_json, write_table
from gag.cli.progress import shown_progress
from gag.errors import ConfigError, InputError, RunError
from gag.records import GENERAL

if TYPE_CHECKING:
    from gag.config import GenerationChoice
    from gag.evaluation.answers import Outcome
    from gag.evaluation.runner import Evaluated
    from gag.evaluation.table import Row
    from gag.methods.method import Method
    from gag.progress import Progress
    from gag.records import Question
    from gag.workspace import Workspace

DEFAULT_METRICS = ("nll", "exact_match", "contains", "token_f1", "added_tokens", "prompt_tokens", "seconds")
AT_ONCE = 32
"""Questions asked together; progress moves by as many."""
SHOWN = 5
"""Failed questions that are named; all of them are in --out."""
PATHS_REMARK = "Plans are compared with the question's own paths, or with those that lead to its answers."


@dataclass(frozen=True)
class Measured:
    """What an evaluation found: a method on the questions of `domain`, and what to say beside the numbers."""

    evaluated: Evaluated
    domain: str
    seconds: float
    remarks: Sequence[str]
    explained: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Why an answer from a graph is as it is, by question id."""

    @property
    def rows(self) -> list[Row]:
        """A row a metric."""
        return self.evaluated.rows(self.domain)


@dataclass(frozen=True)
class _Wanted:
    """A method of the shelf, the domain it is for, and what is measured of it."""

    method: str
    domain: str | None
    names: list[str]
    generation: GenerationChoice
    nll_named: bool


def evaluate(
    questions: Annotated[
        Path, typer.Option("--questions", metavar="FILE", help="JSONL of questions with their accepted answers.")
    ],
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="METHOD",
            help="base, gag, gag-oracle, constant, egc, rag, xrag, lora, lora+rag, raft, gag+rag, gag-or-rag, rog "
            "(with --graph), or one of a package.",
        ),
    ] = "gag",
    domain: Annotated[
        str | None,
        typer.Option(
            "--domain", metavar="NAME", help="The domain whose knowledge is used, and of questions that name none."
        ),
    ] = None,
    graph: Annotated[
        str | None, typer.Option("--graph", metavar="NAME", help="The graph of rog, rog-paths and rog-unplanned.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="A,B",
            help=f"What is measured, by name. [default: {','.join(DEFAULT_METRICS)}; on a graph its own]",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="At most N questions, spread over the file.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write every answer with its numbers as JSONL.")
    ] = None,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Measure a method on questions: the mean of every metric with its 95 % interval, and what an answer cost.

    What the method needs is trained first and kept; an interrupted training is gone on with. A question that the
    method fails on counts as wrong, is named, and does not stop the others.
    """
    from gag.config import overridden
    from gag.methods.shelf import check_method
    from gag.workspace import open_workspace

    check_method(method)
    if out is not None and out.is_dir():
        raise InputError(f"{out} is a folder, not a file.", "Name a file in it: --out answers.jsonl")
    on_graph = asks_graph(method, graph)
    names = _checked(metrics, on_graph=on_graph)
    asked = _read(questions, None if on_graph else domain, limit)
    place = open_workspace(workspace, overrides=overrides or ())
    if on_graph:
        check_graph_options(method, graph or domain, explain=False, picture=None)
        found = _of_graph(place, str(graph or domain), method, asked, names)
    else:
        generation = overridden(overrides or (), "generation")
        found = _of_shelf(place, _Wanted(method, domain, names, generation, nll_named=metrics is not None), asked)
    if as_json:
        write_json(_json(found))
    else:
        _print(found)
    if out is not None:
        _write_answers(out, found)


def _of_shelf(place: Workspace, wanted: _Wanted, asked: Sequence[Question]) -> Measured:
    """A method that ends in the workspace's base or its domains."""
    from gag.evaluation.runner import scored
    from gag.methods.rag import left_out_passages
    from gag.methods.shelf import Shelf

    with shown_progress() as on_progress:
        with notes().status("loading models"):
            shelf = Shelf(place, on_progress=on_progress, generation=wanted.generation)
            system = shelf.system
        with system.frozen():
            made = shelf.method(wanted.method, wanted.domain)
            names = _without_nll(made, wanted.names, wanted=wanted.nll_named)
            started = time.perf_counter()
            outcomes = _ask(made, asked, on_progress, nll="nll" in names)
            seconds = time.perf_counter() - started
    for problem in shelf.left_out.values():
        warn(f"left out: {problem.message} {problem.hint}")
    evaluated = scored(made.name, outcomes, names)
    remarks = list(shelf.remarks.values())
    if said := left_out_passages(evaluated.answers):
        remarks.append(f"{made.name} {said}")
    return Measured(evaluated, wanted.domain or _common(asked), seconds, remarks)


def _of_graph(place: Workspace, graph: str, method: str, asked: Sequence[Question], names: Sequence[str]) -> Measured:
    """A method on a graph: no base is loaded, and the plans and shown paths are measured too."""
    from gag.evaluation.graph_answers import PATH_METRICS, Explained
    from gag.evaluation.runner import scored
    from gag.methods.rog import build

    with shown_progress() as on_progress:
        with notes().status("loading models"):
            made = Explained(build(place, graph, method))
        started = time.perf_counter()
        outcomes = _ask(made, asked, on_progress, nll=False)
        seconds = time.perf_counter() - started
    evaluated = scored(made.name, outcomes, [name for name in names if name not in PATH_METRICS])
    explained = {identity: explanation.to_json() for identity, explanation in made.explanations.items()}
    return Measured(made.measured(evaluated, names), graph, seconds, [PATHS_REMARK], explained)


def _checked(metrics: str | None, *, on_graph: bool) -> list[str]:
    """The metrics' names; raises ConfigError for one that is not measured here, with the nearest that is."""
    from gag.evaluation.citations import CITATION_METRICS
    from gag.evaluation.graph_answers import GRAPH_METRICS, PATH_METRICS
    from gag.evaluation.metrics import METRICS, check_metrics
    from gag.evaluation.runner import COSTS

    usual = GRAPH_METRICS if on_graph else DEFAULT_METRICS
    if metrics is None:
        return list(usual)
    known = [*METRICS, *COSTS, *PATH_METRICS] if on_graph else ["nll", *METRICS, *CITATION_METRICS, *COSTS]
    names = list(dict.fromkeys(name.strip() for name in metrics.split(",") if name.strip()))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            where = " on a graph" if on_graph else ""
            raise ConfigError(f"gag eval does not measure {name!r}{where}.{guess}", f"It measures: {', '.join(known)}.")
    if not names:
        raise ConfigError("--metrics names no metric.", f"For instance: --metrics {','.join(usual)}")
    check_metrics(name for name in names if name in METRICS)  # before any question is asked
    return names


def _read(path: Path, domain: str | None, limit: int | None) -> list[Question]:
    """The questions, with `domain` for those that name none; raises InputError for one without an answer.

    Of pairs that synth split, those that are kept for testing.
    """
    from gag.corpus.synthesis.splits import for_testing
    from gag.evaluation.datasets.reading import read_own
    from gag.records import spread

    whole = read_own(path)
    kept = for_testing(whole)
    if len(kept) < len(whole):
        note(f"Asked are the {len(kept)} of {len(whole)} questions in {path} that are kept for testing (split: test).")
    return [replace(q, domain=q.domain or domain) for q in spread(kept, limit)]


def _without_nll(method: Method, names: list[str], *, wanted: bool) -> list[str]:
    """The metrics that the method has: one that does not end in the base cannot say how likely it finds an answer."""
    from gag.methods.method import BaseBacked

    if "nll" not in names or isinstance(method, BaseBacked):
        return names
    if wanted:
        raise ConfigError(
            f"The method {method.name} gives no likelihoods, so nll cannot be measured.", "Leave nll out of --metrics."
        )
    return [name for name in names if name != "nll"]


def _ask(method: Method, questions: Sequence[Question], on_progress: Progress, *, nll: bool) -> list[Outcome]:
    """An outcome a question; raises RunError where not one question was answered."""
    from gag.evaluation.answers import ask

    outcomes: list[Outcome] = []
    failed = 0
    for start in range(0, len(questions), AT_ONCE):
        outcomes += ask(method, questions[start : start + AT_ONCE], nll=nll)
        failed = sum(outcome.error is not None for outcome in outcomes)
        on_progress(method.name, len(outcomes), len(questions), f"{failed} failed" if failed else "")
    if failed == len(questions):
        raise RunError(
            f"{method.name} answered none of {failed} questions; the first failed with: {outcomes[0].error}",
            "Mend that, then run the same command again.",
        )
    return outcomes


def _common(questions: Sequence[Question]) -> str:
    """What the questions' domains are called together."""
    named = sorted({q.domain or GENERAL for q in questions})
    return named[0] if len(named) == 1 else "several domains"


def _write_answers(path: Path, found: Measured) -> None:
    from gag.records import write_jsonl

    evaluated, rows = found.evaluated, []
    for i, (q, answer) in enumerate(zip(evaluated.questions, evaluated.answers, strict=True)):
        values, error = {name: scores[i] for name, scores in evaluated.values.items()}, evaluated.errors.get(i)
        rows.append(
            {
                "id": q.id,
                "question": q.question,
                "answers": list(q.answers),
                "domain": q.domain,
                "method": evaluated.method,
                "text": None if error is not None else answer.text,
                "error": error,
                "values": {name: value if math.isfinite(value) else None for name, value in values.items()},
                "answer": None if error is not None else answer.to_json(),
                **({"explanation": found.explained.get(q.id)} if found.explained else {}),
            }
        )
    write_jsonl(path, rows)


def _json(found: Measured) -> dict[str, Any]:
    evaluated = found.evaluated
    return {
        "method": evaluated.method,
        "domain": found.domain,
        "questions": len(evaluated.questions),
        "failed": [{"id": evaluated.questions[i].id, "error": error} for i, error in evaluated.errors.items()],
        "rows": [{k: v for k, v in asdict(row).items() if v not in ("", None)} for row in found.rows],
        "remarks": list(found.remarks),
        "seconds": round(found.seconds, 3),
    }


def _print(found: Measured) -> None:
    from gag.evaluation.table import format_value, metric_format

    evaluated = found.evaluated
    count = len(evaluated.questions)
    note(f"{evaluated.method} on {count} question{'s' * (count != 1)} of {found.domain}, {found.seconds:.1f} s")
    cells = []
    for row in found.rows:
        shape = metric_format(row.metric)
        heading = f"{row.metric} ({shape.unit})" if shape.unit else row.metric
        value, _, interval = format_value(row, "brackets").partition(" ")
        cells.append([heading, value, interval.strip("[]").replace(", ", " to "), str(row.n), shape.better])
    write_table([evaluated.method, "mean", "95 % interval", "questions", "better"], cells, numbers=[1, 2, 3])
    for remark in found.remarks:
        note(remark)
    for i, error in list(evaluated.errors.items())[:SHOWN]:
        warn(f"failed: {evaluated.questions[i].id}: {error}")
    if evaluated.errors:
        warn(f"{len(evaluated.errors)} of {count} questions failed; they count as wrong.")
