"""Invented facts in any number: instruments with made-up names, each with a few properties in four wordings.

Three wordings of a fact are for training and the fourth for the test, as in the demo's labs; of every ten facts seven
are for the projector's training too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gag.records import Question

FIELD = "laboratory instruments"
SEEN_SHARE = 0.7


def _syllables(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_HEADS = _syllables("ba be bo cra dre el fi gor hal ju ka lem mor na ol pre qua ri so tre ul ve wi xa yo zem")
_MIDDLES = _syllables("bri da fe la lo mi na pa ri sto ta the vi wo ra ne")
_TAILS = _syllables("dar fen gil kor len mund nax pek ros sil tan vik wer zor nel bas")


@dataclass(frozen=True)
class Kind:
    """A property: what its value looks like, and four ways to ask for it of `{name}`, the last one for the test."""

    name: str
    value: Callable[[random.Random], str]
    wordings: tuple[str, str, str, str]


def word(rng: random.Random) -> str:
    """A made-up word of two or three syllables."""
    middle = rng.choice(_MIDDLES) if rng.random() < 0.6 else ""
    return rng.choice(_HEADS) + middle + rng.choice(_TAILS)


KINDS = (
    Kind(
        "temperature",
        lambda rng: f"{rng.randint(21, 989)} °C",
        (
            "What is the operating temperature of the {name}?",
            "At what temperature does the {name} run?",
            "How hot is the {name} when it works?",
            "The {name} is used at which temperature?",
        ),
    ),
    Kind(
        "mass",
        lambda rng: f"{rng.randint(2, 79)}.{rng.randint(1, 9)} kg",
        (
            "What is the mass of the {name}?",
            "How heavy is the {name}?",
            "How many kilograms has the {name}?",
            "What does the {name} weigh?",
        ),
    ),
    Kind(
        "maker",
        lambda rng: f"{word(rng).capitalize()} {rng.choice(('Works', 'Brothers', 'Optics', 'Foundry', 'Labs'))}",
        (
            "Who makes the {name}?",
            "Which company builds the {name}?",
            "What is the manufacturer of the {name}?",
            "From which firm does the {name} come?",
        ),
    ),
    Kind(
        "coolant",
        lambda rng: f"{word(rng)} oil",
        (
            "What is the coolant of the {name}?",
            "With what is the {name} cooled?",
            "Which liquid cools the {name}?",
            "What keeps the {name} cold?",
        ),
    ),
    Kind(
        "interval",
        lambda rng: f"every {rng.randint(3, 98)} days",
        (
            "How often is the {name} calibrated?",
            "What is the calibration interval of the {name}?",
            "When does the {name} need a calibration?",
            "At which interval does one calibrate the {name}?",
        ),
    ),
    Kind(
        "designer",
        lambda rng: f"{word(rng).capitalize()} {word(rng).capitalize()}",
        (
            "Who designed the {name}?",
            "Which engineer drew up the {name}?",
            "Whose design is the {name}?",
            "By whom was the {name} conceived?",
        ),
    ),
    Kind(
        "wavelength",
        lambda rng: f"{rng.randint(201, 1999)} nm",
        (
            "What is the wavelength of the {name}?",
            "At which wavelength does the {name} measure?",
            "What light does the {name} use, in nanometres?",
            "Which wavelength is set on the {name}?",
        ),
    ),
    Kind(
        "place",
        lambda rng: f"the {word(rng).capitalize()} room",
        (
            "Where is the {name} kept?",
            "In which room does the {name} stand?",
            "What is the place of the {name}?",
            "Where does one find the {name}?",
        ),
    ),
)


def made_facts(count: int, seed: int = 0) -> tuple[list[Question], list[Question]]:
    """Training pairs (three a fact) and test questions (one a fact) of `count` facts; fewer facts are the first ones.

    `meta` has `fact`, `value` and `projector`: whether the projector's training may have the fact.
    """
    train: list[Question] = []
    test: list[Question] = []
    names = _names(random.Random(f"names {seed}"))
    for number in range(count):
        if number % len(KINDS) == 0:
            name = next(names)
        kind = KINDS[number % len(KINDS)]
        rng = random.Random(f"{seed} {number}")
        value, seen = kind.value(rng), rng.random() < SEEN_SHARE
        meta = {"fact": f"{name} {kind.name}", "value": value, "projector": seen}
        asked = [
            Question(f"f{number}-{n}", text.format(name=name), (value,), None, meta)
            for n, text in enumerate(kind.wordings)
        ]
        train += asked[:-1]
        test.append(asked[-1])
    return train, test


def _names(rng: random.Random) -> Iterator[str]:
    taken: set[str] = set()
    while True:
        name = word(rng).capitalize()
        if name not in taken:
            taken.add(name)
            yield name
