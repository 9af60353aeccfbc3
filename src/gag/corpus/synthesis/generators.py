"""What writes questions: a candidate pair and its sources, and the protocol of writers that complete prompts.

A writer takes prompts and gives replies as they come, each with its position; what fails is a `Failure` in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from gag.prompts import Message
from gag.records import content_hash

Style = Literal["plain", "raft", "unanswerable", "cross-document"]
Kind = Literal["fact", "mechanism", "comparison", "procedure", "numeric", "cross-document", "unanswerable"]
KINDS: tuple[Kind, ...] = (
    "fact",
    "mechanism",
    "comparison",
    "procedure",
    "numeric",
    "cross-document",
    "unanswerable",
)


@dataclass(frozen=True)
class Source:
    """Where an answer is from: a passage and the words of it that prove the answer (empty for an unanswerable one)."""

    passage_id: str
    document_id: str
    quote: str
    heading: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A question and its answer before any gate. `fact` is the same for several wordings of one question."""

    question: str
    answer: str
    sources: tuple[Source, ...]
    kind: Kind
    style: Style
    background: str = ""
    fact: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def quote(self) -> str:
        """All quotes, joined."""
        return " … ".join(source.quote for source in self.sources if source.quote)

    @property
    def key(self) -> str:
        """What stands for this pair: a hash of its sources, question and answer."""
        return pair_key([source.passage_id for source in self.sources], self.question, self.answer)


@dataclass(frozen=True)
class Failure:
    """Why a prompt has no reply.

    `of_service`: the whole service, not this prompt, is at fault; `lasting`: the same prompt would fail again.
    """

    reason: str
    of_service: bool = False
    lasting: bool = False


Reply = str | Failure


class Writer(Protocol):
    """Completes prompts."""

    @property
    def name(self) -> str:
        """Which model this is: the same name gives the same reply to the same prompt."""
        ...

    def complete(self, prompts: Sequence[tuple[Message, ...]], max_tokens: int) -> Iterator[tuple[int, Reply]]:
        """Replies with their prompts' positions, in the order in which they come."""
        ...


def pair_key(passage_ids: Sequence[str], question: str, answer: str) -> str:
    """The hash that names a pair of these sources."""
    return content_hash("pair", list(passage_ids), question, answer)[:12]
