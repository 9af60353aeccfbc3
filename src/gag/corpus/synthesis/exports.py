"""Pairs as training data for other tools: our JSONL, TRL, ShareGPT, Alpaca with dataset_info, and RAFT's ingredients.

Train and test documents go to files of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from gag.atomic import new_folder
from gag.corpus.synthesis.review import passages_of
from gag.errors import ConfigError, InputError
from gag.formats import (
    DATASET_INFO,
    alpaca_info,
    alpaca_row,
    prompt_completion_row,
    sharegpt_info,
    sharegpt_row,
)
from gag.prompts import Prompts
from gag.records import Question

Format = Literal["jsonl", "trl", "sharegpt", "alpaca", "raft"]
FORMATS: tuple[Format, ...] = get_args(Format)


def export(name: str, questions: Sequence[Question], form: Format, prompts: Prompts, out: Path) -> list[Path]:
    """Write `questions` to the new folder `out`, train and test apart; returns the files.

    Chat formats hold the prompt that the domain's expert is asked with. Raises ConfigError where `out` holds
    something, InputError where no pair can be written in this format.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{out} is not an empty folder.", "Name a new one: nothing there is overwritten.")
    usable = [q for q in questions if q.answers and (form != "raft" or raft_row(q) is not None)]
    if not usable:
        why = "names the passage it was made from" if form == "raft" else "has an answer"
        raise InputError(f"No pair of {name} {why}.", f"Make some: gag synth {name}")
    sides = {
        "train": [q for q in usable if q.meta.get("split") != "test"],
        "test": [q for q in usable if q.meta.get("split") == "test"],
    }
    files: list[str] = []
    info: dict[str, Any] = {}
    with new_folder(out) as partial:
        for side, rows in sides.items():
            if rows:
                file, entry = _write(partial, name, side, (rows, form, prompts))
                files.append(file)
                info |= entry
        if info:
            (partial / DATASET_INFO).write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
            files.append(DATASET_INFO)
    return [out / file for file in files]


def raft_row(question: Question) -> dict[str, Any] | None:
    """What RAFT builds an example from: question, answer, oracle passage, quote, distractors; None without them."""
    passages = passages_of(question)
    if not passages or not question.answers:
        return None
    return {
        "id": question.id,
        "question": question.question,
        "answer": question.answers[0],
        "oracle": passages[0],
        "oracles": passages,
        "quote": question.meta.get("quote", ""),
        "background": question.meta.get("background", ""),
        "distractors": list(question.meta.get("distractors", [])),
    }


def _write(
    folder: Path, name: str, side: str, what: tuple[Sequence[Question], Format, Prompts]
) -> tuple[str, dict[str, Any]]:
    """One side's file, and its entry of dataset_info where the format has one."""
    rows, form, prompts = what
    if form in ("alpaca", "sharegpt"):
        one: Callable[..., dict[str, Any]] = alpaca_row if form == "alpaca" else sharegpt_row
        file = f"{name}_{side}.json"
        data = [one(prompts.expert(q.question), q.answers[0]) for q in rows]
        (folder / file).write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        described = alpaca_info(file) if form == "alpaca" else sharegpt_info(file)
        return file, {f"{name}_{side}": described}
    file = f"{side}.jsonl"
    lines = (json.dumps(_line(q, form, prompts), ensure_ascii=False) for q in rows)
    (folder / file).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file, {}


def _line(question: Question, form: Format, prompts: Prompts) -> dict[str, Any]:
    if form == "trl":
        return prompt_completion_row(prompts.expert(question.question), question.answers[0])
    if form == "raft":
        return raft_row(question) or {}
    row = {"id": question.id, "question": question.question, "answers": list(question.answers)}
    domain = {"domain": question.domain} if question.domain is not None else {}
    return {**row, **domain, "meta": dict(question.meta)}
