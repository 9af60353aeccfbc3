"""What a document is about: the name that its title and text share, and how common a word is among the documents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gag.corpus.language.english_words import STOP_WORDS
from gag.records import Passage

_WORD = re.compile(r"[^\W_](?:[\w™®'’+-]*[\w™®+])?")
_FOLLOWED = re.compile(r"([^\W\d_][\w-]*)(?:\s*([.,;:()\n]|$)|(?=\s+([\w-]+)))")
_ROMAN = re.compile("[IVX]{1,5}")
TITLE_WORDS = 24
"""A longer title is cut to so many words where a question has to name its document."""

FEW_DOCUMENTS = 5
"""With fewer documents, how many of them use a word says nothing of it."""

SHORT_TITLE = 11
"""A title of at most so many words names what the whole document is about, and its name needs to be in the text only
once; a name in a longer title three times, and it is what those sentences are about that say it."""


@dataclass(frozen=True)
class Subject:
    """What to call a document in a question: a name of its own, else its title, else None.

    `throughout`: every sentence is taken to be about the name; else only one that says it.
    """

    name: str | None
    title: str | None
    throughout: bool = True

    @property
    def lead(self) -> str:
        """What a question begins with to say what it is about; empty where there is nothing to say."""
        if self.name:
            return f"Regarding {self.name}: "
        return f"In “{short_title(self.title)}”: " if self.title else ""

    def of(self, text: str) -> Subject:
        """What `text` of the document is about: the name, or the title where it does not say that name."""
        known = self.name is None or self.throughout or self.name in text
        return self if known else Subject(None, self.title)


@dataclass(frozen=True)
class Corpus:
    """Words of all documents: in how many each occurs, and every document's subject."""

    documents: int
    frequency: Mapping[str, int]
    subjects: Mapping[str, Subject] = field(default_factory=dict)
    ends_phrase: Mapping[str, float] = field(default_factory=dict)

    def share(self, word: str) -> float:
        """The share of the documents that hold `word`."""
        return self.frequency.get(stem(word), 0) / max(1, self.documents)

    def is_rare(self, word: str) -> bool:
        """Whether a word can tell one document from the others."""
        return self.frequency.get(stem(word), 0) <= max(1 if self.documents < 20 else 2, 0.04 * self.documents)

    def is_kind(self, word: str) -> bool:
        """Whether a word names a kind of things: common, and mostly the last of its noun phrase."""
        return not self.is_rare(word) and self.ends_phrase.get(word.lower(), 0.0) >= 0.6

    def subject(self, document_id: str) -> Subject:
        """The document's subject."""
        return self.subjects.get(document_id, Subject(None, None))


def read_corpus(passages: Iterable[Passage], titles: Mapping[str, str]) -> Corpus:
    """Count the words of `passages` by document, then name every document's subject."""
    texts: dict[str, list[str]] = {}
    for passage in passages:
        texts.setdefault(passage.document_id, []).append(passage.text)
    frequency: Counter[str] = Counter()
    for document_id, parts in texts.items():
        frequency.update({stem(w) for part in [*parts, titles.get(document_id, "")] for w in plain_words(part)})
    subjects = {
        document_id: subject_of(titles.get(document_id), "\n".join(parts), frequency)
        for document_id, parts in texts.items()
    }
    return Corpus(len(texts), frequency, subjects, _phrase_ends(part for parts in texts.values() for part in parts))


def _phrase_ends(texts: Iterable[str]) -> dict[str, float]:
    """How often, of all times, a word is followed by punctuation or a word of a closed class."""
    total: Counter[str] = Counter()
    ending: Counter[str] = Counter()
    for text in texts:
        for match in _FOLLOWED.finditer(text):
            word = match[1].lower()
            total[word] += 1
            ending[word] += match[2] is not None or (match[3] or "").lower() in STOP_WORDS
    return {word: ending[word] / count for word, count in total.items()}


def subject_of(title: str | None, text: str, frequency: Mapping[str, int]) -> Subject:
    """The document's own name: a word or two that looks like a name, is in the title and often in the text.

    A name that several documents share tells none of them from the others, so it is not taken.
    """
    if not title:
        return Subject(None, None)
    inside, heading = _WORD.findall(text), _WORD.findall(title)
    counts = Counter(re.sub(r"['’]s$", "", word) for word in inside)
    lowered = Counter(word.lower() for word in inside if word[0].islower())
    short = len(heading) <= SHORT_TITLE
    least = 1 if short else 3
    best, best_count = None, least - 1
    for word in heading:
        base = re.sub(r"['’]s$", "", word)
        if base != word and not short:  # `Hansen's disease` is not about Hansen
            continue
        if len(base) == 1 or _ROMAN.fullmatch(base):  # `type V` is not about V
            continue
        named = any(c.isupper() for c in base) and not base[0].isdigit() and base.lower() not in STOP_WORDS
        if named and not lowered[base.lower()] and frequency.get(stem(base), 0) <= 1 and counts[base] > best_count:
            best, best_count = base, counts[base]
    return Subject(None if best is None else _whole_name(best, title, text), title, short)


def _whole_name(name: str, title: str, text: str) -> str:
    """`name` with the word that always follows it, as in a name of two words."""
    following = re.findall(rf"(?<!\w){re.escape(name)}[ ]([a-z][\w-]+)", f"{title}\n{text}")
    together = Counter(following).most_common(1)
    total = len(re.findall(rf"(?<!\w){re.escape(name)}(?![\w])", text))
    if together and together[0][1] >= max(2, 0.7 * total) and together[0][0] not in STOP_WORDS:
        return f"{name} {together[0][0]}"
    return name


def plain_words(text: str) -> list[str]:
    """The words of `text` in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


def content_words(text: str) -> list[str]:
    """The words of `text` that carry meaning, in lower case and in order."""
    return [word for word in plain_words(text) if word not in STOP_WORDS]


def stem(word: str) -> str:
    """A word without its commonest endings, so that forms of it compare equal; no linguistics."""
    lower = word.lower()
    for ending, kept in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""), ("e", "")):
        if lower.endswith(ending) and len(lower) - len(ending) >= 3 and not lower.endswith("ss"):
            return lower[: len(lower) - len(ending)] + kept
    return lower


def short_title(title: str | None) -> str:
    """A title as a question names it."""
    words = (title or "").split()
    return " ".join(words[:TITLE_WORDS]) + (" …" if len(words) > TITLE_WORDS else "")


def similar(one: Sequence[str], other: Sequence[str]) -> float:
    """Jaccard similarity of two sets of words."""
    first, second = set(one), set(other)
    return len(first & second) / max(1, len(first | second))
