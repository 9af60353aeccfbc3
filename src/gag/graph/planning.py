"""Planning: the model says which relations to follow (RoG, section 4.2), and can only say what the graph has.

A plan is spelt token by token under a constraint: after what has been spelt, only steps that the walk so far can take
are open, so that every plan is a sequence of relations with at least one way from the question's entity to an end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from gag.graph.paths import RelationPath
from gag.models import chat
from gag.models.chat import EncodedPrompt
from gag.models.decoding import forward, left_padded, roomy_cache
from gag.prompts import Message, Untrusted

INSTRUCTION = "Plan the relations to follow from the entity in brackets."
"""The planning half of the two instructions that one model is trained on."""

_KEPT = 1 << 16
"""Spelt steps that are kept at hand."""

NextSteps = Callable[[RelationPath], frozenset[str]]
"""The steps that lead on after a path; none at the hop limit."""


@dataclass(frozen=True)
class Plan:
    """A relation path and how likely the model finds it among those the graph has, 0 to 1."""

    path: RelationPath
    probability: float


class Speller:
    """Steps as token ids: a step's own, and a line break before every step but the first.

    A step is spelt alone, so that it is the same ids wherever it stands; no step holds a line break, so no two plans
    are spelt alike.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer, self.end = tokenizer, chat.turn_end(tokenizer)
        self._between = chat.encode_answer("\n", tokenizer)[:-1]
        self._steps: dict[str, tuple[int, ...]] = {}

    def step(self, step: str, *, first: bool) -> tuple[int, ...]:
        """Ids of one step."""
        if step not in self._steps:
            if len(self._steps) >= _KEPT:
                self._steps.clear()
            self._steps[step] = tuple(chat.encode_answer(step, self.tokenizer)[:-1])
        return self._steps[step] if first else (*self._between, *self._steps[step])

    def path(self, path: RelationPath) -> list[int]:
        """Ids of a whole plan, closed."""
        spelt = [i for position, step in enumerate(path) for i in self.step(step, first=position == 0)]
        return [*spelt, self.end]


@dataclass(frozen=True)
class Spelt:
    """A plan in the making: its whole steps, the ids of the next one so far, and the log probability."""

    path: RelationPath = ()
    partial: tuple[int, ...] = ()
    score: float = 0.0


@dataclass
class _Search:
    """One question's beams."""

    next_steps: NextSteps
    live: list[Spelt] = field(default_factory=lambda: [Spelt()])
    done: list[Spelt] = field(default_factory=list)

    def settled(self, beams: int) -> bool:
        """Whether nothing live can get among the best any more (a score never rises)."""
        if not self.live:
            return True
        best = sorted((spelt.score for spelt in self.done), reverse=True)[:beams]
        return len(best) == beams and best[-1] >= max(spelt.score for spelt in self.live)


def planning_prompt(marked: str) -> tuple[Message, ...]:
    """What the model is asked when it plans; `marked` has the entity in brackets."""
    return (Message("system", (INSTRUCTION,)), Message("user", (Untrusted(marked),)))


def options(spelt: Spelt, next_steps: NextSteps, speller: Speller) -> dict[int, Spelt]:
    """Every id that may come next and what is spelt then; the end of turn closes the path that is whole."""
    found: dict[int, Spelt] = {}
    if spelt.path and not spelt.partial:
        found[speller.end] = Spelt(spelt.path, (), spelt.score)
    for step in sorted(next_steps(spelt.path)):
        ids = speller.step(step, first=not spelt.path)
        if ids[: len(spelt.partial)] != spelt.partial:
            continue
        if len(ids) == len(spelt.partial):  # whole: what may come is what may come after it
            for token, after in options(Spelt((*spelt.path, step), (), spelt.score), next_steps, speller).items():
                found.setdefault(token, after)
        else:
            token = ids[len(spelt.partial)]
            found.setdefault(token, Spelt(spelt.path, (*spelt.partial, token), spelt.score))
    return found


@torch.no_grad()
def plan(
    model: Any, speller: Speller, prompts: Sequence[EncodedPrompt], grounds: Sequence[NextSteps], beams: int
) -> list[list[Plan]]:
    """The `beams` likeliest plans of each prompt, best first; none where its entity has no step at all.

    `grounds` says what each walk can take. Probabilities are among what the constraint leaves open, so those of all
    grounded plans of a question sum to one.
    """
    searches = [_Search(ground) for ground in grounds]
    batch = left_padded(model, prompts)
    room = 64
    cache = roomy_cache(_bare(model), room)
    table = model.get_input_embeddings()
    rows = [(search, spelt) for search in searches for spelt in search.live]
    embeddings, mask = batch.embeddings, batch.mask
    while rows:
        logits = forward(model, embeddings, mask, cache=cache, logits_to_keep=1).logits[:, -1].float()
        parents, tokens, rows = _advance(searches, rows, logits, speller, beams)
        if not rows:
            break
        keep = torch.tensor(parents, device=mask.device)
        cache.batch_select_indices(keep)
        mask = torch.cat([mask[keep], mask.new_ones(len(rows), 1)], dim=1)
        embeddings = table(torch.tensor(tokens, device=mask.device).unsqueeze(1))
    return [_plans(search, beams) for search in searches]


def _advance(
    searches: Sequence[_Search], rows: Sequence[tuple[_Search, Spelt]], logits: Tensor, speller: Speller, beams: int
) -> tuple[list[int], list[int], list[tuple[_Search, Spelt]]]:
    """One token on: which row each live one comes from, its token, and the live ones."""
    found: dict[int, list[tuple[float, int, int, Spelt]]] = {id(search): [] for search in searches}
    for row, (search, spelt) in enumerate(rows):
        after = options(spelt, search.next_steps, speller)
        if not after:
            continue
        ids = list(after)
        scores = logits[row, ids].log_softmax(-1).tolist()
        found[id(search)] += [(spelt.score + s, row, token, after[token]) for token, s in zip(ids, scores, strict=True)]
    parents: list[int] = []
    tokens: list[int] = []
    live: list[tuple[_Search, Spelt]] = []
    for search in searches:
        best = sorted(found[id(search)], key=lambda item: -item[0])
        search.done += [Spelt(to.path, (), score) for score, _, token, to in best if token == speller.end]
        onward = [item for item in best if item[2] != speller.end][:beams]
        search.live = [Spelt(to.path, to.partial, score) for score, _, _, to in onward]
        if search.settled(beams):
            search.live = []
            continue
        parents += [row for _, row, _, _ in onward]
        tokens += [token for _, _, token, _ in onward]
        live += [(search, spelt) for spelt in search.live]
    return parents, tokens, live


def _plans(search: _Search, beams: int) -> list[Plan]:
    best = sorted(search.done, key=lambda spelt: (-spelt.score, spelt.path))[:beams]
    return [Plan(spelt.path, math.exp(spelt.score)) for spelt in best]


def _bare(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
