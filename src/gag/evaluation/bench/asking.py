"""How a comparison asks: each method on each set, past what fails, keeping every answer and score as it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from gag.errors import GagError, RunError
from gag.evaluation.answers import AnswerLog, Outcome, ask, file_name
from gag.evaluation.bench.found import Problem
from gag.evaluation.bench.place import Place, QuestionSet
from gag.evaluation.kept import keep, read_kept
from gag.evaluation.metrics import METRICS, check_metrics
from gag.evaluation.runner import Evaluated, Judge, scored
from gag.memory import give_back
from gag.methods.method import BaseBacked, Method
from gag.methods.rag import left_out_passages
from gag.progress import Progress, silent
from gag.records import GENERAL, content_hash
from gag.workspace import Workspace

ROUTED = ("base", "gag")
"""Methods that are asked the same way whatever the domain: general questions need no domain's name."""


def asked_domain(method: str, domain: str | None) -> str | None:
    """The domain that a method is made for: none for gag, which routes, nor for the base's general answers."""
    return None if method == "gag" or domain == GENERAL else domain


class Methods(Protocol):
    """What builds methods by name in one workspace (gag.methods.shelf.Shelf)."""

    def method(self, name: str, domain: str | None = None) -> Method:
        """The method, trained where it needs that."""
        ...

    def remarks_of(self, name: str, domain: str | None = None) -> Mapping[str, str]:
        """What an evaluation should say beside the numbers of a method that was made, by what each is about."""
        ...


class OpenMethods(Protocol):
    """Opens the methods of a workspace."""

    def __call__(self, workspace: Workspace, *, on_progress: Progress = ...) -> Methods: ...


