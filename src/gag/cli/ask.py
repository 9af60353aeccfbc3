"""`gag ask`: one question, one answer."""

from __future__ import annotations

from typing import Annotated

import typer

from gag.cli.answering import Asking, MethodName, ask_once, chosen_generation
from gag.cli.attaching import open_system
from gag.cli.options import AsJson, Overrides, QuestionText, WorkspaceFolder
from gag.cli.output import notes
from gag.errors import ConfigError, InputError
from gag.records import GENERAL


def ask(
    question: QuestionText,
    domain: Annotated[
        str | None, typer.Option("--domain", metavar="NAME", help="Take this route (or general), not the router's.")
    ] = None,
    method: Annotated[
        MethodName, typer.Option("--method", help="gag; base: no module; egc: the expert's background as text.")
    ] = "gag",
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
    from gag.workspace import open_workspace

    if not question.strip():
        raise InputError("The question is empty.", 'Ask one: gag ask "What is …?"')
    if method == "base" and domain not in (None, GENERAL):
        raise ConfigError(
            f"--method base answers without a domain, so --domain {domain} has no meaning.", "Leave out one of them."
        )
    place = open_workspace(workspace, overrides=overrides or ())
    route = GENERAL if method == "base" else domain
    with notes().status("loading models"):
        model = open_system(place, route)
    asking = Asking(method, route, chosen_generation(place.config, overrides), show_background, as_json)
    with model.frozen():
        ask_once(model, question, asking)
