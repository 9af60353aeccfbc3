"""A vector takes a slot's place and nothing else moves; gradients reach the vectors alone."""

from __future__ import annotations

import pytest
import torch

from gag.models.injection import inject
from gag.testing import FAMILIES, tiny_causal_lm


@pytest.mark.parametrize("family", FAMILIES)
def test_injecting_a_tokens_own_embedding_leaves_the_logits_as_they_were(family: str) -> None:
    model = tiny_causal_lm(family)
    ids = torch.randint(0, 256, (2, 9), generator=torch.Generator().manual_seed(0))
    positions = torch.tensor([[1, 4], [0, 8]])
    embeddings = model.get_input_embeddings()(ids)
    own = torch.stack([embeddings[row, places] for row, places in enumerate(positions)])
    with torch.no_grad():
        plain = model(inputs_embeds=embeddings).logits
        assert torch.equal(model(inputs_embeds=inject(embeddings, own, positions)).logits, plain)
        other = model(inputs_embeds=inject(embeddings, own.flip(-1), positions)).logits
    assert not torch.equal(other, plain)
    assert torch.equal(other[0, :1], plain[0, :1])


def test_vectors_go_where_the_positions_say_in_the_embeddings_dtype() -> None:
    embeddings = torch.zeros(2, 4, 3, dtype=torch.bfloat16)
    vectors = torch.arange(1.0, 13.0).reshape(2, 2, 3)
    out = inject(embeddings, vectors, torch.tensor([[3, 0], [1, 2]]))
    assert out.dtype == torch.bfloat16
    wanted = torch.zeros(2, 4, 3)
    wanted[0, 3], wanted[0, 0], wanted[1, 1], wanted[1, 2] = vectors.flatten(0, 1)
    assert torch.equal(out.float(), wanted)
    assert not embeddings.any()


def test_gradients_reach_the_vectors_and_no_weight() -> None:
    model = tiny_causal_lm().requires_grad_(False)
    embeddings = model.get_input_embeddings()(torch.tensor([[5, 6, 7, 8]]))
    vectors = torch.randn(1, 1, 32, requires_grad=True)
    model(inputs_embeds=inject(embeddings, vectors, torch.tensor([[1]]))).logits.sum().backward()
    assert vectors.grad is not None and bool(vectors.grad.any())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("shape", [(1, 2, 3), (2, 1, 3), (2, 2, 4)])
def test_vectors_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        inject(torch.zeros(2, 4, 3), torch.zeros(shape), torch.zeros(2, 2, dtype=torch.long))
