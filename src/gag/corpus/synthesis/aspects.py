"""What an answer is of its document's subject, as its sentence says: "mean droplet size", "model pathogen".

The forms are those of English definitions: the X of T is A; an X of A; A, an X; the X, A; A serves as the X; X called
A.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gag.corpus.language.clauses import Sentence
from gag.corpus.language.english import is_plural
from gag.corpus.language.english_words import MEASURES, PLURAL_MEASURE
from gag.corpus.language.phrases import (
    Span,
    back_over_adverbs,
    back_to_verb,
    is_definite,
    is_listed,
    kind_after,
    of_phrase,
    phrase_ending_at,
    phrase_from,
    subject_phrase,
)
from gag.corpus.language.quantities import Quantity

_BE = ("is", "was", "are", "were")
_DISTANCE = ("within", "by", "than")
"""Words between a measure and a number that is not its value: `within 1 point`, `by 2 mm`."""
_CALLED = ("called", "named", "termed")


@dataclass(frozen=True)
class Aspect:
    """What the answer is; `ask` is what stands for it in a question; `apposed`: it stands beside its name."""

    text: str
    ask: str = "what"
    apposed: bool = False


def named(sentence: Sentence, first: int, last: int, name: str | None) -> Aspect | None:
    """What the phrase [first, last) is, where its sentence says so."""
    tagged = sentence.words
    start = first - (1 if first and tagged[first - 1].kind == "D" else 0)
    found = (
        _described_after(sentence, last)
        or (None if _is_apposition(sentence, start) else _in_a_role(sentence, last))
        or _described_before(sentence, start, last)
        or _predicate(sentence, (first, last), start, name)
        or _subject(sentence, (first, last))
    )
    if found is None or found.text == name or any(c.isdigit() for c in head_of(found.text)):
        return None  # a word with a digit is a name and no kind: `CD4`
    return Aspect(without_name(found.text, name), found.ask, found.apposed)


def measured(sentence: Sentence, first: int, last: int, quantity: Quantity, name: str | None) -> str | None:
    """What the quantity in words [first, last) is the value of."""
    tagged, before = sentence.words, back_over_adverbs(sentence.words, first)
    after = _measure_after(sentence, last)
    phrase = _bearer(sentence, before) if before >= 0 else None
    if phrase is None or sentence.phrase(*phrase) == name:
        return after
    words, head = _inner(sentence, phrase), tagged[phrase[1] - 1].lower
    if head in MEASURES or head.removesuffix("s") in MEASURES:
        end = of_phrase(sentence, phrase[1], name)
        complement = f" {sentence.phrase(phrase[1], end)}" if end and end < first else ""
        return without_name(words + complement, name)
    if after:
        return f"{after} of the {words}"
    mark = tagged[before]
    dimension = PLURAL_MEASURE.get(quantity.dimension or "")
    borne = mark.lower in ("of", "at") or (mark.kind in "VX" and quantity.dimension == "length")
    return f"{dimension} of the {words}" if dimension and borne else None


def head_of(phrase: str) -> str:
    """The last word of a noun phrase before its complement."""
    return re.split(r" (?:of|for|in|that|which|with|to|by|from|on|at) ", f"{phrase} ")[0].split()[-1]


def without_name(aspect: str, name: str | None) -> str:
    """`aspect` without the subject's own name in it."""
    if name is None:
        return aspect
    for ending in (f" of {name}", f" for {name}", f" in {name}"):
        aspect = aspect.removesuffix(ending)
    return aspect.removeprefix(f"{name} ").removeprefix(f"{name}’s ").removeprefix(f"{name}'s ")


def _bearer(sentence: Sentence, before: int) -> Span | None:
    """The phrase whose value the quantity after word `before` is: the verb's subject, or what stands just before."""
    tagged, mark = sentence.words, sentence.words[before]
    if mark.kind in "VX":
        return subject_phrase(tagged, before)
    if mark.lower in _DISTANCE:
        return None
    if mark.kind == "P":
        verb = back_to_verb(tagged, before)
        return subject_phrase(tagged, verb) if verb is not None else phrase_ending_at(tagged, before)
    if mark.text in ",(=":
        return phrase_ending_at(tagged, before)
    return phrase_ending_at(tagged, before + 1) if mark.kind == "N" else None


def _measure_after(sentence: Sentence, last: int) -> str | None:
    """`in diameter`, `in mean size` after a quantity: the measure."""
    tagged = sentence.words
    if last + 1 < len(tagged) and tagged[last].lower == "in":
        span = phrase_from(tagged, last + 1)
        if span is not None and tagged[span[1] - 1].lower in MEASURES:
            return sentence.phrase(*span)
    return None


