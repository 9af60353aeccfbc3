"""What an update costs and brings, measured before it takes the place of the present module, and whether it may.

Both modules answer the same questions, by the domain's own route; differences are paired, with bootstrap intervals over
facts. By 95 % intervals of answer NLL (nats a token) the update is refused unless it is shown that facts the module
learnt get worse by at most `update.max_loss`, and that new ones get better; fewer than FEWEST facts of a kind show
nothing. Old questions that no module learnt to answer tell little of forgetting, and vary much: there it must be shown
that they do get worse by more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gag.config import UpdateConfig
from gag.domain import DomainModule
from gag.errors import RunError
from gag.evaluation.answers import AnswerLog, ask
from gag.evaluation.runner import Evaluated, scored
from gag.evaluation.statistics import FEWEST, Interval
from gag.methods.gag import Injected
from gag.methods.method import BaseBacked
from gag.progress import Progress, silent
from gag.records import Question, questions_hash
from gag.system import GAG
from gag.updating.plan import LEARNT, NEW, OLD

METRICS = ("nll", "token_f1")
PRESENT, CANDIDATE = "present", "candidate"
_AT_ONCE = 32
"""Questions between two lines of the log."""


@dataclass(frozen=True)
class Measured:
    """One kind of questions and one metric: means under both modules, and candidate - present with its interval."""

    kind: str
    metric: str
    questions: int
    present: float
    candidate: float
    difference: Interval

    def to_json(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        return asdict(self)


class Asking:
    """Asks a module questions by its own route, and keeps every answer in `folder`."""

    def __init__(self, system: GAG, folder: Path, on_progress: Progress = silent) -> None:
        self.system, self.folder, self.on_progress = system, folder, on_progress

    def ask(self, module: DomainModule, who: str, asked: Mapping[str, Sequence[Question]]) -> dict[str, Evaluated]:
        """Answers of one module, by kind; what was answered before is not asked again. Raises RunError."""
        logs = {
            kind: AnswerLog(self.folder, who, kind, f"{_identity(module)} {questions_hash(questions)}")
            for kind, questions in asked.items()
        }
        todo = [
            (kind, question)
            for kind, questions in asked.items()
            for question in questions
            if logs[kind].get(question, nll=True) is None
        ]
        if todo:
            self._answer(module, who, todo, logs)
        found = {}
        for kind, questions in asked.items():
            outcomes = [logs[kind].get(question, nll=True) for question in questions]
            found[kind] = scored(who, [outcome for outcome in outcomes if outcome is not None], METRICS)
        return found

    def _answer(
        self,
        module: DomainModule,
        who: str,
        todo: Sequence[tuple[str, Question]],
        logs: Mapping[str, AnswerLog],
    ) -> None:
        self.system.attach(module.folder)
        try:
            method = BaseBacked(Injected(self.system, domain=module.name))
            for start in range(0, len(todo), _AT_ONCE):
                part = todo[start : start + _AT_ONCE]
                for (kind, _), outcome in zip(part, ask(method, [q for _, q in part], nll=True), strict=True):
                    if outcome.error is not None or outcome.nll is None:
                        raise RunError(
                            f"The {who} module failed on the question {outcome.question.id!r}: {outcome.error}",
                            "Mend or leave out that pair, then run the same command again.",
                        )
                    logs[kind].add([outcome])
                self.on_progress(f"ask {who}", min(start + _AT_ONCE, len(todo)), len(todo))
        finally:
            self.system.detach(module.name)


def measure(present: Mapping[str, Evaluated], candidate: Mapping[str, Evaluated]) -> list[Measured]:
    """The differences of both modules, by kind of question and metric."""
    rows = []
    for kind, now in present.items():
        for metric in METRICS:
            then = candidate[kind]
            difference = then.difference(now, metric)
            if difference is not None:
                means = [sum(one.values[metric]) / len(one.questions) for one in (now, then)]
                rows.append(Measured(kind, metric, len(now.questions), means[0], means[1], difference))
    return rows


def refusals(measured: Sequence[Measured], config: UpdateConfig, dropped: int = 0) -> list[str]:
    """Why the candidate may not take the present module's place; none where it may.

    `dropped` are pairs that the present module learnt and that are gone: where no others are asked, nothing tells what
    is forgotten.
    """
    losses = {row.kind: row.difference for row in measured if row.metric == "nll"}
    old, learnt, gain = (losses.get(kind) for kind in (OLD, LEARNT, NEW))
    reasons = []
    if learnt is None and dropped:
        reasons.append("none of the pairs that it learnt is left to be asked, so nothing tells what it forgets")
    elif learnt is not None and learnt.units < FEWEST:
        reasons.append(f"too few old facts to tell what the update costs ({learnt.units}; {FEWEST} are needed)")
    elif learnt is not None and learnt.high > config.max_loss:
        reasons.append(
            f"what it learnt before may get worse by {learnt.high:.3f} nats a token (found {learnt.mean:+.3f}, "
            f"{learnt.n} questions), more than update.max_loss, {config.max_loss:g}"
        )
    if old is not None and old.units > 1 and old.low > config.max_loss:
        reasons.append(
            f"old questions get worse by {old.mean:.3f} nats a token ({old.n} questions), more than update.max_loss, "
            f"{config.max_loss:g}"
        )
    if gain is None:
        reasons.append("no new question was asked, so nothing tells whether anything was learnt")
    elif gain.high >= 0:
        reasons.append(
            f"new questions are not shown to get better (NLL {gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], "
            f"{gain.n} questions)"
        )
    return reasons


def _identity(module: DomainModule) -> str:
    """What a module's answers depend on."""
    return str(module.provenance.get("key"))
