"""`gag eval` and `gag ask --method`: any method of the shelf, measured and asked; what goes wrong is said."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gag.cli.eval import DEFAULT_METRICS
from gag.records import Answer, Question, write_jsonl

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

Gag = Callable[..., Any]
QUESTION = "what does adjuvant 3 bind?"
PAIRS = ("--set", "domains.adjuvant.qa=../qa.jsonl")


@pytest.fixture(scope="module")
def place(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace with documents and test questions, for this file's tests together."""
    home = tmp_path_factory.mktemp("eval") / "home"
    shutil.copytree(built.parent, home)
    lab = home / "lab"
    rows = [{"id": f"d{n}", "text": f"What adjuvant {n} binds: it is {n}. " * 2} for n in range(8)]
    write_jsonl(lab / "data" / "adjuvant" / "documents.jsonl", rows)
    tests = [{"id": f"t{n}", "question": f"what would adjuvant {n} bind?", "answers": [f"it is {n}"]} for n in range(4)]
    write_jsonl(lab / "test.jsonl", tests)
    write_jsonl(lab / "long.jsonl", [*tests, {"id": "long", "question": "why " * 2000, "answers": ["x"]}])
    return lab


def test_a_table_with_intervals(place: Path, gag: Gag) -> None:
    ran = gag("eval", "--method", "base", "--questions", "test.jsonl", cwd=place)
    assert ran.code == 0, ran.err
    for name in list(DEFAULT_METRICS):
        assert name in ran.out
    assert "95 % interval" in ran.out and " to " in ran.out
    assert "base on 4 questions of general" in ran.err


def test_the_same_as_json(place: Path, gag: Gag) -> None:
    row = gag("eval", "--method", "gag", "--domain", "adjuvant", "--questions", "test.jsonl", "--json", cwd=place).json
    assert list(row) == ["method", "domain", "questions", "failed", "rows", "remarks", "seconds"]
    assert (row["method"], row["domain"], row["questions"], row["failed"]) == ("gag", "adjuvant", 4, [])
    assert [r["metric"] for r in row["rows"]] == list(DEFAULT_METRICS)
    assert set(row["rows"][0]) == {"method", "domain", "metric", "value", "ci_low", "ci_high", "n"}
    added = next(r for r in row["rows"] if r["metric"] == "added_tokens")
    assert (added["value"], added["n"]) == (2, 4)


def test_retrieval_says_with_what(place: Path, gag: Gag) -> None:
    ran = gag("eval", "--method", "rag", "--domain", "adjuvant", "--questions", "test.jsonl", cwd=place)
    assert ran.code == 0, ran.err
    assert "adjuvant: the best 1 (xrag: the best one) of 8 passages, by ../encoder" in ran.err
    assert "no ColBERT checkpoint is configured" in ran.err


