"""Facts that a sentence states, found by its form: an answer in it, and what the answer is the value or name of.

Which words name kinds of things and which name things is told by how many documents hold them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gag.corpus.language.clauses import Sentence
from gag.corpus.language.english import Word, is_plural, noun_phrases
from gag.corpus.language.english_words import PLURAL_MEASURE, word_set
from gag.corpus.language.phrases import of_phrase
from gag.corpus.language.quantities import Quantity, quantities
from gag.corpus.language.topics import Corpus, stem
from gag.corpus.synthesis.aspects import head_of, measured, named

LONGEST_ANSWER = 9
"""Words of an answer taken from the middle of a sentence."""

_ATTACHED = word_set("of under behind beneath between inside until")
_ADJECTIVE_ENDINGS = ("ive", "al", "ous", "ful", "able", "ible", "less", "ary")
_DIMENSIONS = word_set("old long wide high tall thick deep apart later each")
_LABELLED = word_set(
    "group groups table tables figure figures fig figs section sections phase step grade type level stage version"
    " chapter equation eq eqs ref refs reference no page pages cohort arm part class panel case scheme appendix visit"
    " day week lane example box note item question layer chromosome"
)
"""Words that a number after them names one of, and does not count."""
_EARLIER_NUMBERS = re.compile(r"(?:\d++(?:[.·]\d++)?\s?(?:[-–−±,:]|\b(?:to|and|or)\b)\s?(?:(?:and|or)\s)?)++$")
"""Numbers before another one that belong with it: `18-65`, `5, 25 and 100`. Possessive: a long list takes no longer."""
_OF_ANOTHER = re.compile(r"\s?[/:]\s?\d|\s?(?:-fold )?ratio\b|-old\b|\s?(?:CI|CrI|confidence|credible)\b")
"""What follows a number that says nothing alone: `1/4`, `18-year-old`, `95% CI`."""
_CUT_NAME = re.compile(r"\b[A-Z]\.\s*$|[\w)]-$")
"""What stands before a phrase that is the rest of a name: `P. falciparum`, `21-hydroxylase`."""
_BEFORE_DOING = ("by", "through", "on", "via", "for", "is", "was")


@dataclass(frozen=True)
class Fact:
    """The words [first, last) of a sentence as an answer.

    `aspect` says what it is of the document's subject ("mean droplet size", "model pathogen"), `ask` what stands in
    its place in a question ("what", "which receptor", "how many cycles"). `apposed` marks an answer beside what it
    names, which cannot be asked for in place. `score` orders facts by how sure and how specific they are.
    """

    sentence: Sentence
    first: int
    last: int
    ask: str = "what"
    aspect: str | None = None
    quantity: Quantity | None = None
    apposed: bool = False
    score: float = 0.0

    @property
    def answer(self) -> str:
        """The answer as the sentence writes it."""
        return self.sentence.phrase(self.first, self.last)

    @property
    def is_one_number(self) -> bool:
        """Whether the answer holds one number, and no range or list of them."""
        return len(quantities(self.answer)) == 1


def find_facts(sentence: Sentence, corpus: Corpus, name: str | None) -> list[Fact]:
    """The facts of one sentence, the best first; no two share a word."""
    found = [*_quantity_facts(sentence, name), *_phrase_facts(sentence, corpus, name)]
    kept: list[Fact] = []
    for fact in sorted(found, key=lambda f: (-f.score, f.first)):
        if all(fact.last <= other.first or fact.first >= other.last for other in kept):
            kept.append(fact)
    return kept


def _quantity_facts(sentence: Sentence, name: str | None) -> Iterator[Fact]:
    tagged = sentence.words
    for quantity in quantities(sentence.text):
        inside = [i for i, w in enumerate(tagged) if w.start < quantity.end and w.end > quantity.start]
        if not inside:
            continue
        noun = inside[-1] + 1
        first = _from_the_first_number(sentence, quantity, inside[0])
        if _is_label(sentence, first, quantity):
            continue
        if quantity.unit is None and not any(c.isdigit() for c in sentence.phrase(first, noun)):
            continue
        last = noun
        while last < len(tagged) and _counted(tagged[last]) and last - first < LONGEST_ANSWER:
            last += 1
        if noun == last and quantity.dimension in (None, "time"):
            last = of_phrase(sentence, last, name) or last
        ask = _asked_for(quantity, sentence, noun, last)
        aspect = measured(sentence, first, last, quantity, name)
        if aspect is not None and quantity.dimension != "share" and ask.startswith("what "):
            ask = "what" if first and tagged[first - 1].lower == "of" else ask
        if aspect is None and last > noun and tagged[noun].kind == "N" and quantity.dimension in PLURAL_MEASURE:
            aspect = f"{PLURAL_MEASURE[quantity.dimension or '']} of the {sentence.phrase(noun, last)}"
        score = 4.0 + (2.0 if quantity.unit else 0.0) + (2.0 if aspect else 0.0)
        apposed = aspect is not None and first > 0 and tagged[first - 1].text == ","
        yield Fact(sentence, first, last, ask, aspect, quantity, apposed, score)


def _from_the_first_number(sentence: Sentence, quantity: Quantity, first: int) -> int:
    """Where a range or a list of numbers begins that ends in the quantity, whose first word is `first`."""
    before = _EARLIER_NUMBERS.search(sentence.text[: quantity.start])
    if before is None:
        return first
    return next((i for i, w in enumerate(sentence.words) if w.start == before.start()), first)


def _is_label(sentence: Sentence, first: int, quantity: Quantity) -> bool:
    """Whether a number names something (`Group 3`), is part of another (`1/4`) or may be short for millions (`12M`)."""
    text, start = sentence.text, sentence.words[first].start
    before = sentence.words[first - 1].lower if first else ""
    short = len(quantity.written_unit) == 1 and quantity.written_unit.isupper()
    attached = short and text[quantity.end - 2].isdigit()
    part = text[start - 1 : start] in ("§", "/") or _OF_ANOTHER.match(text, quantity.end) is not None
    return attached or part or (quantity.unit is None and before in _LABELLED)


def _counted(word: Word) -> bool:
    """Whether a word after a number is part of what it counts: `cycles`, `gamma irradiation`, and not `old`."""
    return word.kind == "N" and word.lower not in _DIMENSIONS


def _asked_for(quantity: Quantity, sentence: Sentence, noun: int, last: int) -> str:
    """What stands for a quantity in a question; words [noun, last) are what it counts."""
    written = quantity.written_unit.strip()
    if last == noun and len(written) > 4 and written.endswith("s"):
        return f"how many {written}"
    if quantity.dimension == "share":
        return "what percentage"
    if quantity.unit is None:
        return f"how many {sentence.phrase(noun, last)}" if last > noun else "how many"
    if last > noun:
        return "what"
    return (
        "how long" if quantity.dimension == "time" else f"what {PLURAL_MEASURE.get(quantity.dimension or '', 'value')}"
    )


def _phrase_facts(sentence: Sentence, corpus: Corpus, name: str | None) -> Iterator[Fact]:
    tagged = sentence.words
    for first, last in noun_phrases(tagged):
        alone = last - first == 1 and first and tagged[first - 1].text == "("  # an abbreviation of what stands before
        before = sentence.text[: tagged[first].start]
        alone = alone or _CUT_NAME.search(before) is not None
        if alone or any(w.kind == "#" for w in tagged[first:last]) or not _says_something(tagged[first:last], name):
            continue
        for fact in (*_split_by_kind(sentence, first, last, corpus, name), Fact(sentence, first, last)):
            yield _judged(_grown(fact, name), corpus, name)
    yield from (_judged(fact, corpus, name) for fact in _gerund_facts(sentence))


def _judged(fact: Fact, corpus: Corpus, name: str | None) -> Fact:
    """`fact` with what it names, and its score."""
    if fact.aspect is None:
        aspect = named(fact.sentence, fact.first, fact.last, name)
        if aspect is not None and not (corpus.documents >= 5 and corpus.is_rare(head_of(aspect.text))):
            fact = replace(fact, aspect=_common(aspect.text, corpus), ask=aspect.ask, apposed=aspect.apposed)
    answer = [w for w in fact.sentence.words[fact.first : fact.last] if w.kind == "N"]
    rare = sum(corpus.is_rare(w.text) for w in answer)
    if not rare or fact.last - fact.first > LONGEST_ANSWER:
        return replace(fact, score=0.0)
    capital = any(w.text[0].isupper() and w.start for w in answer)
    score = (
        min(rare, 3) + (1.0 if capital else 0.0) + (2.5 if fact.aspect else 0.0) + (0.5 if fact.ask != "what" else 0.0)
    )
    score += 0.5 if fact.ask != "what" and len(answer) > 2 else 0.0  # `left calf muscle` names more than `calm strain`
    if len(answer) == 1 and not capital and not fact.aspect and not _may_be_name(answer[0], corpus):
        score -= 1.0
    return replace(fact, score=score)


def _may_be_name(word: Word, corpus: Corpus) -> bool:
    """Whether one small-lettered word may name a thing: no other document has it, and it is no form of a verb."""
    alone = corpus.documents >= 5 and corpus.frequency.get(stem(word.text), 0) <= 1
    return alone and not is_plural(word.text) and not word.lower.endswith((*_ADJECTIVE_ENDINGS, "ing", "ed", "ly"))


def _common(aspect: str, corpus: Corpus) -> str:
    """`calm strain` as `strain`: without the adjectives that only this document uses."""
    words = aspect.split(" ")
    while (
        corpus.documents >= 5
        and len(words) > 1
        and words[0].islower()
        and corpus.is_rare(words[0])
        and corpus.is_kind(words[1])
    ):
        words = words[1:]
    return " ".join(words)


def _split_by_kind(sentence: Sentence, first: int, last: int, corpus: Corpus, name: str | None) -> Iterator[Fact]:
    """`the emulsifier sorbitan pelvate`, `the Ostrivane receptor`: a kind beside a name, told apart by how common."""
    tagged = sentence.words
    if corpus.documents < 5 or last - first < 2:
        return
    rare = [corpus.is_rare(tagged[i].text) for i in range(first, last)]
    article = first and tagged[first - 1].lower in ("the", "its", "our", "a", "an")
    kind, rest = tagged[first].text, tagged[first + 1 : last]
    adjective = len(rest) == 1 and rest[0].text.islower() and rest[0].text.endswith(_ADJECTIVE_ENDINGS)
    if article and corpus.is_kind(kind) and not is_plural(kind) and all(rare[1:]) and not adjective:
        yield Fact(sentence, first + 1, last, "what", sentence.phrase(first, first + 1), apposed=True)
    if not rare[-1] and any(rare[:-1]) and not (name or "").endswith(tagged[last - 1].text):
        yield Fact(sentence, first, last, f"which {tagged[last - 1].text}")


def _gerund_facts(sentence: Sentence) -> Iterator[Fact]:
    """`by rinsing with warm water`: what is done, as an answer."""
    tagged = sentence.words
    for position in range(1, len(tagged) - 2):
        word, before, following = tagged[position], tagged[position - 1], tagged[position + 1]
        if not (word.lower.endswith("ing") and len(word.text) > 5 and word.kind in "NI"):
            continue
        if before.lower not in _BEFORE_DOING or following.kind not in "PD" or following.lower == "of":
            continue
        ends = (i for i in range(position, len(tagged)) if tagged[i].text in ",;:.()" or tagged[i].kind in "CWXV")
        stop = next(ends, None)
        if stop is not None and 3 <= stop - position <= LONGEST_ANSWER:
            yield Fact(sentence, position, stop, "doing what" if before.lower in ("by", "through") else "what")


def _grown(fact: Fact, name: str | None) -> Fact:
    """`nape` grown to `nape of the neck`."""
    end = of_phrase(fact.sentence, fact.last, name, _ATTACHED)
    return replace(fact, last=end) if end and end - fact.first <= LONGEST_ANSWER else fact


def _says_something(words: Sequence[Word], name: str | None) -> bool:
    text = " ".join(w.text for w in words)
    own = name is not None and (text in name or name in text)
    own = own or words[0].text in ("et", "al")
    return sum(c.isalpha() for c in text) >= 3 and not own and words[0].text not in "%°"
