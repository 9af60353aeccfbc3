"""A small graph of films with awkward names, loaded once, and an endpoint over HTTP in front of the same store."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pyoxigraph
import pytest

from gag.config import GraphConfig
from gag.graph.store import STORE, Graph, load_graph

TRIPLES = (
    ("The Kiln", "directed_by", "Ana Ruiz"),
    ("The Kiln", "written_by", "Ana Ruiz"),
    ("The Kiln", "starred_actors", "Bo Lind"),
    ("The Kiln", "starred_actors", "Cy O'Dell"),
    ("The Kiln", "has_genre", "Drama"),
    ("Salt | Smoke", "directed_by", "Ana Ruiz"),
    ("Salt | Smoke", "written_by", 'Dee "Dot" Fox'),
    ("Salt | Smoke", "starred_actors", "Bo Lind"),
    ("Salt | Smoke", "has_genre", "Comedy"),
    ("Über die Brücke", "directed_by", "Eli Ström"),
    ("Über die Brücke", "starred_actors", "Cy O'Dell"),
    ("Über die Brücke", "has_genre", "Drama"),
    ("Über die Brücke", "release_year", "1999"),
    ("東京の夜", "directed_by", "Eli Ström"),
    ("東京の夜", "release_year", "1999"),
    ("<b>&\\{}^`", "has_genre", "Comedy"),
    ("Who?", "directed_by", "Eli Ström"),
    ("The Kiln", "alias", "Kiln, The"),
)


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The triples as a table."""
    path = tmp_path_factory.mktemp("triples") / "films.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in TRIPLES), "utf-8")
    return path


@pytest.fixture(scope="session")
def folder(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the graph is."""
    folder = tmp_path_factory.mktemp("graphs") / "films"
    load_graph(folder, GraphConfig(), triples=table)
    return folder


@pytest.fixture(scope="session")
def films(folder: Path) -> Iterator[Graph]:
    """The graph, opened."""
    graph = Graph.open(folder, GraphConfig())
    yield graph
    graph.close()


@pytest.fixture
def term(films: Graph) -> Callable[[str], str]:
    """The term of an entity by its name."""
    return lambda name: films.names.exact([name])[name][0].term


Answering = Callable[[str], tuple[int, bytes]]


@contextmanager
def serving(answer: Answering) -> Iterator[str]:
    """An HTTP server on loopback that answers POSTed queries with what `answer` gives."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            query = parse_qs(self.rfile.read(length).decode())["query"][0]
            status, body = answer(query)
            self.send_response(status)
            self.send_header("Content-Type", "application/sparql-results+json")
            claimed = len(body) if status != 299 else len(body) + 100
            self.send_header("Content-Length", str(claimed))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/query"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def results_of(store: Any, query: str) -> bytes:
    """What a SPARQL endpoint would say."""
    found = store.query(query)
    return bytes(found.serialize(format=pyoxigraph.QueryResultsFormat.JSON))


def cutting(store: Any, rows: int) -> Answering:
    """An endpoint that gives no more than so many rows, and does not say so."""

    def answer(query: str) -> tuple[int, bytes]:
        found: dict[str, Any] = json.loads(results_of(store, query))
        found["results"]["bindings"] = found["results"]["bindings"][:rows]
        return 200, json.dumps(found).encode()

    return answer


@pytest.fixture
def endpoint(folder: Path) -> Iterator[str]:
    """The address of an endpoint in front of the embedded store."""
    store = pyoxigraph.Store.read_only(str(folder / STORE))
    with serving(lambda query: (200, results_of(store, query))) as url:
        yield url


def bindings(rows: list[dict[str, dict[str, str]]]) -> bytes:
    """A SPARQL JSON result."""
    return json.dumps({"head": {"vars": []}, "results": {"bindings": rows}}).encode()
