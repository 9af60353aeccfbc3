"""How `ask` and `chat` put one question and show the answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.text import Text

from gag.cli.output import note, notes, results, write_json, write_text
from gag.errors import InputError
from gag.records import GENERAL, Answer, Question, Route

if TYPE_CHECKING:
    from gag.answering import Prepared
    from gag.methods.shelf import Shelf
    from gag.models.base import Base
    from gag.system import GAG

SYSTEM = ("gag", "gag-oracle", "base")
"""The methods that are the system itself, by the router's choice or the route given."""


@dataclass(frozen=True)
class Asking:
    """How to ask: `domain` None lets the router choose, `generation` has choices that come before the route's own.

    `shelf` has the methods that are not the system itself, over the same system.
    """

    method: str = "gag"
    domain: str | None = None
    generation: Mapping[str, Any] | None = None
    background: bool = False
    as_json: bool = False
    shelf: Shelf | None = None


def ask_once(model: GAG, question: str, asking: Asking) -> None:
    """Answer `question` on stdout: as JSON, streamed to a terminal, or whole; then a line about it on stderr."""
    from gag.answering import complete

    if not question.strip():
        raise InputError("The question is empty.", "Type one.")
    started = time.perf_counter()
    live = sys.stdout.isatty() and not asking.as_json
    with notes().status("reading") if live and asking.shelf is None else nullcontext():
        found = prepared(model, question, asking)
    if isinstance(found, Answer):
        _say(found, started, asking)
        return
    base, item = found
    if live and item.completion is None:
        _say_background(item, asking)
        vectors = None if item.vectors is None else item.vectors.unsqueeze(0)
        _stream(base.stream(item.prompt, vectors, item.generation))
        _footer(_cost(item), started)
        return
    _say(complete(base, [item], asking.method)[0], started, asking)


def prepared(model: GAG, question: str, asking: Asking) -> tuple[Base, Prepared] | Answer:
    """The question under the method's prompt, routed, and the base it is for; of a method without one, its answer."""
    asked = [Question("question", question)]
    given = None if asking.domain is None else [Route(asking.domain, {})]
    if asking.method in SYSTEM:
        return model.base, model.prepare(asked, given, generation=asking.generation)[0]
    started = time.perf_counter()
    routes = given or model.router.route([question])
    if routes[0].name == GENERAL:
        return model.base, model.prepare(asked, routes, generation=asking.generation)[0]
    return _by_method(asked[0], routes[0], {"route": time.perf_counter() - started}, asking)


def _by_method(
    question: Question, route: Route, timings: dict[str, float], asking: Asking
) -> tuple[Base, Prepared] | Answer:
    """The same for a method of the shelf on a domain's route; what the method needs is trained first."""
    from gag.methods.method import BaseBacked

    assert asking.shelf is not None
    method = asking.shelf.method(asking.method, route.name)
    if not isinstance(method, BaseBacked):
        answer = method.answer([question])[0]
        return replace(answer, route=answer.route or route)
    item = method.preparing.prepare([question])[0]
    return method.preparing.base, replace(item, route=route, timings={**timings, **item.timings})


def answer_json(answer: Answer, *, background: bool) -> dict[str, Any]:
    """The fields of an answer as `gag ask --json` prints them."""
    route, likely = answer.route, answer.background_probability
    row: dict[str, Any] = {
        "text": answer.text,
        "route": route.name if route else None,
        "scores": dict(route.scores) if route else {},
        "knowledge_tokens": answer.knowledge_tokens,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "background_probability": None if likely is None else round(likely, 4),
        "timings": {part: round(seconds, 6) for part, seconds in answer.timings.items()},
    }
    if answer.passages or answer.dropped_passages:
        row["passages"] = [
            {"id": name, "score": round(score, 4)}
            for name, score in zip(answer.passages, answer.passage_scores, strict=True)
        ]
        row["dropped_passages"] = answer.dropped_passages
    if answer.citations is not None:
        row["citations"] = [asdict(citation) for citation in answer.citations]
    return {**row, "background": answer.background} if background else row


def _say(answer: Answer, started: float, asking: Asking) -> None:
    if asking.as_json:
        write_json(answer_json(answer, background=asking.background))
        return
    _say_background(answer, asking)
    write_text(answer.text)
    for citation in answer.citations or ():
        place = "in no passage that was given"
        if citation.span is not None:
            place = f"{citation.passage}, characters {citation.span[0]} to {citation.span[1]}"
        write_text(f"  “{' '.join(citation.quote.split())}” ({place})")
    _footer(answer, started)


def _say_background(item: Answer | Prepared, asking: Asking) -> None:
    if asking.background:
        likely = item.background_probability
        sure = "" if likely is None else f" ({likely:.0%} sure)"
        nothing = "(none on this route)" if item.background is None else "(none written)"
        write_text(f"Background{sure}: {item.background or nothing}\n")


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


def _cost(item: Prepared) -> Answer:
    """What is known of an answer before it is written."""
    return Answer(
        item.question.id,
        "",
        "",
        route=item.route,
        prompt_tokens=len(item.prompt.ids),
        knowledge_tokens=item.added_tokens,
        passages=item.passages,
        dropped_passages=item.dropped_passages,
    )


def _footer(answer: Answer, started: float) -> None:
    route, added = answer.route, answer.knowledge_tokens
    shown = "" if route is None else route.name
    if route is not None and route.name in route.scores:
        shown += f" ({route.scores[route.name]:.3f})"
    count = f"{added} knowledge token{'' if added == 1 else 's'} among {answer.prompt_tokens} of the prompt"
    if answer.passages:
        count += f" · from {', '.join(answer.passages)}"
    if answer.dropped_passages:
        count += f" · {answer.dropped_passages} more did not fit the base's context"
    note(f"route {shown} · {count} · {time.perf_counter() - started:.2f} s")
