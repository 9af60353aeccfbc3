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
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors.torch import load, load_file, save
from torch import Tensor

from gag.atomic import new_file
from gag.config import AlignmentConfig, Config, ReadoutConfig
from gag.models.base import Base
from gag.models.expert import Expert
from gag.models.fingerprint import frozen
from gag.models.packaged import cache_folder
from gag.models.projector import Projector, ProjectorShape
from gag.progress import Progress, silent
from gag.prompts import Prompts
from gag.records import content_hash
from gag.training.alignment import CHECKPOINT, Alignment, alignment_examples
from gag.training.counterfactual import general_pairs
from gag.training.foreign import VERSION as FOREIGN_TEXTS
from gag.training.foreign import word_pieces
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

    def tensors(self, on_progress: Progress = silent) -> dict[str, Tensor]:
        """The pretrained projector's state dict: shipped with the package, kept in the cache, or made now.

        What is shipped is what this very pretraining gave (`gag pretrain --export`), found by its key.
        """
        shipped = shipped_folder() / f"{self.key[:16]}.safetensors"
        if shipped.is_file():
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
        projector, readout = self.config.projector, self._readout
        store = StateStore(folder / "states")
        tokenizer = self.base.tokenizer
        pieces = word_pieces([str(tokenizer.decode([i])) for i in range(len(tokenizer))])
        pairs = general_pairs(self.texts, projector.pretrain_pairs, self.config.alignment.seed, pieces=pieces)
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
        first = WARM_START_PAIRS
        targets = None
        if projector.warm_start == "regression":
            targets = warm_start_targets(self.base, [pair.answers[0] for pair in pairs[:first]], readout.slots)
        module.initialise(states[:first], self.base.table.weight, targets)
        with frozen(self.base.model, "the base"):
            aligned = Alignment(
                self.base,
                module,
                settings,
                folder,
                on_progress=lambda _, done, total, note="": on_progress("pretraining", done, total, note),
            ).train(examples)
        if processes().is_main_process:
            with new_file(folder / PRETRAINED_FILE) as partial:
                partial.write_bytes(save(aligned.tensors))
            shutil.rmtree(store.folder, ignore_errors=True)
            (folder / CHECKPOINT).unlink(missing_ok=True)
        processes().wait_for_everyone()


def _acquire(lock: FileLock, on_progress: Progress) -> None:
    """Take `lock`; where another workspace is making the same projector, say so and wait for it."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_progress("pretraining", 0, 1, "waiting for another process that makes the same one")
        lock.acquire()


def shipped_folder() -> Traversable:
    """Where the package keeps pretrained projectors, each named by its key."""
    return resources.files("gag") / "pretrained"
