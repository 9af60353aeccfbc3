"""Which domain modules of a workspace a command uses.

A module that is damaged or does not fit the workspace's models is named on stderr and left out, so that one bad folder
does not stop the others; where no module is left of those there are, or it is the one asked for, that is the error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gag.cli.output import note, warn
from gag.errors import DomainError, GagError, ModelError
from gag.records import GENERAL

if TYPE_CHECKING:
    from gag.config import Config
    from gag.domain import DomainModule
    from gag.routing.router import Router
    from gag.system import GAG
    from gag.workspace import Workspace


def open_router(workspace: Workspace) -> Router:
    """General and every usable module as routes; neither base nor expert is loaded."""
    from gag.domain import check_encoder
    from gag.system import general_router

    router = general_router(workspace.config, root=workspace.root)

    def attach(module: DomainModule) -> None:
        check_encoder(module, router.encoder.fingerprint)
        router.attach(module.name, module.prototypes())

    attach_usable(workspace, attach)
    return router


def open_system(workspace: Workspace, domain: str | None = None) -> GAG:
    """The workspace's base with every usable module, or with the one called `domain` alone (none for general)."""
    from gag.system import GAG

    folder = None
    if domain is not None and domain != GENERAL:
        folder = workspace.module(domain)
        if not folder.is_dir():
            have = ", ".join(sorted(p.name for p in workspace.modules.glob("[!.]*"))) or "none"
            raise DomainError(
                f"There is no domain {domain!r} in {workspace.root} (there are: {have}).",
                f"Build it: gag build {domain} --qa FILE.jsonl; or attach a module's folder: gag domain add FOLDER",
            )
    model = GAG.from_config(workspace.config, root=workspace.root)
    if folder is not None:
        model.attach(folder)
    elif domain is None:
        attach_usable(workspace, lambda module: model.attach(module.folder))
    return model


def attach_usable(workspace: Workspace, attach: Callable[[DomainModule], object]) -> list[str]:
    """Give every module to `attach`; returns the names of those taken. Raises the first problem if none was."""
    from gag.domain import list_modules

    taken: list[str] = []
    problems: list[GagError] = []
    for listed in list_modules(workspace.modules):
        try:
            if listed.module is None:
                assert listed.problem is not None
                raise listed.problem
            attach(listed.module)
        except (DomainError, ModelError) as error:
            problems.append(error)
            continue
        taken.append(listed.module.name)
    if problems and not taken:
        raise problems[0]
    for problem in problems:
        warn(f"left out: {problem.message} {problem.hint}")
    if not taken:
        note("There is no domain module yet, only the general route. Build one: gag build NAME --qa FILE.jsonl")
    return taken


def workspace_or_defaults(folder: Path | None, overrides: Sequence[str]) -> tuple[Config, Path | None]:
    """The configuration and folder of the workspace, or the defaults and None where no workspace is named or found."""
    from gag.config import load_config
    from gag.workspace import current_workspace, open_workspace

    if folder is None and current_workspace() is None:
        return load_config(overrides=overrides), None
    place = open_workspace(folder, overrides=overrides)
    return place.config, place.root
