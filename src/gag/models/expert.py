"""The expert: a domain's small causal LM that writes background and whose states are read (paper: p_phi_i, k_i)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from gag.config import ReadoutConfig
from gag.errors import ConfigError, InputError
from gag.models import chat
from gag.models.base import stop_ids
from gag.models.chat import EncodedPrompt
from gag.models.decoding import Decoded, DecodeOptions, decode, left_padded, prompt_states
from gag.models.readout import pool
from gag.models.sizes import context_of, layers_of
from gag.prompts import Prompts


@dataclass(frozen=True)
class Reading:
    """What the expert knows about one question: states [slots, layers, d] ([tokens, layers, d] unpooled) and text.

    `probability` (0 to 1) is the geometric mean of what the expert gave the background's tokens, and its end where it
    came to one; None where nothing was decoded, or nobody asked for it.
    """

    states: Tensor
    background: str
    tokens: int
    probability: float | None = None


class Expert:
    """A causal LM with a domain's prompts; with `adapter`, the LoRA of that name in a PEFT model is used."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Prompts,
        *,
        adapter: str | None = None,
    ) -> None:
        self.model, self.tokenizer, self.prompts, self.adapter = model.eval(), tokenizer, prompts, adapter
        table: Any = model.get_input_embeddings()
        self.hidden_size = int(table.weight.shape[1])
        self._stop = stop_ids(model, tokenizer)

    def encode(self, question: str, *, room: int = 0) -> EncodedPrompt:
        """The expert's prompt for a question; raises InputError when it and `room` do not fit its context."""
        prompt = chat.encode(self.prompts.expert(question), self.tokenizer)
        check_prompt(prompt, self.model.config, room)
        return prompt

    def read(self, questions: Sequence[str], config: ReadoutConfig) -> list[Reading]:
        """Readings of all questions, in order, with the backgrounds' probabilities."""
        readings: list[Reading | None] = [None] * len(questions)
        for indices, batch in self.read_batches(questions, config, scored=True):
            for index, reading in zip(indices, batch, strict=True):
                readings[index] = reading
        return [reading for reading in readings if reading is not None]

    def read_batches(
        self, questions: Sequence[str], config: ReadoutConfig, *, scored: bool = False
    ) -> Iterator[tuple[list[int], list[Reading]]]:
        """Readings as they come, with the questions' indices: longest prompts first, `batch_size` at a time.

        `scored`: with the backgrounds' probabilities.
        """
        self._check_layers(config)
        room = config.max_new_tokens if config.mode == "generate" else 0
        prompts = [self.encode(question, room=room) for question in questions]
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i].ids))
        for start in range(0, len(order), config.batch_size):
            indices = order[start : start + config.batch_size]
            batch = [prompts[i] for i in indices]
            yield indices, self._read_batch(batch, [questions[i] for i in indices], config, scored=scored)

    @torch.no_grad()
    def read_forced(self, questions: Sequence[str], texts: Sequence[str], config: ReadoutConfig) -> list[Reading]:
        """Readings of given backgrounds: the states that decoding just these texts would have passed through."""
        self._check_layers(config)
        if self.adapter is not None:
            self.model.set_adapter(self.adapter)
        written = [chat.encode_answer(text, self.tokenizer)[:-1][: config.max_new_tokens] for text in texts]
        prompts = [self.encode(question, room=config.max_new_tokens) for question in questions]
        whole = [EncodedPrompt((*p.ids, *ids)) for p, ids in zip(prompts, written, strict=True)]
        order = sorted(range(len(whole)), key=lambda i: -len(whole[i].ids))
        readings: dict[int, Reading] = {}
        for start in range(0, len(order), config.batch_size):
            indices = order[start : start + config.batch_size]
            batch = left_padded(self.model, [whole[i] for i in indices])
            states = prompt_states(self.model, batch, config.layers, None)
            for index, state in zip(indices, states, strict=True):
                kept = state[-max(1, len(written[index])) :]
                readings[index] = Reading(pool(kept, config).cpu(), texts[index], len(written[index]))
        return [readings[i] for i in range(len(whole))]

    def _check_layers(self, config: ReadoutConfig) -> None:
        check_layers(config, self.model.config)

    def _read_batch(
        self, prompts: Sequence[EncodedPrompt], questions: Sequence[str], config: ReadoutConfig, *, scored: bool
    ) -> list[Reading]:
        if self.adapter is not None:
            self.model.set_adapter(self.adapter)
        batch = left_padded(self.model, prompts)
        layers = tuple(config.layers)
        if config.mode == "prefill":
            last = None if config.pooling == "none" else config.slots
            states = prompt_states(self.model, batch, layers, last)
            return [Reading(pool(s, config).cpu(), "", 0) for s in states]
        seeds = tuple(_question_seed(config.seed, question) for question in questions)
        rows = decode(self.model, batch, DecodeOptions(config, self._stop, layers, seeds, scored))
        return [
            Reading(
                pool(row.states, config).cpu() if row.states is not None else torch.empty(0),
                str(self.tokenizer.decode(row.ids, skip_special_tokens=True)).strip(),
                len(row.ids),
                _mean_probability(row),
            )
            for row in rows
        ]


def _mean_probability(row: Decoded) -> float | None:
    if row.log_probability is None:
        return None
    return math.exp(row.log_probability / (len(row.ids) + row.finished))


def check_layers(readout: ReadoutConfig, model: PreTrainedConfig) -> None:
    """Refuse layers that a model of this config does not have; raises ConfigError."""
    layers = layers_of(model)
    wrong = [i for i in readout.layers if not -layers - 1 <= i <= layers]
    if wrong:
        raise ConfigError(
            f"readout.layers has {wrong[0]}, but the expert has hidden states 0 to {layers} (-1 to -{layers + 1}).",
            "Choose layers that it has: readout.layers in gag.yaml.",
        )


def check_prompt(prompt: EncodedPrompt, model: PreTrainedConfig, room: int) -> None:
    """Refuse a prompt that does not fit an expert's context with `room` to spare; raises InputError."""
    context = context_of(model)
    if context and len(prompt.ids) + room > context:
        raise InputError(
            f"The expert's prompt has {len(prompt.ids)} tokens; with {room} for the background that is more than "
            f"its context of {context}.",
            "Shorten the question, or lower readout.max_new_tokens.",
        )


def _question_seed(seed: int, question: str) -> int:
    digest = hashlib.sha256(f"{seed}:{question}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big")
