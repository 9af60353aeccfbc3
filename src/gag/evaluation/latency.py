"""What an answer costs when questions come one at a time: time to the first token and in all, tokens a second, memory.

Answers in a batch share its time, which flatters methods of long prompts; a user waits for one question's answer.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gag.errors import GagError
from gag.methods.method import BaseBacked, Method
from gag.records import Question

_GB = 1e9
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Timed:
    """Seconds of each question: until the first token (empty for a method that cannot stream) and in all.

    `tokens` of the answers, and the process's highest memory in bytes (of the GPU where there is one; None where the
    system does not say).
    """

    first: tuple[float, ...]
    total: tuple[float, ...]
    tokens: tuple[int, ...]
    memory: int | None

    def values(self) -> dict[str, float]:
        """By metric name: medians, 95th percentiles, tokens a second after the first, gigabytes."""
        out: dict[str, float] = {}
        for name, seconds in (("first_token", self.first), ("total", self.total)):
            if seconds:
                out[f"{name}_p50"] = statistics.median(seconds)
                out[f"{name}_p95"] = float(np.percentile(seconds, 95))
        writing = sum(self.total) - sum(self.first)
        written = sum(self.tokens)
        if self.first:  # an answer that came whole was written before, in no time that was seen
            rows = zip(self.first, self.total, self.tokens, strict=True)
            written = sum(count - 1 for first, total, count in rows if total > first)
        if written > 0 and writing > 0:
            out["tokens_per_second"] = written / writing
        if self.memory is not None:
            out["peak_memory_gb"] = self.memory / _GB
        return out


def timed(method: Method, questions: Sequence[Question]) -> Timed:
    """Ask `questions` one at a time, after one that is answered and not counted.

    One that the method cannot answer is left out; raises what the last one raised where it can answer none.
    """
    _warm_up(method, questions)
    _forget_peak()
    rows: list[tuple[float | None, float, int]] = []
    for question in questions:
        with suppress(GagError):
            rows.append(_one(method, question))
    return Timed(
        tuple(first for first, _, _ in rows if first is not None),
        tuple(total for _, total, _ in rows),
        tuple(count for _, _, count in rows),
        _peak(),
    )


def _warm_up(method: Method, questions: Sequence[Question]) -> None:
    """Answer the first question that can be; raises what the last one raised where none can."""
    for number, question in enumerate(questions, start=1):
        try:
            _one(method, question)
        except GagError:
            if number == len(questions):
                raise
        else:
            return


def _one(method: Method, question: Question) -> tuple[float | None, float, int]:
    """Seconds to the first token (None where the method does not stream) and in all, and how many tokens."""
    started = time.perf_counter()
    if not isinstance(method, BaseBacked):
        answer = method.answer([question])[0]
        return None, time.perf_counter() - started, answer.completion_tokens
    item, base = method.preparing.prepare([question])[0], method.preparing.base
    if item.completion is not None:  # the method had to see the whole answer before it could give it
        total = time.perf_counter() - started
        return total, total, len(item.completion.ids) + 1
    vectors = None if item.vectors is None else item.vectors.unsqueeze(0)
    first: float | None = None
    said = ""
    for piece in base.stream(item.prompt, vectors, item.generation):
        said += piece
        if first is None:
            first = time.perf_counter() - started
    total = time.perf_counter() - started
    count = len(base.tokenizer(said, add_special_tokens=False)["input_ids"]) + 1  # the end of the turn too
    return total if first is None else first, total, count


def _forget_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif _RESET.exists():
        try:
            _RESET.write_text("5")  # Linux: the highest memory so far is forgotten
        except OSError:  # not allowed in some containers: the peak is then that of the whole run
            return


def _peak() -> int | None:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    if not _STATUS.exists():
        return None
    line = next((line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")), None)
    return None if line is None else int(line.split()[1]) * 1024
