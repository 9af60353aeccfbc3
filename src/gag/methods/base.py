"""Method `base`: the frozen base alone, closed book."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gag.answering import Prepared
from gag.config import GenerationConfig
from gag.methods.method import BaseBacked, Method
from gag.models.base import Base
from gag.prompts import Prompts
from gag.records import Question

if TYPE_CHECKING:
    from gag.methods.shelf import Shelf


class ClosedBook:
    """The general prompt and nothing else, whatever the question's domain."""

    name = "base"

    def __init__(self, base: Base, prompts: Prompts, generation: GenerationConfig) -> None:
        self.base, self.prompts, self.generation = base, prompts, generation

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        """General prompts, in order."""
        room = self.generation.max_new_tokens
        return [
            Prepared(q, self.base.encode(self.prompts.general(q.question), room=room), self.generation)
            for q in questions
        ]


def from_shelf(shelf: Shelf, domain: str | None) -> Method:
    """For the shelf; of the domain it takes nothing but how answers are written, as every other method does."""
    return BaseBacked(ClosedBook(shelf.base, shelf.system.general, shelf.chosen_generation(domain)))
