"""Whether general questions are answered as by the base alone (what a frozen base promises on the general route).

In bfloat16 the company in a batch can change a token (docs/concepts.md), and gag's general batches lack the questions
that it routed elsewhere. So where two texts differ, both are asked once more, that question alone: equal input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gag.methods.method import Method
from gag.records import GENERAL, Answer, Question


@dataclass(frozen=True)
class Agreement:
    """Positions of the questions routed general, and of those answered word for word as by the base."""

    stayed: tuple[int, ...]
    same: tuple[int, ...]
    again: int
    """How many of `same` had to be asked again, alone."""


def general_agreement(
    questions: Sequence[Question],
    gag: Sequence[Answer],
    base: Sequence[Answer],
    methods: Callable[[], tuple[Method, Method]],
) -> Agreement:
    """Compare answers to the same questions; `methods` gives gag and base, and is called only where texts differ."""
    stayed = tuple(i for i, answer in enumerate(gag) if answer.route is not None and answer.route.name == GENERAL)
    differing = [i for i in stayed if gag[i].text != base[i].text]
    alone: set[int] = set()
    if differing:
        one, other = methods()
        alone = {i for i in differing if one.answer([questions[i]])[0].text == other.answer([questions[i]])[0].text}
    same = tuple(i for i in stayed if i in alone or i not in set(differing))
    return Agreement(stayed, same, len(alone))
