"""Pooling of background states, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gag.config import ReadoutConfig
from gag.models.readout import pool, segment_embeddings


def readout(**choices: object) -> ReadoutConfig:
    return ReadoutConfig.model_validate(choices)


def states(*values: float) -> Tensor:
    """[tokens, 1 layer, 2]: each value and its negative."""
    return torch.tensor([[[v, -v]] for v in values])


def first(pooled: Tensor) -> list[float]:
    assert pooled.shape[1:] == (1, 2)
    assert torch.equal(pooled[..., 1], -pooled[..., 0])
    return pooled[:, 0, 0].tolist()


def test_last_takes_the_last_token() -> None:
    assert first(pool(states(1, 2, 3), readout())) == [3]


@pytest.mark.parametrize(("slots", "wanted"), [(1, [3]), (2, [2, 3]), (3, [1, 2, 3]), (5, [1, 1, 1, 2, 3])])
def test_last_of_a_prefill_takes_as_many_as_there_are_slots(slots: int, wanted: list[float]) -> None:
    assert first(pool(states(1, 2, 3), readout(mode="prefill", slots=slots))) == wanted


def test_mean() -> None:
    assert first(pool(states(1, 2, 6), readout(pooling="mean"))) == [3]


@pytest.mark.parametrize(
    ("values", "slots", "wanted"),
    [
        ((1, 2, 3, 4), 2, [1.5, 3.5]),
        ((1, 2, 3, 4, 6), 2, [1.5, 13 / 3]),
        ((1, 2, 3, 4, 5, 6), 4, [1.5, 3, 4, 5.5]),
        ((1, 2), 4, [1, 1, 2, 2]),
        ((7,), 3, [7, 7, 7]),
        ((1, 2, 3), 3, [1, 2, 3]),
    ],
)
def test_segment_means(values: tuple[float, ...], slots: int, wanted: list[float]) -> None:
    assert first(pool(states(*values), readout(pooling="segment_mean", slots=slots))) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("values", "slots", "wanted"),
    [
        ((1, 2, 3, 4), 2, [[1, 2], [3, 4]]),
        ((1, 2, 3, 5, 6, 7), 2, [[1.5, 3], [5.5, 7]]),
        ((1, 2, 3), 2, [[1, 2], [3, 3]]),
        ((7,), 1, [[7, 7]]),
    ],
)
def test_parts_of_a_segment_stand_side_by_side(
    values: tuple[float, ...], slots: int, wanted: list[list[float]]
) -> None:
    pooled = pool(states(*values), readout(pooling="segment_mean", slots=slots, parts=2))
    assert pooled.shape == (slots, 1, 4)
    assert pooled[:, 0, [0, 2]].tolist() == wanted
    assert pooled[:, 0, [1, 3]].tolist() == [[-x for x in row] for row in wanted]


@pytest.mark.parametrize("pooling", ["last", "mean", "none"])
def test_what_has_no_segments_has_no_parts(pooling: str) -> None:
    with pytest.raises(ValueError, match="parts must be 1"):
        readout(pooling=pooling, parts=2)


@pytest.mark.parametrize("tokens", range(1, 20))
@pytest.mark.parametrize("slots", [1, 3, 4])
def test_segments_use_every_token_and_are_about_equal(tokens: int, slots: int) -> None:
    """Seen through the gradient: which tokens reach which slot."""
    source = torch.zeros(tokens, 1, 1, requires_grad=True)
    pooled = pool(source, readout(pooling="segment_mean", slots=slots))
    sizes, used = [], torch.zeros(tokens)
    for slot in range(slots):
        (reach,) = torch.autograd.grad(pooled[slot].sum(), source, retain_graph=True)
        members = reach.flatten() > 0
        sizes.append(int(members.sum()))
        used += members
    assert bool((used > 0).all())
    if tokens >= slots:
        assert sum(sizes) == tokens
        assert max(sizes) - min(sizes) <= 1


def test_softmax_weights_by_likeness_to_the_segments_mean() -> None:
    pooled = pool(states(1, 3), readout(pooling="segment_softmax", slots=1))
    # mean (2, -2); scores 4 / sqrt 2 and 12 / sqrt 2
    weight = 1 / (1 + math.exp((4 - 12) / math.sqrt(2)))
    assert first(pooled) == pytest.approx([1 * (1 - weight) + 3 * weight])


def test_layers_are_weighted_each_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    many = torch.randn(7, 3, 4, generator=generator)
    for pooling in ("last", "mean", "segment_mean", "segment_softmax", "none"):
        config = readout(pooling=pooling, slots=1 if pooling in ("last", "mean") else 2)
        together = pool(many, config)
        apart = torch.cat([pool(many[:, [layer]], config) for layer in range(3)], dim=1)
        torch.testing.assert_close(together, apart)


def test_none_keeps_every_state() -> None:
    assert first(pool(states(1, 2, 3), readout(pooling="none", slots=2))) == [1, 2, 3]


@pytest.mark.parametrize("pooling", ["last", "mean", "segment_mean", "segment_softmax", "none"])
def test_layer_norm_and_clamp_come_after_pooling(pooling: str) -> None:
    source = states(1, 2, 6)
    assert first(pool(source, readout(pooling=pooling, normalize="layer_norm"))) == pytest.approx(
        [1] * (3 if pooling == "none" else 1), abs=1e-4
    )
    assert max(first(pool(source, readout(pooling=pooling, clamp=0.5)))) == 0.5
    both = pool(100 * torch.eye(8)[:, None], readout(pooling=pooling, normalize="layer_norm", clamp=2.0))
    assert both.max() <= 2.0
    if pooling == "last":
        assert both.max() == 2.0


def test_the_result_is_float32_whatever_the_states_are() -> None:
    assert pool(states(1, 2).bfloat16(), readout(pooling="mean")).dtype == torch.float32
    fine = torch.full((300, 1, 2), 1.01).bfloat16()
    wanted = float(torch.tensor(1.01).bfloat16())
    assert pool(fine, readout(pooling="mean"))[0, 0, 0].item() == pytest.approx(wanted, rel=1e-6)


def test_segments_of_a_text_as_the_base_would_embed_them() -> None:
    table = torch.arange(10.0)[:, None].repeat(1, 3).bfloat16()
    assert segment_embeddings([1, 2, 5, 7], table, 2)[:, 0].tolist() == [1.5, 6.0]
    assert segment_embeddings([4], table, 3)[:, 1].tolist() == [4.0, 4.0, 4.0]
    assert segment_embeddings([1, 2], table, 1).dtype == torch.float32
