"""Questions about a fact in several wordings: by what it is, by its sentence with a question word, by a few words of
that which other documents use too, and with a gap.

Nothing is moved about that could break a sentence: "In cell culture the adjuvant activates which receptor?" Words that
this document alone uses give a fact away without its subject; a question of shared words can be told from those about
other documents by the subject alone, so it teaches whose fact it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gag.corpus.language.clauses import Clause, clause_around, lowered, resolved
from gag.corpus.language.english import Word, is_plural, lemma_of
from gag.corpus.language.topics import FEW_DOCUMENTS, Corpus, Subject, content_words, plain_words, short_title, stem
from gag.corpus.synthesis.aspects import head_of
from gag.corpus.synthesis.facts import Fact

LONGEST_QUESTION = 45
"""Words that a question may have, the title that it names left out."""

GAP = "____"

SHARED_WORDS = 3
"""Words of a question that has no sentence: the subject, and so many shared words around the answer."""


def wordings(fact: Fact, subject: Subject, corpus: Corpus) -> list[str]:
    """Questions whose answer is the fact's, the plainest first; each makes sense without the text."""
    clause = clause_around(fact.sentence, fact.first, fact.last)
    by_aspect = list(_by_aspect(fact, subject))
    by_sentence = [] if fact.apposed or not clause.has_verb else list(_by_sentence(fact, clause, subject))
    by_words = list(_by_shared_words(fact, subject, shared_words(fact, subject, corpus)))
    gapped = list(_with_gap(fact, clause, subject))
    ordered: list[str] = []
    for kind in (
        by_aspect[:1],
        by_sentence[:1],
        by_aspect[1:2],
        by_words[:1],
        by_sentence[1:2],
        by_words[1:],
        gapped,
        by_aspect[2:],
        by_sentence[2:],
    ):
        ordered += kind
    return [
        q for q in dict.fromkeys(ordered) if len(q.split()) <= LONGEST_QUESTION + len((subject.title or "").split())
    ]


def shared_words(fact: Fact, subject: Subject, corpus: Corpus) -> list[str]:
    """Words around the answer that other documents use too, the nearest first; none where documents are few.

    None either in a document that is not about its subject throughout: a few words would fit many of its sentences.
    """
    if subject.name is None or not subject.throughout or corpus.documents < FEW_DOCUMENTS:
        return []
    tagged, taken = fact.sentence.words, {stem(w) for w in plain_words(f"{fact.answer} {fact.ask} {subject.name}")}
    around = [i for i in range(len(tagged)) if not fact.first <= i < fact.last]
    around.sort(key=lambda i: fact.first - i if i < fact.first else i - fact.last + 1)
    found: list[str] = []
    for word in (tagged[i].text for i in around):
        plain = word.isalpha() and len(word) > 2 and bool(content_words(word))
        if plain and stem(word) not in taken and not corpus.is_rare(word):
            found.append(word if word.isupper() else word.lower())
            taken.add(stem(word))
    return found


def _by_shared_words(fact: Fact, subject: Subject, words: list[str]) -> Iterator[str]:
    """`Tobrastine, received, mice, injection: how many micrograms?`, and with one word where that says enough."""
    if len(words) >= 2:
        yield f"{subject.name}, {', '.join(words[:SHARED_WORDS])}: {fact.ask}?"
        if fact.ask != "what":
            yield f"{subject.name}, {words[0]}: {fact.ask}?"


def _by_aspect(fact: Fact, subject: Subject) -> Iterator[str]:
    """`What is the mean droplet size of Quassimer?`"""
    if fact.aspect is None:
        return
    aspect = _tidy(fact.aspect)
    verb = "are" if is_plural(head_of(aspect)) else "is"
    if subject.name is None:
        yield f"{subject.lead}what {verb} the {aspect}?"
        return
    whose, name = " for " if " of " in aspect or "that " in aspect else " of ", subject.name
    if "that " in aspect or "which " in aspect:
        yield f"For {name}, what {verb} the {aspect}?"
        yield f"Name the {aspect} in the case of {name}."
        return
    yield f"What {verb} the {aspect}{whose}{name}?"
    if fact.quantity is not None:
        yield f"What value does the {aspect}{whose}{name} have?"
        yield f"State the {aspect}{whose}{name}."
    else:
        yield f"Which {aspect} is reported for {name}?"
        yield f"Name the {aspect}{whose}{name}."


def _by_sentence(fact: Fact, clause: Clause, subject: Subject) -> Iterator[str]:
    """The clause with a question word where the answer stands; before it the same with the question in front."""
    moved = _moved(fact, clause, subject)
    if moved is not None:
        yield moved
    tagged = fact.sentence.words
    end = _short_end(tagged, fact, clause)
    before = fact.sentence.text[tagged[clause.first].start : tagged[fact.first].start]
    before = _drop_determiner(before)
    after = fact.sentence.text[tagged[fact.last - 1].end : tagged[end - 1].end] if end > fact.last else ""
    if re.fullmatch(r"\s*it (?:is|was) ", before, re.IGNORECASE) and after.startswith(" that "):
        before, after = "", after.removeprefix(" that")
    adverbial = (
        fact.quantity is not None
        and fact.first == clause.first
        and re.match(r" (?:after|before|later|earlier)\b", after)
    )
    if _unresolved(before, fact, subject) or adverbial:
        return
    text = resolved(f"{before}\x00{after}", fact.sentence, subject.name)
    text = lowered(text, fact.sentence, clause.first)
    if len(content_words(text)) < 2:
        return
    opening = re.fullmatch(r"((?:in|on|at|with|from|by|for|after|under|during|to)\s+)\x00,?(\s.+)", text)
    if opening:
        text = f"{opening[2].strip(' .,;')} {opening[1]}\x00"
    yield _asked(text.replace("\x00", fact.ask), subject)


