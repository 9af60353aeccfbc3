"""Why an answer: the plans, and for each answer the paths that lead to it, every triple of them proven in the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gag.graph.paths import ReasoningPath, RelationPath, Walk, proven
from gag.graph.store import Graph
from gag.graph.terms import INVERSE


@dataclass(frozen=True)
class Triple:
    """One step of a shown path in words: from `head` to `tail` by `step`, which may be an inverse."""

    head: str
    step: str
    tail: str

    @property
    def arrow(self) -> str:
        """The relation with the way it points, as a tree shows it."""
        name = self.step.removeprefix(INVERSE)
        return f"←{name}—" if self.step.startswith(INVERSE) else f"—{name}→"


@dataclass(frozen=True)
class ShownAnswer:
    """An answer and the ways to it; one without any is the model's word alone."""

    text: str
    paths: tuple[tuple[Triple, ...], ...] = ()

    @property
    def entailed(self) -> bool:
        """Whether a shown path ends in it."""
        return bool(self.paths)


@dataclass(frozen=True)
class PlannedPath:
    """A plan that was walked: from which entity, along which relations, how likely, and to how many ends."""

    entity: str
    path: RelationPath
    probability: float | None
    ends: int


@dataclass(frozen=True)
class Explanation:
    """Everything there is to show about one answered question; all names are words, not terms."""

    question: str
    entities: tuple[str, ...]
    plans: tuple[PlannedPath, ...]
    answers: tuple[ShownAnswer, ...]
    notes: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def entailed(self) -> float:
        """The share of the answers that a shown path ends in; 0 without answers."""
        return sum(answer.entailed for answer in self.answers) / len(self.answers) if self.answers else 0.0

    def to_json(self) -> dict[str, Any]:
        """As `gag ask --json` prints it."""
        return {
            "question": self.question,
            "entities": list(self.entities),
            "plans": [
                {"entity": p.entity, "path": list(p.path), "probability": p.probability, "ends": p.ends}
                for p in self.plans
            ],
            "answers": [
                {
                    "text": a.text,
                    "entailed": a.entailed,
                    "paths": [[[t.head, t.step, t.tail] for t in path] for path in a.paths],
                }
                for a in self.answers
            ],
            "notes": list(self.notes),
            "timings": {part: round(seconds, 6) for part, seconds in self.timings.items()},
        }


def shown_answers(
    graph: Graph, answers: Sequence[tuple[str, str | None]], walks: Sequence[Walk], most: int
) -> tuple[ShownAnswer, ...]:
    """Answers (text, term) with at most `most` proven paths of the walks to each; what is not proven is not shown."""
    ways: list[list[ReasoningPath]] = []
    for _, term in answers:
        found: list[ReasoningPath] = []
        for walk in walks:
            for hop in range(len(walk.layers), 0, -1) if term is not None else ():
                if len(found) < most and _ends_at(walk, hop):
                    found += walk.paths_to(str(term), most - len(found), hop)
        ways.append(found)
    there = set(proven(graph, [path for found in ways for path in found]))
    kept = [[path for path in found if path in there] for found in ways]
    terms = list(dict.fromkeys(node for found in kept for path in found for node in path.nodes))
    labels = dict(zip(terms, graph.labels(terms), strict=True))
    return tuple(
        ShownAnswer(text, tuple(_in_words(path, labels) for path in found))
        for (text, _), found in zip(answers, kept, strict=True)
    )


def _ends_at(walk: Walk, hop: int) -> bool:
    """A planned walk is read at its end; one without a plan at every hop."""
    return hop == len(walk.layers) or walk.open_ended


def _in_words(path: ReasoningPath, labels: Mapping[str, str]) -> tuple[Triple, ...]:
    return tuple(
        Triple(labels[head], step, labels[tail])
        for head, step, tail in zip(path.nodes, path.steps, path.nodes[1:], strict=False)
    )
