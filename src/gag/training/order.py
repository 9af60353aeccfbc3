"""The order of examples in an epoch: shuffled, those of like length together, and known from the epoch's number alone.

Nothing here depends on the global random state, so that an interrupted training goes on in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

STRETCH = 8
"""Batches within which examples are sorted by length."""


def like_lengths(lengths: Sequence[int], batch_size: int, seed: int) -> list[list[int]]:
    """Indices of an epoch's batches; every example is in one, and one batch may be short."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(lengths), generator=generator).tolist()
    stretch = batch_size * STRETCH
    for start in range(0, len(order), stretch):
        order[start : start + stretch] = sorted(order[start : start + stretch], key=lambda i: lengths[i])
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


class LikeLengths(Sampler[int]):
    """The same order one index at a time, the short batch last so that no other is torn; `set_epoch` changes it."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        batches = like_lengths(self.lengths, self.batch_size, self.seed + self.epoch)
        batches.sort(key=lambda batch: len(batch) < self.batch_size)
        return (index for batch in batches for index in batch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order `iter` gives."""
        self.epoch = epoch