def _inner(sentence: Sentence, phrase: Span) -> str:
    """A phrase's text as within a sentence."""
    text, first = sentence.phrase(*phrase), sentence.words[phrase[0]].text
    small = phrase[0] == 0 and first[1:].islower() and is_plural(first)
    return text[:1].lower() + text[1:] if small else text


def _described_after(sentence: Sentence, last: int) -> Aspect | None:
    """`A, the model pathogen of …`."""
    tagged = sentence.words
    if last + 1 < len(tagged) and tagged[last].text == "," and tagged[last + 1].kind == "D":
        kind = kind_after(sentence, last + 1)
        if kind and not is_listed(tagged, last + 1) and not _is_clause(sentence, last + 1):
            span = phrase_from(tagged, last + 2)
            role = _in_a_role(sentence, span[1]) if span is not None else None
            return role or Aspect(kind, f"which {head_of(kind)}")
    return None


def _is_apposition(sentence: Sentence, start: int) -> bool:
    """Whether the phrase at `start` only says what the one before the comma is: `…, a worm used as the model`."""
    tagged = sentence.words
    return start > 0 and tagged[start].lower in ("a", "an") and tagged[start - 1].text == ","


def _is_clause(sentence: Sentence, start: int) -> bool:
    """Whether the phrase after the determiner at `start` is the subject of a verb and no apposition."""
    tagged = sentence.words
    span = phrase_from(tagged, start + 1)
    end = 0 if span is None else of_phrase(sentence, span[1], None) or span[1]
    if not 0 < end < len(tagged) or tagged[end].kind not in "VX":
        return False
    return tagged[end].kind == "X" or end + 1 >= len(tagged) or tagged[end + 1].kind != "P"


def _in_a_role(sentence: Sentence, last: int) -> Aspect | None:
    """`A as the antigen`, `A, which served as the model pathogen`."""
    tagged = sentence.words
    for position in range(last, min(last + 5, len(tagged) - 1)):
        word = tagged[position]
        if word.lower == "as" and tagged[position - 1].text == ",":
            return None
        if word.lower == "as":
            begin = position + (2 if tagged[position + 1].kind == "D" else 1)
            span = phrase_from(tagged, begin)
            return Aspect(sentence.phrase(*span)) if span is not None else None
        if word.kind not in "VXAR" and word.lower not in ("which", "that", "used", ","):
            return None
    return None


def _described_before(sentence: Sentence, start: int, last: int) -> Aspect | None:
    """`its emulsifier, A, …`."""
    tagged = sentence.words
    after = tagged[last] if last < len(tagged) else None
    closed = after is None or after.text in ",.;:)" or after.kind == "C"
    if start >= 2 and tagged[start - 1].text == "," and closed:
        phrase = phrase_ending_at(tagged, start - 1)
        if phrase and is_definite(tagged, phrase):
            return Aspect(sentence.phrase(*phrase), apposed=True)
    return None


def _predicate(sentence: Sentence, answer: Span, start: int, name: str | None) -> Aspect | None:
    """`the partner antigen was A`, `a receptor called A`."""
    tagged = sentence.words
    edge = tagged[start - 1] if start else None
    if edge is None or edge.lower not in (*_BE, *_CALLED):
        return None
    called = edge.lower in _CALLED
    verb = start - 2 if called and start >= 2 and tagged[start - 2].lower in _BE else start - 1
    reduced = called and verb == start - 1
    phrase = phrase_ending_at(tagged, verb) if reduced else subject_phrase(tagged, verb)
    adjective = not called and start == answer[0] and answer[1] - answer[0] == 1 and tagged[answer[0]].text.islower()
    if phrase is None or adjective or not (called or is_definite(tagged, phrase)):
        return None
    end = of_phrase(sentence, phrase[1], name)
    complement = f" {sentence.phrase(phrase[1], end)}" if end and end < start else ""
    return Aspect(sentence.phrase(*phrase) + complement)


def _subject(sentence: Sentence, answer: Span) -> Aspect | None:
    """`A was the cytokine that increased most`."""
    tagged, last = sentence.words, answer[1]
    follows = last + 1 < len(tagged) and tagged[last].lower in _BE and tagged[last + 1].lower in ("the", "its", "our")
    bare = answer[0] == 0 or tagged[answer[0] - 1].kind != "D"
    if not follows or not bare or subject_phrase(tagged, last) != answer:
        return None
    kind = kind_after(sentence, last + 1, relative=True)
    return Aspect(kind) if kind else None
