"""Recall against facts and slots: the invented facts, and the whole run on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.made_facts import KINDS, made_facts

from benchmarks import passing, scaling
from gag.config import load_config
from gag.domain import load_module
from gag.errors import ConfigError
from gag.records import read_questions
from gag.workspace_file import commented_yaml

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft


def test_facts_are_invented_and_fewer_are_the_first_ones() -> None:
    train, test = made_facts(200)
    assert len(train) == 600 and len(test) == 200
    assert len({q.question for q in (*train, *test)}) == 800
    assert made_facts(50)[1] == test[:50]
    assert made_facts(50, seed=1)[1] != test[:50]
    assert 110 < sum(q.meta["projector"] for q in test) < 170
    by_fact = {q.meta["fact"]: q.meta["value"] for q in test}
    assert len(by_fact) == 200 and all(by_fact[q.meta["fact"]] == q.answers[0] for q in train)
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert not any(q.answers[0] in q.question for q in train)


def test_every_size_and_number_of_slots_is_measured_once(
    place: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaling, "ASKED", 6)
    command = ["--out", str(place), "--facts", "16", "8", "--slots", "1", "2"]
    for choice in tiny:
        command += ["--set", choice]
    scaling.main(command)
    rows = json.loads((place / "scaling.json").read_text("utf-8"))
    wanted = {(f"{who}, {k} slots", f"{n} facts, {s}") for who in ("gag", "expert") for k in (1, 2) for n in (8, 16)
              for s in ("seen", "unseen")}  # fmt: skip
    assert {(row["method"], row["domain"]) for row in rows} == wanted
    assert all(row["metric"] == "fact_recall" and 1 <= row["n"] <= 3 for row in rows)
    assert (place / "scaling.png").read_bytes().startswith(b"\x89PNG")
    assert "facts, seen: gag" in capsys.readouterr().out
    scaling.main(command)
    assert "facts, seen: gag" not in capsys.readouterr().out
    assert json.loads((place / "scaling.json").read_text("utf-8")) == rows


def test_choices_are_compared_with_the_first_on_the_same_questions(
    place: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    scaling.write_workspace(place, [16, 24], tiny)
    asked = [read_questions(place / "data" / f"facts-{facts}" / "test.jsonl") for facts in (16, 24)]
    assert list(load_config(place / "gag.yaml").domains) == ["facts-16", "facts-24"]
    command = ["--workspace", str(place), "--domain", "facts-16", "facts-24", "--set", "readout.slots=2"]
    variants = ("alignment.epochs=1", "readout.parts=1 'readout.layers=[ -1]'")
    passing.main([*command, "--misses", "--variant", variants[0], "--variant", variants[1]])
    shown = capsys.readouterr().out
    assert "facts-16, facts-24: readout.slots=2 readout.parts=1 readout.layers=[ -1]" in shown
    modules = [load_module(folder) for folder in (place / "variants").glob("*/facts-*")]
    assert sorted(module.readout.parts for module in modules) == [1, 1, 3, 3]
    seen, unseen = (sum(q.meta["projector"] is side for part in asked for q in part) for side in (True, False))
    lines = [line.split() for line in shown.splitlines()]
    assert [line[1] for line in lines if line[:1] == ["seen"] and line[1].isdigit()] == [str(seen)] * 2
    assert [line[1] for line in lines if line[:1] == ["unseen"] and line[1].isdigit()] == [str(unseen)] * 2
    assert shown.count("seen - first: recall") == 2  # the second variant's, on seen and on unseen facts


def test_differences_are_of_the_same_questions() -> None:
    _, test = made_facts(8)
    first = [passing.Passed(q, "x", 1.0, 0.0, 4.0) for q in test]
    better = [passing.Passed(q, "x", 1.0, float(n % 2), 3.0) for n, q in enumerate(test)]
    seen = [n % 2 for n, q in enumerate(test) if q.meta["projector"]]
    line = passing.against(better, first).splitlines()[0]
    assert line.startswith(f"seen - first: recall {sum(seen) / len(seen):+.3f} [")
    assert line.endswith("nll -1.000 [-1.000, -1.000]")
    assert f"{sum(seen) / len(seen):.2f}" in passing.table(better).splitlines()[1]
    assert len(passing.misses(first)) == len(test) and len(passing.misses(better)) == len(test) // 2
    assert passing.misses(first)[0].endswith(f"{test[0].meta['value']!r} became 'x'")


@pytest.mark.parametrize("slots", scaling.CHOSEN)
def test_what_a_number_of_slots_needs_is_a_choice_there_is(slots: int) -> None:
    chosen = load_config(preset="demo", overrides=[f"readout.slots={slots}", *scaling.CHOSEN[slots]])
    assert chosen.projector.pretrain_pairs and chosen != load_config(preset="demo")


def test_another_workspace_is_left_as_it_is(tmp_path: Path) -> None:
    said = "domains:\n  mill:\n    qa: mill.jsonl\n"
    (tmp_path / "gag.yaml").write_text(said)
    with pytest.raises(ConfigError, match="another workspace"):
        scaling.main(["--out", str(tmp_path), "--facts", "8", "--slots", "1"])
    assert (tmp_path / "gag.yaml").read_text() == said
    (tmp_path / "gag.yaml").write_text(
        commented_yaml(load_config(preset="paper"))
    )  # as gag init writes it, no domain yet
    with pytest.raises(ConfigError, match="another workspace"):
        scaling.write_workspace(tmp_path, [8], [])


def test_other_choices_want_another_folder(tmp_path: Path) -> None:
    scaling.write_workspace(tmp_path, [8], ["expert.learning_rate=1.0e-3"])
    scaling.write_workspace(tmp_path, [16], ["expert.learning_rate=1.0e-3"])
    assert list(load_config(tmp_path / "gag.yaml").domains) == ["facts-8", "facts-16"]
    with pytest.raises(ConfigError, match="other choices"):
        scaling.main(["--out", str(tmp_path), "--facts", "24", "--slots", "1"])
    assert load_config(tmp_path / "gag.yaml").expert.learning_rate == 1e-3
