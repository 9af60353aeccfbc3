"""Texts as the last layer's states of a frozen encoder or causal LM: what the router and late interaction share."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gag.errors import ModelError

UNLIMITED = 1_000_000
"""A tokenizer without a limit names a number above this."""


class TextStates:
    """A model without its head and its tokenizer, for several threads at once; `name` is what errors call it."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
        self.name, self.tokenizer = name, tokenizer
        self.model: nn.Module = model.base_model.eval()  # of a causal LM the last states, without its head
        self.dimension = int(model.config.get_text_config().hidden_size)
        self._tokenizing = threading.Lock()  # a fast tokenizer's settings may not change while another thread uses it
        parameters = inspect.signature(self.model.forward).parameters
        self._options: dict[str, Any] = {"use_cache": False} if "use_cache" in parameters else {}

    @property
    def blank(self) -> int:
        """The id that stands for an empty text where the tokenizer adds nothing of its own."""
        known = [self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id]
        return next((int(token) for token in known if token is not None), 0)

    def tokenize(self, texts: Sequence[str], **choices: Any) -> list[list[int]]:
        """The ids of each text, which is plain text whatever it holds; `choices` are the tokenizer's own."""
        if not texts:
            return []
        well_formed = [text.encode("utf-8", errors="replace").decode("utf-8") for text in texts]  # lone surrogates
        with self._tokenizing:
            rows: list[list[int]] = self.tokenizer(
                well_formed, split_special_tokens=True, return_attention_mask=False, **choices
            )["input_ids"]
        return rows

    @torch.no_grad()
    def states(
        self, rows: Sequence[Sequence[int]], attended: Sequence[Sequence[bool]] | None = None
    ) -> tuple[Float[Tensor, "b t d"], Int[Tensor, "b t"]]:
        """The last layer's states of id sequences in float32, and the mask of what was attended to (None: all of each).

        Padded on the right whatever the tokenizer's own side is; both on the model's device.
        """
        device = next(self.model.parameters()).device
        ids = right_padded(rows, self.tokenizer.pad_token_id or 0).to(device)
        mask = right_padded([[True] * len(row) for row in rows] if attended is None else attended, 0).to(device)
        states = self.model(input_ids=ids, attention_mask=mask, **self._options).last_hidden_state
        return states.float(), mask

    def checked(self, vectors: Tensor) -> Tensor:
        """`vectors`, all of them numbers; raises ModelError where one is not."""
        if not bool(torch.isfinite(vectors).all()):
            raise ModelError(
                f"The encoder {self.name} gave values that are not numbers.",
                "Set its dtype to float32 (models.encoder.dtype).",
            )
        return vectors


def readable_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The most tokens that are read at once; None where neither model nor tokenizer names a number."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    named = [int(tokenizer.model_max_length), *([positions] if isinstance(positions, int) else [])]
    return min((n for n in named if 0 < n < UNLIMITED), default=None)


def right_padded(rows: Sequence[Sequence[int]], filler: int) -> Int[Tensor, "b t"]:
    """Sequences of different lengths as one tensor."""
    longest = max(map(len, rows))
    return torch.tensor([[*map(int, row), *[filler] * (longest - len(row))] for row in rows])
