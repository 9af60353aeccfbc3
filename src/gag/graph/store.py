"""A graph on disk, `graphs/NAME/` of a workspace: where its triples are, its relations, the names of its entities.

    graph.json      kind (embedded or endpoint), counts, relations, where it came from
    store/          pyoxigraph's files; absent when the triples live at an endpoint
    names.sqlite    gag.graph.names

A load is written beside its place and renamed, so that a graph is whole or not there.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gag.atomic import new_file, new_folder, restore_interrupted
from gag.config import GraphConfig, check_domain_name
from gag.errors import ConfigError, InputError, RunError
from gag.graph.endpoint import check_endpoint, describe_endpoint, most_rows
from gag.graph.names import Names, NameWriter
from gag.graph.sparql import Embedded, Remote, Sparql
from gag.graph.terms import ALIASES, INVERSE, LABELS, check_relation_name, relation_label, relation_term
from gag.graph.triples import Statement, StatementStream, read_statements, require_pyoxigraph, stored_spelling
from gag.progress import Progress, silent
from gag.records import content_hash

MANIFEST, STORE, NAMES = "graph.json", "store", "names.sqlite"
VERSION = 1
_EVERY = 50_000
_NAMING = 2
"""Raised where names are made in another way, so that the same file is loaded once more."""


@dataclass(frozen=True)
class Relation:
    """A kind of edge: its name in paths, its term in queries, and how many triples have it."""

    name: str
    term: str
    count: int


@dataclass(frozen=True)
class GraphManifest:
    """graph.json. `row_cap` is where the endpoint cuts its results; `names_cut`: not all of its names were fetched."""

    name: str
    kind: str
    triples: int
    entities: int
    relations: tuple[Relation, ...]
    source: str = ""
    sha256: str = ""
    endpoint: str | None = None
    row_cap: int | None = None
    names_cut: bool = False
    version: int = VERSION

    @property
    def relations_hash(self) -> str:
        """What a trained planner depends on."""
        return content_hash([[r.name, r.term] for r in self.relations])


class Graph:
    """An opened graph: queries, names and relations."""

    def __init__(self, manifest: GraphManifest, sparql: Sparql, names: Names, config: GraphConfig) -> None:
        self.manifest, self.sparql, self.names, self.config = manifest, sparql, names, config
        self.name = manifest.name
        self.relations = {relation.name: relation for relation in manifest.relations}
        self._by_term = {relation.term: relation.name for relation in manifest.relations}
        named = (*(f"<{iri}>" for iri in (*LABELS, *ALIASES)), *map(relation_term, config.alias_relations))
        self.attributes = tuple(term for term in dict.fromkeys(named) if term not in self._by_term)

    @classmethod
    def open(cls, folder: Path, config: GraphConfig) -> Graph:
        """The graph in `folder`; raises InputError where there is none, RunError for a damaged one."""
        restore_interrupted(folder)
        manifest = read_manifest(folder)
        url = manifest.endpoint
        sparql: Sparql = Embedded(folder / STORE) if url is None else Remote(url, config)
        try:
            return cls(manifest, sparql, Names(folder / NAMES), config)
        except RunError:
            sparql.close()
            raise

    def relation(self, step: str) -> Relation:
        """The relation of a step of a path (with or without the inverse mark); raises InputError."""
        name = step.removeprefix(INVERSE)
        if name not in self.relations:
            near = difflib.get_close_matches(name, self.relations, n=1, cutoff=0.4)
            guess = f" Did you mean {step[: len(step) - len(name)]}{near[0]}?" if near else ""
            shown = ", ".join(sorted(self.relations)[:12]) + (", …" if len(self.relations) > 12 else "")
            raise InputError(
                f"The graph {self.name} has no relation {name!r}.{guess}",
                f"It has {shown}; {INVERSE} before one walks it backwards.",
            )
        return self.relations[name]

    def relation_of(self, term: str) -> str | None:
        """The name of the relation with this term; None for a property that is none (a label)."""
        return self._by_term.get(term)

    def labels(self, terms: Sequence[str]) -> list[str]:
        """What each of `terms` is called."""
        return self.names.labels(terms)

    def label(self, term: str) -> str:
        """What a term is called."""
        return self.names.labels([term])[0]

    def close(self) -> None:
        """Let go of files and connections."""
        self.sparql.close()
        self.names.close()


def read_manifest(folder: Path) -> GraphManifest:
    """graph.json of a graph's folder; raises InputError where there is none, RunError where it cannot be read."""
    path = folder / MANIFEST
    if not path.is_file():
        have = ", ".join(p.parent.name for p in sorted(folder.parent.glob(f"[!.]*/{MANIFEST}"))) or "none"
        raise InputError(
            f"There is no graph {folder.name!r} in {folder.parent} (there are: {have}).",
            f"Load it: gag graph load {folder.name} --triples FILE",
        )
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        relations = tuple(Relation(**relation) for relation in row.pop("relations"))
        manifest = GraphManifest(**row, relations=relations)
        if manifest.version != VERSION:
            raise ValueError(f"version {manifest.version}")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{path} cannot be read ({type(error).__name__}).",
            f"Load the graph again: gag graph load {folder.name} --triples FILE",
        ) from None
    return manifest


