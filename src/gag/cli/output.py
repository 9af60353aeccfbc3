"""Where the command line speaks: results on stdout, notes, progress and errors on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 200
"""Columns where stdout is no terminal, so that a table's cells stay on one line."""


def is_main_process() -> bool:
    """Whether this is the only process, or the first one under `accelerate launch`."""
    return os.environ.get("RANK", "0") == "0"


def results() -> Console:
    """The console for results."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, soft_wrap=False)


def notes() -> Console:
    """The console for everything that is not a result."""
    return Console(stderr=True, highlight=False)


def write_json(value: Any) -> None:
    """One JSON value on stdout, on one line."""
    if is_main_process():
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def write_text(text: str) -> None:
    """Plain text on stdout as it stands."""
    if is_main_process():
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def write_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> None:
    """A table on stdout; `numbers` are the columns set flush right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if position in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    results().print(table)


def note(text: str) -> None:
    """One line that is not a result."""
    if is_main_process():
        notes().print(Text(text, style="dim"), soft_wrap=True)


def warn(text: str) -> None:
    """One line about something that was left out or does not work."""
    if is_main_process():
        notes().print(Text(text, style="yellow"), soft_wrap=True)


def say_error(message: str, hint: str) -> None:
    """Two lines: what is wrong and where, and what to do."""
    rank = os.environ.get("RANK", "0")
    who = "" if is_main_process() else f"process {rank}: "
    console = notes()
    console.print(
        Text(f"{who}error: ", style="bold red").append(_line(message), style="not bold default"), soft_wrap=True
    )
    console.print(Text(f"  {_line(hint)}"), soft_wrap=True)


def say_interrupted() -> None:
    """One line after Ctrl-C."""
    if is_main_process():
        notes().print(Text("interrupted: the same command goes on from where it was"), soft_wrap=True)


def _line(text: str) -> str:
    return " ".join(text.split())
