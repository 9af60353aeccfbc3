"""Workers: answers in order, and a limit that is broken costs one file and one process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gag.corpus.parsing.errors import ParseError
from gag.corpus.parsing.parse import ParseOptions
from gag.corpus.parsing.pool import Limits, Pool, Worker

OPTIONS = ParseOptions()
SLEEPS = (sys.executable, "-c", "import time; time.sleep(60)")
DIES = (sys.executable, "-c", "import os, sys; sys.stdin.readline(); os.abort()")
EATS = (sys.executable, "-c", "import sys, time; sys.stdin.readline(); held = bytearray(200_000_000); time.sleep(60)")


@pytest.mark.parametrize(
    ("program", "limits", "reason"),
    [
        (SLEEPS, Limits(0.5, 1), "not done after 0.5 s"),
        (DIES, Limits(30, 1), "crashed"),
        (EATS, Limits(30, 0.1), "more memory"),
    ],
)
def test_a_worker_that_breaks_a_limit_is_ended(
    program: tuple[str, ...], limits: Limits, reason: str, tmp_path: Path
) -> None:
    worker = Worker(limits, program)
    started = time.monotonic()
    with pytest.raises(ParseError, match=reason):
        worker.parse(tmp_path / "a.md", "markdown", OPTIONS)
    assert time.monotonic() - started < 20
    worker.stop()


def test_a_worker_goes_on_after_a_bad_file(tmp_path: Path, make: SimpleNamespace) -> None:
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.4\nnothing")
    make.write_pdf(tmp_path / "good.pdf", [make.lines(72, 80, make.sentences(4), width=80)])
    worker = Worker(Limits(60, 2))
    try:
        with pytest.raises(ParseError, match="truncated"):
            worker.parse(tmp_path / "bad.pdf", "pdf", OPTIONS)
        parsed = worker.parse(tmp_path / "good.pdf", "pdf", OPTIONS)
        assert (parsed.parser, parsed.pages, parsed.wrapped) == ("liteparse", 1, True)
        assert "".join(block.text for block in parsed.blocks).startswith(make.sentences(1)[:20])
    finally:
        worker.stop()


def test_results_come_in_the_order_of_the_files() -> None:
    def parse(worker: Worker, number: int) -> int:
        time.sleep(0.05 if number % 3 == 0 else 0)
        if number == 4:
            raise ParseError("four")
        return number

    with Pool(3, Limits(1, 1)) as pool:
        found = list(pool.map(range(9), parse))
    assert [number for number, _ in found] == list(range(9))
    assert [result for _, result in found if not isinstance(result, ParseError)] == [0, 1, 2, 3, 5, 6, 7, 8]


def test_another_error_is_raised_and_no_process_is_left() -> None:
    def parse(worker: Worker, number: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Pool(2, Limits(1, 1)) as pool:
        list(pool.map(range(3), parse))


def test_no_process_is_left_where_files_still_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen
    before = set(threading.enumerate())

    def noted(*args: Any, **named: Any) -> subprocess.Popen[str]:
        started.append(popen(*args, **named))
        return started[-1]

    def parse(worker: Worker, number: int) -> object:
        return worker.parse(tmp_path / "a.md", "markdown", OPTIONS) if number else None

    def stopped(pool: Pool) -> None:
        next(pool.map(range(8), parse))
        until = time.monotonic() + 10
        while len(started) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        raise ZeroDivisionError

    monkeypatch.setattr("gag.corpus.parsing.pool.subprocess.Popen", noted)
    try:
        with pytest.raises(ZeroDivisionError), Pool(2, Limits(60, 1), SLEEPS) as pool:
            stopped(pool)
        for thread in set(threading.enumerate()) - before:
            thread.join(5)
        assert len(started) == 2 and all(process.poll() is not None for process in started)
    finally:
        for process in started:
            process.kill()
            process.wait()
