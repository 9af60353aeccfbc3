"""The graph benchmark on a graph small enough for a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import graph as benchmark
from gag.graph.store import read_manifest


def test_a_made_graph_is_loaded_and_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "FOLLOWED", 20)
    found = benchmark.synthetic_here(tmp_path, 2000)
    manifest = read_manifest(tmp_path / "made")
    assert 1900 < found["triples"] == manifest.triples <= 2000
    assert {r.name for r in manifest.relations} == {"kind_of", *(f"relation_{n}" for n in range(20))}
    assert 0 < found["median"] <= found["p99"] < 5 and found["memory"] > 2**20 and found["disk"] > 2**17
    assert not (tmp_path / "made.tsv").exists()


def test_quantiles_and_gold_paths() -> None:
    assert [benchmark.quantile([3, 1, 2], share) for share in (0, 0.5, 0.99, 1)] == [1, 2, 3, 3]
    assert benchmark.gold_path("movie_to_writer_to_movie_to_year") == ("written_by", "^written_by", "release_year")
    assert benchmark.gold_path("tag_to_movie") == ("^has_tags",)


def test_without_data_only_the_made_graph_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [benchmark.row("made", 1.0)]
    monkeypatch.setattr(benchmark, "synthetic_rows", lambda count: rows)
    monkeypatch.setattr(benchmark, "machine", dict)
    monkeypatch.setattr("sys.argv", ["graph", "--data", str(tmp_path), "--json", str(tmp_path / "out.json")])
    benchmark.main()
    assert '"made"' in (tmp_path / "out.json").read_text("utf-8")
