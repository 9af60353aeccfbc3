"""Our own JSONL under any name, what it must have, and the public data as kept beside the repository (marker data)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gag.errors import InputError
from gag.evaluation.datasets import read_dataset

DATA = Path(os.environ.get("GAG_DATA") or Path(__file__).parents[4] / "shared" / "data")


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n" + "".join(json.dumps(row) + "\n\n" for row in rows), "utf-8")
    return path


def test_our_own_records_under_their_name_and_a_sets(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", {"id": "a", "question": "q?", "answers": ["b"], "domain": "d", "value": "v"})
    for name in ("jsonl", "nq_open", "popqa"):
        (question,) = read_dataset(name, path)
        assert (question.id, question.answers, question.domain, question.meta) == ("a", ("b",), "d", {"value": "v"})
    assert len(read_dataset("jsonl", tmp_path, limit=1)) == 1


def test_a_list_written_as_a_text_is_refused_with_its_line(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "x.jsonl",
        {"id": "a", "question": "q?", "answers": ["b"]},
        {"id": "c", "question": "q?", "answers": ["['d', 'e']"]},
    )
    with pytest.raises(InputError, match=r"x\.jsonl line 4: an answer is a list written as a text") as caught:
        read_dataset("jsonl", path)
    assert caught.value.hint == 'Write the list itself: ["d", "e"]'
    path = jsonl(tmp_path / "y.jsonl", {"id": "a", "question": "q?", "answers": "['d', 'e']"})
    with pytest.raises(InputError, match=r"y\.jsonl line 2: 'answers' must be a list of texts"):
        read_dataset("jsonl", path)


def test_a_question_without_answers_has_to_say_so(tmp_path: Path) -> None:
    good = {"id": "a", "question": "q?", "answers": ["b"]}
    for answers in ([], [" "]):
        path = jsonl(tmp_path / "x.jsonl", good, {"id": "c", "question": "q?", "answers": answers})
        with pytest.raises(InputError, match=r"x\.jsonl line 4: the question 'c' has no answer"):
            read_dataset("jsonl", path)
    path = jsonl(tmp_path / "x.jsonl", good, {"id": "c", "question": "q?", "answers": ["", "d"]})
    assert [q.answers for q in read_dataset("jsonl", path)] == [("b",), ("d",)]
    path = jsonl(tmp_path / "x.jsonl", good, {"id": "c", "question": "q?", "answers": [], "unanswerable": True})
    assert read_dataset("jsonl", path)[1].answers == ()


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")
@pytest.mark.parametrize(
    ("name", "path", "count"),
    [
        ("nq_open", "general/nq_open.jsonl", 800),
        ("webquestions", "general/webquestions.jsonl", 800),
        ("freebaseqa", "general/freebaseqa.jsonl", 800),
        ("hotpotqa", "general/hotpotqa.jsonl", 800),
        ("jsonl", "general/hotpotqa_contexts_100.jsonl", 100),
        ("jsonl", "materials/chemlitqa_test.jsonl", 211),
        ("jsonl", "materials/retchemqa_test.jsonl", 1099),
        ("medquad", "medicine/medquad_test.jsonl", 300),
        ("housing_qa", "law/housing_qa_test.jsonl", 100),
        ("aviationqa", "aviation/aviationqa_test.jsonl", 200),
        ("gsm8k", "math/gsm8k_test.jsonl", 200),
        ("jsonl", "finance/tatqa_dev.jsonl", 400),
        ("jsonl", "kg/metaqa_2hop_dev.jsonl", 200),
        ("jsonl", "routing/dev_pool.jsonl", 1200),
    ],
)
def test_the_data_kept_beside_the_repository(name: str, path: str, count: int) -> None:
    questions = read_dataset(name, DATA / path)
    assert len(questions) == count
    assert all(question.answers for question in questions)
