"""Kept answers come back as they were."""

from __future__ import annotations

from pathlib import Path

from gag.evaluation.answers import AnswerLog, Outcome
from gag.records import Answer, Citation, Question, Route

QUESTION = Question("q", "why?", ("x",))


def test_an_answer_comes_back_with_all_its_parts(tmp_path: Path) -> None:
    answer = Answer(
        "q",
        "x",
        "raft",
        route=Route("d", {"d": 0.5}),
        prompt_tokens=3,
        timings={"total": 0.1},
        background="y",
        background_probability=0.83,
        passages=("p", "r"),
        passage_scores=(0.5, 0.25),
        citations=(Citation("x", "p", (0, 1)), Citation("y")),
    )
    AnswerLog(tmp_path, "raft", "d", "key").add([Outcome(QUESTION, answer, 0.5)])
    kept = AnswerLog(tmp_path, "raft", "d", "key").get(QUESTION, nll=True)
    assert kept is not None and kept.answer == answer and kept.nll == 0.5
    assert AnswerLog(tmp_path, "raft", "d", "other").get(QUESTION) is None


def test_a_method_that_does_not_cite_has_no_citations_afterwards(tmp_path: Path) -> None:
    AnswerLog(tmp_path, "rag", "d", "key").add([Outcome(QUESTION, Answer("q", "x", "rag"))])
    kept = AnswerLog(tmp_path, "rag", "d", "key").get(QUESTION)
    assert kept is not None and kept.answer is not None and kept.answer.citations is None
