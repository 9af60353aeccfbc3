"""Knowledge states on disk: what the expert's readout gave for each question, read once and kept.

A store's folder belongs to one expert, prompt and readout (its name is their hash); inside, a question's key is the
hash of its text. Shards are safetensors, written whole and renamed, so that an interrupted run goes on and several
processes can fill one store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gag.atomic import new_file
from gag.config import ReadoutConfig
from gag.errors import RunError
from gag.memory import give_back
from gag.models.expert import Expert, Reading
from gag.progress import Progress, silent
from gag.records import Question, content_hash
from gag.training.processes import processes

SHARD_QUESTIONS = 256


@dataclass(frozen=True)
class Stored:
    """One question's reading as the store holds it."""

    states: Tensor
    background: str


class StateStore:
    """Readings by question text; `[slots, layers, d]` each, or `[tokens, layers, d]` for an unpooled readout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._where: dict[str, Path] = {}
        self._backgrounds: dict[str, str] = {}
        self._read: set[Path] = set()
        self.refresh()

    def refresh(self) -> None:
        """Take note of shards written since the last look; a damaged one is deleted (its questions are read again)."""
        for path in sorted(self.folder.glob("*.safetensors")):
            if path in self._read:
                continue
            try:
                with safe_open(path, framework="pt") as shard:
                    backgrounds = json.loads(shard.metadata()["backgrounds"])
                    self._where.update(dict.fromkeys(shard.keys(), path))
            except FileNotFoundError:  # another process found it damaged first
                continue
            except (SafetensorError, KeyError, TypeError, json.JSONDecodeError):
                path.unlink(missing_ok=True)
                continue
            self._backgrounds.update(backgrounds)
            self._read.add(path)

    def missing(self, questions: Iterable[str]) -> list[str]:
        """The distinct questions that have no reading yet, in order."""
        return [q for q in dict.fromkeys(questions) if _key(q) not in self._where]

    def get(self, question: str) -> Stored:
        """The reading of a question; raises KeyError if it has none."""
        key = _key(question)
        with safe_open(self._where[key], framework="pt") as shard:
            return Stored(shard.get_tensor(key), self.background(question))

    def background(self, question: str) -> str:
        """What was written to a question that has a reading; empty where nothing was decoded."""
        return self._backgrounds.get(_key(question), "")

    def forced(self, pair: Question) -> Stored:
        """The reading of a question under its first answer as background (see `fill_forced`)."""
        return self.get(_forced(pair))

    def load(self, questions: Sequence[str]) -> list[Tensor]:
        """States of many questions, opening each shard once."""
        wanted: dict[Path, list[int]] = {}
        for index, question in enumerate(questions):
            wanted.setdefault(self._where[_key(question)], []).append(index)
        out: list[Tensor] = [torch.empty(0)] * len(questions)
        for path, indices in wanted.items():
            with safe_open(path, framework="pt") as shard:
                for index in indices:
                    out[index] = shard.get_tensor(_key(questions[index]))
        return out

    def load_forced(self, pairs: Sequence[Question]) -> list[Tensor]:
        """States of many questions under their first answers as background."""
        return self.load([_forced(pair) for pair in pairs])

    def add(self, questions: Sequence[str], readings: Sequence[Reading]) -> None:
        """Write one shard with these readings, atomically."""
        tensors = {_key(q): r.states.contiguous().clone() for q, r in zip(questions, readings, strict=True)}
        backgrounds = {_key(q): r.background for q, r in zip(questions, readings, strict=True) if r.background}
        name = content_hash(sorted(tensors))[:16]
        with new_file(self.folder / f"{name}.safetensors") as partial:
            save_file(tensors, partial, metadata={"backgrounds": json.dumps(backgrounds)})


def fill(
    store: StateStore, expert: Expert, questions: Sequence[str], config: ReadoutConfig, on_progress: Progress = silent
) -> int:
    """Read every question that `store` has not; returns how many that were over all processes.

    Each process takes its share; a share that is missing at the end is a failed worker and raises RunError.
    """
    state = processes()
    store.refresh()
    todo = store.missing(questions)
    state.wait_for_everyone()  # nobody writes before everybody has looked
    mine = sorted(todo, key=len)[state.process_index :: state.num_processes]
    held: list[tuple[str, Reading]] = []
    done = 0
    for indices, readings in expert.read_batches(mine, config):
        held += [(mine[i], reading) for i, reading in zip(indices, readings, strict=True)]
        done += len(indices)
        if len(held) >= SHARD_QUESTIONS or done == len(mine):
            store.add([q for q, _ in held], [r for _, r in held])
            held = []
        if state.is_main_process:
            tokens = sum(r.tokens for r in readings) / len(readings)
            on_progress("states", done, len(mine), f"{tokens:.0f} background tokens a question")
    give_back()
    state.wait_for_everyone()
    store.refresh()
    lost = store.missing(questions)
    if lost:
        raise RunError(
            f"{len(lost)} of {len(todo)} questions have no knowledge states: a worker failed.",
            "See its message above; the same command goes on from what was kept.",
        )
    return len(todo)


def fill_forced(
    store: StateStore,
    expert: Callable[[], Expert],
    pairs: Sequence[Question],
    config: ReadoutConfig,
    on_progress: Progress = silent,
) -> None:
    """Read each question under its own first answer as the background, where `store` has not; see `Expert.read_forced`.

    Nothing is decoded, so this is fast. Several processes take a share each.
    """
    state = processes()
    store.refresh()
    named = {_forced(pair): pair for pair in pairs}
    todo = store.missing(named)
    state.wait_for_everyone()
    mine = todo[state.process_index :: state.num_processes]
    model = expert() if mine else None
    for start in range(0, len(mine), SHARD_QUESTIONS):
        part = mine[start : start + SHARD_QUESTIONS]
        asked, said = [named[key].question for key in part], [named[key].answers[0] for key in part]
        if model is not None:
            store.add(part, model.read_forced(asked, said, config))
        if state.is_main_process:
            on_progress("counterfactual states", start + len(part), len(mine))
    state.wait_for_everyone()
    store.refresh()
    if store.missing(named):
        raise RunError("Counterfactual states are missing: a worker failed.", "See its message above; run it again.")


def _forced(pair: Question) -> str:
    """The store's name of a question under a given background; no question holds this separator by chance."""
    return f"{pair.question}\x1f{pair.answers[0]}"


def states_key(expert_key: str, prompts: object, config: ReadoutConfig) -> str:
    """The hash that names a store: the expert's identity, its prompts, and what of the readout changes states."""
    readout = config.model_dump(exclude={"batch_size"})
    return content_hash(expert_key, prompts, readout)


def _key(question: str) -> str:
    return content_hash(question)[:32]
