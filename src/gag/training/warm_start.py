"""The warm start's targets: what a slot would hold if the base could read the background as text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gag.models import chat
from gag.models.base import Base
from gag.models.readout import segment_embeddings


def warm_start_targets(base: Base, texts: Sequence[str], slots: int) -> Float[Tensor, "n slots d_base"]:
    """The base's embeddings of each text's segments, on the CPU; see `Projector.initialise`."""
    said = [chat.encode_answer(text, base.tokenizer) for text in texts]
    return torch.stack([segment_embeddings(ids[:-1] or ids, base.table.weight, slots) for ids in said]).cpu()
