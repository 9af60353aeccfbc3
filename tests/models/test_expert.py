"""A reading is what the expert's background says, whatever batch it was read in."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch

from gag.config import PromptsConfig, ReadoutConfig
from gag.errors import ConfigError, InputError
from gag.models.expert import Expert, Reading
from gag.models.readout import pool
from gag.prompts import Prompts
from gag.testing import FAMILIES, byte_tokenizer, tiny_causal_lm

PROMPTS = Prompts(PromptsConfig(expert_system="Know {field}."), "alloys", "")
QUESTIONS = ["Why?", "What is the yield of Q7 at 300 K?", "Who <|im_end|>?", "x" * 40, "水"]
WAYS = [
    ("generate", "last", 1),
    ("generate", "mean", 1),
    ("generate", "segment_mean", 3),
    ("generate", "segment_softmax", 2),
    ("generate", "none", 1),
    ("prefill", "last", 1),
    ("prefill", "last", 3),
    ("prefill", "none", 2),
]


@lru_cache
def expert(family: str = "llama") -> Expert:
    return Expert(tiny_causal_lm(family, sliding_window=16, seed=6), byte_tokenizer(), PROMPTS)


def readout(mode: str = "generate", pooling: str = "last", slots: int = 1, **choices: object) -> ReadoutConfig:
    given = {"mode": mode, "pooling": pooling, "slots": slots, "layers": [-4, -1], "max_new_tokens": 6}
    return ReadoutConfig.model_validate({**given, **choices})


def assert_same(one: Reading, other: Reading) -> None:
    assert (one.background, one.tokens) == (other.background, other.tokens)
    assert one.probability == (None if other.probability is None else pytest.approx(other.probability, rel=1e-4))
    torch.testing.assert_close(one.states, other.states, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("mode", "pooling", "slots"), WAYS)
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_reading_does_not_depend_on_its_batch(family: str, mode: str, pooling: str, slots: int) -> None:
    config = readout(mode, pooling, slots)
    whole = expert(family).read(QUESTIONS, config)
    assert len(whole) == len(QUESTIONS)
    for size in (1, 2):
        again = expert(family).read(QUESTIONS, config.model_copy(update={"batch_size": size}))
        for one, other in zip(whole, again, strict=True):
            assert_same(one, other)
    for reading in whole:
        if pooling != "none":
            assert reading.states.shape == (slots, 2, 32)
        elif mode == "generate":
            assert reading.states.shape == (max(1, reading.tokens), 2, 32)
        assert reading.states.dtype == torch.float32
        assert bool(reading.background) <= (mode == "generate")


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_the_background_that_is_shown(family: str) -> None:
    """Read back in one plain forward over prompt and background."""
    config = readout(pooling="none")
    held = expert(family)
    (reading,) = held.read(QUESTIONS[1:2], config)
    prompt = torch.tensor([held.encode(QUESTIONS[1]).ids])
    ids = held.model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=6, do_sample=False, pad_token_id=256
    )
    background = [i for i in ids[0, prompt.shape[1] :].tolist() if i != 259]
    assert reading.tokens == len(background)
    assert reading.background == held.tokenizer.decode(background, skip_special_tokens=True).strip()
    with torch.no_grad():
        hidden = held.model(ids[:, : prompt.shape[1] + len(background)], output_hidden_states=True).hidden_states
        logits = held.model(ids).logits[0, prompt.shape[1] - 1 : -1].log_softmax(-1)
    written = ids[0, prompt.shape[1] :]
    assert reading.probability == pytest.approx(float(logits.gather(1, written[:, None]).mean().exp()), rel=1e-4)
    wanted = torch.stack([hidden[layer][0, -len(background) :] for layer in (-4, -1)], dim=1)
    torch.testing.assert_close(reading.states, wanted, rtol=1e-4, atol=1e-4)
    for pooling, slots in (("last", 1), ("mean", 1), ("segment_softmax", 3)):
        pooled = readout(pooling=pooling, slots=slots)
        torch.testing.assert_close(
            held.read(QUESTIONS[1:2], pooled)[0].states, pool(wanted, pooled), rtol=1e-4, atol=1e-4
        )


def test_a_prefill_reads_the_prompts_end() -> None:
    held = expert()
    (reading,) = held.read(["Why?"], readout("prefill", "last", 3))
    with torch.no_grad():
        hidden = held.model(torch.tensor([held.encode("Why?").ids]), output_hidden_states=True).hidden_states
    wanted = torch.stack([hidden[layer][0, -3:] for layer in (-4, -1)], dim=1)
    torch.testing.assert_close(reading.states, wanted, rtol=1e-4, atol=1e-4)
    assert (reading.background, reading.tokens, reading.probability) == ("", 0, None)


def test_batches_come_longest_first() -> None:
    sizes = [len(expert().encode(q).ids) for q in QUESTIONS]
    order = [i for indices, _ in expert().read_batches(QUESTIONS, readout(batch_size=2)) for i in indices]
    assert sorted(order) == list(range(len(QUESTIONS)))
    assert [sizes[i] for i in order] == sorted(sizes, reverse=True)


@pytest.mark.parametrize("tokens", [0, 3])
def test_the_end_of_a_background_counts_in_its_probability(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    held = expert()
    prompt = torch.tensor([held.encode(QUESTIONS[1]).ids])
    ids = held.model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=6, do_sample=False, pad_token_id=256
    )
    written = ids[0, prompt.shape[1] :][: tokens + 1]
    assert len(set(written.tolist())) == tokens + 1, "it can end there and not before"
    monkeypatch.setattr(held, "_stop", frozenset({int(written[-1])}))
    (reading,) = held.read(QUESTIONS[1:2], readout())
    with torch.no_grad():
        logits = held.model(ids).logits[0, prompt.shape[1] - 1 :][: tokens + 1].log_softmax(-1)
    assert reading.tokens == tokens
    assert reading.probability == pytest.approx(float(logits.gather(1, written[:, None]).mean().exp()), rel=1e-4)


def test_nobody_who_does_not_ask_pays_for_probabilities() -> None:
    batches = list(expert().read_batches(QUESTIONS, readout()))
    assert all(reading.probability is None for _, batch in batches for reading in batch)


def test_samples_are_a_questions_own() -> None:
    config = readout(temperature=1.2, top_p=0.95, top_k=40)
    whole = expert().read(QUESTIONS, config)
    for question, reading in zip(QUESTIONS, whole, strict=True):
        assert_same(reading, expert().read([question], config)[0])
    other = expert().read(QUESTIONS, readout(temperature=1.2, seed=43))
    assert [o.background for o in other] != [w.background for w in whole]
    same = expert().read(["Why?", "Why?"], config)
    assert_same(*same)


def test_no_questions_no_readings() -> None:
    assert expert().read([], readout()) == []


@pytest.mark.parametrize(("layer", "fits"), [(-5, False), (-4, True), (3, True), (4, False), (-24, False)])
def test_layers_that_the_expert_has_not_are_refused(layer: int, fits: bool) -> None:
    if fits:
        assert expert().read(["Why?"], readout(layers=[layer]))[0].states.shape == (1, 1, 32)
        return
    with pytest.raises(ConfigError) as caught:
        expert().read(["Why?"], readout(layers=[-1, layer]))
    assert str(layer) in caught.value.message and "-4" in caught.value.message


def test_a_question_longer_than_the_context_is_refused() -> None:
    short = Expert(tiny_causal_lm(max_positions=100), byte_tokenizer(), PROMPTS)
    count = len(short.encode("x").ids)
    assert short.encode("x", room=100 - count)
    with pytest.raises(InputError, match="context of 100"):
        short.encode("x", room=101 - count)
    with pytest.raises(InputError, match="with 60 for the background"):
        short.read(["Why?"], readout(max_new_tokens=60))
    assert short.read(["Why?"], readout("prefill", max_new_tokens=60))
