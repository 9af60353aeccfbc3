"""Walks: both directions, cycles, hubs, bounds, and proof."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gag.config import GraphConfig
from gag.errors import InputError
from gag.graph.paths import ReasoningPath, Walker, follow, follow_all, proven, steps_at
from gag.graph.store import Graph, load_graph

Term = Callable[[str], str]


def made(tmp_path: Path, rows: list[tuple[str, str, str]], **choices: int) -> Graph:
    path = tmp_path / "kb.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")
    config = GraphConfig(**choices)
    load_graph(tmp_path / "g", config, triples=path)
    return Graph.open(tmp_path / "g", config)


def names(graph: Graph, path: tuple[str, ...], start: str) -> list[str]:
    return graph.labels(follow(graph, graph.names.exact([start])[start][0].term, path).ends())


def test_forwards_and_backwards(films: Graph) -> None:
    assert sorted(names(films, ("directed_by",), "The Kiln")) == ["Ana Ruiz"]
    assert sorted(names(films, ("^directed_by",), "Ana Ruiz")) == ["Salt | Smoke", "The Kiln"]
    assert sorted(names(films, ("^starred_actors", "directed_by"), "Bo Lind")) == ["Ana Ruiz"]
    assert names(films, ("^directed_by", "release_year"), "Eli Ström") == ["1999"]


def test_a_walk_never_comes_back_to_where_it_began(films: Graph) -> None:
    assert sorted(names(films, ("starred_actors", "^starred_actors"), "The Kiln")) == [
        "Salt | Smoke",
        "Über die Brücke",
    ]
    # not by The Kiln itself, whose actors would all be ends
    assert sorted(names(films, ("directed_by", "^directed_by", "starred_actors"), "The Kiln")) == ["Bo Lind"]


def test_cycles_end(tmp_path: Path) -> None:
    graph = made(tmp_path, [("a", "r", "b"), ("b", "r", "c"), ("c", "r", "a"), ("b", "r", "b")])
    assert names(graph, ("r",) * 3, "a") == ["b", "c"]  # a is left out; b may stay where it is
    walk = follow(graph, graph.names.exact(["a"])["a"][0].term, ("r",) * 3)
    (path,) = walk.paths_to(walk.ends()[0], 10)
    assert graph.labels(path.nodes) == ["a", "b", "b", "b"]
    assert len(follow_all(graph, walk.start, 6).layers) == 6
    graph.close()


def test_the_ways_to_an_end(films: Graph, term: Term) -> None:
    walk = follow(films, term("The Kiln"), ("starred_actors", "^starred_actors"))
    assert walk.paths_to(term("Salt | Smoke"), 9) == [
        ReasoningPath((term("The Kiln"), term("Bo Lind"), term("Salt | Smoke")), ("starred_actors", "^starred_actors"))
    ]
    assert walk.paths_to(term("Drama"), 9) == []


def test_what_more_ways_lead_to_comes_first(films: Graph) -> None:
    # two films by Eli Ström are of 1999, one way each; Drama and Comedy by one film each, in the order of their terms
    assert names(films, ("^directed_by", "has_genre"), "Ana Ruiz") == ["Comedy", "Drama"]
    assert names(films, ("has_genre", "^has_genre", "has_genre"), "The Kiln") == ["Drama"]


@pytest.mark.parametrize(
    ("plan", "says", "mend"),
    [
        (("directed",), "has no relation 'directed'. Did you mean directed_by?", "It has directed_by, has_genre"),
        (("^starred",), "Did you mean ^starred_actors?", "walks it backwards"),
        (("directed_by", "zzz"), "has no relation 'zzz'.", "It has"),
        ((), "The plan has no relation", "Name at least one"),
        (("directed_by",) * 4, "has 4 hops; the limit is 3", "raise the limit"),
    ],
)
def test_a_plan_that_cannot_be_walked(films: Graph, term: Term, plan: tuple[str, ...], says: str, mend: str) -> None:
    with pytest.raises(InputError) as error:
        follow(films, term("The Kiln"), plan, hops=3)
    assert says in error.value.message and mend in error.value.hint


@pytest.mark.parametrize("call", [lambda g, t: Walker(g, t, 0), lambda g, t: follow_all(g, t, 0)])
def test_a_hop_limit_of_nothing(films: Graph, term: Term, call: Callable[[Graph, str], object]) -> None:
    with pytest.raises(InputError, match="hop limit of 0 leaves no path"):
        call(films, term("The Kiln"))


def test_a_hub_is_bounded_and_told(tmp_path: Path) -> None:
    rows = [(f"film {n}", "has_genre", "Drama") for n in range(100_000)]
    rows += [("film 7", "directed_by", "Ana"), ("film 7", "has_genre", "Rare"), ("x", "has_genre", "Rare")]
    graph = made(tmp_path, rows, max_edges=1000)
    drama = graph.names.exact(["Drama"])["Drama"][0].term
    walk = follow(graph, drama, ("^has_genre",))
    assert len(walk.ends()) == 1000
    (cut,) = walk.cuts
    assert (cut.total, cut.followed) == (100_000, 1000)
    assert cut.said(graph) == ("'Drama' has 100,000 neighbours by ^has_genre; 1,000 were followed (graph.max_edges).")
    # beside a hub, the others keep their place
    film = graph.names.exact(["film 7"])["film 7"][0].term
    beside = follow(graph, film, ("has_genre", "^has_genre"))
    assert "x" in graph.labels(beside.ends()) and len(beside.ends()) == 999
    assert [c.followed for c in beside.cuts] == [998]  # film 7 and x are the other two
    assert follow(graph, drama, ("^has_genre",)).ends() == walk.ends()  # the same ones every time
    assert steps_at(graph, [drama]) == {"^has_genre"}
    everything = follow_all(graph, drama, 2)
    assert everything.cuts and len(everything.ends(1)) == 1000
    graph.close()


def test_labels_take_no_place_of_edges(tmp_path: Path) -> None:
    path = tmp_path / "kb.ttl"
    names = ", ".join(f'"name {n}"' for n in range(40))
    path.write_text(
        "@prefix e: <http://e/> . @prefix r: <http://www.w3.org/2000/01/rdf-schema#> .\n"
        f"@prefix k: <http://www.w3.org/2004/02/skos/core#> .\ne:a r:label {names} ; k:altLabel {names} ; "
        "e:by e:b , e:c , e:d .\n",
        "utf-8",
    )
    load_graph(tmp_path / "g", GraphConfig(), triples=path)
    for most, ends, cuts in ((3, 3, 0), (2, 2, 1)):
        graph = Graph.open(tmp_path / "g", GraphConfig(max_edges=most))
        walk = follow_all(graph, "<http://e/a>", 1)
        assert (len(walk.ends()), len(walk.cuts)) == (ends, cuts)
        graph.close()


def test_next_steps_are_those_that_lead_on(films: Graph, term: Term) -> None:
    walker = Walker(films, term("Ana Ruiz"), 2)
    assert walker.next_steps(()) == {"^directed_by", "^written_by"}
    assert walker.next_steps(("^written_by",)) == {"starred_actors", "has_genre"}  # nobody but Ana made it
    assert walker.next_steps(("^written_by", "has_genre")) == frozenset()  # the limit
    assert steps_at(films, [term("1999")]) == {"^release_year"}
    kiln = Walker(films, term("The Kiln"), 3)
    assert "^written_by" not in kiln.next_steps(("written_by",))  # it leads to The Kiln alone
    assert "^directed_by" in kiln.next_steps(("written_by",))


def test_only_what_the_graph_has_is_proven(films: Graph, term: Term) -> None:
    real = follow(films, term("The Kiln"), ("directed_by",)).paths_to(term("Ana Ruiz"), 1)[0]
    made_up = ReasoningPath((term("The Kiln"), term("Bo Lind")), ("directed_by",))
    turned = ReasoningPath((term("The Kiln"), term("Ana Ruiz")), ("^directed_by",))
    half = ReasoningPath((term("The Kiln"), term("Ana Ruiz"), term("1999")), ("directed_by", "release_year"))
    empty = ReasoningPath((term("The Kiln"),), ())
    assert proven(films, [real, made_up, turned, half, empty]) == [real]
    assert proven(films, []) == []


def test_all_paths_within_the_limit(films: Graph, term: Term) -> None:
    walk = follow_all(films, term("The Kiln"), 2)
    assert walk.open_ended and len(walk.layers) == 2
    assert set(films.labels(walk.ends(1))) == {"Ana Ruiz", "Bo Lind", "Cy O'Dell", "Drama"}
    assert "Salt | Smoke" in films.labels(walk.ends(2)) and "The Kiln" not in films.labels(walk.ends(2))
    paths = [p for end in walk.ends(2) for p in walk.paths_to(end, 99)]
    assert proven(films, paths) == paths and len(paths) == 5
