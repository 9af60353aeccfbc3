"""`gag graph`: load, look, walk, write out, remove; what a user gets wrong is two lines."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gag.graph.store import GraphManifest, Relation
from gag.records import read_passages

Gag = Callable[..., Any]

ROWS = [
    "The Kiln\tdirected_by\tAna | Ruiz",
    "Salt\tdirected_by\tAna | Ruiz",
    'Salt\tstarred\tBo "B" Lind',
    "Salt\tyear\t1999",
]


@pytest.fixture
def place(tmp_path: Path, gag: Gag) -> Path:
    """A workspace with the graph `films`, and its table beside it."""
    assert gag("init", "w", cwd=tmp_path).code == 0
    (tmp_path / "kb.tsv").write_text("\n".join(ROWS) + "\n", "utf-8")
    loaded = gag("graph", "load", "films", "--triples", "../kb.tsv", cwd=tmp_path / "w")
    assert loaded.code == 0, loaded.err
    assert "4 triples, 5 entities, 3 relations" in loaded.out and "gag rog train films" in loaded.out
    return tmp_path / "w"


def test_looking_at_it(place: Path, gag: Gag) -> None:
    assert "films" in gag("graph", "list", cwd=place).out
    (row,) = gag("graph", "list", "--json", cwd=place).json
    assert (row["graph"], row["kind"], row["triples"], row["relations"]) == ("films", "embedded", 4, 3)
    shown = gag("graph", "show", "films", "--json", cwd=place).json
    assert shown["relation_counts"] == {"directed_by": 2, "starred": 1, "year": 1}
    assert "directed_by" in gag("graph", "show", "films", cwd=place).out
    assert gag("graph", "find", "films", "ana | ruiz", "--json", cwd=place).json[0]["label"] == "Ana | Ruiz"
    assert gag("graph", "find", "films", "Bo B Lynd", "--json", cwd=place).json[0]["label"] == 'Bo "B" Lind'
    assert "Nothing in films" in gag("graph", "find", "films", "zzzz", cwd=place).err


def test_walking_by_hand(place: Path, gag: Gag) -> None:
    done = gag("graph", "follow", "films", "The Kiln", "directed_by", "^directed_by", "--picture", "p.svg", cwd=place)
    assert done.code == 0, done.err
    assert "The Kiln —directed_by→ Ana | Ruiz ←directed_by— Salt" in done.out
    titles = [node.text for node in ElementTree.parse(place / "p.svg").iter("{http://www.w3.org/2000/svg}title")]
    assert {"The Kiln", "Ana | Ruiz", "Salt"} <= set(titles)
    row = gag("graph", "follow", "films", "Salt", "starred", "--json", cwd=place).json
    assert row["answers"] == [
        {"text": 'Bo "B" Lind', "entailed": True, "paths": [[["Salt", "starred", 'Bo "B" Lind']]]}
    ]


def test_names_that_were_cut_are_told_in_json_too(place: Path, gag: Gag, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gag("graph", "list", "--json", cwd=place).json[0]["names_cut"] is False
    relations = (Relation("by", "<http://e/by>", 1),)
    made = GraphManifest("far", "endpoint", 1, 2, relations, endpoint="http://localhost/q", row_cap=7, names_cut=True)
    monkeypatch.setattr("gag.graph.store.load_graph", lambda *_, **__: made)
    done = gag("graph", "load", "far", "--endpoint", "http://localhost/q", "--json", cwd=place)
    assert (done.json["row_cap"], done.json["names_cut"]) == (7, True)
    assert "cuts every result at 7 rows" in done.err and "Not all names were fetched" in done.err


def test_what_was_cut_is_told(place: Path, gag: Gag) -> None:
    few = ("--set", "graph.max_edges=1")
    done = gag("graph", "follow", "films", "Ana | Ruiz", "^directed_by", *few, cwd=place)
    assert "'Ana | Ruiz' has 2 neighbours by ^directed_by; 1 were followed (graph.max_edges)." in done.err


def test_writing_it_out(place: Path, gag: Gag) -> None:
    assert gag("graph", "passages", "films", "--out", "p.jsonl", "--json", cwd=place).json["passages"] == 5
    assert {p.heading for p in read_passages(place / "p.jsonl")} >= {"Salt", "1999"}
    assert gag("graph", "export", "films", "--out", "out.nt", cwd=place).code == 0
    again = gag("graph", "load", "copy", "--triples", "out.nt", "--json", cwd=place).json
    assert (again["triples"], again["relations"]) == (4, 3)


def test_loading_again_and_removing(place: Path, gag: Gag) -> None:
    assert "kept" in gag("graph", "load", "films", "--triples", "../kb.tsv", cwd=place).err
    assert gag("graph", "remove", "films", cwd=place).code == 0
    assert json.loads(gag("graph", "list", "--json", cwd=place).out) == []
    assert not (place / "graphs" / "films").exists()


@pytest.mark.parametrize(
    ("arguments", "says", "mend"),
    [
        (["load", "g"], "A graph needs triples", "--triples FILE"),
        (["load", "g", "--triples", "none.tsv"], "none.tsv does not exist", "relative to the current folder"),
        (["load", "../g", "--triples", "../kb.tsv"], "cannot be a domain's name", "letters, digits"),
        (["load", "g", "--triples", "bad.tsv"], "bad.tsv line 2: 1 part between tabs", "head TAB relation TAB tail"),
        (["load", "g", "--endpoint", "nowhere"], "no endpoint's address", "http://host"),
        (["load", "g", "--endpoint", "http://host:port/query"], "no endpoint's address", "http://host"),
        (["show", "fims"], "There is no graph 'fims'", "gag graph load fims"),
        (["follow", "films", "Nobody Here", "directed_by"], "is no entity of the graph films", "IRI"),
        (["follow", "films", "Salt", "directed"], "Did you mean directed_by?", "walks it backwards"),
        (["follow", "films", "Salt", "starred", "--picture", "p.png"], "is no name for the picture", ".svg"),
        (["follow", "films", "Salt", "starred", "--set", "rog.hops=0"], "rog.hops", "gag init"),
        (["remove", "fims"], "There is no graph 'fims'", "gag graph load"),
    ],
)
def test_what_a_user_gets_wrong(place: Path, gag: Gag, arguments: list[str], says: str, mend: str) -> None:
    (place / "bad.tsv").write_text("a\tb\tc\nno tabs here\n", "utf-8")
    done = gag("graph", *arguments, cwd=place)
    assert done.code == 2
    assert says in done.error[0] and mend in done.error[1]
    assert not (place / "graphs" / "g").exists()
