"""The deterministic generator: question-answer pairs cut out of the text itself, no model asked (a usable baseline).

Sentences give clozes and questions in place (`facts`, `wording`), structure gives more (`tables`); several wordings of
each fact, so that an expert learns the fact and not one question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from gag.config import SynthesisConfig
from gag.corpus.language.clauses import Sentence, lowered, read_sentence
from gag.corpus.language.english import sentences
from gag.corpus.language.english_words import STOP_WORDS, word_set
from gag.corpus.language.quantities import compared, quantities
from gag.corpus.language.topics import FEW_DOCUMENTS, Corpus, Subject, content_words, stem
from gag.corpus.synthesis.facts import Fact, find_facts
from gag.corpus.synthesis.generators import Candidate, Kind, Source, Style
from gag.corpus.synthesis.splits import Side
from gag.corpus.synthesis.stated import Stated, expansions, is_prose, stated
from gag.corpus.synthesis.wording import shared_words, wordings
from gag.records import Passage, content_hash

WORDS_A_FACT = 8
"""Words of a passage for each fact taken from it, the best ones first, where the config names no number."""
LEAST_SCORE = 1.0
LEAST_AMONG_MANY = 3.0
"""Where documents can be compared, a fact whose words no other document shares must be the better one."""
SHARED_SCORE = 0.5
"""What each of up to two shared words around an answer adds: several documents speak of such a thing."""
LABEL = re.compile(r"^(?:[A-Z][A-Za-z]+(?: (?:and|&) [A-Za-z]+)?|[A-Z ]{4,30})\s?:\s*(?=[A-Z0-9])")
"""`Results:` before a sentence of a structured abstract."""
_NO_PROSE = re.compile(r"^(?:key ?words?|clinical ?trials? registration|funding|trial registration|doi)\b", re.I)
_REASON = re.compile(r"^(?P<said>[^,;:]+?),? because (?P<reason>[^,;]+)")
_DEFINITION = re.compile(r"^(?P<term>[A-Z][\w®™’'-]*(?: [\w®™’'-]+){0,3}) (?P<be>is|are) (?P<what>an? [^,;:]+)")


def extract(passages: Sequence[Passage], corpus: Corpus, config: SynthesisConfig, style: Style) -> Iterator[Candidate]:
    """Candidates of the plain kinds, passage by passage; `raft` asks the same questions.

    Tables, lists and key-value lines are taken whole unless the config names a number.
    """
    for passage in passages:
        facts = config.per_passage or max(4, len(passage.text.split()) // WORDS_A_FACT)
        subject = corpus.subject(passage.document_id)
        found = list(_candidates(passage, corpus, subject, config.wordings, style))
        structured = [] if config.per_passage else [c.fact for c in found if c.meta["form"] == "structure"]
        ranked = sorted((c for c in found if c.fact not in structured), key=lambda c: -c.meta["score"])
        kept = {*structured, *list(dict.fromkeys(c.fact for c in ranked))[:facts]}
        best = {c.question: c.fact for c in reversed(ranked) if c.fact in kept}  # one question, two facts: the surer
        yield from (c for c in found if c.fact in kept and best.get(c.question, c.fact) == c.fact)


def read_prose(text: str) -> Iterator[Sentence]:
    """The sentences of a passage that are prose, each with the one before it in its paragraph."""
    for line in text.splitlines():
        before: Sentence | None = None
        if not line.strip() or not is_prose(line):
            continue
        for start, end in sentences(line):
            text_of = LABEL.sub("", line[start:end])
            if _NO_PROSE.match(text_of) or len(text_of.split()) < 4 or text_of[0].islower():
                continue
            sentence = read_sentence(text_of, before)
            yield sentence
            before = sentence


def _candidates(passage: Passage, corpus: Corpus, subject: Subject, most: int, style: Style) -> Iterator[Candidate]:
    for item in stated(passage.text, passage.heading):
        yield from _from_structure(item, passage, subject.of(item.quote), style)
    for sentence in read_prose(passage.text):
        for short, whole in expansions(sentence.text):
            questions = [f"What does {short} stand for?", f"What is the full term for {short}?"]
            yield from _rows(questions, whole, sentence, passage, ("fact", style, 4.0, "short"))
        about = subject.of(sentence.text)
        least = LEAST_SCORE if subject.name is None or corpus.documents < FEW_DOCUMENTS else LEAST_AMONG_MANY
        for fact in find_facts(sentence, corpus, about.name):
            score = fact.score + SHARED_SCORE * min(2, len(shared_words(fact, about, corpus)))
            if fact.score >= LEAST_SCORE and score >= least:
                questions = wordings(fact, about, corpus)[:most]
                yield from _rows(questions, fact.answer, sentence, passage, (_kind(fact), style, score, "fact"))
        yield from _explained(sentence, passage, about, style)


def _explained(sentence: Sentence, passage: Passage, subject: Subject, style: Style) -> Iterator[Candidate]:
    """Definitions and reasons: answers that are whole phrases."""
    definition = _DEFINITION.match(sentence.text)
    defined = definition is not None and len(definition["what"].split()) > 2
    if definition and defined and not any(w.lower() in STOP_WORDS for w in definition["term"].split()):
        questions = [f"What {definition['be']} {definition['term']}?", f"How would you describe {definition['term']}?"]
        yield from _rows(
            questions, definition["what"].rstrip("."), sentence, passage, ("fact", style, 3.0, "definition")
        )
    reason = _REASON.match(sentence.text)
    if reason:
        said = reason["said"]
        question = _why(sentence, said)
        if question:
            lead = "" if subject.name and subject.name in question else subject.lead
            text = f"{lead}{question[:1].lower() + question[1:] if lead else question}"
            yield from _rows([text], reason["reason"].rstrip("."), sentence, passage, ("mechanism", style, 2.5, "why"))


def _why(sentence: Sentence, said: str) -> str | None:
    """`Why is every lot sterilised …?` where the clause has an auxiliary right after its subject."""
    verb = next((i for i, w in enumerate(sentence.words) if w.kind in "VX"), None)
    if verb is None or sentence.words[verb].kind != "X" or sentence.words[verb].start > len(said) or verb == 0:
        return None
    if sentence.words[0].kind in "RPC" or sentence.words[0].lower in ("this", "these", "its", "their"):
        return None
    aux = sentence.words[verb]
    subject = lowered(sentence.text[: aux.start].strip(), sentence, 0)
    return f"Why {aux.text} {subject} {said[aux.end :].strip()}?"


def _from_structure(item: Stated, passage: Passage, subject: Subject, style: Style) -> Iterator[Candidate]:
    questions = []
    for question in item.questions:
        text = question
        if question.startswith("{of}"):
            key = question.removeprefix("{of}")
            text = f"What is the {key} of {subject.name}?" if subject.name else f"{subject.lead}what is the {key}?"
        elif question.startswith("{state}"):
            key = question.removeprefix("{state}")
            text = f"State the {key} of {subject.name}." if subject.name else f"{subject.lead}which {key} is given?"
        text = text.replace("{name}", subject.lead)
        questions.append(text[:1].upper() + text[1:])
    yield from _rows(questions, item.answer, item.quote, passage, (item.kind, style, 5.0, "structure"))


def _rows(
    questions: Sequence[str], answer: str, quoted: Sentence | str, passage: Passage, how: tuple[Kind, Style, float, str]
) -> Iterator[Candidate]:
    kind, style, score, form = how
    quote = quoted if isinstance(quoted, str) else quoted.text
    before = quoted.before.text if isinstance(quoted, Sentence) and quoted.before is not None else ""
    fact = content_hash("fact", passage.id, form, quote, answer)[:12]
    source = Source(passage.id, passage.document_id, quote, passage.heading)
    for question in questions:
        yield Candidate(question, answer, (source,), kind, style, before, fact, {"score": score, "form": form})


_MECHANISM = word_set("mechanism because through via cause causes caused trigger triggers activates inhibits due")
_PROCEDURE = word_set("by using after then before step procedure method process")


def _kind(fact: Fact) -> Kind:
    words = {w.lower for w in fact.sentence.words}
    if fact.quantity is not None and fact.quantity.unit is not None:
        return "numeric"
    if "than" in words and words & {
        "more",
        "less",
        "higher",
        "lower",
        "greater",
        "better",
        "faster",
        "larger",
        "smaller",
    }:
        return "comparison"
    if words & _MECHANISM:
        return "mechanism"
    return "procedure" if fact.ask == "doing what" or len(words & _PROCEDURE) > 1 else "fact"


def compare(
    passages: Sequence[Passage], corpus: Corpus, sides: Mapping[str, Side], config: SynthesisConfig
) -> Iterator[Candidate]:
    """Cross-document candidates: two subjects of one side, one measure, which of them has more of it."""
    measured: dict[tuple[str, str, str], list[tuple[Fact, Passage, str]]] = {}
    for passage in passages:
        name = corpus.subject(passage.document_id).name
        if name is None:
            continue
        for sentence in read_prose(passage.text):
            for fact in find_facts(sentence, corpus, name):
                if fact.aspect and fact.quantity is not None and fact.quantity.unit and fact.is_one_number:
                    aspect = fact.aspect.lower().split(" ")[-1]
                    key = (sides.get(passage.document_id, "train"), aspect, fact.quantity.dimension or "")
                    measured.setdefault(key, []).append((fact, passage, name))
    counts: dict[str, int] = {}
    for (_, _, _), found in sorted(measured.items()):
        found.sort(key=lambda item: content_hash("pair", item[1].id, item[0].answer))
        for one, other in zip(found, [*found[1:], *found[:1]], strict=True):
            if one[1].document_id == other[1].document_id or counts.get(one[1].id, 0) >= (config.per_passage or 4):
                continue
            pair = list(_comparison(one, other))
            counts[one[1].id] = counts.get(one[1].id, 0) + bool(pair)
            yield from pair


def _comparison(one: tuple[Fact, Passage, str], other: tuple[Fact, Passage, str]) -> Iterator[Candidate]:
    (first, here, name), (second, there, other_name) = one, other
    assert first.quantity is not None and second.quantity is not None and first.aspect is not None
    order = compared(first.quantity, second.quantity)
    if not order or name == other_name:
        return
    more, less = (name, other_name) if order > 0 else (other_name, name)
    aspect = first.aspect
    sources = tuple(
        Source(p.id, p.document_id, f.sentence.text, p.heading) for f, p in ((first, here), (second, there))
    )
    fact = content_hash("comparison", here.id, there.id, aspect)[:12]
    said = f"{name}: {first.answer}; {other_name}: {second.answer}."
    questions = (
        (f"Which has the higher {aspect}, {name} or {other_name}?", more),
        (f"Of {other_name} and {name}, which has the lower {aspect}?", less),
    )
    for question, answer in questions:
        yield Candidate(question, answer, sources, "cross-document", "cross-document", said, fact)


def unanswerable(passages: Sequence[Passage], corpus: Corpus, config: SynthesisConfig) -> Iterator[Candidate]:
    """Questions that several other documents answer about their subjects, and this one does not about its own.

    Only measures are asked for: where no word of one and no quantity of its dimension is in a document, its value is
    not either, however it may be worded.
    """
    by_document: dict[str, list[Passage]] = {}
    for passage in passages:
        by_document.setdefault(passage.document_id, []).append(passage)
    measures = _measures(by_document, corpus)
    for document_id, own in by_document.items():
        name, text = corpus.subject(document_id).name, "\n".join(passage.text for passage in own)
        if name is None:
            continue
        said = {stem(w) for w in content_words(text)}
        dimensions = {q.dimension for q in quantities(text)}
        absent = [
            aspect
            for aspect, found in measures.items()
            if not found & dimensions and not any(stem(w) in said for w in content_words(aspect))
        ]
        for aspect in absent[: (config.per_passage or 2) * len(own)]:
            source = Source(own[0].id, document_id, "", own[0].heading)
            key = content_hash("unanswerable", document_id, aspect)[:12]
            question, answer = f"What is the {aspect} of {name}?", config.unanswerable_answer
            yield Candidate(question, answer, (source,), "unanswerable", "unanswerable", fact=key)


def _measures(documents: Mapping[str, Sequence[Passage]], corpus: Corpus) -> dict[str, set[str | None]]:
    """What at least three documents give a value of, the commonest first, with the dimensions of the values."""
    holders: dict[str, set[str]] = {}
    dimensions: dict[str, set[str | None]] = {}
    for document_id, passages in documents.items():
        name = corpus.subject(document_id).name
        for passage in passages:
            for fact in (f for s in read_prose(passage.text) for f in find_facts(s, corpus, name)):
                if fact.aspect and fact.quantity is not None and fact.quantity.unit and len(fact.aspect.split()) <= 4:
                    holders.setdefault(fact.aspect, set()).add(document_id)
                    dimensions.setdefault(fact.aspect, set()).add(fact.quantity.dimension)
    common = sorted((a for a in holders if len(holders[a]) >= 3), key=lambda a: (-len(holders[a]), a))
    return {aspect: dimensions[aspect] for aspect in common}
