"""What is measured of answers from a graph: the first one, the set of them, the plans, and the paths shown.

Answers are sets here. Names are compared as the linker compares them: without case, outer punctuation, double spaces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gag.evaluation.statistics import mean_interval
from gag.evaluation.table import Row
from gag.graph.explanation import Explanation
from gag.graph.names import plain
from gag.graph.paths import RelationPath
from gag.records import Question

GRAPH_METRICS = ("hits_at_1", "answer_f1", "path_precision", "path_recall", "entailed", "follow_seconds")


def hits_at_1(prediction: str, answers: Sequence[str]) -> float:
    """1 when the first line of the prediction is an accepted answer (any of them), else 0."""
    lines = [line for line in prediction.splitlines() if line.strip()]
    return float(bool(lines) and plain(lines[0]) in {plain(answer) for answer in answers})


def answer_f1(prediction: str, answers: Sequence[str]) -> float:
    """F1 of the set of lines and the set of accepted answers."""
    said = {plain(line) for line in prediction.splitlines() if line.strip()}
    wanted = {plain(answer) for answer in answers}
    right = len(said & wanted)
    return 2 * right / (len(said) + len(wanted)) if right else 0.0


def path_precision(planned: Sequence[RelationPath], gold: Sequence[RelationPath]) -> float:
    """The share of the planned relation paths that are gold ones; 0 without a plan."""
    return sum(path in gold for path in planned) / len(planned) if planned else 0.0


def path_recall(planned: Sequence[RelationPath], gold: Sequence[RelationPath]) -> float:
    """The share of the gold relation paths that were planned."""
    return sum(path in planned for path in gold) / len(gold)


def graph_rows(
    method: str,
    graph: str,
    questions: Sequence[Question],
    explanations: Sequence[Explanation | None],
    gold_paths: Mapping[str, Sequence[RelationPath]],
) -> list[Row]:
    """A row a metric with its interval; None is a question that could not be answered, and counts as wrong.

    `gold_paths` by question id; questions without any are left out of the two path metrics, and those without an
    explanation out of the time.
    """
    values: dict[str, list[float]] = {name: [] for name in GRAPH_METRICS}
    for question, explanation in zip(questions, explanations, strict=True):
        gold = gold_paths.get(question.id, ())
        if explanation is None:
            wrong = ("hits_at_1", "answer_f1", "entailed", *(("path_precision", "path_recall") if gold else ()))
            for name in wrong:
                values[name].append(0.0)
            continue
        said = "\n".join(answer.text for answer in explanation.answers)
        values["hits_at_1"].append(hits_at_1(said, question.answers))
        values["answer_f1"].append(answer_f1(said, question.answers))
        values["entailed"].append(explanation.entailed)
        values["follow_seconds"].append(explanation.timings["follow"])
        planned = [plan.path for plan in explanation.plans if plan.path]
        if gold and (planned or explanation.plans == ()):
            values["path_precision"].append(path_precision(planned, gold))
            values["path_recall"].append(path_recall(planned, gold))
    return [Row.from_interval(method, graph, name, mean_interval(found)) for name, found in values.items() if found]
