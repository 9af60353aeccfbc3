"""Clauses: which part of a sentence stands on its own around an answer, and what its pronouns stand for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from gag.corpus.language.english import Word, is_plural, noun_phrases, words
from gag.corpus.language.english_words import word_set

_BREAKS = frozenset(";:()—[]")
_SUBORDINATE = word_set(
    "because although though while whereas since unless if when whenever where once so but provided until as"
)
_COORDINATE = frozenset({"and", "but", "so", "yet", "or", "nor"})
_EXPLETIVE = re.compile(
    r"^(?:with|in|for|from|by|of|at|on|to) (?:it|them|this|these),\s+"
    r"|^(?:it|we|the (?:authors|researchers))\s+(?:\w+\s+){0,3}?(?:that)\s+"
    r"|^it (?:was|is|has been) (?:\w+ )?(?:found|shown|known|believed|reported|observed|certain|clear|likely) that\s+",
    re.IGNORECASE,
)
_FIRST_PERSON = (
    (r"\bour own\b", "the"),
    (r"\bour\b", "the"),
    (r"\bus\b", "the researchers"),
    (r"\bwe\b", "the researchers"),
)


@dataclass(frozen=True)
class Sentence:
    """A sentence of a passage: its exact text, its words, and the sentence before it in the same paragraph."""

    text: str
    words: tuple[Word, ...]
    before: Sentence | None = None

    def phrase(self, first: int, last: int) -> str:
        """The text of the words [first, last)."""
        return self.text[self.words[first].start : self.words[last - 1].end]


@dataclass(frozen=True)
class Clause:
    """The words [first, last) of a sentence that can stand alone, without the conjunction that opens them."""

    sentence: Sentence
    first: int
    last: int

    @property
    def has_verb(self) -> bool:
        """Whether it says something of something."""
        return any(word.kind in "VX" for word in self.sentence.words[self.first : self.last])


def read_sentence(text: str, before: Sentence | None = None) -> Sentence:
    """`text` with its words classed."""
    return Sentence(text, tuple(words(text)), before)


def clause_around(sentence: Sentence, first: int, last: int) -> Clause:
    """The clause that holds the words [first, last); the whole sentence where the parts do not stand alone."""
    segments = _segments(sentence.words)
    index = next((i for i, (s, e) in enumerate(segments) if s <= first < e), 0)
    begin, end = segments[index]
    while end < last and index + 1 < len(segments):
        index += 1
        end = segments[index][1]
    begin = _after_opening(sentence.words, begin, first)
    opening = sentence.words[begin]
    if (opening.kind in "W" or opening.kind in "VX" or not _verb(sentence.words[begin:end])) and begin > 0:
        earlier = [s for s in segments if s[0] < begin]
        begin = earlier[-1][0] if earlier else 0
        begin = _after_opening(sentence.words, begin, first)
        if sentence.words[begin].kind in "W" or not _verb(sentence.words[begin:end]):
            begin = 0
    return Clause(sentence, begin, end)


def subject_of_sentence(sentence: Sentence) -> str | None:
    """The first noun phrase before the verb, with its determiner."""
    verb = next((i for i, w in enumerate(sentence.words) if w.kind in "VX"), None)
    if verb is None:
        return None
    for first, last in noun_phrases(sentence.words[:verb]):
        if first == 0 or sentence.words[first - 1].kind == "D":
            return sentence.phrase(max(0, first - (1 if first else 0)), last)
    return None


def resolved(text: str, sentence: Sentence, name: str | None) -> str:
    """A clause's text with its opening pronoun and its first persons replaced by what they stand for, where known."""
    text = _EXPLETIVE.sub("", text)
    for pattern, instead in _FIRST_PERSON:
        text = re.sub(pattern, instead, text, flags=re.IGNORECASE)
    text = re.sub(r"^(?:This|That|These|Those|Such) (?=[a-z])", "the ", text)
    text = re.sub(
        r"\b(this|these|those|such) (?=(?!(?:are|were|was|can|may|has|had|have|will|the|could|must)\b)[a-z]{3,})",
        "the ",
        text,
    )
    opening = re.match(r"(Its|Their|It|They)\b\s*", text)
    if not opening:
        return text
    antecedent = _antecedent(opening[1], sentence, name)
    if antecedent is None:
        return text
    rest = text[opening.end() :]
    if opening[1] in ("Its", "Their"):
        return f"{antecedent}{'’' if antecedent.endswith('s') else '’s'} {rest}"
    return f"{antecedent} {rest}"


