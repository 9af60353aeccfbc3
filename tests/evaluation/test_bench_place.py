"""Answers are kept under all that decides them, nothing for testing is trained on, and what ran can be run again."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import EntryPoint
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
from gag.methods import shelf
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

    small["domains"]["plants"]["answers_as_passages"] = True
    assert ids("plants", "passages") == [f"q{i}" for i in (0, 5, 1, 2, 3, 4, 6, 7, 8, 9)], "retrieval reads as much"
    assert ids("plants", "qa") == ["q0", "q5"]
    assert ids("plants", "align") == ["q1", "q2", "q3", "q4", "q6", "q7", "q8", "q9"], (
        "no other wording of a fact either"
    )
    assert len(ids("alloys", "qa")) == 2 and len(ids("alloys", "align")) == 4
    small["domains"]["plants"]["align_limit"] = 4
    assert ids("plants", "dev") == ["q2", "q4", "q7", "q9"], "what nobody learns, for thresholds"
    del small["domains"]["plants"]["train_limit"]
    with pytest.raises(InputError, match="leaves no pair for align_rest"):
        settle()


@pytest.mark.parametrize("key", ["documents", "pool", "order"])
def test_what_is_missing_is_said_before_anything_is_asked(
    small: dict[str, Any], settle: Callable[..., Place], tmp_path: Path, key: str
) -> None:
    if key == "documents":
        small["domains"]["alloys"]["documents"] = str(tmp_path / "gone.jsonl")
    elif key == "pool":
        small["tables"] = {"routing": {"pool": str(tmp_path / "gone.jsonl"), "prototypes_from": "x.jsonl"}}
    else:
        small["tables"] = {"routing": {"order": ["alloys", "gone"]}}
    with pytest.raises((InputError, ConfigError), match="gone"):
        settle()


def test_another_packages_method_is_asked_anew_once_it_changes(
    settle: Callable[..., Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, module = settle(), tmp_path / "parrot.py"
    module.write_text("said = 'one'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("parrot", "parrot:make", shelf.GROUP)
    monkeypatch.setattr(shelf, "_registered", lambda: {"parrot": point})
    before = place.answer_key(place.workspace, "parrot", "alloys")
    assert place.answer_key(place.workspace, "parrot", "alloys") == before
    module.write_text("said = 'two'\n")
    assert place.answer_key(place.workspace, "parrot", "alloys") != before
    module.unlink()
    assert place.answer_key(place.workspace, "parrot", "alloys"), "asking it says what is wrong"


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


def test_a_base_of_longer_answers_is_asked_again(small: dict[str, Any], settle: Callable[..., Place]) -> None:
    def key(domain: str | None) -> str:
        place = settle()
        return place.answer_key(place.workspace, "base", domain)

    assert key("alloys") == key("plants") == key(None)
    small["domains"]["alloys"]["settings"] = {"generation": {"max_new_tokens": 9}}
    assert key("alloys") != key("plants") == key(None)
    small["domains"]["alloys"]["settings"] = {"expert": {"epochs": 9}}
    assert key("alloys") == key("plants")


def test_only_the_side_for_testing_is_asked(small: dict[str, Any], settle: Callable[..., Place]) -> None:
    path = Path(small["domains"]["plants"]["test"])
    rows = [{"id": f"q{i}", "question": f"w {i}?", "answers": ["a"], "split": "test" if i else "train"} for i in (0, 1)]
    write_jsonl(path, rows)
    assert [q.id for q in settle().domains["plants"].questions] == ["q1"]


def test_wrong_choices_of_a_domain_are_said_at_once(small: dict[str, Any], settle: Callable[..., Place]) -> None:
    small["domains"]["plants"]["settings"] = {"alignmnt": {"epochs": 1}}
    with pytest.raises(ConfigError, match="unknown key alignmnt"):
        settle()
    small["domains"]["plants"]["settings"] = {"models": {}}
    with pytest.raises(ConfigError, match="which all domains share"):
        settle()


@pytest.fixture
def lab(tmp_path: Path, questions: Callable[..., str]) -> Path:
    """A workspace whose domain `alloys` has a module, and `plants` neither module nor pairs."""
    root = tmp_path / "lab"
    rows = {"alloys": {"qa": "qa.jsonl", "passages": "p.jsonl", "settings": {"generation": {"max_new_tokens": 9}}}}
    root.mkdir()
    (root / "gag.yaml").write_text(yaml.safe_dump({"domains": {**rows, "plants": {}}}))
    questions(root / "qa.jsonl", 6)
    write_jsonl(root / "p.jsonl", [{"id": "p", "document_id": "d", "text": "An alloy."}])
    (root / "modules" / "alloys").mkdir(parents=True)
    (root / "modules" / "alloys" / "manifest.json").write_text("built")
    return root


def compared(lab: Path, questions: Callable[..., str], **more: Any) -> Place:
    """The comparison of `alloys` in the workspace `lab`."""
    given = {"test": questions(lab.parent / "test.jsonl", 2), **more.pop("domain", {})}
    tree = {"workspace": str(lab), "methods": ["base"], "metrics": ["token_f1"], "domains": {"alloys": given}, **more}
    return open_place(parse_bench(tree, origin="test"), lab.parent / "out")


def test_a_domain_that_is_not_built_stops_no_other(lab: Path, questions: Callable[..., str]) -> None:
    place = compared(lab, questions)
    assert place.workspace.modules_folder == "modules" and list(place.workspace.config.domains) == ["alloys"]


def test_choices_of_a_bench_go_over_those_of_the_workspace(lab: Path, questions: Callable[..., str]) -> None:
    write_jsonl(lab / "d.jsonl", [{"id": "d", "text": "An alloy."}])
    more = {"settings": {"alignment": {"epochs": 2}}, "documents": str(lab / "d.jsonl")}
    chosen = compared(lab, questions, domain=more).workspace
    own = chosen.of("alloys").config
    assert (own.generation.max_new_tokens, own.alignment.epochs) == (9, 2)
    assert chosen.passage_files("alloys") == (None, lab / "d.jsonl")
    assert chosen.modules_folder.startswith("variants/")
    assert compared(lab, questions, settings={"preset": "paper"}).workspace.config.readout.max_new_tokens == 1024


def test_a_preset_switches_off_what_the_workspace_has_on(lab: Path, questions: Callable[..., str]) -> None:
    own = yaml.safe_load((lab / "gag.yaml").read_text("utf-8"))
    refining = {**own.get("generation", {}), "refine_steps": 3, "refine_above": 0.2}
    (lab / "gag.yaml").write_text(yaml.safe_dump({**own, "generation": refining}), "utf-8")
    assert compared(lab, questions).workspace.config.generation.refine_steps == 3
    paper = compared(lab, questions, settings={"preset": "paper"}).workspace.config
    assert (paper.generation.refine_steps, paper.expert.full_rate_steps) == (0, 0)
    demo = compared(lab, questions, settings={"preset": "demo"}).workspace.config
    assert (demo.generation.refine_steps, demo.generation.refine_above) == (3, 0.7)


def test_what_chooses_among_pairs_needs_some(
    small: dict[str, Any], settle: Callable[..., Place], lab: Path, questions: Callable[..., str]
) -> None:
    del small["domains"]["plants"]["qa"]
    small["domains"]["plants"]["align_rest"] = True
    with pytest.raises(ConfigError, match=r"plants.align_rest chooses among pairs, but there are none"):
        settle()
    place = compared(lab, questions, domain={"train_limit": 2})
    path = place.workspace.qa("alloys")
    assert path is not None and len(path.read_text("utf-8").splitlines()) == 2, "the workspace's own pairs"
    assert len((lab / "qa.jsonl").read_text("utf-8").splitlines()) == 6
