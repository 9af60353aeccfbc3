"""Bad input of every kind: exit code 2, one line that says what and where, one that says what to do, nothing made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Gag = Callable[..., Any]
ROW = {"id": "a", "question": "what?", "answers": ["that"]}


def lines(*rows: object) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


FILES = {
    "empty": ("", "is empty"),
    "not json": (lines(*({**ROW, "id": str(n)} for n in range(16)), "{oops}"), "line 17: not JSON"),
    "no question": (lines({"id": "a", "answers": ["x"]}), "line 1: the field 'question' is missing"),
    "no answer": (lines({"id": "a", "question": "what?"}), "'a' has no answer"),
    "same id": (lines(ROW, ROW), "line 2: the id 'a' is already used in line 1"),
    "long answer": (lines({**ROW, "answers": ["y" * 9000]}), "The answer of 'a' has 9001 tokens"),
    "long question": (lines({**ROW, "question": "y" * 9000}), "Question 'a': The expert's prompt has"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_bad_file(kind: str, lab: Path, gag: Gag) -> None:
    text, said = FILES[kind]
    (lab / "bad.jsonl").write_text(text)
    ran = gag("build", "bad", "--qa", "bad.jsonl", cwd=lab)
    assert ran.code == 2
    assert said in ran.error[0]
    assert ran.out == ""
    assert not (lab / "modules" / "bad").exists()


COMMANDS = {
    "no such file": (["build", "x", "--qa", "nothere.jsonl"], "nothere.jsonl does not exist"),
    "no pairs": (["build", "x"], "has no question-answer pairs"),
    "domain name": (["build", "../x", "--qa", "../qa.jsonl"], "cannot be a domain's name"),
    "taken name": (["build", "general", "--qa", "../qa.jsonl"], "is taken by the system"),
    "unknown key": (["ask", "what?", "--set", "readot.slots=2"], "unknown key readot (did you mean readout?)"),
    "unknown leaf": (["ask", "what?", "--set", "readout.slot=2"], "did you mean readout.slots?"),
    "no value": (["ask", "what?", "--set", "readout"], "is not key=value"),
    "preset": (["init", "new", "--preset", "papr"], "Did you mean 'paper'?"),
    "unused documents": (["build", "x", "--qa", "../qa.jsonl", "--documents", "../qa.jsonl"], "pretrain_epochs is 0"),
    "tracker": (["build", "x", "--qa", "../qa.jsonl", "--report-to", "paper"], "--report-to paper: no such tracker"),
    "tokenizer": (["ask", "what?", "--set", "models.base.source=../no-tokenizer"], "has no tokenizer"),
    "model": (["ask", "what?", "--set", "models.base.source=./nowhere"], "is not there"),
    "other base": (["ask", "what?", "--set", "models.base.source=../expert"], "was built with the base ../base"),
    "other encoder": (["route", "what?", "--set", "models.encoder.source=../expert"], "was built with the encoder"),
    "unknown domain": (["ask", "what?", "--domain", "law"], "There is no domain 'law'"),
    "long question": (["ask", "y" * 9000, "--domain", "adjuvant"], "context of 4096"),
    "long for the base": (["ask", "y" * 9000, "--method", "base"], "context of 4096"),
    "empty question": (["ask", " "], "The question is empty"),
    "empty route": (["route", ""], "The question is empty"),
    "base with a domain": (["ask", "what?", "--method", "base", "--domain", "adjuvant"], "has no meaning"),
    "order alone": (["router", "eval", "../qa.jsonl", "--order", "a"], "in which order routes are added"),
    "pool without routes": (["router", "eval", "../qa.jsonl"], "does not say which route is right"),
    "no module": (["domain", "show", "law"], "There is no domain module at"),
    "no module folder": (["domain", "add", "../base"], "is no domain module"),
    "workspace": (["ask", "what?", "-w", ".."], "is no workspace"),
    "full folder": (["export", "llamafactory", "x", "--qa", "../qa.jsonl", "--out", "."], "is not an empty folder"),
    "expert": (["build", "x", "--qa", "../qa.jsonl", "--expert", "./nowhere"], "is not there"),
    "no verb": (["bild", "x"], "bild"),
    "no option": (["ask", "what?", "--domian", "x"], "--domian"),
    "no question": (["ask"], "QUESTION"),
    "method": (["ask", "what?", "--method", "bse"], "bse"),
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_bad_command(kind: str, built: Path, gag: Gag) -> None:
    arguments, said = COMMANDS[kind]
    spare = built.parent / "no-tokenizer"
    if kind == "tokenizer" and not spare.exists():
        shutil.copytree(built.parent / "base", spare, ignore=shutil.ignore_patterns("tokenizer*", "*.jinja"))
    modules = sorted((built / "modules").iterdir())
    ran = gag(*arguments, cwd=built)
    assert ran.code == 2, ran.err
    assert said in ran.error[0], ran.err
    assert ran.out == ""
    assert sorted((built / "modules").iterdir()) == modules


def test_usage_errors_name_the_help(gag: Gag) -> None:
    assert gag("ask", "--bogus", "x").error[1].strip() == "See: gag ask --help"


def test_no_workspace(tmp_path: Path, gag: Gag) -> None:
    ran = gag("domain", "list", cwd=tmp_path)
    assert ran.code == 2
    assert "There is no gag.yaml" in ran.error[0]
    assert "gag init" in ran.error[1]


def test_a_gag_yaml_that_is_not_yaml(tmp_path: Path, gag: Gag) -> None:
    (tmp_path / "gag.yaml").write_text("readout: [1\n")
    ran = gag("domain", "list", cwd=tmp_path)
    assert ran.code == 2
    assert "gag.yaml line" in ran.error[0]


def test_a_worker_says_which_one_it_is(tmp_path: Path, gag: Gag, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert gag("domain", "list", cwd=tmp_path).err.startswith("process 1: error: There is no gag.yaml")
