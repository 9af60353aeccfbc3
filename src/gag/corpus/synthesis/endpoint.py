"""A writer behind an OpenAI-compatible endpoint: concurrent chat completions with retries, a rate limit and a price.

What the endpoint does wrong stays with the prompt it was about: 429 and 5xx are tried again (Retry-After is kept to),
as are time-outs and replies that are no completion; a prompt that is refused, or whose reply was cut before it began,
is not. Only a refused key or an unknown address ends the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from gag.config import SynthesisConfig
from gag.corpus.synthesis.generators import Failure, Reply
from gag.errors import ConfigError, MissingExtra, ModelError
from gag.prompts import Message, Untrusted

if TYPE_CHECKING:
    import httpx

CHARACTERS_A_TOKEN = 4
"""Of English text, about; only the estimate of the cost depends on it."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds between tries: doubled each time, with a random part."""
GIVE_UP_AFTER = 8
"""Prompts in a row that find no service at all, after which the others are not tried."""


@dataclass(frozen=True)
class Estimate:
    """What a run will cost, about: requests, tokens in and out, and the price where the config names one."""

    requests: int
    tokens_in: int
    tokens_out: int
    price: float | None


def estimate(prompts: Sequence[tuple[Message, ...]], tokens_out: int, config: SynthesisConfig) -> Estimate:
    """The cost of `prompts`, each answered in `tokens_out` tokens."""
    tokens = sum(len(_text(message)) for prompt in prompts for message in prompt) // CHARACTERS_A_TOKEN
    out = tokens_out * len(prompts)
    if config.price_in is None or config.price_out is None:
        return Estimate(len(prompts), tokens, out, None)
    return Estimate(len(prompts), tokens, out, (tokens * config.price_in + out * config.price_out) / 1e6)


def is_endpoint(model: str) -> bool:
    """Whether a model is named by an address."""
    return model.startswith(("http://", "https://"))


