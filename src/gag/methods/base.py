"""Method `base`: the frozen base alone, closed book."""

from __future__ import annotations

from collections.abc import Sequence

from gag.answering import Prepared
from gag.config import GenerationConfig
from gag.models.base import Base
from gag.prompts import Prompts
from gag.records import Question


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
