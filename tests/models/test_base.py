"""The base answers as the library would, tells an answer's likelihood exactly, and never changes."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from torch import Tensor
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedModel

from gag.config import GenerationConfig, PromptsConfig
from gag.errors import InputError
from gag.models.base import Base, stop_ids
from gag.models.chat import EncodedPrompt
from gag.models.fingerprint import weights_checksum
from gag.prompts import Message, Prompts, Untrusted
from gag.testing import BOS_ID, FAMILIES, IM_END_ID, PAD_ID, byte_tokenizer, tiny_causal_lm

WHOLE = ("llama", "qwen2", "qwen3", "gpt_neox")
PROMPTS = Prompts(PromptsConfig(), "alloys", "Be brief.")


def soft_capped() -> PreTrainedModel:
    """A Gemma 2 without windows, whose logits are squeezed by a tanh."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=261,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        query_pre_attn_scalar=8,
        layer_types=["full_attention"] * 2,
        final_logit_softcapping=2.0,
        initializer_range=0.5,
        pad_token_id=PAD_ID,
        bos_token_id=BOS_ID,
        eos_token_id=IM_END_ID,
    )
    config._attn_implementation = "eager"
    return Gemma2ForCausalLM(config).eval()


@lru_cache
def base(family: str) -> Base:
    model = soft_capped() if family == "soft_capped" else tiny_causal_lm(family, sliding_window=8, seed=2)
    return Base(model, byte_tokenizer(), source=family, fingerprint="f" * 64)


def some(slots: int) -> tuple[list[EncodedPrompt], list[list[int]], Tensor]:
    """Prompts of different lengths with slots at different places, answers of different lengths, vectors."""
    generator = torch.Generator().manual_seed(4)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(0, 256, (count,), generator=generator).tolist())

    prompts = [
        EncodedPrompt(ids(length), tuple(range(at, at + slots))) for length, at in ((12, 5), (25, 17), (9, 1), (25, 19))
    ]
    answers = [list(ids(count)) for count in (1, 6, 9, 3)]
    return prompts, answers, torch.randn(4, slots, 32, generator=generator)


def plain_nll(model: PreTrainedModel, prompt: EncodedPrompt, vectors: Tensor | None, answer: list[int]) -> Tensor:
    """Full forward, full-sequence logits, labels: nothing clever."""
    whole = torch.tensor([*prompt.ids, *answer])
    rows = list(model.get_input_embeddings()(whole))
    if vectors is not None:
        for slot, vector in zip(prompt.slots, vectors, strict=True):
            rows[slot] = vector
    logits = model(inputs_embeds=torch.stack(rows).unsqueeze(0)).logits[0]
    labels = torch.tensor([*[-100] * len(prompt.ids), *answer])
    return torch.nn.functional.cross_entropy(logits[:-1], labels[1:], reduction="none")[len(prompt.ids) - 1 :]


