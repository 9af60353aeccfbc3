"""Injection: vectors take the place of embeddings at the slots (paper: E(s_a) <- z_i(x))."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def inject(
    embeddings: Float[Tensor, "batch length d_base"],
    vectors: Float[Tensor, "batch slots d_base"],
    positions: Int[Tensor, "batch slots"],
) -> Float[Tensor, "batch length d_base"]:
    """`embeddings` with `vectors` at `positions`, in the embeddings' dtype; gradients flow to both."""
    if vectors.shape[:2] != positions.shape or vectors.shape[2] != embeddings.shape[2]:
        raise ValueError(
            f"vectors {tuple(vectors.shape)} do not fit positions {tuple(positions.shape)} "
            f"in embeddings {tuple(embeddings.shape)}"
        )
    index = positions.unsqueeze(-1).expand(-1, -1, embeddings.shape[2])
    return torch.scatter(embeddings, 1, index, vectors.to(embeddings.dtype))
