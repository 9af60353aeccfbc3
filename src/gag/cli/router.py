"""`gag router eval`: routing accuracy on a labelled pool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gag.cli.attaching import open_router
from gag.cli.options import AsJson, Overrides, WorkspaceFolder
from gag.cli.output import note, write_json, write_table
from gag.errors import ConfigError
from gag.records import GENERAL

if TYPE_CHECKING:
    from gag.routing.accuracy import RoutingAccuracy, Share
    from gag.routing.router import Router


def router_app() -> typer.Typer:
    """The group of verbs."""
    app = typer.Typer(name="router", help="Measure the router.", no_args_is_help=True)
    app.callback()(_group)
    app.command("eval")(evaluate)
    return app


def evaluate(
    pool: Annotated[
        Path, typer.Argument(metavar="POOL", help="JSONL of questions with their right route in `domain`.")
    ],
    prototypes_from: Annotated[
        Path | None,
        typer.Option("--prototypes-from", metavar="FILE", help="Build every route from this pool, not the workspace."),
    ] = None,
    grow: Annotated[bool, typer.Option("--grow", help="General and one route, then one more at a time.")] = False,
    order: Annotated[
        str | None, typer.Option("--order", metavar="A,B,C", help="The order in which routes are added (--grow).")
    ] = None,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Measure how often the router takes the right route, over all questions and per route."""
    from gag.records import read_questions
    from gag.routing.accuracy import grow as grown
    from gag.routing.accuracy import routing_accuracy

    if order is not None and not grow:
        raise ConfigError("--order says in which order routes are added.", "Add --grow, or leave it out.")
    questions = read_questions(pool)
    router = _router(prototypes_from, workspace, overrides or [])
    if grow:
        names = [part.strip() for part in order.split(",")] if order else [n for n in router.routes if n != GENERAL]
        stages = grown(router, names, questions)
        if as_json:
            write_json({"encoder": router.encoder.name, "stages": [stage.to_json() for stage in stages]})
        else:
            _print_stages(stages, names)
        return
    found = routing_accuracy(router, questions)
    if as_json:
        write_json({"encoder": router.encoder.name, **found.to_json()})
    else:
        _print_routes(found)


def _group() -> None:
    """Measure the router."""


def _router(prototypes_from: Path | None, workspace: Path | None, overrides: list[str]) -> Router:
    """The workspace's routes, or those of a labelled pool."""
    from gag.cli.attaching import workspace_or_defaults
    from gag.models.loading import load_encoder
    from gag.records import read_questions
    from gag.routing.encoder import Encoder
    from gag.routing.prototypes import pool_banks
    from gag.routing.router import Router
    from gag.workspace import open_workspace

    if prototypes_from is None:
        return open_router(open_workspace(workspace, overrides=overrides))
    questions = read_questions(prototypes_from)
    config, root = workspace_or_defaults(workspace, overrides)
    encoder = Encoder.from_loaded(load_encoder(config.models.encoder, root=root), config.router)
    return Router(encoder, pool_banks(questions, encoder, config.router))


def _print_routes(found: RoutingAccuracy) -> None:
    rows = [_cells(name, share) for name, share in found.per_route.items()]
    rows.append(_cells("all (micro)", found.micro))
    rows.append(["mean of routes (macro)", "", f"{100 * found.macro:.2f}", ""])
    write_table(["route", "questions", "right %", "95 % interval"], rows, numbers=[1, 2, 3])
    _note_left_out(found)


def _print_stages(stages: list[RoutingAccuracy], names: list[str]) -> None:
    added = [name for name in names if name != GENERAL]
    rows = [
        [str(len(stage.routes)), f"+ {name}", *_cells("", stage.micro)[1:], f"{100 * stage.macro:.2f}"]
        for name, stage in zip(added, stages, strict=True)
    ]
    columns = ["routes", "added", "questions", "right % (micro)", "95 % interval", "macro %"]
    write_table(columns, rows, numbers=[0, 2, 3, 4, 5])
    _note_left_out(stages[-1])


def _note_left_out(found: RoutingAccuracy) -> None:
    if found.left_out:
        names = ", ".join(f"{name} ({count})" for name, count in sorted(found.left_out.items()))
        note(f"Not counted, as their route is not attached: {names}")


def _cells(name: str, share: Share) -> list[str]:
    interval = f"{100 * share.ci_low:.2f} to {100 * share.ci_high:.2f}"
    return [name, str(share.n), f"{100 * share.share:.2f}", interval]
