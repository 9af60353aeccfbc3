"""Method `egc`, expert-generated context: the background as text in the prompt in place of the injected token."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gag.answering import Prepared
from gag.config import GenerationChoice
from gag.errors import InputError
from gag.methods.method import BaseBacked, Method
from gag.records import Question
from gag.system import GAG

if TYPE_CHECKING:
    from gag.methods.shelf import Shelf


class GeneratedContext:
    """The domain's expert writes background in text; the base reads it. Route given, as for gag-oracle."""

    name = "egc"

    def __init__(self, system: GAG, domain: str, *, generation: GenerationChoice = None) -> None:
        self.attached, self.base = system.domains[domain], system.base
        self.generation = self.attached.module.generation.under(generation)
        if self.attached.module.readout.mode != "generate":
            raise InputError(
                f"The expert of {domain} writes no background (readout.mode prefill).",
                "Build the domain with readout.mode generate to use egc.",
            )

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        """Domain prompts with the background where the slots would be; added tokens are the background's."""
        started = time.perf_counter()
        readings = self.attached.read([q.question for q in questions])
        seconds = (time.perf_counter() - started) / max(1, len(questions))
        prompts, room = self.attached.prompts, self.generation.max_new_tokens
        out = []
        for q, reading in zip(questions, readings, strict=True):
            prompt = self.base.encode(prompts.context(q.question, reading.background), room=room)
            bare = self.base.encode(prompts.domain(q.question, 0))
            out.append(
                Prepared(
                    question=q,
                    prompt=prompt,
                    generation=self.generation,
                    added_tokens=len(prompt.ids) - len(bare.ids),
                    background=reading.background,
                    background_probability=reading.probability,
                    timings={"background": seconds},
                )
            )
        return out


def from_shelf(shelf: Shelf, domain: str) -> Method:
    """For the shelf."""
    shelf.attached(domain)
    return BaseBacked(GeneratedContext(shelf.system, domain, generation=shelf.generation))
