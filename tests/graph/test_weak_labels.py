"""Weak labels by hand on a small graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gag.config import GraphConfig
from gag.errors import InputError
from gag.graph.store import Graph, load_graph
from gag.graph.weak_labels import Neighbours, weak_labels

Term = Callable[[str], str]


def labels(graph: Graph, start: str, answers: list[str], kind: str, hops: int = 3) -> list[tuple[str, ...]]:
    names = graph.names.exact([start, *answers])
    terms = [names[a][0].term for a in answers]
    return weak_labels(Neighbours(graph), names[start][0].term, terms, hops, kind)


def test_every_shortest_path_is_a_label(films: Graph) -> None:
    assert labels(films, "The Kiln", ["Ana Ruiz"], "shortest") == [("directed_by",), ("written_by",)]
    assert labels(films, "Salt | Smoke", ["Ana Ruiz"], "shortest") == [("directed_by",)]


def test_shortest_takes_what_leads_to_one_answer_faithful_what_leads_to_all(films: Graph) -> None:
    # the films with an actor of The Kiln: both of them are also of its genre or its director
    answers = ["Salt | Smoke", "Über die Brücke"]
    assert labels(films, "The Kiln", answers, "faithful") == [("starred_actors", "^starred_actors")]
    assert set(labels(films, "The Kiln", answers, "shortest")) == {
        ("starred_actors", "^starred_actors"),
        ("directed_by", "^directed_by"),
        ("written_by", "^directed_by"),
        ("has_genre", "^has_genre"),
    }


def test_of_equally_good_paths_the_shortest(films: Graph) -> None:
    assert labels(films, "Über die Brücke", ["Eli Ström"], "faithful") == [("directed_by",)]


@pytest.mark.parametrize("kind", ["shortest", "faithful"])
def test_no_path_no_label(films: Graph, kind: str) -> None:
    assert labels(films, "The Kiln", ["1999"], kind, hops=1) == []
    assert labels(films, "The Kiln", ["The Kiln"], kind) == []
    with pytest.raises(InputError, match="hop limit of 0"):
        labels(films, "The Kiln", ["Ana Ruiz"], kind, hops=0)


def test_a_hub_is_no_stop_on_the_way_but_may_be_where_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "kb.tsv"
    rows = [f"f{n}\tgenre\tDrama\n" for n in range(50)] + ["f1\tby\tA\n", "f2\tby\tB\n"]
    path.write_text("".join(rows), "utf-8")
    config = GraphConfig(max_neighbours=20)
    load_graph(tmp_path / "g", config, triples=path)
    graph = Graph.open(tmp_path / "g", config)
    assert labels(graph, "f1", ["f2"], "shortest") == []
    assert labels(graph, "Drama", ["A", "B"], "shortest") == [("^genre", "by")]
    graph.close()


def test_labels_do_not_depend_on_the_order_of_the_questions(tmp_path: Path) -> None:
    path = tmp_path / "kb.tsv"
    rows = [f"f{n}\tgenre\tDrama\n" for n in range(50)] + ["f1\tby\tA\n", "f2\tby\tB\n"]
    path.write_text("".join(rows), "utf-8")
    config = GraphConfig(max_neighbours=20)
    load_graph(tmp_path / "g", config, triples=path)
    graph = Graph.open(tmp_path / "g", config)
    names = ("Drama", "f1", "f2", "A", "B")
    drama, one, two, a, b = (graph.names.exact([name])[name][0].term for name in names)
    questions = [(drama, (a, b), [("^genre", "by")]), (one, (two,), [])]
    for order in (questions, questions[::-1]):
        neighbours = Neighbours(graph)
        for start, answers, wanted in order:
            assert weak_labels(neighbours, start, answers, 3, "shortest") == wanted
    graph.close()


def test_what_is_known_is_not_asked_for_again(films: Graph, term: Term, monkeypatch: pytest.MonkeyPatch) -> None:
    neighbours = Neighbours(films)
    weak_labels(neighbours, term("The Kiln"), [term("1999")], 3)
    asked: list[str] = []
    monkeypatch.setattr(films.sparql, "select", lambda query, columns: asked.append(query) or [])
    assert weak_labels(neighbours, term("The Kiln"), [term("1999")], 3)
    assert asked == []
