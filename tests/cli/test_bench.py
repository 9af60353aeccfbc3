"""`gag bench` from a file to a report, with tiny models and real training; and what it says to rubbish."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

SETTINGS: dict[str, Any] = {
    "expert": {"epochs": 1, "lora_rank": 2},
    "readout": {"pooling": "segment_mean", "layers": [-2], "slots": 2, "max_new_tokens": 4},
    "alignment": {"max_steps": 2, "dev_share": 0.25},
    "lora": {"rank": 2, "max_steps": 2},
    "xrag": {"pretrain_epochs": 1, "epochs": 1},
    "generation": {"max_new_tokens": 4},
    "router": {"prototypes": 2},
}


@pytest.fixture
def bench(lab: Path, questions: Callable[..., Path]) -> Path:
    """A bench.yaml beside the tiny models, of one domain and one general set."""
    home = lab.parent
    models = {
        name: {"source": str(home / name), "dtype": "float32", "device": "cpu"}
        for name in ("base", "expert", "encoder")
    }
    settings = {**SETTINGS, "models": models}
    settings["router"] = {**SETTINGS["router"], "general_questions": str(home / "general.jsonl")}
    questions(home / "test.jsonl", [f"what does adjuvant {number} bind?" for number in range(4)])
    (home / "documents.jsonl").write_text(json.dumps({"id": "d", "text": "Adjuvants bind receptors. " * 9}) + "\n")
    tree = {
        "title": "Tiny <models>",
        "settings": settings,
        "domains": {"adjuvant": {"qa": "qa.jsonl", "documents": "documents.jsonl", "test": "test.jsonl"}},
        "general": {"trivia": {"path": "test.jsonl", "limit": 2}},
        "methods": ["base", "constant", "egc", "rag", "lora", "gag-oracle", "gag"],
        "metrics": ["nll", "token_f1"],
        "tables": {
            "cost": {"questions": 2},
            "routing": {},
            "general": {},
            "readout": {"layers": [-1, -2], "limit": 2},
            "stages": {"limit": 2},
            "depth": {"k": [1], "limit": 2},
        },
    }
    path = home / "bench.yaml"
    path.write_text(yaml.safe_dump(tree), "utf-8")
    return path


def test_from_a_file_to_a_report(gag: Callable[..., Any], bench: Path, tmp_path: Path) -> None:
    ran = gag("bench", "bench.yaml", "--out", "results", cwd=bench.parent)
    assert ran.code == 0, ran.err
    out = bench.parent / "results"
    for table in ("main", "cost", "general", "general-routing", "routing", "readout", "stages", "depth"):
        rows = json.loads((out / "results.json").read_text("utf-8"))
        assert any(row["table"] == table for row in rows), table
    methods = {row["method"] for row in rows if row["table"] == "main"}
    assert methods == {"base", "constant", "egc", "rag", "lora", "gag-oracle", "gag"}
    assert all(row["value"] is not None for row in rows)
    assert "Tiny &lt;models&gt;" in (out / "report.html").read_text("utf-8")
    assert "Report: " in ran.out and "best token_f1" in ran.out
    same = next(row for row in rows if row["metric"] == "identical_to_base")
    stayed = next(row for row in rows if row["metric"] == "routed_general")
    assert same["value"] == stayed["value"], "what is routed general is answered by the base, untouched"
    assert not (out / "workspace" / "modules" / "adjuvant" / ".lock").exists()

    answers = {path: path.read_bytes() for path in (out / "answers").glob("*/*.jsonl")}
    assert answers
    again = gag("bench", "bench.yaml", "--out", "results", "--json", cwd=bench.parent)
    assert again.code == 0, again.err
    assert json.loads(again.out)["rows"] == rows
    assert {path: path.read_bytes() for path in (out / "answers").glob("*/*.jsonl")} == answers
    # What it made is a workspace like any other.
    asked = gag("ask", "what does adjuvant 1 bind?", "--json", cwd=out / "workspace")
    assert asked.code == 0, asked.err


def test_in_a_workspace_that_exists(gag: Callable[..., Any], lab: Path, questions: Callable[..., Path]) -> None:
    questions(lab.parent / "test.jsonl", ["what does adjuvant 2 bind?"])
    domain = {"adjuvant": {"test": "test.jsonl", "qa": "qa.jsonl"}}
    tree = {"domains": domain, "methods": ["base", "gag-oracle"], "metrics": ["token_f1"]}
    (lab.parent / "bench.yaml").write_text(yaml.safe_dump(tree), "utf-8")
    ran = gag("bench", "bench.yaml", "--workspace", "lab", "--out", "out", cwd=lab.parent)
    assert ran.code == 0, ran.err
    assert not (lab.parent / "out" / "workspace").exists()
    assert not (lab / "data").exists()


def test_what_a_workspace_holds_stays_as_it_is(
    gag: Callable[..., Any], lab: Path, questions: Callable[..., Path]
) -> None:
    """A bench may choose among the pairs; it writes its choice elsewhere."""
    built = gag("build", "adjuvant", "--qa", "../qa.jsonl", cwd=lab)
    assert built.code == 0, built.err
    data = lab / "data" / "adjuvant"
    data.mkdir(parents=True)
    (data / "qa.jsonl").write_text((lab.parent / "qa.jsonl").read_text("utf-8"), "utf-8")
    (data / "passages.jsonl").write_text(json.dumps({"id": "p", "document_id": "d", "text": "It binds."}) + "\n")
    before = {path: path.read_bytes() for path in (*data.iterdir(), *(lab / "modules").rglob("*")) if path.is_file()}
    questions(lab.parent / "test.jsonl", ["what does adjuvant 2 bind?"])
    chosen = {"qa": "lab/data/adjuvant/qa.jsonl", "train_limit": 2, "answers_as_passages": True}
    for number, domain in enumerate(({}, chosen)):
        tree = {"domains": {"adjuvant": {"test": "test.jsonl", **domain}}, "metrics": ["token_f1"]}
        tree["methods"] = ["base", "gag-oracle"] if not domain else ["base"]
        (lab.parent / "bench.yaml").write_text(yaml.safe_dump(tree), "utf-8")
        ran = gag("bench", "bench.yaml", "--workspace", "lab", "--out", f"out{number}", cwd=lab.parent)
        assert ran.code == 0, ran.err
        assert {path: path.read_bytes() for path in before} == before
    assert len((lab.parent / "out1" / "inputs" / "adjuvant" / "qa.jsonl").read_text("utf-8").splitlines()) == 2
    reports = [(lab.parent / f"out{number}" / "report.html").read_text("utf-8") for number in (0, 1)]
    assert "own, as they are" in reports[0] and "built for this comparison" in reports[1]


def test_a_method_that_cannot_be_made_fails_alone(gag: Callable[..., Any], bench: Path) -> None:
    tree = yaml.safe_load(bench.read_text("utf-8"))
    del tree["domains"]["adjuvant"]["documents"]
    tree |= {"methods": ["base", "rag"], "tables": {}}
    bench.write_text(yaml.safe_dump(tree), "utf-8")
    ran = gag("bench", "bench.yaml", "--out", "results", cwd=bench.parent)
    assert ran.code == 1
    assert "rag on adjuvant" in ran.error[0] and "the rest is complete" in ran.error[1]
    assert "no passages to retrieve" in (bench.parent / "results" / "report.html").read_text("utf-8")


def test_the_disk_is_full(gag: Callable[..., Any], bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def full(handle: int) -> None:
        if os.readlink(f"/proc/self/fd/{handle}").endswith("adjuvant/base.jsonl"):
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    ran = gag("bench", "bench.yaml", "--out", "results", cwd=bench.parent)
    assert ran.code == 1
    assert "base.jsonl could not be written: No space left on device" in ran.error[0]


def test_the_papers_tables_in_the_workspace_one_stands_in(
    gag: Callable[..., Any], lab: Path, questions: Callable[..., Path]
) -> None:
    """`gag build NAME --qa FILE` names no domain in gag.yaml: a module and test questions are enough."""
    few = ["readout.layers=[-1,-2]", "depth.k=[1]", "readout.limit=2", "stages.limit=2", "depth.limit=2"]
    choices = [f"tables.{said}" for said in [*few, "cost.questions=2"]]
    choices += ["general.demo.limit=3", "metrics=[nll, token_f1]", "main_metric=token_f1"]
    sets = [part for said in choices for part in ("--set", said)]
    missing = gag("bench", "--preset", "paper-tables", "--out", "../out", *sets, cwd=lab)
    assert missing.code == 2
    assert "The domain adjuvant has no test questions" in missing.error[0]
    absent = gag(
        "bench",
        "--preset",
        "paper-tables",
        "--out",
        "../out",
        *sets,
        "--set",
        "domains.adjuvant.test=gone.jsonl",
        cwd=lab,
    )
    assert absent.code == 2 and "gone.jsonl does not exist" in absent.error[0]
    assert "Comparing in the workspace" in absent.err, "the hint's --set leaves the workspace what it is"
    (lab / "data" / "adjuvant").mkdir(parents=True)
    questions(lab / "data" / "adjuvant" / "test.jsonl", [f"what does adjuvant {number} bind?" for number in range(4)])
    (lab / "data" / "adjuvant" / "documents.jsonl").write_text(json.dumps({"id": "d", "text": "It binds. " * 9}) + "\n")
    (lab / "data" / "adjuvant" / "qa.jsonl").write_text((lab.parent / "qa.jsonl").read_text("utf-8"), "utf-8")
    ran = gag("bench", "--preset", "paper-tables", "--out", "../out", *sets, cwd=lab)
    assert ran.code == 0, ran.error
    tables = {path.stem for path in (lab.parent / "out" / "tables").iterdir()}
    assert {
        "main-adjuvant",
        "cost-adjuvant",
        "readout-adjuvant",
        "stages-adjuvant",
        "depth-adjuvant",
        "general-routing",
    } < tables


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "There is nothing to compare"),
        (["none.yaml"], "none.yaml does not exist"),
        (["--preset", "her"], "There is no bench 'her'. Did you mean 'here'?"),
        (["--preset", "here"], "no data folder is given"),
        (["--preset", "here", "--data", "nowhere"], "The data folder nowhere does not exist"),
        (["--preset", "paper-tables"], "there are no domains"),
        (["bench.yaml", "--set", "metric=[nll]"], "unknown key metric (did you mean metrics?)"),
        (["bench.yaml", "--set", "domains.adjuvant.test=gone.jsonl"], "gone.jsonl"),
        (["bench.yaml", "--set", "settings.models.base.source=gone"], "gone"),
        (["bench.yaml", "--set", "methods=[base, magic]"], "magic"),
        (["bench.yaml", "--set", "domains.adjuvant.cluster=fatc"], "no question has the field 'fatc'"),
        (["bench.yaml", "--quick", "--set", "domains=[adjuvant]"], "domains"),
        (["bench.yaml", "--quick", "--set", 'domains.adjuvant.limit="five"'], "limit"),
        (["bench.yaml", "--quick", "--set", "tables.depth.k=3"], "tables.depth.k"),
        (["bench.yaml", "--out", "qa.jsonl"], "qa.jsonl is a file, not a folder"),
    ],
)
def test_rubbish(gag: Callable[..., Any], bench: Path, arguments: list[str], what: str) -> None:
    ran = gag("bench", *(() if "--out" in arguments else ("--out", "out")), *arguments, cwd=bench.parent)
    assert ran.code == 2
    assert what in ran.error[0]
    assert "should not" not in ran.error[0]


def test_other_choices_rebuild_every_domain_before_it_is_asked(
    gag: Callable[..., Any], bench: Path, questions: Callable[..., Path]
) -> None:
    """A module of an earlier run lies where the new one will be: the answers must be the new one's."""
    tree = yaml.safe_load(bench.read_text("utf-8"))
    questions(bench.parent / "polymers.jsonl", [f"how long is polymer {number}?" for number in range(5)])
    tree["domains"]["polymers"] = {"qa": "polymers.jsonl", "test": "polymers.jsonl"}
    tree |= {"methods": ["base", "gag-oracle", "gag"], "tables": {}, "general": {}}
    bench.write_text(yaml.safe_dump(tree), "utf-8")
    assert gag("bench", "bench.yaml", "--out", "results", cwd=bench.parent).code == 0
    other = ("--set", "settings.alignment.max_steps=9", "--set", "settings.alignment.learning_rate=0.1")
    again = gag("bench", "bench.yaml", "--out", "results", "--json", *other, cwd=bench.parent)
    fresh = gag("bench", "bench.yaml", "--out", "fresh", "--json", *other, cwd=bench.parent)
    assert again.code == fresh.code == 0, again.err + fresh.err

    def told(ran: Any) -> list[Any]:
        rows = [row for row in ran.json["rows"] if row["metric"] == "nll" and row["table"] == "main"]
        return [[row["method"], row["dataset"], row["value"]] for row in rows]

    assert told(again) == told(fresh)


def test_a_strangers_broken_module_stops_nothing(gag: Callable[..., Any], bench: Path, lab: Path) -> None:
    built = gag("build", "adjuvant", "--qa", "../qa.jsonl", cwd=lab)
    assert built.code == 0, built.err
    shutil.copytree(lab / "modules" / "adjuvant", lab / "modules" / "old")
    (lab / "modules" / "old" / "projector.safetensors").write_bytes(b"")
    tree = {"domains": {"adjuvant": {"test": "test.jsonl"}}, "methods": ["base", "gag-oracle", "gag"]}
    tree |= {"metrics": ["token_f1"], "general": {"trivia": {"path": "test.jsonl"}}, "tables": {"general": {}}}
    tree["tables"] = {"general": {"methods": ["base", "gag"]}, "routing": {}}
    bench.write_text(yaml.safe_dump(tree), "utf-8")
    ran = gag("bench", "bench.yaml", "--workspace", "lab", "--out", "out", "--json", cwd=lab.parent)
    assert ran.code == 0, ran.err
    main = {row["method"] for row in ran.json["rows"] if row["table"] == "main"}
    assert main == {"base", "gag-oracle", "gag"}
    assert any(row["table"] == "routing" for row in ran.json["rows"]), "their own banks, not made of pairs"
