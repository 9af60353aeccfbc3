"""Answers and likelihoods from prepared prompts: places in a batch do not matter, a full context is refused."""

from __future__ import annotations

import pytest

from gag.answering import Prepared, complete, gold_nll
from gag.config import GenerationConfig, PromptsConfig
from gag.errors import InputError
from gag.models.base import Base
from gag.prompts import Prompts
from gag.records import Question
from gag.testing import byte_tokenizer, tiny_causal_lm

PROMPTS = Prompts(PromptsConfig(), "numbers")


def prepared(base: Base, *questions: str) -> list[Prepared]:
    generation = GenerationConfig(max_new_tokens=6, temperature=1.5)
    return [Prepared(Question(q, q, ("x",)), base.encode(PROMPTS.general(q)), generation) for q in questions]


def test_a_sampled_answer_does_not_depend_on_its_batch() -> None:
    base = Base(tiny_causal_lm("llama"), byte_tokenizer(), source="t", fingerprint="f")
    items = prepared(base, "one?", "another?", "a third question?")
    together = {a.question_id: a.text for a in complete(base, items, "m")}
    turned = {a.question_id: a.text for a in complete(base, items[::-1], "m")}
    alone = {i.question.id: complete(base, [i], "m")[0].text for i in items}
    assert together == turned == alone
    assert len(set(together.values())) > 1


def test_a_prompt_that_fills_the_context_is_refused() -> None:
    base = Base(tiny_causal_lm("llama", max_positions=64), byte_tokenizer(), source="t", fingerprint="f")
    full = Prepared(Question("q", "q", ("x",)), type(base.encode(PROMPTS.general("q")))((65,) * 64), GenerationConfig())
    with pytest.raises(InputError, match="fills the base's context of 64"):
        gold_nll(base, [full])
