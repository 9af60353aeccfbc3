"""Counterfactual pairs: a question of the domain under a background that says something else than is true.

On true pairs alone a projector with few facts learns them by heart: it maps the question, which the states hold too,
to the answer (docs/lab-book.md has the numbers). Where the background says something else and the base must repeat
that, the answer cannot be known from the question, so what the expert wrote has to pass through the slots.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Sequence
from dataclasses import replace

from gag.records import Question


def counterfactual_pairs(questions: Sequence[Question], texts: Sequence[str], count: int, seed: int) -> list[Question]:
    """`count` questions whose only answer is a foreign one; the same for the same arguments.

    A third are answers of other questions, half answers with other digits and spliced words, the rest spans of
    `texts` (general text, so that words of all kinds pass).
    """
    rng = random.Random(seed)
    answers = [q.answers[0] for q in questions]
    words = sorted({word for answer in answers for word in answer.split()})
    out = []
    for number in range(count):
        question, kind = rng.choice(questions), rng.random()
        if kind < 0.3:
            answer = rng.choice(answers)
        elif kind < 0.8 or not texts:
            answer = perturbed(rng.choice(answers), words, rng)
        else:
            answer = _span(rng.choice(texts), rng)
        out.append(replace(question, id=f"{question.id}~{number}", answers=(answer,)))
    return out


def perturbed(answer: str, words: Sequence[str], rng: random.Random) -> str:
    """`answer` with every digit drawn anew and some words spliced from halves of two of `words`."""
    pieces = re.split(r"(\s+)", answer)
    for index, piece in enumerate(pieces):
        if any(c in string.digits for c in piece):
            pieces[index] = re.sub(r"\d", lambda _: rng.choice("0123456789"), piece)
        elif len(piece) > 3 and rng.random() < 0.7:
            head, tail = piece, rng.choice(words)
            pieces[index] = head[: (len(head) + 1) // 2] + tail[len(tail) // 2 :].lower()
    return "".join(pieces)


def _span(text: str, rng: random.Random) -> str:
    words = text.split()
    length = rng.randint(1, min(4, len(words)))
    start = rng.randint(0, len(words) - length)
    return " ".join(words[start : start + length])
