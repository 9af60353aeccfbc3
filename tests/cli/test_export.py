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
