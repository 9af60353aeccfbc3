"""The gates between a candidate and the training set; each says why it refuses, and each refusal is counted.

In order: form, quote, self-contained, numbers, duplicate, answerable. The last one is a second pass: the writer answers
from the quote alone; where no model writes, the question's words are looked for in the quote.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from gag.corpus.language.english_words import word_set
from gag.corpus.language.quantities import missing_quantities, occurs, quantities
from gag.corpus.language.topics import Corpus, content_words, plain_words, stem
from gag.corpus.synthesis.generators import Candidate
from gag.corpus.synthesis.instructions import says_not_stated
from gag.errors import MissingExtra
from gag.records import Passage

GATES = ("form", "quote", "self-contained", "numbers", "duplicate", "answerable")
LONGEST_ANSWER, LONGEST_QUESTION = 120, 90
"""Words that an answer and a question may have."""

_SOURCE_WORDS = (
    "study|paper|passage|text|article|abstract|authors?|document|excerpt|section|paragraph|figure|table|report|trial|"
    "experiments?|findings|work|research|review|manuscript|chapter|sentence|context|statement|above|following"
)
_SELF_REFERENCE = re.compile(
    rf"\b(?:this|these|that|the (?:given|above|present|current|following|provided)) (?:\w+ )?(?:{_SOURCE_WORDS})\b"
    r"|\b(?:in|by|from|of|to|does|do|did) the (?:study|paper|passage|text|article|abstract|document|excerpt|paragraph|"
    r"manuscript|chapter|above|context|authors?)\b"
    r"|\baccording to (?:the|this) (?:text|passage|authors?|study|paper|article|document|abstract|excerpt|context)\b"
    r"|\b(?:mentioned|described|discussed|stated|listed|shown|reported) (?:above|below|here)\b"
    rf"|\b(?:mentioned|described|discussed|stated|listed|shown|reported) in (?:the|this) (?:{_SOURCE_WORDS})\b"
    r"|\b(?:our|we|us|my|I)\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(
    r"\b(?:it|its|they|them|their|theirs|he|she|his|her|this|these|those|such|former|latter)\b", re.IGNORECASE
)
_TEMPLATE_WORDS = word_set(
    "regarding fill gap name state give reported value case list describe explain many much kind term stand "
    "step comes next mean called"
)
_MARKS = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "’": "'", "‘": "'", "‚": "'", "−": "-", "–": "-", "—": "-", "µ": "μ"}
)


@dataclass(frozen=True)
class Refusal:
    """Which gate refused a candidate, and why."""

    gate: str
    reason: str


class Gates:
    """The gates of one run; they remember the questions that passed."""

    def __init__(self, passages: Mapping[str, Passage], corpus: Corpus, similarity: float) -> None:
        self._passages, self._corpus = passages, corpus
        self._seen = NearDuplicates(similarity, corpus)

    def check(self, candidate: Candidate) -> Refusal | None:
        """The first gate that refuses, of those that need no model; None lets it pass (and remembers its question)."""
        for gate, reason in (
            ("form", self._form),
            ("quote", self._quote),
            ("self-contained", self._self_contained),
            ("numbers", self._numbers),
            ("duplicate", self._duplicate),
        ):
            why = reason(candidate)
            if why:
                return Refusal(gate, why)
        return None

    def remember(self, question: str, fact: str) -> None:
        """Refuse from now on what asks the same as `question` of another fact, or this fact in the same words."""
        self._seen.add(question, fact)

    def answerable(self, candidate: Candidate) -> Refusal | None:
        """The second pass without a model: the quote holds the answer, and most of what the question speaks of."""
        if candidate.kind == "unanswerable":
            return None
        quote = normalised(candidate.quote)
        answer = normalised(candidate.answer)
        if answer not in quote and candidate.kind not in ("cross-document", "procedure", "comparison"):
            return Refusal("answerable", "the quote does not hold the answer")
        known = " ".join([quote, candidate.background, *self._about(candidate)])
        there = {stem(word) for word in plain_words(known)}
        asked = [w for w in content_words(candidate.question) if w not in _TEMPLATE_WORDS and len(w) > 2]
        missing = [w for w in asked if stem(w) not in there]
        if asked and len(missing) / len(asked) > 0.5:
            return Refusal("answerable", f"the quote says nothing of {', '.join(missing[:3])}")
        return None

    def judged(self, candidate: Candidate, reply: str) -> Refusal | None:
        """The second pass: what the writer answered from the quote (for an unanswerable one, from the passage)."""
        if candidate.kind == "unanswerable":
            return None if says_not_stated(reply) else Refusal("answerable", f"the passage answers it: {reply[:80]}")
        if says_not_stated(reply):
            return Refusal("answerable", "the quote alone does not answer it")
        if agrees(candidate.answer, reply):
            return None
        return Refusal("answerable", f"from the quote alone the answer is another one: {reply[:80]}")

    def _form(self, candidate: Candidate) -> str | None:
        question, answer = candidate.question.strip(), candidate.answer.strip()
        unquoted = re.sub("“[^”]*”", "", question)  # a long title may be cut within its brackets
        if not content_words(question) or not any(c.isalpha() for c in question):
            return "no question"
        if not answer or not any(c.isalnum() for c in answer) or "…" in (question, answer):
            return "no answer"
        if not re.search(r"[?.!:”\"]$|____", question):
            return "the question is cut off"
        if re.search(r"\bet al\b", answer):
            return "the answer is a reference"
        if any(text.count(one) != text.count(two) for text in (unquoted, answer) for one, two in ("()", "[]", "“”")):
            return "a bracket without its other half"
        if len(question.split()) > LONGEST_QUESTION or len(answer.split()) > LONGEST_ANSWER:
            return "too long"
        if candidate.kind != "cross-document" and len(answer) > 3 and _holds(question, answer):
            return "the question gives the answer away"
        return None

    def _quote(self, candidate: Candidate) -> str | None:
        if candidate.kind == "unanswerable":
            return None
        for source in candidate.sources:
            if len(plain_words(source.quote)) < 2:
                return "no quote"
            if normalised(source.quote) not in normalised(self._passages[source.passage_id].text):
                return "the quote is not in the passage"
        return None

    def _self_contained(self, candidate: Candidate) -> str | None:
        question = re.sub(r"“[^”]*”", "“”", candidate.question)  # a title may say what it likes
        found = _SELF_REFERENCE.search(question)
        if found:
            return f"it says “{found[0]}”"
        for pronoun in _PRONOUN.finditer(question):
            before = [w for w in content_words(question[: pronoun.start()]) if w not in _TEMPLATE_WORDS]
            titled = "“”" in question[: pronoun.start()]
            if not before and not titled:
                return f"nothing says what “{pronoun[0]}” is"
        if "“”" not in question and not self._is_specific(question):
            return "nothing in it tells this document from the others"
        return None

    def _is_specific(self, question: str) -> bool:
        """Whether a word of it is rare among the documents; with few documents, whether it names enough."""
        words = [w for w in content_words(question) if w not in _TEMPLATE_WORDS]
        if self._corpus.documents < 5:
            return len(words) >= 3 or any(w[0].isupper() for w in question.split()[1:])
        limit = max(3.0, 0.2 * self._corpus.documents)
        return any(self._corpus.frequency.get(stem(w), 0) <= limit for w in words)

    def _numbers(self, candidate: Candidate) -> str | None:
        if candidate.kind == "unanswerable":
            return None
        text = " ".join(self._passages[source.passage_id].text for source in candidate.sources)
        missing = missing_quantities(candidate.answer, text)
        return f"{missing[0]} is not in the passage" if missing else None

    def _duplicate(self, candidate: Candidate) -> str | None:
        other = self._seen.add(candidate.question, candidate.fact)
        return f"like “{other}”" if other else None

    def _about(self, candidate: Candidate) -> list[str]:
        subjects = [self._corpus.subject(source.document_id) for source in candidate.sources]
        said = [part for s in subjects for part in (s.name, s.title) if part]
        return said + [source.heading for source in candidate.sources if source.heading]


@dataclass(frozen=True)
class _Seen:
    question: str
    fact: str
    words: frozenset[str]


class NearDuplicates:
    """Questions seen so far: finds one that is nearly the same and speaks of the same things."""

    def __init__(self, similarity: float, corpus: Corpus) -> None:
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError:
            raise MissingExtra("Finding near duplicates needs datasketch.", 'pip install "gag[ingest]"') from None
        self._similarity, self._corpus, self._blank = similarity, corpus, MinHash(num_perm=64)
        self._lsh = MinHashLSH(threshold=max(0.3, similarity - 0.2), num_perm=64)
        self._kept: list[_Seen] = []
        self._exact: dict[str, int] = {}

    def add(self, question: str, fact: str) -> str | None:
        """A question like this one, if there is one; else None, and this one is remembered.

        Wordings of one fact may be alike, but not equal.
        """
        plain = " ".join(plain_words(question))
        if plain in self._exact:
            return self._kept[self._exact[plain]].question
        words = frozenset(w for w in content_words(question) if w not in _TEMPLATE_WORDS) or frozenset([plain])
        sketch = self._blank.copy()
        sketch.update_batch([word.encode() for word in sorted(words)])
        for index in self._lsh.query(sketch):
            other = self._kept[int(index)]
            if fact and fact == other.fact:
                continue
            alike = len(words & other.words) / len(words | other.words)
            if alike >= self._similarity and not any(self._tells_apart(w) for w in words ^ other.words):
                return other.question
        self._exact[plain] = len(self._kept)
        self._lsh.insert(len(self._kept), sketch)
        self._kept.append(_Seen(question, fact, words))
        return None

    def _tells_apart(self, word: str) -> bool:
        """Whether a word alone makes two questions different ones: a number, or a rare one among the documents."""
        return any(c.isdigit() for c in word) or self._corpus.is_rare(word)


def normalised(text: str) -> str:
    """Text as quotes are compared: NFKC, one kind of quote mark, dash and white space, lower case."""
    return " ".join(unicodedata.normalize("NFKC", text.translate(_MARKS)).translate(_MARKS).lower().split())


def agrees(answer: str, reply: str) -> bool:
    """Whether two answers say the same: equal quantities where there are any, else one in the other, else half F1."""
    mine, theirs = quantities(answer), quantities(reply)
    if mine:
        return all(occurs(q, theirs) for q in mine)
    one, other = [stem(w) for w in content_words(answer)], [stem(w) for w in content_words(reply)]
    if not one or not other:
        return normalised(answer) in normalised(reply)
    shared = sum((Counter(one) & Counter(other)).values())
    return set(one) <= set(other) or 2 * shared / (len(one) + len(other)) >= 0.5


def _holds(question: str, answer: str) -> bool:
    return f" {' '.join(plain_words(answer))} " in f" {' '.join(plain_words(question))} "
