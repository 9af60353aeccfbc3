"""Entity linking: which entities of the graph a question is about (arXiv 2310.01061, section 4.1, takes them as given).

First what is marked ([Johnny Belinda]), then names that stand in the question, then names spelt like something in it.
Where one mention could be several entities, all of them are shown and none is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gag.errors import InputError
from gag.graph.names import Named, plain
from gag.graph.store import Graph
from gag.records import Question

MARKED = "question_marked"
"""Field of a question with the same question, its entities in brackets."""

_BRACKETS = re.compile(r"\[([^\[\]]+)\]")
_WORD = re.compile(r"\S+")
_LONGEST = 16
"""Words of a name looked for in a question."""

_COMMON_WORDS = (
    "a an and are as at be been by can could did do does for from had has have he her him his how i in is it its me my"
    " of on or our she that the their them there these they this those to was we were what when where which while who"
    " whom whose why will with would you your about after all also any before between both but each few more most no"
    " not other same so some such than then"
)
_COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True)
class Mention:
    """A piece of a question and the entities it may mean, best first."""

    text: str
    candidates: tuple[Named, ...]

    @property
    def ambiguous(self) -> bool:
        """Whether more than one entity is meant as well as any other."""
        return len(self.candidates) > 1

    def said(self) -> str:
        """The candidates in words."""
        shown = [f"{named.label} {named.term}" for named in self.candidates[:5]]
        return "; ".join(shown)


@dataclass(frozen=True)
class Linked:
    """A question's wording without marks, its mentions, and the entities they are."""

    question: str
    mentions: tuple[Mention, ...]

    @property
    def entities(self) -> tuple[str, ...]:
        """Terms, in the question's order."""
        return tuple(dict.fromkeys(mention.candidates[0].term for mention in self.mentions))

    def marked(self, entity: str) -> str:
        """The question with the mention of `entity` in brackets, as the planner reads it."""
        for mention in self.mentions:
            if mention.candidates[0].term == entity and mention.text in self.question:
                return self.question.replace(mention.text, f"[{mention.text}]", 1)
        return self.question


def link(graph: Graph, question: Question) -> Linked:
    """The question's entities; raises InputError where there is none, or where it is not clear which is meant."""
    marked = question.meta.get(MARKED)
    wording = _clean(str(marked) if isinstance(marked, str) and marked.strip() else question.question)
    bare = _BRACKETS.sub(r"\1", wording)
    spans = [text.strip() for text in _BRACKETS.findall(wording) if text.strip()]
    mentions = _marked(graph, spans) if spans else _named(graph, bare) or _similar(graph, bare)
    if not mentions:
        near = ", ".join(named.label for named in _nearest(graph, bare))
        raise InputError(
            f"No entity of the graph {graph.name} is named in {bare!r:.100}.",
            f"Mark it in brackets: [name]. Spelt like something in it: {near}."
            if near
            else "Mark it in brackets: [name]; gag graph find NAME TEXT looks for names.",
        )
    for mention in mentions:
        if mention.ambiguous:
            raise InputError(
                f"{mention.text!r:.60} could be {len(mention.candidates)} entities: {mention.said()}.",
                "Write the one that is meant in brackets, by its IRI where names are equal: [<iri>].",
            )
    return Linked(bare, tuple(mentions))


def find(graph: Graph, text: str) -> list[Named]:
    """Entities called `text`, else those spelt like it."""
    text = _clean(text)
    by_term = _by_term(graph, text)
    if by_term is not None:
        return [by_term]
    return graph.names.exact([text]).get(text) or graph.names.similar(text)


def _marked(graph: Graph, spans: Sequence[str]) -> list[Mention]:
    """Mentions of marked texts; raises InputError for one that is no entity."""
    exact = graph.names.exact(spans)
    mentions = []
    unknown = []
    for span in spans:
        by_term = _by_term(graph, span)
        found = [by_term] if by_term is not None else exact.get(span) or _close(graph, span)
        if found:
            mentions.append(Mention(span, tuple(found)))
        else:
            unknown.append(span)
    if unknown:
        near = ", ".join(named.label for named in graph.names.similar(unknown[0]))
        raise InputError(
            f"The graph {graph.name} has no entity {unknown[0]!r:.80}.",
            f"Brackets mark an entity. {f'Spelt like this one: {near}.' if near else 'None is spelt like this one.'}",
        )
    return mentions


