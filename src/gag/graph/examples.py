"""Training examples of both instructions, tokenised (RoG, section 4.3: planning and retrieval-reasoning optimisation).

They are trained on together, as one set of rows in one order, by the expert's trainer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from gag.config import RogConfig
from gag.errors import InputError
from gag.graph.linking import Linked, link
from gag.graph.paths import RelationPath, Walk, Walker
from gag.graph.planning import Speller, planning_prompt
from gag.graph.reasoning import chosen_paths, line, one_line, reasoning_prompt
from gag.graph.store import Graph
from gag.graph.weak_labels import Neighbours, weak_labels
from gag.models import chat
from gag.progress import Progress, silent
from gag.records import Question

Row = dict[str, list[int]]
"""`input_ids`, and `labels` that are -100 on the prompt."""


@dataclass(frozen=True)
class Labelled:
    """A question about one entity, its answers that the graph has, and its weak labels."""

    question: Question
    linked: Linked
    entity: str
    answers: frozenset[str]
    labels: tuple[RelationPath, ...]


@dataclass(frozen=True)
class LabelledSet:
    """What can be learnt from, and why the rest cannot: reasons by question id."""

    labelled: tuple[Labelled, ...]
    left_out: dict[str, str]


def label_questions(
    graph: Graph, questions: Sequence[Question], config: RogConfig, on_progress: Progress = silent
) -> LabelledSet:
    """Weak labels of every question; raises InputError where none of them can be learnt from."""
    neighbours = Neighbours(graph)
    labelled: list[Labelled] = []
    left_out: dict[str, str] = {}
    for number, question in enumerate(questions, 1):
        try:
            labelled.append(_labelled(graph, neighbours, question, config))
        except InputError as error:
            left_out[question.id] = error.message
        on_progress("labels", number, len(questions))
    if not labelled:
        first = next(iter(left_out.values()), "there are none")
        raise InputError(
            f"None of the {len(questions)} questions can be learnt from: {first}",
            "A question needs an entity of the graph and an answer that a path leads to.",
        )
    return LabelledSet(tuple(labelled), left_out)


def training_rows(graph: Graph, data: Sequence[Labelled], speller: Speller, config: RogConfig) -> list[Row]:
    """Rows of all epochs: a planning row a question and epoch, each with another of its labels; reasoning rows once."""
    chance = random.Random(config.seed)
    rows: list[Row] = []
    for item in data:
        first = chance.randrange(len(item.labels))
        for epoch in range(config.epochs):
            path = item.labels[(first + epoch) % len(item.labels)]
            rows.append(_planning_row(item, path, speller))
    for item in chance.sample(list(data), round(config.reasoning_share * len(data))):
        row = _reasoning_row(graph, item, speller, config, chance)
        if row is not None:
            rows.append(row)
    return rows


def _labelled(graph: Graph, neighbours: Neighbours, question: Question, config: RogConfig) -> Labelled:
    linked = link(graph, question)
    known = graph.names.exact(list(question.answers))
    answers = frozenset(named.term for found in known.values() for named in found)
    if not answers:
        raise InputError(f"No answer of {question.id!r} is in the graph.", "Leave the question out.")
    best: tuple[int, str, tuple[RelationPath, ...]] | None = None
    for entity in linked.entities:
        labels = tuple(weak_labels(neighbours, entity, answers, config.hops, config.labels))
        if labels and (best is None or len(labels[0]) < best[0]):
            best = len(labels[0]), entity, labels
    if best is None:
        raise InputError(
            f"No path of up to {config.hops} hops leads from the entity of {question.id!r} to its answers.",
            "Raise rog.hops, or leave the question out.",
        )
    return Labelled(question, linked, best[1], answers, best[2])


def _planning_row(item: Labelled, path: RelationPath, speller: Speller) -> Row:
    prompt = list(chat.encode(planning_prompt(item.linked.marked(item.entity)), speller.tokenizer).ids)
    answer = speller.path(path)
    return {"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer}


def _reasoning_row(
    graph: Graph, item: Labelled, speller: Speller, config: RogConfig, chance: random.Random
) -> Row | None:
    """The paths of a label and of other plans about as long, and those of the answers that they lead to.

    The label comes first mostly, as a plan that is right mostly does. Lines go until the row fits max_length.
    """
    walker = Walker(graph, item.entity, config.hops)
    label = chance.choice(item.labels)
    walks = [walker.walk(label)]
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        other = _other_walk(walker, label, chance)
        if other is not None:
            walks.insert(0 if chance.random() < 0.25 else len(walks), other)
    paths = chosen_paths(walks, config.lines)
    for count in range(len(paths), 0, -1):
        shown = paths[:count]
        ends = dict.fromkeys(path.nodes[-1] for path in shown if path.steps == label)
        right = [term for term in ends if term in item.answers]
        if not right:
            return None
        lines = [line(graph, path) for path in shown]
        prompt = list(chat.encode(reasoning_prompt(item.linked.question, lines), speller.tokenizer).ids)
        answer = speller.path(tuple(one_line(label) for label in graph.labels(right)))
        if len(prompt) + len(answer) <= config.max_length:
            return {"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer}
    return None


def _other_walk(walker: Walker, label: RelationPath, chance: random.Random) -> Walk | None:
    """A walk along another path of the label's length, where chance finds one that does not pass a hub."""
    path: RelationPath = ()
    for _ in label:
        steps = sorted(walker.next_steps(path))
        if not steps:
            break
        path = (*path, chance.choice(steps))
        if walker.walk(path).cuts:
            return None
    return walker.walk(path) if path and path != label else None
