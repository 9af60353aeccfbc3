"""The attention implementation for training on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LONGEST_EAGER = 512
"""Tokens of an example up to which eager attention trains faster on a CPU; beyond, its memory grows as their square."""


@contextmanager
def training_attention(model: Any, longest: int) -> Iterator[None]:
    """While gradients are computed on a CPU, `sdpa` gives way to `eager`: same numbers, its backward is faster.

    The fused kernel's backward takes a fifth of a training step there (docs/benchmarks.md). Where an example has more
    than LONGEST_EAGER tokens (`longest`), elsewhere, or with another implementation chosen, nothing changes; afterwards
    the model has what it had.
    """
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    had = bare.config._attn_implementation
    if had != "sdpa" or bare.device.type != "cpu" or longest > LONGEST_EAGER:
        yield
        return
    bare.set_attn_implementation("eager")
    try:
        yield
    finally:
        bare.set_attn_implementation(had)
