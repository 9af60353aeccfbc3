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
from gag.models.sizes import context_of

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
        self._context = context_of(model.config) or 2**31

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

    def answer(
        self,
        questions: Sequence[str],
        lines: Sequence[Sequence[str]],
        ends: Sequence[Sequence[str]] | None,
        max_new_tokens: int,
    ) -> list[Said]:
        """Answers from paths, each as a line; lines that do not fit the context are left out from the end.

        With `ends`, a question's answers are some of its own, each once, and at least one; else whatever is written.
        """
        prompts = [self._fitted(q, list(paths), max_new_tokens) for q, paths in zip(questions, lines, strict=True)]
        bare = [len(chat.encode(reasoning_prompt(q, ()), self.tokenizer).ids) for q in questions]
        said: list[Said | None] = [None] * len(prompts)
        for indices in _batches(prompts):
            batch = [prompts[i] for i in indices]
            if ends is None:
                written = self._free(batch, max_new_tokens)
            else:
                written = self._among([ends[i] for i in indices], batch)
            for index, (text, tokens) in zip(indices, written, strict=True):
                length = len(prompts[index].ids)
                said[index] = Said(text, length, max(0, length - bare[index]), tokens)
        return [one for one in said if one is not None]

    def _free(self, prompts: Sequence[EncodedPrompt], max_new_tokens: int) -> list[tuple[str, int]]:
        """Texts and their tokens, decoded greedily."""
        options = DecodeOptions(GenerationConfig(max_new_tokens=max_new_tokens), self._stop)
        rows = decode(self.model, left_padded(self.model, prompts), options)
        return [(str(self.tokenizer.decode(row.ids, skip_special_tokens=True)).strip(), len(row.ids)) for row in rows]

    def _among(self, ends: Sequence[Sequence[str]], prompts: Sequence[EncodedPrompt]) -> list[tuple[str, int]]:
        """The same under a constraint: a list of ends is spelt as a plan is, a line break before each but the first."""
        grounds = [_each_once(frozenset(own)) for own in ends]
        found = plan(self.model, self.speller, prompts, grounds, beams=1)
        lists = [plans[0].path if plans else () for plans in found]
        return [("\n".join(names), len(self.speller.path(names)) - 1) for names in lists]

    def _fitted(self, question: str, lines: list[str], room: int) -> EncodedPrompt:
        while True:
            prompt = chat.encode(reasoning_prompt(question, lines), self.tokenizer)
            if len(prompt.ids) + room <= self._context:
                return prompt
            if not lines:
                raise InputError(f"The question {question!r:.60} is longer than the model's context.", "Shorten it.")
            lines = lines[:-1]


def _each_once(names: frozenset[str]) -> NextSteps:
    return lambda said: names - frozenset(said)


def _batches(prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i].ids))
    return [order[start : start + TOGETHER] for start in range(0, len(order), TOGETHER)]
