"""A graph as passages, one an entity, for methods that read text (RAG over verbalised triples)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gag.graph.store import Graph
from gag.graph.terms import INVERSE
from gag.graph.weak_labels import Neighbours
from gag.records import Passage

MOST = 200
"""Neighbours by one relation that a passage names; it says how many more there are."""
_TOGETHER = 200


def passages(graph: Graph) -> Iterator[Passage]:
    """One passage an entity that has a triple, in the order in which entities were met; nothing is held in memory."""
    neighbours = Neighbours(graph)
    part: list[tuple[int, str, str]] = []
    for row in graph.names.entities():
        part.append(row)
        if len(part) == _TOGETHER:
            yield from _passages(graph, neighbours, part)
            part = []
    yield from _passages(graph, neighbours, part)


def said(label: str, step: str) -> str:
    """An entity and a step from it in words: `The Kiln directed by`, and `directed by Ana Ruiz` for the inverse."""
    words = step.removeprefix(INVERSE).replace("_", " ")
    return f"{words} {label}" if step.startswith(INVERSE) else f"{label} {words}"


def _passages(graph: Graph, neighbours: Neighbours, part: Sequence[tuple[int, str, str]]) -> Iterator[Passage]:
    terms = [term for _, term, _ in part]
    neighbours.fetch(terms, hubs=True)
    shown = {term: {s: sorted(others)[:MOST] for s, others in neighbours.at(term, hubs=True).items()} for term in terms}
    named = list(dict.fromkeys(o for steps in shown.values() for others in steps.values() for o in others))
    labels = dict(zip(named, graph.labels(named), strict=True))
    for number, term, label in part:
        lines = []
        for step, others in sorted(shown[term].items()):
            more = len(neighbours.at(term, hubs=True)[step]) - len(others)
            least = "at least " if term in neighbours.cut else ""
            ends = f" and {least}{more} more" if more else ""
            lines.append(f"{said(label, step)}: {', '.join(sorted(labels[o] for o in others))}{ends}.")
        if lines:
            yield Passage(id=f"{graph.name}-{number}", document_id=graph.name, text="\n".join(lines), heading=label)
    neighbours.forget()
