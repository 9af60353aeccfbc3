"""How a graph is asked: one small protocol, answered by the embedded store or by any SPARQL endpoint over HTTP."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from gag.config import GraphConfig
from gag.errors import ConfigError, GagError, InputError, MissingExtra, RunError
from gag.graph.terms import iri_term, literal_term
from gag.graph.triples import require_pyoxigraph

AUTHORIZATION = "GAG_SPARQL_AUTHORIZATION"
"""Environment variable whose text is sent as the Authorization header; nothing secret is written to disk."""

_ACCEPT = "application/sparql-results+json"
_MOST_BYTES = 256 * 2**20


class Rows(list[tuple[str, ...]]):
    """Solutions as terms; `given` counts those that were left out too, as a LIMIT does."""

    def __init__(self, rows: Iterable[tuple[str, ...]], given: int) -> None:
        super().__init__(rows)
        self.given = given


class Sparql(Protocol):
    """Anything that answers SPARQL SELECT queries."""

    name: str

    def select(self, query: str, columns: Sequence[str]) -> Rows:
        """The solutions, their `columns` as N-Triples terms; those with a blank node or a gap are left out."""
        ...

    def close(self) -> None:
        """Let go of files or connections."""
        ...


class Embedded:
    """A pyoxigraph store on this disk, read only: several processes may read it."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        ox = require_pyoxigraph()
        try:
            self._store: Any = ox.Store.read_only(str(folder))
        except (OSError, ValueError, RuntimeError) as error:  # the last is its word for files that are damaged
            raise RunError(
                f"The store {folder} cannot be opened: {' '.join(str(error).split())[:200]}.",
                "Load the graph again: gag graph load NAME --triples FILE",
            ) from None

    def select(self, query: str, columns: Sequence[str]) -> Rows:
        """The solutions in the store's own order, which is always the same."""
        rows = [tuple(map(str, solution)) for solution in self._store.query(query)]
        return Rows((row for row in rows if not any(term[0] == "_" or term == "None" for term in row)), len(rows))

    def close(self) -> None:
        """Let go of the files."""
        self._store = None


class Remote:
    """A SPARQL endpoint: POSTs with a time limit, tried again when it is busy or does not answer.

    Raises RunError for one that stays silent, refuses, or breaks off in the middle of a result; InputError for what is
    no address, and ConfigError for a secret in it or one that cannot be sent, before anything is asked.
    """

    def __init__(self, url: str, config: GraphConfig) -> None:
        self.name, self.config = url, config
        try:
            import httpx
        except ImportError:
            raise MissingExtra("SPARQL endpoints need the package httpx.", "pip install 'gag[graph]'") from None
        self._httpx = httpx
        self._check_address(url)
        headers = {"Accept": _ACCEPT}
        if authorization := _authorization():
            headers["Authorization"] = authorization
        self._client = httpx.Client(timeout=config.timeout, headers=headers)

    def select(self, query: str, columns: Sequence[str]) -> Rows:
        """The solutions in the endpoint's order."""
        body = self._body(query)
        try:
            bindings = json.loads(body)["results"]["bindings"]
            rows = [[binding.get(column) for column in columns] for binding in bindings]
            terms = [[None if cell is None else self._term(cell) for cell in row] for row in rows]
        except GagError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"The endpoint {self.name} gave a result that is broken off or no SPARQL JSON "
                f"({type(error).__name__}; {len(body)} bytes, beginning {body[:40]!r}).",
                "Check that the address is that of its query service; if results are cut, lower graph.max_edges.",
            ) from None
        return Rows((tuple(t for t in row if t is not None) for row in terms if None not in row), len(terms))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _check_address(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            if parts.username or parts.password:
                raise ConfigError(
                    "The endpoint's address holds a name or password, which would be written to disk.",
                    f"Leave them out and set {AUTHORIZATION}='Basic …' (or 'Bearer …') in the environment.",
                )
            self._httpx.URL(url).raw_host.decode("ascii").encode("idna")  # as a connection encodes it
            right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except (ValueError, self._httpx.InvalidURL):
            right = False
        if not right:
            raise InputError(f"{url!r} is no endpoint's address.", "Write it as http://host:port/path or https://…")

    def _body(self, query: str) -> bytes:
        problem = ""
        for attempt in range(self.config.retries + 1):
            if attempt:
                time.sleep(min(2.0, 0.2 * 2**attempt))
            try:
                status, body = self._post(query)
            except self._httpx.TimeoutException:
                problem = f"did not answer within {self.config.timeout:g} s"
                continue
            except self._httpx.TransportError as error:
                problem = f"broke off ({' '.join(str(error).split())[:120] or type(error).__name__})"
                continue
            if status < 400:
                return body
            problem = f"refused with status {status}: {' '.join(body[:200].decode('utf-8', 'replace').split())}"
            if status < 500 and status != 429:
                break
        raise RunError(
            f"The endpoint {self.name} {problem}.",
            "Check that it runs and that the address is right; raise graph.timeout for a slow one.",
        )

    def _post(self, query: str) -> tuple[int, bytes]:
        deadline = time.monotonic() + self.config.timeout
        with self._client.stream("POST", self.name, data={"query": query}) as response:
            parts, size = [], 0
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if time.monotonic() > deadline:  # one that drips is as good as silent
                    raise self._httpx.ReadTimeout("the whole answer took too long")
                if size > _MOST_BYTES:
                    raise RunError(
                        f"The endpoint {self.name} sent over {_MOST_BYTES >> 20} MiB for one query.",
                        "It does not keep to LIMIT; use another one.",
                    )
            return response.status_code, b"".join(parts)

    def _term(self, cell: dict[str, str]) -> str | None:
        kind, value = cell["type"], cell["value"]
        if kind == "uri":
            return iri_term(value, f"The endpoint {self.name}")
        if kind in ("literal", "typed-literal"):
            return literal_term(value, cell.get("xml:lang"), cell.get("datatype"))
        return None


def _authorization() -> str:
    """The header's text; raises ConfigError, which does not show it, for one that cannot be sent."""
    text = os.environ.get(AUTHORIZATION, "").strip()
    if not (text.isascii() and text.isprintable()):
        raise ConfigError(
            f"The environment variable {AUTHORIZATION} is not one line of printable ASCII.",
            f"Set {AUTHORIZATION}='Bearer …' (or 'Basic …') again, without line breaks or other letters.",
        )
    return text
