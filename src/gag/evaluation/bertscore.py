"""BERTScore F1 (Zhang et al. 2020) with any encoder, computed as bert-score 0.3.13 does without idf or rescaling.

That package no longer runs with current transformers; tests/golden/bertscore_minilm.json holds its numbers. Texts
longer than the encoder takes are split as the GAG authors' evaluation does (paper, specialist sets).
Legend: T tokens with the encoder's own special tokens, D hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gag.errors import InputError, ModelError
from gag.evaluation.references import check_references

Chunk = tuple[int, ...]  # token ids of one piece of a text, without special tokens


class _Embedded(NamedTuple):
    vectors_TD: Tensor  # unit length, special tokens included
    counted_T: Tensor  # bool, False at special tokens


class BertScore:
    """Scores candidates against references by the cosine similarities of their token embeddings.

    `layer` is an index into `hidden_states` (0 is the embeddings, -1 the last). A text of more than `max_tokens`
    tokens is split into pieces of `chunk_tokens` (or of `max_tokens` where that is less); 510 and 500 are the GAG
    authors' numbers, SciBERT and layer 8 their encoder. Raises ModelError when the encoder has no such layer or
    too few positions.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        layer: int,
        max_tokens: int = 510,
        chunk_tokens: int = 500,
        batch_size: int = 32,
    ) -> None:
        if min(max_tokens, chunk_tokens, batch_size) < 1:
            raise InputError("max_tokens, chunk_tokens and batch_size must be at least 1.", "Take 510, 500 and 32.")
        model.train(False)  # no dropout
        self._model = model
        self._tokenizer = tokenizer
        self._layer = layer
        self._max_tokens = max_tokens
        self._chunk_tokens = min(chunk_tokens, max_tokens)
        self._batch_size = batch_size
        self._before, self._after = _special_tokens(tokenizer)
        self._check_encoder()

    def f1(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        """BERTScore F1 of each candidate, the best over its references; 0 where either text is blank.

        Every piece of a split candidate is scored against every piece of a split reference, and the scores are
        averaged with the two pieces' mean token count as weight. Several methods' answers to the same questions are
        best scored in one call: the references are then embedded about once. Raises InputError when a candidate has no
        reference or the two lists differ in length.
        """
        check_references(candidates, references)
        said = [self._chunks(text) for text in candidates]
        expected = [[self._chunks(text) for text in accepted] for accepted in references]
        scores = [0.0] * len(candidates)
        # A batch of questions at a time, so that few embeddings are held at once; equal references come together.
        order = sorted(range(len(candidates)), key=lambda i: (sum(map(len, expected[i][0])), expected[i]))
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            embedded = self._embed(chunk for i in batch for text in (said[i], *expected[i]) for chunk in text)
            for i in batch:
                scores[i] = max(_weighted_f1(said[i], text, embedded) for text in expected[i])
        return scores

    def _chunks(self, text: str) -> list[Chunk]:
        ids = self._tokenizer(text.strip(), add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        size = self._chunk_tokens if len(ids) > self._max_tokens else max(1, len(ids))
        return [tuple(ids[start : start + size]) for start in range(0, len(ids), size)]

    @torch.no_grad()
    def _embed(self, chunks: Iterable[Chunk]) -> dict[Chunk, _Embedded]:
        embedded: dict[Chunk, _Embedded] = {}
        unique = sorted(set(chunks), key=lambda chunk: (len(chunk), chunk))
        for start in range(0, len(unique), self._batch_size):
            batch = unique[start : start + self._batch_size]
            rows = [(*self._before, *chunk, *self._after) for chunk in batch]
            widest = max(map(len, rows))
            padding = self._tokenizer.pad_token_id or 0
            ids = torch.tensor([[*row, *[padding] * (widest - len(row))] for row in rows])
            mask = torch.tensor([[1] * len(row) + [0] * (widest - len(row)) for row in rows])
            device = self._model.device
            out = self._model(input_ids=ids.to(device), attention_mask=mask.to(device), output_hidden_states=True)
            states = torch.nn.functional.normalize(out.hidden_states[self._layer].float(), dim=-1)
            for chunk, row, vectors in zip(batch, rows, states, strict=True):
                counted = torch.zeros(len(row), dtype=torch.bool, device=device)
                counted[len(self._before) : len(self._before) + len(chunk)] = True
                embedded[chunk] = _Embedded(vectors[: len(row)].clone(), counted)
        return embedded

    def _check_encoder(self) -> None:
        layers = getattr(self._model.config, "num_hidden_layers", None)
        if layers is not None and not -layers - 1 <= self._layer <= layers:
            raise ModelError(
                f"The encoder has hidden states 0 to {layers}; layer {self._layer} is not one of them.",
                f"Take a layer from 0 to {layers}, or from -1 (the last) down to -{layers + 1}.",
            )
        positions = getattr(self._model.config, "max_position_embeddings", None)
        needed = self._max_tokens + len(self._before) + len(self._after)
        if positions is not None and needed > positions:
            raise ModelError(
                f"Texts of {self._max_tokens} tokens need {needed} positions; the encoder has {positions}.",
                f"Take max_tokens of {positions - len(self._before) - len(self._after)} or less.",
            )


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[Chunk, Chunk]:
    """The special tokens that the tokenizer puts before and after a text."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    ids, special = list(encoded["input_ids"]), list(encoded["special_tokens_mask"])
    if 0 not in special:
        raise ModelError("The encoder's tokenizer gives no token for the letter 'a'.", "Take another encoder.")
    first, last = special.index(0), len(special) - special[::-1].index(0)
    return tuple(ids[:first]), tuple(ids[last:])


def _weighted_f1(said: list[Chunk], expected: list[Chunk], embedded: dict[Chunk, _Embedded]) -> float:
    total = weight = 0.0
    for candidate in said:
        for reference in expected:
            tokens = (len(candidate) + len(reference)) / 2
            total += tokens * _pair_f1(embedded[candidate], embedded[reference])
            weight += tokens
    return total / weight if weight else 0.0


def _pair_f1(candidate: _Embedded, reference: _Embedded) -> float:
    """F1 of one pair: special tokens can be matched but do not count, as their weight in bert-score is 0."""
    similarity = candidate.vectors_TD @ reference.vectors_TD.T
    precision = float(similarity.amax(dim=1)[candidate.counted_T].mean())
    recall = float(similarity.amax(dim=0)[reference.counted_T].mean())
    if precision <= 0 or recall <= 0:  # a harmonic mean needs both; no encoder in use comes near
        return 0.0
    return 2 * precision * recall / (precision + recall)
