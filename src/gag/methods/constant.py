"""Method `constant`: one learned vector a slot and no expert, the control for everything that gag gains.

Trained with the projector's loop, steps, data and loss; what it reaches is what a vector can do that knows nothing
about the question (the prompt's format, the domain's usual answers).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gag.answering import Prepared
from gag.config import GenerationConfig
from gag.models.base import Base
from gag.models.projector import ConstantToken
from gag.prompts import Prompts
from gag.records import Question


class Constant:
    """The domain prompt with the learned vectors in its slots."""

    name = "constant"

    def __init__(self, base: Base, prompts: Prompts, token: ConstantToken, generation: GenerationConfig) -> None:
        self.base, self.prompts, self.token, self.generation = base, prompts, token.eval(), generation

    @torch.no_grad()
    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        """Prompts with slots and the constant vectors."""
        vectors = self.token.slot_vectors.detach()
        return [
            Prepared(
                question=q,
                prompt=self.base.encode(
                    self.prompts.domain(q.question, len(vectors)), room=self.generation.max_new_tokens
                ),
                generation=self.generation,
                vectors=vectors,
                added_tokens=len(vectors),
            )
            for q in questions
        ]
