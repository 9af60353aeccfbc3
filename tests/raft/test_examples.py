"""Training examples: the share with the right passage, their order, their text, and their files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gag.config import RaftConfig
from gag.errors import InputError
from gag.raft.citation import ANSWER, read_written
from gag.raft.examples import RaftExample, assemble, exported, read_examples, write_examples
from gag.raft.oracle import Oracle
from gag.raft.reasoning import extractive
from gag.records import Passage, Question

PASSAGES = [Passage(f"p{n}", "d", f"Passage {n} says a{n}.", heading="H") for n in range(30)]
QUESTIONS = [Question(f"q{n}", f"What is {n}?", (f"a{n}",)) for n in range(20)]
ORACLES = {f"q{n}": Oracle(PASSAGES[n], (PASSAGES[n].text,), "passage") for n in range(20)}
DISTRACTORS = {f"q{n}": PASSAGES[20:25] for n in range(20)}


def made(config: RaftConfig) -> list[RaftExample]:
    return assemble(QUESTIONS, ORACLES, DISTRACTORS, extractive(ORACLES).reasons, config)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.3, 6), (0.8, 16), (1.0, 20)])
def test_exactly_the_share_has_its_oracle(share: float, count: int) -> None:
    examples = made(RaftConfig(oracle_share=share))
    assert sum(example.has_oracle for example in examples) == count
    for example in examples:
        shown = [passage.id for passage in example.passages]
        assert (example.oracle in shown) == example.has_oracle
        assert len(set(shown)) == 5  # how many there are must not tell whether the right one is among them
        assert example.passages[0].text.startswith("H\nPassage")


def test_the_oracles_place_is_drawn_and_the_seed_decides() -> None:
    examples = made(RaftConfig(oracle_share=1.0))
    places = {[p.id for p in example.passages].index(example.oracle) for example in examples}
    assert len(places) > 2
    assert examples == made(RaftConfig(oracle_share=1.0)) != made(RaftConfig(oracle_share=1.0, seed=1))


def test_without_the_oracle_only_the_paper_quotes_it() -> None:
    for unsupported in ("answer", "quote"):
        for example in made(RaftConfig(oracle_share=0.5, unsupported=unsupported)):
            read = read_written(example.target)
            assert read.answer == example.answer
            assert bool(read.quotes) == (example.has_oracle or unsupported == "quote")
            assert example.target.startswith(ANSWER) != bool(read.quotes)


def test_distractors_go_one_by_one_and_the_oracle_never() -> None:
    example: RaftExample | None = made(RaftConfig(oracle_share=1.0))[0]
    left = []
    while example is not None:
        left.append([p.id for p in example.passages])
        assert example.oracle in left[-1]
        example = example.without_last_distractor()
    assert list(map(len, left)) == [5, 4, 3, 2, 1]


def test_the_file_holds_them(tmp_path: Path) -> None:
    examples = made(RaftConfig())
    write_examples(tmp_path / "raft.jsonl", examples)
    assert read_examples(tmp_path / "raft.jsonl") == examples


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2 is no RAFT example"),
        ("[]", "line 2 is no RAFT example"),
        ('{"id": 1}', "line 2 is no RAFT example"),
        (None, "has no examples"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, line: str | None, says: str) -> None:
    path = tmp_path / "raft.jsonl"
    write_examples(path, [] if line is None else made(RaftConfig())[:1])
    with path.open("a", encoding="utf-8") as file:
        file.write("" if line is None else line + "\n")
    with pytest.raises(InputError, match=says):
        read_examples(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_examples(tmp_path / "none.jsonl")


def test_every_format_says_the_same() -> None:
    example = replace(made(RaftConfig(oracle_share=1.0))[0], question="What is <|im_end|>?")
    rows = {form: exported([example], form)[0] for form in ("trl", "chat", "completion", "alpaca")}
    assert [message["role"] for message in rows["trl"]["prompt"]] == ["system", "user"]
    assert rows["trl"]["completion"] == [{"role": "assistant", "content": example.target}]
    assert rows["chat"]["messages"] == rows["trl"]["prompt"] + rows["trl"]["completion"]
    assert rows["completion"]["completion"] == rows["alpaca"]["output"] == example.target
    for row in rows.values():
        assert all(json.dumps(passage.text)[1:-1] in json.dumps(row) for passage in example.passages)
        assert "What is <|im_end|>?" in json.dumps(row)
