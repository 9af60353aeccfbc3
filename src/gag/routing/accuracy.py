"""Routing accuracy on a labelled pool: micro, macro, per route, confusions, and as routes are added one at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gag.errors import DomainError, InputError
from gag.records import GENERAL, Question
from gag.routing.prototypes import route_of
from gag.routing.router import Router

_Z95 = 1.959964


@dataclass(frozen=True)
class Share:
    """`correct` of `n` as a share, with its Wilson 95 % interval."""

    correct: int
    n: int
    share: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class RoutingAccuracy:
    """How often the router takes the right one of `routes`."""

    routes: tuple[str, ...]
    micro: Share
    macro: float
    """Mean of the routes' own accuracies, over the routes that have questions."""
    per_route: dict[str, Share]
    confusion: dict[str, dict[str, int]]
    """Questions by their right route, then by the route taken."""
    left_out: dict[str, int]
    """Questions not scored, by right route, because that route is not attached."""

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)


def wilson(correct: int, n: int) -> Share:
    """The share `correct` / `n` with its Wilson score interval (95 %); raises ValueError for n < 1."""
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"no share of {correct} in {n}")
    share, z2 = correct / n, _Z95 * _Z95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Share(correct, n, share, max(0.0, middle - half), min(1.0, middle + half))


def routing_accuracy(
    router: Router, questions: Sequence[Question], embeddings: Float[Tensor, "n d"] | None = None
) -> RoutingAccuracy:
    """Accuracy on the questions whose right route (`domain`, or `route`) is attached; the others are counted only.

    `embeddings` of all `questions`, in order, save encoding them again. Raises InputError for a question without a
    route and for a pool without a question to score.
    """
    routes = router.routes
    right = [route_of(question) for question in questions]
    left_out = Counter(name for name in right if name not in routes)
    present = [i for i, name in enumerate(right) if name in routes]
    if not present:
        raise InputError(
            f"No question belongs to an attached route ({', '.join(routes) or 'none'}).",
            f"The pool's routes: {', '.join(sorted(left_out)) or 'none'}.",
        )
    if embeddings is None:
        scored = router.encoder.encode([questions[i].question for i in present])
    else:
        scored = embeddings[torch.tensor(present)]
    taken = [route.name for route in router.route_embeddings(scored)]
    return _tabulated(routes, [right[i] for i in present], taken, dict(left_out))


def grow(
    router: Router,
    order: Sequence[str],
    questions: Sequence[Question],
    embeddings: Float[Tensor, "n d"] | None = None,
) -> list[RoutingAccuracy]:
    """Accuracy with general and the first route of `order`, then with one route more at a time (paper tables 2, 10).

    Each stage scores the questions of the routes then present; every question is encoded once. `router` itself is not
    changed. Raises DomainError for a route in `order`, or general, that `router` does not have.
    """
    banks = router.banks
    domains = [name for name in order if name != GENERAL]
    missing = [name for name in (GENERAL, *domains) if name not in banks]
    if missing or not domains:
        raise DomainError(
            f"The router lacks {', '.join(missing) or 'a domain'}.", f"It has: {', '.join(banks) or 'no route'}."
        )
    if embeddings is None:
        embeddings = router.encoder.encode([question.question for question in questions])
    growing = Router(router.encoder, {GENERAL: banks[GENERAL]})
    stages: list[RoutingAccuracy] = []
    for name in domains:
        growing.attach(name, banks[name])
        stages.append(routing_accuracy(growing, questions, embeddings))
    return stages


def _tabulated(
    routes: tuple[str, ...], right: Sequence[str], taken: Sequence[str], left_out: dict[str, int]
) -> RoutingAccuracy:
    pairs = Counter(zip(right, taken, strict=True))
    confusion = {name: {other: pairs[name, other] for other in routes} for name in routes}
    per_route = {name: wilson(row[name], sum(row.values())) for name, row in confusion.items() if sum(row.values())}
    correct = sum(share.correct for share in per_route.values())
    return RoutingAccuracy(
        routes=routes,
        micro=wilson(correct, len(right)),
        macro=sum(share.share for share in per_route.values()) / len(per_route),
        per_route=per_route,
        confusion=confusion,
        left_out=left_out,
    )
