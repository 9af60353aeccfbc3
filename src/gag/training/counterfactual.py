"""Counterfactual pairs: a question of the domain under a background that says something else than is true.

On true pairs alone a projector with few facts learns them by heart: it maps the question, which the states hold too,
to the answer (docs/lab-book.md has the numbers). Where the background says something else and the base must repeat
that, the answer cannot be known from the question, so what the expert wrote has to pass through the slots.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from gag.config import AlignmentConfig, RouterConfig
from gag.errors import ConfigError
from gag.records import Question, content_hash
from gag.routing.prototypes import general_questions
from gag.training.foreign import VERSION, ForeignTexts

TRIES = 20
"""Texts drawn for a question, of which one should fit."""

RARE = 2000
"""So many draws without a fitting text are enough to say that there is none."""


def shipped_texts() -> list[str]:
    """The general questions of the package, of which foreign texts are made whatever questions the router has."""
    return [question.question for question in general_questions(RouterConfig(), None)]


def foreign_texts_hash() -> str:
    """The hash of what decides which foreign texts are drawn."""
    return content_hash("foreign texts", VERSION, shipped_texts())


def counterfactual_pairs(
    questions: Sequence[Question],
    texts: Sequence[str],
    count: int,
    seed: int,
    *,
    near: float = 0.0,
    pieces: Sequence[str] = (),
    fits: Callable[[Question, str], bool] = lambda question, text: True,
) -> list[Question]:
    """`count` questions whose only answer is a foreign text; the same for the same arguments.

    A share of `near` of them have their own answer with other digits and words, the others answers of other questions,
    such answers changed likewise, and words of `texts` (general text). `pieces` (a tokenizer's vocabulary) make words.
    Where few texts that are drawn fit a question, the beginning of one is taken; fewer than `count` where none fits.
    """
    rng, kinds = random.Random(seed), random.Random(seed + 1)
    foreign = ForeignTexts(texts, [q.answers[0] for q in questions], seed, pieces=pieces)
    pairs = []
    for n in range(count):
        question = rng.choice(questions)
        draw = partial(foreign.near, question.answers[0]) if kinds.random() < near else foreign.draw
        text = _fitting(draw, partial(fits, question))
        if text:
            pairs.append(replace(question, id=f"{question.id}~{n}", answers=(text,)))
    return pairs


def changed_answers(config: AlignmentConfig) -> bool:
    """Whether some counterfactual pairs have a true answer that is changed."""
    return bool(config.counterfactual and config.counterfactual_near)


def _fitting(draw: Callable[[], str], fits: Callable[[str], bool]) -> str:
    """The first of TRIES texts that fits, or the words of the last one as far as they do."""
    for _ in range(TRIES):
        text = draw()
        if fits(text):
            return text
    words = text.split()
    while words and not fits(" ".join(words)):
        words.pop()
    return " ".join(words)


def general_pairs(
    texts: Sequence[str],
    count: int,
    seed: int,
    *,
    pieces: Sequence[str] = (),
    fits: Callable[[str], bool] = lambda text: True,
    first: int = 0,
) -> list[Question]:
    """`count` questions drawn from `texts`, each with a foreign text as its only answer; no domain is in them.

    A text is drawn until it `fits`; ids count from `first`. Raises ConfigError where hardly a text fits.
    """
    rng = random.Random(seed)
    foreign = ForeignTexts(texts, (), seed, pieces=pieces)
    pairs: list[Question] = []
    for n in range(first, first + count):
        question = rng.choice(texts)
        drawn = next((text for text in (foreign.draw() for _ in range(RARE)) if fits(text)), None)
        if drawn is None:
            raise ConfigError(
                f"Of {RARE} foreign texts none is short enough for a stage of the pretraining.",
                "Raise projector.pretrain_lengths.",
            )
        pairs.append(Question(f"general~{n}", question, (drawn,)))
    return pairs
