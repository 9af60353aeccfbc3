"""The constraint and the search, against every plan written out; with a tiny random model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gag.graph.paths import RelationPath, Walker, follow
from gag.graph.planning import Speller, Spelt, options, plan, planning_prompt
from gag.graph.store import Graph
from gag.models import chat
from gag.models.chat import EncodedPrompt
from gag.testing import FAMILIES, byte_tokenizer, tiny_causal_lm

Term = Callable[[str], str]

STEPS: dict[RelationPath, frozenset[str]] = {
    (): frozenset({"by", "by_x", "^b"}),
    ("by",): frozenset({"by", "z"}),
    ("by_x",): frozenset({"z"}),
}
"""`by` is the beginning of `by_x`."""


def ground(path: RelationPath) -> frozenset[str]:
    return STEPS.get(path, frozenset())


ALL = [("by",), ("by_x",), ("^b",), ("by", "by"), ("by", "z"), ("by_x", "z")]


@pytest.fixture(scope="module")
def speller() -> Speller:
    return Speller(byte_tokenizer())


def by_hand(model: Any, speller: Speller, prompt: EncodedPrompt, path: RelationPath) -> float:
    """log p of a plan: every token's share among those that the constraint leaves open."""
    ids, spelt, total = list(prompt.ids), Spelt(), 0.0
    for token in speller.path(path):
        after = options(spelt, ground, speller)
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1].float()
        total += float(logits[token] - logits[list(after)].logsumexp(0))
        spelt = after[token]
        ids.append(token)
    return total


def prompts(speller: Speller, *texts: str) -> list[EncodedPrompt]:
    return [chat.encode(planning_prompt(text), speller.tokenizer) for text in texts]


def test_every_grounded_plan_can_be_spelt_and_nothing_else(speller: Speller) -> None:
    found = set()

    def spell(spelt: Spelt, ids: tuple[int, ...]) -> None:
        for token, after in options(spelt, ground, speller).items():
            if token == speller.end:
                found.add((after.path, (*ids, token)))
            else:
                spell(after, (*ids, token))

    spell(Spelt(), ())
    assert {path for path, _ in found} == set(ALL)
    assert {ids for _, ids in found} == {tuple(speller.path(path)) for path in ALL}
    assert len(found) == len(ALL)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_search_finds_the_likeliest_plans(speller: Speller, family: str) -> None:
    model = tiny_causal_lm(family, seed=3)
    asked = prompts(speller, "who made [x]", "what is [a longer name] by")
    found = plan(model, speller, asked, [ground, ground], beams=9)
    for prompt, plans in zip(asked, found, strict=True):
        right = sorted(((by_hand(model, speller, prompt, path), path) for path in ALL), reverse=True)
        assert [p.path for p in plans] == [path for _, path in right]
        assert [p.probability for p in plans] == pytest.approx([math.exp(score) for score, _ in right], rel=1e-3)
        assert sum(p.probability for p in plans) == pytest.approx(1, abs=1e-4)


def test_few_beams_and_one_question_at_a_time(speller: Speller) -> None:
    model = tiny_causal_lm(seed=5)
    asked = prompts(speller, "who made [x]", "what is [a longer name] by", "[z]")
    together = plan(model, speller, asked, [ground] * 3, beams=2)
    alone = [plan(model, speller, [prompt], [ground], beams=2)[0] for prompt in asked]
    assert [[p.path for p in plans] for plans in together] == [[p.path for p in plans] for plans in alone]
    assert all(len(plans) == 2 for plans in together)


def test_no_step_no_plan(speller: Speller) -> None:
    model = tiny_causal_lm()
    found = plan(model, speller, prompts(speller, "[x]", "[y]"), [lambda _: frozenset(), ground], beams=2)
    assert found[0] == [] and len(found[1]) == 2


def test_a_random_model_can_only_say_what_the_graph_has(films: Graph, term: Term, speller: Speller) -> None:
    for seed in range(3):
        model = tiny_causal_lm(seed=seed)
        for name in ("The Kiln", "Drama", "Eli Ström"):
            walker = Walker(films, term(name), 3)
            (plans,) = plan(model, speller, prompts(speller, f"[{name}]"), [walker.next_steps], beams=4)
            assert plans
            for made in plans:
                assert 1 <= len(made.path) <= 3
                assert follow(films, term(name), made.path).ends()