@pytest.mark.parametrize(
    ("family", "kept"),
    [*((name, False) for name in (*FAMILIES, "soft_capped")), *((name, True) for name in (*WHOLE, "soft_capped"))],
)
@pytest.mark.parametrize("slots", [1, 3])
def test_answer_nll_is_that_of_a_plain_forward(family: str, kept: bool, slots: int) -> None:
    held = base(family)
    prompts, answers, given = some(slots)
    weights = [torch.rand(len(a), generator=torch.Generator().manual_seed(9)) for a in answers]
    mine, plain = given.clone().requires_grad_(), given.clone().requires_grad_()
    prefixes = held.prefixes(prompts) if kept else None
    got = held.answer_nll(prompts, mine, answers, prefixes)
    wanted = [plain_nll(held.model, p, v, a) for p, v, a in zip(prompts, plain, answers, strict=True)]
    assert [loss.dtype for loss in got] == [torch.float32] * 4
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    for losses in (got, wanted):
        torch.stack([(loss * w).sum() for loss, w in zip(losses, weights, strict=True)]).sum().backward()
    assert mine.grad is not None and plain.grad is not None
    torch.testing.assert_close(mine.grad, plain.grad, rtol=1e-3, atol=1e-4)
    assert bool(plain.grad.abs().amax(-1).gt(1e-4).all())
    assert all(p.grad is None for p in held.model.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_without_vectors(family: str) -> None:
    prompts, answers, _ = some(1)
    bare = [EncodedPrompt(p.ids) for p in prompts]
    for got, prompt, answer in zip(base(family).answer_nll(bare, None, answers), bare, answers, strict=True):
        torch.testing.assert_close(got, plain_nll(base(family).model, prompt, None, answer), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", WHOLE)
def test_a_prefix_is_the_same_from_any_batch_and_serves_any_batch(family: str) -> None:
    held = base(family)
    prompts, answers, vectors = some(2)
    together = held.prefixes(prompts)
    for prompt, prefix in zip(prompts, together, strict=True):
        (single,) = held.prefixes([prompt])
        assert prefix.length == prompt.slots[0]
        assert prefix.bytes == prefix.states.numel() * 4
        torch.testing.assert_close(prefix.states, single.states, rtol=1e-4, atol=1e-4)
    wanted = held.answer_nll(prompts, vectors, answers, together)
    for row in (0, 3):
        (got,) = held.answer_nll([prompts[row]], vectors[[row]], [answers[row]], [together[row]])
        torch.testing.assert_close(got, wanted[row], rtol=1e-4, atol=1e-4)


def test_prompts_are_split_only_where_layers_see_everything() -> None:
    assert [base(family).can_keep_prefixes for family in FAMILIES] == [family in WHOLE for family in FAMILIES]
    assert base("soft_capped").can_keep_prefixes


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_answers_equals_its_singles(family: str) -> None:
    prompts, _, vectors = some(2)
    config = GenerationConfig(max_new_tokens=6)
    whole = base(family).generate(prompts, vectors, config)
    for row, done in enumerate(whole):
        (single,) = base(family).generate([prompts[row]], vectors[[row]], config)
        assert (single.text, single.ids) == (done.text, done.ids)
        assert done.text == base(family).decode_text(done.ids)
        assert done.seconds > 0
    other = base(family).generate(prompts, vectors.flip(-1), config)
    assert [o.ids for o in other] != [w.ids for w in whole]


class Scripted:
    """A base that writes the given bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
        def steps(*_: object) -> object:
            yield from said

        monkeypatch.setattr("gag.models.base.decode_stream", steps)
        self.pieces = list(base("llama").stream(EncodedPrompt((1,)), None, GenerationConfig()))
        self.text = base("llama").decode_text(list(said))


@pytest.mark.parametrize(
    "text", ["plain words", "水 and é and 🙂", " \n leading", "trailing \n", "a  b", "", " ", "x\ufffdy", "🙂"]
)
def test_pieces_join_to_the_answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    scripted = Scripted(monkeypatch, text.encode())
    assert "".join(scripted.pieces) == scripted.text == text.strip()
    assert "" not in scripted.pieces
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in scripted.pieces)


@pytest.mark.parametrize("said", [b"\xe6\xb0", b"\xe6A", b"ab\xff", b"\xff\xffx\xe6\xb0\xb4", b"a\xf0\x9f\x99 b"])
def test_bytes_that_are_no_text_join_too(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    scripted = Scripted(monkeypatch, said)
    assert "".join(scripted.pieces) == scripted.text == said.decode(errors="replace").strip()


def test_pieces_come_as_they_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Scripted(monkeypatch, "a水b".encode()).pieces == ["a", "水", "b"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stream_is_the_answer(family: str) -> None:
    prompts, _, vectors = some(1)
    for temperature in (0.0, 1.0):
        config = GenerationConfig(max_new_tokens=8, temperature=temperature)
        for row in (0, 1):
            (done,) = base(family).generate([prompts[row]], vectors[[row]], config)
            assert "".join(base(family).stream(prompts[row], vectors[[row]], config)) == done.text


def test_a_prompt_longer_than_the_context_is_refused() -> None:
    short = Base(tiny_causal_lm(max_positions=64), byte_tokenizer(), source="x", fingerprint="f")
    assert short.context == 64
    messages = (Message("user", (Untrusted("a" * 25),)),)
    count = len(short.encode(messages).ids)
    assert len(short.encode(messages, room=64 - count).ids) == count
    with pytest.raises(InputError) as caught:
        short.encode(messages, room=65 - count)
    assert str(count) in caught.value.message and "64" in caught.value.message
    with pytest.raises(InputError):
        short.encode((Message("user", (Untrusted("a" * 64),)),))


def test_every_way_to_end_a_text_stops_it() -> None:
    model = tiny_causal_lm()
    assert stop_ids(model, byte_tokenizer()) == {IM_END_ID}
    assert model.generation_config is not None
    model.generation_config.eos_token_id = [7, 9]
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = "<|bos|>"
    assert stop_ids(model, tokenizer) == {7, 9, BOS_ID, IM_END_ID}


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_changes_the_base(family: str) -> None:
    model = tiny_causal_lm(family)
    before = weights_checksum(model)
    held = Base(model, byte_tokenizer(), source=family, fingerprint="f")
    prompts, answers, vectors = some(1)
    prefixes = held.prefixes(prompts) if held.can_keep_prefixes else None
    torch.cat(held.answer_nll(prompts, vectors.requires_grad_(), answers, prefixes)).sum().backward()
    held.generate(prompts, vectors, GenerationConfig(max_new_tokens=2))
    assert weights_checksum(model) == before
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert len(held.tokenizer) == model.get_input_embeddings().weight.shape[0] == 261
