"""Steps of long work: a folder each, named by the hash of what it depends on.

A step whose folder is whole is kept, an interrupted one goes on in its folder; nothing of another domain is touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from gag.atomic import alone, new_file
from gag.config import AlignmentConfig
from gag.models.base import Base
from gag.models.fingerprint import frozen
from gag.progress import Progress, silent
from gag.prompts import Message
from gag.training.alignment import Alignment, Example
from gag.training.curve import draw_losses
from gag.training.processes import processes
from gag.workspace import Workspace

PROJECTOR_FILE = "projector.safetensors"
"""What an alignment trained, in its step's folder."""


@dataclass(frozen=True)
class AlignmentStep:
    """What an alignment trains on: `extra` examples are never held out; see `Alignment` for `teacher_weight`."""

    name: str
    config: AlignmentConfig
    examples: Sequence[Example]
    extra: Sequence[Example] = ()
    teacher_weight: float = 0.0


@dataclass(frozen=True)
class Steps:
    """The steps of one domain in a workspace, under runs/<domain>/."""

    workspace: Workspace
    name: str
    on_progress: Progress = silent
    report_to: Sequence[str] = ()

    def folder(self, step: str, key: str) -> Path:
        """Where a step that depends on what `key` is the hash of keeps its work."""
        return self.workspace.runs(self.name) / f"{step}-{key[:12]}"

    def note(self, folder: Path, step: str, key: str, **more: Any) -> None:
        """Write step.json: what made this folder."""
        if not processes().is_main_process:
            return
        row = {
            "step": step,
            "key": key,
            "code_version": code_version(),
            "config": self.workspace.config.model_dump(mode="json"),
            **more,
        }
        with new_file(folder / "step.json") as partial:
            partial.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Raises BusyError while another process works on the same domain's steps."""
        if not processes().is_main_process:
            yield
            return
        busy = f"Another process is building the domain {self.name}."
        with alone(self.workspace.runs(self.name), busy, "Wait for it, or end it; its work is kept."):
            yield

    def aligned(self, base: Base, module: nn.Module, step: AlignmentStep, folder: Path, **noted: Any) -> Path:
        """Train `module`, the base proven unchanged, and keep its weights, history and loss curve in `folder`.

        `noted` goes into step.json. Returns `folder`, which has PROJECTOR_FILE when all is done.
        """
        with frozen(base.model, "the base"):
            aligned = Alignment(
                base,
                module,
                step.config,
                folder,
                on_progress=lambda _, done, total, note="": self.on_progress(step.name, done, total, note),
                report_to=self.report_to,
                teacher_weight=step.teacher_weight,
            ).train(step.examples, step.extra)
        if processes().is_main_process:
            run = aligned.run
            draw_losses(run, folder / "loss.png", title=f"{self.name}: {step.name}")
            history = {"losses": run.losses, "dev_losses": run.dev_losses, "best_step": run.best_step}
            self.note(folder, step.name, folder.name, **noted, **history)
            with new_file(folder / PROJECTOR_FILE) as partial:
                partial.write_bytes(save(aligned.tensors))
        processes().wait_for_everyone()
        return folder


def said(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """A prompt as a step's key holds it: what is said, so that templates a step does not use do not matter to it."""
    return [asdict(message) for message in messages]


def code_version() -> str:
    """The installed package's version."""
    try:
        return version("gag")
    except PackageNotFoundError:
        return "not installed"
