"""A ColBERTv2 checkpoint as its authors publish it: what is beside the BERT, and how its texts are laid out.

Source: ColBERTv2, arXiv 2112.01488; the checkpoint's files are `model.safetensors` with `bert.*` and `linear.weight`,
and the settings of its training in `artifact.metadata`.
"""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from gag.errors import ModelError
from gag.models.loading import LoadedModel
from gag.retrieval.layout import Layout

SETTINGS_FILE = "artifact.metadata"
PROJECTION = "linear.weight"

SHORTEST = 4
"""Tokens of the shortest window: three around a text, one of its own."""


@dataclass(frozen=True)
class ColBERTSettings:
    """The entries of artifact.metadata that decide the vectors, with ColBERTv2's values where the file has none.

    `query_token_id` and `doc_token_id` are the markers [Q] and [D] as the vocabulary names them; lengths count every
    token, markers and special ones too.
    """

    query_token_id: str = "[unused0]"
    doc_token_id: str = "[unused1]"
    query_maxlen: int = 32
    doc_maxlen: int = 180
    mask_punctuation: bool = True
    attend_to_mask_tokens: bool = False


def read_settings(folder: Path) -> ColBERTSettings:
    """The settings of the checkpoint in `folder`, ColBERTv2's own where it has no file of them. Raises ModelError."""
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return ColBERTSettings()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ModelError(f"{path} is not a JSON object.", "Fetch the checkpoint again.")
    chosen: dict[str, Any] = {}
    for name, default in vars(ColBERTSettings()).items():
        value = found.get(name, default)
        short = type(value) is int and value < SHORTEST
        if type(value) is not type(default) or short:
            raise ModelError(f"{path}: {name} cannot be {value!r:.60}.", "Fetch the checkpoint again.")
        chosen[name] = value
    return ColBERTSettings(**chosen)


def read_projection(loaded: LoadedModel) -> Float[Tensor, "d hidden"] | None:
    """The projection of a ColBERT checkpoint in float32; None for an encoder that has none.

    Raises ModelError for a checkpoint that says it is ColBERT's and has no projection, or one of another width.
    """
    for path in sorted(loaded.folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if PROJECTION in file.keys():  # noqa: SIM118 (it is no mapping)
                weight: Tensor = file.get_tensor(PROJECTION).float()
                return _fitting(weight, loaded)
    if (loaded.folder / SETTINGS_FILE).is_file():
        raise ModelError(
            f"The ColBERT checkpoint {loaded.source} has no {PROJECTION} in its safetensors files.",
            "Check that the download is whole.",
        )
    return None


def colbert_layouts(
    loaded: LoadedModel, settings: ColBERTSettings, limit: int, window: int | None
) -> tuple[Layout, Layout]:
    """How questions and passages are laid out; `limit` is the most tokens the model reads, `window` the user's choice.

    A question is [CLS] [Q] … [SEP] and [MASK] up to query_maxlen, which stand for terms that it might have named; one
    that is longer is not cut, as ColBERT does, but has no masks. A passage is [CLS] [D] … [SEP] and its punctuation
    gives no vectors; one over doc_maxlen (or `window`) is cut into windows. Raises ModelError for a tokenizer without
    these tokens.
    """
    tokenizer = loaded.tokenizer
    first, last = (_known(tokenizer, name, loaded.source) for name in (tokenizer.cls_token, tokenizer.sep_token))
    query, document = (_known(tokenizer, n, loaded.source) for n in (settings.query_token_id, settings.doc_token_id))
    skipped = punctuation(tokenizer) if settings.mask_punctuation else frozenset()
    questions = Layout(
        before=(first, query),
        after=(last,),
        limit=limit,
        own_kept=True,
        filler=_known(tokenizer, tokenizer.mask_token, loaded.source),
        fill_to=min(settings.query_maxlen, limit),
        filler_attended=settings.attend_to_mask_tokens,
    )
    passage_limit = window if window is not None else min(settings.doc_maxlen, limit)
    return questions, Layout((first, document), (last,), passage_limit, own_kept=True, skipped=skipped)


def punctuation(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids of the ASCII punctuation marks: as a token of the vocabulary, and as the first token a mark becomes."""
    unknown = tokenizer.unk_token_id
    named = [tokenizer.convert_tokens_to_ids(mark) for mark in string.punctuation]
    first = [tokenizer(mark, add_special_tokens=False)["input_ids"][:1] for mark in string.punctuation]
    ids = [token for token in named if isinstance(token, int)] + [token for row in first for token in row]
    return frozenset(ids) - {unknown}


def _fitting(weight: Tensor, loaded: LoadedModel) -> Tensor:
    hidden = int(loaded.model.config.get_text_config().hidden_size)
    if weight.dim() != 2 or weight.shape[1] != hidden:
        raise ModelError(
            f"The checkpoint {loaded.source}: {PROJECTION} has the shape {list(weight.shape)}, not [d, {hidden}].",
            "Name a ColBERT checkpoint, or an encoder without a head of its own.",
        )
    return weight


def _known(tokenizer: PreTrainedTokenizerBase, name: str | None, source: str) -> int:
    number = tokenizer.convert_tokens_to_ids(name) if name is not None else None
    if not isinstance(number, int) or (number == tokenizer.unk_token_id and name != tokenizer.unk_token):
        raise ModelError(
            f"The tokenizer of {source} lacks the token {name or 'for start, end or mask'}, which ColBERT needs.",
            "Name a ColBERT checkpoint with its own tokenizer.",
        )
    return number
