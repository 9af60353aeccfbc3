"""Paraphrase pretraining: the base writes out a passage of which it sees one projected vector (xRAG, stage one)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gag.models import chat
from gag.models.base import Base
from gag.prompts import Prompts
from gag.training.alignment import Example


def paraphrase_examples(base: Base, texts: Sequence[str], states: Sequence[Tensor], tokens: int) -> list[Example]:
    """One example a text, under requests whose wordings take turns; the answer is its first `tokens` tokens.

    `states` [slots, layers, d] are what stands for each text. A text that was cut does not end the turn.
    """
    out = []
    for number, (text, state) in enumerate(zip(texts, states, strict=True)):
        prompt = base.encode(Prompts.paraphrase(number, len(state)))
        answer = chat.encode_answer(text, base.tokenizer)[: min(tokens, base.context - len(prompt.ids))]
        out.append(Example(prompt, tuple(answer), state, text))
    return out
