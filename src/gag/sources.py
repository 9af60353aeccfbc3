"""What a build is made from: files named in a command or in gag.yaml, and what `gag synth` made, read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from gag.config import DomainConfig
from gag.corpus.synthesis.review import is_said
from gag.corpus.synthesis.splits import FILE as SPLITS
from gag.corpus.synthesis.splits import QA, kept_sides, training_pairs
from gag.errors import ConfigError, InputError
from gag.records import Document, Question, pair_mark, read_documents, read_passages, read_questions
from gag.workspace import Workspace


@dataclass(frozen=True)
class Sources:
    """What a build is made from; what is None comes from the domain's section of gag.yaml."""

    qa: Path | None = None
    align_qa: Path | None = None
    documents: Path | None = None
    expert: str | None = None
    pairs: tuple[Question, ...] | None = None
    """Pairs that are read already, in the place of any file of pairs."""


@dataclass
class Material:
    """The pairs and documents of one domain; `sources` come before what gag.yaml says."""

    workspace: Workspace
    name: str
    sources: Sources = field(default_factory=Sources)

    @cached_property
    def questions(self) -> list[Question]:
        """The pairs that the expert learns; raises InputError where there are none."""
        if self.sources.pairs is not None:
            return list(self.sources.pairs)
        return training_pairs(self._pairs, self.workspace.data(self.name) / QA)

    @cached_property
    def held(self) -> list[Question]:
        """The pairs beside them that are kept for testing."""
        everything = self.questions if self.sources.pairs is not None else read_questions(self._pairs)
        learnt = {question.id for question in self.questions}
        return [question for question in everything if question.id not in learnt]

    def check_passages(self) -> None:
        """Raise InputError where pairs that synth wrote are about passages that are gone or say something else now.

        What was taken out of the documents would be learnt again.
        """
        made = self.workspace.data(self.name) / QA
        if self.sources.pairs is not None or self._pairs.resolve() != made.resolve():
            return
        path, _ = self.workspace.passage_files(self.name)
        if path is None:
            return
        passages = read_passages(path) if path.stat().st_size else []  # empty where every document was taken out
        texts = {passage.id: passage.text for passage in passages}
        stale = [question for question in self.questions if not is_said(question, texts)]
        if stale:
            raise InputError(
                f"{len(stale)} of {len(self.questions)} pairs in {made} are about passages that are gone or changed "
                f"({stale[0].id} is one).",
                f"Make the pairs anew, which drops these: gag synth {self.name}",
            )

    @property
    def marks(self) -> dict[str, list[str]]:
        """What the expert learns and what is kept from it, by `pair_mark`: what an update takes for known."""
        both = {"trained": self.questions, "held": self.held}
        return {side: sorted(map(pair_mark, questions)) for side, questions in both.items()}

    @cached_property
    def align_questions(self) -> list[Question]:
        """The pairs that the projector learns: those of `align_qa`, else all."""
        path = self._file(self.sources.align_qa, self._domain.align_qa)
        return (
            self.questions
            if path is None or self.sources.pairs is not None
            else training_pairs(path, self.workspace.data(self.name) / QA)
        )

    @property
    def all_pairs(self) -> list[Question]:
        """What expert or projector learns: all that another method may learn to be compared fairly."""
        learnt = {pair_mark(question) for question in self.questions}
        return [*self.questions, *(q for q in self.align_questions if pair_mark(q) not in learnt)]

    @cached_property
    def documents(self) -> list[Document]:
        """The plain documents of continued pretraining; none where there is no such pretraining."""
        path = self._file(self.sources.documents, self._domain.documents)
        if path is None and (ingested := self.workspace.data(self.name) / "documents.jsonl").is_file():
            return self._ingested(ingested) if self.workspace.config.expert.pretrain_epochs else []
        if path is None:
            if self.workspace.config.expert.pretrain_epochs and self.sources.expert is None:
                raise ConfigError(
                    f"expert.pretrain_epochs is set, but the domain {self.name} has no documents.",
                    f"Name them with --documents FILE.jsonl or domains.{self.name}.documents, bring them in with "
                    f"gag ingest {self.name} FOLDER, or set it to 0.",
                )
            return []
        return read_documents(path) if self.workspace.config.expert.pretrain_epochs else []

    def _ingested(self, path: Path) -> list[Document]:
        """The documents that ingest brought in, but those whose pairs are kept for testing."""
        config = self.workspace.config.synthesis
        sides = kept_sides(self.workspace.data(self.name) / SPLITS, config.test_share, config.seed)
        return [document for document in read_documents(path) if sides.get(document.id) != "test"]

    @property
    def _pairs(self) -> Path:
        path = self.sources.qa or self.workspace.qa(self.name)
        if path is None:
            raise no_pairs(self.workspace, self.name)
        return path

    @property
    def _domain(self) -> DomainConfig:
        return self.workspace.domain(self.name)

    def _file(self, given: Path | None, configured: str | None) -> Path | None:
        if given is not None:
            return given
        return None if configured is None else self.workspace.path(configured)


def no_pairs(workspace: Workspace, name: str) -> InputError:
    """The error of a domain without pairs: what to run, from where the domain stands."""
    message = f"The domain {name} has no question-answer pairs."
    if (workspace.data(name) / "passages.jsonl").is_file() or workspace.domain(name).passages:
        return InputError(message, f"Make them from its passages: gag synth {name}; or name some: --qa FILE.jsonl")
    made = f"gag ingest {name} FOLDER, then gag synth {name}"
    return InputError(
        message,
        f"Make them from documents: {made}; or name them: gag build {name} --qa FILE.jsonl (domains.{name}.qa).",
    )
