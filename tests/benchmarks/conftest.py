"""Tiny models in a folder, and the choices under which a benchmark trains on them in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from gag.testing import write_tiny_encoder, write_tiny_model

CHOICES = (
    "models.base.source=base",
    "models.expert.source=base",
    "models.encoder.source=encoder",
    "models.base.dtype=float32",
    "models.expert.dtype=float32",
    "expert.epochs=1",
    "expert.lora_rank=2",
    "readout.layers=[-1]",
    "readout.max_new_tokens=4",
    "generation.max_new_tokens=4",
    "projector.pretrain_pairs=0",
    "projector.pretrain_lengths=[]",
    "projector.hidden=16",
    "alignment.counterfactual=0",
)


@pytest.fixture
def tiny() -> list[str]:
    """Choices for `--set`."""
    return list(CHOICES)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tiny models, and a cache of its own."""
    write_tiny_model(tmp_path / "base", "qwen2", seed=1)
    write_tiny_encoder(tmp_path / "encoder")
    monkeypatch.setenv("GAG_CACHE", str(tmp_path / "cache"))
    return tmp_path
