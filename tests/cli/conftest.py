"""A workspace with tiny models, made and built once through the command line, and `gag` called in this process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gag.cli.entry import run
from gag.testing import write_tiny_encoder, write_tiny_model

CHOICES = {
    "models.base.source": "../base",
    "models.expert.source": "../expert",
    "models.encoder.source": "../encoder",
    "models.base.dtype": "float32",
    "models.expert.dtype": "float32",
    "expert.epochs": "1",
    "expert.lora_rank": "2",
    "readout.pooling": "segment_mean",
    "readout.layers": "[-2]",
    "readout.slots": "2",
    "readout.max_new_tokens": "4",
    "projector.kind": "mlp",
    "projector.pretrain_pairs": "0",
    "projector.warm_start": "none",
    "alignment.counterfactual": "0",
    "alignment.max_steps": "2",
    "alignment.dev_share": "0.25",
    "generation.max_new_tokens": "6",
    "router.general_questions": "../general.jsonl",
}


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its result."""
        return json.loads(self.out)

    @property
    def error(self) -> list[str]:
        """Its error: two lines, of which the first says what and the second what to do."""
        assert "Traceback" not in self.err
        lines = self.err.splitlines()[-2:]
        assert len(lines) == 2, self.err
        assert lines[0].startswith("error: "), self.err
        assert lines[1].startswith("  ") and lines[1].strip(), self.err
        return lines


def call(*arguments: str | Path, cwd: Path | None = None, typed: str = "") -> Ran:
    """Run `gag` in this process, with `typed` on stdin."""
    out, err = io.StringIO(), io.StringIO()
    before, stdin = Path.cwd(), sys.stdin
    sys.stdin = io.StringIO(typed)
    try:
        os.chdir(cwd or before)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run([str(argument) for argument in arguments])
    finally:
        sys.stdin = stdin
        os.chdir(before)
    return Ran(code, out.getvalue(), err.getvalue())


def write_questions(path: Path, texts: Sequence[str], **more: str) -> Path:
    """A JSONL of questions and answers."""
    rows = [
        {"id": f"q{number}", "question": text, "answers": [f"it is {number}"], **more}
        for number, text in enumerate(texts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def gag() -> Callable[..., Ran]:
    """`gag("ask", "…", cwd=folder)` runs the command in this process."""
    return call


@pytest.fixture
def questions() -> Callable[..., Path]:
    """`questions(path, texts, domain=…)` writes a JSONL file."""
    return write_questions


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder `lab` of a workspace with the domain `adjuvant`, beside its models and data; not to be changed."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAG_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name in ("GAG_WORKSPACE", "GAG_DEBUG", "RANK"):
            patch.delenv(name, raising=False)
        write_tiny_model(home / "base", seed=1)
        write_tiny_model(home / "expert", seed=2)
        write_tiny_encoder(home / "encoder")
        write_questions(home / "qa.jsonl", [f"what does adjuvant {number} bind?" for number in range(8)])
        write_questions(home / "general.jsonl", ["who wrote it?", "where is the river?"])
        settings = [part for key, value in CHOICES.items() for part in ("--set", f"{key}={value}")]
        made = call("init", "lab", *settings, cwd=home)
        assert made.code == 0, made.err
        done = call("build", "adjuvant", "--qa", "../qa.jsonl", "--json", cwd=home / "lab")
        assert done.code == 0, done.err
        yield home / "lab"


@pytest.fixture
def lab(built: Path, tmp_path: Path) -> Path:
    """A copy of the workspace, to change."""
    shutil.copytree(built.parent, tmp_path / "home")
    return tmp_path / "home" / "lab"