def test_every_answer_is_written(place: Path, gag: Gag, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "answers.jsonl"
    ran = gag(
        *("eval", "--method", "rag", "--domain", "adjuvant", "--questions", "test.jsonl", "--metrics"),
        *("token_f1,added_tokens", "--limit", "3", "--out", out, "--set", "retrieval.top_k=2"),
        cwd=place,
    )
    assert ran.code == 0, ran.err
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [row["id"] for row in rows] == ["t0", "t1", "t2"]
    for row in rows:
        assert row["values"].keys() == {"token_f1", "added_tokens"}
        assert row["domain"] == "adjuvant" and row["method"] == "rag"
        assert row["text"] == row["answer"]["text"]
        assert len(row["answer"]["passages"]) == len(row["answer"]["passage_scores"]) == 2


def test_training_is_kept_between_commands(place: Path, gag: Gag) -> None:
    command = ("eval", "--method", "lora", "--domain", "adjuvant", "--questions", "test.jsonl", *PAIRS)
    quick = ("--set", "lora.epochs=1", "--set", "lora.rank=2", "--json")
    first = gag(*command, *quick, cwd=place)
    assert first.code == 0, first.err
    again = gag(*command, *quick, cwd=place)
    assert "lora kept" in again.err
    assert [r["value"] for r in again.json["rows"]][:4] == pytest.approx([r["value"] for r in first.json["rows"]][:4])


def test_a_question_that_fails_is_named_and_the_run_goes_on(place: Path, gag: Gag, tmp_path: Path) -> None:
    command = ("eval", "--method", "base", "--questions", "long.jsonl", "--metrics", "token_f1,nll")
    ran = gag(*command, "--out", tmp_path / "a.jsonl", cwd=place)
    assert ran.code == 0, ran.err
    assert "failed: long: The prompt has" in ran.err
    assert "1 of 5 questions failed; they count as wrong." in ran.err
    assert "Traceback" not in ran.err
    last = json.loads((tmp_path / "a.jsonl").read_text("utf-8").splitlines()[-1])
    assert last["text"] is None and "The prompt has" in last["error"]
    assert last["values"] == {"token_f1": 0.0, "nll": None}
    row = gag(*command, "--json", cwd=place).json
    assert [failed["id"] for failed in row["failed"]] == ["long"]
    assert {r["metric"]: r["n"] for r in row["rows"]} == {"token_f1": 5, "nll": 4}


def test_none_answered_is_a_failure(place: Path, gag: Gag) -> None:
    write_jsonl(place / "all.jsonl", [{"id": "long", "question": "why " * 2000, "answers": ["x"]}])
    ran = gag("eval", "--method", "base", "--questions", "all.jsonl", cwd=place)
    assert ran.code == 1
    assert "base answered none of 1 questions; the first failed with: The prompt has" in ran.error[0]
    assert ran.out == ""


WRONG: dict[str, tuple[tuple[str, ...], str, str]] = {
    "no answers": (("--questions", "open.jsonl"), "open.jsonl line 2: the question 'b' has no answer.", '"answers"'),
    "a list in a string": (("--questions", "text.jsonl"), "'answers' must be a list of texts", '["first", "second"]'),
    "no file": (("--questions", "nowhere.jsonl"), "nowhere.jsonl does not exist", "Check the path"),
    "no questions": (("--questions", "empty.jsonl"), "empty.jsonl is empty", "JSON object"),
    "method": (("--questions", "test.jsonl", "--method", "rga"), "There is no method 'rga'", "gag-or-rag"),
    "metric": (
        ("--questions", "test.jsonl", "--metrics", "token_f"),
        "does not measure 'token_f'. Did you mean token_f1?",
        "nll, exact_match",
    ),
    "no metric": (("--questions", "test.jsonl", "--metrics", " ,"), "--metrics names no metric", "For instance"),
    "no domain": (("--questions", "test.jsonl", "--method", "rag"), "The method rag needs a domain", "adjuvant"),
    "domain": (
        ("--questions", "test.jsonl", "--method", "rag", "--domain", "adjuvnt"),
        "There is no domain 'adjuvnt'",
        "gag build adjuvnt",
    ),
    "no pairs": (
        ("--questions", "test.jsonl", "--method", "lora", "--domain", "adjuvant"),
        "has no question-answer pairs",
        "domains.adjuvant.qa",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_two_lines(case: str, place: Path, gag: Gag) -> None:
    write_jsonl(place / "open.jsonl", [{"id": "a", "question": "?", "answers": ["x"]}, {"id": "b", "question": "?"}])
    write_jsonl(place / "text.jsonl", [{"id": "a", "question": "?", "answers": "['x']"}])
    (place / "empty.jsonl").write_text("")
    given, message, hint = WRONG[case]
    ran = gag("eval", *given, cwd=place)
    assert ran.code == 2, ran.err
    assert message in ran.error[0]
    assert hint in ran.error[1]
    assert ran.out == ""


class Parrot:
    """A method of another package, without a base."""

    name = "parrot"

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        return [Answer(q.id, q.answers[0] if q.answers else "what?", self.name) for q in questions]


@pytest.fixture
def parrots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "parrots", SimpleNamespace(make=lambda shelf, domain: Parrot()))
    found = [EntryPoint("parrot", "parrots:make", "gag.methods")]
    monkeypatch.setattr("gag.methods.shelf.entry_points", lambda group: found)


@pytest.mark.usefixtures("parrots")
def test_a_method_of_another_package(place: Path, gag: Gag) -> None:
    row = gag("eval", "--method", "parrot", "--questions", "test.jsonl", "--json", cwd=place).json
    values = {r["metric"]: r["value"] for r in row["rows"]}
    assert values["exact_match"] == 1 and "nll" not in values
    asked = gag("eval", "--method", "parrot", "--questions", "test.jsonl", "--metrics", "nll", cwd=place)
    assert "parrot gives no likelihoods" in asked.error[0]
    said = gag("ask", QUESTION, "--method", "parrot", "--domain", "adjuvant", "--json", cwd=place).json
    assert (said["text"], said["route"]) == ("what?", "adjuvant")


@pytest.mark.parametrize("method", ["constant", "rag", "xrag", "gag+rag"])
def test_asking_by_a_method(method: str, place: Path, gag: Gag) -> None:
    ask = ("ask", QUESTION, "--method", method, *PAIRS, "--json")
    named = gag(*ask, "--domain", "adjuvant", cwd=place)
    assert named.code == 0, named.err
    row = named.json
    assert (row["route"], row["scores"]) == ("adjuvant", {})
    assert ("passages" in row) == (method != "constant")
    routed = gag(*ask, cwd=place).json
    assert routed["text"] == row["text"] and set(routed["scores"]) == {"general", "adjuvant"}


def test_asking_with_passages_says_which(place: Path, gag: Gag) -> None:
    ran = gag("ask", QUESTION, "--method", "rag", "--domain", "adjuvant", cwd=place)
    assert "route adjuvant · " in ran.err and " knowledge tokens among " in ran.err and " · from d" in ran.err
    row = gag("ask", QUESTION, "--method", "rag", "--domain", "adjuvant", "--json", cwd=place).json
    assert ran.out == f"{row['text']}\n"
    assert len(row["passages"]) == 1 and row["dropped_passages"] == 0


def test_asking_without_a_module_needs_none_for_rag(place: Path, gag: Gag, tmp_path: Path) -> None:
    shutil.copytree(place.parent, tmp_path / "home")
    shutil.rmtree(tmp_path / "home" / "lab" / "modules")
    row = gag("ask", QUESTION, "--method", "rag", "--domain", "adjuvant", "--json", cwd=tmp_path / "home" / "lab").json
    assert row["passages"]


def test_asking_wrongly(place: Path, gag: Gag) -> None:
    assert "There is no method 'rga'" in gag("ask", QUESTION, "--method", "rga", cwd=place).error[0]
    assert "takes the route" in gag("ask", QUESTION, "--method", "gag-oracle", cwd=place).error[0]
    assert gag("ask", QUESTION, "--method", "gag-oracle", "--domain", "adjuvant", cwd=place).code == 0


def test_of_split_pairs_those_for_testing_are_asked(place: Path, gag: Gag) -> None:
    rows = [
        {"id": f"s{n}", "question": f"what {n}?", "answers": ["it"], "split": ("train", "test")[n % 2]} for n in (0, 1)
    ]
    write_jsonl(place / "split.jsonl", rows)
    ran = gag("eval", "--method", "base", "--questions", "split.jsonl", "--json", cwd=place)
    assert ran.json["questions"] == 1
    assert "Asked are the 1 of 2 questions" in ran.err
