"""The attention implementation for training on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def training_attention(model: Any) -> Iterator[None]:
    """While gradients are computed on a CPU, `sdpa` gives way to `eager`: same numbers, its backward is faster.

    The fused kernel's backward takes a fifth of a training step there (docs/benchmarks.md). Elsewhere, or with another
    implementation chosen, nothing changes; afterwards the model has what it had.
    """
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    had = bare.config._attn_implementation
    if had != "sdpa" or bare.device.type != "cpu":
        yield
        return
    bare.set_attn_implementation("eager")
    try:
        yield
    finally:
        bare.set_attn_implementation(had)
