"""English seen from afar: sentences, words with their places, a rough part of speech for each, noun phrases.

No model and no dictionary of a field: closed word classes, a list of common verbs with their regular and irregular
forms, endings, and what stands beside a word. What is in none of them is taken for a noun or adjective.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from gag.corpus.language.english_words import (
    ADVERBS,
    AUXILIARIES,
    CONJUNCTIONS,
    DETERMINERS,
    IRREGULAR_VERBS,
    NUMBER_WORDS,
    PREPOSITIONS,
    PRONOUNS,
    RELATIVES,
    SIGNS,
    VERBS,
    word_set,
)

_TOKEN = re.compile(
    r"\d+(?:[.,\u202f\u2009]\d+)*(?:[A-Za-zµμ%°][\w%°/-]*)?%?"
    r"|[^\W\d_](?:[\w'’™®/+.-]*[\w™®+])?"
    r"|[%°±~<>=≤≥−–—]"
    r"|\S"
)
_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z0-9À-ÞΑ-Ω])|(?<=[.!?])(?=[A-Z][a-z]{3,12}\s?:)|\n+")
_NO_END = re.compile(
    r"(?:\b(?:e\.g|i\.e|et al|cf|vs|approx|ca|Fig|Figs|Eq|No|Nos|Dr|Prof|St|Mr|Mrs|Ref|Refs|Inc|sp|spp|var|resp|Vol|pp)"
    r"|\b[A-Z])\.$"
)


@dataclass(frozen=True)
class Word:
    """A word of a sentence: its text, where it stands, and its class.

    `kind`: D determiner, P preposition, C conjunction, W relative or question word, R pronoun, A adverb, X auxiliary,
    V verb (participles in their verbal use too), I gerund with an object, T to of an infinitive, # number, N noun or
    adjective, `.` anything else.
    """

    text: str
    start: int
    end: int
    kind: str = "N"

    @property
    def lower(self) -> str:
        """The text in lower case."""
        return self.text.lower()


def sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of `text` begin and end; a line break ends one too."""
    found, start = [], 0
    for match in _END.finditer(text):
        if "\n" not in match[0] and _NO_END.search(text[start : match.start()]):
            continue
        found.append((start, match.start()))
        start = match.end()
    found.append((start, len(text)))
    trimmed = ((s + len(text[s:e]) - len(text[s:e].lstrip()), s + len(text[s:e].rstrip())) for s, e in found)
    return [(s, e) for s, e in trimmed if e > s]


def words(sentence: str) -> list[Word]:
    """The words of a sentence with their classes."""
    plain = [Word(match[0], match.start(), match.end()) for match in _TOKEN.finditer(sentence)]
    tagged: list[Word] = []
    for position, word in enumerate(plain):
        kind = _kind(plain, position, tagged)
        tagged.append(Word(word.text, word.start, word.end, kind))
    return tagged


