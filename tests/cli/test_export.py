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
    own = "domains.adjuvant.settings={expert: {lora_rank: 3}, prompts: {expert_system: 'You know binders.'}}"
    command = ("export", "llamafactory", "adjuvant", "--qa", "../qa.jsonl", "--out", tmp_path / "own", "--json")
    row = gag(*command, "--set", own, cwd=built).json
    assert yaml.safe_load(Path(row["recipe"]).read_text())["lora_rank"] == 3
    assert "You know binders." in Path(row["data"]).read_text()
