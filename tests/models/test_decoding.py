"""Our decoding gives the library's tokens, each row's own states, and the same for a question in any batch."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from gag.config import GenerationConfig
from gag.models.chat import EncodedPrompt
from gag.models.decoding import (
    Batch,
    Decoded,
    DecodeOptions,
    RoomyLayer,
    _choose,
    decode,
    decode_stream,
    left_padded,
    prompt_states,
    roomy_cache,
)
from gag.testing import FAMILIES, PAD_ID, tiny_causal_lm

NEW = 7
LAYERS = (-4, -1, 0)
WINDOW = 8
LENGTHS = (3, 19, 8, 12)


@lru_cache
def model(family: str) -> PreTrainedModel:
    if family == "gpt2":  # learned positions: to the six families only the distance between two tokens matters
        torch.manual_seed(0)
        sizes = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "initializer_range": 0.2}
        return GPT2LMHeadModel(GPT2Config(vocab_size=261, eos_token_id=259, bos_token_id=257, **sizes)).eval()
    return tiny_causal_lm(family, sliding_window=WINDOW, seed=3)


def prompts(lengths: tuple[int, ...] = LENGTHS) -> list[EncodedPrompt]:
    generator = torch.Generator().manual_seed(1)
    return [EncodedPrompt(tuple(torch.randint(0, 256, (n,), generator=generator).tolist())) for n in lengths]


def greedy(stop: frozenset[int] = frozenset(), layers: tuple[int, ...] = LAYERS, new: int = NEW) -> DecodeOptions:
    return DecodeOptions(GenerationConfig(max_new_tokens=new), stop, layers, scored=bool(layers))


def library(family: str, stop: frozenset[int], new: int = NEW) -> list[list[int]]:
    """The library's own greedy tokens for `prompts`, left-padded, up to the first of `stop`."""
    longest = max(LENGTHS)
    ids = torch.full((len(LENGTHS), longest), PAD_ID)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts()):
        ids[row, longest - len(prompt.ids) :] = torch.tensor(prompt.ids)
        mask[row, longest - len(prompt.ids) :] = 1
    out = model(family).generate(
        ids,
        attention_mask=mask,
        max_new_tokens=new,
        do_sample=False,
        eos_token_id=sorted(stop) or [-1],
        pad_token_id=PAD_ID,
    )
    rows = []
    for row in out[:, longest:].tolist():
        end = next((n for n, token in enumerate(row) if token in stop), len(row))
        rows.append(row[:end])
    return rows


def stops(family: str) -> frozenset[int]:
    """Ids that end the first prompt's text at once, the second's after some tokens, and the last's never."""
    free = library(family, frozenset())
    stop = frozenset({free[0][0], free[1][3]})
    return stop


@pytest.mark.parametrize("family", [*FAMILIES, "gpt2"])
@pytest.mark.parametrize("ends", [False, True])
def test_the_tokens_are_the_librarys(family: str, ends: bool) -> None:
    stop = stops(family) if ends else frozenset()
    wanted = library(family, stop)
    rows = decode(model(family), left_padded(model(family), prompts()), greedy(stop))
    assert [row.ids for row in rows] == wanted
    assert [row.finished for row in rows] == [len(ids) < NEW for ids in wanted]
    if ends:
        assert wanted[0] == []
        assert len({len(ids) for ids in wanted}) > 1


def expected_states(family: str, prompt: EncodedPrompt, ids: list[int]) -> Tensor:
    """States of the background's tokens from one forward over prompt and background, no cache, no padding."""
    whole = torch.tensor([[*prompt.ids, *ids]])
    with torch.no_grad():
        hidden = model(family)(whole, output_hidden_states=True).hidden_states
    chosen = torch.stack([hidden[layer][0] for layer in LAYERS], dim=1)
    return chosen[-len(ids) :] if ids else chosen[-1:]