@dataclass
class Asker:
    """Asks methods in one place; `open_methods` gives a workspace's methods, `judges` the metrics with a model.

    What fails is in `problems` and does not stop the rest; what the methods of the main tables remark is in `remarks`.
    """

    place: Place
    open_methods: OpenMethods
    judges: Mapping[str, Judge]
    on_progress: Progress = silent
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._opened: tuple[str, Methods] | None = None
        self._working: dict[str, bool] = {}

    def close(self) -> None:
        """Let go of the methods, and the models they hold."""
        self._opened = None

    def evaluated(
        self,
        table: str,
        questions: QuestionSet,
        method: str,
        domain: str | None,
        *,
        label: str | None = None,
        workspace: Workspace | None = None,
    ) -> Evaluated | None:
        """The method's answers and scores on a set; None, and a problem, where it failed altogether."""
        label, workspace = label or method, workspace or self.place.workspace
        asked = asked_domain(method, domain)
        kept_as = label if table in ("main", "general") else f"{table} {label}"
        key = self.place.answer_key(workspace, method, asked)
        log = AnswerLog(self.place.answers, kept_as, questions.name, key, questions.longest)
        make = partial(self._method, workspace, method, asked)
        remarks = self._remarks_file(questions.name, label, key)
        if table == "main":
            make = partial(self._remarked, workspace, method, asked, remarks, key)
        try:
            self._answer(questions, log, label, make)
        except _Failed as failed:
            self.problem(table, label, questions.name, failed.reason)
            return None
        if table == "main":
            self._recall_remarks(remarks, key)
        outcomes = [log.get(q) or Outcome(q, None, error=log.error(q)) for q in questions.questions]
        if said := left_out_passages([outcome.answer for outcome in outcomes if outcome.answer is not None]):
            self.remarks.append(f"{questions.name}: {label} {said}")
        failures = [outcome for outcome in outcomes if outcome.error is not None]
        if failures:
            first = failures[0]
            self.problems.append(
                Problem(table, label, questions.name, f"{first.question.id}: {first.error}", questions=len(failures))
            )
        metrics = [metric for metric in questions.metrics if self._works(metric)]
        found = scored(label, outcomes, [m for m in metrics if m not in self.judges], cluster=questions.cluster)
        values = dict(found.values)
        for metric in (metric for metric in metrics if metric in self.judges):
            try:
                values |= scored(label, outcomes, [metric], self.judges).values
            except Exception as error:  # it worked on another text: the other metrics are there all the same
                self.problem(table, f"{metric} of {label}", questions.name, error)
        return replace(found, values={metric: values[metric] for metric in metrics if metric in values})

    def _works(self, metric: str) -> bool:
        """Whether a metric can be computed here; said once where it cannot (its encoder or extra is missing)."""
        if metric not in self._working:
            try:
                if metric in self.judges:
                    self.judges[metric](["a"], [["a"]])
                elif metric in METRICS:
                    check_metrics([metric])
            except Exception as error:
                self.problem("metrics", metric, "all sets", error)
                self._working[metric] = False
            self._working.setdefault(metric, True)
        return self._working[metric]

    def _answer(self, questions: QuestionSet, log: AnswerLog, label: str, make: Callable[[], Method]) -> None:
        """Ask what `log` has no answer to, a batch at a time; raises _Failed where it is the method's fault."""
        wanted = "nll" in questions.metrics
        todo = [q for q in questions.questions if log.get(q, nll=wanted) is None]
        if not todo:
            return
        step, total = f"{questions.name}: {label}", len(questions.questions)
        self.on_progress(step, total - len(todo), total)
        method = make()
        if not isinstance(method, BaseBacked):
            todo = [q for q in todo if log.get(q) is None]
        some = len(todo) < total  # answered before, so that the method is known to work
        size = self.place.config.batch_size
        for start in range(0, len(todo), size):
            part = todo[start : start + size]
            try:
                outcomes = ask(method, part, nll=wanted, longest=questions.longest)
            except Exception as error:
                raise _Failed(error) from error
            log.add(outcomes)
            errors = [outcome.error for outcome in outcomes if outcome.error is not None]
            some = some or len(errors) < len(part)
            if not some:
                raise _Failed(RunError(f"It answered none of its first {len(part)} questions: {errors[0]}", ""))
            self.on_progress(step, total - len(todo) + start + len(part), total)
        give_back()

    def kept_costs(
        self, table: str, method: str, dataset: str, key: str, compute: Callable[[], dict[str, float]]
    ) -> dict[str, float] | None:
        """`compute`'s numbers, kept under `key`; None, and a problem, where it failed."""
        path = self.place.out / "costs" / file_name(dataset) / f"{file_name(method)}.json"
        kept = read_kept(path, key)
        if kept is not None:
            return {str(name): float(value) for name, value in kept.items()}
        try:
            values = compute()
        except Exception as error:
            self.problem(table, method, dataset, error)
            return None
        keep(path, key, values)
        return values

    def _method(self, workspace: Workspace, name: str, domain: str | None) -> Method:
        """The method; raises _Failed where it cannot be made, and what a base raises that cannot be loaded at all."""
        methods = self.methods(workspace)
        try:
            return methods.method(name, domain)
        except Exception as error:
            raise _Failed(error) from error

    def _remarked(self, workspace: Workspace, name: str, domain: str | None, path: Path, key: str) -> Method:
        """The method; what it remarks is kept for later runs, which find its answers there and do not make it."""
        method = self._method(workspace, name, domain)
        keep(path, key, self.methods(workspace).remarks_of(name, domain))
        return method

    def _remarks_file(self, dataset: str, label: str, key: str) -> Path:
        """As the answers of other choices are kept too, each key has a file."""
        return self.place.out / "remarks" / file_name(dataset) / f"{file_name(label)} {key[:16]}.json"

    def _recall_remarks(self, path: Path, key: str) -> None:
        for text in (read_kept(path, key) or {}).values():
            if text not in self.remarks:
                self.remarks.append(text)

    def methods(self, workspace: Workspace) -> Methods:
        """The methods of `workspace`; those of another are let go, with the models they hold."""
        key = f"{workspace.root} {workspace.modules_folder} {content_hash(workspace.config.model_dump(mode='json'))}"
        if self._opened is None or self._opened[0] != key:
            self._opened = None
            self._opened = (key, self.open_methods(workspace, on_progress=self.on_progress))
        return self._opened[1]

    def problem(self, table: str, method: str, dataset: str, error: Exception) -> None:
        message = error.message if isinstance(error, GagError) else f"{type(error).__name__}: {error}"
        hint = error.hint if isinstance(error, GagError) else ""
        self.problems.append(Problem(table, method, dataset, " ".join(message.split())[:600], hint))
        self.on_progress(f"{dataset}: {method}", 1, 1, f"failed: {' '.join(message.split())[:200]}")


class _Failed(Exception):
    """A whole method failed, for this reason."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason
