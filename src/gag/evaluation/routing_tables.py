"""Routing as the comparison measures it: growing from two routes to all, confusions, and the prototype map in 2-D."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import load_file
from torch import Tensor

from gag.domain import check_encoder, list_modules
from gag.errors import ConfigError, InputError
from gag.evaluation.bench.inputs import local_weights
from gag.evaluation.bench.place import Place, keeps_modules
from gag.evaluation.kept import keep, read_kept
from gag.evaluation.table import Row
from gag.models.loading import load_encoder
from gag.pipeline import Build
from gag.progress import Progress
from gag.records import GENERAL, Question, content_hash, questions_hash, read_questions, spread
from gag.routing.accuracy import RoutingAccuracy, Share, grow
from gag.routing.encoder import Encoder
from gag.routing.prototypes import pool_banks, route_of
from gag.routing.router import Router
from gag.system import general_router

MAP_QUESTIONS = 60
"""Questions of a route that the map shows, at most."""

OWN, POOL = "own", "pool"


@dataclass(frozen=True)
class RoutingResult:
    """Accuracy with general and one route, then with one route more at a time; `name` is `own` or `pool`."""

    name: str
    encoder: str
    added: tuple[str, ...]
    stages: tuple[RoutingAccuracy, ...]

    def rows(self) -> list[Row]:
        """Micro and macro accuracy a stage, and every route's at the last."""
        table = "routing" if self.name == OWN else "routing-pool"
        out = []
        for stage in self.stages:
            label = f"{len(stage.routes)} routes"
            share = stage.micro
            out.append(
                Row(
                    "router", label, "routing_accuracy", share.share, share.ci_low, share.ci_high, share.n, table, label
                )
            )
            out.append(Row("router", label, "routing_macro", stage.macro, None, None, share.n, table, label))
        for route, share in self.stages[-1].per_route.items() if self.stages else ():
            out.append(
                Row(
                    "router", route, "routing_accuracy", share.share, share.ci_low, share.ci_high, share.n, table, route
                )
            )
        return out


@dataclass(frozen=True)
class MapPoint:
    """A prototype or a question in the plane of the prototypes' first two principal components."""

    x: float
    y: float
    route: str
    text: str | None = None
    """The question's; None for a prototype."""
    taken: str | None = None
    """The route that the question took."""


@dataclass(frozen=True)
class PrototypeMap:
    """Prototypes and test questions in 2-D; `explained` is the share of the variance that the plane shows."""

    points: tuple[MapPoint, ...]
    explained: float


def workspace_routing(place: Place, on_progress: Progress) -> tuple[RoutingResult, PrototypeMap]:
    """The workspace's own routes, on the domains' test questions and the general sets' questions."""
    table = place.config.tables.routing
    order = list(table.order if table and table.order else place.domains)
    questions = [q for part in place.domains.values() for q in part.questions]
    questions += [
        Question(f"{part.name}/{q.id}", q.question, q.answers, GENERAL)
        for part in place.general.values()
        for q in part.questions
    ]
    key = content_hash(place.answer_key(place.workspace, "gag", None), order, questions_hash(questions))
    path = place.out / "routing" / f"{OWN}.json"
    kept = read_kept(path, key)
    if kept is None:
        router = _workspace_router(place, on_progress)
        embeddings = router.encoder.encode([q.question for q in questions])
        order += [name for name in router.routes if name not in (GENERAL, *order)]
        stages = grow(router, order, questions, embeddings)
        found = RoutingResult(OWN, place.workspace.config.models.encoder.source, tuple(order), tuple(stages))
        points = _map(router, questions, embeddings)
        kept = {"result": asdict(found), "map": asdict(points)}
        keep(path, key, kept)
    result = _result(kept["result"])
    on_progress("routing", 1, 1, f"{len(result.added) + 1} routes, {len(questions)} questions")
    return result, _map_of(kept["map"])


