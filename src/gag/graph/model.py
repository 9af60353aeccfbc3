"""The one model of `rog`: the small language model under the adapter that plans and reads paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from gag.config import GenerationConfig
from gag.errors import InputError
from gag.graph.planning import NextSteps, Plan, Speller, plan, planning_prompt
from gag.graph.reasoning import reasoning_prompt
from gag.models import chat
from gag.models.base import stop_ids
from gag.models.chat import EncodedPrompt
from gag.models.decoding import DecodeOptions, decode, left_padded

TOGETHER = 16
"""Questions computed at once."""


@dataclass(frozen=True)
class Said:
    """What the model answered: the text, and the tokens of its prompt, of the paths in it, and of the answer."""

    text: str
    prompt_tokens: int
    path_tokens: int
    completion_tokens: int


class PathModel:
    """Plans and answers, many questions at a time; `model` has the adapter on."""

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer, self.speller = model, tokenizer, Speller(tokenizer)
        self._stop = stop_ids(model, tokenizer)
        self._context = int(getattr(model.config, "max_position_embeddings", None) or 2**31)

    def plan(self, marked: Sequence[str], grounds: Sequence[NextSteps], beams: int) -> list[list[Plan]]:
        """Plans of questions whose entity is in brackets, best first; raises InputError for one that is too long."""
        prompts = [chat.encode(planning_prompt(text), self.tokenizer) for text in marked]
        for text, prompt in zip(marked, prompts, strict=True):
            if len(prompt.ids) + 64 > self._context:
                raise InputError(f"The question {text!r:.60} is longer than the model's context.", "Shorten it.")
        found: list[list[Plan]] = [[] for _ in prompts]
        for indices in _batches(prompts):
            chosen = [grounds[i] for i in indices]
            plans = plan(self.model, self.speller, [prompts[i] for i in indices], chosen, beams)
            for index, made in zip(indices, plans, strict=True):
                found[index] = made
        return found

    def answer(self, questions: Sequence[str], lines: Sequence[Sequence[str]], max_new_tokens: int) -> list[Said]:
        """Answers from paths, each as a line; lines that do not fit the context are left out from the end."""
        prompts = [self._fitted(q, list(paths), max_new_tokens) for q, paths in zip(questions, lines, strict=True)]
        bare = [len(chat.encode(reasoning_prompt(q, ()), self.tokenizer).ids) for q in questions]
        said: list[Said | None] = [None] * len(prompts)
        sampling = GenerationConfig(max_new_tokens=max_new_tokens)
        for indices in _batches(prompts):
            batch = left_padded(self.model, [prompts[i] for i in indices])
            for index, row in zip(indices, decode(self.model, batch, DecodeOptions(sampling, self._stop)), strict=True):
                text = str(self.tokenizer.decode(row.ids, skip_special_tokens=True)).strip()
                length = len(prompts[index].ids)
                said[index] = Said(text, length, max(0, length - bare[index]), len(row.ids))
        return [one for one in said if one is not None]

    def _fitted(self, question: str, lines: list[str], room: int) -> EncodedPrompt:
        while True:
            prompt = chat.encode(reasoning_prompt(question, lines), self.tokenizer)
            if len(prompt.ids) + room <= self._context:
                return prompt
            if not lines:
                raise InputError(f"The question {question!r:.60} is longer than the model's context.", "Shorten it.")
            lines = lines[:-1]


def _batches(prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i].ids))
    return [order[start : start + TOGETHER] for start in range(0, len(order), TOGETHER)]
