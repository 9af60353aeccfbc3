"""The demo's data: what it promises about wordings, facts and the projector's share."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from gag.demo.labs import LABS, general_sample, load_lab, seen_by_projector
from gag.demo.run import Demo
from gag.errors import ConfigError
from gag.evaluation.metrics import fact_recall


@pytest.mark.parametrize("name", LABS)
def test_lab(name: str) -> None:
    lab = load_lab(name)
    assert len(lab.documents) == 26 and len(lab.train) == 624 and len(lab.test) == 208
    wordings = {q.question for q in lab.train}
    texts = {d.id: d.text for d in lab.documents}
    for q in lab.test:
        assert q.question not in wordings
        assert all(fact_recall(answer, q.meta["value"]) for answer in q.answers)
        assert q.meta["value"] in texts[q.meta["document"]]
        assert not fact_recall(q.question, q.meta["value"])
    facts = {q.meta["fact"]: seen_by_projector(q) for q in lab.test}
    assert all(facts[q.meta["fact"]] == seen_by_projector(q) for q in lab.train)
    assert 0.25 < sum(not seen for seen in facts.values()) / len(facts) < 0.35
    assert {q.meta["fact"] for q in lab.align} == {fact for fact, seen in facts.items() if seen}


def test_labs_share_no_entity() -> None:
    one, other = (load_lab(name) for name in LABS)
    assert not {d.title for d in one.documents} & {d.title for d in other.documents}
    assert not {q.meta["value"] for q in one.test} & {q.meta["value"] for q in other.test}


def test_general_questions_have_answers() -> None:
    sample = general_sample(50)
    assert len(sample) == 50 and all(q.answers for q in sample)


def test_the_first_documents_of_a_lab_keep_their_questions_only() -> None:
    lab = load_lab("adjuvant").first(8)
    assert len(lab.documents) == 8 and len(lab.train) == 192 and len(lab.test) == 64
    assert {q.meta["document"] for q in lab.test} == {d.id for d in lab.documents}


@pytest.mark.parametrize("fast", [False, True])
def test_the_demo_overwrites_no_other_workspace(tmp_path: Path, fast: bool) -> None:
    demo = Demo(tmp_path, Console(), fast=fast)
    labs = {name: load_lab(name) for name in LABS}
    demo.workspace(labs)
    made = (tmp_path / "gag.yaml").read_text("utf-8")
    Demo(tmp_path, Console(), fast=not fast).workspace(labs)
    demo.workspace(labs)
    assert (tmp_path / "gag.yaml").read_text("utf-8") == made
    (tmp_path / "gag.yaml").write_text(made + "# mine\n", "utf-8")
    demo.workspace(labs)
    assert (tmp_path / "gag.yaml").read_text("utf-8").endswith("# mine\n"), "the same choices: left as it is"
    (tmp_path / "gag.yaml").write_bytes(b"preset: \xff\n")
    with pytest.raises(ConfigError, match="is not this demo's own"):
        demo.workspace(labs)
    (tmp_path / "gag.yaml").write_text(made.replace("seed: ", "seed: 1", 1) + "# mine\n", "utf-8")
    with pytest.raises(ConfigError, match="is not this demo's own"):
        demo.workspace(labs)
    assert (tmp_path / "gag.yaml").read_text("utf-8").endswith("# mine\n")
