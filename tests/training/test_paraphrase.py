"""Paraphrase pretraining: a slot in every request, the passage's first tokens as the answer."""

from __future__ import annotations

import torch

from gag.models.base import Base
from gag.prompts import PARAPHRASES, Slots
from gag.testing import IM_END_ID, byte_tokenizer, tiny_causal_lm
from gag.training.paraphrase import paraphrase_examples


def test_examples() -> None:
    base = Base(tiny_causal_lm(max_positions=200), byte_tokenizer(), source="t", fingerprint="f")
    texts = ["Short.", "L" * 50, "M" * 500] * len(PARAPHRASES)
    states = [torch.full((1, 1, 4), float(n)) for n in range(len(texts))]
    made = paraphrase_examples(base, texts, states, 20)
    assert len({e.prompt.ids for e in made}) == len(PARAPHRASES)
    assert all(len(e.prompt.slots) == 1 for e in made)
    assert made[0].answer == (*b"Short.", IM_END_ID)
    assert made[1].answer == tuple(b"L" * 20)  # cut, so that the turn does not end
    assert torch.equal(made[2].states, states[2])
    assert [e.group for e in made] == texts
    long = paraphrase_examples(base, texts[:3], states[:3], 10_000)
    assert len(long[2].prompt.ids) + len(long[2].answer) == base.context


def test_every_wording_has_its_slot_inside() -> None:
    assert len(set(PARAPHRASES)) == len(PARAPHRASES) >= 6
    from gag.prompts import Prompts

    for number in range(2 * len(PARAPHRASES)):
        (message,) = Prompts.paraphrase(number, 1)
        assert message.parts.count(Slots(1)) == 1
        assert message == Prompts.paraphrase(number + len(PARAPHRASES), 1)[0]
