"""The head in chunks gives the plain head's losses and gradients; a head that is more than a layer is recognised."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedModel

from gag.models import head as module
from gag.models.head import frozen_head_kl, frozen_head_nll, logits_kl, logits_nll, plain_head
from gag.testing import FAMILIES, tiny_causal_lm


def soft_capped() -> PreTrainedModel:
    """A Gemma 2, whose logits are squeezed by a tanh."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=261,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        final_logit_softcapping=2.0,
        initializer_range=0.5,
        query_pre_attn_scalar=8,
        pad_token_id=256,
        bos_token_id=257,
        eos_token_id=259,
    )
    return Gemma2ForCausalLM(config).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_familys_head_is_plain(family: str) -> None:
    model = tiny_causal_lm(family)
    assert plain_head(model) is model.get_output_embeddings()


def test_a_soft_capped_head_is_not() -> None:
    assert plain_head(soft_capped()) is None


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_losses_and_gradients_are_the_plain_ones(monkeypatch: pytest.MonkeyPatch, bias: bool, chunk: int) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk * 4 * 50)
    torch.manual_seed(0)
    head = nn.Linear(16, 50, bias=bias).requires_grad_(False)
    labels = torch.randint(0, 50, (23,))
    weights = torch.rand(23)

    def run(losses: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        (losses * weights).sum().backward()
        assert hidden.grad is not None
        return losses.detach(), hidden.grad

    mine, plain = (torch.randn(23, 16, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    mine, plain = (3 * mine).requires_grad_(), (3 * plain).requires_grad_()
    got = run(frozen_head_nll(mine, head, labels), mine)
    wanted = run(logits_nll(head(plain), labels), plain)
    torch.testing.assert_close(got[0], wanted[0])
    torch.testing.assert_close(got[1], wanted[1])


def test_bfloat16_losses_are_float32_and_near() -> None:
    torch.manual_seed(0)
    head = nn.Linear(16, 50).requires_grad_(False)
    hidden = torch.randn(9, 16)
    labels = torch.randint(0, 50, (9,))
    wanted = frozen_head_nll(hidden, head, labels)
    half = hidden.bfloat16().requires_grad_()
    got = frozen_head_nll(half, head.bfloat16(), labels)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, wanted, rtol=0.05, atol=0.05)
    got.sum().backward()
    assert half.grad is not None and half.grad.dtype == torch.bfloat16


def test_without_gradients_and_without_positions() -> None:
    head = nn.Linear(4, 6).requires_grad_(False)
    with torch.no_grad():
        losses = frozen_head_nll(torch.randn(3, 4), head, torch.tensor([0, 1, 2]))
    assert losses.shape == (3,) and not losses.requires_grad
    assert frozen_head_nll(torch.randn(0, 4), head, torch.zeros(0, dtype=torch.long)).shape == (0,)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_divergence_and_its_gradient_are_the_plain_ones(
    monkeypatch: pytest.MonkeyPatch, bias: bool, chunk: int
) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk * 8 * 50)
    torch.manual_seed(0)
    head = nn.Linear(16, 50, bias=bias).requires_grad_(False)
    student, teacher, weights = 3 * torch.randn(23, 16), 3 * torch.randn(23, 16), torch.rand(23)
    mine, plain = student.clone().requires_grad_(), student.clone().requires_grad_()
    got, wanted = frozen_head_kl(mine, teacher, head), logits_kl(head(plain), head(teacher))
    reference = nn.functional.kl_div(
        head(student).log_softmax(-1), head(teacher).log_softmax(-1), log_target=True, reduction="none"
    )
    torch.testing.assert_close(got, reference.sum(-1))
    torch.testing.assert_close(got, wanted)
    for losses in (got, wanted):
        (losses * weights).sum().backward()
    assert mine.grad is not None and plain.grad is not None
    torch.testing.assert_close(mine.grad, plain.grad)
    same = frozen_head_kl(teacher, teacher, head)
    torch.testing.assert_close(same, torch.zeros(23), atol=1e-6, rtol=0)
