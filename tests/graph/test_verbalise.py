"""Passages of a graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from gag.graph import verbalise
from gag.graph.store import Graph
from gag.graph.verbalise import passages, said
from gag.records import read_passages, write_jsonl

from .conftest import TRIPLES


def test_one_passage_an_entity(films: Graph, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "p.jsonl", passages(films))
    found = {p.heading: p for p in read_passages(tmp_path / "p.jsonl")}
    assert set(found) == {x for h, r, t in TRIPLES for x in ((h,) if r == "alias" else (h, t))}
    assert found["The Kiln"].text == (
        "The Kiln directed by: Ana Ruiz.\nThe Kiln has genre: Drama.\n"
        "The Kiln starred actors: Bo Lind, Cy O'Dell.\nThe Kiln written by: Ana Ruiz."
    )
    assert "starred actors Bo Lind: Salt | Smoke, The Kiln." in found["Bo Lind"].text
    assert said("Ana Ruiz", "^directed_by") == "directed by Ana Ruiz"


def test_a_long_list_is_cut_and_counted(films: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbalise, "MOST", 1)
    found = {p.heading: p.text for p in passages(films)}
    assert "directed by Eli Ström: " in found["Eli Ström"] and found["Eli Ström"].endswith(" and 2 more.")
