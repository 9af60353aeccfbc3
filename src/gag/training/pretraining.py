"""Pretraining of the projector: to let through what any background says, before any domain is known.

The expert's model, without a domain's adapter, is led through foreign texts as if it had written them as background
to general questions, and the base must repeat each from the slots alone. No domain is in it, so it is done once for a
base and an expert's model and kept in the cache; every domain's alignment starts from it. In spirit this is xRAG's
pretraining on passages (arXiv 2405.13792, section 3.3), with repetition in place of paraphrase.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors.torch import load, load_file, save
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from gag.atomic import new_file
from gag.config import AlignmentConfig, Config, ReadoutConfig
from gag.errors import BusyError
from gag.models.base import Base
from gag.models.chat import encode_answer
from gag.models.expert import Expert
from gag.models.fingerprint import frozen
from gag.models.packaged import cache_folder
from gag.models.projector import Projector, ProjectorShape
from gag.progress import Progress, silent
from gag.prompts import Prompts
from gag.records import Question, content_hash
from gag.training.alignment import CHECKPOINT, Alignment, alignment_examples
from gag.training.counterfactual import general_pairs
from gag.training.foreign import VERSION as FOREIGN_TEXTS
from gag.training.foreign import tokenizer_pieces
from gag.training.processes import processes
from gag.training.states import StateStore, fill_forced
from gag.training.warm_start import warm_start_targets

FIELD = "a private field"
"""What stands for a domain's field in the prompts."""
PRETRAINED_FILE = "pretrained.safetensors"
WARM_START_PAIRS = 3000


