"""Progress: throttled lines, bars that stand, silence of the other processes."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from gag.cli import progress
from gag.cli.progress import Bars, Lines, shown_progress
from gag.progress import silent


def test_lines_are_throttled_within_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    screen = io.StringIO()
    lines = Lines(Console(file=screen), every=10)
    for step in range(1, 31):
        lines("expert", step, 30, f"loss {step}")
        clock[0] += 1
    lines("states", 1, 1, "kept")
    lines("prototypes", 1, 1)
    shown = [line.split(" ", 1) for line in screen.getvalue().splitlines()]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d", clock) for clock, _ in shown)
    assert [text for _, text in shown] == [
        "expert 1/30 loss 1",
        "expert 11/30 loss 11",
        "expert 21/30 loss 21",
        "expert 30/30 loss 30",
        "states kept",
        "prototypes 1/1",
    ]


def test_bars_stand_when_their_step_is_done() -> None:
    screen = io.StringIO()
    bars = Bars(Console(file=screen, force_terminal=True, width=100, color_system=None))
    bars("expert", 1, 1, "kept")
    bars("states", 2, 8, "[4] tokens")
    bars("states", 8, 8, "[4] tokens")
    bars("projector", 1, 9, "loss 0.4")
    bars.stop()
    shown = screen.getvalue()
    assert "expert     kept" in shown
    assert "8/8" in shown and "[4] tokens" in shown
    assert "1/9" in shown and "loss 0.4" in shown


def test_only_the_main_process_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with shown_progress() as on_progress:
        assert on_progress is silent
    monkeypatch.setenv("RANK", "0")
    with shown_progress() as on_progress:
        assert isinstance(on_progress, Lines)
