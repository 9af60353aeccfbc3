"""What can be known of a graph at a SPARQL endpoint when it is loaded: counts, names, and where its results are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from gag.config import GraphConfig
from gag.errors import InputError
from gag.graph.names import NameWriter
from gag.graph.sparql import Remote
from gag.graph.terms import BLANK, literal_value
from gag.graph.triples import read_statements, stored_spelling
from gag.progress import Progress

_PAGE = 10_000
_SAMPLE = 50


@dataclass(frozen=True)
class EndpointGraph:
    """Triples by the term of their property, where results are cut (None: not seen), and whether all names came."""

    counts: tuple[tuple[str, int], ...]
    row_cap: int | None
    names_cut: bool

    @property
    def triples(self) -> int:
        """All of them."""
        return sum(count for _, count in self.counts)


def most_rows(config: GraphConfig) -> int:
    """More rows than any query asks for: walks, weak labels (ten times graph.max_edges) and pages of names."""
    return max(10 * config.max_edges + 1, _PAGE)


def describe_endpoint(endpoint: str, config: GraphConfig, writer: NameWriter, on_progress: Progress) -> EndpointGraph:
    """Count the triples and give the names of the entities to `writer`; raises InputError for an empty endpoint."""
    remote = Remote(endpoint, config)
    try:
        rows = remote.select("SELECT ?p (COUNT(*) AS ?n) WHERE { ?s ?p ?o } GROUP BY ?p", ("p", "n"))
        counts = tuple((predicate, int(literal_value(count)[0])) for predicate, count in rows)
        if not counts:
            raise InputError(f"The endpoint {endpoint} has no triples.", "Check the address, and its default graph.")
        cap = _row_cap(remote, sum(count for _, count in counts), config)
        page = min(_PAGE, cap or _PAGE)
        cut = _fetch_entities(remote, page, config.max_names, writer, on_progress)
        _fetch_labels(remote, [term for term, _ in counts if term in writer.attributes], page, writer)
    finally:
        remote.close()
    return EndpointGraph(counts, cap, cut)


def check_endpoint(endpoint: str, config: GraphConfig, triples: Path) -> int | None:
    """Raises InputError unless the endpoint has the first triples of the file; returns where it cuts its results.

    Numbers and dates are looked for as the store spells them, which is how an export writes them.
    """
    remote = Remote(endpoint, config)
    try:
        named = (s for s in read_statements(triples) if not any(term.startswith(f"<{BLANK}") for term in s))
        first = list(islice(named, _SAMPLE))
        spelt = stored_spelling(tail for _, _, tail in first)
        sample = {(head, predicate, spelt.get(tail, tail)) for head, predicate, tail in first}
        values = " ".join("({} {} {})".format(*statement) for statement in sample)
        query = f"SELECT ?s ?p ?o WHERE {{ VALUES (?s ?p ?o) {{ {values} }} ?s ?p ?o }}"
        missing = len(sample - {(row[0], row[1], row[2]) for row in remote.select(query, ("s", "p", "o"))})
        if missing:
            raise InputError(
                f"The endpoint {endpoint} lacks {missing} of the first {len(sample)} triples of {triples}.",
                "Give it the same triples (gag graph export NAME writes them as N-Triples), or leave out one of both.",
            )
        rows = remote.select("SELECT (COUNT(*) AS ?n) WHERE { ?s ?p ?o }", ("n",))
        return _row_cap(remote, int(literal_value(rows[0][0])[0]), config)
    finally:
        remote.close()


def _row_cap(remote: Remote, total: int, config: GraphConfig) -> int | None:
    """How many rows the endpoint gives at most, where that is fewer than asked for: some cut without a word."""
    wanted = min(total, most_rows(config))
    rows = remote.select(f"SELECT ?p WHERE {{ ?s ?p ?o }} LIMIT {wanted}", ("p",)).given
    return max(1, rows) if rows < wanted else None


def _fetch_entities(remote: Remote, page: int, most: int, writer: NameWriter, on_progress: Progress) -> bool:
    """Entities page by page in the order of their IRIs; returns whether `most` cut them."""
    fetched = 0
    for pattern in ("?e ?p ?o", "?s ?p ?e"):
        after = ""
        while True:
            query = f"SELECT DISTINCT ?e WHERE {{ {pattern} FILTER(isIRI(?e)) {after} }} ORDER BY STR(?e) LIMIT {page}"
            rows = remote.select(query, ("e",))
            for (term,) in rows:
                writer.add_entity(term)
            fetched += len(rows)
            on_progress("names", fetched, fetched + page, "entities")
            if len(rows) < page:
                break
            if fetched >= most:
                return True
            after = f'FILTER(STR(?e) > "{rows[-1][0][1:-1]}")'  # an IRI holds no quote
    return False


def _fetch_labels(remote: Remote, properties: Sequence[str], page: int, writer: NameWriter) -> None:
    for term in properties:
        offset = 0
        while True:
            query = f"SELECT ?e ?name WHERE {{ ?e {term} ?name }} ORDER BY STR(?e) STR(?name)"
            rows = remote.select(f"{query} LIMIT {page} OFFSET {offset}", ("e", "name"))
            for entity, name in rows:
                writer.add((entity, term, name))
            if rows.given < page:
                break
            offset += page
