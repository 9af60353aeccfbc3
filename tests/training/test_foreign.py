"""Foreign texts: varied, repeatable, of the domain's form where answers are given."""

from __future__ import annotations

import random
import re

from gag.training.foreign import ForeignTexts, perturbed, word_pieces

TEXTS = ["who wrote the long book about rivers", "when did the old lighthouse burn down?"]


def draws(texts: list[str], answers: list[str], seed: int = 0, count: int = 400) -> list[str]:
    foreign = ForeignTexts(texts, answers, seed)
    return [foreign.draw() for _ in range(count)]


def test_perturbed_keeps_the_form_and_changes_the_digits() -> None:
    changed = [perturbed("148 nm", ["nm"], random.Random(seed)) for seed in range(50)]
    assert all(text.endswith(" nm") and len(text) == 6 for text in changed)
    assert len(set(changed)) > 30


def test_draws_repeat_by_seed_and_hardly_among_themselves() -> None:
    assert draws(TEXTS, ["148 nm"]) == draws(TEXTS, ["148 nm"]) != draws(TEXTS, ["148 nm"], seed=1)
    assert len(set(draws(TEXTS, []))) > 250


def test_every_kind_is_drawn() -> None:
    drawn = draws(TEXTS, ["148 nm of tallow"])
    assert "148 nm of tallow" in drawn
    assert any(re.fullmatch(r"\d{3} nm of \w+", text) and text != "148 nm of tallow" for text in drawn)
    assert any(text in TEXTS[0] for text in drawn)
    assert any(re.fullmatch(r"[\d.]+ (weeks|percent|kg)", text) for text in drawn)
    assert all(text.strip() for text in drawn)


def test_nothing_to_draw_from_is_no_dead_end() -> None:
    assert all(text.strip() for text in draws([], []))
    assert all(text.strip() for text in draws(["?", ""], []))


def test_pieces_of_a_vocabulary_make_words() -> None:
    assert word_pieces([" the", "the", "x", "▁", "12", "ab1", "öl ", "<|im_end|>"]) == ["the", "öl"]
    foreign = ForeignTexts([], [], 0, pieces=["zyx", "wvu"])
    drawn = [foreign.draw() for _ in range(300)]
    assert any(re.search(r"(zyx|wvu){2,3}", text.lower()) for text in drawn)
