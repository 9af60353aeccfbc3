"""Phrases around a place in a sentence: what ends there, what follows, what the verb says it of.

All positions are of words; a phrase is [first, last).
"""

from __future__ import annotations

from collections.abc import Sequence

from gag.corpus.language.clauses import Sentence
from gag.corpus.language.english import Word, noun_phrases
from gag.corpus.language.english_words import word_set

Span = tuple[int, int]

_ABOUT = word_set("about approximately around nearly almost over under than more less least most no a an some up mere")
_PARTICLES = word_set("off up out on")


def of_phrase(sentence: Sentence, start: int, name: str | None, marks: frozenset[str] = frozenset({"of"})) -> int:
    """Where the phrase `of …` that begins at `start` ends; 0 where there is none, or it only says whose."""
    tagged = sentence.words
    if start + 1 >= len(tagged) or tagged[start].lower not in marks:
        return 0
    begin = start + 1
    if tagged[begin].kind == "D":
        begin += 1
    span = phrase_from(tagged, begin)
    if span is None or (name is not None and name in sentence.phrase(*span)):
        return 0
    return span[1]


def phrase_from(tagged: Sequence[Word], begin: int) -> Span | None:
    """The noun phrase that begins at `begin`."""
    for first, last in noun_phrases(tagged[begin:]):
        return (begin, begin + last) if first == 0 else None
    return None


def phrase_ending_at(tagged: Sequence[Word], end: int) -> Span | None:
    """The noun phrase whose last word is just before `end`."""
    first = end
    while first and tagged[first - 1].kind == "N":
        first -= 1
    return (first, end) if first < end else None


def subject_phrase(tagged: Sequence[Word], verb: int) -> Span | None:
    """The head noun phrase of the verb's subject: the first one of the clause that no preposition introduces."""
    start = verb
    while start and not (tagged[start - 1].kind in "CW" or tagged[start - 1].text in ",;:(—"):
        start -= 1
    for first, last in noun_phrases(tagged[start:verb]):
        at = start + first
        edge = at - 1 if at > start and tagged[at - 1].kind == "D" else at
        if edge == start or tagged[edge - 1].kind != "P":
            return at, start + last
    return None


def kind_after(sentence: Sentence, start: int, *, relative: bool = False) -> str | None:
    """The noun phrase after the determiner at `start`, with its complement, or with its relative clause if short."""
    tagged = sentence.words
    span = phrase_from(tagged, start + 1)
    if span is None:
        return None
    last = span[1]
    if relative:
        stop = next((i for i in range(last, len(tagged)) if tagged[i].text in ",;:.()"), len(tagged))
        last = stop if stop - last <= 8 else last
    else:
        last = of_phrase(sentence, last, None) or last
    return sentence.phrase(start + 1, last)


def is_definite(tagged: Sequence[Word], phrase: Span) -> bool:
    """Whether an article or possessive, or `as`, stands before the phrase."""
    before = tagged[phrase[0] - 1] if phrase[0] else None
    return before is not None and before.lower in ("the", "its", "our", "their", "as", "a", "an")


def back_over_adverbs(tagged: Sequence[Word], position: int) -> int:
    """The last word before `position` that says more than about, only, no more than, a mere; -1 for none."""
    i = position - 1
    while i >= 0 and (tagged[i].kind == "A" or tagged[i].lower in _ABOUT):
        i -= 1
    return i


def back_to_verb(tagged: Sequence[Word], preposition: int) -> int | None:
    """The verb just before a preposition, over adverbs and a particle."""
    i = preposition - 1
    while i >= 0 and (tagged[i].kind == "A" or (tagged[i].kind == "P" and tagged[i].lower in _PARTICLES)):
        i -= 1
    return i if i >= 0 and tagged[i].kind in "VX" else None


def is_listed(tagged: Sequence[Word], start: int) -> bool:
    """Whether what begins at `start` goes on as a list (`the B, and the C`) and is no apposition."""
    for position, word in enumerate(tagged[start:], start):
        if word.text in ",;:.(" or word.kind in "VXW":
            after = tagged[position + 1 : position + 8]
            return bool(after) and after[0].lower in ("and", "or") and not any(w.kind in "VXI" for w in after)
        if word.lower in ("and", "or"):
            return True
    return False