class EndpointWriter:
    """Chat completions of one model at one address; `URL#NAME` names the model."""

    def __init__(self, address: str, config: SynthesisConfig) -> None:
        url, _, named = address.partition("#")
        self._httpx = _httpx()
        self._url = _completions_url(url, self._httpx)
        self._config = config
        self._key = os.environ.get(config.api_key_env, "").strip()
        self._model = named or config.endpoint_model or ""
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._next = self._held = 0.0
        self._deaf = 0
        self._fatal: ModelError | None = None

    @property
    def name(self) -> str:
        """Address and model, and how it samples."""
        return f"{self._url}#{self._named_model()}/{self._config.temperature}"

    def complete(self, prompts: Sequence[tuple[Message, ...]], max_tokens: int) -> Iterator[tuple[int, Reply]]:
        """Replies as they come; raises ModelError where no prompt can succeed (a refused key, an unknown address)."""
        model = self._named_model()
        todo: queue.SimpleQueue[tuple[int, dict[str, Any]] | None] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, Reply]] = queue.SimpleQueue()
        for position, prompt in enumerate(prompts):
            todo.put((position, self._body(prompt, model, max_tokens)))
        count = min(self._config.concurrency, len(prompts))
        for _ in range(count):
            todo.put(None)
        self._stop.clear()
        self._deaf, self._fatal = 0, None
        with self._client() as client:
            workers = [
                threading.Thread(target=self._work, args=(client, todo, done), daemon=True) for _ in range(count)
            ]
            for worker in workers:
                worker.start()
            try:
                for _ in prompts:
                    yield done.get()
                    if self._fatal is not None:
                        raise self._fatal
            finally:
                self._stop.set()

    def _work(self, client: httpx.Client, todo: Any, done: Any) -> None:
        while (task := todo.get()) is not None and not self._stop.is_set():
            position, body = task
            try:
                reply = self._asked(client, body)
            except Exception as error:  # a thread must hand on whatever happens, or the run would wait for ever
                reply = Failure(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
            done.put((position, reply))

    def _asked(self, client: httpx.Client, body: dict[str, Any]) -> Reply:
        """One prompt, tried until it succeeds, cannot succeed, or the time for it is over."""
        until = time.monotonic() + self._config.retry_seconds
        wait, tries = FIRST_WAIT, 0
        while True:
            if self._deaf >= GIVE_UP_AFTER:
                return Failure("not asked: the endpoint has stopped answering", of_service=True)
            self._wait_for_turn()
            if self._stop.is_set():
                return Failure("not asked: the run has ended")
            tries += 1
            reply, again, pause = self._tried(client, body)
            if not again:
                self._deaf = 0
                return reply
            if pause is None:
                pause, wait = wait * (0.5 + random.random()), min(2 * wait, LONGEST_WAIT)
                over = tries > self._config.retries
            else:
                self._hold_everyone(pause)  # 429: the endpoint says so to all
                over = False
            if over or time.monotonic() + pause > until:
                assert isinstance(reply, Failure)
                with self._lock:
                    self._deaf += reply.of_service
                return Failure(f"{reply.reason} ({tries} {'try' if tries == 1 else 'tries'})", reply.of_service)
            self._stop.wait(pause)

    def _tried(self, client: httpx.Client, body: dict[str, Any]) -> tuple[Reply, bool, float | None]:
        """The reply or failure, whether to try again, and how long the endpoint asked to wait (None: not said)."""
        try:
            response = client.post(self._url, json=body)
        except self._httpx.TimeoutException:
            return Failure(f"no answer within {self._config.timeout:g} s", of_service=True), True, None
        except self._httpx.HTTPError as error:
            return Failure(f"no connection ({type(error).__name__})", of_service=True), True, None
        if response.status_code == 429:
            return Failure("429: too many requests"), True, _retry_after(response.headers.get("retry-after"))
        if response.status_code >= 500 or response.status_code in (408, 409, 425):
            return Failure(f"status {response.status_code}"), True, None
        if response.status_code in (401, 403, 404, 405) or response.is_redirect:
            self._fatal = self._refused(response.status_code)
            self._stop.set()
            return Failure(f"status {response.status_code}"), False, None
        if response.status_code != 200:
            lasting = response.status_code >= 400 and response.status_code != 402  # 402: the account is empty
            return Failure(f"status {response.status_code}: {_said(response)}", lasting=lasting), False, None
        try:
            choice = response.json()["choices"][0]
            content = choice["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            return Failure("the answer is no chat completion"), True, None
        if not isinstance(content, str) or not content.strip():
            if choice.get("finish_reason") == "length":  # a model that thinks has used them all up, and would again
                return Failure(f"no answer within {body['max_tokens']} tokens", lasting=True), False, None
            return Failure("the answer is empty"), True, None
        return content, False, None

    def _refused(self, status: int) -> ModelError:
        if status in (401, 403):
            have = f"The key in ${self._config.api_key_env} was" if self._key else "No key was sent: it is"
            return ModelError(
                f"The endpoint {self._url} refuses access (status {status}). {have} not accepted.",
                f"Put the key into the environment variable {self._config.api_key_env} (synthesis.api_key_env).",
            )
        return ModelError(
            f"There are no chat completions at {self._url} (status {status}).",
            "Name the address as the service gives it, usually ending in /v1; and the model after #.",
        )

    def _named_model(self) -> str:
        """The model's name: given, or the only one that the endpoint lists."""
        if self._model:
            return self._model
        address = self._url.removesuffix("/chat/completions") + "/models"
        try:
            with self._client() as client:
                response = client.get(address)
            names = [str(row["id"]) for row in response.json()["data"]]
        except (self._httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"The endpoint {address} does not say which models it has ({type(error).__name__}).",
                "Check that it runs; name the model after the address: URL#NAME.",
            ) from None
        if len(names) != 1:
            listed = ", ".join(names[:8]) or "none"
            raise ConfigError(
                f"The endpoint {address} has {len(names)} models: {listed}.",
                "Name one after the address: URL#NAME, or set synthesis.endpoint_model.",
            )
        self._model = names[0]
        return self._model

    def _client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = self._httpx.Limits(max_connections=max(1, self._config.concurrency))
        client: httpx.Client = self._httpx.Client(
            headers=headers, timeout=self._config.timeout, limits=limits, follow_redirects=False
        )
        return client

    def _body(self, prompt: tuple[Message, ...], model: str, max_tokens: int) -> dict[str, Any]:
        messages = [{"role": message.role, "content": _text(message)} for message in prompt]
        return {"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": self._config.temperature}

    def _wait_for_turn(self) -> None:
        """Keep to the requests a minute, and to what a 429 asked for."""
        gap = 60.0 / self._config.requests_per_minute if self._config.requests_per_minute else 0.0
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + gap
        self._stop.wait(max(0.0, turn - time.monotonic()))
        while (left := self._held - time.monotonic()) > 0 and not self._stop.is_set():
            self._stop.wait(left)

    def _hold_everyone(self, seconds: float) -> None:
        with self._lock:
            self._held = max(self._held, time.monotonic() + seconds)


def _retry_after(header: str | None) -> float:
    """Seconds to wait after a 429: as the header says (seconds or a date), else two; a little random part is added."""
    seconds = 2.0
    if header:
        try:
            seconds = float(header)
        except ValueError:
            with contextlib.suppress(ValueError, TypeError):
                seconds = parsedate_to_datetime(header).timestamp() - time.time()
    return min(max(seconds, 0.05), 600.0) * (1 + 0.1 * random.random())


def _said(response: httpx.Response) -> str:
    """What the endpoint says is wrong, shortened."""
    try:
        error = response.json()
        text = error.get("error", error)
        text = text.get("message", text) if isinstance(text, dict) else text
    except (ValueError, AttributeError):
        text = response.text
    return " ".join(str(text if isinstance(text, str) else json.dumps(text)).split())[:200]


def _text(message: Message) -> str:
    return "".join(part.text if isinstance(part, Untrusted) else str(part) for part in message.parts)


def _completions_url(url: str, httpx: Any) -> str:
    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL:
        host = ""
    if not host:
        raise ConfigError(f"{url} is no address.", "Name it like http://localhost:8000/v1#MODEL.")
    plain = url.rstrip("/")
    return plain if plain.endswith("/chat/completions") else f"{plain}/chat/completions"


def _httpx() -> Any:
    try:
        import httpx
    except ImportError:
        raise MissingExtra("Asking an endpoint needs httpx.", 'pip install "gag[ingest]"') from None
    return httpx
