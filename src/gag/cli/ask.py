"""`gag ask`: one question, one answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gag.cli.answering import SYSTEM, Asking, ask_once
from gag.cli.attaching import open_system
from gag.cli.explaining import PICTURE, Explaining, ask_graph, asks_graph, check_graph_options
from gag.cli.options import AsJson, Overrides, QuestionText, WorkspaceFolder
from gag.cli.output import notes
from gag.cli.progress import shown_progress
from gag.errors import ConfigError, InputError
from gag.records import GENERAL


def ask(
    question: QuestionText,
    picture: Annotated[
        str | None,
        typer.Argument(metavar="[FILE.svg]", help="With --explain: also draw the paths.", show_default=False),
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", metavar="NAME", help="Take this route (or general), not the router's.")
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="METHOD",
            help="gag; base: no module; egc: the expert's background as text; or any other that gag eval knows, which "
            "is trained first where it must be.",
        ),
    ] = "gag",
    graph: Annotated[
        str | None, typer.Option("--graph", metavar="NAME", help="The graph of rog, rog-paths and rog-unplanned.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="With --graph: show the paths that lead to each answer.")
    ] = False,
    show_background: Annotated[
        bool, typer.Option("--show-background", help="Also show what the domain's expert wrote to itself.")
    ] = False,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question with the knowledge of the domain it belongs to.

    The base's weights are checked to be the same afterwards, byte for byte.
    """
    from gag.config import overridden
    from gag.methods.shelf import Shelf, check_method
    from gag.workspace import open_workspace

    if not question.strip():
        raise InputError("The question is empty.", 'Ask one: gag ask "What is …?"')
    check_method(method)
    if explain or picture is not None or asks_graph(method, graph):
        if picture is not None and question.endswith(PICTURE):  # --explain FILE.svg "…" is as good
            question, picture = picture, question
        drawn = None if picture is None else Path(picture)
        check_graph_options(method, graph or domain, explain=explain, picture=drawn)
        if graph is not None and domain is not None:
            raise ConfigError(
                f"--graph {graph} says what is asked, so --domain {domain} has no meaning.", "Leave out one of them."
            )
        if show_background:
            raise ConfigError(
                f"--method {method} asks a graph and no expert, so --show-background has no meaning.",
                "Leave it out; --explain shows the paths that lead to each answer.",
            )
        place = open_workspace(workspace, overrides=overrides or ())
        ask_graph(place, question, Explaining(method, str(graph or domain), explain, drawn, as_json))
        return
    if method == "base" and domain not in (None, GENERAL):
        raise ConfigError(
            f"--method base answers without a domain, so --domain {domain} has no meaning.", "Leave out one of them."
        )
    if method == "gag-oracle" and domain is None:
        raise ConfigError("--method gag-oracle takes the route it is given.", "Name it: --domain NAME, or general.")
    place = open_workspace(workspace, overrides=overrides or ())
    route = GENERAL if method == "base" else domain
    named = domain is not None and method not in (*SYSTEM, "egc")  # such a method may need no module
    with notes().status("loading models"):
        model = open_system(place, GENERAL if named else route)
    generation = overridden(overrides or (), "generation")
    with model.frozen(), shown_progress() as on_progress:
        shelf = None
        if method not in SYSTEM:
            shelf = Shelf(place, on_progress=on_progress, system=model, generation=generation)
        ask_once(model, question, Asking(method, route, generation, show_background, as_json, shelf))
