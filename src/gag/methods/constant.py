"""Method `constant`: one learned vector a slot and no expert, the control for everything that gag gains.

Trained with the projector's loop, steps, data and loss; what it reaches is what a vector can do that knows nothing
about the question (the prompt's format, the domain's usual answers).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from gag.answering import Prepared, injected
from gag.config import GenerationConfig
from gag.methods.method import BaseBacked, Method
from gag.models.base import Base
from gag.models.projector import ConstantToken
from gag.pipeline import Build
from gag.prompts import Prompts
from gag.records import Question
from gag.steps import PROJECTOR_FILE

if TYPE_CHECKING:
    from gag.methods.shelf import Shelf


class Constant:
    """The domain prompt with the learned vectors in its slots."""

    name = "constant"

    def __init__(self, base: Base, prompts: Prompts, token: ConstantToken, generation: GenerationConfig) -> None:
        self.base, self.prompts, self.token, self.generation = base, prompts, token.eval(), generation

    @torch.no_grad()
    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        """Prompts with slots and the constant vectors."""
        vectors = self.token.slot_vectors.detach().expand(len(questions), -1, -1)
        return injected(self.base, self.prompts, questions, vectors, self.generation)


def from_shelf(shelf: Shelf, domain: str) -> Method:
    """For the shelf: the vectors are trained where they are not yet (`Build.constant`)."""
    folder = shelf.build(domain).run(Build.constant)
    token = ConstantToken(shelf.config(domain).readout.slots, shelf.base.table.weight)
    token.load_state_dict(load_file(folder / PROJECTOR_FILE))
    token.to(shelf.base.device)
    return BaseBacked(Constant(shelf.base, shelf.prompts(domain), token, shelf.chosen_generation(domain)))