@pytest.mark.parametrize("family", [*FAMILIES, "gpt2"])
def test_the_states_are_those_of_the_background_tokens(family: str) -> None:
    """Up to the state that predicts the end, or the T-th token's; the prompt's last for an empty text."""
    rows = decode(model(family), left_padded(model(family), prompts()), greedy(stops(family)))
    assert rows[0].ids == [] and rows[0].finished
    assert len({len(row.ids) for row in rows}) > 1
    assert any(not row.finished for row in rows)
    for prompt, row in zip(prompts(), rows, strict=True):
        assert row.states is not None
        torch.testing.assert_close(row.states, expected_states(family, prompt, row.ids), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", [*FAMILIES, "gpt2"])
@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_log_probabilities_are_the_models_own_over_the_new_tokens_and_the_end(family: str, temperature: float) -> None:
    stop = stops(family)
    sampling = GenerationConfig(max_new_tokens=NEW, temperature=temperature, top_k=3)
    options = DecodeOptions(sampling, stop, seeds=(1, 2, 3, 4), scored=True)
    rows = decode(model(family), left_padded(model(family), prompts()), options)
    assert temperature or {row.finished for row in rows} == {True, False}
    for prompt, row in zip(prompts(), rows, strict=True):
        with torch.no_grad():
            logits = model(family)(torch.tensor([[*prompt.ids, *row.ids]])).logits[0, len(prompt.ids) - 1 :]
        likely = logits.log_softmax(-1)
        wanted = float(sum(likely[i, token] for i, token in enumerate(row.ids)))
        ends = [float(likely[-1, end]) for end in stop] if row.finished else [0.0]
        assert row.log_probability is not None
        assert any(abs(row.log_probability - wanted - end) < 1e-3 for end in ends)


def assert_same(one: Decoded, other: Decoded) -> None:
    assert (one.ids, one.finished) == (other.ids, other.finished)
    assert one.log_probability is not None and one.log_probability == pytest.approx(other.log_probability, abs=1e-4)
    assert one.states is not None and other.states is not None
    torch.testing.assert_close(one.states, other.states, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", [*FAMILIES, "gpt2"])
def test_a_batch_equals_its_singles_and_padding_changes_nothing(family: str) -> None:
    options = greedy(stops(family))
    batch = left_padded(model(family), prompts())
    rows = decode(model(family), batch, options)
    for prompt, row in zip(prompts(), rows, strict=True):
        assert_same(row, decode(model(family), left_padded(model(family), [prompt]), options)[0])
    room = torch.randn(len(rows), 5, batch.embeddings.shape[2])
    wider = Batch(
        torch.cat([room, batch.embeddings], 1), torch.cat([batch.mask.new_zeros(len(rows), 5), batch.mask], 1)
    )
    for row, padded in zip(rows, decode(model(family), wider, options), strict=True):
        assert_same(row, padded)


def test_all_rows_at_the_first_step() -> None:
    first = {ids[0] for ids in library("llama", frozenset())}
    rows = decode(model("llama"), left_padded(model("llama"), prompts()), greedy(frozenset(first)))
    assert [row.ids for row in rows] == [[]] * len(LENGTHS)
    assert all(row.finished and row.states is not None and row.states.shape == (1, 3, 32) for row in rows)


def test_without_layers_there_are_no_states_and_no_forward_more(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    original = type(model("llama")).forward
    monkeypatch.setattr(
        type(model("llama")), "forward", lambda self, *a, **k: counted.append(1) or original(self, *a, **k)
    )
    batch = left_padded(model("llama"), prompts())
    rows = decode(model("llama"), batch, greedy(layers=()))
    assert all(row.states is None and row.log_probability is None for row in rows)
    assert len(counted) == NEW
    decode(model("llama"), batch, greedy())
    assert len(counted) == NEW + NEW + 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stream_gives_the_batchs_tokens(family: str) -> None:
    stop = stops(family)
    rows = decode(model(family), left_padded(model(family), prompts()), greedy(stop))
    for prompt, row in zip(prompts(), rows, strict=True):
        batch = left_padded(model(family), [prompt])
        assert list(decode_stream(model(family), batch, greedy(stop, ()))) == row.ids


def test_a_stream_stops_computing_when_nobody_listens_and_leaves_gradients_on() -> None:
    steps = decode_stream(model("llama"), left_padded(model("llama"), prompts((4,))), greedy(layers=()))
    next(steps)
    assert torch.is_grad_enabled()
    steps.close()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3"])
def test_sampling_does_not_depend_on_the_batch(family: str) -> None:
    sampling = GenerationConfig(max_new_tokens=NEW, temperature=1.3, top_p=0.95, top_k=50)
    seeds = (11, 12, 13, 14)
    batch = left_padded(model(family), prompts())
    free = decode(model(family), batch, DecodeOptions(sampling, frozenset(), (), seeds))
    stop = frozenset({free[0].ids[1], free[2].ids[4]})  # rows leave the batch while others go on
    whole = decode(model(family), batch, DecodeOptions(sampling, stop, (), seeds))
    assert len({len(row.ids) for row in whole}) > 1
    for prompt, row, seed in zip(prompts(), whole, seeds, strict=True):
        single = left_padded(model(family), [prompt])
        assert decode(model(family), single, DecodeOptions(sampling, stop, (), (seed,)))[0].ids == row.ids
        other = decode(model(family), single, DecodeOptions(sampling, stop, (), (seed + 100,)))[0]
        assert other.ids != row.ids


def drawn(logits: list[float], **choices: float) -> Counter[int]:
    sampling = GenerationConfig.model_validate({"temperature": 1.0, **choices})
    generators = [torch.Generator().manual_seed(seed) for seed in range(2000)]
    return Counter(_choose(torch.tensor([logits]).expand(len(generators), -1), sampling, generators).tolist())


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([0.1, 0.2, 0.4, 0.3]).log().tolist()
    shares = drawn(logits)
    assert [round(shares[n] / 2000, 1) for n in range(4)] == [0.1, 0.2, 0.4, 0.3]
    assert set(drawn(logits, top_k=2)) == {2, 3}
    assert set(drawn(logits, top_k=1)) == {2}
    assert set(drawn(logits, top_k=9)) == {0, 1, 2, 3}
    assert set(drawn(logits, top_p=0.3)) == {2}
    assert set(drawn(logits, top_p=0.5)) == {2, 3}
    assert set(drawn(logits, top_p=0.75)) == {1, 2, 3}
    hot, cold = drawn(logits, temperature=100.0), drawn(logits, temperature=0.01)
    assert min(hot.values()) > 400
    assert set(cold) == {2}
    two = drawn(logits, top_k=2)
    assert two[2] / 2000 == pytest.approx(0.4 / 0.7, abs=0.04)


@pytest.mark.parametrize("layers", [LAYERS, (-2,), (0,), (1, -3, 1)])
@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_states_are_the_last_positions_whatever_the_padding(family: str, layers: tuple[int, ...]) -> None:
    batch = left_padded(model(family), prompts())
    for last in (1, 4, None):
        for prompt, states in zip(prompts(), prompt_states(model(family), batch, layers, last), strict=True):
            with torch.no_grad():
                hidden = model(family)(torch.tensor([prompt.ids]), output_hidden_states=True).hidden_states
            count = len(prompt.ids) if last is None else min(last, len(prompt.ids))
            wanted = torch.stack([hidden[layer][0, -count:] for layer in layers], dim=1)
            torch.testing.assert_close(states, wanted, rtol=1e-4, atol=1e-4)


def test_layers_above_the_highest_asked_for_are_not_computed() -> None:
    net: Any = model("llama")
    batch = left_padded(net, prompts())
    calls: list[int] = []
    hooks = [layer.register_forward_hook(lambda *_, i=i: calls.append(i)) for i, layer in enumerate(net.model.layers)]
    try:
        prompt_states(net, batch, (-3,), 1)
    finally:
        for hook in hooks:
            hook.remove()
    count = len(net.model.layers)
    assert calls == list(range(count - 2))  # hidden_states[-3] is what layer count - 2 is given
    assert not any(layer._forward_pre_hooks for layer in net.model.layers)


def test_vectors_fill_the_slots_of_padded_prompts() -> None:
    table = model("llama").get_input_embeddings()
    two = [EncodedPrompt((1, 2, 3, 4, 5), (1, 2)), EncodedPrompt((6, 7, 8), (0, 1))]
    vectors = torch.randn(2, 2, 32)
    batch = left_padded(model("llama"), two, vectors)
    assert batch.mask.tolist() == [[1] * 5, [0, 0, 1, 1, 1]]
    assert torch.equal(batch.embeddings[0, 1:3], vectors[0])
    assert torch.equal(batch.embeddings[1, 2:4], vectors[1])
    assert torch.equal(batch.embeddings[0, [0, 3, 4]], table(torch.tensor([1, 4, 5])))
    assert torch.equal(batch.embeddings[1, 4], table(torch.tensor(8)))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_a_model_under_an_adapter_decodes_too() -> None:
    bare = tiny_causal_lm(seed=5)
    wanted = decode(bare, left_padded(bare, prompts()), greedy())
    adapted = get_peft_model(bare, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")).eval()
    for row, other in zip(wanted, decode(adapted, left_padded(adapted, prompts()), greedy()), strict=True):
        assert_same(row, other)


def test_a_roomy_layer_holds_what_the_librarys_layer_holds() -> None:
    ours, theirs = RoomyLayer(room=3), DynamicLayer()
    generator = torch.Generator().manual_seed(0)
    batch = 4
    for new in (5, 1, 1, 1, 1, 6, 1):  # past the reserved room, twice
        keys, values = torch.randn(2, batch, 2, new, 8, generator=generator)
        got, wanted = ours.update(keys, values), theirs.update(keys, values)
        assert torch.equal(got[0], wanted[0]) and torch.equal(got[1], wanted[1])
        assert ours.get_seq_length() == theirs.get_seq_length()
        if new == 6:
            keep = torch.tensor([0, 3])
            ours.batch_select_indices(keep)
            theirs.batch_select_indices(keep)
            batch = 2
            assert torch.equal(ours.keys, theirs.keys) and torch.equal(ours.values, theirs.values)


def test_a_roomy_layer_writes_in_place_while_there_is_room() -> None:
    layer = RoomyLayer(room=4)
    layer.update(torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4))
    where = layer.keys.data_ptr()
    layer.update(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4))
    assert layer.keys.data_ptr() == where
    layer.update(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4))
    assert layer.keys.data_ptr() != where


@pytest.mark.parametrize("family", FAMILIES)
def test_only_plain_layers_are_roomy(family: str) -> None:
    kinds = [type(layer) is RoomyLayer for layer in roomy_cache(model(family), 4).layers]
    windowed = {"mistral": [False] * 3, "gemma3": [False, True, False]}
    assert kinds == windowed.get(family, [True] * 3)
