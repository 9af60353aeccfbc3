"""A workspace with tiny models whose domain `mill` was built from documents, and documents that it does not know."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gag.corpus.ingest.ingest import Ingest
from gag.corpus.synthesis.domain_pairs import keep_pairs, synthesis_task
from gag.corpus.synthesis.synthesis import Synthesis
from gag.pipeline import Build
from gag.testing import write_tiny_encoder, write_tiny_model
from gag.updating.update import Named, Update, Updated
from gag.workspace import Workspace, open_workspace

OLD = ("Plovert", "Tarvik", "Zemmel", "Orlat", "Vesk", "Mirrow", "Dunnel")
NEW = ("Quassel", "Brondle", "Hespin", "Lorrip")
TREE: dict[str, Any] = {
    "models": {role: {"source": f"../{role}", "dtype": "float32"} for role in ("base", "expert", "encoder")},
    "expert": {"epochs": 1, "lora_rank": 2, "batch_size": 8, "learning_rate": 5e-3},
    "readout": {"pooling": "segment_mean", "slots": 2, "max_new_tokens": 3},
    "alignment": {"epochs": 8, "batch_size": 16, "learning_rate": 1e-2, "dev_share": 0.0},
    "generation": {"max_new_tokens": 4},
    "router": {"prototypes": 3, "general_questions": "../general.jsonl"},
    "synthesis": {"test_share": 0.15, "per_passage": 4, "wordings": 2},
    "update": {"projector": "train", "projector_epochs": 12, "max_loss": 0.5, "held_share": 0.5},
}

Taken = Callable[..., Updated]


def document(number: int, name: str) -> dict[str, str]:
    text = (
        f"{name} has a flow rate of {number + 3} ml. The shell of {name} is made from {name}ite tin. "
        f"{name} was built in {number + 40} days by hand."
    )
    return {"id": name, "title": f"{name}, a machine", "text": text}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAG_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models and `lab`, in which `mill` is built; nobody changes it."""
    home = tmp_path_factory.mktemp("home")
    write_tiny_model(home / "base", "qwen2", seed=1)
    write_tiny_model(home / "expert", "llama", seed=2)
    write_tiny_encoder(home / "encoder")
    write(home / "general.jsonl", [{"id": f"g{n}", "question": f"Who was {n}?"} for n in range(4)])
    lab = home / "lab"
    lab.mkdir()
    (lab / "gag.yaml").write_text(yaml.safe_dump(TREE), "utf-8")
    write(lab / "old.jsonl", [document(n, name) for n, name in enumerate(OLD)])
    write(lab / "new.jsonl", [document(n + 20, name) for n, name in enumerate(NEW)])
    place = open_workspace(lab)
    Ingest(place, "mill").run([lab / "old.jsonl"])
    task = synthesis_task(place, "mill", place.config.synthesis)
    keep_pairs(place, "mill", Synthesis(task, None).run(), task)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # raised inside peft
        Build(place, "mill").run(Build.module)
    return home


@pytest.fixture
def lab(home: Path, tmp_path: Path) -> Path:
    """A copy of the workspace, beside which the models are links."""
    shutil.copytree(home / "lab", tmp_path / "lab")
    for name in ("base", "expert", "encoder", "general.jsonl"):
        (tmp_path / name).symlink_to(home / name)
    return tmp_path / "lab"


@pytest.fixture
def place(lab: Path) -> Workspace:
    return open_workspace(lab)


@pytest.fixture
def take(lab: Path) -> Taken:
    """Update `mill` with these paths and choices."""

    def update(*paths: str, force: bool = False, choices: tuple[str, ...] = (), **named: Any) -> Updated:
        place = open_workspace(lab, overrides=choices)
        return Update(place, "mill", Named(tuple(lab / path for path in paths), **named)).run(force=force)

    return update
