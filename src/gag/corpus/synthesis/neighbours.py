"""Which passages speak of the same things: partners for cross-document questions, distractors for RAFT."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from gag.corpus.language.topics import content_words, stem
from gag.corpus.synthesis.splits import Side
from gag.records import Passage

WIDEST = 200
"""A word in more passages than this says little of any, and is left out."""


def neighbours(passages: Sequence[Passage], sides: Mapping[str, Side], count: int) -> dict[str, list[Passage]]:
    """For every passage up to `count` others of other documents on its side, the likest first (shared words by idf)."""
    words = [{stem(w) for w in content_words(p.text)} for p in passages]
    holders: dict[str, list[int]] = {}
    for index, present in enumerate(words):
        for word in present:
            holders.setdefault(word, []).append(index)
    found: dict[str, list[Passage]] = {}
    for index, passage in enumerate(passages):
        scores: Counter[int] = Counter()
        for word in words[index]:
            others = holders[word]
            if 1 < len(others) <= WIDEST:
                for other in others:
                    scores[other] += math.log(1 + len(passages) / len(others))  # type: ignore[assignment]
        ranked = sorted(scores, key=lambda o: (-scores[o] / math.sqrt(len(words[o]) + 1), o))
        fitting = (passages[o] for o in ranked if _fits(passage, passages[o], sides))
        found[passage.id] = [p for p, _ in zip(fitting, range(count), strict=False)]
    return found


def _fits(one: Passage, other: Passage, sides: Mapping[str, Side]) -> bool:
    return other.document_id != one.document_id and sides.get(other.document_id) == sides.get(one.document_id)
