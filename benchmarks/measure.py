"""What every benchmark shares: times taken in turns, peak memory, this machine's limit, tables and JSON.

Two ways of doing the same are compared within one run, a turn of one after a turn of the other, so that a busy moment
of the machine meets both; a ratio is the median of the turns' ratios.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers

from gag.atomic import new_file

CPU = torch.device("cpu")

Row = dict[str, Any]
"""One line of the table: what, value, unit, and where there is a target at_least or at_most (else None)."""


def row(what: str, value: float, unit: str = "", *, at_least: float | None = None, at_most: float | None = None) -> Row:
    """One line of the table."""
    return {"what": what, "value": value, "unit": unit, "at_least": at_least, "at_most": at_most}


def target(row: Row) -> str:
    """The target in words; empty where there is none."""
    if row["at_least"] is not None:
        return f"at least {row['at_least']:g}"
    return "" if row["at_most"] is None else f"at most {row['at_most']:g}"


def verdict(row: Row) -> str:
    """met or MISSED; empty where there is no target."""
    if not target(row):
        return ""
    met = row["value"] >= row["at_least"] if row["at_least"] is not None else row["value"] <= row["at_most"]
    return "met" if met else "MISSED"


def table(rows: Sequence[Row]) -> str:
    """The rows as lines: what, value, unit, target, verdict."""
    wide = max((len(r["what"]) for r in rows), default=0)
    lines = [f"{r['what']:<{wide}} {r['value']:>10.4g} {r['unit']:<9} {target(r):<14} {verdict(r)}" for r in rows]
    return "\n".join(line.rstrip() for line in lines)


def alternating(
    rounds: int, *calls: Callable[[int], object], device: torch.device = CPU, warm: int = 1
) -> list[list[float]]:
    """Seconds of every round of each call, run in turns after `warm` rounds that do not count.

    A call is given the number of its round, so that it can take another question each time.
    """
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(-warm, rounds):
        for call, taken in zip(calls, seconds, strict=True):
            _finish(device)
            started = time.perf_counter()
            call(turn)
            _finish(device)
            if turn >= 0:
                taken.append(time.perf_counter() - started)
    return seconds


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """How many times longer `slow` takes: the median over the rounds, each against its own neighbour."""
    return statistics.median(s / f for s, f in zip(slow, fast, strict=True))


def peak_gflops(dtype: torch.dtype, device: torch.device = CPU, size: int | None = None) -> float:
    """The best GFLOP/s of ten square matrix multiplies: what this machine can reach at all."""
    size = size or (2048 if device.type == "cpu" else 8192)
    left, right = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    (seconds,) = alternating(10, lambda turn: left @ right, device=device, warm=2)
    return 2 * size**3 / min(seconds) / 1e9


def allocated_peak(step: Callable[[], object], device: torch.device) -> int:
    """Most bytes of tensors that `step` holds at once beyond those there before it.

    On a GPU the allocator says so. On a CPU it is the running sum of the profiler's record of every allocation and
    release, which holds each tensor and, unlike the process's resident size, no library's scratch space and no memory
    that was freed but is kept for reuse; `resident_peak` has all that.
    """
    if device.type == "cuda":
        _finish(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        _finish(device)
        return int(torch.cuda.max_memory_allocated(device)) - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    profiler: Any = profile.profiler
    events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def resident_peak(step: Callable[[], object]) -> int | None:
    """How far the process's resident memory rises above its size before `step`; None where the system can't say."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc: give back what is freed but kept, or growth would hide in it
    with suppress(OSError, KeyError, ValueError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the highest size so far
        before = _status("VmRSS")
        step()
        return max(0, _status("VmHWM") - before)
    return None


def machine(device: torch.device = CPU, size: int | None = None) -> dict[str, Any]:
    """This machine in words and its matrix-multiply limit; the load average says whether it was measured alone."""
    described: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if device.type == "cuda":
        described |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    for dtype in (torch.float32, torch.bfloat16):
        described[f"{str(dtype).removeprefix('torch.')}_gflops"] = round(peak_gflops(dtype, device, size))
    return described


def write(path: Path, name: str, rows: Sequence[Row], described: dict[str, Any]) -> None:
    """The rows with the machine and the date as JSON, whole or not at all."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    data = {"name": name, "date": date, "machine": described, "rows": [{**r, "verdict": verdict(r)} for r in rows]}
    with new_file(path) as partial:
        partial.write_text(json.dumps(data, indent=1) + "\n", "utf-8")


def report(name: str, rows: Sequence[Row], described: dict[str, Any], path: Path | None) -> None:
    """Print a benchmark's table, and write its JSON where a path is given."""
    print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in described.items()))
    print(table(rows), flush=True)
    if path is not None:
        write(path, name, rows, described)


def body_parameters(model: Any) -> int:
    """Weights that every token is multiplied with: all but the embeddings and the output head."""
    outer = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    return sum(p.numel() for p in model.parameters() if all(p is not o for o in outer))


def head_parameters(model: Any) -> int:
    """Weights of the output head."""
    return int(model.get_output_embeddings().weight.numel())


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _status(key: str) -> int:
    """A size in bytes from what Linux says of this process."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[key].split()[0]) * 1024


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
