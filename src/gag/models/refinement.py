"""Refinement: a few gradient steps of the injected vectors themselves, after the projector, before the base answers.

A projector finds its vectors in one pass; with one slot it comes near to one that carries a new name, and seldom hits
it (docs/results.md, One token). The expert's background is there as text too, so the base can say how likely it finds
that text under the vectors, and its gradient with respect to them (never to a weight) says where to move. Legend: B
batch, K slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gag.models.base import Base
from gag.models.chat import EncodedPrompt

RATE = 0.04
"""How far a step of Adam moves a component, in units of its vector's root mean square (docs/lab-book.md)."""


def refined(
    base: Base,
    prompts: Sequence[EncodedPrompt],
    vectors: Float[Tensor, "b k d_base"],
    texts: Sequence[Sequence[int]],
    steps: int,
    *,
    batch_size: int = 32,
) -> Float[Tensor, "b k d_base"]:
    """`vectors` after so many steps towards what makes the base write `texts` (token ids) after `prompts`.

    A vector whose text is empty stays as it is. The base's weights take no gradient.
    """
    out = vectors.detach().float().clone()
    todo = [index for index, text in enumerate(texts) if text]
    for start in range(0, len(todo), batch_size):
        part = todo[start : start + batch_size]
        out[part] = _moved(base, [prompts[i] for i in part], out[part], [texts[i] for i in part], steps)
    return out


@torch.enable_grad()
def _moved(
    base: Base, prompts: Sequence[EncodedPrompt], vectors: Tensor, texts: Sequence[Sequence[int]], steps: int
) -> Tensor:
    split = base.can_keep_prefixes and all(prompt.slots[0] for prompt in prompts)
    prefixes = base.prefixes(prompts) if split else None
    size = vectors.square().mean(-1, keepdim=True).sqrt()
    by = torch.zeros_like(vectors).requires_grad_()
    optimizer = torch.optim.Adam([by], lr=RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        losses = base.answer_nll(prompts, vectors + size * by, texts, prefixes)
        torch.stack([loss.mean() for loss in losses]).sum().backward()
        optimizer.step()
    return (vectors + size * by).detach()
