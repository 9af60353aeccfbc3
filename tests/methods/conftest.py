"""A workspace of tiny models with one domain built and one that is not; a passage store that is a list."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gag.models.base import Base
from gag.pipeline import Build
from gag.records import Passage, write_jsonl
from gag.retrieval.store import Hit
from gag.testing import byte_tokenizer, tiny_causal_lm, write_tiny_workspace
from gag.workspace import open_workspace

SECTIONS: dict[str, Any] = {
    "xrag": {"pretrain_epochs": 1, "epochs": 1, "pretrain_tokens": 12},
    "lora": {"epochs": 2, "batch_size": 4, "rank": 2, "alpha": 4, "learning_rate": 1e-2},
    "corpus": {"chunk_tokens": 64},
    "generation": {"max_new_tokens": 4},
    "domains": {
        "alloys": {"qa": "qa.jsonl", "align_qa": "align.jsonl", "documents": "documents.jsonl"},
        "polymers": {"qa": "more.jsonl"},
    },
}


def pairs(count: int, what: str, **more: str) -> list[dict[str, Any]]:
    return [{"id": f"{what}{n}", "question": f"{what} {n}?", "answers": [f"a{n % 4}"], **more} for n in range(count)]


def documents(what: str) -> list[dict[str, str]]:
    return [{"id": f"{what}{n}", "text": f"The {what} {n} is made of a{n % 4}. " * 3} for n in range(5)]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The workspace with `alloys` built; not to be changed."""
    root = write_tiny_workspace(tmp_path_factory.mktemp("methods") / "w", **SECTIONS)
    write_jsonl(root / "qa.jsonl", pairs(8, "alloy"))
    write_jsonl(root / "align.jsonl", [row for row in pairs(8, "alloy") if row["answers"] != ["a3"]])
    write_jsonl(root / "more.jsonl", pairs(7, "polymer"))
    write_jsonl(root / "general.jsonl", pairs(3, "who"))
    write_jsonl(root / "documents.jsonl", documents("alloy"))
    write_jsonl(root / "data" / "polymers" / "documents.jsonl", documents("polymer"))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)  # inside peft
        patch.setenv("GAG_CACHE", str(tmp_path_factory.mktemp("cache")))
        Build(open_workspace(root), "alloys").run(Build.module)
        yield root


@pytest.fixture
def lab(built: Path, tmp_path: Path) -> Path:
    """A copy of the workspace, to change."""
    shutil.copytree(built, tmp_path / "w")
    return tmp_path / "w"


@pytest.fixture(scope="session")
def base() -> Base:
    """A tiny base that holds 400 tokens."""
    return Base(tiny_causal_lm("llama", max_positions=400), byte_tokenizer(), source="t", fingerprint="f" * 64)


class ListStore:
    """Passages in the order of a list, whatever is asked; vectors that say which passage they are of."""

    def __init__(self, texts: Sequence[str], width: int = 8) -> None:
        self.held = [Passage(f"p{n}", f"d{n}", text) for n, text in enumerate(texts)]
        self.width = width
        self.asked: list[str] = []

    def search(self, questions: Sequence[str], k: int) -> list[list[Hit]]:
        self.asked += list(questions)
        return [[Hit(passage, 1.0 - n / 10) for n, passage in enumerate(self.held[:k])] for _ in questions]

    def get(self, passage_id: str) -> Passage:
        return next(passage for passage in self.held if passage.id == passage_id)

    def vector(self, passage_id: str) -> Tensor:
        return torch.full((self.width,), float(passage_id[1:]) + 1)


class Told(list[tuple[str, int, int, str]]):
    """Progress calls; raises at the first one of step `at`."""

    def __init__(self, at: str = "") -> None:
        self.at = at

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None:
        self.append((step, done, total, note))
        if step == self.at:
            raise KeyboardInterrupt

    @property
    def worked(self) -> set[str]:
        """Steps that did something."""
        return {step for step, _, _, note in self if note != "kept"}
