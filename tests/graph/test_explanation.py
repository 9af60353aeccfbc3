"""What is shown: proven paths only, as words and as a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import pytest

from gag.graph.drawing import MOST_ROWS, draw
from gag.graph.explanation import Explanation, PlannedPath, ShownAnswer, Triple, shown_answers
from gag.graph.paths import Walk, follow, follow_all
from gag.graph.store import Graph

Term = Callable[[str], str]
SVG = "{http://www.w3.org/2000/svg}"


def explanation(*answers: ShownAnswer, question: str = "who?") -> Explanation:
    return Explanation(question, ("x",), (PlannedPath("x", ("r",), 0.9, 1),), answers)


def test_an_answer_has_its_paths_and_another_none(films: Graph, term: Term) -> None:
    walk = follow(films, term("Bo Lind"), ("^starred_actors", "directed_by"))
    shown = shown_answers(films, [("Ana Ruiz", term("Ana Ruiz")), ("Nobody", None)], [walk], 5)
    assert [a.entailed for a in shown] == [True, False]
    assert set(shown[0].paths) == {
        (Triple("Bo Lind", "^starred_actors", film), Triple(film, "directed_by", "Ana Ruiz"))
        for film in ("The Kiln", "Salt | Smoke")
    }
    assert len(shown_answers(films, [("Ana Ruiz", term("Ana Ruiz"))], [walk], 1)[0].paths) == 1
    assert explanation(*shown).entailed == 0.5 and explanation().entailed == 0.0


def test_a_path_that_is_not_in_the_graph_is_never_shown(films: Graph, term: Term) -> None:
    """Whatever a walk claims."""
    start, other = term("The Kiln"), term("Bo Lind")
    lie = Walk(start, ({start: (("directed_by", other), ("starred_actors", other))},))
    (shown,) = shown_answers(films, [("Bo Lind", other)], [lie], 5)
    assert shown.paths == ((Triple("The Kiln", "starred_actors", "Bo Lind"),),)
    (nothing,) = shown_answers(
        films, [("1999", term("1999"))], [Walk(start, ({start: (("has_genre", term("1999")),)},))], 5
    )
    assert not nothing.entailed


def test_without_a_plan_every_hop_counts(films: Graph, term: Term) -> None:
    walk = follow_all(films, term("The Kiln"), 2)
    (shown,) = shown_answers(films, [("Ana Ruiz", term("Ana Ruiz"))], [walk], 9)
    assert (Triple("The Kiln", "directed_by", "Ana Ruiz"),) in shown.paths


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a & b", '"]]>', "\x01\x0b", "ü" * 200, "東京の夜", ""])
def test_the_picture_is_xml_whatever_the_names_are(name: str) -> None:
    path = (Triple(name, "^r<&", "m"), Triple("m", "s", name))
    text = draw(explanation(ShownAnswer(name, (path,)), question=name))
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert not root.findall(f".//{SVG}script") and "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_picture_has_every_entity_and_says_what_it_left_out() -> None:
    paths = tuple((Triple("x", "r", f"end {n}"),) for n in range(MOST_ROWS + 5))
    text = draw(explanation(*(ShownAnswer(p[0].tail, (p,)) for p in paths)))
    titles = [t.text for t in ElementTree.fromstring(text).findall(f".//{SVG}g/{SVG}title")]
    assert titles == ["x", *(f"end {n}" for n in range(MOST_ROWS))]
    assert "5 more paths are not drawn." in text
    assert "No path of the graph leads to an answer." in draw(explanation(ShownAnswer("y")))


def test_the_json_holds_words_only() -> None:
    row = explanation(ShownAnswer("y", ((Triple("x", "^r", "y"),),))).to_json()
    assert row["answers"] == [{"text": "y", "entailed": True, "paths": [[["x", "^r", "y"]]]}]
    assert row["plans"] == [{"entity": "x", "path": ["r"], "probability": 0.9, "ends": 1}]
    assert Triple("x", "^r", "y").arrow == "←r—" and Triple("x", "r", "y").arrow == "—r→"
