"""Which passage answers a question, and which of its words: by name, by quote, by context, and by shared words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from gag.corpus.language.english import sentences
from gag.corpus.language.topics import content_words, stem
from gag.corpus.synthesis.gates import normalised
from gag.raft.citation import find_quote
from gag.records import Passage, Question

Whence = Literal["passage", "quote", "context"]

SUPPORT = 0.2
"""The least share of an answer's words that a sentence must hold to be quoted for it."""
SECOND = 1 / 3
"""The share of an answer's words that a second sentence must add."""
_SHINGLE = 5


@dataclass(frozen=True)
class Oracle:
    """The passage that answers a question, the words of it that do, and how the passage was found."""

    passage: Passage
    quotes: tuple[str, ...]
    by: Whence


class Oracles:
    """Finds the oracle passages of questions among a domain's passages."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = passages
        self._by_id = {passage.id: passage for passage in passages}

    def find(self, question: Question) -> Oracle | str:
        """The oracle of a question, or why there is none.

        In this order: the passage that the question names (`passage`, `passages`, `passage_id`), the one that holds
        its `quote`, `quotes` or `gold_sentences`, the one that is (part of) its `context`. Without a quote of its own,
        the sentences that share most words with the answer are quoted.
        """
        if not question.answers or not question.answers[0].strip():
            return "it has no answer"
        named, quotes = _named(question), _listed(question, "quote", "quotes", "gold_sentences")
        candidates: list[tuple[Passage, Whence]] = [
            (self._by_id[name], "passage") for name in sorted(named & set(self._by_id))
        ]
        if not candidates:
            candidates = [(passage, "quote") for quote in quotes for passage in self._holding(quote)]
        if not candidates:
            candidates = [(p, "context") for text in _listed(question, "context") for p in self._within(text)]
        if not candidates:
            if named:
                return f"its passage {sorted(named)[0]!r} is not among the domain's passages"
            return "no passage of the domain holds its quote or context"
        best = max(((self._quoted(question, quotes, p), p, by) for p, by in candidates), key=lambda found: found[0][0])
        (_, chosen), passage, by = best
        if not chosen:
            return "no sentence of its passage supports its answer"
        return Oracle(passage, chosen, by)

    def holds(self, passage: Passage, oracle: Oracle) -> bool:
        """Whether `passage` says what the oracle is quoted for, so that it is no distractor."""
        text = normalised(passage.text)
        return passage.id == oracle.passage.id or any(normalised(quote) in text for quote in oracle.quotes)

    def _quoted(self, question: Question, quotes: Sequence[str], passage: Passage) -> tuple[float, tuple[str, ...]]:
        """What is quoted of a passage, as it stands there, and how well it supports the answer."""
        spans = [find_quote(quote, passage.text) for quote in quotes]
        given = tuple(passage.text[start:end] for start, end in (span for span in spans if span is not None))
        if given:
            return 1.0 + len(given), given
        return supporting(question, passage.text)

    def _holding(self, quote: str) -> Iterator[Passage]:
        wanted = normalised(quote)
        for index in self._with_words_of(wanted):
            if wanted in self._plain[index]:
                yield self.passages[index]

    def _within(self, context: str) -> Iterator[Passage]:
        """Passages that are part of a context or hold it."""
        whole = normalised(context)
        for index in self._with_words_of(whole):
            if self._plain[index] in whole or whole in self._plain[index]:
                yield self.passages[index]

    @cached_property
    def _plain(self) -> list[str]:
        return [normalised(passage.text) for passage in self.passages]

    @cached_property
    def _shingles(self) -> dict[int, list[int]]:
        """Passages by the hash of every five words in a row."""
        found: dict[int, list[int]] = {}
        for index, text in enumerate(self._plain):
            for shingle in set(_shingles(text)):
                found.setdefault(shingle, []).append(index)
        return found

    def _with_words_of(self, text: str) -> list[int]:
        """Passages that share five words in a row with `text`, all of them where it is shorter than that."""
        shingles = list(_shingles(text))
        if not shingles:
            return list(range(len(self.passages)))
        return sorted({index for shingle in shingles for index in self._shingles.get(shingle, ())})


def supporting(question: Question, text: str) -> tuple[float, tuple[str, ...]]:
    """The sentence of `text` that shares most words with the answer, a second where it adds many, in their order.

    Returned with the share of the answer's words that they hold; none where that is under SUPPORT.
    """
    spans = sentences(text)
    if not spans:
        return 0.0, ()
    wanted, asked = _stems(question.answers[0]), _stems(question.question)
    held = [_stems(text[start:end]) for start, end in spans]
    plain = [f" {normalised(text[start:end])} " for start, end in spans]
    answer = f" {normalised(question.answers[0])} "

    def worth(index: int) -> tuple[bool, float, float]:
        shared = len(wanted & held[index]) / max(1, len(wanted))
        return answer in plain[index], shared, len(asked & held[index]) / max(1, len(asked))

    best = max(range(len(spans)), key=worth)
    whole, share, _ = worth(best)
    if whole:
        return 1.0, (_cut(text, spans[best]),)
    if share < SUPPORT:
        return share, ()
    rest = wanted - held[best]
    second = max(range(len(spans)), key=lambda index: len(rest & held[index]))
    if len(rest & held[second]) < SECOND * len(wanted):
        return share, (_cut(text, spans[best]),)
    both = len(wanted & (held[best] | held[second])) / len(wanted)
    return both, tuple(_cut(text, spans[index]) for index in sorted((best, second)))


def _named(question: Question) -> set[str]:
    return set(_listed(question, "passage", "passages", "passage_id"))


def _listed(question: Question, *fields: str) -> list[str]:
    """The texts in these fields of a question, each a text or a list of texts."""
    found: list[str] = []
    for name in fields:
        value: Any = question.meta.get(name)
        texts: Iterable[Any] = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        found += [text for text in texts if isinstance(text, str) and text.strip()]
    return found


def _stems(text: str) -> set[str]:
    return {stem(word) for word in content_words(text)}


def _cut(text: str, span: tuple[int, int]) -> str:
    return text[span[0] : span[1]]


def _shingles(text: str) -> Iterator[int]:
    words = text.split()
    for start in range(len(words) - _SHINGLE + 1):
        yield hash(tuple(words[start : start + _SHINGLE]))
