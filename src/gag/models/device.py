"""Which device and dtype a model is held on and in, with the reason."""

from __future__ import annotations

import functools
import time

import torch

from gag.errors import ModelError

ROUNDS = 25
"""Times that a product is measured in each dtype: some 0.2 seconds together."""


def choose_device(name: str) -> torch.device:
    """The device called `name`; auto takes CUDA where there is one, else the CPU. Raises ModelError.

    mps is taken only when asked for: nothing here was measured on it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ModelError(f"There is no device called {name!r}.", "Use auto, cpu, cuda, cuda:N or mps.") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise ModelError(f"The device {name!r} is not supported.", "Use auto, cpu, cuda, cuda:N or mps.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ModelError(f"The device {name!r} is not there: PyTorch sees {count} CUDA device(s).", "Use device: auto.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("The device 'mps' is not available here.", "Use device: auto.")
    return device


def choose_dtype(name: str, device: torch.device) -> tuple[torch.dtype, str]:
    """The dtype called `name` for `device`, and the reason in words.

    auto: bfloat16 on CUDA; on a CPU whichever multiplies matrices faster, measured once a process; float32 elsewhere.
    """
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name], "as configured"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16, "bfloat16: the GPU has it"
        return torch.float32, "float32: the GPU has no bfloat16"
    if device.type != "cpu":
        return torch.float32, f"float32: not measured on {device.type}"
    single, half = _cpu_gflops()
    dtype = torch.bfloat16 if half > single else torch.float32
    shown = str(dtype).removeprefix("torch.")
    return dtype, f"{shown}: matrix multiply measured {single:.0f} GFLOP/s in float32, {half:.0f} in bfloat16"


@functools.cache
def _cpu_gflops() -> tuple[float, float]:
    """GFLOP/s of a [256, 1024] x [1024, 1024] multiply in float32 and in bfloat16, the best of ROUNDS.

    They take turns, so that other work that stalls the machine for a moment stalls both.
    """
    pairs = [
        (torch.ones(256, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype))
        for dtype in (torch.float32, torch.bfloat16)
    ]
    best = [float("inf")] * len(pairs)
    with torch.inference_mode():
        for left, right in pairs:
            left @ right  # the first one prepares
        for _ in range(ROUNDS):
            for which, (left, right) in enumerate(pairs):
                start = time.perf_counter()
                left @ right
                best[which] = min(best[which], time.perf_counter() - start)
    single, half = (2 * 256 * 1024 * 1024 / seconds / 1e9 for seconds in best)
    return single, half
