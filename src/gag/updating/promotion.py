"""The updated module takes the present one's place in one step; the one before is kept and can come back.

It is kept in modules/.previous/<domain>, a module like any other, which nothing that lists modules looks into.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gag.atomic import restore_interrupted
from gag.domain import DomainModule, ModuleSpec, copy_module, load_module, remove_module, write_module
from gag.errors import DomainError
from gag.manifest import MANIFEST
from gag.steps import Steps
from gag.workspace import Workspace

PREVIOUS = ".previous"


def previous_folder(workspace: Workspace, name: str) -> Path:
    """Where the module before the last promoted update is kept."""
    return workspace.modules / PREVIOUS / workspace.module(name).name


def promote(workspace: Workspace, candidate: DomainModule, gate: dict[str, Any]) -> DomainModule:
    """Keep the present module aside and put the candidate in its place, with what the gate found in its history."""
    target = workspace.module(candidate.name)
    previous = previous_folder(workspace, candidate.name)
    copy_module(target, previous, replace=True)
    _forget(_going_back(previous))
    *before, last = history(candidate)
    provenance = {**candidate.provenance, "history": [*before, {**last, **gate}]}
    parts = {key: getattr(candidate, key) for key in ModuleSpec.model_fields}
    return write_module(
        target,
        ModuleSpec(**{**parts, "provenance": provenance}),
        projector=candidate.projector_state(),
        prototypes=candidate.prototypes(),
        expert_adapter=candidate.expert_path,
    )


def roll_back(workspace: Workspace, name: str) -> DomainModule:
    """Swap the module with the one before the last promoted update; said again, it swaps them back.

    Interrupted anywhere, the same call goes on. Raises DomainError where none is kept, BusyError where another process
    works on the domain.
    """
    target, previous = workspace.module(name), previous_folder(workspace, name)
    with Steps(workspace, name).alone():
        restore_interrupted(previous)
        if not previous.is_dir():
            raise DomainError(
                f"There is no earlier module of {name} to go back to.",
                f"One is kept when an update is promoted: gag update {name}",
            )
        load_module(previous)  # refused before anything moves
        _swap(target, previous, _going_back(previous))
        return load_module(target)


def history(module: DomainModule) -> list[dict[str, Any]]:
    """What a module came from, oldest first; one that was never updated was built once."""
    kept = module.provenance.get("history")
    if isinstance(kept, list):
        return [dict(row) for row in kept]
    pairs = module.provenance.get("counts", {}).get("qa")
    return [{"made": "built", "key": str(module.provenance.get("key", ""))[:12], "pairs": pairs}]


def forget_previous(workspace: Workspace, name: str) -> None:
    """Remove what is kept for going back: a removed domain must not come back."""
    previous = previous_folder(workspace, name)
    _forget(_going_back(previous))
    _forget(previous)


def _swap(target: Path, previous: Path, aside: Path) -> None:
    """Swap two modules by way of `aside`; where that holds one already, an interrupted swap goes on."""
    if _equal(aside, previous) and not _equal(aside, target):  # all but the last line was done
        _forget(aside)
        return
    if not _equal(aside, target) and not _equal(previous, target):
        _forget(aside)
        if target.is_dir():
            copy_module(target, aside)
    copy_module(previous, target, replace=True)
    if aside.is_dir():
        copy_module(aside, previous, replace=True)
        _forget(aside)


def _going_back(previous: Path) -> Path:
    """Where the present module waits while it is swapped."""
    return previous.with_name(f"{previous.name}.swapped")


def _forget(folder: Path) -> None:
    restore_interrupted(folder)
    if folder.is_dir():
        remove_module(folder)


def _equal(one: Path, other: Path) -> bool:
    """Whether both are modules of the same files."""
    try:
        return (one / MANIFEST).read_bytes() == (other / MANIFEST).read_bytes()
    except OSError:
        return False
