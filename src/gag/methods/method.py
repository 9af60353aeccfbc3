"""The Method protocol, and what every method that ends in the base shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gag.answering import Prepared, complete, gold_nll
from gag.models.base import Base
from gag.records import Answer, Question


class Method(Protocol):
    """Anything that answers questions."""

    name: str

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question, in order."""
        ...


class Preparing(Protocol):
    """What a method that ends in the base has to say: its name, the base, and each question's prompt and vectors."""

    name: str
    base: Base

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        """Prompts and vectors, in order."""
        ...


class BaseBacked:
    """A Method from a Preparing one: it can also say how likely it finds the gold answers."""

    def __init__(self, preparing: Preparing, *, batch_size: int = 32) -> None:
        self.preparing, self.name, self.batch_size = preparing, preparing.name, batch_size

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question, in order."""
        prepared = self.preparing.prepare(questions)
        return complete(self.preparing.base, prepared, self.name, batch_size=self.batch_size)

    def gold_nll(self, questions: Sequence[Question], *, longest: int | None = None) -> list[float]:
        """Mean -log p of each question's first gold answer, nats a token."""
        prepared = self.preparing.prepare(questions)
        return gold_nll(self.preparing.base, prepared, batch_size=self.batch_size, longest=longest)

    def answer_and_nll(
        self, questions: Sequence[Question], *, longest: int | None = None
    ) -> tuple[list[Answer], list[float]]:
        """Both, with the background read only once."""
        prepared = self.preparing.prepare(questions)
        answers = complete(self.preparing.base, prepared, self.name, batch_size=self.batch_size)
        return answers, gold_nll(self.preparing.base, prepared, batch_size=self.batch_size, longest=longest)
