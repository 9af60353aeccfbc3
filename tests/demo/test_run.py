"""`gag demo` from its first step to its last, on tiny random models: what it builds, shows and leaves behind."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gag.config import Config, load_config
from gag.demo import run as demo
from gag.domain import list_modules
from gag.testing import write_tiny_workspace

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft


MODELS = {"base": "base", "expert": "small", "encoder": "encoder"}


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo with tiny models in place of its preset's, and with little of each lab."""
    models = write_tiny_workspace(tmp_path / "models", generation={"max_new_tokens": 3}, alignment={"max_steps": 2})
    sources = [f"models.{role}.source={models / name}" for role, name in MODELS.items()]

    def chosen(path: Path | None = None, *, preset: str | None = None, overrides: Any = ()) -> Config:
        if path is not None:
            return load_config(path)
        assert preset == "demo"
        return load_config(models / "gag.yaml", overrides=[*sources, "router.general_questions=null", *overrides])

    monkeypatch.setenv("GAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(demo, "load_config", chosen)
    for name, value in {"FAST_DOCUMENTS": 2, "FAST_QUESTIONS": 4}.items():
        monkeypatch.setattr(demo, name, value)


def test_the_demo_runs_to_its_end_and_goes_on_from_what_is_there(tiny: None, tmp_path: Path) -> None:
    said, place = io.StringIO(), tmp_path / "demo"
    rows = demo.Demo(place, Console(file=said, width=160), fast=True).run()
    text = said.getvalue()
    assert "as never seen in training" in text and "bit for bit what they were" in text
    assert "questions exactly as before" in text
    assert {listed.folder.name for listed in list_modules(place / "modules")} == {"adjuvant", "materials"}
    written = json.loads((place / "results.json").read_text("utf-8"))
    assert len(written) == len(rows)
    assert {"method", "domain", "metric", "value", "ci_low", "ci_high", "n"} <= set(written[0])
    for name in ("adjuvant", "materials"):
        there = {(row["method"], row["metric"]) for row in written if row["domain"] == name}
        wanted = {"nll", "fact_recall", "token_f1", "added_tokens", "seconds"}
        assert {(m, k) for m in ("base", "constant", "egc", "gag-oracle", "gag") for k in wanted} <= there
    told: list[tuple[str, str]] = []

    def heard(step: str, done: int, total: int, note: str = "") -> None:
        told.append((step, note))

    demo.Demo(place, Console(file=io.StringIO()), fast=True, on_progress=heard).run()
    assert {note for step, note in told if step in ("expert", "states", "projector", "module")} == {"kept"}
