"""TRL's SFTTrainer with the loss computed at answer tokens only.

The library's loss runs the output head over every position; with short answers behind long prompts, and on a CPU, that
head is most of the time. Legend: N labelled positions.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import DistributedType
from torch import Tensor, nn
from trl.trainer.sft_trainer import SFTTrainer

from gag.models.head import frozen_head_nll, logits_nll, plain_head

SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED)


class AnswerLossTrainer(SFTTrainer):
    """Falls back to the library's own loss where the head is sharded or is more than one linear layer."""

    def __init__(self, **kwargs: Any) -> None:
        model = kwargs["model"]
        bare = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.head: nn.Linear | None = plain_head(bare)
        super().__init__(**kwargs)
        if self.accelerator.distributed_type in SHARDED:
            self.head = None

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean over all processes' answer tokens, as the library's loss."""
        if self.head is None or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[no-untyped-call]
        labels = inputs.pop("labels")
        # One position's logits, given as an index: an integer would make the library copy the head for every row.
        first = torch.zeros(1, dtype=torch.long, device=labels.device)
        out = model(**inputs, use_cache=False, output_hidden_states=True, logits_to_keep=first)
        chosen = labels[:, 1:] != -100
        losses = head_nll(out.hidden_states[-1][:, :-1][chosen], self.head, labels[:, 1:][chosen])
        if num_items_in_batch is None:
            return losses.mean()
        scale = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return losses.sum() / num_items_in_batch * scale


def head_nll(hidden: Tensor, head: nn.Linear, labels: Tensor) -> Tensor:
    """-log p(label) [N] from hidden states [N, d], with the head's gradient where it is trained."""
    if head.weight.requires_grad and torch.is_grad_enabled():
        return logits_nll(nn.functional.linear(hidden, head.weight, head.bias), labels)
    return frozen_head_nll(hidden, head, labels)
