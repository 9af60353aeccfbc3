"""Late interaction: one vector a token, and MaxSim between a question's and a passage's (ColBERT, arXiv 2112.01488)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, Protocol

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedTokenizerBase

from gag.config import ModelsConfig, RetrievalConfig
from gag.errors import ModelError
from gag.models.loading import LoadedModel, load_encoder
from gag.models.text_states import TextStates, readable_tokens
from gag.records import content_hash
from gag.retrieval.colbert import colbert_layouts, read_projection, read_settings
from gag.retrieval.layout import Layout, Window

Kind = Literal["colbert", "encoder"]

USUAL_LIMIT = 512
"""Tokens of a window for an encoder that names no limit at all."""


class TokenVectors(Protocol):
    """What a store needs of an encoder: a name, what it is, the hash of all its vectors depend on, and the vectors."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def queries(self, texts: Sequence[str]) -> list[Float[Tensor, "q d"]]: ...

    def passages(self, texts: Sequence[str]) -> list[Float[Tensor, "t d"]]: ...


def token_encoder(config: RetrievalConfig, models: ModelsConfig, *, root: Path | None = None) -> TokenEncoder:
    """The encoder that `config` names, else the sentence encoder of `models`; `root` is the workspace.

    Raises ModelError where it cannot be loaded.
    """
    return TokenEncoder.from_loaded(load_encoder(config.encoder or models.encoder, root=root), config)


def maxsim(query: Float[Tensor, "q d"], passage: Float[Tensor, "t d"]) -> float:
    """The sum over the question's tokens of the similarity of the passage's most similar token."""
    return float((query.float() @ passage.float().T).max(dim=1).values.sum())


class TokenEncoder:
    """An encoder that gives every token of a text a unit vector, in float32 on the CPU.

    `kind` says what it is: "colbert", a checkpoint trained for MaxSim, or "encoder", a sentence encoder's own token
    states. `fingerprint` names everything the vectors depend on: weights, projection, layouts.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        questions: Layout,
        passages: Layout,
        *,
        projection: Float[Tensor, "d hidden"] | None = None,
        batch_size: int = 32,
        texts: TextStates | None = None,
    ) -> None:
        self.name = loaded.source
        self.kind: Kind = "encoder" if projection is None else "colbert"
        self.batch_size = batch_size
        self._questions, self._passages = questions, passages
        self._texts = texts or TextStates(loaded.model, loaded.tokenizer, loaded.source)
        self._projection = None if projection is None else projection.to(loaded.model.device)
        self.dimension = self._texts.dimension if projection is None else len(projection)
        self.fingerprint = _fingerprint(loaded, projection, questions, passages)

    @classmethod
    def from_loaded(
        cls, loaded: LoadedModel, config: RetrievalConfig, *, texts: TextStates | None = None
    ) -> TokenEncoder:
        """A ColBERT encoder where the checkpoint has its projection, else the model's token states as they are.

        `texts` reads the same model already. Raises ModelError for a window that the model cannot read.
        """
        limit = _limit(loaded, config.window)
        projection = read_projection(loaded)
        if projection is None:
            before, after = _special_tokens(loaded.tokenizer)
            questions = Layout(before, after, limit)
            passages = Layout(before, after, config.window if config.window is not None else limit)
        else:
            questions, passages = colbert_layouts(loaded, read_settings(loaded.folder), limit, config.window)
        if min(questions.room, passages.room) < 1:
            raise ModelError(f"The encoder {loaded.source} has no room for a text.", "Raise retrieval.window.")
        return cls(loaded, questions, passages, projection=projection, batch_size=config.batch_size, texts=texts)

    def queries(self, texts: Sequence[str]) -> list[Float[Tensor, "q d"]]:
        """The token vectors of questions, in order; equal texts get equal bits. Raises ModelError."""
        return self._encode(texts, self._questions)

    def passages(self, texts: Sequence[str]) -> list[Float[Tensor, "t d"]]:
        """The token vectors of passages, in order; nothing of a long one is left out. Raises ModelError."""
        return self._encode(texts, self._passages)

    def _encode(self, texts: Sequence[str], layout: Layout) -> list[Tensor]:
        """Windows of all texts, sorted by length so that a batch has little padding, put together again by text.

        In float32 a text's vectors do not depend on the others to 1e-5.
        """
        distinct = {text: position for position, text in enumerate(dict.fromkeys(texts))}
        windows = [layout.windows(ids) for ids in self._tokenize(list(distinct), layout)]
        places = [(text, part) for text, parts in enumerate(windows) for part in range(len(parts))]
        places.sort(key=lambda place: -len(windows[place[0]][place[1]].ids))
        found: list[list[Tensor]] = [[torch.empty(0)] * len(parts) for parts in windows]
        for start in range(0, len(places), self.batch_size):
            batch = places[start : start + self.batch_size]
            for (text, part), vectors in zip(batch, self._forward([windows[t][p] for t, p in batch]), strict=True):
                found[text][part] = vectors
        whole = [parts[0] if len(parts) == 1 else torch.cat(parts) for parts in found]
        return [whole[distinct[text]] for text in texts]

    def _tokenize(self, texts: list[str], layout: Layout) -> list[list[int]]:
        # Longer than the model's limit is as it should be here: windows are cut from it.
        rows = self._texts.tokenize(texts, add_special_tokens=False, verbose=False)
        return rows if layout.before or layout.after else [row or [self._texts.blank] for row in rows]

    def _forward(self, windows: list[Window]) -> list[Tensor]:
        """The kept vectors of each window."""
        states, _ = self._texts.states([window.ids for window in windows], [window.attended for window in windows])
        vectors = normalize(states if self._projection is None else states @ self._projection.T, dim=-1).cpu()
        rows = [row[: len(w.kept)][torch.tensor(w.kept)] for row, w in zip(vectors, windows, strict=True)]
        self._texts.checked(torch.cat(rows))
        return rows


def _fingerprint(loaded: LoadedModel, projection: Tensor | None, *layouts: Layout) -> str:
    weights = None if projection is None else content_hash(projection.tolist())
    return content_hash(loaded.fingerprint, weights, [asdict(layout) for layout in layouts])


def _limit(loaded: LoadedModel, window: int | None) -> int:
    """The most tokens the model reads at once; raises ModelError where `window` is more."""
    limit = readable_tokens(loaded.model, loaded.tokenizer) or max(USUAL_LIMIT, window or 0)
    if window is not None and window > limit:
        raise ModelError(
            f"retrieval.window is {window} tokens, and the encoder {loaded.source} reads {limit}.",
            f"Set retrieval.window to at most {limit}, or leave it out.",
        )
    return limit


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    start = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    return tuple(whole[:start]), tuple(whole[start + len(bare) :])
