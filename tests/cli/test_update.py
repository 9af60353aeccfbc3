"""`gag update` and `gag domain rollback`, as a terminal and a script see them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gag.cli import update as verb
from gag.corpus.synthesis.synthesis import Report
from gag.updating.plan import LEARNT, NEW, OLD, Known, Plan
from gag.updating.update import Updated
from gag.workspace import open_workspace

Gag = Callable[..., Any]

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft


def test_refused_forced_rolled_back_and_removed(lab: Path, gag: Gag, questions: Callable[..., Path]) -> None:
    texts = [f"what does adjuvant {number} bind?" for number in range(8)]
    assert "nothing new to learn" in gag("update", "adjuvant", "--qa", "../qa.jsonl", cwd=lab).out
    questions(lab / "more.jsonl", [*texts, "what is new?", "what is newer?", "what is newest?"])
    questions(lab / "new.jsonl", ["what is new?", "what is newer?"])
    alone = gag("update", "adjuvant", "--qa", "new.jsonl", "--force", cwd=lab)
    assert alone.code == 2 and "None of the 8 pairs that adjuvant learnt is in new.jsonl" in alone.error[0]
    choices = ("--set", "update.max_loss=0", "--set", "update.projector=keep")
    command = ("update", "adjuvant", "--qa", "more.jsonl", *choices)

    refused = gag(*command, "--json", cwd=lab)
    assert refused.code == 1 and "is not promoted" in refused.error[0] and "--force" in refused.error[1]
    found = refused.json
    assert not found["promoted"] and found["refused"] and found["pairs"]["new"] == 3
    assert Path(found["candidate"], "module.json").is_file()

    forced = gag(*command, "--force", cwd=lab)
    assert forced.code == 0 and "Promoted: modules/adjuvant, version 2, forced" in forced.out
    assert "learnt" in forced.out and "gag domain rollback adjuvant" in forced.out
    shown = gag("domain", "show", "adjuvant", cwd=lab).out
    assert "built from 8 pairs" in shown and "updated by 3 new pairs" in shown

    back = gag("domain", "rollback", "adjuvant", cwd=lab)
    assert back.code == 0 and "version 1 again" in back.out and "modules/.previous/adjuvant" in back.err
    assert gag("domain", "rollback", "adjuvant", "--json", cwd=lab).json["version"] == "2"
    gag("domain", "rm", "adjuvant", "-y", cwd=lab)
    gone = gag("domain", "rollback", "adjuvant", cwd=lab)
    assert gone.code == 2 and "no earlier module" in gone.error[0]


def test_what_was_left_out_is_named(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan([], [], {OLD: [], LEARNT: [], NEW: []}, {}, [], Known(frozenset(), frozenset()), 0, 0)
    report = Report("adjuvant", "writer", "plain", left_out={"d#1": "status 400: too long"})
    verb._show(open_workspace(lab), "adjuvant", Updated("adjuvant", plan, synthesised=report))
    shown = capsys.readouterr()
    assert "1 passage left out" in shown.err and "d#1: status 400: too long" in shown.err
    assert "nothing new to learn" in shown.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("update", "other"), "There is no module of other"),
        (("update", "adjuvant", "papers", "--qa", "../qa.jsonl"), "would teach it nothing"),
        (("update", "adjuvant"), "has no question-answer pairs"),
        (("update", "adjuvant", "--set", "update.replay=-1"), "update.replay"),
        (("update", "ad/juvant"), "cannot be a domain's name"),
        (("domain", "rollback", "adjuvant"), "no earlier module"),
    ],
)
def test_bad_input(built: Path, gag: Gag, arguments: tuple[str, ...], says: str) -> None:
    ran = gag(*arguments, cwd=built)
    assert ran.code == 2 and says in ran.error[0]