def _with_gap(fact: Fact, clause: Clause, subject: Subject) -> Iterator[str]:
    tagged = fact.sentence.words
    first, last = clause.first, clause.last
    if not clause.has_verb or fact.apposed:
        first, last = 0, len(tagged)
    text = fact.sentence.text
    before = text[tagged[first].start : tagged[fact.first].start]
    after = text[tagged[fact.last - 1].end : tagged[last - 1].end]
    bare = _unresolved(before, fact, subject)
    if bare and subject.name is None:
        return
    filled = resolved(f"{before}\x00{after}", fact.sentence, subject.name).replace("\x00", GAP)
    filled = re.sub(r"[\s,;:.(—]+$", "", filled)
    earlier = fact.sentence.before
    if (
        earlier is not None
        and (bare or fact.aspect is None)
        and len(earlier.words) + len(tagged) <= LONGEST_QUESTION - 8
    ):
        context = resolved(earlier.text, earlier, subject.name)
        filled = f"{context} {filled[:1].upper()}{filled[1:]}"
    elif bare or len(content_words(filled.replace(GAP, ""))) < 3:
        return
    about = subject.name if subject.name is not None else f"“{short_title(subject.title)}”" if subject.title else None
    yield f"Fill in the gap about {about}: {filled}." if about else f"Fill in the gap: {filled}."


def _moved(fact: Fact, clause: Clause, subject: Subject) -> str | None:
    """`At what temperature are vials kept?`, `What does it activate?`; None where the clause is not so simple."""
    tagged = fact.sentence.words
    start = fact.first - (1 if fact.first and tagged[fact.first - 1].kind == "D" else 0)
    verb = next((i for i in range(clause.first, start) if tagged[i].kind in "VX"), None)
    if verb is None or verb == clause.first or start - verb > 4:
        return None
    if (
        any(w.text in ",;:()" or w.kind in "CW" for w in tagged[clause.first : start])
        or tagged[clause.first].kind in "P#A."
    ):
        return None
    said = fact.sentence.text[tagged[clause.first].start : tagged[verb].start].strip()
    who = resolved(f"{said} \x00", fact.sentence, subject.name).replace("\x00", "").strip()
    if re.match(r"(?:it|its|they|their|this|these|he|she)\b", who, re.IGNORECASE):
        return None
    who = lowered(who, fact.sentence, clause.first)
    between = tagged[verb + 1 : start]
    rest = " ".join(w.text for w in between)
    if len(content_words(f"{who} {tagged[verb].text} {rest}")) < 2:
        return None
    if tagged[verb].kind == "X" and between and between[-1].kind == "P" and fact.ask.startswith("what "):
        inner = " ".join(w.text for w in between[:-1])
        return _asked(f"{between[-1].text} {fact.ask} {tagged[verb].text} {who} {inner}", subject)
    if tagged[verb].kind == "X":
        return _asked(f"{fact.ask} {tagged[verb].text} {who} {rest}", subject)
    form = lemma_of(tagged[verb].text)
    if form is None or form[1] == "base":
        return None
    helper = "does" if form[1] == "s" else "did"
    return _asked(f"{fact.ask} {helper} {who} {form[0]} {rest}", subject)


def _asked(text: str, subject: Subject) -> str:
    """`text` as a question that names what it is about."""
    text = re.sub(r"\s+([,.;:?])", r"\1", re.sub(r"\s{2,}", " ", text)).strip(" ,;:.—(")
    if text.count("(") > text.count(")"):
        text = text.replace("(", "", 1)
    if subject.name is not None and subject.name in text:
        return f"{text[:1].upper()}{text[1:]}?"
    lead = subject.lead
    return f"{lead}{text}?" if lead else f"{text[:1].upper()}{text[1:]}?"


def _short_end(tagged: tuple[Word, ...], fact: Fact, clause: Clause) -> int:
    """Where the clause can end after the answer: at a comma, once it has its verb."""
    verb = any(w.kind in "VX" for w in tagged[clause.first : fact.first])
    for position in range(fact.last, clause.last):
        if tagged[position].text in ",;:()—" and verb:
            return position
        verb = verb or tagged[position].kind in "VX"
    return clause.last


def _unresolved(before: str, fact: Fact, subject: Subject) -> bool:
    """Whether the clause opens with a pronoun that stands for something that is not known."""
    opening = re.match(
        r"\s*(it|its|they|their|he|she|these|those|this|that|both|one|some|others?)\b", before, re.IGNORECASE
    )
    if not opening:
        return False
    text = resolved(before + "x", fact.sentence, subject.name)
    return bool(re.match(r"\s*(it|its|they|their|he|she|those|both|one|some|others?)\b", text, re.IGNORECASE))


def _drop_determiner(before: str) -> str:
    """`before` without the article, possessive or adverb that would stand before the question word."""
    before = re.sub(
        r"\b(?:a|an|the|its|our|their|this|these|those|each|some|any|no|every|another)\s+$",
        "",
        before,
        flags=re.IGNORECASE,
    )
    return re.sub(r"\b(?:(?:a|an|the)\s+)?(?:very|more|most|[a-z]{3,}ly)\s+$", "", before)


def _tidy(aspect: str) -> str:
    aspect = re.sub(r"^(?:the|a|an|its|our|their)\s+", "", aspect.strip(), flags=re.IGNORECASE)
    aspect = re.sub(r"\b(?:our|its|this|these|that(?= [a-z]+ (?:of|for)))\b", "the", aspect)
    word = aspect.split(" ", 1)[0]
    small = word[:1].isupper() and word[1:].islower() and len(word) > 1
    return aspect[:1].lower() + aspect[1:] if small else aspect
