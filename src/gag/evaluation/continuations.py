"""How likely the base finds given continuations of prompts, and what it writes until a stop text; slots or none.

The two things that lm-evaluation-harness asks of a model, on token ids and without that package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gag.config import GenerationConfig
from gag.models.base import Base
from gag.models.chat import EncodedPrompt
from gag.models.decoding import forward, left_padded

_LOGITS_AT_ONCE = 1 << 26
"""Log-probabilities held at a time: 256 MiB."""

_FIRST_ROUND = 32
"""Tokens written before stop texts are looked for; every later round is as long as all before it."""


@dataclass(frozen=True)
class Asked:
    """A prompt and, where it has slots, the vectors [slots, d_base] for them."""

    prompt: EncodedPrompt
    vectors: Tensor | None = None


@torch.no_grad()
def continuation_scores(
    base: Base, asked: Sequence[Asked], continuations: Sequence[Sequence[int]], *, batch_size: int = 16
) -> list[tuple[float, bool]]:
    """For each: the sum of log p of the continuation's tokens, and whether greedy decoding would write just these.

    Every prompt and every continuation has at least one token.
    """
    scores: list[tuple[float, bool]] = [(0.0, False)] * len(asked)
    lengths = [len(a.prompt.ids) + len(c) for a, c in zip(asked, continuations, strict=True)]
    for members in _batches(asked, lengths, batch_size):
        widest = max(len(continuations[i]) for i in members)
        vocabulary = int(base.table.weight.shape[0])
        at_once = max(1, _LOGITS_AT_ONCE // (widest * vocabulary))
        for start in range(0, len(members), at_once):
            part = members[start : start + at_once]
            tails = [EncodedPrompt((*asked[i].prompt.ids, *continuations[i][:-1]), asked[i].prompt.slots) for i in part]
            batch = left_padded(base.model, tails, _stacked([asked[i] for i in part]))
            out = forward(base.model, batch.embeddings, batch.mask, logits_to_keep=widest)
            logits = out.logits[:, -widest:].float()
            for row, i in enumerate(part):
                scores[i] = _score(logits[row, -len(continuations[i]) :], continuations[i])
    return scores


def written_until(
    base: Base, asked: Sequence[Asked], generation: GenerationConfig, until: Sequence[str], *, batch_size: int = 16
) -> list[str]:
    """What the base writes to each prompt, up to the first of the stop texts, which is cut off; not trimmed."""
    stops = [stop for stop in until if stop]
    texts = [""] * len(asked)
    for members in _batches(asked, [len(a.prompt.ids) for a in asked], batch_size):
        written: dict[int, tuple[int, ...]] = dict.fromkeys(members, ())
        so_far = 0
        while written:
            room = min(max(so_far, _FIRST_ROUND), generation.max_new_tokens - so_far)
            ongoing = list(written)
            prompts = [EncodedPrompt((*asked[i].prompt.ids, *written[i]), asked[i].prompt.slots) for i in ongoing]
            config = generation.model_copy(update={"max_new_tokens": room})
            done = base.generate(prompts, _stacked([asked[i] for i in ongoing]), config)
            so_far += room
            for i, completion in zip(ongoing, done, strict=True):
                ids = (*written[i], *completion.ids)
                texts[i], stopped = _cut(str(base.tokenizer.decode(list(ids), skip_special_tokens=True)), stops)
                written[i] = ids
                if stopped or len(completion.ids) < room or so_far >= generation.max_new_tokens:
                    del written[i]
    return texts


def _score(logits: Tensor, continuation: Sequence[int]) -> tuple[float, bool]:
    """Of logits [tokens, vocabulary] at the positions that predict `continuation`."""
    wanted = torch.tensor(continuation, device=logits.device)
    found = logits.log_softmax(-1).gather(1, wanted[:, None])
    return float(found.sum()), bool((logits.argmax(-1) == wanted).all())


def _cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def _batches(asked: Sequence[Asked], lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices of those with as many slots, longest first."""
    kinds: dict[int, list[int]] = {}
    for index, one in enumerate(asked):
        kinds.setdefault(len(one.prompt.slots), []).append(index)
    for members in kinds.values():
        members.sort(key=lambda i: -lengths[i])
        for start in range(0, len(members), batch_size):
            yield members[start : start + batch_size]


def _stacked(asked: Sequence[Asked]) -> Tensor | None:
    vectors = [one.vectors for one in asked if one.vectors is not None]
    return torch.stack(vectors) if vectors else None
