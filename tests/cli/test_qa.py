"""`gag qa`: counting, listing, deciding in a script and in a terminal, exporting."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gag.cli import qa as verb
from gag.corpus.synthesis.generators import pair_key
from gag.corpus.synthesis.review import QaSet
from gag.records import Question

Gag = Callable[..., Any]


def pair(number: int) -> Question:
    question, answer = f"What is {number}?", f"it is {number}"
    meta = {"document": "d", "passage": "d#1", "style": "plain", "split": "train" if number else "test", "quote": "so"}
    return Question(f"mill-{pair_key(['d#1'], question, answer)}", question, (answer,), "mill", meta)


IDS = [pair(n).id for n in range(4)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "gag.yaml").write_text("domains:\n  mill: {field: mills}\n")
    bad = pair(9)
    refused = Question(
        bad.id, bad.question, bad.answers, "mill", {**bad.meta, "refused": {"gate": "quote", "reason": "none"}}
    )
    QaSet(tmp_path / "data" / "mill").replace("plain", [pair(n) for n in range(4)], [refused], {"d#1": "so"})
    return tmp_path


def listed(place: Path, gag: Gag, *more: str) -> dict[str, str]:
    return {row["question"]: row["state"] for row in gag("qa", "mill", "--list", "--json", *more, cwd=place).json}


def test_counts(place: Path, gag: Gag) -> None:
    shown = gag("qa", "mill", cwd=place)
    assert "4 pairs in use (3 train, 1 test)" in shown.out and "1 left out: 1 by a gate" in shown.out
    counts = gag("qa", "mill", "--json", cwd=place).json
    assert (counts["used"], counts["undecided"], counts["rejected_by_gate"]) == (4, 4, 1)


def test_listing(place: Path, gag: Gag) -> None:
    assert listed(place, gag) == {f"What is {n}?": "undecided" for n in range(4)}
    assert listed(place, gag, "--rejected") == {"What is 9?": "quote: none"}
    assert len(listed(place, gag, "--all")) == 5
    assert IDS[2] in gag("qa", "mill", "--list", cwd=place).out


def test_deciding_in_a_script(place: Path, gag: Gag) -> None:
    done = gag("qa", "mill", "--accept", IDS[0], "--accept", pair(9).id, "--reject", IDS[1], cwd=place)
    assert done.code == 0 and "3 decisions saved" in done.err
    edited = gag("qa", "mill", "--edit", IDS[2], "--answer", "it is two", "--json", cwd=place)
    assert edited.json["changed"] == 1 and edited.json["edited"] == 1
    assert listed(place, gag) == {
        "What is 0?": "accepted",
        "What is 2?": "edited",
        "What is 3?": "undecided",
        "What is 9?": "accepted",
    }
    rows = [json.loads(line) for line in (place / "data" / "mill" / "qa.jsonl").read_text().splitlines()]
    assert {r["answers"][0] for r in rows} == {"it is 0", "it is two", "it is 3", "it is 9"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--accept", "mill-nope"], "no pair 'mill-nope'"),
        (["--accept", IDS[0], "--reject", IDS[0]], "both accepted and rejected"),
        (["--edit", IDS[0]], "Nothing to change"),
        (["--edit", IDS[0], "--answer", " "], "needs a question and an answer"),
        (["--answer", "x"], "say how a pair is edited"),
        (["--review"], "nobody is there to answer"),
        (["--export", "parquet"], "parquet"),
        (["--export", "jsonl", "--out", "data"], "is not an empty folder"),
    ],
)
def test_bad_usage(arguments: list[str], said: str, place: Path, gag: Gag) -> None:
    before = (place / "data" / "mill" / "qa.jsonl").read_bytes()
    ran = gag("qa", "mill", *arguments, cwd=place)
    assert ran.code == 2 and said in ran.error[0], ran.err
    assert (place / "data" / "mill" / "qa.jsonl").read_bytes() == before
    assert not (place / "data" / "mill" / "review.jsonl").exists()


def test_a_bad_id_among_good_ones_changes_nothing(place: Path, gag: Gag) -> None:
    assert gag("qa", "mill", "--reject", IDS[0], "--reject", "nope", cwd=place).code == 2
    assert len(listed(place, gag)) == 4


def test_no_pairs(place: Path, gag: Gag) -> None:
    ran = gag("qa", "other", "--list", cwd=place)
    assert ran.code == 2 and "gag synth other" in ran.error[1]
    assert not (place / "data" / "other").exists()


def typing(monkeypatch: pytest.MonkeyPatch, answers: list[str]) -> list[str]:
    """A terminal at which somebody types; returns what it was asked."""
    asked: list[str] = []

    class Terminal:
        def input(self, prompt: str, **_: object) -> str:
            asked.append(prompt)
            if not answers:
                raise EOFError
            return answers.pop(0)

        def print(self, *_: object, **__: object) -> None:
            pass

    monkeypatch.setattr(verb, "notes", Terminal)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    return asked


def test_reviewing_in_a_terminal(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = typing(monkeypatch, ["a", "x", "e", "Which is 1?", "", "r", "q"])
    pairs = QaSet(place / "data" / "mill")
    verb._review(pairs, False)
    assert len(asked) == 7
    again = QaSet(place / "data" / "mill")
    assert [again.decision(i) for i in IDS] == ["accepted", "edited", "rejected", None]
    assert again.get(IDS[1]).question == "Which is 1?" and again.get(IDS[1]).answers == ("it is 1",)


def test_the_end_of_input_quits_and_skipping_decides_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typing(monkeypatch, ["s", "e", "", ""])
    verb._review(QaSet(place / "data" / "mill"), False)
    again = QaSet(place / "data" / "mill")
    assert [again.decision(i) for i in IDS] == [None, "accepted", None, None]


def test_exporting(place: Path, gag: Gag) -> None:
    gag("qa", "mill", "--reject", IDS[3], cwd=place)
    done = gag("qa", "mill", "--export", "alpaca", "--json", cwd=place)
    assert done.code == 0, done.err
    assert [Path(f).name for f in done.json["files"]] == ["mill_train.json", "mill_test.json", "dataset_info.json"]
    rows = json.loads((place / "mill-alpaca" / "mill_train.json").read_text())
    assert [r["instruction"] for r in rows] == ["What is 1?", "What is 2?"]
    assert "expert in mills" in rows[0]["system"]
