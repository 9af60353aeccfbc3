"""Splits by document: all questions about a document are on one side, so no test question is about a training text.

A document keeps its side when others are added: the assignment is kept in a file beside the pairs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gag.atomic import new_file
from gag.errors import InputError
from gag.records import Question, content_hash, read_questions

Side = Literal["train", "test"]
FILE = "splits.json"
QA = "qa.jsonl"
"""The file of a domain's data that holds its pairs, those of both sides."""


def assign(
    document_ids: Iterable[str], share: float, seed: int, kept: Mapping[str, Side] | None = None
) -> dict[str, Side]:
    """A side for every document: those of `kept` stay, the others fill the test side up to `share` of all.

    Which ones is told by a hash of their ids, so it depends on nothing else. At least one document stays for training.
    """
    ids = sorted(set(document_ids))
    sides: dict[str, Side] = {i: kept[i] for i in ids if kept is not None and i in kept}
    wanted = min(round(share * len(ids)), len(ids) - 1)
    if share and len(ids) > 1:
        wanted = max(1, wanted)
    for document_id in sorted((i for i in ids if i not in sides), key=lambda i: content_hash("split", seed, i)):
        tests = sum(side == "test" for side in sides.values())
        sides[document_id] = "test" if tests < wanted else "train"
    return sides


def assign_and_keep(path: Path, document_ids: Iterable[str], share: float, seed: int) -> dict[str, Side]:
    """`assign` with what the file `path` holds, if it was made with this share and seed; the file is renewed."""
    sides = assign(document_ids, share, seed, kept_sides(path, share, seed))
    with new_file(path) as partial:
        text = json.dumps({"share": share, "seed": seed, "documents": sides}, ensure_ascii=False, indent=1)
        partial.write_text(text + "\n", encoding="utf-8")
    return sides


def kept_sides(path: Path, share: float, seed: int) -> dict[str, Side]:
    """The sides that the file holds; none where it is missing, damaged, or made with another share or seed."""
    try:
        row: Any = json.loads(path.read_text("utf-8"))
        if row["share"] != share or row["seed"] != seed:
            return {}
        return {str(i): "test" if side == "test" else "train" for i, side in row["documents"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def training_pairs(path: Path, made: Path) -> list[Question]:
    """The pairs of a file that may be trained on: all of them, but of `made`, which synth wrote, not the test side.

    Raises InputError for what `read_questions` refuses, and where every pair is for testing.
    """
    if path.resolve() != made.resolve():
        return read_questions(path, require_answers=True)
    return pairs_not_for_testing(path)


def pairs_not_for_testing(path: Path) -> list[Question]:
    """The pairs of a file but those whose field `split` says test; raises InputError where none is left."""
    questions = read_questions(path, require_answers=True)
    kept = [q for q in questions if q.meta.get("split") != "test"]
    if not kept:
        raise InputError(
            f"All pairs in {path} are kept for testing (split: test).",
            "Lower synthesis.test_share and synthesise again, or name other pairs (qa).",
        )
    return kept


def for_testing(questions: Sequence[Question]) -> list[Question]:
    """Those whose field `split` says test; all of them where none does."""
    kept = [q for q in questions if q.meta.get("split") == "test"]
    return kept or list(questions)


def documents_of(question: Question) -> list[str]:
    """The documents that a question was made from; empty for one that somebody added by hand."""
    documents = question.meta.get("documents") or [question.meta.get("document")]
    return [str(d) for d in documents if d]
