"""The base: a frozen causal LM that answers, with vectors injected at slots (paper: p_theta(y | E(s) with z)).

Never subclassed, patched, resized or saved. Legend: B batch, K slots.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from gag.config import GenerationConfig
from gag.errors import InputError
from gag.models import chat
from gag.models.chat import EncodedPrompt
from gag.models.decoding import DecodeOptions, decode, decode_stream, forward, left_padded
from gag.models.head import frozen_head_kl, frozen_head_nll, logits_kl, logits_nll, plain_head
from gag.models.injection import inject
from gag.models.loading import LoadedModel
from gag.models.sizes import context_of, plain_attention
from gag.prompts import Message
from gag.records import content_hash


@dataclass(frozen=True)
class Completion:
    """What the base wrote: text, its token ids, and seconds (a batch's share each)."""

    text: str
    ids: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class Prefix:
    """Key-values of one prompt before its first slot: [2, layers, heads, length, d_head]; they do not depend on it."""

    states: Tensor

    @property
    def length(self) -> int:
        """Prompt tokens covered."""
        return int(self.states.shape[3])

    @property
    def bytes(self) -> int:
        """Memory it takes."""
        return self.states.numel() * self.states.element_size()


class Base:
    """The frozen model with its tokenizer; `fingerprint` says which weights they are."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, source: str, fingerprint: str):
        self.model = model.eval().requires_grad_(False)
        self.tokenizer, self.source, self.fingerprint = tokenizer, source, fingerprint
        table: Any = model.get_input_embeddings()
        self.table, self.hidden_size = table, int(table.weight.shape[1])
        self._head = plain_head(model)
        self._can_split = plain_attention(model.config)
        self._stop = stop_ids(model, tokenizer)

    @classmethod
    def from_loaded(cls, loaded: LoadedModel) -> Base:
        """From what `models.loading` returns."""
        return cls(loaded.model, loaded.tokenizer, source=loaded.source, fingerprint=loaded.fingerprint)

    @property
    def device(self) -> torch.device:
        """Where the embeddings are."""
        device: torch.device = self.table.weight.device
        return device

    @property
    def context(self) -> int:
        """Tokens the model can hold, prompt and answer together."""
        return context_of(self.model.config) or 2**31

    def encode(self, messages: Sequence[Message], *, room: int = 0) -> EncodedPrompt:
        """Token ids of a prompt; raises InputError when they and `room` more do not fit the context."""
        prompt = chat.encode(messages, self.tokenizer)
        if len(prompt.ids) + room > self.context:
            raise InputError(
                f"The prompt has {len(prompt.ids)} tokens; with {room} for the answer that is more than the base's "
                f"context of {self.context}.",
                "Shorten the question, or lower generation.max_new_tokens.",
            )
        return prompt

    def generate(
        self, prompts: Sequence[EncodedPrompt], vectors: Tensor | None, config: GenerationConfig, *, seed: int = 0
    ) -> list[Completion]:
        """Answers to prompts as one batch; `vectors` [B, K, d_base] fill their slots."""
        started = time.perf_counter()
        batch = left_padded(self.model, prompts, vectors)
        rows = decode(self.model, batch, self._options(config, prompts, seed))
        share = (time.perf_counter() - started) / len(prompts)
        return [Completion(self.decode_text(row.ids), tuple(row.ids), share) for row in rows]

    def stream(self, prompt: EncodedPrompt, vectors: Tensor | None, config: GenerationConfig) -> Iterator[str]:
        """The answer to one prompt, piece by piece; the pieces joined are the answer."""
        ids: list[int] = []
        said = ""
        for token in decode_stream(
            self.model, left_padded(self.model, [prompt], vectors), self._options(config, [prompt], 0)
        ):
            ids.append(token)
            text = self.decode_text(ids)
            if text.endswith("\ufffd"):  # in the middle of a character
                continue
            if text.startswith(said) and len(text) > len(said):
                yield text[len(said) :]
                said = text
        text = self.decode_text(ids)
        if len(text) > len(said):
            yield text[len(said) :]

    def decode_text(self, ids: Sequence[int]) -> str:
        """Ids as text, without special tokens and outer white space."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    @torch.no_grad()
    def prefixes(self, prompts: Sequence[EncodedPrompt]) -> list[Prefix]:
        """Key-values of every prompt before its first slot."""
        heads = [EncodedPrompt(p.ids[: p.slots[0]]) for p in prompts]
        batch = left_padded(self.model, heads)
        cache = DynamicCache(config=self.model.config)
        forward(self.model, batch.embeddings, batch.mask, cache=cache, logits_to_keep=1)
        layers: list[Any] = list(cache.layers)
        stacked = torch.stack([torch.stack([layer.keys, layer.values]) for layer in layers], dim=1)
        return [Prefix(stacked[:, :, i, :, -len(h.ids) :].clone()) for i, h in enumerate(heads)]

    @property
    def can_keep_prefixes(self) -> bool:
        """Whether prompts can be computed in two parts: false where layers see a sliding window or keep a state."""
        return self._can_split

    def answer_nll(
        self,
        prompts: Sequence[EncodedPrompt],
        vectors: Tensor | None,
        answers: Sequence[Sequence[int]],
        prefixes: Sequence[Prefix] | None = None,
    ) -> list[Tensor]:
        """-log p of every answer token, float32 [tokens] an answer; gradients flow to `vectors` [B, K, d_base].

        With `prefixes` (of the same prompts) only what follows them is computed. Logits exist only at answer tokens.
        """
        return self.nll(self.answer_states(prompts, vectors, answers, prefixes), answers)

    def answer_states(
        self,
        prompts: Sequence[EncodedPrompt],
        vectors: Tensor | None,
        answers: Sequence[Sequence[int]],
        prefixes: Sequence[Prefix] | None = None,
    ) -> list[Tensor]:
        """What predicts each token of every answer: states [tokens, d] before the head, or logits [tokens, V].

        Logits for a model whose head is more than one linear layer; `nll` and `divergence` know which.
        """
        tails = [EncodedPrompt((*p.ids, *answer[:-1]), p.slots) for p, answer in zip(prompts, answers, strict=True)]
        cache = None
        if prefixes is not None:
            tails = [
                EncodedPrompt(t.ids[p.length :], tuple(s - p.length for s in t.slots))
                for t, p in zip(tails, prefixes, strict=True)
            ]
        batch = left_padded(self.model, tails)
        embeddings, mask = batch.embeddings, batch.mask
        if vectors is not None:
            length = embeddings.shape[1]
            positions = torch.tensor([[length - len(t.ids) + s for s in t.slots] for t in tails], device=self.device)
            embeddings = inject(embeddings, vectors.to(self.device), positions)
        if prefixes is not None:
            cache, prefix_mask = _joined(prefixes, self.model)
            mask = torch.cat([prefix_mask, mask], dim=1)
        lengths = [len(answer) for answer in answers]
        if self._head is not None:
            ends = _decoder_states(self.model, embeddings, mask, cache)
        else:
            ends = forward(self.model, embeddings, mask, cache=cache, logits_to_keep=max(lengths)).logits
        return [ends[i, -length:] for i, length in enumerate(lengths)]

    def nll(self, states: Sequence[Tensor], answers: Sequence[Sequence[int]]) -> list[Tensor]:
        """-log p of every answer token, float32 [tokens] an answer, from `answer_states`."""
        labels = torch.tensor([token for answer in answers for token in answer], device=self.device)
        ends = torch.cat(list(states))
        losses = logits_nll(ends, labels) if self._head is None else frozen_head_nll(ends, self._head, labels)
        return list(losses.split([len(a) for a in answers]))

    def divergence(self, states: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[Tensor]:
        """KL(teacher || student) at every answer token, float32 [tokens] an answer, from both's `answer_states`."""
        ends, targets = torch.cat(list(states)), torch.cat([t.to(self.device) for t in teacher])
        losses = logits_kl(ends, targets) if self._head is None else frozen_head_kl(ends, targets, self._head)
        return list(losses.split([len(s) for s in states]))

    def _options(self, config: GenerationConfig, prompts: Sequence[EncodedPrompt], seed: int) -> DecodeOptions:
        """A prompt's seed is its own, so that a sampled answer does not depend on its place in a batch."""
        seeds = tuple(int(content_hash(seed, prompt.ids)[:15], 16) for prompt in prompts)
        return DecodeOptions(config, self._stop, seeds=seeds)


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every id that ends a text: the model's generation config, the tokenizer's, the chat template's turn end."""
    configured = getattr(model, "generation_config", None)
    eos = getattr(configured, "eos_token_id", None)
    ids = set(eos if isinstance(eos, list) else [eos]) | {tokenizer.eos_token_id, chat.turn_end(tokenizer)}
    return frozenset(int(i) for i in ids if i is not None)


def _decoder_states(model: PreTrainedModel, embeddings: Tensor, mask: Tensor, cache: Any) -> Tensor:
    out = forward(model.base_model, embeddings, mask, cache=cache)
    hidden: Tensor = out.last_hidden_state
    return hidden


def _joined(prefixes: Sequence[Prefix], model: PreTrainedModel) -> tuple[DynamicCache, Tensor]:
    """Prefixes as one left-padded cache, and the mask [B, longest] of their real positions."""
    longest = max(p.length for p in prefixes)
    first = prefixes[0].states
    joined = first.new_zeros(*first.shape[:2], len(prefixes), first.shape[2], longest, first.shape[4])
    mask = torch.zeros(len(prefixes), longest, dtype=torch.long, device=first.device)
    for i, prefix in enumerate(prefixes):
        joined[:, :, i, :, longest - prefix.length :] = prefix.states
        mask[i, longest - prefix.length :] = 1
    cache = DynamicCache(config=model.config)
    for layer in range(joined.shape[1]):
        cache.update(joined[0, layer], joined[1, layer], layer)
    return cache, mask
