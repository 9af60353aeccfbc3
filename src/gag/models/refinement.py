"""Refinement: a few gradient steps of the injected vectors themselves, after the projector, before the base answers.

A projector finds its vectors in one pass; with one slot it comes near to one that carries a new name, and seldom hits
it (docs/results.md, One token). The expert's background is there as text too, so the base can say how likely it finds
that text under the vectors, and its gradient with respect to them (never to a weight) says where to move. Legend: B
batch, K slots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gag.models.base import Base
from gag.models.chat import EncodedPrompt

RATE = 0.04
"""How far a step of Adam moves a component, in units of its vector's root mean square (docs/lab-book.md)."""

SURE = math.log(2)
"""A token below this loss has more than half of the probability, so greedy decoding says it: no step is needed."""


def refined(
    base: Base,
    prompts: Sequence[EncodedPrompt],
    vectors: Float[Tensor, "b k d_base"],
    texts: Sequence[Sequence[int]],
    steps: int,
    *,
    batch_size: int = 32,
) -> Float[Tensor, "b k d_base"]:
    """`vectors` after at most so many steps towards what makes the base write `texts` (token ids) after `prompts`.

    A vector stays as it is where the text is empty or the base would write it already, and from the step on from which
    it would: what is more certain than that answers no question better. The base's weights take no gradient.
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
    by = [torch.zeros_like(vector).requires_grad_() for vector in vectors]
    optimizer = torch.optim.Adam(by, lr=RATE)
    left = list(range(len(by)))
    for _ in range(steps):
        losses = base.answer_nll(
            [prompts[i] for i in left],
            torch.stack([vectors[i] + size[i] * by[i] for i in left]),
            [texts[i] for i in left],
            None if prefixes is None else [prefixes[i] for i in left],
        )
        unsure = [(i, loss) for i, loss in zip(left, losses, strict=True) if float(loss.detach().max()) > SURE]
        if not unsure:
            break
        optimizer.zero_grad()
        torch.stack([loss.mean() for _, loss in unsure]).sum().backward()
        left = [i for i, _ in unsure]
        for i in set(range(len(by))).difference(left):
            by[i].grad = None  # with a gradient of nothing its momentum would carry on what is done
        optimizer.step()
    return (vectors + size * torch.stack(by)).detach()
