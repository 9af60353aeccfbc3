"""A bench file is read with every path made whole, and refused in one line where it is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gag.errors import ConfigError, InputError
from gag.evaluation.bench.config import BenchConfig
from gag.evaluation.bench.loading import bench_preset_names, load_bench, parse_bench
from gag.evaluation.bench.place import open_place
from gag.evaluation.bench.reference import bench_markdown
from gag.records import write_jsonl


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methodes": ["base"]}, r"unknown key methodes \(did you mean methods\?\)"),
        ({"domains": {"a": {"tets": "x"}}}, r"unknown key domains.a.tets \(did you mean domains.a.test\?\)"),
        ({"tables": {"depth": {"ks": [1]}}}, r"unknown key tables.depth.ks \(did you mean tables.depth.k\?\)"),
        ({"settings": {"readout": {"layer": [1]}}}, r"did you mean readout.layers"),
        ({"settings": {"domains": {}}}, "settings.domains cannot be set"),
        ({"reference": "rog"}, "reference rog is not one of methods"),
        ({"methods": ["base", "base"]}, "methods names one twice"),
        ({"main_metric": "rouge_l"}, "main_metric rouge_l is not one of metrics"),
        ({"domains": {}, "general": {}}, "there are no domains"),
        ({"tables": {"stages": {"domains": ["x"]}}}, "names the domain x"),
        ({"tables": {"routing": {"pool": "x"}}}, "pool and prototypes_from go together"),
        ({"tables": {"depth": {"k": [0]}}}, "at least 1"),
        ({"general": {"../x": {"path": "x"}}}, "'../x' cannot be a set's name"),
        ({"general": {"alloys": {"path": "x"}}}, "alloys is a domain and a general set"),
    ],
)
def test_a_wrong_bench_is_refused(small: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_bench({**small, **change}, origin="bench.yaml")


@pytest.mark.parametrize("name", bench_preset_names())
def test_shipped_benches_are_valid(name: str, tmp_path: Path) -> None:
    overrides = ["workspace=w"] if name == "paper-tables" else []
    config = load_bench(preset=name, data=tmp_path, overrides=overrides)
    assert isinstance(config, BenchConfig) and config.preset == name


def test_paths_are_of_the_file_that_names_them(tmp_path: Path) -> None:
    file = tmp_path / "b" / "bench.yaml"
    file.parent.mkdir()
    file.write_text(
        "domains: {a: {test: t.jsonl, qa: 'data:x/q.jsonl', documents: 'demo:labs/adjuvant/documents.jsonl'}}"
    )
    config = load_bench(file, data=tmp_path / "d")
    assert config.domains["a"].test == str(file.parent / "t.jsonl")
    assert config.domains["a"].qa == str((tmp_path / "d" / "x" / "q.jsonl").resolve())
    assert Path(config.domains["a"].documents or "").is_file()
    with pytest.raises(ConfigError, match="no data folder is given"):
        load_bench(file)
    with pytest.raises(ConfigError, match="Did you mean 'quick'"):
        load_bench(preset="quik")


def test_model_folders_are_of_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "models" / "small").mkdir(parents=True)
    file = tmp_path / "bench.yaml"
    file.write_text(
        "domains: {a: {test: t, expert: ./e}, b: {test: t, expert: owner/name}, c: {test: t, expert: 'package:p'}}\n"
        "settings: {models: {base: {source: models/small}, encoder: {source: owner/name}}, expert: {epochs: 1}}\n"
        "judge: {encoder: {source: ../judge}}\n"
        "tables: {readout: {layers: [-1], settings: {models: {expert: {source: ./other}}}}}"
    )
    config = load_bench(file)
    experts = [config.domains[name].expert for name in "abc"]
    assert experts == [str(tmp_path / "e"), "owner/name", "package:p"]
    assert config.tables.readout is not None
    assert config.tables.readout.settings["models"]["expert"]["source"] == str(tmp_path / "other")
    models = config.settings["models"]
    assert models["base"]["source"] == str(tmp_path / "models" / "small")
    assert models["encoder"]["source"] == "owner/name"
    assert config.judge is not None and Path(config.judge.encoder.source) == tmp_path / ".." / "judge"


def test_quick_takes_few_of_everything(small: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "bench.yaml"
    small["domains"]["alloys"]["limit"] = 3
    small["settings"] = {"expert": {"epochs": 9, "lora_rank": 4}}
    small["tables"] = {"cost": {}, "readout": {"layers": [-1, -2, -3, -4, -5]}, "depth": None, "general": {}}
    file.write_text(json.dumps(small), "utf-8")
    config = load_bench(file, quick=True, overrides=["general.trivia.limit=50"])
    assert [d.limit for d in config.domains.values()] == [3, 12] and config.general["trivia"].limit == 50
    assert config.domains["plants"].train_limit == 80
    assert config.settings["expert"] == {"epochs": 1, "lora_rank": 4}
    assert config.tables.readout is not None and config.tables.readout.layers == (-1, -3, -5)
    assert config.tables.depth is None and config.tables.cost is not None and config.tables.cost.questions == 2
    assert "counterfactual" not in config.settings["alignment"], "what is learnt stays as it is"
    small["tables"] = {"readout": {}, "depth": {}}
    small["domains"]["alloys"]["align_limit"] = 843
    file.write_text(json.dumps(small), "utf-8")
    config = load_bench(file, quick=True)
    assert config.tables.readout is not None and len(config.tables.readout.layers) == 3
    assert config.tables.depth is not None and config.tables.depth.k == (1, 5, 9)
    assert config.domains["alloys"].align_limit == 120


def test_the_reference_page_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "bench.md"
    assert page.read_text("utf-8") == bench_markdown(), (
        "renew it: python -m gag.evaluation.bench.reference docs/bench.md"
    )
    for key in ("`domains.NAME.align_where`", "`tables.readout.layers`", "`judge.layer`", "`general.NAME.path`"):
        assert key in bench_markdown()


def test_question_files_of_settings_are_of_the_file_too(tmp_path: Path) -> None:
    file = tmp_path / "bench.yaml"
    file.write_text(
        "domains: {a: {test: t}}\n"
        "settings: {router: {general_questions: g.jsonl}}\n"
        "tables: {stages: {settings: {router: {general_questions: 'data:h.jsonl'}}}}"
    )
    config = load_bench(file, data=tmp_path / "d")
    assert config.settings["router"]["general_questions"] == str(tmp_path / "g.jsonl")
    assert config.tables.stages is not None
    assert config.tables.stages.settings["router"]["general_questions"] == str(tmp_path / "d" / "h.jsonl")


def test_quick_limits_the_domains_of_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "lab" / "data" / "alloys").mkdir(parents=True)
    (tmp_path / "lab" / "gag.yaml").write_text("domains: {alloys: {qa: qa.jsonl}}")
    file = tmp_path / "bench.yaml"
    file.write_text("{methods: [base], metrics: [token_f1], workspace: lab}")
    with pytest.raises(InputError, match="alloys has no test questions"):
        load_bench(file, quick=True)
    pair = {"id": "q", "question": "?", "answers": ["a"]}
    write_jsonl(tmp_path / "lab" / "qa.jsonl", [pair, {**pair, "id": "r", "split": "test"}])
    assert load_bench(file, quick=True).domains["alloys"].test == str(tmp_path / "lab" / "qa.jsonl"), "its side test"
    write_jsonl(tmp_path / "lab" / "data" / "alloys" / "test.jsonl", [pair])
    config = load_bench(file, quick=True)
    assert {name: domain.limit for name, domain in config.domains.items()} == {"alloys": 12}
    assert config.domains["alloys"].test == str(tmp_path / "lab" / "data" / "alloys" / "test.jsonl")
    assert (config.domains["alloys"].qa, config.domains["alloys"].train_limit) == (
        str(tmp_path / "lab" / "qa.jsonl"),
        80,
    )


@pytest.mark.parametrize("quick", [False, True])
def test_what_set_says_of_domains_lies_over_those_of_the_workspace(tmp_path: Path, quick: bool) -> None:
    lab, file, test = tmp_path / "lab", tmp_path / "bench.yaml", tmp_path / "t.jsonl"
    write_jsonl(test, [{"id": "q", "question": "?", "answers": ["a"]}])
    (lab / "modules" / "alloys-backup").mkdir(parents=True)  # no module, and no domain
    (lab / "modules" / "old notes").mkdir()
    (lab / "modules" / "old notes" / "module.json").write_text("{}")
    (lab / "gag.yaml").write_text("domains: {alloys: {}, plants: {}}")
    file.write_text("{methods: [base], metrics: [token_f1], workspace: lab}")
    both = [f"domains.{name}.test={test}" for name in ("alloys", "plants")]
    with pytest.raises(InputError, match="plants has no test questions"):
        load_bench(file, quick=quick, overrides=both[:1])
    assert list(load_bench(file, quick=quick, overrides=both).domains) == ["alloys", "plants"]
    assert list(load_bench(file, quick=quick, overrides=[both[0], "domains.plants=null"]).domains) == ["alloys"]
    file.write_text(
        "{methods: [base], metrics: [token_f1], workspace: lab, domains: {alloys: {test: t.jsonl}, plants: null}}"
    )
    assert list(load_bench(file, quick=quick).domains) == ["alloys"]


def test_only_our_own_jsonl_leaves_questions_without_an_answer_out(small: dict[str, Any], tmp_path: Path) -> None:
    rows = [{"id": "a", "question": "who?", "answers": []}, {"id": "b", "question": "what?", "answers": ["it"]}]
    write_jsonl(tmp_path / "g.jsonl", rows)
    small["general"] = {"mine": {"path": str(tmp_path / "g.jsonl"), "answered_only": True}}
    place = open_place(parse_bench(small, origin="test"), tmp_path / "out")
    assert [q.id for q in place.general["mine"].questions] == ["b"]
    small["general"]["mine"]["format"] = "nq_open"
    with pytest.raises(ConfigError, match="answered_only is for our own JSONL"):
        parse_bench(small, origin="test")
    del small["general"]["mine"]["format"], small["general"]["mine"]["answered_only"]
    with pytest.raises(InputError, match="'a' has no answer"):
        open_place(parse_bench(small, origin="test"), tmp_path / "out")


def test_null_takes_a_set_of_a_shipped_bench_out(tmp_path: Path) -> None:
    file = tmp_path / "bench.yaml"
    file.write_text("{preset: here, domains: {medicine: null}, general: {nq_open: null, own: {path: own.jsonl}}}")
    config = load_bench(file, data=tmp_path)
    assert list(config.domains) == ["materials", "adjuvant"]
    assert list(config.general) == ["webquestions", "freebaseqa", "hotpotqa", "own"]


def test_no_table_of_a_shipped_bench_trips_over_stages_of_a_pretraining(tmp_path: Path) -> None:
    lengths = "settings.projector.pretrain_lengths=[2,4]"
    config = load_bench(preset="here", data=tmp_path, overrides=[lengths, "settings.readout.slots=1"])
    for table in (config.tables.stages, config.tables.readout):
        assert table is not None and table.settings["projector"] == {"pretrain_pairs": 0, "pretrain_lengths": []}


def test_a_domains_own_choices_yield_to_what_is_set_for_all(small: dict[str, Any], tmp_path: Path) -> None:
    small["domains"]["alloys"]["settings"] = {"expert": {"epochs": 2}, "lora": {"rank": 4}}
    small["settings"] = {"expert": {"epochs": 5}}
    file = tmp_path / "bench.yaml"
    file.write_text(json.dumps(small), "utf-8")
    place = open_place(load_bench(file), tmp_path / "out")
    assert place.workspace.of("alloys").config.expert.epochs == 2
    assert place.workspace.of("plants").config.expert.epochs == 5
    table = place.variant("alloys", {"expert": {"epochs": 7}})
    assert (table.of("alloys").config.expert.epochs, table.of("alloys").config.lora.rank) == (7, 4)
    over = open_place(load_bench(file, overrides=["settings.expert.epochs=9"]), tmp_path / "out").workspace
    assert (over.of("alloys").config.expert.epochs, over.of("alloys").config.lora.rank) == (9, 4)
    quick = open_place(load_bench(file, quick=True), tmp_path / "out").workspace
    assert quick.of("alloys").config.expert.epochs == 1
