"""What `build` and its steps alone have in common: the workspace and sources of a command, and how a step is run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from gag.cli.output import note
from gag.cli.progress import shown_progress
from gag.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from gag.pipeline import Build
    from gag.workspace import Workspace

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Given:
    """The sources named on the command line, relative to the current folder."""

    qa: Path | None = None
    align_qa: Path | None = None
    documents: Path | None = None
    expert: str | None = None


def open_build(workspace: Workspace, name: str, given: Given, report_to: Sequence[str] | None = None) -> Build:
    """The build of domain `name`; raises ConfigError for sources that would not be used, MissingExtra for a tracker."""
    from gag.pipeline import Build
    from gag.sources import Sources

    workspace.module(name)  # refuses a name that cannot be a domain's, before anything is loaded
    _check_documents(workspace, name, given)
    _check_trackers(report_to or ())
    expert = None if given.expert is None else _expert_source(given.expert, workspace.root)
    return Build(
        workspace, name, Sources(given.qa, given.align_qa, given.documents, expert), report_to=tuple(report_to or ())
    )


def run_step(build: Build, step: Callable[[Build], _Result]) -> _Result:
    """`step` of `build`, alone and with progress; raises BusyError while another process builds the same domain."""
    note(f"{build.name}: loading models")
    with shown_progress() as on_progress:
        build.on_progress = on_progress
        result: _Result = build.run(step)
    return result


def note_lines_to_add(workspace: Workspace, name: str, given: Given) -> None:
    """Where options took the place of gag.yaml, the line that makes them unnecessary."""
    if name in workspace.config.domains or given == Given():
        return
    values: dict[str, Any] = {
        key: os.path.relpath(path.expanduser().resolve(), workspace.root.resolve())
        for key, path in (("qa", given.qa), ("align_qa", given.align_qa), ("documents", given.documents))
        if path is not None
    }
    if given.expert is not None:
        values["expert"] = _expert_source(given.expert, workspace.root)
    line = yaml.safe_dump({name: values}, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    note(f"To build without options next time, put under `domains:` in gag.yaml:  {line.strip()[1:-1]}")


def where(workspace: Workspace) -> str:
    """The option that names the workspace in a command to copy; empty where it is found without."""
    from gag.workspace import current_workspace

    found = current_workspace()
    here = found is not None and found.exists() and found.samefile(workspace.root)
    return "" if here else f" --workspace {workspace.root}"


def shown_path(path: Path) -> str:
    """`path` relative to the current folder where it is below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _expert_source(given: str, root: Path) -> str:
    """A local path of the command line as gag.yaml would name it; a hub id or package as it is."""
    path = Path(given).expanduser()
    return _relative(path, root) if path.exists() else given


def _relative(path: Path, root: Path) -> str:
    """`path` from the workspace where it is inside, else absolute."""
    whole, home = path.expanduser().resolve(), root.resolve()
    return os.fspath(whole.relative_to(home)) if whole.is_relative_to(home) else os.fspath(whole)


def _check_documents(workspace: Workspace, name: str, given: Given) -> None:
    if given.documents is None:
        return
    if given.expert or workspace.domain(name).expert:
        raise ConfigError(
            f"The documents {given.documents} would not be used: the domain {name} has an expert already.",
            "Leave out --documents, or --expert (domains.NAME.expert in gag.yaml).",
        )
    if not workspace.of(name).config.expert.pretrain_epochs:
        raise ConfigError(
            f"The documents {given.documents} would not be used: expert.pretrain_epochs is 0.",
            "Add --set expert.pretrain_epochs=2 (or set it in gag.yaml), or leave out --documents.",
        )


def _check_trackers(names: Sequence[str]) -> None:
    """accelerate drops a tracker that is not installed without a word; here it is named."""
    if not names:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    known = sorted(str(name) for name in LOGGER_TYPE_TO_CLASS)
    there = {str(name) for name in get_available_trackers()}
    for name in names:
        if name not in known:
            raise ConfigError(f"--report-to {name}: no such tracker.", f"Known ones: {', '.join(known)}.")
        if name not in there:
            raise MissingExtra(f"--report-to {name}: {name} is not installed.", f"pip install {name}")
