"""The token vectors of all passages in one flat file, and exact MaxSim over some or all of them.

The file is read by position, not mapped: what was read does not stay in the process's memory, so that a store of 3 GiB
is searched in a few hundred MiB; the operating system's own cache keeps what is read often.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from gag.errors import RunError

SLICE = 2**19
"""Values that are scored at once: 2 MiB in float32, about what a core's cache holds."""


class TokenMatrices:
    """Half-precision vectors, the passages' one after the other in `path`; `counts` says how many each one has."""

    def __init__(self, path: Path, counts: Int64[np.ndarray, " n"], dimension: int) -> None:
        self.counts = counts
        self.dimension = dimension
        self._starts = np.concatenate([[0], np.cumsum(counts)]) * (2 * dimension)
        self._path = path
        try:
            self._file = path.open("rb", buffering=0)
            weakref.finalize(self, self._file.close)  # not left to chance, which would warn
            size = path.stat().st_size
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from None
        if size != self._starts[-1]:
            raise self._damaged(f"{size} bytes instead of {self._starts[-1]}")
        self._reading = threading.Lock()  # place and read are two calls

    def maxsim(self, query: Float[Tensor, "q d"], rows: Int64[np.ndarray, " m"]) -> Float[Tensor, " m"]:
        """The exact score of each of the passages `rows` for one question, in float32."""
        return self.maxsims([query], rows)[0]

    def maxsims(
        self, queries: Sequence[Float[Tensor, "q d"]], rows: Int64[np.ndarray, " m"]
    ) -> Float[Tensor, "questions m"]:
        """`maxsim` for several questions; every passage is read once. Raises RunError for a damaged file."""
        found = torch.empty(len(queries), len(rows))
        for places in self._slices(rows):
            vectors = self._read(rows[places]).float()
            chosen = torch.from_numpy(places)
            for number, query in enumerate(queries):
                similar = query @ vectors.view(-1, self.dimension).T
                best = similar.view(len(query), len(vectors), -1).amax(dim=2)
                found[number, chosen] = best.sum(dim=0)
        return found

    def _slices(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Places in `rows`, together those of about the same length, so that little is padded."""
        counts = self.counts[rows]
        order = np.argsort(counts, kind="stable")
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and (end + 1 - start) * counts[order[end]] * self.dimension <= SLICE:
                end += 1
            yield order[start:end]
            start = end

    def _read(self, rows: np.ndarray) -> Tensor:
        """`[len(rows), longest, d]` in half precision, shorter ones filled up with their first vector again.

        That leaves every maximum as it is.
        """
        counts = self.counts[rows]
        vectors = torch.empty(len(rows), int(counts.max()), self.dimension, dtype=torch.float16)
        data = vectors.numpy()
        with self._reading:
            for place, row in enumerate(rows):
                self._file.seek(int(self._starts[row]))
                own = data[place, : counts[place]]
                if self._file.readinto(own.data.cast("B")) != own.nbytes:
                    raise self._damaged("it ends too early")
        for short in np.flatnonzero(counts < data.shape[1]):
            data[short, counts[short] :] = data[short, 0]
        return vectors

    def _damaged(self, reason: str) -> RunError:
        return RunError(
            f"The token vectors in {self._path} cannot be read: {reason}.",
            f"Delete {self._path.parent} and run the same command again; it is built from the table beside it.",
        )
