"""The device and dtype a machine gets, and the reason given."""

from __future__ import annotations

import functools
import itertools

import pytest
import torch

from gag.errors import ModelError
from gag.models import device
from gag.models.device import choose_device, choose_dtype

CPU = torch.device("cpu")


def test_auto_takes_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", "", "cpu:x"])
def test_an_absent_device_is_refused(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        choose_device(name)
    assert caught.value.hint


@pytest.mark.parametrize(("single", "half", "expected"), [(10.0, 30.0, torch.bfloat16), (30.0, 10.0, torch.float32)])
def test_auto_takes_the_faster_dtype_and_gives_both_numbers(
    monkeypatch: pytest.MonkeyPatch, single: float, half: float, expected: torch.dtype
) -> None:
    monkeypatch.setattr(device, "_cpu_gflops", lambda: (single, half))
    dtype, reason = choose_dtype("auto", CPU)
    assert dtype == expected
    assert str(expected).removeprefix("torch.") in reason
    assert f"{single:.0f} GFLOP/s" in reason
    assert f"{half:.0f} in bfloat16" in reason


def test_the_measurement_is_made_once() -> None:
    device._cpu_gflops.cache_clear()
    first = device._cpu_gflops()
    assert min(first) > 0
    assert device._cpu_gflops() is first


def test_a_moments_stall_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the products in a row take ten times as long; of each dtype some remain that were not stalled."""
    calls = 2 * device.ROUNDS
    spent = iter([10.0 if calls // 4 <= n < 3 * calls // 4 else (2.0, 1.0)[n % 2] for n in range(calls)])
    ends = itertools.accumulate(spent)
    reads = iter([0.0, *(end for end in ends for _ in range(2))])  # a product begins where the one before it ended
    clock = functools.partial(next, reads)

    monkeypatch.setattr(device.time, "perf_counter", clock)
    single, half = device._cpu_gflops.__wrapped__()
    assert half == pytest.approx(2 * single)


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_configured_dtype_is_taken(name: str) -> None:
    assert choose_dtype(name, CPU) == (getattr(torch, name), "as configured")


def test_cuda_takes_bfloat16_where_the_gpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_it, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True, has_it=has_it: has_it)
        assert choose_dtype("auto", torch.device("cuda"))[0] == expected
