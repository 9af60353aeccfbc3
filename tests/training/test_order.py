"""An epoch's order is known from its number alone, and its batches hold examples of like length."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from torch.utils.data import BatchSampler

from gag.training.expert import _SameOrder
from gag.training.order import LikeLengths, like_lengths

LENGTHS = [1 + (7 * n) % 50 for n in range(203)]


def test_every_example_is_in_one_batch() -> None:
    batches = like_lengths(LENGTHS, 8, seed=3)
    assert sorted(i for batch in batches for i in batch) == list(range(203))
    assert sorted(map(len, batches)) == [3, *[8] * 25]


def test_batches_are_of_like_length_and_in_no_order() -> None:
    batches = like_lengths(LENGTHS, 8, seed=3)
    spreads = [max(LENGTHS[i] for i in batch) - min(LENGTHS[i] for i in batch) for batch in batches]
    assert sum(spreads) / len(spreads) < 10  # drawn at random it would be about 40
    firsts = [LENGTHS[batch[0]] for batch in batches]
    assert firsts != sorted(firsts) != firsts[::-1]


def test_epochs_differ_and_come_again_whatever_was_drawn_meanwhile() -> None:
    sampler = LikeLengths(LENGTHS, 8, seed=3)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
        torch.rand(5)
    assert len({tuple(order) for order in epochs}) == 3
    other = LikeLengths(LENGTHS, 8, seed=3)
    other.set_epoch(2)
    assert list(other) == epochs[2]
    assert list(LikeLengths(LENGTHS, 8, seed=4)) != epochs[0]


@pytest.mark.parametrize("count", [1, 8, 9, 203])
def test_the_short_batch_is_last_so_that_no_other_is_torn(count: int) -> None:
    sampler = LikeLengths(LENGTHS[:count], 8, seed=3)
    order = list(sampler)
    assert len(order) == len(sampler) == count
    whole = [sorted(batch) for batch in like_lengths(LENGTHS[:count], 8, seed=3) if len(batch) == 8]
    assert [sorted(order[i : i + 8]) for i in range(0, count - count % 8, 8)] == whole


def test_a_resumed_epoch_keeps_its_order_in_several_processes() -> None:
    """What accelerate puts around the sampler, once more where batches are skipped, passes no epoch's number on."""
    sampler = LikeLengths(LENGTHS, 8, seed=3)
    batches = BatchSampler(sampler, batch_size=4, drop_last=False)
    shard = BatchSamplerShard(batches, num_processes=2, process_index=0, even_batches=False)
    rest = SkipBatchSampler(shard, skip_batches=3)
    callback = _SameOrder()
    callback.trainer = cast(Any, SimpleNamespace(order=sampler))
    callback.on_epoch_begin(None, SimpleNamespace(epoch=2.6), None)
    wanted = LikeLengths(LENGTHS, 8, seed=3)
    wanted.set_epoch(2)
    whole = list(BatchSamplerShard(BatchSampler(wanted, 4, drop_last=False), 2, 0, even_batches=False))
    assert list(rest) == whole[3:]
