"""One hop of a walk: what is next to a set of entities, and how much of it is followed where a hub is among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gag.graph.store import Graph
from gag.graph.terms import INVERSE, is_literal

Edges = dict[str, tuple[tuple[str, str], ...]]
"""From a term to the (step, term) pairs that were followed from it."""

TOGETHER = 500
"""Terms asked for in one query."""


@dataclass(frozen=True)
class Cut:
    """A hub (or a whole hop, with an empty term) of which only some edges were followed; `total` None is not known."""

    term: str
    step: str
    followed: int
    total: int | None

    def said(self, graph: Graph) -> str:
        """In words."""
        who = repr(graph.label(self.term)) if self.term else "This hop"
        step = f" by {self.step}" if self.step else ""
        total = f"{self.total:,}" if self.total is not None else "more"
        return f"{who} has {total} neighbours{step}; {self.followed:,} were followed (graph.max_edges)."


def follow_step(graph: Graph, frontier: Sequence[str], step: str, *, avoid: str) -> tuple[Edges, tuple[Cut, ...]]:
    """The edges of one hop, and what was cut where they are more than graph.max_edges."""
    most = graph.config.max_edges
    rows, whole = _step_rows(graph, frontier, step, most)
    cuts: tuple[Cut, ...] = ()
    if not whole:
        rows, cuts = _share_out(graph, frontier, step, most)
    return _as_edges(((head, step, tail) for head, tail in rows), avoid), cuts


def steps_at(graph: Graph, frontier: Sequence[str], *, avoid: str | None = None) -> frozenset[str]:
    """The steps that at least one of the terms has, to any other term than `avoid`."""
    found: set[str] = set()
    other = f" FILTER(!sameTerm(?o, {avoid}))" if avoid is not None else ""
    for part in _parts(frontier):
        for pattern, mark in (("?e ?p ?o", ""), ("?o ?p ?e", INVERSE)):
            values = _values(part, subject=mark == "")
            if not values:
                continue
            query = f"SELECT DISTINCT ?p WHERE {{ VALUES ?e {{ {values} }} {pattern}{other} }}"
            for (term,) in graph.sparql.select(query, ("p",)):
                name = graph.relation_of(term)
                if name is not None:
                    found.add(mark + name)
    return frozenset(found)


def _step_rows(graph: Graph, frontier: Sequence[str], step: str, most: int) -> tuple[list[tuple[str, str]], bool]:
    """(term, reached) pairs, at most `most`, and whether that is all of them."""
    term, backwards = graph.relation(step).term, step.startswith(INVERSE)
    pattern = f"?o {term} ?e" if backwards else f"?e {term} ?o"
    cap = graph.manifest.row_cap
    rows: list[tuple[str, str]] = []
    for part in _parts(frontier):
        values = _values(part, subject=not backwards)
        if not values:
            continue
        limit = most - len(rows) + 1
        query = f"SELECT ?e ?o WHERE {{ VALUES ?e {{ {values} }} {pattern} }} LIMIT {limit}"
        got = graph.sparql.select(query, ("e", "o"))
        rows += [(row[0], row[1]) for row in got]
        if got.given >= limit or (cap is not None and got.given >= cap):
            return rows[:most], False
    return rows, True


def _share_out(
    graph: Graph, frontier: Sequence[str], step: str, most: int
) -> tuple[list[tuple[str, str]], tuple[Cut, ...]]:
    """Edges within the limit, of the terms with fewest first: one hub does not take the place of all others."""
    degrees = _degrees(graph, frontier, step)
    rows: list[tuple[str, str]] = []
    cuts = []
    room = most
    small = sorted(degrees, key=lambda term: (degrees[term], term))
    for position, term in enumerate(small):
        if degrees[term] <= room and graph.manifest.row_cap is None:
            room -= degrees[term]
            continue
        rows, _ = _step_rows(graph, small[:position], step, most) if position else ([], True)
        for hub in small[position:]:
            got, whole = _step_rows(graph, [hub], step, most - len(rows)) if len(rows) < most else ([], False)
            rows += got
            if not whole:
                cuts.append(Cut(hub, step, len(got), degrees[hub]))
        break
    else:
        rows, _ = _step_rows(graph, small, step, most)
    return rows, tuple(cuts)


def _degrees(graph: Graph, frontier: Sequence[str], step: str) -> dict[str, int]:
    term, backwards = graph.relation(step).term, step.startswith(INVERSE)
    pattern = f"?o {term} ?e" if backwards else f"?e {term} ?o"
    found: dict[str, int] = {}
    for part in _parts(frontier):
        values = _values(part, subject=not backwards)
        query = f"SELECT ?e (COUNT(?o) AS ?n) WHERE {{ VALUES ?e {{ {values} }} {pattern} }} GROUP BY ?e"
        for node, count in graph.sparql.select(query, ("e", "n")) if values else ():
            found[node] = int(count[1 : count.rindex('"')])
    return found


def every_step(graph: Graph, frontier: Sequence[str], avoid: str) -> tuple[Edges, tuple[Cut, ...]]:
    """The edges of one hop by whatever relation, either way; a cut of the whole hop where they are too many."""
    most, cap = graph.config.max_edges, graph.manifest.row_cap
    names = ", ".join(graph.attributes)
    rows: list[tuple[str, str, str]] = []
    cut = False
    for part in _parts(frontier):
        for pattern, mark in (("?e ?p ?o", ""), ("?o ?p ?e", INVERSE)):
            values = _values(part, subject=mark == "")
            limit = most - len(rows) + 1
            if not values or limit < 1:
                continue
            where = f"VALUES ?e {{ {values} }} {pattern} FILTER(?p NOT IN ({names}))"
            got = graph.sparql.select(f"SELECT ?e ?p ?o WHERE {{ {where} }} LIMIT {limit}", ("e", "p", "o"))
            cut = cut or got.given >= limit or (cap is not None and got.given >= cap)
            named = [(head, graph.relation_of(p), tail) for head, p, tail in got]
            rows += [(head, mark + name, tail) for head, name, tail in named if name is not None]
    rows = rows[:most]
    return _as_edges(rows, avoid), (Cut("", "", len(rows), None),) if cut else ()


def _as_edges(rows: Iterable[tuple[str, str, str]], avoid: str) -> Edges:
    edges: dict[str, dict[tuple[str, str], None]] = {}
    for head, step, tail in rows:
        if tail != avoid:
            edges.setdefault(head, {})[step, tail] = None
    return {head: tuple(sorted(pairs)) for head, pairs in edges.items()}


def _parts(terms: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(terms), TOGETHER):
        yield terms[start : start + TOGETHER]


def _values(terms: Sequence[str], *, subject: bool) -> str:
    """The terms of a VALUES block; a literal is never a subject."""
    return " ".join(term for term in terms if not (subject and is_literal(term)))
