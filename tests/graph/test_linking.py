"""From a question to entities: marked, named, misspelt; and nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gag.config import GraphConfig
from gag.errors import InputError
from gag.graph.linking import find, link
from gag.graph.store import Graph, load_graph
from gag.records import Question


def linked(graph: Graph, text: str, marked: str | None = None) -> list[str]:
    meta = {} if marked is None else {"question_marked": marked}
    return graph.labels(link(graph, Question("q", text, meta=meta)).entities)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("who directed [The Kiln]", ["The Kiln"]),
        ("who directed [Kiln, The]", ["The Kiln"]),
        ("who directed [the kiln]", ["The Kiln"]),
        ("who directed [The Kilm]", ["The Kiln"]),
        ("who directed The Kiln?", ["The Kiln"]),
        ("who directed the kiln", ["The Kiln"]),
        ("which films are by Cy O'Dell's director", ["Cy O'Dell"]),
        ("who wrote Salt | Smoke and The Kiln", ["Salt | Smoke", "The Kiln"]),
        ("who directed 東京の夜", ["東京の夜"]),
        ("who directed Über die Brucke", ["Über die Brücke"]),
        ("films of 1999", ["1999"]),
        ("[<urn:gag:entity:Bo%20Lind>] plays in", ["Bo Lind"]),
        ("who directed Who?", ["Who?"]),
        ("did The Kiln star Bo Lind?", ["The Kiln", "Bo Lind"]),
    ],
)
def test_the_entities_of_a_question(films: Graph, text: str, labels: list[str]) -> None:
    assert linked(films, text) == labels


def test_marks_may_be_in_a_field_of_their_own(films: Graph) -> None:
    assert linked(films, "who directed The Kiln", "who directed [Drama]") == ["Drama"]


def test_the_planner_sees_the_mention_in_brackets(films: Graph) -> None:
    for text in ("who directed [The Kiln] first", "who directed The Kiln first"):
        found = link(films, Question("q", text))
        assert found.question == "who directed The Kiln first"
        assert found.marked(found.entities[0]) == "who directed [The Kiln] first"


@pytest.mark.parametrize(
    ("text", "says", "mend"),
    [
        ("who directed [Zzyzx Rdqq]", "has no entity 'Zzyzx Rdqq'", "Brackets mark an entity. None is spelt"),
        ("who directed [Bo Lindstrom-Ruiz Kamp]", "has no entity", "Spelt like this one: Bo Lind"),
        ("what is the time", "No entity of the graph films is named", "Mark it in brackets"),
        ("???", "No entity", "in brackets"),
        ("who made [<Zyzzx>]", "has no entity '<Zyzzx>'", "Brackets mark an entity"),
        ("who made [<a:%zz>]", "has no entity '<a:%zz>'", "Brackets mark an entity"),
        ("who made [Zyz\0zx]", "has no entity", "Brackets mark an entity"),
        ("what\0 is the time", "No entity of the graph films is named", "Mark it in brackets"),
    ],
)
def test_an_unknown_entity_and_a_question_without_one(films: Graph, text: str, says: str, mend: str) -> None:
    with pytest.raises(InputError) as error:
        link(films, Question("q", text))
    assert says in error.value.message and mend in error.value.hint


def test_half_a_character_is_no_crash(films: Graph) -> None:
    with pytest.raises(InputError):
        link(films, Question("q", "who is \ud800"))


def test_what_could_be_two_entities_is_shown_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "kb.nt"
    label = "<http://www.w3.org/2000/01/rdf-schema#label>"
    path.write_text(
        f'<http://e/1> {label} "Deception" .\n<http://e/2> {label} "Deception" .\n'
        "<http://e/1> <http://e/by> <http://e/3> .\n<http://e/2> <http://e/by> <http://e/3> .\n",
        "utf-8",
    )
    load_graph(tmp_path / "g", GraphConfig(), triples=path)
    graph = Graph.open(tmp_path / "g", GraphConfig())
    for text in ("who made Deception", "who made [Deception]", "who made deception"):
        with pytest.raises(InputError, match="could be 2 entities") as error:
            link(graph, Question("q", text))
        assert "<http://e/1>" in error.value.message and "<http://e/2>" in error.value.message
    assert link(graph, Question("q", "who made [<http://e/2>]")).entities == ("<http://e/2>",)
    graph.close()


def test_several_everyday_words_are_not_guessed_among(tmp_path: Path) -> None:
    path = tmp_path / "kb.tsv"
    path.write_text("A\thas_tags\tmay\nB\thas_tags\tphilosophical\nWho?\tby\tX\n", "utf-8")
    load_graph(tmp_path / "g", GraphConfig(), triples=path)
    graph = Graph.open(tmp_path / "g", GraphConfig())
    with pytest.raises(InputError, match=r"It is not clear which.*'may', 'philosophical'"):
        link(graph, Question("q", "which films may be described with philosophical"))
    assert linked(graph, "which films are philosophical") == ["philosophical"]
    assert linked(graph, "who wrote philosophical") == ["philosophical"]  # not the film Who?
    graph.close()


def test_finding_by_name(films: Graph) -> None:
    assert [n.label for n in find(films, "bo lind")] == ["Bo Lind"]
    assert find(films, "Bo Lynd")[0].label == "Bo Lind" and find(films, "Bo Lynd")[0].score < 1
    assert find(films, "qqqq") == []
    assert find(films, "ab") == []
    assert find(films, "<Zyzzx>") == find(films, "<http://[::1/>") == []
    assert find(films, "<Bo Lind>")[0].label == "Bo Lind"


def test_the_nearest_name_is_found_among_many_alike(tmp_path: Path) -> None:
    path = tmp_path / "kb.tsv"
    rows = [f"Wilson Anderson {n}\tknows\tNelson Mandel {n}\n" for n in range(400)]
    path.write_text("".join([*rows, "Nelson Eddy\tknows\tWilson Anderson 1\n"]), "utf-8")
    load_graph(tmp_path / "g", GraphConfig(), triples=path)
    graph = Graph.open(tmp_path / "g", GraphConfig())
    assert find(graph, "Nelson Edy")[0].label == "Nelson Eddy"
    assert linked(graph, "who knows [Nelson Edy]") == ["Nelson Eddy"]
    graph.close()
