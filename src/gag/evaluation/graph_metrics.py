"""What is measured of answers from a graph: the first one, the set of them, and the plans against the right paths.

Answers are sets here. Names are compared as the linker compares them: without case, outer punctuation, double spaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gag.graph.names import plain

if TYPE_CHECKING:
    from gag.graph.paths import RelationPath


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
