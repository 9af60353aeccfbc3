"""Decoding for many prompts at once: left padding, key-value cache, rows leave when they end (paper: b_1..b_T).

The tokens are those the library's own `generate` gives; what is added is that chosen hidden states are kept on the
way, that a finished question costs nothing more, and that each step's new tokens can be seen as they come.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from gag.models.chat import EncodedPrompt
from gag.models.injection import inject


class SamplingConfig(Protocol):
    """What decoding needs of a configuration section; generation and readout both have it."""

    @property
    def max_new_tokens(self) -> int: ...
    @property
    def temperature(self) -> float: ...
    @property
    def top_p(self) -> float: ...
    @property
    def top_k(self) -> int: ...


@dataclass
class Decoded:
    """One prompt's new tokens (the end-of-turn token left out) and, where asked for, their states.

    `states` is [tokens, layers, d]: the hidden state of each background token, so the last one is the state that
    predicts the end, or of the T-th token. An empty text has the state of the prompt's last position. `log_probability`
    (nats, where asked for) is the sum over all new tokens, the end of turn too if it came, under the model itself
    whatever the sampling was.
    """

    ids: list[int] = field(default_factory=list)
    states: Tensor | None = None
    finished: bool = False
    log_probability: float | None = None


@dataclass(frozen=True)
class Batch:
    """Left-padded prompts: embeddings [batch, length, d] and the mask of real positions [batch, length]."""

    embeddings: Tensor
    mask: Tensor


@dataclass(frozen=True)
class DecodeOptions:
    """How to decode: sampling, ids that end a text, hidden_states indices to keep, a seed a row for sampling.

    `scored` keeps each text's log probability, which is a softmax over the vocabulary more at every step.
    """

    sampling: SamplingConfig
    stop: frozenset[int]
    layers: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    scored: bool = False


@torch.no_grad()
def decode(model: PreTrainedModel, batch: Batch, options: DecodeOptions) -> list[Decoded]:
    """All texts of a batch, in the batch's order."""
    rows = [Decoded() for _ in range(len(batch.mask))]
    states: list[list[Tensor]] = [[] for _ in rows]
    for active, tokens, hidden, likely in _steps(model, batch, options):
        for position, row in enumerate(active):
            if likely is not None:
                rows[row].log_probability = (rows[row].log_probability or 0.0) + likely[position]
            if hidden is not None and (rows[row].ids or tokens is None or tokens[position] in options.stop):
                states[row].append(hidden[position])
            if tokens is None:
                continue
            if tokens[position] in options.stop:
                rows[row].finished = True
            else:
                rows[row].ids.append(tokens[position])
    for decoded, kept in zip(rows, states, strict=True):
        decoded.states = torch.stack(kept) if kept else None
    return rows


@torch.no_grad()
def decode_stream(model: PreTrainedModel, batch: Batch, options: DecodeOptions) -> Iterator[int]:
    """The new token ids of a batch of one prompt, each as soon as it is known."""
    for _, tokens, _, _ in _steps(model, batch, options):
        if tokens is None or tokens[0] in options.stop:
            return
        yield tokens[0]


@torch.no_grad()
def prompt_states(model: PreTrainedModel, batch: Batch, layers: Sequence[int], last: int | None) -> list[Tensor]:
    """States of each prompt's `last` positions (all real ones for None), [positions, layers, d] a prompt.

    Layers above the highest one asked for are not computed.
    """
    hidden = _states_below_the_top(model, batch, layers)
    if hidden is None:
        out = forward(model, batch.embeddings, batch.mask, hidden=True, logits_to_keep=1)
        hidden = [out.hidden_states[layer] for layer in layers]
    chosen = torch.stack(hidden, dim=2)  # [batch, length, layers, d]
    lengths = batch.mask.sum(-1).tolist()
    return [chosen[i, -(length if last is None else min(last, length)) :] for i, length in enumerate(lengths)]


