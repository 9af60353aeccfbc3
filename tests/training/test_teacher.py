"""The teacher term: KL(teacher || student) at the answer tokens, exact however a step is split; zero for equals."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Gemma2Config, Gemma2ForCausalLM

from gag.config import AlignmentConfig, ProjectorConfig, PromptsConfig
from gag.models.base import Base
from gag.models.chat import EncodedPrompt
from gag.models.projector import Projector, ProjectorShape
from gag.prompts import Prompts
from gag.records import Question
from gag.testing import byte_tokenizer, tiny_causal_lm
from gag.training.alignment import Alignment, Example, alignment_examples, with_teacher

PROMPTS = Prompts(PromptsConfig(base_domain="Q: {question}\nK:{knowledge}"), "alloys", "")
WIDTH, COUNT = 8, 6


@lru_cache
def base(kind: str = "llama") -> Base:
    if kind != "soft-capped":
        return Base(tiny_causal_lm(kind, seed=8), byte_tokenizer(), source=kind, fingerprint="f" * 64)
    torch.manual_seed(0)
    shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2, "query_pre_attn_scalar": 8}
    config = Gemma2Config(vocab_size=261, **shape, **heads, final_logit_softcapping=2.0, initializer_range=0.5)
    return Base(Gemma2ForCausalLM(config), byte_tokenizer(), source=kind, fingerprint="f" * 64)


def config(**choices: object) -> AlignmentConfig:
    small = {"learning_rate": 1e-2, "epochs": 1, "batch_size": COUNT, "dev_share": 0.0}
    return AlignmentConfig.model_validate({**small, **choices})


def examples(kind: str = "llama", text: str = "fact") -> list[Example]:
    """Questions with answers of different lengths, taught by the base that reads `text`."""
    generator = torch.Generator().manual_seed(0)
    questions = [Question(f"q{n}", "w" * (n + 1), ("abcdefgh"[n:],)) for n in range(COUNT)]
    states = [torch.randn(1, 1, WIDTH, generator=generator) for _ in questions]
    plain = alignment_examples(base(kind), PROMPTS, questions, states, 1, config())
    asked = [base(kind).encode(PROMPTS.context(q.question, text)) for q in questions]
    return with_teacher(base(kind), plain, asked, batch_size=4)


def projector() -> Projector:
    torch.manual_seed(5)
    made = Projector(ProjectorConfig(hidden=24), ProjectorShape(WIDTH, 32, 1, 1))
    made.initialise([e.states for e in examples()], base().table.weight)
    return made


def run(folder: Path, weight: float, kind: str = "llama", **choices: object) -> Alignment:
    return Alignment(base(kind), projector(), config(**choices), folder, teacher_weight=weight)


def plain_divergence(kind: str, prompt: EncodedPrompt, other: EncodedPrompt, vector: Tensor, answer: Any) -> Tensor:
    """From whole logits, a position at a time."""
    model, table = base(kind).model, base(kind).table
    length = len(answer)
    tail = torch.tensor([[*prompt.ids, *answer[:-1]]])
    embedded = table(tail).clone()
    embedded[0, prompt.slots[0]] = vector
    student = model(inputs_embeds=embedded).logits[0, -length:].log_softmax(-1)
    teacher = model(torch.tensor([[*other.ids, *answer[:-1]]])).logits[0, -length:].log_softmax(-1)
    return nn.functional.kl_div(student, teacher.detach(), log_target=True, reduction="none").sum(-1)


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "soft-capped"])
def test_the_term_and_its_gradient_are_those_of_whole_logits(tmp_path: Path, kind: str) -> None:
    part = examples(kind)[:3]
    asked = [base(kind).encode(PROMPTS.context("w" * (n + 1), "fact")) for n in range(3)]
    vectors = torch.randn(3, 1, 32, generator=torch.Generator().manual_seed(2))
    mine, wanted = vectors.clone().requires_grad_(), vectors.clone().requires_grad_()
    states = base(kind).answer_states([e.prompt for e in part], mine, [e.answer for e in part])
    term = run(tmp_path, 0.5, kind)._teacher_term(part, states)
    term.backward()
    rows = [
        plain_divergence(kind, e.prompt, other, wanted[i, 0], e.answer)
        for i, (e, other) in enumerate(zip(part, asked, strict=True))
    ]
    plain = 0.5 * torch.cat(rows).sum()
    plain.backward()
    torch.testing.assert_close(term, plain, rtol=1e-4, atol=1e-5)
    assert mine.grad is not None and wanted.grad is not None
    torch.testing.assert_close(mine.grad, wanted.grad, rtol=1e-3, atol=1e-6)


def test_nothing_is_to_be_learned_from_oneself(tmp_path: Path) -> None:
    """The slot holds the embedding of the token that the teacher reads there."""
    part = examples()
    token = base().tokenizer("x")["input_ids"][0]
    asked = []
    for e in part:
        ids = list(e.prompt.ids)
        ids[e.prompt.slots[0]] = token
        asked.append(EncodedPrompt(tuple(ids)))
    part = with_teacher(base(), part, asked)
    vectors = base().table.weight[token].detach().expand(COUNT, 1, 32).clone().requires_grad_()
    states = base().answer_states([e.prompt for e in part], vectors, [e.answer for e in part])
    term = run(tmp_path, 3.0)._teacher_term(part, states)
    term.backward()
    assert float(term.detach()) == pytest.approx(0, abs=1e-5)
    assert vectors.grad is not None and float(vectors.grad.abs().max()) < 1e-4
    other = run(tmp_path, 3.0)._teacher_term(examples(), states)
    assert float(other.detach()) > 0.1


def test_the_term_is_part_of_the_steps_loss_and_not_of_the_dev_loss(tmp_path: Path) -> None:
    part = examples()

    def first(weight: float) -> float:
        return run(tmp_path / str(weight), weight, max_steps=1).train(part).run.losses[0][1]

    plain, one, two = (first(weight) for weight in (0.0, 1.0, 2.0))
    assert one > plain + 1e-3
    assert two - plain == pytest.approx(2 * (one - plain), rel=1e-3)
    bare = [replace(e, teacher=None) for e in part]
    assert run(tmp_path / "b", 2.0, max_steps=1).train(bare).run.losses[0][1] == pytest.approx(plain, rel=1e-6)
    assert run(tmp_path / "c", 2.0).loss(part) == pytest.approx(run(tmp_path / "d", 0.0).loss(part), rel=1e-6)


@pytest.mark.parametrize("choices", [{"accumulation": 4}, {"batch_tokens": 8}, {"prefix_cache_gb": 0.0}], ids=str)
def test_a_step_split_in_any_way_is_the_same_step(tmp_path: Path, choices: dict[str, object]) -> None:
    part = examples()
    part[1] = replace(part[1], teacher=None)
    whole = run(tmp_path / "whole", 1.5, max_steps=2).train(part)
    split = run(tmp_path / "split", 1.5, max_steps=2, **choices).train(part)
    assert [x for _, x in split.run.losses] == pytest.approx([x for _, x in whole.run.losses], rel=1e-5)


def test_a_prompt_that_does_not_fit_has_no_teacher() -> None:
    small = Base(tiny_causal_lm(max_positions=120), byte_tokenizer(), source="x", fingerprint="f")
    plain = [replace(e, teacher=None) for e in examples()]
    asked = [small.encode(PROMPTS.domain("w", 0))] * (COUNT - 1) + [EncodedPrompt((65,) * 118)]
    told: list[tuple[int, int]] = []
    taught = with_teacher(small, plain, asked, batch_size=2, on_progress=lambda _, d, t, note="": told.append((d, t)))
    assert [e.teacher is None for e in taught] == [False] * (COUNT - 1) + [True]
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert all(len(e.teacher) == len(e.answer) for e in taught if e.teacher is not None)
