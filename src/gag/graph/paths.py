"""Paths of a graph: walked by constrained breadth-first search, bounded at hubs, and proven before they are shown.

A relation path is a tuple of steps, each a relation's name, or its name after `^` for the relation walked backwards. A
walk never comes back to the entity it started from: a question about X does not ask for X. Legend: a layer holds what
was reached after so many hops, and for each of it the edges followed from there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gag.errors import InputError
from gag.graph.hop import TOGETHER, Cut, Edges, every_step, follow_step, steps_at
from gag.graph.store import Graph
from gag.graph.terms import INVERSE
from gag.graph.triples import Statement

RelationPath = tuple[str, ...]
"""Steps from an entity, such as ("^starred_actors", "has_genre")."""


@dataclass(frozen=True)
class ReasoningPath:
    """One way through the graph: `nodes` has one term more than `steps`."""

    nodes: tuple[str, ...]
    steps: RelationPath

    def statements(self, graph: Graph) -> list[Statement]:
        """The triples it is made of, each the way it stands in the graph."""
        out = []
        for head, step, tail in zip(self.nodes, self.steps, self.nodes[1:], strict=False):
            term = graph.relation(step).term
            out.append((tail, term, head) if step.startswith(INVERSE) else (head, term, tail))
        return out


@dataclass(frozen=True)
class Walk:
    """What was reached from `start`: a layer of edges a hop. `seconds` is what following took.

    An `open_ended` walk had no plan: it ends at every hop. Its `ends` are those of the last one all the same.
    """

    start: str
    layers: tuple[Edges, ...]
    cuts: tuple[Cut, ...] = ()
    seconds: float = 0.0
    open_ended: bool = False
    _back: dict[int, dict[str, list[tuple[str, str]]]] = field(default_factory=dict, repr=False, compare=False)

    def ends(self, hop: int | None = None) -> list[str]:
        """Terms at the end (or after so many hops), those that most ways lead to first; equal ones in term order."""
        hop = len(self.layers) if hop is None else hop
        ways = {self.start: 1}
        for layer in self.layers[:hop]:
            reached: dict[str, int] = {}
            for term, edges in layer.items():
                for _, tail in edges:
                    reached[tail] = reached.get(tail, 0) + ways.get(term, 0)
            ways = reached
        return sorted(ways, key=lambda term: (-ways[term], term))

    def paths_to(self, end: str, limit: int, hop: int | None = None) -> list[ReasoningPath]:
        """At most `limit` ways from the start to `end`, which is reached after all hops, or after so many."""
        hop = len(self.layers) if hop is None else hop
        found: list[ReasoningPath] = []
        for nodes, steps in self._backwards(end, hop):
            if len(found) == limit:
                break
            found.append(ReasoningPath(nodes, steps))
        return found

    def _backwards(self, end: str, hop: int) -> Iterator[tuple[tuple[str, ...], RelationPath]]:
        if hop == 0:
            if end == self.start:
                yield (end,), ()
            return
        for step, head in self._heads(hop).get(end, ()):
            for nodes, steps in self._backwards(head, hop - 1):
                yield (*nodes, end), (*steps, step)

    def _heads(self, hop: int) -> dict[str, list[tuple[str, str]]]:
        """From every term after `hop` hops to the steps and terms it was reached by."""
        if hop not in self._back:
            heads: dict[str, list[tuple[str, str]]] = {}
            for term, edges in self.layers[hop - 1].items():
                for step, tail in edges:
                    heads.setdefault(tail, []).append((step, term))
            self._back[hop] = heads
        return self._back[hop]


class Walker:
    """Walks from one entity; every hop is asked for once, however many paths share it."""

    def __init__(self, graph: Graph, start: str, hops: int) -> None:
        check_hops(hops)
        self.graph, self.start, self.hops = graph, start, hops
        self._hops: dict[RelationPath, tuple[Edges, tuple[Cut, ...], float]] = {}
        self._next: dict[RelationPath, frozenset[str]] = {}

    def next_steps(self, path: RelationPath) -> frozenset[str]:
        """Steps that lead on from the end of `path`; none at the hop limit."""
        if len(path) >= self.hops:
            return frozenset()
        if path not in self._next:
            frontier = self.walk(path).ends() if path else [self.start]
            self._next[path] = steps_at(self.graph, frontier, avoid=self.start)
        return self._next[path]

    def walk(self, path: RelationPath) -> Walk:
        """Follow `path`; raises InputError for a relation that the graph has not, and for more hops than allowed."""
        check_plan(self.graph, path, self.hops)
        layers: list[Edges] = []
        cuts: list[Cut] = []
        seconds = 0.0
        for hop in range(1, len(path) + 1):
            prefix = path[:hop]
            if prefix not in self._hops:
                started = time.perf_counter()
                frontier = Walk(self.start, tuple(layers)).ends()
                layer, cut = follow_step(self.graph, frontier, prefix[-1], avoid=self.start)
                self._hops[prefix] = layer, cut, time.perf_counter() - started
            layer, cut, taken = self._hops[prefix]
            layers.append(layer)
            cuts += cut
            seconds += taken
        return Walk(self.start, tuple(layers), tuple(cuts), seconds)


def follow(graph: Graph, start: str, path: RelationPath, *, hops: int | None = None) -> Walk:
    """Walk one relation path from `start`; raises InputError for a relation that does not exist or too many hops."""
    return Walker(graph, start, len(path) if hops is None else hops).walk(path)


def follow_all(graph: Graph, start: str, hops: int) -> Walk:
    """Walk every relation, both ways, for `hops` hops: what there is without a plan. Bounded as any walk is."""
    check_hops(hops)
    started = time.perf_counter()
    layers: list[Edges] = []
    cuts: list[Cut] = []
    frontier = [start]
    for _ in range(hops):
        layer, cut = every_step(graph, frontier, start)
        layers.append(layer)
        cuts += cut
        frontier = list(dict.fromkeys(tail for edges in layer.values() for _, tail in edges))
    return Walk(start, tuple(layers), tuple(cuts), time.perf_counter() - started, open_ended=True)


def check_hops(hops: int) -> None:
    """Raises InputError for a limit under which there is no path."""
    if hops < 1:
        raise InputError(f"A hop limit of {hops} leaves no path to walk.", "Set it to 1 or more (rog.hops, --hops).")


def check_plan(graph: Graph, path: RelationPath, hops: int) -> None:
    """Raises InputError for a plan that cannot be walked."""
    check_hops(hops)
    if not path:
        raise InputError("The plan has no relation.", "Name at least one, such as: ^starred_actors has_genre")
    if len(path) > hops:
        raise InputError(
            f"The plan {' / '.join(path)} has {len(path)} hops; the limit is {hops}.", "Shorten it, or raise the limit."
        )
    for step in path:
        graph.relation(step)


def proven(graph: Graph, paths: Iterable[ReasoningPath]) -> list[ReasoningPath]:
    """Those of `paths` whose every triple the graph has now; nothing else may be shown."""
    paths = list(paths)
    wanted = list(dict.fromkeys(statement for path in paths for statement in path.statements(graph)))
    there: set[Statement] = set()
    for start in range(0, len(wanted), TOGETHER):
        values = " ".join("({} {} {})".format(*statement) for statement in wanted[start : start + TOGETHER])
        query = f"SELECT ?s ?p ?o WHERE {{ VALUES (?s ?p ?o) {{ {values} }} ?s ?p ?o }}"
        there.update((row[0], row[1], row[2]) for row in graph.sparql.select(query, ("s", "p", "o")))
    return [path for path in paths if path.steps and all(s in there for s in path.statements(graph))]
