"""Checkpoints of an alignment: the projector, its optimiser and where the run is, in one safetensors file.

One file renamed into place is atomic; no pickle. Random numbers need no state here, since every step seeds its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gag.atomic import new_file


@dataclass
class RunState:
    """Where an alignment is: steps done, loss by step, dev loss by step, and the best dev loss so far."""

    step: int = 0
    losses: list[tuple[int, float]] = field(default_factory=list)
    dev_losses: list[tuple[int, float]] = field(default_factory=list)
    best_step: int = 0
    best_loss: float = float("inf")
    stopped: bool = False

    def to_json(self) -> str:
        """As text for the file's metadata."""
        return json.dumps(self.__dict__)

    @staticmethod
    def from_json(text: str) -> RunState:
        """The inverse of `to_json`."""
        row = json.loads(text)
        row["losses"] = [(int(s), float(x)) for s, x in row["losses"]]
        row["dev_losses"] = [(int(s), float(x)) for s, x in row["dev_losses"]]
        return RunState(**row)


def save_checkpoint(
    path: Path,
    modules: Mapping[str, Tensor],
    best: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    run: RunState,
) -> None:
    """Write trained tensors, the best ones by dev loss, optimiser moments and `run`; raises RunError on a full disk."""
    tensors = {f"module.{name}": t for name, t in modules.items()}
    tensors |= {f"best.{name}": t for name, t in best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    with new_file(path) as partial:
        save_file(
            {name: t.detach().contiguous().clone() for name, t in tensors.items()}, partial, {"run": run.to_json()}
        )


@dataclass(frozen=True)
class Checkpoint:
    """What `save_checkpoint` wrote."""

    modules: dict[str, Tensor]
    best: dict[str, Tensor]
    moments: dict[int, dict[str, Tensor]]
    run: RunState


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`, or None if there is none that can be read."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            run = RunState.from_json(file.metadata()["run"])
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError):
        return None
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, moment = name.split(".", 2)
            moments.setdefault(int(index), {})[moment] = tensor
    return Checkpoint(_part(tensors, "module."), _part(tensors, "best."), moments, run)


def restore_optimizer(optimizer: torch.optim.Optimizer, moments: Mapping[int, Mapping[str, Tensor]]) -> None:
    """Put saved moments back; learning rates come from the schedule."""
    state: dict[str, Any] = optimizer.state_dict()
    state["state"] = {index: dict(values) for index, values in moments.items()}
    optimizer.load_state_dict(state)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