@dataclass(frozen=True)
class Pretraining:
    """What it is made from: the frozen base, the expert's model without adapter, and general texts.

    `expert_key` stands for that model's weights; `prompts` have FIELD for a field.
    """

    base: Base
    expert: Expert
    expert_key: str
    prompts: Prompts
    config: Config
    texts: Sequence[str]

    @property
    def key(self) -> str:
        """The hash of all that the result depends on."""
        config = self.config
        said = [self.prompts.expert("?"), self.prompts.domain("?", config.readout.slots)]
        return content_hash(
            "pretraining",
            [self.base.fingerprint, self.expert_key],
            [[[asdict(message) for message in messages] for messages in said], self._readout.model_dump()],
            config.projector.model_dump(),
            [config.alignment.seed, list(self.texts), FOREIGN_TEXTS],
        )

    @property
    def _readout(self) -> ReadoutConfig:
        """What of the readout matters to given texts: how their states are pooled, not how a background is written."""
        kept = {"layers", "pooling", "slots", "parts", "normalize", "clamp"}
        return ReadoutConfig(**self.config.readout.model_dump(include=kept))

    @property
    def shipped(self) -> Traversable | None:
        """The file that the package ships of this very pretraining, if it does."""
        file = shipped_folder() / f"{self.key[:16]}.safetensors"
        return file if file.is_file() else None

    def tensors(self, on_progress: Progress = silent) -> dict[str, Tensor]:
        """The pretrained projector's state dict: shipped with the package, kept in the cache, or made now.

        What is shipped is what this very pretraining gave (`gag pretrain --export`), found by its key.
        """
        shipped = self.shipped
        if shipped is not None:
            on_progress("pretraining", 1, 1, "shipped with the package")
            return {name: tensor.float() for name, tensor in load(shipped.read_bytes()).items()}
        return load_file(self.made(on_progress))

    def made(self, on_progress: Progress = silent) -> Path:
        """The file of a pretraining made here, in the cache; an interrupted one goes on."""
        folder = cache_folder() / "projectors" / self.key[:16]
        path = folder / PRETRAINED_FILE
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        main = processes().is_main_process
        if main:
            _acquire(lock, on_progress)
        try:
            processes().wait_for_everyone()  # nobody looks before the main process has the lock
            kept = path.is_file()
            processes().wait_for_everyone()  # nobody writes before everybody has looked
            if kept:
                on_progress("pretraining", 1, 1, "kept")
            else:
                self._make(folder, on_progress)
        finally:
            if main:
                lock.release()
        return path

    def _make(self, folder: Path, on_progress: Progress) -> None:
        stages = self._stages()
        total = sum(self._steps(pairs) for pairs in stages)
        before, tensors = 0, None
        for number, pairs in enumerate(stages, start=1):
            shown = _after(before, total, on_progress)
            tensors = self._trained(pairs, tensors, folder / f"stage{number}", shown)
            before += self._steps(pairs)
        processes().wait_for_everyone()  # nothing of a stage goes before everybody has it
        if processes().is_main_process and tensors is not None:
            with new_file(folder / PRETRAINED_FILE) as unfinished:
                unfinished.write_bytes(save(tensors))
            for left in (*folder.glob("stage*"), folder / "states"):
                shutil.rmtree(left, ignore_errors=True)
            (folder / CHECKPOINT).unlink(missing_ok=True)  # with states/, what an earlier version left unfinished
        processes().wait_for_everyone()

    def _stages(self) -> list[list[Question]]:
        """The foreign texts of each stage: short ones first, one share more each time, all lengths in the last."""
        tokenizer, seed = self.base.tokenizer, self.config.alignment.seed
        pieces = tokenizer_pieces(tokenizer)
        stages: list[list[Question]] = []
        for number, longest in enumerate(lengths := [*self.config.projector.pretrain_lengths, None]):
            start, end = (_share(self.config.projector.pretrain_pairs, n, len(lengths)) for n in (number, number + 1))
            fits = partial(_fits, tokenizer, longest)
            stages.append(general_pairs(self.texts, end - start, seed + number, pieces=pieces, fits=fits, first=start))
        return [pairs for pairs in stages if pairs]

    def _steps(self, pairs: Sequence[Question]) -> int:
        return -(-len(pairs) // self.config.projector.pretrain_batch_size)

    def _trained(
        self, pairs: Sequence[Question], start: dict[str, Tensor] | None, folder: Path, on_progress: Progress
    ) -> dict[str, Tensor]:
        """The projector after a stage, from disk where it was ended before; `start` is None for the first one."""
        path = folder / PRETRAINED_FILE
        if path.is_file():
            return load_file(path)
        projector, readout = self.config.projector, self._readout
        store = StateStore(folder / "states")
        fill_forced(store, lambda: self.expert, pairs, readout, on_progress)
        states = store.load_forced(pairs)
        kept = {"seed", "batch_tokens", "prefix_cache_gb", "checkpoint_every"}  # what changes no result, and the seed
        settings = AlignmentConfig(
            learning_rate=projector.pretrain_learning_rate,
            batch_size=projector.pretrain_batch_size,
            epochs=1,
            dev_share=0.0,
            **self.config.alignment.model_dump(include=kept),
        )
        examples = alignment_examples(self.base, self.prompts, pairs, states, readout.slots, settings)
        torch.manual_seed(settings.seed)
        shape = ProjectorShape(states[0].shape[-1], self.base.hidden_size, readout.slots, len(readout.layers))
        module = Projector(projector, shape)
        if start is not None:
            module.load_state_dict(start)
        else:
            first = WARM_START_PAIRS
            targets = None
            if projector.warm_start == "regression":
                targets = warm_start_targets(self.base, [pair.answers[0] for pair in pairs[:first]], readout.slots)
            module.initialise(states[:first], self.base.table.weight, targets)
        with frozen(self.base.model, "the base"):
            run = Alignment(self.base, module, settings, folder, on_progress=on_progress)
            tensors = run.train(examples).tensors
        if processes().is_main_process:
            with new_file(path) as unfinished:
                unfinished.write_bytes(save(tensors))
        processes().wait_for_everyone()
        return tensors


def _share(total: int, stages: int, of: int) -> int:
    """How many of `total` texts the first `stages` of `of` stages take: one share, two, three, …"""
    return total * stages * (stages + 1) // (of * (of + 1))


def _fits(tokenizer: PreTrainedTokenizerBase, longest: int | None, text: str) -> bool:
    return longest is None or len(encode_answer(text, tokenizer)) <= longest + 1  # with the end of the turn


def _after(before: int, steps: int, on_progress: Progress) -> Progress:
    """Shows a stage's steps as those of the whole pretraining."""

    def shown(step: str, done: int, total: int, note: str = "") -> None:
        if step == "projector":
            on_progress("pretraining", before + done, steps, note)
        else:
            on_progress(step, done, total, note)

    return shown


def _acquire(lock: FileLock, on_progress: Progress) -> None:
    """Take `lock`; where another workspace is making the same projector, say so and wait for it.

    Several processes do not wait, since those behind a barrier would be given up: raises BusyError.
    """
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if processes().num_processes > 1:
            raise BusyError(
                "Another process is pretraining the same projector.", "Wait until it is done, then run this again."
            ) from None
        on_progress("pretraining", 0, 1, "waiting for another process that makes the same one")
        lock.acquire()


def shipped_folder() -> Traversable:
    """Where the package keeps pretrained projectors, each named by its key."""
    return resources.files("gag") / "pretrained"
