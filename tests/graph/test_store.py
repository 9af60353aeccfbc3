"""Loading: awkward names, broken files, nothing half-written; and the same graph at an endpoint."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyoxigraph
import pytest

from gag.config import GraphConfig
from gag.errors import BusyError, ConfigError, InputError, MissingExtra, RunError
from gag.graph import endpoint as endpoints
from gag.graph.linking import find
from gag.graph.paths import follow, follow_all, proven
from gag.graph.store import Graph, export_graph, graph_folder, load_graph, read_manifest
from gag.graph.weak_labels import Neighbours

from .conftest import TRIPLES, cutting, results_of, serving

CONFIG = GraphConfig()


def test_counts_and_relations(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest.triples == len(TRIPLES)
    assert {r.name: r.count for r in manifest.relations} == {
        "directed_by": 5,
        "has_genre": 4,
        "release_year": 2,
        "starred_actors": 4,
        "written_by": 2,
    }  # alias names entities and is no relation
    assert manifest.entities == len({x for h, r, t in TRIPLES for x in ((h,) if r == "alias" else (h, t))})


@pytest.mark.parametrize("name", sorted({row[0] for row in TRIPLES}))
def test_every_awkward_name_is_found_and_walked_from(films: Graph, name: str) -> None:
    (found,) = films.names.exact([name])[name]
    assert found.label == name
    relation, tail = next((r, t) for h, r, t in TRIPLES if h == name)
    assert tail in films.labels(follow(films, found.term, (relation,)).ends())


def test_an_alias_names_the_entity(films: Graph) -> None:
    (found,) = films.names.exact(["Kiln, The"])["Kiln, The"]
    assert (found.label, found.name) == ("The Kiln", "Kiln, The")


@pytest.mark.parametrize(
    ("text", "says", "mend"),
    [
        ("a\tb\tc\nx\ty\n", "line 2: 2 parts between tabs, not 3", "head TAB relation TAB tail"),
        ("a\tb\tc\nx y z\n", "line 2: 1 part between tabs", "head TAB relation TAB tail"),
        ("a\tb\tc\td\n", "line 1: 4 parts", "remove it"),
        ("a\tb\tc\n\n \t \nx\t \tz\n", "line 4: the relation is empty", "Fill it in"),
        ("a\t^b\tc\n", "line 1: the relation '^b' cannot be written", "does not begin with"),
        ("", "has no triples", "head TAB relation TAB tail"),
        ("\n\n", "has no triples", "head TAB relation TAB tail"),
    ],
)
def test_a_broken_table_is_refused_with_line_and_mend(tmp_path: Path, text: str, says: str, mend: str) -> None:
    path = tmp_path / "kb.tsv"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError) as error:
        load_graph(tmp_path / "graphs" / "g", CONFIG, triples=path)
    assert says in error.value.message and str(path) in error.value.message
    assert mend in error.value.hint
    assert list((tmp_path / "graphs").iterdir()) == []


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "kb.tsv"
    path.write_bytes(b"a\tb\tc\na\tb\t\xff\n")
    with pytest.raises(InputError, match="line 2: not UTF-8"):
        load_graph(tmp_path / "g", CONFIG, triples=path)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("kb.nt", "<a:a> <a:b> <a:c> .\n<a:a> <a:b> c .\n", "line 2"),
        ("kb.ttl", "@prefix e: <http://e/> .\ne:a f:b e:c .\n", "line 2: The prefix f: has not been declared"),
        ("kb.ttl", "", "has no triples"),
        ("kb.csv", "a,b,c", "no triple file that is known"),
        ("kb.nt", None, "does not exist"),
    ],
)
def test_a_broken_rdf_file(tmp_path: Path, name: str, text: str | None, says: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(InputError) as error:
        load_graph(tmp_path / "graphs" / "g", CONFIG, triples=path)
    assert says in error.value.message and name in error.value.message


def test_a_failed_load_leaves_the_graph_that_was_there(tmp_path: Path, table: Path) -> None:
    folder, bad = tmp_path / "graphs" / "g", tmp_path / "bad.tsv"
    load_graph(folder, CONFIG, triples=table)
    before = {path.name: path.stat().st_mtime_ns for path in folder.rglob("*")}
    bad.write_text("a\tb\tc\n" * 3000 + "broken\n", "utf-8")
    with pytest.raises(InputError, match="line 3001"):
        load_graph(folder, CONFIG, triples=bad)
    assert {path.name: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert [path.name for path in folder.parent.iterdir()] == ["g"]
    assert find(Graph.open(folder, CONFIG), "Bo Lind")


def test_the_same_file_is_kept_and_another_choice_is_not(tmp_path: Path, table: Path) -> None:
    folder = tmp_path / "g"
    load_graph(folder, CONFIG, triples=table)
    said: list[str] = []
    load_graph(folder, CONFIG, triples=table, on_progress=lambda *a, **k: said.append(a[3] if len(a) > 3 else ""))
    assert said == ["kept"]
    plain = CONFIG.model_copy(update={"alias_relations": ()})
    assert "alias" in {r.name for r in load_graph(folder, plain, triples=table).relations}


def test_rdf_with_labels_blank_nodes_and_literals(tmp_path: Path) -> None:
    path = tmp_path / "kb.ttl"
    path.write_text(
        "@prefix e: <http://e/> . @prefix r: <http://www.w3.org/2000/01/rdf-schema#> .\n"
        "@prefix k: <http://www.w3.org/2004/02/skos/core#> .\n"
        'e:q1 r:label "The Kiln"@en, "Der Ofen"@de ; k:altLabel "Kiln" ; e:by e:q2 ; e:year 1999 .\n'
        "e:q1 e:part [ e:by e:q2 ] .\n"
        'e:q2 r:label "Ana Ruiz"@en .\n',
        "utf-8",
    )
    load_graph(tmp_path / "g", CONFIG, triples=path)
    graph = Graph.open(tmp_path / "g", CONFIG)
    assert set(graph.relations) == {"by", "part", "year"}
    for name in ("The Kiln", "Der Ofen", "Kiln"):
        assert [n.label for n in graph.names.exact([name])[name]] == ["The Kiln"]
    start = "<http://e/q1>"
    assert graph.labels(follow(graph, start, ("year",)).ends()) == ["1999"]
    assert graph.labels(follow(graph, start, ("part", "by")).ends()) == ["Ana Ruiz"]
    year = follow(graph, start, ("year",)).ends()[0]
    assert graph.labels(follow(graph, year, ("^year", "by")).ends()) == ["Ana Ruiz"]
    assert follow(graph, year, ("by",)).ends() == []  # a literal is the head of nothing


XSD = "http://www.w3.org/2001/XMLSchema#"


def test_numbers_are_found_as_the_file_spells_them_and_as_the_store_does(tmp_path: Path) -> None:
    path = tmp_path / "kb.ttl"
    path.write_text(
        f"@prefix e: <http://e/> . @prefix x: <{XSD}> . @prefix k: <http://www.w3.org/2004/02/skos/core#> .\n"
        'e:a e:price 1.50 ; e:count "01"^^x:integer ; e:mass "1e3"^^x:double ; e:odd "1.50"^^e:money ; e:by e:b .\n'
        'e:b e:price 1.5 ; k:altLabel "007"^^x:integer .\n',
        "utf-8",
    )
    load_graph(tmp_path / "g", CONFIG, triples=path)
    graph = Graph.open(tmp_path / "g", CONFIG)
    spellings = {"price": ("1.50", "1.5"), "count": ("01", "1"), "mass": ("1e3", "1000")}
    for relation, (given, stored) in spellings.items():
        walk = follow(graph, "<http://e/a>", (relation,))
        (end,) = walk.ends()
        for spelling in (given, stored):
            assert end in [named.term for named in graph.names.exact([spelling])[spelling]]
            backwards = follow(graph, end, (f"^{relation}",))
            paths = [way for start in backwards.ends() for way in backwards.paths_to(start, 1)]
            assert paths and proven(graph, paths) == paths
    assert {named.label for named in graph.names.exact(["1.50"])["1.50"]} == {"1.5", "1.50"}  # e:money is no number
    assert [named.term for named in graph.names.exact(["007"])["007"]] == ["<http://e/b>"]
    graph.close()
    export_graph(tmp_path / "g", tmp_path / "out.nt")
    store = pyoxigraph.Store.read_only(str(tmp_path / "g" / "store"))
    with serving(lambda query: (200, results_of(store, query))) as url:  # it has what was written out
        load_graph(tmp_path / "both", CONFIG, triples=path, endpoint=url)


def test_relations_that_end_alike_are_called_by_their_iris(tmp_path: Path) -> None:
    path = tmp_path / "kb.nt"
    path.write_text("<http://e/a> <http://x/by> <http://e/b> .\n<http://e/a> <http://y/by> <http://e/c> .\n", "utf-8")
    assert {r.name for r in load_graph(tmp_path / "g", CONFIG, triples=path).relations} == {
        "http://x/by",
        "http://y/by",
    }


def test_no_graph_and_a_damaged_one(tmp_path: Path, table: Path) -> None:
    with pytest.raises(InputError, match="There is no graph 'g'"):
        Graph.open(tmp_path / "g", CONFIG)
    load_graph(tmp_path / "g", CONFIG, triples=table)
    (tmp_path / "g" / "graph.json").write_text("{", "utf-8")
    with pytest.raises(RunError, match="cannot be read"):
        Graph.open(tmp_path / "g", CONFIG)
    load_graph(tmp_path / "g", CONFIG, triples=table)  # as its hint says
    Graph.open(tmp_path / "g", CONFIG).close()
    with pytest.raises(ConfigError, match="cannot be a domain's name"):
        graph_folder(tmp_path, "../g")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "names.sqlite").unlink(),
        lambda folder: (folder / "names.sqlite").write_bytes(b""),
        lambda folder: (folder / "names.sqlite").write_bytes((folder / "names.sqlite").read_bytes()[:-100]),
        lambda folder: shutil.rmtree(folder / "store"),
        lambda folder: next((folder / "store").glob("*.sst")).write_bytes(b"x"),
    ],
    ids=["no names", "empty names", "short names", "no store", "short store"],
)
def test_loading_again_mends_what_is_damaged(tmp_path: Path, table: Path, damage: Callable[[Path], object]) -> None:
    load_graph(tmp_path / "g", CONFIG, triples=table)
    damage(tmp_path / "g")
    with pytest.raises(RunError) as error:
        Graph.open(tmp_path / "g", CONFIG)
    assert "Load the graph again" in error.value.hint
    load_graph(tmp_path / "g", CONFIG, triples=table)  # as its hint says
    graph = Graph.open(tmp_path / "g", CONFIG)
    assert graph.labels(follow(graph, find(graph, "The Kiln")[0].term, ("directed_by",)).ends()) == ["Ana Ruiz"]
    graph.close()


def test_a_wrong_address_is_refused_before_the_file_is_read(tmp_path: Path, table: Path) -> None:
    said: list[str] = []
    with pytest.raises(InputError, match="no endpoint's address"):
        load_graph(
            tmp_path / "g",
            CONFIG,
            triples=table,
            endpoint="http://a..b/x",
            on_progress=lambda step, *_: said.append(step),
        )
    assert said == []


def test_nothing_to_load_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs triples"):
        load_graph(tmp_path / "g", CONFIG)


def test_two_loads_at_once(tmp_path: Path, table: Path) -> None:
    from gag.atomic import new_folder

    with new_folder(tmp_path / "g"), pytest.raises(BusyError):
        load_graph(tmp_path / "g", CONFIG, triples=table)


def test_an_endpoint_gives_the_same_graph(tmp_path: Path, films: Graph, endpoint: str) -> None:
    load_graph(tmp_path / "far", CONFIG, endpoint=endpoint)
    far = Graph.open(tmp_path / "far", CONFIG)
    assert not (tmp_path / "far" / "store").exists()
    assert (far.manifest.kind, far.manifest.row_cap, far.manifest.names_cut) == ("endpoint", None, False)
    assert {r.name: r.count for r in far.manifest.relations if r.name != "alias"} == {
        r.name: r.count for r in films.manifest.relations
    }
    for name in ("The Kiln", "Salt | Smoke", "東京の夜", 'Dee "Dot" Fox'):
        term = films.names.exact([name])[name][0].term
        assert far.names.exact([name])[name][0].term == term
        for path in (("directed_by", "^directed_by"), ("^written_by", "starred_actors", "^starred_actors")):
            here, there = follow(films, term, path), follow(far, term, path)
            assert here.layers == there.layers and here.ends() == there.ends()
    far.close()


def test_a_file_and_its_endpoint(tmp_path: Path, table: Path, endpoint: str) -> None:
    load_graph(tmp_path / "both", CONFIG, triples=table, endpoint=endpoint)
    graph = Graph.open(tmp_path / "both", CONFIG)
    assert graph.manifest.endpoint == endpoint and not (tmp_path / "both" / "store").exists()
    start = graph.names.exact(["Kiln, The"])["Kiln, The"][0].term
    assert graph.labels(follow(graph, start, ("directed_by",)).ends()) == ["Ana Ruiz"]
    other = tmp_path / "other.tsv"
    other.write_text(table.read_text("utf-8") + "New\tdirected_by\tSomeone\n", "utf-8")
    with pytest.raises(InputError, match="lacks 1 of the first 19 triples"):
        load_graph(tmp_path / "not", CONFIG, triples=other, endpoint=endpoint)
    assert not (tmp_path / "not").exists()


def test_an_endpoint_that_cuts_its_results_is_noticed(tmp_path: Path, folder: Path) -> None:
    store = pyoxigraph.Store.read_only(str(folder / "store"))
    with serving(cutting(store, 7)) as url:
        manifest = load_graph(tmp_path / "far", CONFIG, endpoint=url)
        assert manifest.row_cap == 7
        far = Graph.open(tmp_path / "far", CONFIG)
        assert far.names.exact(["東京の夜"])  # fetched page by page, although no page held more than 7
        assert follow(far, far.names.exact(["Eli Ström"])["Eli Ström"][0].term, ("^directed_by",)).cuts == ()
        far.close()


def test_exported_triples_load_again(tmp_path: Path, folder: Path) -> None:
    assert export_graph(folder, tmp_path / "out.nt") == len(TRIPLES)
    again = load_graph(tmp_path / "g", CONFIG, triples=tmp_path / "out.nt")
    before = read_manifest(folder)
    assert (again.triples, again.relations) == (before.triples, before.relations)


def test_a_walk_that_reaches_the_row_cap_is_told_as_cut(tmp_path: Path) -> None:
    table = tmp_path / "kb.tsv"
    table.write_text("".join(f"film {n}\tby\tAna\n" for n in range(20)), "utf-8")
    load_graph(tmp_path / "near", CONFIG, triples=table)
    store = pyoxigraph.Store.read_only(str(tmp_path / "near" / "store"))
    with serving(cutting(store, 7)) as url:
        load_graph(tmp_path / "far", CONFIG, endpoint=url)
        far = Graph.open(tmp_path / "far", CONFIG)
        walk = follow(far, far.names.exact(["Ana"])["Ana"][0].term, ("^by",))
        assert [(c.followed, c.total) for c in walk.cuts] == [(7, 20)] and len(walk.ends()) == 7
        everything = follow_all(far, walk.start, 1)
        assert [(c.followed, c.total) for c in everything.cuts] == [(7, None)] and len(everything.ends()) == 7
        far.close()


@pytest.mark.parametrize("rows", [10, 15])
def test_a_cut_at_a_page_of_names_or_above_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(endpoints, "_PAGE", 10)
    config = GraphConfig(max_edges=10)
    table = tmp_path / "kb.tsv"
    table.write_text("".join(f"film {n}\tby\tAna\n" for n in range(30)), "utf-8")
    load_graph(tmp_path / "near", config, triples=table)
    store = pyoxigraph.Store.read_only(str(tmp_path / "near" / "store"))
    with serving(cutting(store, rows)) as url:
        assert load_graph(tmp_path / "far", config, endpoint=url).row_cap == rows
        far = Graph.open(tmp_path / "far", config)
        ana = far.names.exact(["Ana"])["Ana"][0].term
        assert [(c.followed, c.total) for c in follow(far, ana, ("^by",)).cuts] == [(10, 30)]
        neighbours = Neighbours(far)
        neighbours.fetch([ana], hubs=True)
        assert neighbours.cut == {ana}
        far.close()


def test_blank_nodes_at_an_endpoint_hide_no_cut_and_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_PAGE", 4)
    label = "<http://www.w3.org/2000/01/rdf-schema#label>"
    rows = [f'{who} {label} "name {n}" . {who} <http://e/by> <http://e/Ana> .' for n, who in enumerate(_people())]
    store = pyoxigraph.Store()
    store.load("\n".join(rows).encode(), format=pyoxigraph.RdfFormat.TURTLE)
    config = GraphConfig(max_edges=8)
    with serving(lambda query: (200, results_of(store, query))) as url:
        load_graph(tmp_path / "far", config, endpoint=url)
        far = Graph.open(tmp_path / "far", config)
        assert all(far.names.exact([f"name {n}"]) for n in range(6))
        assert all(cut.total == 12 for cut in follow(far, "<http://e/Ana>", ("^by",)).cuts)
        assert follow(far, "<http://e/Ana>", ("^by",)).cuts and follow_all(far, "<http://e/Ana>", 1).cuts
        far.close()


def _people() -> list[str]:
    """Six who have IRIs and six who have none."""
    return [f"<http://e/p{n}>" for n in range(6)] + [f"_:b{n}" for n in range(6)]


@pytest.mark.parametrize("package", ["pyoxigraph", "httpx"])
def test_a_missing_extra_is_named(tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    source: dict[str, Any] = {"triples": table} if package == "pyoxigraph" else {"endpoint": "http://localhost/q"}
    with pytest.raises(MissingExtra, match=package) as error:
        load_graph(tmp_path / "g", CONFIG, **source)
    assert error.value.hint == "pip install 'gag[graph]'"
