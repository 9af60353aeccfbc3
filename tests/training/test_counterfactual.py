"""Counterfactual pairs: foreign answers, repeatable, and read from the expert as if it had written them."""

from __future__ import annotations

import re

import pytest
import torch

from gag.config import PromptsConfig, ReadoutConfig
from gag.errors import ConfigError
from gag.models.expert import Expert
from gag.prompts import Prompts
from gag.records import Question
from gag.testing import byte_tokenizer, tiny_causal_lm
from gag.training.counterfactual import counterfactual_pairs, general_pairs
from gag.training.states import StateStore, fill_forced

QUESTIONS = [Question(f"q{i}", f"What is number {i}?", (f"{100 + i} nm of tallow{i}",)) for i in range(20)]


def test_answers_are_foreign_and_repeatable() -> None:
    pairs = counterfactual_pairs(QUESTIONS, ["who wrote the long book"], 200, seed=3)
    assert pairs == counterfactual_pairs(QUESTIONS, ["who wrote the long book"], 200, seed=3)
    true = {q.question: q.answers[0] for q in QUESTIONS}
    assert sum(true[p.question] == p.answers[0] for p in pairs) < 12  # a third are shuffled among twenty
    assert len({p.id for p in pairs}) == 200
    assert any(p.answers[0] in "who wrote the long book" for p in pairs)
    assert len({p.answers[0] for p in pairs}) > 150
    assert any(p.answers[0] in true.values() for p in pairs)


def test_near_ones_keep_the_kind_of_their_own_answer() -> None:
    pairs = counterfactual_pairs(QUESTIONS, ["who wrote the long book"], 100, seed=3, near=1.0)
    true = {q.question: q.answers[0] for q in QUESTIONS}
    assert all(p.answers[0] != true[p.question] for p in pairs)
    assert all(re.fullmatch(r"\d{3} nm of .+", p.answers[0]) for p in pairs)
    some = counterfactual_pairs(QUESTIONS, ["who wrote the long book"], 100, seed=3, near=0.5)
    assert 50 < sum(bool(re.fullmatch(r"\d{3} nm of .+", p.answers[0])) for p in some) < 90  # a third of the others too


def test_a_near_one_of_what_cannot_be_changed_is_any_text() -> None:
    short = [Question(f"s{i}", f"Is it {i}?", (answer,)) for i, answer in enumerate(("yes", "no"))]
    pairs = counterfactual_pairs(short, ["who wrote the long book"], 300, seed=3, near=1.0)
    assert len({p.answers[0] for p in pairs}) > 20
    true = {q.question: q.answers[0] for q in short}
    assert not any(p.answers[0] == true[p.question] for p in pairs), "a counterfactual one is not true"
    digit = [Question("d", "How wide?", ("5 nm",))]
    near = counterfactual_pairs(digit, ["who wrote the long book"], 100, seed=3, near=1.0)
    assert all(re.fullmatch(r"[0-46-9] nm", p.answers[0]) for p in near)


def test_texts_that_do_not_fit_are_drawn_again_or_cut() -> None:
    texts = ["who wrote the long book"]
    free = counterfactual_pairs(QUESTIONS, texts, 100, seed=3)
    assert counterfactual_pairs(QUESTIONS, texts, 100, seed=3, fits=lambda q, text: len(text) < 99) == free
    few = counterfactual_pairs(QUESTIONS, texts, 100, seed=3, fits=lambda q, text: len(text) <= 12)
    assert len(few) == 100 and all(0 < len(p.answers[0]) <= 12 for p in few)
    cut = counterfactual_pairs(QUESTIONS, texts, 100, seed=3, near=1.0, fits=lambda q, text: len(text) <= 6)
    assert all(re.fullmatch(r"\d{3} nm", p.answers[0]) for p in cut)
    assert counterfactual_pairs(QUESTIONS, texts, 9, seed=3, fits=lambda q, text: False) == []


def test_general_pairs_know_nothing_of_a_domain() -> None:
    texts = ["who wrote the long book", "when did the river freeze"]
    pairs = general_pairs(texts, 100, seed=1)
    assert pairs == general_pairs(texts, 100, seed=1) != general_pairs(texts, 100, seed=2)
    assert {p.question for p in pairs} == set(texts)
    assert all(p.domain is None for p in pairs) and len({p.answers[0] for p in pairs}) > 70


def test_forced_reading_is_what_decoding_would_have_passed_through() -> None:
    model = tiny_causal_lm("qwen3")
    expert = Expert(model, byte_tokenizer(), Prompts(PromptsConfig(), "numbers"))
    config = ReadoutConfig(layers=(-1, -2), pooling="none", max_new_tokens=7)
    (free,) = expert.read(["hi?"], config)
    ids = [256] * free.tokens  # placeholder lengths; the decoded text may not be valid UTF-8
    assert len(ids) == len(free.states)
    texts = ["seven", "a much longer background"]
    together = expert.read_forced(["hi?", "what is it, then?"], texts, config)
    alone = [expert.read_forced([q], [t], config)[0] for q, t in zip(["hi?", "what is it, then?"], texts, strict=True)]
    for one, other, text in zip(together, alone, texts, strict=True):
        assert one.states.shape == (min(7, len(text)), 2, 32)
        torch.testing.assert_close(one.states, other.states, atol=1e-5, rtol=1e-5)


def test_forced_states_equal_a_plain_forward() -> None:
    model = tiny_causal_lm("llama")
    tokenizer = byte_tokenizer()
    expert = Expert(model, tokenizer, Prompts(PromptsConfig(), "numbers"))
    config = ReadoutConfig(layers=(-2,), pooling="none", max_new_tokens=16)
    (reading,) = expert.read_forced(["hi?"], ["148 nm"], config)
    ids = [*expert.encode("hi?").ids, *b"148 nm"]
    hidden = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[-2][0, -6:]
    torch.testing.assert_close(reading.states[:, 0], hidden.detach(), atol=1e-5, rtol=1e-5)


def test_store_keeps_them_apart_from_the_true_readings(tmp_path) -> None:  # type: ignore[no-untyped-def]
    expert = Expert(tiny_causal_lm("llama"), byte_tokenizer(), Prompts(PromptsConfig(), "numbers"))
    config = ReadoutConfig(max_new_tokens=4)
    store = StateStore(tmp_path)
    pairs = counterfactual_pairs(QUESTIONS, [], 5, seed=0)
    fill_forced(store, lambda: expert, pairs, config)
    assert store.forced(pairs[0]).background == pairs[0].answers[0]
    assert store.missing([QUESTIONS[0].question]) == [QUESTIONS[0].question]

    def never() -> Expert:
        raise AssertionError("all of them are there")

    fill_forced(store, never, pairs, config)


def test_a_text_is_drawn_until_it_fits() -> None:
    texts = ["where does the river go", "who was it"]
    pairs = general_pairs(texts, 50, seed=1, fits=lambda text: len(text) <= 8, first=7)
    assert [pair.id for pair in pairs] == [f"general~{n}" for n in range(7, 57)]
    assert all(len(pair.answers[0]) <= 8 for pair in pairs) and len({pair.answers[0] for pair in pairs}) > 20
    with pytest.raises(ConfigError, match="none is short enough"):
        general_pairs(texts, 1, seed=1, fits=lambda text: False)
