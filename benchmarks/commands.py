"""`gag` commands as a user runs them, each once in its workspace, and what they took."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gag.atomic import new_file

Run = Callable[[Sequence[str]], tuple[int, str]]
"""Runs `gag` with these arguments: its exit code and standard output."""


@dataclass(frozen=True)
class Ran:
    """What a command did: its exit code, its JSON, seconds by the clock and of the processor; None where unknown."""

    code: int
    found: Any
    seconds: float | None
    processor: float | None


class Commands:
    """`gag` commands in a workspace, each run once; what each did is kept in commands.json."""

    def __init__(self, root: Path, run: Run) -> None:
        self.root, self.run = root, run
        self._path = root / "commands.json"
        self._kept: dict[str, Any] = json.loads(self._path.read_text("utf-8")) if self._path.is_file() else {}

    def __call__(self, *arguments: str | Path, codes: Sequence[int] = (0,)) -> Ran:
        """Run `gag ARGUMENTS --json` here, unless it was; raises RuntimeError for an exit code not among `codes`."""
        given = [*map(str, arguments), "--json", "--workspace", str(self.root)]
        key = " ".join(map(str, arguments))
        if self._kept.get(key):
            return Ran(**self._kept[key])
        again = key in self._kept
        self._keep(key, None)
        said(f"gag {key}")
        before, started = processor_seconds(), time.perf_counter()
        code, out = self.run(given)
        seconds, processor = time.perf_counter() - started, processor_seconds() - before
        if code not in codes:
            raise RuntimeError(f"gag {key}: exit code {code}")
        found = json.loads(out) if out.strip() else None
        ran = Ran(code, found, None if again else seconds, None if again else processor)
        self._keep(key, asdict(ran))
        return ran

    def _keep(self, key: str, ran: dict[str, Any] | None) -> None:
        self._kept[key] = ran
        with new_file(self._path) as partial:
            partial.write_text(json.dumps(self._kept, ensure_ascii=False, indent=1) + "\n", "utf-8")


def in_a_process(arguments: Sequence[str]) -> tuple[int, str]:
    """Exit code and standard output of `gag` in a process of its own; what it says beside that goes through."""
    ran = subprocess.run([sys.executable, "-m", "gag.cli", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    return ran.returncode, ran.stdout


def processor_seconds() -> float:
    """Seconds of the processor that ended child processes took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def said(text: str) -> None:
    """Print at once, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