def lowered(text: str, sentence: Sentence, first: int) -> str:
    """`text` as the middle of a sentence: its first letter small, unless it begins with a name."""
    opening = sentence.words[0]
    if first or not text.startswith(opening.text) or not opening.text[:1].isupper():
        return text
    plain = opening.kind in "DPRACWXIV" or opening.lower in _PLAIN_STARTS or is_plural(opening.text)
    if not plain or any(c.isupper() or c.isdigit() for c in opening.text[1:]):
        return text
    return text[:1].lower() + text[1:]


_PLAIN_STARTS = word_set("mice animals patients vials droplets crystals cells results data users")


def _antecedent(pronoun: str, sentence: Sentence, name: str | None) -> str | None:
    before = sentence.before
    if pronoun in ("Its", "It"):
        subject = subject_of_sentence(before) if before is not None else None
        if name is not None and (before is None or name in before.text or subject is None or _is_pronoun(subject)):
            return name
        if subject is not None and not is_plural(subject.split()[-1]) and not _is_pronoun(subject):
            return _inner(subject)
        return name
    subject = subject_of_sentence(before) if before is not None else None
    return _inner(subject) if subject is not None and is_plural(subject.split()[-1]) else None


def _is_pronoun(text: str) -> bool:
    return text.lower() in ("it", "they", "this", "that", "its", "one")


def _inner(phrase: str) -> str:
    """A phrase as what was spoken of before: with the definite article."""
    return re.sub(r"^(?:A|An|Its|Their|This|These|Our|The)\s", "the ", phrase)


def _segments(tagged: Sequence[Word]) -> list[tuple[int, int]]:
    """Where the clauses begin and end, as word positions."""
    cuts = [0]
    for position, word in enumerate(tagged):
        if word.text in _BREAKS:
            cuts.append(position + 1)
        elif word.text == "," and position + 1 < len(tagged):
            following = tagged[position + 1]
            rest = tagged[position + 1 : _next_break(tagged, position + 1)]
            opens = following.kind in "CW" or (following.kind == "P" and _opens_relative(tagged, position + 1))
            begun = tagged[cuts[-1]]
            whole = _verb(tagged[cuts[-1] : position]) or (begun.kind == "C" and begun.lower in _SUBORDINATE)
            if _verb(rest) and (opens or (whole and _subject_then_verb(rest))):
                cuts.append(position + 1)
        elif word.lower in _SUBORDINATE and word.kind == "C" and position:
            rest = tagged[position + 1 : _next_break(tagged, position + 1)]
            if _verb(rest) and _verb(tagged[cuts[-1] : position]):
                cuts.append(position)
    cuts.append(len(tagged))
    return [(s, e) for s, e in itertools.pairwise(cuts) if e > s]


def _opens_relative(tagged: Sequence[Word], position: int) -> bool:
    return position + 1 < len(tagged) and tagged[position + 1].kind == "W"


def _subject_then_verb(part: Sequence[Word]) -> bool:
    """Whether a part after a comma is a clause of its own: it begins with a noun phrase that a verb follows."""
    for position, word in enumerate(part[:10]):
        if word.kind in "VX":
            reduced = word.kind == "V" and part[0].lower in ("a", "an") and part[position + 1 : position + 2]
            return position > 0 and not (reduced and part[position + 1].kind == "P")
        if word.kind not in "DNR#AP" or (position == 0 and word.kind == "P"):
            return False
    return False


def _next_break(tagged: Sequence[Word], start: int) -> int:
    for position in range(start, len(tagged)):
        if tagged[position].text in _BREAKS or tagged[position].text in ",.":
            return position
    return len(tagged)


def _after_opening(tagged: Sequence[Word], begin: int, limit: int) -> int:
    while begin < limit and (
        tagged[begin].text == "," or (tagged[begin].kind == "C" and tagged[begin].lower in _SUBORDINATE | _COORDINATE)
    ):
        begin += 1
    return begin


def _verb(part: Sequence[Word]) -> bool:
    return any(word.kind in "VX" for word in part)
