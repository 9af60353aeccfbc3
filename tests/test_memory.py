"""What a step leaves behind is given back, and what is held stays."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from gag.memory import _malloc_trim, give_back


def resident() -> int:
    """Bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux") or _malloc_trim() is None, reason="glibc's heap")
def test_holes_are_given_back_and_tensors_stay() -> None:
    give_back()
    before, kept = resident(), []
    blocks = [torch.full((25_000,), float(n)) for n in range(2000)]  # 100 kB each: of the heap, not of their own
    kept = blocks[::50]
    del blocks
    held = resident()
    give_back()
    assert resident() < before + (held - before) / 2
    assert [float(block.sum()) for block in kept] == [25_000.0 * n for n in range(0, 2000, 50)]
