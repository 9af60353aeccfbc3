"""An OpenAI-compatible endpoint on the loopback that answers, stalls, refuses, lies and dies."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gag.config import SynthesisConfig
from gag.corpus.synthesis import endpoint
from gag.corpus.synthesis.endpoint import EndpointWriter, estimate, is_endpoint
from gag.corpus.synthesis.generators import Failure, Reply
from gag.errors import ConfigError, ModelError
from gag.prompts import Message, Untrusted

Behaviour = Callable[[str, int], tuple[int, Any, dict[str, str]]]
"""From a prompt and how often it was asked to status, body and headers; None as body drops the connection."""


def said(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}}]}


def capitals(text: str, time: int) -> tuple[int, Any, dict[str, str]]:
    return 200, said(text.upper()), {}


@dataclass
class Service:
    """The endpoint: what it does, and what it saw."""

    behaviour: Behaviour = capitals
    url: str = ""
    models: tuple[str, ...] = ("one",)
    seen: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    now: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def serving(service: Service) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, {"data": [{"id": name} for name in service.models]}, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = body["messages"][-1]["content"]
            with service.lock:
                service.seen.append(text)
                service.bodies.append(body)
                service.keys.append(self.headers.get("Authorization"))
                times = service.seen.count(text)
                service.now += 1
                service.most = max(service.most, service.now)
            try:
                status, answer, headers = service.behaviour(text, times)
            finally:
                with service.lock:
                    service.now -= 1
            if answer is None:
                self.close_connection = True
                self.connection.close()
                return
            self._send(status, answer, headers)

        def _send(self, status: int, answer: Any, headers: dict[str, str]) -> None:
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            try:
                self.send_response(status)
                for key, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(data)
            except OSError:  # the client has gone
                pass

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    monkeypatch.delenv("GAG_API_KEY", raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(Service()) as running:
        yield running


def prompts(*texts: str) -> list[tuple[Message, ...]]:
    return [(Message("system", ("short",)), Message("user", (Untrusted(text),))) for text in texts]


def run(service: Service, texts: list[str], **choices: Any) -> dict[str, Reply]:
    config = SynthesisConfig(**{"timeout": 5, "retry_seconds": 20, **choices})
    writer = EndpointWriter(service.url, config)
    return {texts[position]: reply for position, reply in writer.complete(prompts(*texts), 7)}


def reason(reply: Reply) -> str:
    assert isinstance(reply, Failure), reply
    return reply.reason


def test_completions_come_back_at_their_places(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAG_API_KEY", "secret")
    assert run(service, ["a", "b", "c"], temperature=0.5) == {"a": "A", "b": "B", "c": "C"}
    assert set(service.keys) == {"Bearer secret"}
    body = next(b for b in service.bodies if b["messages"][-1]["content"] == "a")
    assert body == {
        "model": "one",
        "messages": [{"role": "system", "content": "short"}, {"role": "user", "content": "a"}],
        "max_tokens": 7,
        "temperature": 0.5,
    }


def test_no_key_is_sent_where_there_is_none(service: Service) -> None:
    run(service, ["a"])
    assert service.keys == [None]


def test_many_at_once_but_no_more_than_allowed(service: Service) -> None:
    def slow(text: str, times: int) -> tuple[int, Any, dict[str, str]]:
        time.sleep(0.05)
        return 200, said("x"), {}

    service.behaviour = slow
    run(service, [f"p{n}" for n in range(12)], concurrency=3)
    assert 2 <= service.most <= 3


def test_the_rate_limit_is_kept(service: Service) -> None:
    started = time.monotonic()
    run(service, ["a", "b", "c", "d"], requests_per_minute=1200, concurrency=4)
    assert time.monotonic() - started >= 0.14


def test_429_is_waited_for_as_long_as_it_takes(service: Service) -> None:
    until = time.monotonic() + 0.5

    def busy(text: str, times: int) -> tuple[int, Any, dict[str, str]]:
        if time.monotonic() < until:
            return 429, {"error": {"message": "slow down"}}, {"Retry-After": "0.1"}
        return 200, said(text.upper()), {}

    service.behaviour = busy
    assert run(service, ["a", "b", "c"], retries=0) == {"a": "A", "b": "B", "c": "C"}
    assert len(service.seen) < 30  # all of them waited, none hammered


def test_one_429_holds_all_requests_back(service: Service) -> None:
    """They come 250 ms apart; the first is told to wait, so no other is sent before it is tried again."""
    began = time.monotonic()
    sent: list[float] = []

    def first_too_many(text: str, times: int) -> tuple[int, Any, dict[str, str]]:
        sent.append(time.monotonic() - began)
        return (429, {}, {"Retry-After": "0.8"}) if len(sent) == 1 else (200, said("ok"), {})

    service.behaviour = first_too_many
    done = run(service, ["a", "b", "c"], requests_per_minute=240, concurrency=3)
    assert set(done.values()) == {"ok"}
    assert all(later - sent[0] >= 0.7 for later in sent[1:])


def test_429_without_an_end_fails_with_its_reason(service: Service) -> None:
    service.behaviour = lambda text, times: (429, {}, {"Retry-After": "0.2"})
    assert reason(run(service, ["a"], retry_seconds=0.3)["a"]).startswith("429: too many requests")


RUBBISH = {
    "no json": "<html>",
    "no choices": {"detail": "hello"},
    "empty": {"choices": []},
    "null": {"choices": [{"message": {"content": None}}]},
    "list": [1],
}


@pytest.mark.parametrize("kind", RUBBISH)
def test_rubbish_is_tried_again_and_named(kind: str, service: Service) -> None:
    service.behaviour = lambda text, times: (200, RUBBISH[kind] if text == "bad" else said("ok"), {})
    done = run(service, ["good", "bad"], retries=2)
    assert done["good"] == "ok"
    assert "(3 tries)" in reason(done["bad"])
    assert service.seen.count("bad") == 3


def test_what_mends_itself_is_an_answer(service: Service) -> None:
    service.behaviour = lambda text, times: (500, "oops", {}) if times < 3 else (200, said("ok"), {})
    assert run(service, ["a"]) == {"a": "ok"}


def test_a_refused_prompt_is_named_and_not_tried_again(service: Service) -> None:
    refusal = {"error": {"message": "context length exceeded"}}
    service.behaviour = lambda text, times: (400, refusal, {}) if text == "long" else (200, said("ok"), {})
    done = run(service, ["long", "short"])
    assert done["long"] == Failure("status 400: context length exceeded", lasting=True)
    assert done["short"] == "ok"
    assert service.seen.count("long") == 1


@pytest.mark.parametrize("status", [402, 408, 409, 425, 429, 500])
def test_what_another_run_may_mend_does_not_last(status: int, service: Service) -> None:
    service.behaviour = lambda text, times: (status, {}, {"Retry-After": "9"})
    failure = run(service, ["a"], retries=0, retry_seconds=1)["a"]
    assert isinstance(failure, Failure) and not failure.lasting and str(status) in failure.reason


@pytest.mark.parametrize("content", [None, "", " "])
def test_a_reply_that_was_cut_before_it_began_is_not_paid_for_twice(content: str | None, service: Service) -> None:
    cut = {"choices": [{"message": {"content": content}, "finish_reason": "length"}]}
    service.behaviour = lambda text, times: (200, cut, {})
    assert run(service, ["a"]) == {"a": Failure("no answer within 7 tokens", lasting=True)}
    assert service.seen == ["a"]


def test_a_reply_that_was_cut_later_is_read(service: Service) -> None:
    cut = {"choices": [{"message": {"content": "half a"}, "finish_reason": "length"}]}
    service.behaviour = lambda text, times: (200, cut, {})
    assert run(service, ["a"]) == {"a": "half a"}


def test_a_time_out_and_a_dropped_connection(service: Service) -> None:
    def late(text: str, times: int) -> tuple[int, Any, dict[str, str]]:
        if text == "late":
            time.sleep(0.6)
        return 200, None if text == "dropped" else said("ok"), {}

    service.behaviour = late
    done = run(service, ["late", "dropped", "good"], timeout=0.2, retries=1)
    assert "no answer within 0.2 s (2 tries)" in reason(done["late"])
    assert "no connection" in reason(done["dropped"])
    assert done["good"] == "ok"


def test_an_endpoint_that_dies_is_left_alone_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.001)
    with serving(Service()) as service:
        texts = [f"p{n}" for n in range(40)]
        writer = EndpointWriter(service.url + "#one", SynthesisConfig(timeout=1, retries=0, concurrency=1))
        replies = writer.complete(prompts(*texts), 7)
        first = [next(replies) for _ in range(3)]
    assert [reply for _, reply in first] == ["P0", "P1", "P2"]
    rest = [reply for _, reply in replies]
    assert len(rest) == 37
    reasons = [reason(reply) for reply in rest if isinstance(reply, Failure)]
    assert sum("no connection" in r for r in reasons) <= endpoint.GIVE_UP_AFTER
    assert "not asked: the endpoint has stopped answering" in reasons


@pytest.mark.parametrize(
    ("status", "expected"), [(401, "refuses access"), (403, "refuses"), (404, "no chat completions")]
)
def test_what_no_prompt_can_pass_ends_the_run(status: int, expected: str, service: Service) -> None:
    service.behaviour = lambda text, times: (status, "no", {})
    with pytest.raises(ModelError, match=expected):
        run(service, [f"p{n}" for n in range(20)], concurrency=2)
    assert len(service.seen) <= 4


def test_a_redirect_takes_no_key_elsewhere(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAG_API_KEY", "secret")
    service.behaviour = lambda text, times: (302, "", {"Location": "http://127.0.0.1:9/steal"})
    with pytest.raises(ModelError):
        run(service, ["a"])


def test_the_models_name(service: Service) -> None:
    assert EndpointWriter(service.url + "#named", SynthesisConfig()).name == f"{service.url}/chat/completions#named/0.0"
    assert EndpointWriter(service.url, SynthesisConfig()).name.endswith("#one/0.0")
    service.models = ("one", "two")
    with pytest.raises(ConfigError, match="2 models: one, two"):
        _ = EndpointWriter(service.url, SynthesisConfig()).name
    assert EndpointWriter(service.url, SynthesisConfig(endpoint_model="two")).name.endswith("#two/0.0")


def test_nobody_there() -> None:
    with pytest.raises(ModelError, match="does not say which models"):
        _ = EndpointWriter("http://127.0.0.1:9/v1", SynthesisConfig(timeout=1)).name
    with pytest.raises(ConfigError, match="is no address"):
        EndpointWriter("http://", SynthesisConfig())


def test_a_reader_that_leaves_stops_the_workers(service: Service) -> None:
    writer = EndpointWriter(service.url, SynthesisConfig(concurrency=2))
    replies = writer.complete(prompts(*(f"p{n}" for n in range(200))), 7)
    next(replies)
    replies.close()  # type: ignore[attr-defined]
    time.sleep(0.2)
    seen = len(service.seen)
    time.sleep(0.1)
    assert len(service.seen) == seen < 200


def test_the_estimate() -> None:
    asked = prompts("x" * 395, "x" * 395)
    config = SynthesisConfig(price_in=1.0, price_out=10.0)
    cost = estimate(asked, 100, config)
    assert (cost.requests, cost.tokens_in, cost.tokens_out) == (2, 200, 200)
    assert cost.price == pytest.approx(200e-6 + 2000e-6)
    assert estimate(asked, 100, SynthesisConfig()).price is None
    assert is_endpoint("https://x/v1") and not is_endpoint("package:llm")
