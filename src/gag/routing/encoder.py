"""The frozen text encoder of the router: question -> unit vector e(x) (paper section 3, prototype routing)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gag.config import RouterConfig
from gag.errors import ModelError
from gag.models.loading import LoadedModel
from gag.models.text_states import TextStates, readable_tokens

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
    `texts` and, where it was made `from_loaded`, `loaded` are what other readers of the same model take.
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
        self.batch_size = batch_size
        self.texts = TextStates(model, tokenizer, name)
        self.loaded: LoadedModel | None = None
        self.max_length = min(max_length, readable_tokens(model, tokenizer) or max_length)
        if self.max_length <= tokenizer.num_special_tokens_to_add():
            raise ModelError(
                f"The encoder {name} cannot read a text within {self.max_length} tokens.", "Raise router.max_length."
            )

    @classmethod
    def from_loaded(cls, loaded: LoadedModel, config: RouterConfig) -> Encoder:
        """The encoder as `config` wants it; a sentence encoder's own pooling where its folder names one, else the mean.

        Raises ModelError for a pooling that this router does not know.
        """
        encoder = cls(
            loaded.model,
            loaded.tokenizer,
            name=loaded.source,
            fingerprint=loaded.fingerprint,
            pooling=own_pooling(loaded.folder) or "mean",
            max_length=config.max_length,
            batch_size=config.batch_size,
        )
        encoder.loaded = loaded
        return encoder

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self.texts.dimension

    def encode(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """l2-normalised float32 vectors on the CPU, in the order of `texts`; equal texts get equal bits.

        A text is plain text whatever it holds, and only its first `max_length` tokens count. In float32 a text's vector
        does not depend on the others to 1e-5. Raises ModelError when the model gives something that is not a number.
        """
        distinct = {text: position for position, text in enumerate(dict.fromkeys(texts))}
        rows = self._tokenize(list(distinct))
        vectors = torch.empty(len(rows), self.dimension)
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            states, mask = self.texts.states([rows[i] for i in batch])
            vectors[batch] = normalize(_pooled(states, mask, self.pooling), dim=-1).cpu()
        self.texts.checked(vectors)
        if len(distinct) == len(texts):
            return vectors
        return vectors[[distinct[text] for text in texts]]

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        rows = self.texts.tokenize(texts, truncation=True, max_length=self.max_length, padding=False)
        return [row or [self.texts.blank] for row in rows]


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


def _pooled(states: Float[Tensor, "b t d"], mask: Int[Tensor, "b t"], pooling: Pooling) -> Float[Tensor, "b d"]:
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    weights = mask[..., None].float()
    return (states * weights).sum(1) / weights.sum(1)