class _Enough(Exception):
    """The highest layer that was asked for has its input: nothing above it needs computing."""


def _states_below_the_top(model: PreTrainedModel, batch: Batch, layers: Sequence[int]) -> list[Tensor] | None:
    """hidden_states at `layers` by ending the forward early; None where the last layer's output is among them.

    hidden_states[i] is the input of layer i, so hooks take it there; they are gone when this returns.
    """
    count = int(model.config.get_text_config().num_hidden_layers)
    stack = next((m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == count), None)
    indices = [layer % (count + 1) for layer in layers]
    if stack is None or max(indices) == count:
        return None
    seen: dict[int, Tensor] = {}

    def keep(index: int, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen[index] = given[0] if given else named["hidden_states"]
        if index == max(indices):
            raise _Enough

    hooks = [stack[i].register_forward_pre_hook(_bound(keep, i), with_kwargs=True) for i in set(indices)]
    try:
        forward(model, batch.embeddings, batch.mask, logits_to_keep=1)
    except _Enough:
        return [seen[i] for i in indices]
    finally:
        for hook in hooks:
            hook.remove()
    return None


def _bound(keep: Callable[[int, tuple[Any, ...], dict[str, Any]], None], index: int) -> Callable[..., None]:
    return lambda _, given, named: keep(index, given, named)


def left_padded(model: PreTrainedModel, prompts: Sequence[EncodedPrompt], vectors: Tensor | None = None) -> Batch:
    """Prompts as one batch of embeddings with `vectors` [batch, slots, d] at their slots."""
    table: Any = model.get_input_embeddings()
    device: torch.device = table.weight.device
    longest = max(len(p.ids) for p in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, longest - len(prompt.ids) :] = torch.tensor(prompt.ids)
        mask[i, longest - len(prompt.ids) :] = 1
    embeddings: Tensor = table(ids.to(device))
    if vectors is not None:
        positions = torch.tensor([[longest - len(p.ids) + s for s in p.slots] for p in prompts], device=device)
        embeddings = inject(embeddings, vectors.to(device), positions)
    return Batch(embeddings, mask.to(device))


def forward(
    model: Any,
    embeddings: Tensor,
    mask: Tensor,
    *,
    cache: Any = None,
    hidden: bool = False,
    logits_to_keep: int = 0,
) -> Any:
    """The model's own forward on embeddings [batch, new, d] whose mask [batch, past + new] covers the cache too."""
    positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, -embeddings.shape[1] :]
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    accepted = _accepted(bare.__class__)
    extra: dict[str, Any] = {"position_ids": positions} if "position_ids" in accepted else {}
    if "logits_to_keep" in accepted and logits_to_keep:
        # As indices: an integer makes the library slice a view, whose product with the head copies the whole head.
        length = embeddings.shape[1]
        extra["logits_to_keep"] = torch.arange(max(0, length - logits_to_keep), length, device=embeddings.device)
    return model(
        inputs_embeds=embeddings,
        attention_mask=None if bool(mask.all()) else mask,
        past_key_values=cache,
        use_cache=cache is not None,
        output_hidden_states=hidden,
        **extra,
    )


