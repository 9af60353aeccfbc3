"""A writer in this process: a causal language model, many prompts at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gag.config import GenerationConfig
from gag.corpus.synthesis.generators import Failure, Reply
from gag.errors import InputError
from gag.models.base import Base
from gag.prompts import Message


class LocalWriter:
    """A causal language model in this process, many prompts at once."""

    def __init__(self, base: Base, *, temperature: float = 0.0, batch_size: int = 8, seed: int = 42) -> None:
        self._base, self._temperature, self._batch, self._seed = base, temperature, batch_size, seed

    @property
    def name(self) -> str:
        """Source and fingerprint of the model, and how it samples."""
        return f"{self._base.source}@{self._base.fingerprint[:12]}/{self._temperature}/{self._seed}"

    def complete(self, prompts: Sequence[tuple[Message, ...]], max_tokens: int) -> Iterator[tuple[int, Reply]]:
        """Batches of prompts of like length; one that does not fit the model's context is a lasting Failure."""
        config = GenerationConfig(max_new_tokens=max_tokens, temperature=self._temperature)
        encoded = {}
        for position, messages in enumerate(prompts):
            try:
                encoded[position] = self._base.encode(messages, room=max_tokens)
            except InputError as error:
                yield position, Failure(error.message, lasting=True)
        order = sorted(encoded, key=lambda p: len(encoded[p].ids))
        for start in range(0, len(order), self._batch):
            batch = order[start : start + self._batch]
            done = self._base.generate([encoded[p] for p in batch], None, config, seed=self._seed)
            yield from ((position, completion.text) for position, completion in zip(batch, done, strict=True))
