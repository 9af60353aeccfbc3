"""Vectors trained directly on what is to be said: spans of the right length, and a loss that falls for each of them."""

from __future__ import annotations

import pytest
import torch
from benchmarks.best_vectors import FIELD, FreeVectors, names, optimised, spans

from gag.config import PromptsConfig
from gag.models import chat
from gag.models.base import Base
from gag.prompts import Prompts
from gag.testing import byte_tokenizer, tiny_causal_lm


@pytest.fixture(scope="module")
def base() -> Base:
    model = tiny_causal_lm("llama", max_positions=400)
    return Base(model, byte_tokenizer(), source="t", fingerprint="f" * 64)


def test_spans_are_as_long_as_asked(base: Base) -> None:
    texts = spans(base, 7, 5, seed=1)
    assert len(set(texts)) == 5 and {len(chat.encode_answer(text, base.tokenizer)) for text in texts} == {8}
    assert spans(base, 7, 5, seed=1) == texts != spans(base, 7, 5, seed=2)


def test_names_are_values_in_words() -> None:
    texts = names(20, seed=0)
    assert len(set(texts)) == 20 and not any(c.isdigit() for text in texts for c in text)
    assert len(names(10_000, seed=0)) > 50


def test_every_vector_learns_its_own_text(base: Base) -> None:
    prompts, texts = Prompts(PromptsConfig(), FIELD), spans(base, 4, 3, seed=0)
    first, _ = optimised(base, prompts, texts, slots=2, steps=1, rate=0.5)
    later, same = optimised(base, prompts, texts, slots=2, steps=40, rate=0.5)
    assert later < first - 0.1 and len(same) == 3


def test_a_state_is_a_row(base: Base) -> None:
    module = FreeVectors(3, 2, base.table.weight)
    rows = torch.tensor([2.0, 0.0]).view(-1, 1, 1, 1)
    assert module(rows).shape == (2, 2, base.hidden_size)
    assert module(rows)[0].equal(module.vectors[2])
