"""One evaluator: a method, questions, and what comes out, as answers and as rows with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gag.evaluation.metrics import METRICS
from gag.evaluation.statistics import Interval, mean_interval, paired_difference
from gag.evaluation.table import Row
from gag.methods.method import BaseBacked
from gag.records import Answer, Question

COSTS: dict[str, Callable[[Answer], float]] = {
    "added_tokens": lambda answer: float(answer.knowledge_tokens),
    "prompt_tokens": lambda answer: float(answer.prompt_tokens),
    "seconds": lambda answer: answer.timings.get("total", 0.0),
}
"""What an answer cost, by metric name."""


@dataclass(frozen=True)
class Evaluated:
    """A method's answers to questions and, a question each, every metric's value."""

    method: str
    questions: tuple[Question, ...]
    answers: tuple[Answer, ...]
    values: dict[str, tuple[float, ...]]

    def rows(self, domain: str, *, only: Callable[[Question], bool] | None = None) -> list[Row]:
        """A row a metric with its bootstrap interval, over all questions or those that `only` takes."""
        kept = [i for i, question in enumerate(self.questions) if only is None or only(question)]
        if not kept:
            return []
        clusters = [_cluster(self.questions[i]) for i in kept]
        rows = []
        for metric, values in self.values.items():
            interval = mean_interval([values[i] for i in kept], clusters=clusters)
            rows.append(Row.from_interval(self.method, domain, metric, interval))
        return rows

    def difference(self, other: Evaluated, metric: str) -> Interval:
        """The paired difference self - other of a metric, with its interval; both on the same questions."""
        clusters = [_cluster(q) for q in self.questions]
        return paired_difference(self.values[metric], other.values[metric], clusters=clusters)


def evaluate(
    method: BaseBacked, questions: Sequence[Question], metrics: Sequence[str], *, longest: int | None = None
) -> Evaluated:
    """Answers of `method` and the metrics asked for: `nll`, names of METRICS, and names of COSTS.

    `fact_recall` is measured against the question's `value`; `longest` cuts the gold answers that `nll` scores.
    """
    if "nll" in metrics:
        answers, nlls = method.answer_and_nll(questions, longest=longest)
    else:
        answers, nlls = method.answer(questions), []
    values: dict[str, tuple[float, ...]] = {}
    for metric in metrics:
        if metric == "nll":
            values[metric] = tuple(nlls)
        elif metric in COSTS:
            values[metric] = tuple(COSTS[metric](answer) for answer in answers)
        else:
            values[metric] = tuple(
                METRICS[metric](answer.text, _accepted(question, metric))
                for answer, question in zip(answers, questions, strict=True)
            )
    return Evaluated(method.name, tuple(questions), tuple(answers), values)


def _accepted(question: Question, metric: str) -> Sequence[str]:
    return [str(question.meta["value"])] if metric == "fact_recall" else question.answers


def _cluster(question: Question) -> str:
    """Wordings of one fact stand and fall together."""
    return str(question.meta.get("fact", question.id))
