"""The loss curve is a whole PNG or none."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from gag.errors import RunError
from gag.training.checkpoint import RunState
from gag.training.curve import draw_losses

RUNS = {
    "both": RunState(3, [(1, 3.0), (2, 2.0), (3, 1.5)], [(2, 2.5), (3, 2.6)], 2, 2.5),
    "training": RunState(2, [(1, 3.0), (2, 2.0)]),
    "nothing": RunState(),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_picture(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[list[str]] = []
    original = Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda self, *a, **k: (
            shown.append([str(line.get_label()) for line in self.axes[0].lines]),
            original(self, *a, **k),
        )[1],
    )
    draw_losses(RUNS[name], tmp_path / "new" / "loss.png", title="adjuvant: alignment")
    data = (tmp_path / "new" / "loss.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n") and data.rstrip().endswith(b"IEND\xaeB`\x82")
    assert shown == [{"both": ["training", "dev", "best step 2"], "training": ["training"], "nothing": []}[name]]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["loss.png"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(RunError, match="No space left"):
        draw_losses(RUNS["both"], tmp_path / "loss.png", title="x")
    assert list(tmp_path.iterdir()) == []
