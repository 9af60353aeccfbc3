"""Refined vectors make the base say more of a text, each its own, and nothing of the base changes."""

from __future__ import annotations

import itertools
from functools import lru_cache

import pytest
import torch
from torch import Tensor

from gag.config import GenerationConfig
from gag.models import refinement
from gag.models.base import Base
from gag.models.chat import EncodedPrompt
from gag.models.fingerprint import weights_checksum
from gag.models.refinement import RATE, refined
from gag.testing import byte_tokenizer, tiny_causal_lm

FAMILIES = ("llama", "gemma3", "mistral", "gpt_neox")
PROMPTS = [
    EncodedPrompt((70, 80, 0, 0, 90), (2, 3)),
    EncodedPrompt((71, 72, 73, 74, 0, 0, 75), (4, 5)),
    EncodedPrompt((60, 0, 0, 61, 62), (1, 2)),
]
TEXTS = [[5, 6, 7], [8], [9, 10, 11, 12]]


@lru_cache
def base(family: str) -> Base:
    return Base(tiny_causal_lm(family, sliding_window=8, seed=2), byte_tokenizer(), source=family, fingerprint="f" * 64)


@pytest.fixture
def vectors() -> Tensor:
    return torch.randn(3, 2, 32, generator=torch.Generator().manual_seed(3))


def losses(model: Base, vectors: Tensor) -> list[float]:
    with torch.no_grad():
        return [float(loss.mean()) for loss in model.answer_nll(PROMPTS, vectors, TEXTS)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_text_becomes_likelier_and_the_base_stays_what_it_is(family: str, vectors: Tensor) -> None:
    model, given = base(family), vectors.clone()
    before = weights_checksum(model.model)
    few, many = (refined(model, PROMPTS, vectors, TEXTS, steps) for steps in (2, 20))
    for start, soon, late in zip(losses(model, vectors), losses(model, few), losses(model, many), strict=True):
        assert late < start and (late < soon < start or max(soon, late) < refinement.SURE)
    assert weights_checksum(model.model) == before
    assert not any(p.requires_grad or p.grad is not None for p in model.model.parameters())
    assert torch.equal(vectors, given) and not many.requires_grad


@pytest.mark.parametrize("family", FAMILIES)
def test_a_vector_depends_on_nothing_else_in_its_batch(family: str, vectors: Tensor) -> None:
    together = refined(base(family), PROMPTS, vectors, TEXTS, 3)
    parts = refined(base(family), PROMPTS, vectors, TEXTS, 3, batch_size=2)
    torch.testing.assert_close(together, parts, rtol=1e-3, atol=1e-4)


def test_a_step_is_a_share_of_each_vectors_size(vectors: Tensor) -> None:
    sizes = torch.tensor([0.01, 1.0, 300.0])[:, None, None]
    moved = refined(base("llama"), PROMPTS, vectors * sizes, TEXTS, 1) - vectors * sizes
    typical = (vectors * sizes).square().mean(-1, keepdim=True).sqrt()
    shares = (moved / typical).abs()
    assert float(shares.max()) <= RATE * 1.01
    assert (shares.median(-1).values > RATE * 0.5).all()


def test_what_the_base_would_say_already_is_left_as_it_is(vectors: Tensor) -> None:
    model = base("llama")
    (done,) = model.generate(PROMPTS[:1], vectors[:1], GenerationConfig(max_new_tokens=2))
    near = [list(done.ids)[:1], TEXTS[1], TEXTS[2]]
    with torch.no_grad():
        first = [float(loss.max()) for loss in model.answer_nll(PROMPTS, vectors, near)]
    assert first[0] < first[1], "the likeliest token against any"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(refinement, "SURE", (first[0] + min(first[1:])) / 2)
        out = refined(model, PROMPTS, vectors, near, 3)
        assert torch.equal(out[0], vectors[0]) and not torch.equal(out[1], vectors[1])
        patched.setattr(refinement, "SURE", max(first) + 1)
        assert torch.equal(refined(model, PROMPTS, vectors, near, 3), vectors)
        patched.setattr(refinement, "SURE", 4.5)
        long, longer = (refined(model, PROMPTS, vectors, TEXTS, steps) for steps in (200, 300))
    with torch.no_grad():
        worst = [float(loss.max()) for loss in model.answer_nll(PROMPTS, long, TEXTS)]
    assert max(worst) < 4.5 < max(first) and torch.equal(long, longer), "it stops where it is sure enough"


def test_a_vector_stays_where_its_text_was_sure_first(vectors: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    model = base("llama")
    monkeypatch.setattr(refinement, "SURE", 4.5)
    steps = [refined(model, PROMPTS, vectors, TEXTS, count) for count in range(40)]
    with torch.no_grad():
        worst = [[float(loss.max()) for loss in model.answer_nll(PROMPTS, v, TEXTS)] for v in steps]
    stopped = 0
    for row in range(len(TEXTS)):
        sure = next((count for count, losses in enumerate(worst) if losses[row] <= 4.5), len(steps))
        assert all(torch.equal(later[row], steps[sure][row]) for later in steps[sure:])
        assert all(not torch.equal(a[row], b[row]) for a, b in itertools.pairwise(steps[: sure + 1]))
        stopped += 1 < sure < len(steps)
    assert stopped, "one at least was moved first and left then"


def test_what_has_no_text_stays(vectors: Tensor) -> None:
    out = refined(base("llama"), PROMPTS, vectors, [[], TEXTS[1], []], 3)
    assert torch.equal(out[0], vectors[0]) and torch.equal(out[2], vectors[2])
    assert not torch.equal(out[1], vectors[1])
    assert torch.equal(refined(base("llama"), PROMPTS, vectors, [[], [], []], 3), vectors)


def test_slots_may_come_first_of_all_and_no_gradient_need_be_on(vectors: Tensor) -> None:
    prompts = [EncodedPrompt((0, 0, 90, 91), (0, 1))]
    with torch.no_grad():
        out = refined(base("llama"), prompts, vectors[:1], TEXTS[:1], 5)
        first, last = (base("llama").answer_nll(prompts, v, TEXTS[:1])[0].mean() for v in (vectors[:1], out))
    assert last < first
