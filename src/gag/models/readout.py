"""The readout: from the states of a background's tokens to knowledge states (paper: k_i(x))."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gag.config import ReadoutConfig


def pool(states: Float[Tensor, "t l d"], config: ReadoutConfig) -> Float[Tensor, "k l parts_d"]:
    """Pool one question's background states over its tokens; float32.

    `last` takes the last background token's state (the paper; in prefill mode the last `slots` of the prompt), `mean`
    the mean, `segment_*` splits the tokens into `slots` equal segments (a background shorter than that repeats
    tokens), `none` keeps every state. `segment_softmax` weights a segment's tokens by the softmax of their scaled dot
    product with the segment's mean, so that the tokens that say what the segment is about count most. A segment may
    be pooled in `parts`, which are laid side by side: what stood in which order is kept.
    """
    states = states.float()
    if config.pooling == "none":
        pooled = states
    elif config.pooling == "last":
        wanted = torch.arange(len(states) - config.slots, len(states)).clamp_min(0)
        pooled = states[wanted]
    elif config.pooling == "mean":
        pooled = states.mean(0, keepdim=True)
    else:
        pooled = torch.stack([_segment(part, config) for part in _segments(states, config.slots)])
    if config.normalize == "layer_norm":
        pooled = torch.nn.functional.layer_norm(pooled, pooled.shape[-1:])
    return pooled if config.clamp is None else pooled.clamp(-config.clamp, config.clamp)


def _segments(states: Float[Tensor, "t l d"], count: int) -> list[Float[Tensor, "s l d"]]:
    borders = [round(i * len(states) / count) for i in range(count + 1)]
    out = []
    for start, end in itertools.pairwise(borders):
        start = min(start, len(states) - 1)
        out.append(states[start : max(end, start + 1)])
    return out


def _segment(segment: Float[Tensor, "s l d"], config: ReadoutConfig) -> Float[Tensor, "l parts_d"]:
    return torch.cat([_part(part, config.pooling) for part in _segments(segment, config.parts)], -1)


def _part(part: Float[Tensor, "s l d"], pooling: str) -> Float[Tensor, "l d"]:
    if pooling == "segment_mean":
        return part.mean(0)
    scores = (part * part.mean(0)).sum(-1) / part.shape[-1] ** 0.5  # [s, l]
    weighted: Tensor = (part * scores.softmax(0).unsqueeze(-1)).sum(0)
    return weighted


def segment_embeddings(
    ids: Sequence[int], table: Float[Tensor, "vocabulary d_base"], slots: int
) -> Float[Tensor, "k d_base"]:
    """Mean embedding of each of `slots` equal segments of a background's tokens in the base's own vocabulary.

    What a slot would hold if the base could read the background as text: the target of a projector's warm start.
    """
    rows = table[torch.tensor(list(ids), device=table.device)].float().unsqueeze(1)  # [t, 1, d_base]
    return torch.stack([part.mean(0).squeeze(0) for part in _segments(rows, slots)])
