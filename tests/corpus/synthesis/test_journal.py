"""The journal: what was paid for once is not asked again, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gag.corpus.synthesis.generators import Failure, Reply
from gag.corpus.synthesis.journal import Journal, Recalled, Remembered
from gag.prompts import Message, Untrusted


def prompt(text: str) -> tuple[Message, ...]:
    return (Message("user", ("Say: ", Untrusted(text))),)


class Counting:
    """Answers in capitals, fails on `bad` and for good on `long`, breaks on `crash`; counts what it was asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def complete(self, prompts: Sequence[tuple[Message, ...]], max_tokens: int) -> Iterator[tuple[int, Reply]]:
        for position, messages in enumerate(prompts):
            part = messages[0].parts[1]
            assert isinstance(part, Untrusted)
            self.asked.append(part.text)
            if part.text == "crash":
                raise KeyboardInterrupt
            failed = part.text in ("bad", "long")
            yield position, Failure(part.text, lasting=part.text == "long") if failed else part.text.upper()


def run(writer: Counting, path: Path, texts: list[str], max_tokens: int = 9) -> dict[str, Reply]:
    with Journal(path) as journal:
        replies = Remembered(writer, journal).complete([prompt(t) for t in texts], max_tokens)
        return {texts[position]: reply for position, reply in replies}


def test_a_second_run_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    path, first, second = tmp_path / "deep" / "journal.jsonl", Counting(), Counting()
    assert run(first, path, ["a", "bad", "b"]) == {"a": "A", "bad": Failure("bad"), "b": "B"}
    assert run(second, path, ["b", "bad", "c", "a"])["a"] == "A"
    assert second.asked == ["bad", "c"]


def test_a_failure_that_lasts_is_not_asked_for_again(tmp_path: Path) -> None:
    path, first, second = tmp_path / "journal.jsonl", Counting(), Counting()
    assert run(first, path, ["long", "bad"])["long"] == Failure("long", lasting=True)
    assert run(second, path, ["long", "bad"])["long"] == Failure("long", lasting=True)
    assert second.asked == ["bad"]
    assert run(second, path, ["long"], max_tokens=10) and second.asked == ["bad", "long"]


def test_what_is_recalled_is_what_the_journal_holds(tmp_path: Path) -> None:
    path, writer = tmp_path / "journal.jsonl", Counting()
    run(writer, path, ["a", "bad", "long"])
    with Journal(path) as journal:
        recalled = Recalled(Remembered(writer, journal))
        replies = dict(recalled.complete([prompt(t) for t in ("b", "a", "bad", "long")], 9))
        assert list(recalled.complete([], 9)) == []
    assert replies[1] == "A" and replies[3] == Failure("long", lasting=True)
    assert replies[0] == replies[2] == Failure("not asked")
    assert recalled.missing == [[prompt("b"), prompt("bad")], []] and recalled.name == "counting"
    assert writer.asked == ["a", "bad", "long"]


def test_an_interruption_keeps_every_reply_before_it(tmp_path: Path) -> None:
    path, writer = tmp_path / "journal.jsonl", Counting()
    with pytest.raises(KeyboardInterrupt):
        run(writer, path, ["a", "b", "crash", "c"])
    again = Counting()
    assert set(run(again, path, ["a", "b", "c"])) == {"a", "b", "c"}
    assert again.asked == ["c"]


def test_a_torn_last_line_is_left_out_and_written_after(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    run(Counting(), path, ["a", "b"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    again = Counting()
    run(again, path, ["a", "b"])
    assert again.asked == ["b"]
    assert [entry["reply"] for entry in Journal(path).entries()] == ["A", "B"]
    path.write_bytes(b"\xff\xfe\n[]\n" + path.read_bytes())
    assert len(list(Journal(path).entries())) == 2


def test_another_length_or_wording_is_another_prompt(tmp_path: Path) -> None:
    path, writer = tmp_path / "journal.jsonl", Counting()
    run(writer, path, ["a"])
    run(writer, path, ["a"], max_tokens=10)
    run(writer, path, ["A"])
    assert writer.asked == ["a", "a", "A"]
    with Journal(path) as journal:
        remembered = Remembered(writer, journal)
        assert remembered.missing([prompt("a"), prompt("z")], 9) == 1
        assert remembered.name == "counting"
