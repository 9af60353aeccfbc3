"""A checkpoint holds all that a run needs, is there whole or not at all, and is no pickle."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from gag.errors import RunError
from gag.training import checkpoint as module
from gag.training.checkpoint import RunState, load_checkpoint, restore_optimizer, save_checkpoint


def trained(steps: int) -> tuple[nn.Linear, torch.optim.AdamW]:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    train(layer, optimizer, range(steps))
    return layer, optimizer


def train(layer: nn.Linear, optimizer: torch.optim.AdamW, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        layer(torch.full((1, 3), 1.0 + step)).square().sum().backward()
        optimizer.step()


def save(path: Path, layer: nn.Linear, optimizer: torch.optim.AdamW, run: RunState | None = None) -> None:
    best = {"weight": torch.zeros(2, 3)}
    save_checkpoint(path, layer.state_dict(), best, optimizer, run or RunState())


def test_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    layer, optimizer = trained(3)
    save(tmp_path / "deep" / "c", layer, optimizer)
    train(layer, optimizer, range(3, 6))
    found = load_checkpoint(tmp_path / "deep" / "c")
    assert found is not None
    other, fresh = trained(0)
    other.load_state_dict(found.modules)
    restore_optimizer(fresh, found.moments)
    train(other, fresh, range(3, 6))
    assert torch.equal(other.weight, layer.weight) and torch.equal(other.bias, layer.bias)
    assert torch.equal(found.best["weight"], torch.zeros(2, 3))
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["c"]


@pytest.mark.parametrize(
    "run",
    [
        RunState(),
        RunState(5, [(1, 2.5), (2, 1 / 3)], [(2, 0.1)], 2, 0.1, True),
        RunState(1, [(1, float("nan"))], best_loss=float("inf")),
    ],
    ids=["fresh", "stopped", "not a number"],
)
def test_the_run_comes_back_exactly(tmp_path: Path, run: RunState) -> None:
    save(tmp_path / "c", *trained(1), run)
    found = load_checkpoint(tmp_path / "c")
    assert found is not None and repr(found.run) == repr(run)


def test_it_is_a_safetensors_file_and_no_pickle(tmp_path: Path) -> None:
    save(tmp_path / "c", *trained(1))
    start = (tmp_path / "c").read_bytes()[:9]
    assert start[8:] == b"{" and int.from_bytes(start[:8], "little") < 10_000


def test_where_there_is_none_or_a_damaged_one_the_run_starts_anew(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "none") is None
    save(tmp_path / "c", *trained(1))
    whole = (tmp_path / "c").read_bytes()
    for damaged in (b"", whole[:20], whole[:-1], b"\x80\x04" + whole):
        (tmp_path / "c").write_bytes(damaged)
        assert load_checkpoint(tmp_path / "c") is None
    module.save_file({"x": torch.zeros(1)}, tmp_path / "c")
    assert load_checkpoint(tmp_path / "c") is None


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("No space left")])
def test_a_full_disk_keeps_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    save(tmp_path / "c", *trained(1))
    before = (tmp_path / "c").read_bytes()

    def full(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(RunError, match="No space left"):
        save(tmp_path / "c", *trained(2))
    assert (tmp_path / "c").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
