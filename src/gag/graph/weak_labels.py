"""Weak labels for planning: which relation paths lead from a question's entity to its answers (RoG, section 4.3).

`shortest` is the paper's: every shortest path to an answer, whatever else it leads to. `faithful` asks more of a path:
of all those within the hop limit, the ones whose ends are most like the answers (F1), and of these the shortest. With
either, a question's labels are an even mixture.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from gag.graph.paths import RelationPath, check_hops
from gag.graph.sparql import Rows
from gag.graph.store import Graph
from gag.graph.terms import INVERSE, is_literal

_TOGETHER = 200
_MOST_KNOWN = 2_000_000


class Neighbours:
    """What is next to each entity, asked for once and kept; a hub has nothing next to it unless a walk starts there.

    What is next to starts is kept apart, so that no walk passes a hub because another one started there. Kept up to a
    number of edges, beyond which everything is forgotten and asked for again. `cut` are the terms that have more next
    to them than was asked for.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph, self.most = graph, graph.config.max_neighbours
        self._known: dict[str, dict[str, tuple[str, ...]]] = {}
        self._starts: dict[str, dict[str, tuple[str, ...]]] = {}
        self._edges = 0
        self.cut: set[str] = set()

    def fetch(self, terms: Iterable[str], *, hubs: bool = False) -> None:
        """Ask for what is next to those of `terms` that are not known yet; with `hubs`, to hubs too (bounded)."""
        if self._edges > _MOST_KNOWN:
            self.forget()
        known = self._starts if hubs else self._known
        new = [term for term in dict.fromkeys(terms) if term not in known and not (hubs and self._known.get(term))]
        for start in range(0, len(new), _TOGETHER):
            part = new[start : start + _TOGETHER]
            if not hubs:
                degrees = self._degrees(part)
                for term in part:
                    if degrees.get(term, 0) > self.most:
                        self._known[term] = {}
                part = [term for term in part if degrees.get(term, 0) <= self.most]
            self._ask(part, known)

    def at(self, term: str, *, hubs: bool = False) -> dict[str, tuple[str, ...]]:
        """Steps from `term` and what each leads to; `fetch` comes first, with the same `hubs`."""
        return (self._starts.get(term) if hubs else None) or self._known.get(term, {})

    def forget(self) -> None:
        """Let go of all that is known."""
        self._known, self._starts, self._edges = {}, {}, 0

    def _degrees(self, terms: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for pattern, mark in (("?e ?p ?o", ""), ("?o ?p ?e", INVERSE)):
            values = " ".join(term for term in terms if mark or not is_literal(term))
            query = f"SELECT ?e (COUNT(*) AS ?n) WHERE {{ VALUES ?e {{ {values} }} {pattern} }} GROUP BY ?e"
            for term, count in self.graph.sparql.select(query, ("e", "n")) if values else ():
                found[term] = found.get(term, 0) + int(count[1 : count.rindex('"')])
        return found

    def _ask(self, terms: Sequence[str], known: dict[str, dict[str, tuple[str, ...]]]) -> None:
        edges: dict[str, dict[str, list[str]]] = {term: {} for term in terms}
        limit = min(self.graph.config.max_edges * 10, self.graph.manifest.row_cap or self.graph.config.max_edges * 10)
        for pattern, mark in (("?e ?p ?o", ""), ("?o ?p ?e", INVERSE)):
            values = " ".join(term for term in terms if mark or not is_literal(term))
            query = f"SELECT ?e ?p ?o WHERE {{ VALUES ?e {{ {values} }} {pattern} }} LIMIT {limit}"
            rows = self.graph.sparql.select(query, ("e", "p", "o")) if values else Rows((), 0)
            if rows.given >= limit and len(terms) > 1:
                for term in terms:
                    self._ask([term], known)
                return
            if rows.given >= limit:
                self.cut.add(terms[0])
            for term, predicate, other in rows:
                name = self.graph.relation_of(predicate)
                if name is not None:
                    edges[term].setdefault(mark + name, []).append(other)
        for term, steps in edges.items():
            known[term] = {step: tuple(others) for step, others in steps.items()}
            self._edges += sum(map(len, steps.values()))


def weak_labels(
    neighbours: Neighbours, start: str, answers: Collection[str], hops: int, kind: str = "faithful"
) -> list[RelationPath]:
    """The labels of one question, in order; none where no path within `hops` reaches an answer."""
    check_hops(hops)
    wanted = frozenset(answers) - {start}
    if not wanted:
        return []
    reached: dict[RelationPath, frozenset[str]] = {(): frozenset((start,))}
    scored: list[tuple[float, int, RelationPath]] = []
    rights: dict[RelationPath, frozenset[str]] = {}
    found: dict[str, int] = {}
    for hop in range(1, hops + 1):
        reached = _one_hop(neighbours, reached, start, first=hop == 1)
        for path, ends in reached.items():
            right = wanted & ends
            if right:
                rights[path] = right
                scored.append((2 * len(right) / (len(ends) + len(wanted)), hop, path))
                for answer in right:
                    found.setdefault(answer, hop)
        if kind == "shortest" and len(found) == len(wanted):
            break
    if kind == "shortest":
        return sorted(path for path, right in rights.items() if any(found[a] == len(path) for a in right))
    best = max(((score, -hop) for score, hop, _ in scored), default=None)
    return sorted(path for score, hop, path in scored if (score, -hop) == best)


def _one_hop(
    neighbours: Neighbours, reached: dict[RelationPath, frozenset[str]], start: str, *, first: bool
) -> dict[RelationPath, frozenset[str]]:
    neighbours.fetch({term for ends in reached.values() for term in ends}, hubs=first)
    out: dict[RelationPath, set[str]] = {}
    for path, ends in reached.items():
        for term in ends:
            for step, others in neighbours.at(term, hubs=first).items():
                out.setdefault((*path, step), set()).update(others)
    return {path: frozenset(ends - {start}) for path, ends in out.items() if ends - {start}}
