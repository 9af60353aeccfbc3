"""The HTTP backend against endpoints that misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from gag.config import GraphConfig
from gag.errors import ConfigError, GagError, InputError, RunError
from gag.graph.sparql import AUTHORIZATION, Remote, Rows

from .conftest import bindings, serving

CONFIG = GraphConfig(timeout=5, retries=0)
QUERY = "SELECT ?e WHERE { ?e ?p ?o }"


def asked(answer: Callable[[str], tuple[int, bytes]], config: GraphConfig = CONFIG) -> Rows:
    with serving(answer) as url:
        remote = Remote(url, config)
        try:
            return remote.select(QUERY, ("e",))
        finally:
            remote.close()


def test_terms_of_every_kind() -> None:
    rows = [
        {"e": {"type": "uri", "value": "http://e/a"}},
        {"e": {"type": "literal", "value": 'a "b"\n', "xml:lang": "en"}},
        {"e": {"type": "typed-literal", "value": "5", "datatype": "http://x/int"}},
        {"e": {"type": "bnode", "value": "b0"}},
        {},
    ]
    found = asked(lambda _: (200, bindings(rows)))
    assert found.given == 5  # a blank node and a gap are left out
    assert found == [
        ("<http://e/a>",),
        ('"a \\"b\\"\\n"@en',),
        ('"5"^^<http://x/int>',),
    ]


def test_one_that_is_silent() -> None:
    released = threading.Event()

    def silent(_: str) -> tuple[int, bytes]:
        released.wait(5)
        return 200, bindings([])

    started = time.monotonic()
    with serving(silent) as url:
        remote = Remote(url, GraphConfig(timeout=0.2, retries=1))
        with pytest.raises(RunError, match=r"did not answer within 0.2 s") as error:
            remote.select(QUERY, ("e",))
        released.set()
        remote.close()
    assert url in error.value.message and "graph.timeout" in error.value.hint
    assert time.monotonic() - started < 4


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"results": {"bindings": [{"e": {"type": "uri"',
        b'{"boolean": true}',
        b"[1]",
        b'{"results": 5}',
    ],
)
def test_a_result_that_is_broken_off(body: bytes) -> None:
    with pytest.raises(RunError, match="broken off or no SPARQL JSON"):
        asked(lambda _: (200, body))


def test_a_connection_that_ends_in_the_middle() -> None:
    with pytest.raises(RunError, match="broke off"):
        asked(lambda _: (299, bindings([])))  # claims more bytes than it sends


def test_nobody_there() -> None:
    with serving(lambda _: (200, b"")) as url:
        pass
    with pytest.raises(RunError, match="broke off"):
        Remote(url, CONFIG).select(QUERY, ("e",))


@pytest.mark.parametrize(("status", "tries"), [(400, 1), (401, 1), (429, 3), (503, 3)])
def test_a_refusal_is_said_and_a_busy_one_asked_again(status: int, tries: int) -> None:
    calls = []

    def refuse(query: str) -> tuple[int, bytes]:
        calls.append(query)
        return status, b"no such thing"

    with pytest.raises(RunError, match=f"refused with status {status}: no such thing"):
        asked(refuse, GraphConfig(timeout=5, retries=2))
    assert len(calls) == tries


def test_one_that_recovers() -> None:
    replies = iter([(503, b"busy"), (200, bindings([{"e": {"type": "uri", "value": "http://e/a"}}]))])
    assert asked(lambda _: next(replies), GraphConfig(timeout=5, retries=1)) == [("<http://e/a>",)]


def test_an_iri_that_would_change_the_next_query() -> None:
    row = {"e": {"type": "uri", "value": "http://e/a> ?p ?o . ?x ?y <http://e/b"}}
    with pytest.raises(RunError, match="is no IRI"):
        asked(lambda _: (200, bindings([row])))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/y",
        "localhost:8000",
        "",
        "http://",
        "file:///etc/passwd",
        "http://host:port/query",
        "http://host:99999/query",
        "http://:80/query",
        "http://[::1/query",
        "http://a..b/x",
        f"http://{'a' * 64}.org/x",
        "http://a\nb/x",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InputError, match="no endpoint's address"):
        Remote(url, CONFIG)


@pytest.mark.parametrize("url", ["http://[::1]:80/q", "https://my_host/q?x=1", "http://bücher.example/q"])
def test_an_address_that_is_less_common(url: str) -> None:
    Remote(url, CONFIG).close()


def test_no_password_is_written_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="name or password") as error:
        Remote("http://me:secret@localhost/q", CONFIG)
    assert "secret" not in str(error.value) and AUTHORIZATION in error.value.hint
    monkeypatch.setenv(AUTHORIZATION, "Bearer xyz")
    remote = Remote("http://localhost/q", CONFIG)
    assert remote._client.headers["Authorization"] == "Bearer xyz"
    remote.close()
    assert issubclass(type(error.value), GagError)


def test_a_secret_is_sent_without_its_line_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AUTHORIZATION, " Bearer s3cret\n")
    remote = Remote("http://localhost/q", CONFIG)
    assert remote._client.headers["Authorization"] == "Bearer s3cret"
    remote.close()


@pytest.mark.parametrize("secret", ["Bearer s3cret\nX: y", "Bearer s3crét", "s3cret\x7f"])
def test_a_secret_that_no_header_can_hold_is_not_shown(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv(AUTHORIZATION, secret)
    with pytest.raises(ConfigError, match="printable ASCII") as error:
        Remote("http://localhost/q", CONFIG)
    assert "s3cr" not in str(error.value) and AUTHORIZATION in error.value.hint