def noun_phrases(tagged: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """Runs of nouns, adjectives and numbers as [first, last) word positions, without their determiner."""
    start = None
    for position, word in enumerate(tagged):
        if word.kind in "N#":
            start = position if start is None else start
            continue
        if start is not None:
            yield start, position
        start = None
    if start is not None:
        yield start, len(tagged)


@cache
def verb_forms() -> dict[str, dict[str, str]]:
    """Form -> {base | s | ed | en | ing: lemma} of every known verb."""
    forms: dict[str, dict[str, str]] = {}

    def add(form: str, role: str, lemma: str) -> None:
        forms.setdefault(form, {}).setdefault(role, lemma)

    for lemma in VERBS:
        add(lemma, "base", lemma)
        add(_with_s(lemma), "s", lemma)
        past, participle = IRREGULAR_VERBS.get(lemma, (None, None))
        for regular in _with_ed(lemma):
            add(past or regular, "ed", lemma)
            add(participle or past or regular, "en", lemma)
        for form in _with_ing(lemma):
            add(form, "ing", lemma)
    return forms


def lemma_of(word: str) -> tuple[str, str] | None:
    """The verb's lemma and its form (s, ed or base), for a finite verb that is known; else None."""
    roles = verb_forms().get(word.lower(), {})
    for role in ("s", "ed", "base"):
        if role in roles:
            return roles[role], role
    return None


def is_plural(word: str) -> bool:
    """Whether a noun looks like a plural."""
    lower = word.lower()
    return lower in _PLURALS or (
        len(lower) > 3 and lower.endswith("s") and not lower.endswith(("ss", "us", "is", "as", "os", "sis"))
    )


_PLURALS = {"mice", "data", "people", "children", "men", "women", "feet", "teeth", "bacteria", "criteria", "phenomena"}


def _kind(plain: Sequence[Word], position: int, before: Sequence[Word]) -> str:
    word = plain[position]
    lower = word.lower
    if lower[0].isdigit() or lower in NUMBER_WORDS or (lower in SIGNS and _digit_follows(plain, position)):
        return "#"
    if not (lower[0].isalpha()):
        return "N" if lower in ("%", "°") else "."
    if lower == "to":
        following = plain[position + 1].lower if position + 1 < len(plain) else ""
        return "T" if "base" in verb_forms().get(following, {}) else "P"
    if (lower == "longer" and before and before[-1].lower == "no") or (
        lower == "no" and _is(plain, position + 1, "longer")
    ):
        return "A"
    if lower in ("called", "named", "termed") and before and before[-1].kind == "N":
        return "V"
    if lower == "that":
        return "W" if before and before[-1].kind in "NVXA" else "D"
    for kind, known in _CLOSED:
        if lower in known:
            return kind
    named = word.text[0].isupper() and position > 0 and before[-1].kind != "."
    if named or any(c.isupper() for c in word.text[1:]):
        return "N"
    if lower.endswith("ly") and len(lower) > 4 and lower not in _NOT_ADVERBS:
        modified = plain[position + 1].lower if position + 1 < len(plain) else ""
        noun = before and before[-1].kind == "P" and _rough(plain, position + 1) == "N" and not modified.endswith("ed")
        return "N" if noun else "A"
    return _open_class(plain, position, before)


_CLOSED = (
    ("X", AUXILIARIES),
    ("D", DETERMINERS),
    ("R", PRONOUNS),
    ("W", RELATIVES),
    ("C", CONJUNCTIONS),
    ("P", PREPOSITIONS),
    ("A", ADVERBS),
)
_OPENING = frozenset({"before", "after", "until", "as", "that"})
_NOT_ADVERBS = word_set("family assembly supply anomaly reply monopoly early daily weekly monthly yearly costly")


def _open_class(plain: Sequence[Word], position: int, before: Sequence[Word]) -> str:
    """Verb or noun, by the word's form and its neighbours."""
    lower = plain[position].lower
    roles = set(verb_forms().get(lower, {}))
    if "-" in lower:
        return "N"
    if not roles and lower.endswith("ed") and len(lower) > 4:
        roles = {"ed", "en"}
    if not roles and lower.endswith("ing") and len(lower) > 5:
        roles = {"ing"}
    if not roles:
        return "N"
    previous = next((w.kind for w in reversed(before) if w.kind != "A"), "^")
    following = _rough(plain, position + 1)
    if "ing" in roles:
        return "I" if (previous != "D" and following in "DR#") or previous == "X" else "N"
    if previous == "X":
        predicate = (
            {"ed", "en"} & roles and following == "N" and before[-1].lower in _BE and not _DITRANSITIVE & _lemmas(lower)
        )
        return "N" if predicate else "V"
    if previous in "DP#" or (previous == "N" and before[-1].kind == "N" and before[-1].lower.endswith("ly")):
        return "N"
    if "ed" in roles or "en" in roles:
        if following in "DPARTW.$#" and previous in "NRW":
            return "V"
        if following in "PT" and previous in ".C" and _has_verb_anywhere(before):
            return "V"
        return "V" if following in "NR" and (previous == "R" or not _has_verb(before)) and previous in "NRW" else "N"
    if previous == "T":
        return "V"
    if "s" in roles and (previous in "RW" or (previous == "C" and following == "D")):
        return "V"
    if "s" in roles:
        verbal = previous in "NRW" and following in "DPART#NWI.$" and not _has_verb(before)
        another = _is_past(plain, position + 1) or (following in "P.$" and _nounlike(plain, position))
        return "V" if verbal and not another else "N"
    if previous == "R" or (previous == "W" and before[-1].kind == "W"):
        return "V"
    if previous == "N" and following in "DPRW#" and is_plural(before[-1].text) and not _has_verb(before):
        return "V"
    if previous == "^" and following in "DN" and position == 0 and lower in _IMPERATIVES:
        return "V"
    return "N"


_BE = word_set("is are was were be been")
_DITRANSITIVE = word_set("give call name make consider keep offer grant find render leave set put show turn")
_IMPERATIVES = word_set("handle use add mix heat cool store keep take remove place put make check stir")


def _lemmas(form: str) -> set[str]:
    return set(verb_forms().get(form, {}).values())


def _is_past(plain: Sequence[Word], position: int) -> bool:
    """Whether a word can only be a past form."""
    roles = verb_forms().get(plain[position].lower, {}) if position < len(plain) else {}
    return "ed" in roles and "base" not in roles


def _is(plain: Sequence[Word], position: int, word: str) -> bool:
    return position < len(plain) and plain[position].lower == word


def _digit_follows(plain: Sequence[Word], position: int) -> bool:
    return position + 1 < len(plain) and plain[position + 1].text[0].isdigit()


def _nounlike(plain: Sequence[Word], position: int) -> bool:
    """Whether a later word could be the clause's verb, so that this one need not be."""
    for word in plain[position + 1 :]:
        if word.text in ",;:." or word.lower in RELATIVES or word.lower in CONJUNCTIONS or word.lower in _OPENING:
            return False
        roles = set(verb_forms().get(word.lower, {}))
        if word.lower in AUXILIARIES or ({"s", "ed"} & roles and "base" not in roles):
            return True
    return False


def _rough(plain: Sequence[Word], position: int) -> str:
    """The class of the next word as far as it can be known before it is tagged; `$` at the end."""
    if position >= len(plain):
        return "$"
    lower = plain[position].lower
    if lower[0].isdigit() or lower in NUMBER_WORDS:
        return "#"
    if not lower[0].isalpha():
        return "."
    if lower == "to":
        return "T"
    if lower == "that":
        return "W"
    for kind, known in _CLOSED:
        if lower in known:
            return kind
    return "A" if lower.endswith("ly") and lower not in _NOT_ADVERBS else "N"


def _has_verb(before: Sequence[Word]) -> bool:
    """Whether the clause so far has its verb."""
    for word in reversed(before):
        if word.kind in "CW" or word.text in ",;:" or word.lower in _OPENING:
            return False
        if word.kind in "VX":
            return True
    return False


def _has_verb_anywhere(before: Sequence[Word]) -> bool:
    return any(word.kind in "VX" for word in before)


def _with_s(lemma: str) -> str:
    if lemma.endswith("y") and lemma[-2] not in "aeiou":
        return lemma[:-1] + "ies"
    return lemma + ("es" if lemma.endswith(("s", "x", "z", "ch", "sh", "o")) else "s")


def _with_ed(lemma: str) -> list[str]:
    if lemma.endswith("e"):
        return [lemma + "d"]
    if lemma.endswith("y") and lemma[-2] not in "aeiou":
        return [lemma[:-1] + "ied"]
    return [lemma + "ed", *([lemma + lemma[-1] + "ed"] if _doubles(lemma) else [])]


def _with_ing(lemma: str) -> list[str]:
    if lemma.endswith("ie"):
        return [lemma[:-2] + "ying"]
    stem = lemma[:-1] if lemma.endswith("e") and not lemma.endswith("ee") else lemma
    return [stem + "ing", *([lemma + lemma[-1] + "ing"] if _doubles(lemma) else [])]


def _doubles(lemma: str) -> bool:
    return (
        len(lemma) > 2
        and lemma[-1] not in "aeiouwxy"
        and lemma[-2] in "aeiou"
        and lemma[-3] not in "aeiou"
        and len(lemma) < 8
    )
