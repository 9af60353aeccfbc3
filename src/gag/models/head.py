"""Answer likelihood without keeping logits: the output head and cross-entropy in chunks, for a frozen head.

Legend: N labelled positions, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

CHUNK_BYTES = 64 * 2**20
"""Float32 logits held at a time."""


class _FrozenHeadNLL(torch.autograd.Function):
    """-log p(label) of each position; the gradient for the hidden states is made in the same pass over the chunks."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
        wants_gradient = hidden.requires_grad
        losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if wants_gradient else None
        rows = max(1, CHUNK_BYTES // (4 * weight.shape[0]))
        for start in range(0, len(hidden), rows):
            part, wanted = hidden[start : start + rows].to(weight.dtype), labels[start : start + rows]
            logits = nn.functional.linear(part, weight, bias).float()
            total = logits.logsumexp(-1)
            losses[start : start + rows] = total - logits.gather(1, wanted.unsqueeze(1)).squeeze(1)
            if gradient is not None:
                logits.sub_(total.unsqueeze(1)).exp_()  # now the probabilities
                logits.scatter_add_(1, wanted.unsqueeze(1), logits.new_full((len(wanted), 1), -1.0))
                gradient[start : start + rows] = logits.to(weight.dtype) @ weight
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return (gradient * grads[0].unsqueeze(1).to(gradient.dtype)), None, None, None


def frozen_head_nll(hidden: Float[Tensor, "n d"], head: nn.Linear, labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """-log p(label) at each position, float32, differentiable in `hidden` only."""
    out: Tensor = _FrozenHeadNLL.apply(hidden, head.weight, head.bias, labels)  # type: ignore[no-untyped-call]
    return out


class _FrozenHeadKL(torch.autograd.Function):
    """KL(teacher || student) at each position; the gradient for the student's states is made in the same pass."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, teacher: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if hidden.requires_grad else None
        rows = max(1, CHUNK_BYTES // (8 * weight.shape[0]))
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            student = nn.functional.linear(hidden[part].to(weight.dtype), weight, bias).float().log_softmax(-1)
            target = nn.functional.linear(teacher[part].to(weight.dtype), weight, bias).float().log_softmax(-1)
            losses[part] = (target.exp() * (target - student)).sum(-1)
            if gradient is not None:
                gradient[part] = (student.exp() - target.exp()).to(weight.dtype) @ weight
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return (gradient * grads[0].unsqueeze(1).to(gradient.dtype)), None, None, None


def frozen_head_kl(hidden: Float[Tensor, "n d"], teacher: Float[Tensor, "n d"], head: nn.Linear) -> Float[Tensor, " n"]:
    """KL(teacher || student) of the next token at each position, from both hidden states; differentiable in `hidden`.

    Nats, float32, over the whole vocabulary.
    """
    out: Tensor = _FrozenHeadKL.apply(hidden, teacher, head.weight, head.bias)  # type: ignore[no-untyped-call]
    return out


def logits_kl(logits: Float[Tensor, "n v"], teacher: Float[Tensor, "n v"]) -> Float[Tensor, " n"]:
    """The same from both logits."""
    student, target = logits.float().log_softmax(-1), teacher.float().log_softmax(-1)
    return (target.exp() * (target - student)).sum(-1)


def logits_nll(logits: Float[Tensor, "n v"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The same from logits, for models whose head is more than one linear layer (soft caps, scales)."""
    return nn.functional.cross_entropy(logits.float(), labels, reduction="none")


@torch.no_grad()
def plain_head(model: PreTrainedModel) -> nn.Linear | None:
    """The model's output layer if its logits are nothing but that layer over the last of its hidden states."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or model.base_model is model:
        return None
    embeddings = model.get_input_embeddings()(torch.tensor([[1, 2, 3]], device=head.weight.device))
    out = model(inputs_embeds=embeddings, use_cache=False, output_hidden_states=True)
    decoded = model.base_model(inputs_embeds=embeddings, use_cache=False).last_hidden_state
    if not torch.equal(decoded, out.hidden_states[-1]):
        return None
    return head if torch.equal(nn.functional.linear(decoded, head.weight, head.bias), out.logits) else None
