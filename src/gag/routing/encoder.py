"""The frozen text encoder of the router: question -> unit vector e(x) (paper section 3, prototype routing)."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gag.config import RouterConfig
from gag.errors import ModelError
from gag.models.loading import LoadedModel

Pooling = Literal["mean", "cls", "last"]

_POOLING_FILE = "1_Pooling/config.json"
_POOLING_NAMES: dict[str, Pooling] = {
    "mean": "mean",
    "mean_tokens": "mean",
    "cls": "cls",
    "cls_token": "cls",
    "lasttoken": "last",
}
"""Sentence-transformers' names: the value of `pooling_mode` or, in older files, the end of a `pooling_mode_*` flag."""


class Encoder:
    """An already loaded Hugging Face encoder or causal LM that turns texts into unit vectors.

    `pooling` is over the last layer: the mean over a text's own tokens (the paper), its first token or its last.
    Raises ModelError for a model whose limits leave no room for a text.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        fingerprint: str,
        pooling: Pooling,
        max_length: int = 256,
        batch_size: int = 64,
    ) -> None:
        if pooling not in get_args(Pooling):
            raise ModelError(f"The encoder {name} has no pooling {pooling!r}.", "Use mean, cls or last.")
        self.name = name
        self.fingerprint = fingerprint
        self.pooling: Pooling = pooling
        self.max_length = _fitting_length(model, tokenizer, max_length, name)
        self.batch_size = batch_size
        # A causal LM's own head is not needed: its base model gives the last layer's states.
        self._model: nn.Module = model.base_model.eval()
        self._dimension = int(model.config.get_text_config().hidden_size)
        self._tokenizer = tokenizer
        self._tokenizing = threading.Lock()  # a fast tokenizer's settings may not change while another thread uses it
        parameters = inspect.signature(self._model.forward).parameters
        self._options: dict[str, Any] = {"use_cache": False} if "use_cache" in parameters else {}

    @classmethod
    def from_loaded(cls, loaded: LoadedModel, config: RouterConfig) -> Encoder:
        """The encoder as `config` wants it; a sentence encoder's own pooling where its folder names one, else the mean.

        Raises ModelError for a pooling that this router does not know.
        """
        return cls(
            loaded.model,
            loaded.tokenizer,
            name=loaded.source,
            fingerprint=loaded.fingerprint,
            pooling=own_pooling(loaded.folder) or "mean",
            max_length=config.max_length,
            batch_size=config.batch_size,
        )

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self._dimension

    def encode(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """l2-normalised float32 vectors on the CPU, in the order of `texts`; equal texts get equal bits.

        A text is plain text whatever it holds, and only its first `max_length` tokens count. In float32 a text's vector
        does not depend on the others to 1e-5. Raises ModelError when the model gives something that is not a number.
        """
        distinct = {text: position for position, text in enumerate(dict.fromkeys(texts))}
        rows = self._tokenize(list(distinct))
        vectors = torch.empty(len(rows), self._dimension)
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            vectors[batch] = self._encode_batch([rows[i] for i in batch])
        if not bool(torch.isfinite(vectors).all()):
            raise ModelError(
                f"The encoder {self.name} gave values that are not numbers.", "Set models.encoder.dtype=float32."
            )
        if len(distinct) == len(texts):
            return vectors
        return vectors[[distinct[text] for text in texts]]

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        well_formed = [text.encode("utf-8", errors="replace").decode("utf-8") for text in texts]  # lone surrogates
        with self._tokenizing:
            rows: list[list[int]] = self._tokenizer(
                well_formed,
                truncation=True,
                max_length=self.max_length,
                padding=False,
                split_special_tokens=True,
                return_attention_mask=False,
            )["input_ids"]
        return [row or [self._blank] for row in rows]

    @property
    def _blank(self) -> int:
        """What stands for an empty text where the tokenizer adds nothing of its own."""
        tokenizer = self._tokenizer
        known = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]
        return next((int(token) for token in known if token is not None), 0)

    @torch.no_grad()
    def _encode_batch(self, rows: list[list[int]]) -> Float[Tensor, "b d"]:
        ids, mask = _padded(rows, self._tokenizer.pad_token_id or 0)
        device = next(self._model.parameters()).device
        ids, mask = ids.to(device), mask.to(device)
        states = self._model(input_ids=ids, attention_mask=mask, **self._options).last_hidden_state
        return normalize(_pooled(states, mask, self.pooling), dim=-1).cpu()


def own_pooling(folder: Path) -> Pooling | None:
    """The pooling that a sentence encoder's folder names for itself, None for a model that names none.

    Raises ModelError for a pooling other than mean, cls or last token.
    """
    path = folder / _POOLING_FILE
    if not path.is_file():
        return None
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise ModelError(f"{path} is not a JSON object.", "Fetch the encoder again.")
    mode = settings.get("pooling_mode")
    flags = [key.removeprefix("pooling_mode_") for key, on in settings.items() if on is True]
    names = [mode] if isinstance(mode, str) else [name for name in flags if name != "include_prompt"]
    if len(names) != 1 or names[0] not in _POOLING_NAMES:
        raise ModelError(
            f"The encoder in {folder} pools by {' and '.join(names) or 'nothing'}, which the router does not know.",
            "Take an encoder that pools by mean, cls or last token.",
        )
    return _POOLING_NAMES[names[0]]


def _fitting_length(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int, name: str) -> int:
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    limits = [max_length, int(tokenizer.model_max_length), *([positions] if isinstance(positions, int) else [])]
    length = min(limit for limit in limits if limit > 0)
    if length <= tokenizer.num_special_tokens_to_add():
        raise ModelError(f"The encoder {name} cannot read a text within {length} tokens.", "Raise router.max_length.")
    return length


def _padded(rows: list[list[int]], pad: int) -> tuple[Int[Tensor, "b t"], Int[Tensor, "b t"]]:
    """Ids and mask, padded on the right whatever the tokenizer's own side is."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return ids, (torch.arange(longest) < lengths[:, None]).long()


def _pooled(states: Float[Tensor, "b t d"], mask: Int[Tensor, "b t"], pooling: Pooling) -> Float[Tensor, "b d"]:
    if pooling == "cls":
        return states[:, 0].float()
    if pooling == "last":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1].float()
    weights = mask[..., None].float()
    return (states.float() * weights).sum(1) / weights.sum(1)
