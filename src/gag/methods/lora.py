"""Method `lora`: the base fine-tuned on the domain's pairs, the alternative that everybody tries first.

The adapter is trained on, and answers through, a copy of the base; the frozen one that other methods share never has
it. It asks every question under the prompt of the general route, on which it was trained, so that its answers to
general questions show what the tuning did to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gag.answering import Prepared
from gag.config import ExpertConfig, GenerationConfig, LoraConfig
from gag.methods.method import BaseBacked, Method
from gag.methods.rag import RAG, Retriever
from gag.models.loading import load_causal_lm
from gag.models.tuned_copy import TunedCopy
from gag.prompts import Prompts
from gag.records import Question, content_hash, questions_hash
from gag.steps import said
from gag.training.expert import ADAPTER, ExpertData, train_expert

if TYPE_CHECKING:
    from gag.methods.shelf import Shelf


class LoRA:
    """The general prompt, answered by a copy of the base under the domain's adapter."""

    name = "lora"

    def __init__(self, copy: TunedCopy, prompts: Prompts, generation: GenerationConfig) -> None:
        self.copy, self.base, self.prompts, self.generation = copy, copy.base, prompts, generation

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        """General prompts, in order; the copy is switched to this domain's adapter."""
        self.copy.switch()
        room = self.generation.max_new_tokens
        return [
            Prepared(q, self.base.encode(self.prompts.general(q.question), room=room), self.generation)
            for q in questions
        ]


class TunedRAG(RAG):
    """The passages in the prompt of a tuned copy of the base (the RAFT paper's DSF + RAG)."""

    name = "lora+rag"

    def __init__(self, copy: TunedCopy, prompts: Prompts, generation: GenerationConfig, retriever: Retriever) -> None:
        super().__init__(copy.base, prompts, generation, retriever)
        self._copy = copy

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        """As RAG's, for the tuned copy."""
        self._copy.switch()
        return super().prepare(questions)


def from_shelf(shelf: Shelf, domain: str) -> Method:
    """For the shelf: the adapter is trained where it is not yet, on a copy loaded for that alone."""
    return BaseBacked(LoRA(tuned_on_pairs(shelf, domain), shelf.system.general, shelf.chosen_generation(domain)))


def rag_from_shelf(shelf: Shelf, domain: str) -> Method:
    """`lora+rag` for the shelf: tuned without passages, asked with them."""
    retriever = Retriever(shelf.store(domain), shelf.config(domain).retrieval.top_k)
    copy = tuned_on_pairs(shelf, domain)
    return BaseBacked(TunedRAG(copy, shelf.prompts(domain), shelf.chosen_generation(domain), retriever))


def tuned_on_pairs(shelf: Shelf, domain: str) -> TunedCopy:
    """The base under the adapter of the domain's pairs, trained where it is not yet."""
    return tuned_copy(shelf, trained_adapter(shelf, domain), f"lora-{domain}")


def tuned_copy(shelf: Shelf, adapter: Path, name: str) -> TunedCopy:
    """The shared copy with one more adapter on it, called `name` there: the same name is the same adapter."""
    if name not in shelf.tuned:
        base = shelf.workspace.config.models.base
        tuned = shelf.copies.attach(name, shelf.system.general, base.source, base.revision, adapter)
        shelf.tuned[name] = TunedCopy(tuned, name, content_hash(shelf.base.fingerprint, adapter.parent.name))
    return shelf.tuned[name]


def trained_adapter(shelf: Shelf, domain: str) -> Path:
    """The PEFT folder of the domain's adapter for the base."""
    workspace, prompts, questions = shelf.workspace, shelf.system.general, shelf.build(domain).all_pairs
    config = shelf.config(domain).lora
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
            load_causal_lm(shelf.copy_config, root=workspace.root).told("copy of the base", shelf.on_progress),
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
