"""Splits by document: both sides where there can be, stable when documents come, never across."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gag.corpus.synthesis.splits import assign, assign_and_keep, kept_sides, training_pairs
from gag.errors import InputError
from gag.records import Question, write_jsonl

IDS = [f"doc{n}" for n in range(20)]


@given(st.lists(st.text(min_size=1, max_size=5), max_size=30), st.floats(0, 0.99), st.integers(0, 3))
def test_every_document_has_a_side_and_some_are_for_training(ids: list[str], share: float, seed: int) -> None:
    sides = assign(ids, share, seed)
    assert set(sides) == set(ids)
    if ids:
        assert "train" in sides.values()
    if share and len(set(ids)) > 1:
        assert "test" in sides.values()


def test_the_share_is_kept_to_and_zero_takes_none() -> None:
    assert list(assign(IDS, 0.25, 42).values()).count("test") == 5
    assert set(assign(IDS, 0.0, 42).values()) == {"train"}
    assert assign(IDS, 0.25, 42) == assign(list(reversed(IDS)), 0.25, 42)
    assert assign(IDS, 0.25, 42) != assign(IDS, 0.25, 43)


def test_a_document_keeps_its_side(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    first = assign_and_keep(path, IDS[:10], 0.2, 42)
    second = assign_and_keep(path, IDS, 0.2, 42)
    assert {i: second[i] for i in first} == first
    assert list(second.values()).count("test") == 4
    third = assign_and_keep(path, IDS[5:], 0.2, 42)
    assert {i: third[i] for i in third} == {i: second[i] for i in third}


@pytest.mark.parametrize(
    "text", ["", "{", '{"share": 0.2}', '{"share": 0.2, "seed": 42, "documents": []}', "[]", "\x00"]
)
def test_a_damaged_file_is_made_anew(text: str, tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    path.write_text(text)
    assert kept_sides(path, 0.2, 42) == {}
    assert assign_and_keep(path, IDS, 0.2, 42) == assign(IDS, 0.2, 42)
    assert kept_sides(path, 0.3, 42) == {}


def test_training_pairs_leave_the_test_side_out_of_the_synthesised_file_only(tmp_path: Path) -> None:
    rows = [Question(f"q{n}", "what?", ("x",), meta={"split": side}) for n, side in enumerate(("train", "test"))]
    made, other = tmp_path / "qa.jsonl", tmp_path / "mine.jsonl"
    for path in (made, other):
        write_jsonl(path, rows)
    assert [q.id for q in training_pairs(made, made)] == ["q0"]
    assert [q.id for q in training_pairs(other, made)] == ["q0", "q1"]
    write_jsonl(made, rows[1:])
    with pytest.raises(InputError, match="kept for testing"):
        training_pairs(made, made)
