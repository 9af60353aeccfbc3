"""Exports: each format as its reader expects it, train and test apart, nothing overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets import load_dataset

from gag.config import PromptsConfig
from gag.corpus.synthesis.exports import FORMATS, export, raft_row
from gag.errors import ConfigError, InputError
from gag.prompts import Prompts
from gag.records import Question, read_questions

PROMPTS = Prompts(PromptsConfig(), "pumps")
SYSTEM = "You are an expert in pumps. Give background knowledge relevant to the question."
PAIRS = [
    Question(
        f"q{n}",
        f"what is {{field}} {n}?",
        (f"it is “{n}”",),
        "dom",
        {
            "passage": f"d{n}#1",
            "document": f"d{n}",
            "split": "test" if n == 3 else "train",
            "quote": "x",
            "style": "raft",
        }
        | {"distractors": ["e#1"]},
    )
    for n in range(4)
]


def rows(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".json":
        found: list[dict[str, object]] = json.loads(path.read_text("utf-8"))
        return found
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_jsonl_reads_back(tmp_path: Path) -> None:
    train, test = export("dom", PAIRS, "jsonl", PROMPTS, tmp_path / "out")
    assert read_questions(train) == PAIRS[:3] and read_questions(test) == PAIRS[3:]


def test_trl(tmp_path: Path) -> None:
    train, _ = export("dom", PAIRS, "trl", PROMPTS, tmp_path / "out")
    assert rows(train)[1] == {
        "prompt": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "what is {field} 1?"}],
        "completion": [{"role": "assistant", "content": "it is “1”"}],
    }


def test_alpaca_and_sharegpt_are_described(tmp_path: Path) -> None:
    alpaca = export("dom", PAIRS, "alpaca", PROMPTS, tmp_path / "a")
    info = json.loads(alpaca[-1].read_text())
    assert set(info) == {"dom_train", "dom_test"}
    assert rows(alpaca[0])[0] == {
        "system": SYSTEM,
        "instruction": "what is {field} 0?",
        "input": "",
        "output": "it is “0”",
    }
    assert set(info["dom_train"]["columns"].values()) == set(rows(alpaca[0])[0])
    sharegpt = export("dom", PAIRS, "sharegpt", PROMPTS, tmp_path / "s")
    row = rows(sharegpt[0])[0]
    assert row["conversations"] == [
        {"from": "human", "value": "what is {field} 0?"},
        {"from": "gpt", "value": "it is “0”"},
    ]
    described = json.loads(sharegpt[-1].read_text())["dom_train"]
    assert described["formatting"] == "sharegpt" and set(described["columns"].values()) == set(row)


def test_raft_holds_what_an_example_is_built_from(tmp_path: Path) -> None:
    train, _ = export("dom", PAIRS, "raft", PROMPTS, tmp_path / "out")
    row = rows(train)[0]
    assert (row["oracle"], row["quote"], row["answer"], row["distractors"]) == ("d0#1", "x", "it is “0”", ["e#1"])
    assert raft_row(Question("own", "mine?", ("yes",))) is None


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read_by_datasets(form: str, tmp_path: Path) -> None:
    files = export("dom", PAIRS, form, PROMPTS, tmp_path / "out")  # type: ignore[arg-type]
    loaded = load_dataset("json", data_files=str(files[0]), cache_dir=str(tmp_path / "cache"))["train"]
    assert len(loaded) == 3


def test_nothing_is_overwritten_and_nothing_empty_written(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("x")
    with pytest.raises(ConfigError, match="not an empty folder"):
        export("dom", PAIRS, "jsonl", PROMPTS, tmp_path)
    with pytest.raises(InputError, match="names the passage"):
        export("dom", [Question("own", "mine?", ("yes",))], "raft", PROMPTS, tmp_path / "out")
    assert not (tmp_path / "out").exists()