class RoomyLayer(DynamicLayer):
    """A cache layer with room reserved ahead, so that a step writes its keys instead of copying all earlier ones."""

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.room = room
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append [batch, heads, new, d] and return everything so far, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        past = self.get_seq_length()
        end = past + key_states.shape[-2]
        self._keys = self._with_room(self._keys, key_states, past, end)
        self._values = self._with_room(self._values, value_states, past, end)
        self._keys[..., past:end, :] = key_states
        self._values[..., past:end, :] = value_states
        self.keys, self.values = self._keys[..., :end, :], self._values[..., :end, :]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Only keep the `indices` in the batch dimension."""
        if self._keys is not None and self._values is not None:
            end = self.get_seq_length()
            self._keys, self._values = self._keys[indices], self._values[indices]
            self.keys, self.values = self._keys[..., :end, :], self._values[..., :end, :]

    def _with_room(self, held: Tensor | None, new: Tensor, past: int, end: int) -> Tensor:
        if held is not None and held.shape[-2] >= end:
            return held
        batch, heads, _, width = new.shape
        grown = new.new_empty(batch, heads, end + self.room, width)
        if held is not None:
            grown[..., :past, :] = held[..., :past, :]
        return grown


def roomy_cache(model: PreTrainedModel, room: int) -> DynamicCache:
    """The model's own kind of cache, its plain layers with `room` positions reserved ahead."""
    cache = DynamicCache(config=model.config)
    if not cache.layers:  # a config that does not say how many layers it has: the library grows its own
        return cache
    cache.layers = [RoomyLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def _steps(
    model: PreTrainedModel, batch: Batch, options: DecodeOptions
) -> Iterator[tuple[list[int], list[int] | None, Tensor | None, list[float] | None]]:
    """After each forward: rows still decoding, their new tokens, the states [rows, layers, d] and log p of these.

    The forward after the T-th token has no new token (None): it is run only where states are wanted.
    """
    count, hidden = options.sampling.max_new_tokens, bool(options.layers)
    cache = roomy_cache(model, count)
    samplers = _samplers(options)
    active = list(range(len(batch.mask)))
    embeddings, mask = batch.embeddings, batch.mask
    table = model.get_input_embeddings()
    for step in range(count + 1):
        if step == count and not hidden:
            return
        out = forward(model, embeddings, mask, cache=cache, hidden=hidden, logits_to_keep=1)
        states = torch.stack([out.hidden_states[i][:, -1] for i in options.layers], dim=1) if hidden else None
        if step == count:
            yield active, None, states, None
            return
        logits = out.logits[:, -1]
        chosen = _choose(logits, options.sampling, [samplers[row] for row in active] if samplers else [])
        tokens = chosen.tolist()
        yield active, tokens, states, _log_probabilities(logits, chosen) if options.scored else None
        alive = [i for i, token in enumerate(tokens) if token not in options.stop]
        if not alive:
            return
        if len(alive) < len(active):
            keep = torch.tensor(alive, device=mask.device)
            active, chosen, mask = [active[i] for i in alive], chosen[keep], mask[keep]
            cache.batch_select_indices(keep)
        embeddings = table(chosen.unsqueeze(1))
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)


def _log_probabilities(logits: Tensor, tokens: Tensor) -> list[float]:
    """log p (nats) of each row's token [rows] under its logits [rows, V]."""
    found: list[float] = logits.float().log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1).tolist()
    return found


def _samplers(options: DecodeOptions) -> list[torch.Generator]:
    if options.sampling.temperature == 0:
        return []
    return [torch.Generator().manual_seed(seed) for seed in options.seeds]


def _choose(logits: Tensor, sampling: SamplingConfig, generators: Sequence[torch.Generator]) -> Tensor:
    """The next token of each row: the likeliest, or a draw by the row's own generator (batches do not matter)."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    scaled = logits.float() / sampling.temperature
    if sampling.top_k:
        worst = scaled.topk(min(sampling.top_k, scaled.shape[-1])).values[:, -1:]
        scaled = scaled.masked_fill(scaled < worst, float("-inf"))
    ordered, order = scaled.softmax(-1).sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    ordered = ordered.masked_fill(before >= sampling.top_p, 0.0)
    reached = ordered.cumsum(-1)
    draws = torch.stack([torch.rand(1, generator=generator) for generator in generators]).to(reached.device)
    picked = torch.searchsorted(reached, draws * reached[:, -1:]).clamp_max(reached.shape[-1] - 1)
    return order.gather(1, picked).squeeze(1)


@lru_cache(maxsize=64)
def _accepted(kind: type[Any]) -> frozenset[str]:
    """Names of the arguments of a model class's forward."""
    return frozenset(inspect.signature(kind.forward).parameters)
