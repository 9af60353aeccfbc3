"""The same questions under several choices: means, differences, and how sure the expert was."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks import choices, scaling
from gag.errors import ConfigError
from gag.evaluation.runner import Evaluated
from gag.pipeline import Build
from gag.records import Answer, Question, write_jsonl
from gag.workspace import open_workspace

QUESTIONS = tuple(Question(str(n), f"What is {n}?", ("x",)) for n in range(4))
SURE = (None, 0.4, 0.72, 0.95)


def found(scores: tuple[float, ...]) -> Evaluated:
    answers = tuple(
        Answer(q.id, "x", "gag", background_probability=sure) for q, sure in zip(QUESTIONS, SURE, strict=True)
    )
    return Evaluated("gag", QUESTIONS, answers, {"token_f1": scores})


def test_answers_are_told_apart_by_how_sure_the_expert_was() -> None:
    rows = [line.split() for line in choices.table(found((0.0, 0.5, 0.25, 1.0))).splitlines()]
    assert [(row[0], row[1], row[2]) for row in rows[1:]] == [
        ("any", "4", "0.438"),
        ("0.50", "2", "0.625"),
        ("0.60", "2", "0.625"),
        ("0.70", "2", "0.625"),
        ("0.80", "1", "1.000"),
        ("0.90", "1", "1.000"),
    ]
    line = choices.against(found((1.0, 0.5, 0.5, 1.0)), found((0.0, 0.5, 0.25, 1.0)))
    assert line.split()[:4] == ["token_f1", "-", "first", "+0.312"]


def test_a_metric_without_a_value_is_left_out() -> None:
    scores = (0.0, math.nan, 0.5, math.nan)
    rows = [line.split() for line in choices.table(found(scores)).splitlines()]
    assert [row[:3] for row in rows[1:3]] == [["any", "4", "0.250"], ["0.50", "2", "0.500"]]
    assert rows[-1] == ["0.90", "1"]
    assert choices.against(found(scores), found(scores)).split()[3] == "+0.000"


def test_only_how_a_module_answers_is_chosen() -> None:
    assert choices.chosen("generation.refine_steps=3 generation.refine_above=0.5") == {
        "refine_steps": 3,
        "refine_above": 0.5,
    }
    with pytest.raises(ConfigError, match=r"readout\.slots=2 is no choice"):
        choices.chosen("generation.refine_steps=3 readout.slots=2")
    with pytest.raises(ConfigError, match=r"did you mean generation\.refine_steps"):
        choices.chosen("generation.refine_step=3")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft
def test_variants_of_one_module(place: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    scaling.write_workspace(place, [8], tiny)
    Build(open_workspace(place), "facts-8").run(Build.module)
    rows = [json.loads(line) for line in (place / "data" / "facts-8" / "test.jsonl").read_text("utf-8").splitlines()]
    write_jsonl(place / "asked.jsonl", [{**row, "domain": None} for row in rows])  # of public sets, none has one
    asked = ["--workspace", str(place), "--domain", "facts-8", "--limit", "4", "--metrics", "nll,fact_recall"]
    asked += ["--questions", str(place / "asked.jsonl")]
    plain, moved = "generation.refine_steps=0", "generation.refine_steps=9 generation.refine_above=0"
    choices.main([*asked, "--variant", plain, "--variant", moved, "--variant", plain])
    shown = capsys.readouterr().out
    assert f"facts-8, gag-oracle: {moved}" in shown
    differences = [line.split() for line in shown.splitlines() if line.strip().startswith("nll - first")]
    assert [row[3] == "+0.000" for row in differences] == [False, True]
    assert [line.split()[1] for line in shown.splitlines() if line.split()[:1] == ["any"]] == ["4", "4", "4"]
