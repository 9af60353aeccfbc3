"""Reasoning: the model answers from the question and the paths that the plans brought back (RoG, section 4.2).

A path is one line, its entities and relations in turn; the answers come one a line.
"""

from __future__ import annotations

from collections.abc import Sequence

from gag.graph.paths import ReasoningPath, Walk
from gag.graph.store import Graph
from gag.prompts import Message, Untrusted

INSTRUCTION = "Answer from the paths, one answer a line."
"""The reasoning half of the two instructions that one model is trained on."""

BETWEEN = " | "


def reasoning_prompt(question: str, lines: Sequence[str]) -> tuple[Message, ...]:
    """What the model is asked when it reads paths."""
    paths = "\n".join(lines) if lines else "(none)"
    return (
        Message("system", (INSTRUCTION,)),
        Message("user", ("Paths:\n", Untrusted(paths), "\nQuestion: ", Untrusted(question))),
    )


def answers_in(text: str) -> list[str]:
    """The answers of a text of one a line, each once."""
    return list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


def one_line(label: str) -> str:
    """A name without line breaks, as paths and answers hold it."""
    return " ".join(label.split())


def line(graph: Graph, path: ReasoningPath) -> str:
    """A path as the model reads it."""
    labels = [one_line(label) for label in graph.labels(path.nodes)]
    parts = [labels[0]]
    for step, label in zip(path.steps, labels[1:], strict=True):
        parts += [step, label]
    return BETWEEN.join(parts)


def chosen_paths(walks: Sequence[Walk], most: int) -> list[ReasoningPath]:
    """One path to every end of each walk, the walks in turn, until there are `most`."""
    chosen: list[ReasoningPath] = []
    for walk in walks:
        for end in walk.ends():
            if len(chosen) == most:
                return chosen
            chosen += walk.paths_to(end, 1)
    return chosen
