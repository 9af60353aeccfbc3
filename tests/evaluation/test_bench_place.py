"""Answers are kept under all that decides them, nothing for testing is trained on, and what ran can be run again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gag.config import load_config
from gag.errors import ConfigError, InputError
from gag.evaluation.bench.found import Found
from gag.evaluation.bench.loading import load_bench, parse_bench
from gag.evaluation.bench.place import Place, open_place
from gag.evaluation.bench.results import write_found
from gag.records import write_jsonl


@pytest.fixture
def settle(small: dict[str, Any], tmp_path: Path) -> Callable[..., Place]:
    """`settle(key=…)` opens the place of the small bench with other top-level keys."""

    def made(**changes: Any) -> Place:
        return open_place(parse_bench({**small, **changes}, origin="test"), tmp_path / "out")

    return made


def keys(place: Place) -> dict[str, str]:
    return {
        name: place.answer_key(place.workspace, name, None if name in ("base", "gag") else "alloys")
        for name in ("base", "gag", "rag", "gag-oracle")
    }


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_weights_count_not_the_folders_name(
    small: dict[str, Any], settle: Callable[..., Place], tmp_path: Path
) -> None:
    expert = tmp_path / "expert"
    expert.mkdir()
    (expert / "adapter_model.safetensors").write_bytes(b"one")
    small["domains"]["alloys"]["expert"] = str(expert)
    before = keys(settle())
    assert keys(settle()) == before
    (expert / "adapter_model.safetensors").write_bytes(b"two")
    after = keys(settle())
    assert changed(before, after) == {"gag", "rag", "gag-oracle"}
    (expert / "notes.md").write_text("nothing that is loaded")
    assert keys(settle()) == after
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"one")
    settings = {"models": {"base": {"source": str(model)}}}
    before = keys(settle(settings=settings))
    (model / "model.safetensors").write_bytes(b"two")
    assert changed(before, keys(settle(settings=settings))) == {"base", "gag", "rag", "gag-oracle"}


def test_what_the_router_and_a_policy_learn_from_counts(
    small: dict[str, Any], settle: Callable[..., Place], tmp_path: Path, questions: Callable[..., str]
) -> None:
    settings = {"router": {"general_questions": questions(tmp_path / "g.jsonl", 2)}}
    before = keys(settle(settings=settings))
    questions(tmp_path / "g.jsonl", 3)
    assert "gag" in changed(before, keys(settle(settings=settings)))
    place = settle()
    before = keys(place)
    pointer = place.workspace.runs("alloys") / "rog.json"
    pointer.parent.mkdir(parents=True)
    pointer.write_text("{}")
    assert "rag" in changed(before, keys(settle()))


def test_training_makes_no_difference_to_the_base(settle: Callable[..., Place]) -> None:
    before = keys(settle())
    assert changed(before, keys(settle(settings={"alignment": {"epochs": 9}}))) == {"gag", "rag", "gag-oracle"}
    assert "base" in changed(before, keys(settle(settings={"generation": {"max_new_tokens": 9}})))


def test_gag_depends_on_every_module_that_it_routes_to(
    settle: Callable[..., Place], tmp_path: Path, questions: Callable[..., str]
) -> None:
    root = settle().workspace.root
    for name in ("alloys", "plants"):
        questions(root / "data" / name / "test.jsonl", 2)
        (root / "modules" / name).mkdir(parents=True)
        (root / "modules" / name / "manifest.json").write_text(name)
    tree = {"workspace": str(root), "methods": ["base"], "metrics": ["token_f1"]}
    again = open_place(parse_bench(tree, origin="test"), tmp_path / "other")
    before = keys(again)
    (root / "modules" / "law").mkdir()
    (root / "modules" / "law" / "manifest.json").write_text("one more route")
    assert changed(before, keys(again)) == {"gag"}


def test_pairs_kept_for_testing_are_not_trained_on(
    small: dict[str, Any], settle: Callable[..., Place], tmp_path: Path
) -> None:
    rows = [
        {"id": f"q{i}", "question": f"w {i}?", "answers": ["a"], "split": "test" if i > 3 else "train"}
        for i in range(6)
    ]
    write_jsonl(tmp_path / "qa.jsonl", rows)
    small["domains"]["plants"]["answers_as_passages"] = True
    folder = settle().workspace.data("plants") / "chosen"
    for part in ("qa", "align", "passages"):
        lines = (folder / f"{part}.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(line)["id"] for line in lines] == ["q0", "q1", "q2", "q3"], part
    write_jsonl(tmp_path / "qa.jsonl", [row for row in rows if row["split"] == "test"])
    with pytest.raises(InputError, match="kept for testing"):
        settle()


def test_the_projector_may_learn_what_the_expert_does_not(
    small: dict[str, Any], settle: Callable[..., Place], tmp_path: Path
) -> None:
    rows = [{"id": f"q{i}", "question": f"w {i}?", "answers": [f"a{i % 5}"]} for i in range(10)]
    write_jsonl(tmp_path / "qa.jsonl", rows)
    small["domains"]["plants"] |= {"train_limit": 2, "align_rest": True, "align_limit": 9}
    small["domains"]["alloys"] |= {"train_limit": 2, "align_limit": 4}

    def ids(name: str, part: str) -> list[str]:
        path = settle().workspace.data(name) / "chosen" / f"{part}.jsonl"
        return [json.loads(line)["id"] for line in path.read_text("utf-8").splitlines()]

    assert ids("plants", "qa") == ["q0", "q5"]
    assert ids("plants", "align") == ["q1", "q2", "q3", "q4", "q6", "q7", "q8", "q9"], (
        "no other wording of a fact either"
    )
    assert len(ids("alloys", "qa")) == 2 and len(ids("alloys", "align")) == 4
    del small["domains"]["plants"]["train_limit"]
    with pytest.raises(InputError, match="leaves no pair for align_rest"):
        settle()


def test_a_choice_that_is_taken_back_leaves_nothing(small: dict[str, Any], settle: Callable[..., Place]) -> None:
    small["domains"]["plants"]["answers_as_passages"] = True
    assert any(settle().workspace.passage_files("plants"))
    del small["domains"]["plants"]["answers_as_passages"]
    assert not any(settle().workspace.passage_files("plants"))
    del small["domains"]["plants"]["qa"]
    assert settle().workspace.qa("plants") is None


def test_what_ran_can_be_run_again_from_its_files(
    small: dict[str, Any], tmp_path: Path, questions: Callable[..., str]
) -> None:
    (tmp_path / "general").mkdir()
    for name in ("nq_open", "webquestions", "freebaseqa", "hotpotqa"):
        questions(tmp_path / "general" / f"{name}.jsonl", 2)
    small |= {"preset": "quick", "reference": "base", "main_metric": "token_f1", "methods": ["base", "gag"]}
    small["settings"] = {"preset": "demo", "alignment": {"epochs": 5}, "generation": {"max_new_tokens": 128}}
    small["tables"] = {"general": {}, "readout": None, "stages": None, "depth": None, "cost": None, "routing": None}
    file = tmp_path / "bench.yaml"
    file.write_text(yaml.safe_dump(small), "utf-8")
    config = load_bench(file, data=tmp_path)
    assert config.tables.readout is None
    for name in config.domains:
        assert Path(config.domains[name].test).is_absolute()
    place = open_place(config.model_copy(update={"domains": {"alloys": config.domains["alloys"]}}), tmp_path / "out")
    write_found(place, Found())
    again = load_bench(tmp_path / "out" / "bench.yaml")
    assert again.model_dump(exclude={"preset"}) == place.config.model_dump(exclude={"preset"})
    said = load_config(tmp_path / "out" / "workspace" / "gag.yaml")
    assert said.model_dump(exclude={"preset"}) == place.workspace.config.model_dump(exclude={"preset"})
    assert (said.alignment.epochs, said.generation.max_new_tokens) == (5, 128)


def test_a_table_of_a_workspaces_domain(
    settle: Callable[..., Place], tmp_path: Path, questions: Callable[..., str]
) -> None:
    root = settle().workspace.root
    for name in ("alloys", "plants"):
        questions(root / "data" / name / "test.jsonl", 2)
    tree = {"workspace": str(root), "methods": ["base"], "metrics": ["token_f1"]}
    named = {**tree, "tables": {"stages": {"domains": ["plants"]}}}
    assert list(open_place(parse_bench(named, origin="t"), tmp_path / "o").domains) == ["alloys", "plants"]
    named = {**tree, "tables": {"stages": {"domains": ["law"]}}}
    with pytest.raises(ConfigError, match="names the domain law"):
        open_place(parse_bench(named, origin="t"), tmp_path / "o")
