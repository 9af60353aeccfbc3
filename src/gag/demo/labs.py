"""The two labs as data: documents, training pairs, and test questions worded as never seen in training.

Three wordings of every fact are for training and a fourth for the test. Facts marked `projector: false` are learned by
the expert, but no question about them ever trains the projector: on those, what comes through the token was read out
of the expert, not learned by the projector.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from gag.records import Document, Question, read_documents, read_questions, write_jsonl

LABS = {"adjuvant": "vaccine adjuvants", "materials": "catalyst materials"}
"""The labs' names and fields."""


@dataclass(frozen=True)
class Lab:
    """One lab's data."""

    name: str
    field: str
    documents: list[Document]
    train: list[Question]
    test: list[Question]

    @property
    def align(self) -> list[Question]:
        """The training pairs that the projector may see."""
        return [q for q in self.train if seen_by_projector(q)]

    def first(self, count: int) -> Lab:
        """This lab with its first `count` documents and the questions about them."""
        kept = {document.id for document in self.documents[:count]}
        return replace(
            self,
            documents=self.documents[:count],
            train=[q for q in self.train if q.meta["document"] in kept],
            test=[q for q in self.test if q.meta["document"] in kept],
        )

    def write(self, folder: Path) -> None:
        """documents, train, align and test as JSONL files in `folder`."""
        for name in ("documents", "train", "align", "test"):
            write_jsonl(folder / f"{name}.jsonl", getattr(self, name))


def load_lab(name: str) -> Lab:
    """A lab of the package."""
    with resources.as_file(resources.files("gag") / "demo" / "labs" / name) as folder:
        return Lab(
            name,
            LABS[name],
            read_documents(folder / "documents.jsonl"),
            read_questions(folder / "train.jsonl", require_answers=True),
            read_questions(folder / "test.jsonl", require_answers=True),
        )


def general_sample(count: int) -> list[Question]:
    """The first `count` general questions of the package that have an answer."""
    with resources.as_file(resources.files("gag") / "demo" / "general.jsonl") as path:
        return [q for q in read_questions(path) if q.answers][:count]


def seen_by_projector(question: Question) -> bool:
    """Whether the projector learned from questions about this fact."""
    return bool(question.meta["projector"])
