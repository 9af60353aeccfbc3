"""Memory that tensors on a CPU have freed: back to the system, where glibc would keep it."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGE, _TRIM = 1 << 20, 128 << 20
THEIR_OWN = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Variables of the environment by which somebody chooses an allocator."""


@cache
def give_back_freed_memory() -> bool:
    """Let every block of a MiB and more go back to the system when it is freed; whether that could be set.

    By itself glibc puts blocks of up to 32 MiB into its heap as soon as one such was freed. Batches of ever other
    shapes then leave holes that nothing fits into, and a process grows to several times of what it holds
    (docs/lab-book.md). The whole process is meant. An allocator chosen in the environment is left as it is.
    """
    if any(os.environ.get(name) for name in THEIR_OWN):
        return False
    with suppress(OSError, AttributeError, TypeError):  # another C library; Windows has no CDLL(None)
        libc = ctypes.CDLL(None)
        return bool(libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, _TRIM))
    return False