def load_graph(
    folder: Path,
    config: GraphConfig,
    *,
    triples: Path | None = None,
    endpoint: str | None = None,
    on_progress: Progress = silent,
) -> GraphManifest:
    """Make the graph `folder` from a triple file, an endpoint, or both; what was there before stays until it is whole.

    With both, the triples stay at the endpoint, which must have those of the file; the file gives names and relations.
    A file that was loaded before under the same choices is not loaded again. Raises InputError, RunError, BusyError.
    """
    if triples is None and endpoint is None:
        raise ConfigError("A graph needs triples.", "Name a file with --triples FILE, or --endpoint URL, or both.")
    statements = read_statements(triples) if triples is not None else None  # refuses a wrong file before all else
    if endpoint is not None:
        Remote(endpoint, config).close()  # refuses a wrong address
    digest, lines = ("", 0) if triples is None else _sha256(triples)
    far = None if endpoint is None else [endpoint, most_rows(config)]
    key = content_hash(_NAMING, digest, config.alias_relations, config.language, far) if digest else ""
    kept = _kept(folder, config, key) if key else None
    if kept is not None:
        on_progress("load", 1, 1, "kept")
        return kept
    with new_folder(folder) as partial:
        aliases = [relation_term(name) for name in config.alias_relations]
        writer = NameWriter(partial / NAMES, config.language, aliases)
        try:
            if statements is None:
                assert endpoint is not None
                made = _from_endpoint(endpoint, config, writer, on_progress)
            else:
                assert triples is not None
                made = _from_file(partial, statements, writer, lines, on_progress)
                made |= {"source": os.fspath(triples), "sha256": key}
                if endpoint is not None:
                    made |= {"kind": "endpoint", "endpoint": endpoint}
                    made |= {"row_cap": check_endpoint(endpoint, config, triples)}
        finally:
            writer.close()
        manifest = GraphManifest(name=folder.name, **made)
        (partial / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1, ensure_ascii=False) + "\n", "utf-8")
        if endpoint is not None:
            shutil.rmtree(partial / STORE, ignore_errors=True)
    return manifest


def _kept(folder: Path, config: GraphConfig, key: str) -> GraphManifest | None:
    """The manifest of what is there already under `key`; None where nothing is, or it is damaged and to be replaced."""
    try:
        manifest = read_manifest(folder)
        if manifest.sha256 != key:
            return None
        Graph.open(folder, config).close()
    except (InputError, RunError):
        return None
    return manifest


def _from_file(
    partial: Path, statements: Iterator[Statement], writer: NameWriter, lines: int, on_progress: Progress
) -> dict[str, Any]:
    ox = require_pyoxigraph()
    read = 0

    def seen(statements: Sequence[Statement]) -> None:
        nonlocal read
        spelt = stored_spelling(tail for _, _, tail in statements)
        for statement in statements:
            writer.add(statement, spelt.get(statement[2]))
            read += 1
            if read % _EVERY == 0:
                on_progress("load", read, max(lines, read + 1))

    store = ox.Store(str(partial / STORE))
    store.bulk_load(input=StatementStream(statements, seen), format=ox.RdfFormat.N_TRIPLES, lenient=True)
    entities = writer.finish()
    counts = [
        (str(row[0]), int(row[1].value)) for row in store.query("SELECT ?p (COUNT(*) AS ?n) { ?s ?p ?o } GROUP BY ?p")
    ]
    relations = named_relations(counts, writer.attributes)
    total = len(store)
    store.flush()
    del store
    on_progress("load", read, read, f"{total} triples, {entities} entities, {len(relations)} relations")
    return {"kind": "embedded", "triples": total, "entities": entities, "relations": relations}


def _from_endpoint(endpoint: str, config: GraphConfig, writer: NameWriter, on_progress: Progress) -> dict[str, Any]:
    found = describe_endpoint(endpoint, config, writer, on_progress)
    entities = writer.finish()
    relations = named_relations(found.counts, writer.attributes)
    note = f"{found.triples} triples at the endpoint, {entities} names, {len(relations)} relations"
    on_progress("load", 1, 1, note)
    made = {"kind": "endpoint", "triples": found.triples, "entities": entities, "relations": relations}
    return {**made, "endpoint": endpoint, "row_cap": found.row_cap, "names_cut": found.names_cut}


def named_relations(counts: Sequence[tuple[str, int]], attributes: frozenset[str]) -> tuple[Relation, ...]:
    """The relations by name; where two IRIs end alike, each is called by its whole IRI."""
    walked = sorted((term, count) for term, count in counts if term not in attributes)
    short = [relation_label(term) for term, _ in walked]
    found = []
    for (term, count), name in zip(walked, short, strict=True):
        whole = name if short.count(name) == 1 and not name.startswith(INVERSE) else term[1:-1]
        found.append(Relation(check_relation_name(whole, "the graph"), term, count))
    if not found:
        raise InputError("The graph has no relations, only labels.", "Add triples between entities.")
    return tuple(sorted(found, key=lambda relation: relation.name))


def _sha256(path: Path) -> tuple[str, int]:
    """A file's sha256 and its lines."""
    digest, lines = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            lines += block.count(b"\n")
    return digest.hexdigest(), lines


def graph_folder(root: Path, name: str) -> Path:
    """Where the workspace `root` keeps the graph called `name`; raises ConfigError for what is no folder's name."""
    return root / "graphs" / check_domain_name(name)


def export_graph(folder: Path, out: Path) -> int:
    """Write an embedded graph as N-Triples, whole or not at all; returns the triples. Raises InputError, RunError."""
    manifest = read_manifest(folder)
    if manifest.endpoint is not None:
        raise InputError(f"The triples of {manifest.name} are at {manifest.endpoint}.", "Export them there.")
    ox = require_pyoxigraph()
    with new_file(out) as partial:
        store = ox.Store.read_only(str(folder / STORE))
        store.dump(str(partial), ox.RdfFormat.N_TRIPLES, from_graph=ox.DefaultGraph())
    return manifest.triples
