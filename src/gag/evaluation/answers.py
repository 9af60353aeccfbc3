"""What a method said to each question, kept line by line, so that an interrupted comparison goes on where it was.

A question that a method fails on is an outcome too: the line says why, and a later run asks it again.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gag.atomic import disk_errors
from gag.errors import BusyError, ConfigError, DomainError, GagError, InputError, MissingExtra, RunError
from gag.methods.method import BaseBacked, Method
from gag.records import Answer, Citation, Question, Route, content_hash

EARLIER = "earlier"
"""Folder beside a set's answers that holds those given under other choices."""

_WHOLE_METHOD = (MissingExtra, ConfigError, DomainError, BusyError)
"""Errors that no other question would be spared."""


@dataclass(frozen=True)
class Outcome:
    """A question and what came of it: an answer (with the gold answer's nll where it was asked for), or an error."""

    question: Question
    answer: Answer | None
    nll: float | None = None
    error: str | None = None


def ask(method: Method, questions: Sequence[Question], *, nll: bool, longest: int | None = None) -> list[Outcome]:
    """One outcome a question, in order: answered together, and one by one where that fails.

    `nll` of a method that does not end in the base stays None. Raises what would befall every question (an extra that
    is missing, a wrong configuration), and RunError for a number of answers other than that of the questions.
    """
    try:
        return _asked(method, questions, nll=nll, longest=longest)
    except _WHOLE_METHOD:
        raise
    except Exception as error:
        if len(questions) == 1:
            return [Outcome(questions[0], None, error=_reason(error))]
    return [outcome for q in questions for outcome in ask(method, [q], nll=nll, longest=longest)]


def _asked(method: Method, questions: Sequence[Question], *, nll: bool, longest: int | None) -> list[Outcome]:
    losses: Sequence[float | None] = [None] * len(questions)
    if nll and isinstance(method, BaseBacked) and all(q.answers for q in questions):
        answers, losses = method.answer_and_nll(questions, longest=longest)
    elif nll and isinstance(method, BaseBacked) and any(q.answers for q in questions):
        return [outcome for q in questions for outcome in _asked(method, [q], nll=nll, longest=longest)]
    else:
        answers = method.answer(questions)
    if len(answers) != len(questions) or len(losses) != len(questions):
        raise RunError(
            f"The method {method.name} gave {len(answers)} answers to {len(questions)} questions.",
            "A method gives one answer a question, in order.",
        )
    return [
        Outcome(question, answer, loss if loss is None or math.isfinite(loss) else None)
        for question, answer, loss in zip(questions, answers, losses, strict=True)
    ]


def _reason(error: Exception) -> str:
    said = error.message if isinstance(error, GagError) else f"{type(error).__name__}: {error}"
    return " ".join(said.split())[:400]


class AnswerLog:
    """The outcomes of one method on one set of questions, a JSON line each, in `folder`/SET/METHOD.jsonl.

    `key` stands for all that decides an answer. Lines of another key are put aside in `earlier/` and come back when
    that key does. A line cut short by a crash is dropped. An nll of another `longest` (see `ask`) does not count.
    """

    def __init__(self, folder: Path, method: str, dataset: str, key: str, longest: int | None = None) -> None:
        self.method, self.dataset, self.key, self.longest = method, dataset, key, longest
        name = file_name(method)
        self.path = folder / file_name(dataset) / f"{name}.jsonl"
        self._aside = self.path.parent / EARLIER
        self._kept: dict[str, Outcome] = {}
        with disk_errors(f"{self.path} could not be written"):
            self._open(name)

    def get(self, question: Question, *, nll: bool = False) -> Outcome | None:
        """The kept outcome of `question`; None where it was never asked, failed, or lacks the nll that is wanted.

        A question without an accepted answer has no nll to lack.
        """
        kept = self._kept.get(_question_key(question))
        if kept is None or kept.answer is None or (nll and kept.nll is None and question.answers):
            return None
        return Outcome(question, kept.answer, kept.nll)

    def error(self, question: Question) -> str:
        """Why `question` has no answer."""
        kept = self._kept.get(_question_key(question))
        return (kept.error if kept is not None else None) or "it was not asked"

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Append, on the disk when this returns; raises RunError for the disk's errors."""
        lines = [json.dumps(self._row(outcome), ensure_ascii=False) + "\n" for outcome in outcomes]
        with disk_errors(f"{self.path} could not be written"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write("".join(lines))
                file.flush()
                os.fsync(file.fileno())
        self._kept.update({_question_key(outcome.question): outcome for outcome in outcomes})

    def _open(self, name: str) -> None:
        rows = list(_lines(self.path))
        if rows and rows[-1].get("key") != self.key:
            self._aside.mkdir(exist_ok=True)
            self.path.replace(self._aside / f"{name}-{str(rows[-1].get('key'))[:12]}.jsonl")
            rows = []
        back = self._aside / f"{name}-{self.key[:12]}.jsonl"
        if not rows and back.is_file():
            back.replace(self.path)
            rows = list(_lines(self.path))
        for row in rows:
            outcome = _outcome(row)
            if outcome is not None and row.get("key") == self.key:
                same = row.get("longest", self.longest) == self.longest
                self._kept[str(row["question_key"])] = outcome if same else replace(outcome, nll=None)

    def _row(self, outcome: Outcome) -> dict[str, Any]:
        q, said = outcome.question, outcome.answer
        return {
            "key": self.key,
            "question_key": _question_key(q),
            "method": self.method,
            "dataset": self.dataset,
            "id": q.id,
            "question": q.question,
            "answers": list(q.answers),
            "text": None if said is None else said.text,
            "nll": outcome.nll,
            "longest": self.longest,
            "error": outcome.error,
            "answer": None if said is None else said.to_json(),
        }


def _question_key(question: Question) -> str:
    return content_hash(question.id, question.question, list(question.answers), question.domain)[:24]


def file_name(name: str) -> str:
    """`name` as part of a file's name, in a way that no two names share."""
    return quote(name, safe="+@=")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a log; what a crash left of its last line is cut off."""
    if not path.is_file():
        return
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    for number, line in enumerate(whole.decode("utf-8", errors="replace").split("\n")[:-1], 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise InputError(f"{path} line {number} is not a line of answers.", "Remove that line, or the file.")
        yield row


def _citation(row: dict[str, Any]) -> Citation:
    span = row["span"]
    return Citation(row["quote"], row["passage"], None if span is None else (span[0], span[1]))


def _outcome(row: dict[str, Any]) -> Outcome | None:
    """The row as an outcome; None for a failed one or one of another make."""
    said = row.get("answer")
    try:
        question = Question(row["id"], row["question"], tuple(row["answers"]))
        if said is None:
            return Outcome(question, None, error=str(row.get("error")))
        route = said.pop("route", None)
        cited = said.pop("citations", None)
        citations = None if cited is None else tuple(_citation(row) for row in cited)
        said |= {name: tuple(said[name]) for name in ("passages", "passage_scores") if name in said}
        answer = Answer(**said, route=None if route is None else Route(**route), citations=citations)
    except (KeyError, TypeError):
        return None
    nll = row.get("nll")
    return Outcome(question, answer, float(nll) if isinstance(nll, (int, float)) else None)
