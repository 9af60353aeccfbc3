"""Freed tensors leave the process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from gag.models.memory import THEIR_OWN, give_back_freed_memory

GROWTH = """
import os, sys, torch
from gag.models.memory import give_back_freed_memory
said = sys.argv[1] == "set" and give_back_freed_memory()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
before, small = resident(), []
for turn in range(30):
    held = [torch.ones((1 << 18) * (3 + (turn * 7 + i) % 9)) for i in range(20)]  # 3 to 11 MiB
    small.append([torch.ones(1000) for _ in range(50)])  # lies between them
    del held
print(int(said), resident() - before)
"""


def grown(way: str, **environment: str) -> tuple[bool, int]:
    """Whether it was set, and bytes that a fresh process kept of tensors that are gone."""
    ours = {name: value for name, value in os.environ.items() if name not in THEIR_OWN}
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, way],
        env={**ours, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    said, size = done.stdout.split()
    return said == "1", int(size)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_tensors_leave_the_process() -> None:
    kept, given = grown("leave"), grown("set")
    assert not kept[0] and given[0]
    assert given[1] < 60 * 2**20 < 150 * 2**20 < kept[1]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_an_allocator_of_the_environment_is_left_as_it_is() -> None:
    assert grown("set", MALLOC_MMAP_THRESHOLD_="67108864")[0] is False


def test_another_c_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: None) -> None:
        raise TypeError("argument of type 'NoneType' is not iterable")

    for name in THEIR_OWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("gag.models.memory.ctypes.CDLL", missing)
    give_back_freed_memory.cache_clear()
    assert give_back_freed_memory() is False
    give_back_freed_memory.cache_clear()
