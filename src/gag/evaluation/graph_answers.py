"""A method on graphs for the one evaluator: why it answered so is kept, and measured beside what was answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from gag.errors import InputError
from gag.evaluation.graph_metrics import path_precision, path_recall
from gag.evaluation.runner import Evaluated
from gag.graph.examples import label_questions
from gag.graph.explanation import Explanation
from gag.graph.paths import RelationPath
from gag.methods.rog import ReasoningOnGraphs
from gag.records import Answer, Question

PATH_METRICS = ("path_precision", "path_recall", "entailed", "follow_seconds")
"""What only the plans and the shown paths tell."""

GRAPH_METRICS = ("hits_at_1", "answer_f1", *PATH_METRICS)
"""What `gag eval` measures of a method on graphs where nothing else is asked for."""

_AGAINST_GOLD = {"path_precision": path_precision, "path_recall": path_recall}


class Explained:
    """A Method that keeps the explanation of every answer it gave, by question id."""

    def __init__(self, method: ReasoningOnGraphs) -> None:
        self.method, self.name = method, method.name
        self.explanations: dict[str, Explanation] = {}

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question, in order."""
        answers, explanations = self.method.answer_and_explain(questions)
        self.explanations |= {q.id: explanation for q, explanation in zip(questions, explanations, strict=True)}
        return answers

    def measured(self, evaluated: Evaluated, names: Sequence[str]) -> Evaluated:
        """`evaluated` with those of `names` that are PATH_METRICS too, in the order of `names`.

        A question without an answer has 0 and no time; one without a right path has no value of the two path metrics.
        """
        wanted = [name for name in names if name in PATH_METRICS]
        gold = gold_paths(self.method, evaluated.questions) if _AGAINST_GOLD.keys() & set(wanted) else {}
        values = dict(evaluated.values)
        for name in wanted:
            values[name] = tuple(
                _value(name, self.explanations.get(q.id), gold.get(q.id, ())) for q in evaluated.questions
            )
        return replace(evaluated, values={name: values[name] for name in names})


def gold_paths(method: ReasoningOnGraphs, questions: Sequence[Question]) -> dict[str, list[RelationPath]]:
    """The relation paths that are right for each question: its own `paths`, else those that its answers tell.

    Raises InputError for `paths` that are no lists of the graph's relations. A question without any is left out.
    """
    gold: dict[str, list[RelationPath]] = {}
    unknown = []
    for question in questions:
        if question.meta.get("paths") is None:
            unknown.append(question)
        else:
            gold[question.id] = _given(method, question)
    if unknown:
        try:
            found = label_questions(method.graph, unknown, method.config)
        except InputError:  # not one of them has a path; their errors are those of the answers
            return gold
        gold |= {item.question.id: list(item.labels) for item in found.labelled}
    return gold


def _given(method: ReasoningOnGraphs, question: Question) -> list[RelationPath]:
    given = question.meta["paths"]
    if not isinstance(given, list) or not all(isinstance(path, list) and path for path in given):
        raise InputError(
            f"The field 'paths' of the question {question.id!r} is no list of paths ({given!r:.60}).",
            'Write it as a list of lists of relations, [["directed_by"]], or leave it out.',
        )
    for step in (step for path in given for step in path):
        method.graph.relation(str(step))
    return [tuple(map(str, path)) for path in given]


def _value(name: str, explanation: Explanation | None, gold: Sequence[RelationPath]) -> float:
    if name == "follow_seconds":
        return math.nan if explanation is None else explanation.timings["follow"]
    if name == "entailed":
        return 0.0 if explanation is None else explanation.entailed
    if not gold:
        return math.nan
    if explanation is None:
        return 0.0
    planned = [plan.path for plan in explanation.plans if plan.path]
    if explanation.plans and not planned:
        return math.nan  # a method that does not plan
    return _AGAINST_GOLD[name](planned, gold)
