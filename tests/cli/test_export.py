"""`gag export llamafactory`: what to train elsewhere, and the command that takes the result in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Gag = Callable[..., Any]


def test_export(built: Path, tmp_path: Path, gag: Gag) -> None:
    command = ("export", "llamafactory", "adjuvant", "--qa", "../qa.jsonl", "--out")
    ran = gag(*command, tmp_path / "text", cwd=built)
    assert ran.code == 0, ran.err
    assert "llamafactory-cli train sft.yaml" in ran.out
    assert f"--expert {tmp_path / 'text' / 'expert'}" in ran.out
    row = gag(*command, tmp_path / "json", "--json", cwd=built).json
    assert row["questions"] == 8
    assert yaml.safe_load(Path(row["recipe"]).read_text())["model_name_or_path"] == str(built.parent / "expert")


def test_a_domains_own_choices_are_exported(built: Path, tmp_path: Path, gag: Gag) -> None:
    expert = "{lora_rank: 3, batch_size: 2, learning_rate: 4e-3, full_rate_steps: 1}"
    own = f"domains.adjuvant.settings={{expert: {expert}, prompts: {{expert_system: 'You know binders.'}}}}"
    command = ("export", "llamafactory", "adjuvant", "--qa", "../qa.jsonl", "--out", tmp_path / "own", "--json")
    row = gag(*command, "--set", own, cwd=built).json
    recipe = yaml.safe_load(Path(row["recipe"]).read_text())
    steps = -(-row["questions"] // recipe["per_device_train_batch_size"]) * recipe["num_train_epochs"]
    assert recipe["lora_rank"] == 3
    assert steps > 1 and recipe["learning_rate"] == float(f"{4e-3 * steps**-0.5:.0e}")
    assert "You know binders." in Path(row["data"]).read_text()
