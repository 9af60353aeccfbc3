"""`gag doctor`: the machine, the models, what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Gag = Callable[..., Any]


def test_the_models_of_a_workspace(built: Path, gag: Gag) -> None:
    ran = gag("doctor", "--json", cwd=built)
    assert ran.code == 0, ran.err
    report = ran.json
    assert set(report) == {"workspace", "machine", "packages", "models", "extras"}
    assert report["workspace"] == str(built)
    assert report["packages"]["torch"]
    assert "GFLOP/s" in report["machine"]["dtype"] or report["machine"]["gpu"]
    base, encoder = report["models"]["base"], report["models"]["encoder"]
    assert base["kind"] == "LlamaForCausalLM"
    assert (base["chat_template"], base["thinking_switch"], base["turn_end"]) == (True, False, "<|im_end|>")
    assert base["dtype"] == "float32" and base["seconds"] >= 0
    assert encoder["kind"] == "BertModel" and "chat_template" not in encoder
    text = gag("doctor", cwd=built)
    assert text.code == 0
    for word in ("LlamaForCausalLM", "turn ends with <|im_end|>", "memory", "disk", "cache"):
        assert word in text.out


def test_a_model_that_does_not_load(built: Path, gag: Gag) -> None:
    ran = gag("doctor", "--set", "models.expert.source=./nowhere", cwd=built)
    assert ran.code == 1
    assert "does not load" in ran.out
    assert "expert: The model ./nowhere is not there" in ran.err


def test_without_a_workspace_the_defaults_are_tried(built: Path, tmp_path: Path, gag: Gag) -> None:
    home = built.parent
    models = [f"models.{role}.source={home / role}" for role in ("base", "expert", "encoder")]
    ran = gag("doctor", *[part for model in models for part in ("--set", model)], cwd=tmp_path)
    assert ran.code == 0
    assert "none here" in ran.out


def test_missing_extras_come_with_their_command(built: Path, gag: Gag, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda name: ['no-such-package>=1; extra == "eval"'])
    ran = gag("doctor", cwd=built)
    assert ran.code == 0
    assert 'extra [eval]: no-such-package not installed; pip install "gag[eval]"' in ran.err
