"""What routing costs: matching beside the encoder's own forward, and a thousand banks.

    python -m benchmarks.routing [--rounds 30] [--json FILE]

What is compared alternates within one run; every figure is a median.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.measure import Row, alternating, machine, report, row
from gag.config import ModelsConfig, RouterConfig
from gag.models.loading import load_encoder
from gag.routing.encoder import Encoder
from gag.routing.prototypes import general_questions
from gag.routing.router import Router

_Given = TypeVar("_Given")

PROTOTYPES = 32
FEW, MANY = 6, 1000
BATCH = 256
WARM = 3
"""Rounds that do not count."""


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    encoder = Encoder.from_loaded(load_encoder(ModelsConfig().encoder), RouterConfig())
    described = machine() | {"encoder": encoder.name, "dimension": encoder.dimension}
    questions = [question.question for question in general_questions(RouterConfig(), None)]
    rows = [*forward_rows(encoder, questions, arguments.rounds), *matching_rows(encoder, 2 * arguments.rounds)]
    report("routing", rows, described, arguments.json)


def forward_rows(encoder: Encoder, questions: Sequence[str], rounds: int) -> list[Row]:
    """Matching, and everything but the model's forward, as shares of that forward."""
    rows = []
    for count in (1, 64):
        asked = list(questions[:count])
        embeddings = encoder.encode(asked)
        tokens = encoder.texts.tokenize(asked, truncation=True, max_length=encoder.max_length, padding=False)
        for routes in (FEW, MANY):
            router = Router(encoder, random_banks(routes, encoder.dimension))
            forward, encode, match, whole = medians(
                rounds,
                each_turn(encoder.texts.states, tokens),
                each_turn(encoder.encode, asked),
                each_turn(router.route_embeddings, embeddings),
                each_turn(router.route, asked),
            )
            case = f"{count} question{'s' * (count > 1)}, {routes} routes"
            rows += [
                row(f"{case}: the encoder's forward alone", 1000 * forward, "ms"),
                row(
                    f"{case}: matching, share of the forward",
                    100 * match / forward,
                    "%",
                    at_most=5.0 if routes == FEW else None,
                ),
                row(f"{case}: tokenising and pooling, share of the forward", 100 * (encode / forward - 1), "%"),
                row(f"{case}: the whole route", 1000 * whole, "ms"),
            ]
    return rows


def matching_rows(encoder: Encoder, rounds: int) -> list[Row]:
    """A thousand banks: scores alone, and with the route and its scores made; one question and batches by turns of
    their own, since a batch leaves nothing of the banks in the processor's cache.
    """
    router = Router(encoder, random_banks(MANY, encoder.dimension))
    one, many = unit(1, encoder.dimension, 1), unit(BATCH, encoder.dimension, 2)
    (single, single_route), (batch, batch_route) = (
        medians(
            rounds,
            each_turn(router.match, asked),
            each_turn(router.route_embeddings, asked),
        )
        for asked in (one, many)
    )
    case = f"{MANY} banks of {PROTOTYPES}"
    each = f"{case}: a question in a batch of {BATCH}"
    return [
        row(f"{case}: one question, scores", 1000 * single, "ms", at_most=2.0),
        row(f"{case}: one question, route and scores", 1000 * single_route, "ms", at_most=2.0),
        row(f"{each}, scores", 1000 * batch / BATCH, "ms", at_most=0.2),
        row(f"{each}, routes and scores", 1000 * batch_route / BATCH, "ms", at_most=0.2),
    ]


def each_turn(work: Callable[[_Given], object], given: _Given) -> Callable[[int], object]:
    """Work on the same every turn."""
    return lambda turn: work(given)


def medians(rounds: int, *calls: Callable[[int], object]) -> list[float]:
    """Median seconds of each call, of a GPU's work too."""
    with torch.no_grad():
        return [statistics.median(taken) for taken in alternating(rounds, *map(_to_its_end, calls), warm=WARM)]


def _to_its_end(call: Callable[[int], object]) -> Callable[[int], object]:
    """`call`, and what it set a GPU to do."""
    if not torch.cuda.is_available():
        return call

    def whole(turn: int) -> None:
        call(turn)
        torch.cuda.synchronize()

    return whole


def random_banks(count: int, dimension: int) -> dict[str, Tensor]:
    """`count` banks of unit vectors, general first."""
    rows = unit(count * PROTOTYPES, dimension, 0).split(PROTOTYPES)
    return {"general" if i == 0 else f"domain{i}": bank for i, bank in enumerate(rows)}


def unit(count: int, dimension: int, seed: int) -> Tensor:
    """Random unit vectors `[count, dimension]`."""
    return normalize(torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed)), dim=-1)


if __name__ == "__main__":
    main()
