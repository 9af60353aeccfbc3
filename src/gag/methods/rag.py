"""Method `rag`: the best passages, found by late interaction, as text in the prompt.

It retrieves for every question it is asked, also for one that has nothing to do with the domain, as a system does that
has no router: what that costs general questions is part of what it is compared by.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from gag.answering import Prepared
from gag.config import GenerationConfig
from gag.methods.method import BaseBacked, Method
from gag.models import chat
from gag.models.base import Base
from gag.models.chat import EncodedPrompt
from gag.prompts import Message, Prompts
from gag.records import Answer, Passage, Question, passage_text

if TYPE_CHECKING:
    from gag.methods.shelf import Shelf
    from gag.retrieval.store import Hit


class Searchable(Protocol):
    """What a method needs of a passage store."""

    def search(self, questions: Sequence[str], k: int) -> list[list[Hit]]:
        """The `k` best passages of each question, best first."""
        ...

    def get(self, passage_id: str) -> Passage:
        """The passage of this id."""
        ...

    def vector(self, passage_id: str) -> Tensor:
        """A passage's mean vector [d]."""
        ...


@dataclass(frozen=True)
class Retriever:
    """A store and how many passages a question gets."""

    store: Searchable
    top_k: int

    def find(self, questions: Sequence[Question]) -> tuple[list[list[Hit]], float]:
        """The passages of each question, best first, and the seconds a question took."""
        started = time.perf_counter()
        found = self.store.search([q.question for q in questions], self.top_k)
        return found, (time.perf_counter() - started) / max(1, len(questions))


class RAG:
    """The domain prompt with the retrieved passages where gag has its slots."""

    name = "rag"

    def __init__(self, base: Base, prompts: Prompts, generation: GenerationConfig, retriever: Retriever) -> None:
        self.base, self.prompts, self.generation, self.retriever = base, prompts, generation, retriever

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        """Domain prompts with as many of the passages as fit; added tokens are those of the text that was added."""
        found, seconds = self.retriever.find(questions)
        out = []
        for question, hits in zip(questions, found, strict=True):
            bare = self.base.encode(self._bare(question), room=self.generation.max_new_tokens)
            item = Prepared(question, bare, self.generation, timings={"retrieval": seconds})
            out.append(with_passages(self.base, item, hits, self._asked(question)))
        return out

    def _bare(self, question: Question) -> tuple[Message, ...]:
        """The prompt without a passage."""
        return self.prompts.domain(question.question, 0)

    def _asked(self, question: Question) -> Callable[[str], tuple[Message, ...]]:
        return lambda text: self.prompts.context(question.question, text)


def left_out_passages(answers: Sequence[Answer]) -> str:
    """What to say of passages that did not fit the base's context beside the answer; nothing where all did."""
    short = [answer for answer in answers if answer.dropped_passages]
    if not short:
        return ""
    none = sum(not answer.passages for answer in short)
    said = f"left passages out that do not fit the base's context, for {len(short)} of {len(answers)} questions"
    return said + (f" (for {none} of them every one)" if none else "")


def with_passages(
    base: Base, item: Prepared, hits: Sequence[Hit], prompt: Callable[[str], tuple[Message, ...]]
) -> Prepared:
    """`item` under `prompt` of the passages' text: the best that fit the base's context beside the answer.

    The worst are dropped until the rest fits, and counted; where not even the best one does, the item is as it was.
    """
    kept, encoded = fitting(base, hits, prompt, room=item.generation.max_new_tokens)
    dropped = len(hits) - len(kept)
    if encoded is None:
        return replace(item, dropped_passages=dropped)
    return replace(
        item,
        prompt=encoded,
        added_tokens=item.added_tokens + len(encoded.ids) - len(item.prompt.ids),
        passages=tuple(hit.passage.id for hit in kept),
        passage_scores=tuple(float(hit.score) for hit in kept),
        dropped_passages=dropped,
    )


def fitting(
    base: Base, hits: Sequence[Hit], prompt: Callable[[str], tuple[Message, ...]], *, room: int
) -> tuple[list[Hit], EncodedPrompt | None]:
    """The hits from the best on that fit the context with `room` to spare, and their prompt; None where none does."""
    for count in range(len(hits), 0, -1):
        encoded = chat.encode(prompt("\n\n".join(passage_text(hit.passage) for hit in hits[:count])), base.tokenizer)
        if len(encoded.ids) + room <= base.context:
            return list(hits[:count]), encoded
    return [], None


def from_shelf(shelf: Shelf, domain: str) -> Method:
    """For the shelf."""
    retriever = Retriever(shelf.store(domain), shelf.config(domain).retrieval.top_k)
    return BaseBacked(RAG(shelf.base, shelf.prompts(domain), shelf.chosen_generation(domain), retriever))
