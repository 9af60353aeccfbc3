"""`gag chat`: questions one after another, each answered on its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

from gag.cli.answering import Asking, ask_once
from gag.cli.attaching import open_system
from gag.cli.options import AsJson, Overrides, WorkspaceFolder
from gag.cli.output import note, notes, say_error
from gag.errors import DomainError, InputError
from gag.records import GENERAL

HELP = "/domain NAME takes that route, /domain alone lets the router choose; /background shows or hides it; /quit ends."


def chat(workspace: WorkspaceFolder = None, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Answer questions one after another, from the terminal or a pipe.

    Each question is answered on its own: nothing of the earlier ones is remembered.
    """
    from gag.config import overridden
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    with notes().status("loading models"):
        model = open_system(place)
    asking = Asking(generation=overridden(overrides or (), "generation"), as_json=as_json)
    note(f"Routes: {', '.join([GENERAL, *model.domains])}. Each question stands alone; none is remembered.")
    note(HELP)
    with model.frozen():
        for line in _lines():
            try:
                if line.startswith("/"):
                    if line.split()[0] in ("/quit", "/exit"):
                        break
                    asking = _commanded(line, asking, [GENERAL, *model.domains])
                else:
                    ask_once(model, line, asking)
            except (InputError, DomainError) as error:  # of this line; the next one may be better
                say_error(error.message, error.hint)


def _lines() -> Iterator[str]:
    """Lines that are not empty, until Ctrl-D or the pipe's end."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    console = notes()
    while True:
        try:
            line = console.input("[bold]> [/]").strip()
        except EOFError:
            console.print()
            return
        if line:
            yield line


def _commanded(line: str, asking: Asking, routes: list[str]) -> Asking:
    command, _, rest = line.partition(" ")
    name = rest.strip()
    if command == "/background":
        note(f"background {'hidden' if asking.background else 'shown'}")
        return replace(asking, background=not asking.background)
    if command == "/domain" and name and name not in routes:
        raise DomainError(f"There is no route {name!r}.", f"Routes: {', '.join(routes)}.")
    if command == "/domain":
        note(f"route: {name or 'as the router chooses'}")
        return replace(asking, domain=name or None)
    raise InputError(f"There is no command {command}.", HELP)
