"""One evaluator: a method, questions, and what comes out, as answers and as rows with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gag.errors import RunError
from gag.evaluation.answers import Outcome, ask
from gag.evaluation.citations import CITATION_METRICS
from gag.evaluation.metrics import METRICS
from gag.evaluation.statistics import Interval, mean_interval, paired_difference
from gag.evaluation.table import Row, metric_format
from gag.methods.method import Method
from gag.records import Answer, Question

COSTS: dict[str, Callable[[Answer], float]] = {
    "added_tokens": lambda answer: float(answer.knowledge_tokens),
    "prompt_tokens": lambda answer: float(answer.prompt_tokens),
    "completion_tokens": lambda answer: float(answer.completion_tokens),
    "seconds": lambda answer: answer.timings.get("total", math.nan),
}
"""What an answer cost, by metric name; NaN where its method does not say."""

Judge = Callable[[Sequence[str], Sequence[Sequence[str]]], Sequence[float]]
"""A metric that needs a model: scores of many predictions, each against its accepted answers, in one call."""

_MISSING = math.nan


@dataclass(frozen=True)
class Evaluated:
    """A method's answers to questions and, a question each, every metric's value; NaN where there is none.

    `errors` says, by position, why a question has no answer: there the text is empty, a score that is better when
    higher is 0, and nll and costs are NaN.
    """

    method: str
    questions: tuple[Question, ...]
    answers: tuple[Answer, ...]
    values: dict[str, tuple[float, ...]]
    errors: Mapping[int, str] = field(default_factory=dict)
    cluster: str = "fact"
    """Field of a question that is the same for wordings of one fact, which stand and fall together."""

    def rows(
        self, domain: str, *, only: Callable[[Question], bool] | None = None, table: str = "", dataset: str = ""
    ) -> list[Row]:
        """A row a metric with its bootstrap interval, over all questions or those that `only` takes.

        `seconds` and `tokens` of a row are the means over the same questions. No row where no question has a value.
        """
        kept = [i for i, question in enumerate(self.questions) if only is None or only(question)]
        answered = [self.answers[i] for i in kept if table and i not in self.errors]
        seconds, tokens = (_mean(map(COSTS[cost], answered)) for cost in ("seconds", "added_tokens"))
        rows = []
        for metric, values in self.values.items():
            there = [i for i in kept if math.isfinite(values[i])]
            if not there:
                continue
            clusters = [self._cluster(self.questions[i]) for i in there]
            mean = mean_interval([values[i] for i in there], clusters=clusters)
            row = Row.from_interval(self.method, domain, metric, mean)
            rows.append(replace(row, table=table, dataset=dataset, seconds=seconds, tokens=tokens))
        return rows

    def difference(self, other: Evaluated, metric: str) -> Interval | None:
        """The paired difference self - other of a metric, with its interval; both on the same questions.

        Over the questions where both have a value; None where that is none.
        """
        mine, theirs = self.values.get(metric), other.values.get(metric)
        if mine is None or theirs is None:
            return None
        if [q.id for q in self.questions] != [q.id for q in other.questions]:
            raise ValueError("a paired difference needs the same questions in the same order")
        both = [i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if math.isfinite(a - b)]
        if not both:
            return None
        clusters = [self._cluster(self.questions[i]) for i in both]
        return paired_difference([mine[i] for i in both], [theirs[i] for i in both], clusters=clusters)

    def _cluster(self, question: Question) -> tuple[str, str]:
        """What a question stands and falls with: its fact, or itself where it names none."""
        fact = question.meta.get(self.cluster)
        return ("question", question.id) if fact is None else ("fact", str(fact))


def evaluate(
    method: Method, questions: Sequence[Question], metrics: Sequence[str], *, longest: int | None = None
) -> Evaluated:
    """Answers of `method` and the metrics asked for: `nll`, names of METRICS, and names of COSTS.

    `fact_recall` is measured against the question's `value`; `longest` cuts the gold answers that `nll` scores. A value
    is NaN where a question has not what the metric takes, and nll of a method that does not end in the base is. Raises
    RunError where a question could not be answered.
    """
    outcomes = ask(method, questions, nll="nll" in metrics, longest=longest)
    for outcome in outcomes:
        if outcome.error is not None:
            raise RunError(
                f"{method.name} failed on the question {outcome.question.id!r}: {outcome.error}",
                "Mend or leave out that question; gag bench goes on past such a one.",
            )
    return scored(method.name, outcomes, metrics)


def scored(
    method: str,
    outcomes: Sequence[Outcome],
    metrics: Sequence[str],
    judges: Mapping[str, Judge] | None = None,
    cluster: str | None = None,
) -> Evaluated:
    """Outcomes with the metrics asked for; `judges` score those that need a model. Raises InputError."""
    values = {metric: _values(metric, outcomes, judges or {}) for metric in metrics}
    answers = tuple(o.answer or Answer(o.question.id, "", method) for o in outcomes)
    errors = {i: o.error for i, o in enumerate(outcomes) if o.error is not None}
    questions = tuple(o.question for o in outcomes)
    return Evaluated(method, questions, answers, values, errors, cluster or "fact")


def _values(metric: str, outcomes: Sequence[Outcome], judges: Mapping[str, Judge]) -> tuple[float, ...]:
    if metric == "nll":
        return tuple(_MISSING if o.nll is None else o.nll for o in outcomes)
    if metric in COSTS:
        return tuple(_MISSING if o.answer is None else COSTS[metric](o.answer) for o in outcomes)
    if metric in CITATION_METRICS:
        return tuple(0.0 if o.answer is None else CITATION_METRICS[metric](o.answer) for o in outcomes)
    if metric in judges:
        asked = [o for o in outcomes if o.answer is not None and o.question.answers]
        texts = [o.answer.text for o in asked if o.answer is not None]
        scores = dict(zip(map(id, asked), judges[metric](texts, [o.question.answers for o in asked]), strict=True))
        return tuple(float(scores.get(id(o), _failed(metric, o.question))) for o in outcomes)
    measure = METRICS[metric]
    return tuple(
        _failed(metric, o.question) if o.answer is None else measure.of(o.question, o.answer.text) for o in outcomes
    )


def _failed(metric: str, question: Question) -> float:
    """The score of no answer at all: 0 where more is better, unless the question has not what the metric takes."""
    lacking = math.isnan(METRICS[metric].of(question, "-")) if metric in METRICS else not question.answers
    return _MISSING if lacking or metric_format(metric).better != "higher" else 0.0


def _mean(values: Iterable[float]) -> float | None:
    """The mean of those that are numbers; None where none is."""
    there = [value for value in values if math.isfinite(value)]
    return sum(there) / len(there) if there else None
