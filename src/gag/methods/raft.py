"""Method `raft` (arXiv 2403.10131): a copy of the base, tuned to answer from retrieved passages and to quote them.

It writes a reason with quotes, then the answer. The answer is what comes after the answer's mark; every quote is looked
for in the passages that were given, and is a citation with a place only where it stands there word for word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gag.answering import Prepared, complete
from gag.methods.lora import TunedRAG, tuned_copy
from gag.methods.rag import Retriever
from gag.models.tuned_copy import TunedCopy
from gag.prompts import Message
from gag.raft.citation import cite, cited_prompt, read_written
from gag.records import Answer, Passage, Question

if TYPE_CHECKING:
    from gag.methods.shelf import Shelf


class Quoting(TunedRAG):
    """The passages under the prompt that RAFT trains on."""

    name = "raft"

    def _bare(self, question: Question) -> tuple[Message, ...]:
        return cited_prompt(question.question, "")

    def _asked(self, question: Question) -> Callable[[str], tuple[Message, ...]]:
        return lambda text: cited_prompt(question.question, text)


class RAFT:
    """A Method: what `quoting` prepares, answered by the tuned copy, and taken apart.

    It gives no likelihoods of gold answers: these would have to stand behind a reason.
    """

    name = "raft"

    def __init__(self, quoting: Quoting, passages: Callable[[str], Passage], *, batch_size: int = 16) -> None:
        self.quoting, self.batch_size = quoting, batch_size
        self._passage = passages

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question, in order: the text after the answer's mark, the reason as its background."""
        prepared = self.quoting.prepare(questions)
        said = complete(self.quoting.base, prepared, self.name, batch_size=self.batch_size)
        return [self._read(answer, item) for answer, item in zip(said, prepared, strict=True)]

    def _read(self, answer: Answer, item: Prepared) -> Answer:
        read = read_written(answer.text)
        given = [self._passage(name) for name in item.passages]
        return replace(answer, text=read.answer, background=read.reason, citations=cite(read.quotes, given))


def from_shelf(shelf: Shelf, domain: str) -> RAFT:
    """For the shelf: examples are made and the adapter trained where that is not done yet."""
    from gag.methods.raft_training import trained_raft

    copy = tuned_copy(shelf, trained_raft(shelf, domain).adapter, f"raft-{domain}")
    retriever = Retriever(shelf.store(domain), shelf.config(domain).retrieval.top_k)
    return over(shelf, domain, copy, retriever)


def over(shelf: Shelf, domain: str, copy: TunedCopy, retriever: Retriever) -> RAFT:
    """The method of a tuned copy over any retriever."""
    limit = shelf.config(domain).raft.max_new_tokens
    generation = shelf.chosen_generation(domain).model_copy(update={"max_new_tokens": limit})
    return RAFT(Quoting(copy, shelf.prompts(domain), generation, retriever), retriever.store.get)
