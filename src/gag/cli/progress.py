"""How far long work is, on stderr: bars on a terminal, throttled plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from gag.cli.output import is_main_process, notes
from gag.progress import Progress, silent

LINE_SECONDS = 10.0
"""At most one plain line in so many seconds within a step."""

STEP_WIDTH = 10


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """A Progress that shows itself; under several processes only the main one speaks."""
    if not is_main_process():
        yield silent
        return
    console = notes()
    if not console.is_terminal:
        yield Lines(console)
        return
    bars = Bars(console)
    try:
        yield bars
    finally:
        bars.stop()


class Lines:
    """`12:03:11 expert 120/312 loss 0.412`: a step's first and last line, and one now and then between."""

    def __init__(self, console: Console, every: float = LINE_SECONDS) -> None:
        self._console, self._every = console, every
        self._step, self._last = "", 0.0

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None:
        """Say it, unless something was said a moment ago."""
        now = time.monotonic()
        if step == self._step and done < total and now - self._last < self._every:
            return
        self._step, self._last = step, now
        count = "" if total == 1 and note else f" {done}/{total}"
        line = f"{time.strftime('%H:%M:%S')} {step}{count}{' ' if note else ''}{note}"
        self._console.print(Text(line), soft_wrap=True)


class Bars:
    """One bar a step, left standing when the step is done; nothing moves between steps, where models load."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._step, self._bar = "", _bar(console)
        self._task: TaskID | None = None

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None:
        """Move the step's bar, or show a step of one part as a line."""
        if step != self._step:
            self.stop()
            self._step = step
        if total == 1 and self._task is None:
            self._console.print(Text(f"{step:<{STEP_WIDTH}} {note or 'done'}"), soft_wrap=True)
            return
        if self._task is None:
            self._bar = _bar(self._console)
            self._task = self._bar.add_task(f"{step:<{STEP_WIDTH}}", total=total, note=note)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total, note=note)
        if done >= total:
            self.stop()

    def stop(self) -> None:
        """Let the bar stand as it is."""
        if self._task is not None:
            self._bar.stop()
        self._step, self._task = "", None


def _bar(console: Console) -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        redirect_stdout=False,
        redirect_stderr=False,
    )