def pool_routing(place: Place, on_progress: Progress) -> RoutingResult:
    """Routes made of a labelled pool, measured on another."""
    table = place.config.tables.routing
    if table is None or table.pool is None or table.prototypes_from is None:
        raise ConfigError("tables.routing names no pool.", "Name pool and prototypes_from.")
    made_of, questions = read_questions(table.prototypes_from), read_questions(table.pool)
    config = place.workspace.config
    key = content_hash(
        [config.models.encoder.model_dump(), *_weights(place)],
        config.router.model_dump(),
        [[q.id, q.question, route_of(q)] for q in (*made_of, *questions)],
        list(table.pool_order),
    )
    path = place.out / "routing" / f"{POOL}.json"
    kept = read_kept(path, key)
    if kept is None:
        on_progress("routing pool", 0, 2, "prototypes")
        encoder = Encoder.from_loaded(load_encoder(config.models.encoder, root=place.workspace.root), config.router)
        router = Router(encoder, pool_banks(made_of, encoder, config.router))
        on_progress("routing pool", 1, 2, f"{len(questions)} questions")
        order = [name for name in table.pool_order or router.routes if name != GENERAL]
        stages = grow(router, order, questions)
        found = RoutingResult(POOL, config.models.encoder.source, tuple(order), tuple(stages))
        kept = {"result": asdict(found)}
        keep(path, key, kept)
    on_progress("routing pool", 2, 2, f"{len(questions)} questions")
    return _result(kept["result"])


def _weights(place: Place) -> list[str]:
    """The hash of the encoder's files, where they are here."""
    digest = local_weights(place.workspace.config.models.encoder.source, place.workspace.root)
    return [] if digest is None else [digest]


def _workspace_router(place: Place, on_progress: Progress) -> Router:
    """General and every domain's bank, built where it is not there; no language model is loaded.

    Where modules are asked as they are, the banks are theirs, and `gag` routes to each that is there.
    """
    workspace = place.workspace
    router = general_router(workspace.config, root=workspace.root)
    if keeps_modules(place.config, workspace):
        for listed in list_modules(workspace.modules):
            if listed.module is not None:
                check_encoder(listed.module, router.encoder.fingerprint)
                router.attach(listed.module.name, listed.module.prototypes())
        return router
    for name in place.domains:
        path: Path = Build(workspace, name, on_progress=on_progress).run(Build.prototypes)
        router.attach(name, load_file(path)["prototypes"])
    return router


def _map(router: Router, questions: Sequence[Question], embeddings: Tensor) -> PrototypeMap:
    """The plane of the first two principal components of the prototypes, and what lies in it."""
    banks = {name: bank.float().numpy() for name, bank in router.banks.items()}
    together = np.concatenate(list(banks.values()))
    if len(together) < 2:
        raise InputError("A map needs at least two prototypes.", "Give the routes more questions.")
    mean = together.mean(0)
    _, sizes, directions = np.linalg.svd(together - mean, full_matrices=False)
    plane = directions[:2]
    shown = [i for name in banks for i in _of_route(questions, name)]
    taken = [route.name for route in router.route_embeddings(embeddings[shown])] if shown else []
    points = [_point(place, name) for name, bank in banks.items() for place in _flat(bank, mean, plane)]
    places = _flat(embeddings[shown].float().cpu().numpy(), mean, plane) if shown else []
    for where, i, route in zip(places, shown, taken, strict=True):
        points.append(_point(where, route_of(questions[i]), questions[i].question[:200], route))
    variance = sizes**2
    return PrototypeMap(tuple(points), float(variance[:2].sum() / max(variance.sum(), 1e-12)))


def _of_route(questions: Sequence[Question], route: str) -> list[int]:
    return spread([i for i, q in enumerate(questions) if route_of(q) == route], MAP_QUESTIONS)


def _flat(
    vectors: npt.NDArray[np.floating[Any]], mean: npt.NDArray[np.floating[Any]], plane: npt.NDArray[np.floating[Any]]
) -> list[tuple[float, float]]:
    placed = (vectors - mean) @ plane.T
    return [(float(row[0]), float(row[1]) if len(row) > 1 else 0.0) for row in placed]


def _point(where: tuple[float, float], route: str, text: str | None = None, taken: str | None = None) -> MapPoint:
    return MapPoint(round(where[0], 5), round(where[1], 5), route, text, taken)


def _result(tree: Mapping[str, Any]) -> RoutingResult:
    stages = tuple(
        RoutingAccuracy(
            routes=tuple(stage["routes"]),
            micro=Share(**stage["micro"]),
            macro=stage["macro"],
            per_route={name: Share(**share) for name, share in stage["per_route"].items()},
            confusion=stage["confusion"],
            left_out=stage["left_out"],
        )
        for stage in tree["stages"]
    )
    return RoutingResult(tree["name"], tree["encoder"], tuple(tree["added"]), stages)


def _map_of(tree: Mapping[str, Any]) -> PrototypeMap:
    return PrototypeMap(tuple(MapPoint(**point) for point in tree["points"]), tree["explained"])
