"""What routing costs: matching beside the encoder's own forward, and a thousand banks (python benchmarks/routing.py).

Ratios are measured in one run, alternating what is compared; every figure is a median. Prints a table, and writes
JSON with --json FILE.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from gag.config import ModelsConfig, RouterConfig
from gag.models.loading import load_encoder
from gag.routing.encoder import Encoder
from gag.routing.prototypes import general_questions
from gag.routing.router import Router

PROTOTYPES = 32
FEW, MANY = 6, 1000
BATCH = 256


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    encoder = Encoder.from_loaded(load_encoder(ModelsConfig().encoder), RouterConfig())
    questions = [question.question for question in general_questions(RouterConfig(), None)]
    rows = [*forward_rows(encoder, questions, arguments.rounds), *matching_rows(encoder, 2 * arguments.rounds)]
    print(f"{encoder.name}, {encoder.dimension} dimensions, {torch.get_num_threads()} threads, {platform.machine()}")
    for row in rows:
        limit = f"at most {row['limit']:g}" if row["limit"] is not None else ""
        verdict = "" if row["limit"] is None else ("met" if row["value"] <= row["limit"] else "MISSED")
        print(f"{row['what']:<74} {row['value']:>9.4f} {row['unit']:<4} {limit:<14} {verdict}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        machine = {"machine": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
        arguments.json.write_text(json.dumps({**machine, "rows": rows}, indent=1) + "\n")


def forward_rows(encoder: Encoder, questions: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    """Matching, and everything but the model's forward, as shares of that forward."""
    rows = []
    for count in (1, 64):
        for routes in (FEW, MANY):
            router = Router(encoder, random_banks(routes, encoder.dimension))
            asked = list(questions[:count])
            embeddings = encoder.encode(asked)
            batch = tokenized(encoder, asked)
            forward, encode, match, whole = alternating(
                rounds,
                lambda batch=batch: encoder._model(**batch),
                lambda asked=asked: encoder.encode(asked),
                lambda router=router, embeddings=embeddings: router.route_embeddings(embeddings),
                lambda router=router, asked=asked: router.route(asked),
            )
            case = f"{count} question{'s' * (count > 1)}, {routes} routes"
            limit = 5.0 if routes == FEW else None
            rows += [
                row(f"{case}: the encoder's forward alone", 1000 * forward, "ms"),
                row(f"{case}: matching, share of the forward", 100 * match / forward, "%", limit),
                row(f"{case}: tokenising and pooling, share of the forward", 100 * (encode / forward - 1), "%"),
                row(f"{case}: the whole route", 1000 * whole, "ms"),
            ]
    return rows


def matching_rows(encoder: Encoder, rounds: int) -> list[dict[str, Any]]:
    """A thousand banks: scores alone, and with the route and its scores made."""
    router = Router(encoder, random_banks(MANY, encoder.dimension))
    one, many = unit(1, encoder.dimension, 1), unit(BATCH, encoder.dimension, 2)
    single, single_route, batch, batch_route = alternating(
        rounds,
        lambda: router.match(one),
        lambda: router.route_embeddings(one),
        lambda: router.match(many),
        lambda: router.route_embeddings(many),
    )
    case = f"{MANY} banks of {PROTOTYPES}"
    return [
        row(f"{case}: one question, scores", 1000 * single, "ms", 2.0),
        row(f"{case}: one question, route and scores", 1000 * single_route, "ms", 2.0),
        row(f"{case}: a question in a batch of {BATCH}, scores", 1000 * batch / BATCH, "ms", 0.2),
        row(f"{case}: a question in a batch of {BATCH}, routes and scores", 1000 * batch_route / BATCH, "ms", 0.2),
    ]


def row(what: str, value: float, unit: str, limit: float | None = None) -> dict[str, Any]:
    """One line of the table; `limit` is the most the value may be."""
    return {"what": what, "value": value, "unit": unit, "limit": limit}


def tokenized(encoder: Encoder, questions: list[str]) -> dict[str, Tensor]:
    """One padded batch, ready for the model."""
    batch = encoder._tokenizer(
        questions, padding=True, truncation=True, max_length=encoder.max_length, return_tensors="pt"
    )
    return dict(batch)


def alternating(rounds: int, *calls: Callable[[], object]) -> list[float]:
    """Median seconds of each call, run in turns so that a busy moment meets all of them."""
    seconds: list[list[float]] = [[] for _ in calls]
    with torch.no_grad():
        for turn in range(rounds + 3):
            for call, taken in zip(calls, seconds, strict=True):
                start = time.perf_counter()
                call()
                if turn >= 3:  # the first turns warm up
                    taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in seconds]


def random_banks(count: int, dimension: int) -> dict[str, Tensor]:
    """`count` banks of unit vectors, general first."""
    rows = unit(count * PROTOTYPES, dimension, 0).split(PROTOTYPES)
    return {"general" if i == 0 else f"domain{i}": bank for i, bank in enumerate(rows)}


def unit(count: int, dimension: int, seed: int) -> Tensor:
    """Random unit vectors `[count, dimension]`."""
    return normalize(torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed)), dim=-1)


if __name__ == "__main__":
    main()