def _named(graph: Graph, text: str) -> list[Mention]:
    """Names that stand in the question, none inside a longer one; only those of the most telling kind found.

    Raises InputError where all there is are several everyday words that happen to be names.
    """
    spans = _spans(text)
    exact = graph.names.exact(list(spans))
    taken: list[tuple[int, int]] = []
    found: list[tuple[int, int, Mention]] = []
    for piece in sorted(exact, key=lambda piece: _longest_as_written_first(piece, exact[piece], spans[piece])):
        start, end = spans[piece]
        telling = _telling(piece, exact[piece])
        if any(start < other_end and other_start < end for other_start, other_end in taken):
            continue
        if telling == 0 and all(candidate.name != piece for candidate in exact[piece]):
            continue  # the "who" of a question is not the film "Who?"
        taken.append((start, end))
        found.append((telling, start, Mention(piece, tuple(exact[piece]))))
    most = max((telling for telling, _, _ in found), default=0)
    mentions = [mention for telling, _, mention in sorted(found, key=lambda item: item[1]) if telling == most]
    if most <= 1 and len(mentions) > 1:
        words = ", ".join(repr(mention.text) for mention in mentions[:6])
        raise InputError(
            f"It is not clear which entity {text!r:.100} is about: {words} are all names in the graph {graph.name}.",
            f"Mark the one that is meant in brackets: [{mentions[-1].text}].",
        )
    return mentions


def _spans(text: str) -> dict[str, tuple[int, int]]:
    """Every run of words, and where it stands."""
    words = list(_WORD.finditer(text))
    spans: dict[str, tuple[int, int]] = {}
    for first in range(len(words)):
        for last in range(first, min(len(words), first + _LONGEST)):
            start, end = words[first].start(), words[last].end()
            for piece in _trimmings(text[start:end]):
                at = text.index(piece, start)
                spans.setdefault(piece, (at, at + len(piece)))
    return spans


def _longest_as_written_first(
    piece: str, named: Sequence[Named], span: tuple[int, int]
) -> tuple[int, bool, tuple[int, int]]:
    """Order in which pieces are tried: of `Tommy?` and `Tommy` the one that an entity is written as."""
    return -len(piece.rstrip("?!.,;:")), all(candidate.name != piece for candidate in named), span


def _telling(piece: str, named: Sequence[Named]) -> int:
    """How much a match says: 3 a name written as the entity's, 2 several words in other letters, 1 one plain word.

    0 for everyday words ("Who?", "It"), which count only where there is nothing else.
    """
    words = plain(piece).split()
    if all(word in _COMMON for word in words):
        return 0
    written = any(candidate.name == piece for candidate in named)
    if written and not piece.islower():
        return 3
    return 2 if len(words) > 1 else 1


def _trimmings(piece: str) -> list[str]:
    """A run of words as it stands, without a stop after it, and without the possessive."""
    bare = piece.rstrip("?!.,;:")
    forms = [piece, bare]
    for ending in ("'s", "’s"):
        if bare.endswith(ending):
            forms.append(bare.removesuffix(ending))
    return [form for form in dict.fromkeys(forms) if form.strip()]


def _similar(graph: Graph, text: str) -> list[Mention]:
    """The run of words that is spelt most like a name, if one is near enough and no other as near."""
    words = list(_WORD.finditer(text))
    best: tuple[float, str, list[Named]] | None = None
    for first in range(len(words)):
        for last in range(first, min(len(words), first + 6)):
            piece = text[words[first].start() : words[last].end()].strip("?!.,;:\"'")
            if len(piece) < 4 or all(word in _COMMON for word in plain(piece).split()):
                continue
            found = _close(graph, piece)
            if found and (best is None or (found[0].score, len(piece)) > (best[0], len(best[1]))):
                best = found[0].score, piece, found
    return [Mention(best[1], tuple(best[2]))] if best is not None else []


def _close(graph: Graph, text: str) -> list[Named]:
    """Names near enough to `text`: the nearest, and others about as near."""
    found = [named for named in graph.names.similar(text) if named.score >= graph.config.similarity]
    return [named for named in found if named.score >= found[0].score - 0.05] if found else []


def _nearest(graph: Graph, text: str) -> list[Named]:
    words = [word for word in plain(text).split() if word not in _COMMON]
    return graph.names.similar(" ".join(words), 3)


def _by_term(graph: Graph, text: str) -> Named | None:
    """The entity whose IRI is given in angle brackets."""
    if not re.fullmatch(r'<[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>"{}|^`\\]*>', text):
        return None
    query = f"SELECT ?p WHERE {{ {{ {text} ?p ?o }} UNION {{ ?o ?p {text} }} }} LIMIT 1"
    try:
        rows = graph.sparql.select(query, ("p",))
    except SyntaxError:  # the store takes it for no IRI, and so has none like it
        return None
    return Named(text, graph.label(text), text) if rows else None


def _clean(text: str) -> str:
    """Without halves of characters, which no store can be asked for."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
