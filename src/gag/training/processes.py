"""The processes that `accelerate launch` started for this run, if it did."""

from __future__ import annotations

import os

import torch
from accelerate import PartialState


def processes() -> PartialState:
    """This process's place among them.

    Without a GPU, accelerate forms the group only when it is told that the CPU is meant; asked in any other way, every
    process would take itself for the only one.
    """
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes") or not torch.cuda.is_available()
    return PartialState(cpu=on_cpu)
