"""From prepared prompts to answers: what every method has in common once it knows its prompt and its vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gag.config import GenerationConfig
from gag.errors import InputError
from gag.models import chat
from gag.models.base import Base
from gag.models.chat import EncodedPrompt
from gag.records import Answer, Question, Route


@dataclass(frozen=True)
class Prepared:
    """A question ready for the base.

    `vectors` [slots, d_base] fill the prompt's slots, `added_tokens` counts what was added for the domain's sake
    (slots, or tokens of context), `timings` are the seconds spent so far by part.
    """

    question: Question
    prompt: EncodedPrompt
    generation: GenerationConfig
    vectors: Tensor | None = None
    added_tokens: int = 0
    route: Route | None = None
    background: str | None = None
    timings: Mapping[str, float] = field(default_factory=dict)


def complete(base: Base, prepared: Sequence[Prepared], method: str, *, batch_size: int = 32) -> list[Answer]:
    """The base's answers, in order; questions with as many slots and the same limits share batches."""
    answers: list[Answer | None] = [None] * len(prepared)
    for indices in _batches(prepared, batch_size):
        part = [prepared[i] for i in indices]
        done = base.generate([p.prompt for p in part], _vectors(part), part[0].generation)
        for index, item, completion in zip(indices, part, done, strict=True):
            timings = {**item.timings, "answer": completion.seconds}
            answers[index] = Answer(
                question_id=item.question.id,
                text=completion.text,
                method=method,
                route=item.route,
                prompt_tokens=len(item.prompt.ids),
                knowledge_tokens=item.added_tokens,
                completion_tokens=len(completion.ids),
                timings={**timings, "total": sum(timings.values())},
                background=item.background,
            )
    return [answer for answer in answers if answer is not None]


@torch.no_grad()
def gold_nll(
    base: Base, prepared: Sequence[Prepared], *, batch_size: int = 16, longest: int | None = None
) -> list[float]:
    """Mean -log p (nats a token, end of turn included) of each first gold answer, cut to `longest` tokens."""
    out = [0.0] * len(prepared)
    for indices in _batches(prepared, batch_size):
        part = [prepared[i] for i in indices]
        answers = []
        for item in part:
            room = base.context - len(item.prompt.ids)
            if room < 1:
                raise InputError(
                    f"The prompt of {item.question.id!r} fills the base's context of {base.context} tokens.",
                    "Shorten the question.",
                )
            answers.append(chat.encode_answer(item.question.answers[0], base.tokenizer)[: min(room, longest or room)])
        losses = base.answer_nll([p.prompt for p in part], _vectors(part), answers)
        for index, loss in zip(indices, losses, strict=True):
            out[index] = float(loss.mean())
    return out


def _batches(prepared: Sequence[Prepared], batch_size: int) -> Iterator[list[int]]:
    """Indices of questions that can be computed together, longest prompts first."""
    kinds: dict[tuple[int, GenerationConfig], list[int]] = {}
    for index, item in enumerate(prepared):
        kinds.setdefault((len(item.prompt.slots), item.generation), []).append(index)
    for members in kinds.values():
        members.sort(key=lambda i: -len(prepared[i].prompt.ids))
        for start in range(0, len(members), batch_size):
            yield members[start : start + batch_size]


def _vectors(part: Sequence[Prepared]) -> Tensor | None:
    vectors = [item.vectors for item in part if item.vectors is not None]
    return torch.stack(vectors) if vectors else None
