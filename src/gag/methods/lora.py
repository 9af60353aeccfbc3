"""Method `lora`: the base fine-tuned on the domain's pairs, the alternative that everybody tries first.

The adapter is trained on, and answers through, a copy of the base; the frozen one that other methods share never has
it. It asks every question under the prompt of the general route, on which it was trained, so that its answers to
general questions show what the tuning did to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gag.answering import Prepared
from gag.config import ExpertConfig, GenerationConfig, LoraConfig
from gag.methods.method import BaseBacked, Method
from gag.models.base import Base
from gag.models.expert import Expert
from gag.models.loading import load_causal_lm
from gag.prompts import Prompts
from gag.records import Question, content_hash, questions_hash
from gag.steps import said
from gag.training.expert import ADAPTER, ExpertData, train_expert

if TYPE_CHECKING:
    from gag.methods.shelf import Shelf


class LoRA:
    """The general prompt, answered by a copy of the base under the domain's adapter."""

    name = "lora"

    def __init__(self, tuned: Expert, fingerprint: str, prompts: Prompts, generation: GenerationConfig) -> None:
        model: Any = tuned.model
        self.tuned, self.prompts, self.generation = tuned, prompts, generation
        # The model inside the library's wrapper, which has the adapter's layers: a causal LM like any other.
        self.base = Base(model.get_base_model(), tuned.tokenizer, source="lora", fingerprint=fingerprint)

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        """General prompts, in order; the copy is switched to this domain's adapter."""
        model: Any = self.tuned.model
        model.set_adapter(self.tuned.adapter, inference_mode=True)
        room = self.generation.max_new_tokens
        return [
            Prepared(q, self.base.encode(self.prompts.general(q.question), room=room), self.generation)
            for q in questions
        ]


def from_shelf(shelf: Shelf, domain: str) -> Method:
    """For the shelf: the adapter is trained where it is not yet, on a copy loaded for that alone."""
    adapter = trained_adapter(shelf, domain)
    base = shelf.workspace.config.models.base
    prompts = shelf.system.general
    tuned = shelf.copies.attach(domain, prompts, base.source, base.revision, adapter)
    key = content_hash(shelf.base.fingerprint, adapter.parent.name)
    return BaseBacked(LoRA(tuned, key, prompts, shelf.chosen_generation))


def trained_adapter(shelf: Shelf, domain: str) -> Path:
    """The PEFT folder of the domain's adapter for the base."""
    workspace, prompts, questions = shelf.workspace, shelf.system.general, shelf.build(domain).questions
    config = workspace.config.lora
    key = content_hash(
        "lora",
        [shelf.base.fingerprint, str(shelf.base.model.dtype)],
        config.model_dump(),
        said(prompts.general("?")),
        questions_hash(questions),
    )
    steps = shelf.steps(domain)
    folder = steps.folder("lora", key)
    if (folder / ADAPTER).is_dir():
        shelf.on_progress("lora", 1, 1, "kept")
        return folder / ADAPTER
    with steps.alone():
        adapter = train_expert(
            load_causal_lm(shelf.copy_config, root=workspace.root),
            ExpertData(prompts, questions, general=True),
            training_choices(config, len(questions)),
            folder,
            on_progress=lambda _, done, total, note="": shelf.on_progress("lora", done, total, note),
        )
        steps.note(folder, "lora", key, data={"qa": questions_hash(questions)})
    return adapter


def training_choices(config: LoraConfig, questions: int) -> ExpertConfig:
    """The same in the words of the expert's training, which this shares; `max_steps` as a share of epochs."""
    steps = -(-questions // config.batch_size)
    return ExpertConfig(
        method="lora",
        lora_rank=config.rank,
        lora_alpha=config.alpha,
        learning_rate=config.learning_rate,
        epochs=min(config.epochs, config.max_steps / steps),
        batch_size=config.batch_size,
        max_length=config.max_length,
        truncate_answers=config.truncate_answers,
        seed=config.seed,
    )
