"""Memory that a long step leaves behind, given back to the system when the step is over (docs/lab-book.md)."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any


def give_back() -> None:
    """Give the memory that nothing holds any more back to the system, where the C library (glibc) keeps it.

    Batches of ever other shapes leave holes in its heap that no later one fits into, so that a process which trains and
    answers would grow without end. Takes milliseconds; not for every step of a training.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
