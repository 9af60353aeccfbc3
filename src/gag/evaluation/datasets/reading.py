"""`read_dataset`: a public set's file, folder or hub id, or our own JSONL, as questions."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from gag.errors import InputError
from gag.evaluation.datasets.catalogue import DATASETS, Dataset
from gag.evaluation.datasets.hub import hub_rows
from gag.evaluation.datasets.rows import SUFFIXES, Row, file_rows
from gag.records import Question, read_questions, refuse_written_list

OWN = "jsonl"
"""The name of our own format: {"id", "question", "answers"} a line."""

_SYNONYMS = {
    "validation": ("validation", "valid", "dev"),
    "dev": ("dev", "validation", "valid"),
    "test": ("test", "eval"),
}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def dataset_names() -> tuple[str, ...]:
    """Every name that `read_dataset` takes."""
    return (OWN, *DATASETS)


def read_dataset(
    name: str, path: str | Path | None = None, *, split: str | None = None, limit: int | None = None
) -> list[Question]:
    """The questions of the set `name`, the first `limit` of them, from a file, a folder or the hub.

    `path` is a file in the set's public format (or our own JSONL), a folder that has such a file of the part `split`
    (for MedQuAD its XML documents), an id on the hub, or None for the set's usual id. `split` names a part on the hub
    or in a folder; a single file is one part already. A repeated id gets "#2", a set without ids "NAME-FILE-NUMBER".
    Raises InputError that names file and line for another format (it says what it found), for an answer that is a list
    written as a text, and for a question without an answer that is not marked `"unanswerable": true`.
    """
    if limit is not None and limit < 1:
        raise InputError(f"A limit of {limit} questions leaves none.", "Take at least 1, or leave the limit out.")
    if name != OWN and name not in DATASETS:
        raise InputError(f"There is no question set {name!r}.", f"Known: {', '.join(dataset_names())}.")
    local = None if path is None else Path(path).expanduser()
    if local is not None and local.is_dir():
        local = _part_of_folder(local, name, split)
    elif local is not None and local.exists() and split is not None:
        raise InputError(f"{local} is one file; a part ({split}) cannot be chosen in it.", "Leave the split out.")
    if name == OWN or (local is not None and local.is_file() and _is_own(local)):
        if local is None:
            raise InputError("Our own JSONL is a file; none is named.", "Give its path.")
        return read_own(local, limit)
    dataset = DATASETS[name]
    if local is not None and (local.exists() or not _is_hub_id(str(path))):
        rows, prefix = _local_rows(local, dataset), f"{name}-{local.name.split('.')[0]}"
    else:
        part = split or dataset.hub.split
        rows, prefix = hub_rows(dataset, None if path is None else str(path), part), f"{name}-{part}"
    questions = _identified(_questions(dataset, rows), prefix, limit)
    if not questions:
        raise InputError(f"{path or dataset.hub.id} has no questions with answers.", f"It takes {dataset.takes}.")
    return questions


def read_own(path: Path, limit: int | None = None, *, answered_only: bool = False) -> list[Question]:
    """Questions of our own JSONL, each with an answer or marked `"unanswerable": true`; raises InputError.

    A blank among other answers is left out: it would make an empty reply right. `answered_only` leaves questions
    without an answer out; raises InputError where none is left.
    """
    questions = read_questions(path)
    for index, question in enumerate(questions):
        for answer in question.answers:
            if answer.strip()[:1] in ("[", "("):
                refuse_written_list(answer, f"{path} line {_line_of(path, index)}")
        if not answered_only and not _answered(question):
            raise InputError(
                f"{path} line {_line_of(path, index)}: the question {question.id!r} has no answer.",
                'Give it one: "answers": ["…"]; or, where none is right, write "answers": [], "unanswerable": true.',
            )
    kept = [q for q in questions if _answered(q)]
    if not kept:
        raise InputError(f"{path}: no question has an answer.", 'Give them some: "answers": ["…"].')
    return [replace(q, answers=tuple(a for a in q.answers if a.strip())) for q in kept[:limit]]


def _answered(question: Question) -> bool:
    """Whether it has an answer, or is marked as one that has none."""
    return any(answer.strip() for answer in question.answers) or question.meta.get("unanswerable") is True


def _questions(dataset: Dataset, rows: Iterable[Row]) -> Iterator[tuple[Question, int]]:
    for row in rows:
        question = dataset.read(row)
        if question is not None:
            yield question, row.number


def _identified(found: Iterable[tuple[Question, int]], prefix: str, limit: int | None) -> list[Question]:
    questions = []
    seen: Counter[str] = Counter()
    for question, number in islice(found, limit):
        identity = question.id or f"{prefix}-{number}"
        seen[identity] += 1
        questions.append(replace(question, id=identity if seen[identity] == 1 else f"{identity}#{seen[identity]}"))
    return questions


def _local_rows(path: Path, dataset: Dataset) -> Iterator[Row]:
    if path.is_dir():  # MedQuAD: one document a file
        for file in sorted(path.rglob("*.xml")):
            yield from file_rows(file, dataset.shape, dataset.takes)
        return
    yield from file_rows(path, dataset.shape, dataset.takes)


def _part_of_folder(folder: Path, name: str, split: str | None) -> Path:
    """The one file of a folder that is the part asked for; MedQuAD's folder of documents is itself one."""
    if name == "medquad" and split is None and any(folder.rglob("*.xml")):
        return folder
    files = sorted(p for p in folder.iterdir() if p.is_file() and any(s in SUFFIXES for s in p.suffixes))
    names = _SYNONYMS.get(split or "", (split or "",))
    fitting = (
        [p for p in files if any(part in re.split(r"[\W_]+", p.name.lower()) for part in names)] if split else files
    )
    if len(fitting) != 1:
        have = ", ".join(p.name for p in files[:8]) or "none"
        what = f"{len(fitting)} files of the part {split!r}" if split else f"{len(files)} data files"
        raise InputError(f"{folder} has {what} (data files: {have}).", "Name one file.")
    return fitting[0]


def _is_hub_id(name: str) -> bool:
    return _HUB_ID.fullmatch(name) is not None and Path(name).suffix.lower() not in (*SUFFIXES, ".gz", ".zip")


def _is_own(path: Path) -> bool:
    """Whether a file's first line is one of our own records, which no public set's is."""
    if path.suffix != ".jsonl":
        return False
    try:
        with path.open(encoding="utf-8-sig") as lines:
            first = json.loads(next((line for line in lines if line.strip()), "null"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(first, dict) and {"id", "question", "answers"} <= set(first)


def _line_of(path: Path, index: int) -> int:
    """The line of the record at `index`; blank lines are no records."""
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    return [number for number, line in enumerate(lines, 1) if line.strip()][index]
