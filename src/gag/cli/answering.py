"""How `ask` and `chat` put one question and show the answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from rich.text import Text

from gag.cli.output import note, notes, results, write_json, write_text
from gag.errors import InputError
from gag.records import GENERAL, Answer, Question, Route

if TYPE_CHECKING:
    from gag.answering import Prepared
    from gag.config import Config, GenerationConfig
    from gag.system import GAG

MethodName = Literal["gag", "base", "egc"]
"""gag; the base alone; or the expert's background given to the base as text."""


@dataclass(frozen=True)
class Asking:
    """How to ask: `domain` None lets the router choose, `generation` None takes the route's own."""

    method: MethodName = "gag"
    domain: str | None = None
    generation: GenerationConfig | None = None
    background: bool = False
    as_json: bool = False


def chosen_generation(config: Config, overrides: list[str] | None) -> GenerationConfig | None:
    """The generation section where an override names it; else None, so that each module's own holds."""
    named = any(override.strip().startswith("generation") for override in overrides or ())
    return config.generation if named else None


def ask_once(model: GAG, question: str, asking: Asking) -> None:
    """Answer `question` on stdout: as JSON, streamed to a terminal, or whole; then a line about it on stderr."""
    from gag.answering import complete

    if not question.strip():
        raise InputError("The question is empty.", "Type one.")
    started = time.perf_counter()
    live = sys.stdout.isatty() and not asking.as_json
    with notes().status("reading") if live else nullcontext():
        item = prepared(model, question, asking)
    if asking.background and not asking.as_json:
        write_text(f"Background: {item.background or '(none on this route)'}\n")
    if live:
        _stream(model.stream_prepared(item))
        _footer(item, started)
        return
    answer = complete(model.base, [item], asking.method)[0]
    if asking.as_json:
        write_json(answer_json(answer, background=asking.background))
        return
    write_text(answer.text)
    _footer(item, started)


def prepared(model: GAG, question: str, asking: Asking) -> Prepared:
    """The question under the method's prompt, routed, with its background read where the method has one."""
    from gag.methods.egc import GeneratedContext

    asked = [Question("question", question)]
    given = None if asking.domain is None else [Route(asking.domain, {})]
    if asking.method != "egc":
        return model.prepare(asked, given, generation=asking.generation)[0]
    started = time.perf_counter()
    routes = given or model.router.route([question])
    if routes[0].name == GENERAL:
        return model.prepare(asked, routes, generation=asking.generation)[0]
    timings = {"route": time.perf_counter() - started}
    item = GeneratedContext(model, routes[0].name).prepare(asked)[0]
    return replace(
        item,
        route=routes[0],
        generation=asking.generation or item.generation,
        timings={**timings, **item.timings},
    )


def answer_json(answer: Answer, *, background: bool) -> dict[str, Any]:
    """The fields of an answer as `gag ask --json` prints them."""
    route = answer.route
    row: dict[str, Any] = {
        "text": answer.text,
        "route": route.name if route else None,
        "scores": dict(route.scores) if route else {},
        "knowledge_tokens": answer.knowledge_tokens,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "timings": {part: round(seconds, 6) for part, seconds in answer.timings.items()},
    }
    return {**row, "background": answer.background} if background else row


def _stream(pieces: Iterator[str]) -> None:
    console, pieces = results(), _trimmed(pieces)
    for piece in pieces:
        console.print(Text(piece), end="", soft_wrap=True)
    console.print()


def _trimmed(pieces: Iterator[str]) -> Iterator[str]:
    """The pieces without the white space that an answer may begin with."""
    begun = False
    for piece in pieces:
        text = piece if begun else piece.lstrip()
        begun = begun or bool(text)
        if text:
            yield text


def _footer(item: Prepared, started: float) -> None:
    route, added = item.route, item.added_tokens
    shown = "" if route is None else route.name
    if route is not None and route.name in route.scores:
        shown += f" ({route.scores[route.name]:.3f})"
    count = f"{added} knowledge token{'' if added == 1 else 's'} among {len(item.prompt.ids)} of the prompt"
    note(f"route {shown} · {count} · {time.perf_counter() - started:.2f} s")
