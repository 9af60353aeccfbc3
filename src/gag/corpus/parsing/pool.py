"""Workers that parse side by side, each with a limit of time and memory; one that breaks it is ended and replaced."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from gag.corpus.parsing.blocks import Parsed
from gag.corpus.parsing.errors import ParseError
from gag.corpus.parsing.outside import OFFLINE
from gag.corpus.parsing.parse import Kind, ParseOptions

GLANCE = 0.2
"""Seconds between two looks at a worker's time and size."""


@dataclass(frozen=True)
class Limits:
    """Seconds a file may take, and gigabytes the process that reads it."""

    seconds: float
    gigabytes: float


PROGRAM = (sys.executable, "-m", "gag.corpus.parsing.worker")


class Worker:
    """One process that runs `program`; started at its first file."""

    def __init__(self, limits: Limits, program: Sequence[str] = PROGRAM) -> None:
        self._limits, self._program = limits, program
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()
        self._closed = False
        self._starting = threading.Lock()

    def parse(self, path: Path, kind: Kind, options: ParseOptions) -> Parsed:
        """The file's blocks; raises ParseError for what the parser says and for a limit that was broken."""
        process = self._process
        if process is None or process.poll() is not None:
            process = self._start()
        assert process.stdin is not None
        request = {"path": str(path.absolute()), "kind": kind, "options": options.to_json()}
        with suppress(OSError, ValueError):  # a worker that died or was closed says so below
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        answer = json.loads(self._wait(process))
        if "reason" in answer:
            if "memory" in answer["reason"]:
                self.stop()  # what it holds is not given back
            raise ParseError(answer["reason"], scanned=bool(answer.get("scanned")))
        return Parsed.from_json(answer["parsed"])

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        if hasattr(os, "killpg"):  # with what it started itself, as mineru
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):
                if stream is not None:
                    stream.close()

    def close(self) -> None:
        """End the process for good: no file that still waits starts another."""
        with self._starting:
            self._closed = True
        self.stop()

    def _start(self) -> subprocess.Popen[str]:
        self.stop()
        self._answers = queue.Queue()
        with self._starting:
            if self._closed:
                raise ParseError("not read: reading was ended before it")
            process = self._process = subprocess.Popen(
                [*self._program, str(self._limits.gigabytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, **OFFLINE, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )
        assert process.stdout is not None
        threading.Thread(target=_listen, args=(process.stdout, self._answers), daemon=True).start()
        return process

    def _wait(self, process: subprocess.Popen[str]) -> str:
        """The next answer; ends the process and raises ParseError where a limit is broken."""
        until = time.monotonic() + self._limits.seconds
        while True:
            try:
                line = self._answers.get(timeout=GLANCE)
            except queue.Empty:
                if time.monotonic() > until:
                    self.stop()
                    seconds = f"{self._limits.seconds:g} s (corpus.parse_seconds)"
                    raise ParseError(f"its parser was not done after {seconds}") from None
                if _size(process.pid) > self._limits.gigabytes:
                    self.stop()
                    raise ParseError("needs more memory than corpus.parse_memory_gb") from None
                continue
            if line:
                return line
            self.stop()
            raise ParseError("its parser crashed: damaged, or made to harm")


class Pool:
    """As many workers as asked for; results come in the order of the files, however long each takes."""

    def __init__(self, count: int, limits: Limits, program: Sequence[str] = PROGRAM) -> None:
        self._workers = [Worker(limits, program) for _ in range(max(1, count))]
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.close()

    def map(self, files: Iterable[Any], parse: Callable[[Worker, Any], Any]) -> Iterator[tuple[Any, Any]]:
        """Each file with `parse(worker, file)`, or with the ParseError it raised; a few files ahead, not all."""
        waiting: deque[tuple[Any, _Task]] = deque()
        ahead = 2 * len(self._workers)
        for file in files:
            waiting.append((file, _Task(self._free, parse, file)))
            if len(waiting) >= ahead:
                first, task = waiting.popleft()
                yield first, task.result()
        while waiting:
            first, task = waiting.popleft()
            yield first, task.result()


class _Task:
    """A file in a thread that waits for a worker."""

    def __init__(self, free: queue.SimpleQueue[Worker], parse: Callable[[Worker, Any], Any], file: Any) -> None:
        self._found: Any = None
        self._thread = threading.Thread(target=self._run, args=(free, parse, file), daemon=True)
        self._thread.start()

    def result(self) -> Any:
        self._thread.join()
        if isinstance(self._found, BaseException) and not isinstance(self._found, ParseError):
            raise self._found
        return self._found

    def _run(self, free: queue.SimpleQueue[Worker], parse: Callable[[Worker, Any], Any], file: Any) -> None:
        worker = free.get()
        try:
            self._found = parse(worker, file)
        except BaseException as error:  # given to the one who asks for the result
            self._found = error
        finally:
            free.put(worker)


def _listen(answers: IO[str], to: queue.Queue[str]) -> None:
    """Hand on every line; an empty one at the end."""
    with suppress(ValueError, OSError):
        for line in answers:
            to.put(line)
    to.put("")


def _size(pid: int) -> float:
    """Gigabytes a process has in memory; 0 where the system does not say."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (OSError, ValueError, IndexError):
        return 0.0
