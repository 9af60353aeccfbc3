"""From prepared prompts to answers: what every method has in common once it knows its prompt and its vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gag.config import GenerationConfig
from gag.errors import InputError
from gag.models import chat
from gag.models.base import Base, Completion
from gag.models.chat import EncodedPrompt
from gag.prompts import Prompts
from gag.records import Answer, Question, Route


@dataclass(frozen=True)
class Prepared:
    """A question ready for the base.

    `vectors` [slots, d_base] fill the prompt's slots, `added_tokens` counts what was added for the domain's sake
    (slots, or tokens of context), `timings` are the seconds spent so far by part. `passages`, `passage_scores` and
    `dropped_passages` are an Answer's. `completion` is the base's answer where a method had to see it already.
    """

    question: Question
    prompt: EncodedPrompt
    generation: GenerationConfig
    vectors: Tensor | None = None
    added_tokens: int = 0
    route: Route | None = None
    background: str | None = None
    background_probability: float | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    passages: tuple[str, ...] = ()
    passage_scores: tuple[float, ...] = ()
    dropped_passages: int = 0
    completion: Completion | None = None


def injected(
    base: Base, prompts: Prompts, questions: Sequence[Question], vectors: Tensor, generation: GenerationConfig
) -> list[Prepared]:
    """Questions under the domain prompt with `vectors` [questions, slots, d_base] in its slots, wherever they are from.

    Raises InputError where a prompt and its answer do not fit the base's context.
    """
    slots = vectors.shape[1]
    return [
        Prepared(
            question=question,
            prompt=base.encode(prompts.domain(question.question, slots), room=generation.max_new_tokens),
            generation=generation,
            vectors=vector,
            added_tokens=slots,
        )
        for question, vector in zip(questions, vectors, strict=True)
    ]


def complete(base: Base, prepared: Sequence[Prepared], method: str, *, batch_size: int = 32) -> list[Answer]:
    """The base's answers, in order; questions with as many slots and the same limits share batches."""
    done = completions(base, prepared, batch_size=batch_size)
    return [_answer(item, completion, method) for item, completion in zip(prepared, done, strict=True)]


def completions(base: Base, prepared: Sequence[Prepared], *, batch_size: int = 32) -> list[Completion]:
    """What the base writes to each, in order; what was written already is not written again."""
    done = [item.completion for item in prepared]
    todo = [index for index, completion in enumerate(done) if completion is None]
    for members in _batches([prepared[i] for i in todo], batch_size):
        indices = [todo[member] for member in members]
        part = [prepared[i] for i in indices]
        written = base.generate([p.prompt for p in part], _vectors(part), part[0].generation)
        for index, completion in zip(indices, written, strict=True):
            done[index] = completion
    return [completion for completion in done if completion is not None]


def _answer(item: Prepared, completion: Completion, method: str) -> Answer:
    timings = {**item.timings, "answer": completion.seconds}
    return Answer(
        question_id=item.question.id,
        text=completion.text,
        method=method,
        route=item.route,
        prompt_tokens=len(item.prompt.ids),
        knowledge_tokens=item.added_tokens,
        completion_tokens=len(completion.ids),
        timings={**timings, "total": sum(timings.values())},
        background=item.background,
        background_probability=item.background_probability,
        passages=item.passages,
        passage_scores=item.passage_scores,
        dropped_passages=item.dropped_passages,
    )


def gold_nll(
    base: Base, prepared: Sequence[Prepared], *, batch_size: int = 16, longest: int | None = None
) -> list[float]:
    """Mean -log p (nats a token, end of turn included) of each first gold answer, cut to `longest` tokens."""
    answers = []
    for item in prepared:
        room = base.context - len(item.prompt.ids)
        if room < 1:
            raise InputError(
                f"The prompt of {item.question.id!r} fills the base's context of {base.context} tokens.",
                "Shorten the question.",
            )
        answers.append(chat.encode_answer(item.question.answers[0], base.tokenizer)[: min(room, longest or room)])
    return text_nll(base, prepared, answers, batch_size=batch_size)


@torch.no_grad()
def text_nll(
    base: Base, prepared: Sequence[Prepared], texts: Sequence[Sequence[int]], *, batch_size: int = 16
) -> list[float]:
    """Mean -log p (nats a token) of given token ids, at least one a question, as the answers to `prepared`."""
    out = [0.0] * len(prepared)
    for indices in _batches(prepared, batch_size):
        part = [prepared[i] for i in indices]
        losses = base.answer_nll([p.prompt for p in part], _vectors(part), [texts[i] for i in indices])
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
