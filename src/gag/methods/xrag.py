"""Method `xrag`: the best passage's embedding, projected into one slot (arXiv 2405.13792).

gag with another source of the vector: where gag reads the states of an expert, this takes the mean vector of a passage
that was retrieved. Projector, alignment, injection and prompts are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor

from gag.answering import Prepared, injected
from gag.config import AlignmentConfig, GenerationConfig
from gag.errors import InputError
from gag.methods.method import BaseBacked, Method
from gag.methods.rag import Retriever
from gag.models import chat
from gag.models.base import Base
from gag.models.projector import Projector, ProjectorShape
from gag.prompts import PARAPHRASES, Prompts
from gag.records import Passage, Question, content_hash, passage_text, questions_hash, spread
from gag.steps import PROJECTOR_FILE, AlignmentStep, said
from gag.training.alignment import Example, alignment_examples, with_teacher
from gag.training.paraphrase import paraphrase_examples

if TYPE_CHECKING:
    from gag.methods.shelf import Shelf
    from gag.retrieval.store import Hit

SLOTS = 1


class XRAG:
    """The domain prompt with one projected passage in its slot."""

    name = "xrag"

    def __init__(
        self, base: Base, prompts: Prompts, generation: GenerationConfig, retriever: Retriever, projector: Projector
    ) -> None:
        self.base, self.prompts, self.generation = base, prompts, generation
        self.retriever, self.projector = retriever, projector.eval()

    @torch.no_grad()
    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        """Prompts with a slot, and the projected vector of each question's best passage."""
        found, seconds = self.retriever.find(questions)
        states = torch.stack([best_state(self.retriever, hits) for hits in found]).to(self.base.device)
        prepared = injected(self.base, self.prompts, questions, self.projector(states), self.generation)
        return [
            replace(
                item,
                passages=(hits[0].passage.id,),
                passage_scores=(float(hits[0].score),),
                timings={"retrieval": seconds},
            )
            for item, hits in zip(prepared, found, strict=True)
        ]


def best_state(retriever: Retriever, hits: Sequence[Hit]) -> Tensor:
    """The best passage's vector as knowledge states [1 slot, 1 layer, d]; raises InputError where there is none."""
    if not hits:
        raise InputError("No passage was found.", "xrag needs at least one: look at the domain's passages.")
    return passage_state(retriever, hits[0].passage)


def passage_state(retriever: Retriever, passage: Passage) -> Tensor:
    """A passage's mean vector as knowledge states [1 slot, 1 layer, d]."""
    return retriever.store.vector(passage.id).float().view(SLOTS, 1, -1)


def from_shelf(shelf: Shelf, domain: str) -> Method:
    """For the shelf: its projector is trained in two stages where it is not yet."""
    training = Training(shelf, domain)
    projector, generation = training.tuned(), shelf.chosen_generation(domain)
    return BaseBacked(XRAG(shelf.base, training.prompts, generation, training.retriever, projector))


class Training:
    """Paraphrase pretraining on the passages, then tuning on the pairs that gag's projector learns from."""

    def __init__(self, shelf: Shelf, domain: str) -> None:
        self.shelf, self.base, self.prompts = shelf, shelf.base, shelf.prompts(domain)
        self.steps, self.questions = shelf.steps(domain), shelf.build(domain).align_questions
        self.retriever, self.passages = Retriever(shelf.store(domain), 1), shelf.passages(domain)
        self.config, self.alignment = shelf.config(domain).xrag, shelf.config(domain).alignment

    def tuned(self) -> Projector:
        """The trained projector: both stages done, or what is kept of them."""
        config, start = self.config, self._pretraining_key()
        chosen = self._alignment(config.epochs, config.learning_rate)
        key = content_hash(
            "xrag",
            start,
            chosen.deciding(config.projector.dropout),
            config.teacher_weight,
            [said(self.prompts.domain("?", SLOTS)), said(self.prompts.context("?", "?"))],
            questions_hash(self.questions),
            _hash(self.passages),
        )
        folder = self.steps.folder("xrag", key)
        if self._kept("xrag", folder):
            return self._loaded(folder)
        with self.steps.alone():
            module = self._pretrained(start)
            step = AlignmentStep("xrag", chosen, self._pairs(chosen), teacher_weight=config.teacher_weight)
            self.steps.aligned(self.base, module, step, folder, data={"qa": questions_hash(self.questions)})
        return self._loaded(folder)

    def _pretraining_key(self) -> str:
        config, base = self.config, self.base
        return content_hash(
            "xrag-pretrain",
            [base.fingerprint, str(base.model.dtype), self.shelf.token_encoder.fingerprint],
            config.projector.model_dump(),
            [config.pretrain_tokens, PARAPHRASES],
            self._alignment(config.pretrain_epochs, config.pretrain_learning_rate).deciding(config.projector.dropout),
            _hash(self._shown()),
        )

    def _pretrained(self, key: str) -> Projector:
        """The projector after the first stage; with no pass over the passages, the one that it starts as."""
        config, folder = self.config, self.steps.folder("xrag-pretrain", key)
        if self._kept("xrag-pretrain", folder):
            return self._loaded(folder)
        chosen = self._alignment(config.pretrain_epochs, config.pretrain_learning_rate)
        states = [passage_state(self.retriever, p) for p in self._shown()]
        torch.manual_seed(chosen.seed)
        module = self._projector()
        module.initialise(states, self.base.table.weight)
        if not config.pretrain_epochs:
            return module
        texts = [passage_text(p) for p in self._shown()]
        examples = paraphrase_examples(self.base, texts, states, config.pretrain_tokens)
        self.steps.aligned(self.base, module, AlignmentStep("xrag-pretrain", chosen, examples), folder)
        return self._loaded(folder)

    def _shown(self) -> list[Passage]:
        """The passages of the first stage."""
        return spread(self.passages, self.config.pretrain_passages)

    def _pairs(self, chosen: AlignmentConfig) -> list[Example]:
        """The questions with their best passage in the slot and, as teacher, the base that reads it as text."""
        found, _ = self.retriever.find(self.questions)
        states = [best_state(self.retriever, hits) for hits in found]
        examples = alignment_examples(self.base, self.prompts, self.questions, states, SLOTS, chosen)
        if not self.config.teacher_weight:
            return examples
        asked = [
            chat.encode(self.prompts.context(q.question, passage_text(hits[0].passage)), self.base.tokenizer)
            for q, hits in zip(self.questions, found, strict=True)
        ]
        return with_teacher(self.base, examples, asked, on_progress=self.shelf.on_progress)

    def _alignment(self, epochs: int, learning_rate: float) -> AlignmentConfig:
        """The choices of a stage; there is no background that could be counterfactual."""
        chosen = {"epochs": epochs, "learning_rate": learning_rate, "counterfactual": 0.0}
        return self.alignment.model_copy(update=chosen)

    def _kept(self, step: str, folder: Path) -> bool:
        kept = (folder / PROJECTOR_FILE).is_file()
        if kept:
            self.shelf.on_progress(step, 1, 1, "kept")
        return kept

    def _projector(self) -> Projector:
        shape = ProjectorShape(self.shelf.token_encoder.dimension, self.base.hidden_size, SLOTS, 1)
        return Projector(self.config.projector, shape)

    def _loaded(self, folder: Path) -> Projector:
        module = self._projector()
        module.load_state_dict(load_file(folder / PROJECTOR_FILE))
        return module.to(self.base.device)


def _hash(passages: Sequence[Passage]) -> str:
    return content_hash([[p.id, p.text, p.heading] for p in passages])
