"""`gag init`, `build` and its steps: made once, kept, gone on with, and alone."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from safetensors import SafetensorError

from gag.config import load_config, preset_names
from gag.domain import load_module
from gag.pipeline import Build

Gag = Callable[..., Any]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("preset", preset_names())
def test_init_writes_every_choice_of_a_preset(preset: str, tmp_path: Path, gag: Gag) -> None:
    made = gag("init", "lab", "--preset", preset, "--set", "router.prototypes=7", cwd=tmp_path)
    assert made.code == 0
    assert "Next: cd lab" in made.out and "gag build" in made.out
    config = load_config(tmp_path / "lab" / "gag.yaml")
    assert config == load_config(preset=preset, overrides=["router.prototypes=7"])
    assert set(yaml.safe_load((tmp_path / "lab" / "gag.yaml").read_text())) == set(type(config).model_fields)


def test_init_overwrites_nothing(built: Path, gag: Gag) -> None:
    before = (built / "gag.yaml").read_bytes()
    again = gag("init", built)
    assert again.code == 2
    assert "is there already" in again.error[0]
    assert (built / "gag.yaml").read_bytes() == before


def test_the_presets_of_the_help_are_those_that_there_are(gag: Gag) -> None:
    shown = " ".join(gag("init", "--help").out.replace("│", " ").split())
    assert all(name in shown for name in preset_names())


def test_a_second_build_keeps_everything(built: Path, gag: Gag) -> None:
    before = files(built / "modules")
    again = gag("build", "adjuvant", "--qa", "../qa.jsonl", cwd=built)
    assert again.code == 0
    lines = [line.split()[1:] for line in again.err.splitlines() if line[:2].isdigit()]
    steps = [line for line in lines if line[0] != "loaded"]
    assert steps == [[step, "kept"] for step in ("expert", "states", "projector", "prototypes", "module")]
    assert [line[1] for line in lines if line[0] == "loaded"] == ["expert", "base", "encoder"]
    assert "on cpu in float32 (as configured)" in again.err
    assert files(built / "modules") == before
    assert "Domain module modules/adjuvant" in again.out
    assert 'gag ask "…" --domain adjuvant' in again.out


def test_options_that_gag_yaml_could_hold_are_named(lab: Path, gag: Gag) -> None:
    first = gag("build", "adjuvant", "--qa", "../qa.jsonl", "--json", cwd=lab)
    line = next(line for line in first.err.splitlines() if "gag.yaml" in line)
    added = line.partition("gag.yaml:")[2].strip()
    assert added == "adjuvant: {qa: ../qa.jsonl}"
    file = lab / "gag.yaml"
    file.write_text(file.read_text().replace("domains: {}", f"domains:\n  {added}"))
    second = gag("build", "adjuvant", "--json", cwd=lab)
    assert second.code == 0
    assert "gag.yaml" not in second.err
    assert second.json["folder"] == first.json["folder"]


def test_the_json_of_a_build(built: Path, gag: Gag) -> None:
    row = gag("build", "adjuvant", "--qa", built.parent / "qa.jsonl", "--json", "-w", built).json
    assert set(row) == {"domain", "folder", "metrics", "seconds"}
    assert row["domain"] == "adjuvant"
    assert load_module(Path(row["folder"])).name == "adjuvant"
    assert set(row["metrics"]) == {"alignment_loss", "dev_nll"}


def test_a_second_domain_changes_nothing_of_the_first(lab: Path, gag: Gag, questions: Gag) -> None:
    before = files(lab / "modules" / "adjuvant") | files(lab / "runs" / "adjuvant")
    qa = questions(lab.parent / "other.jsonl", [f"which alloy is {number}?" for number in range(6)])
    assert gag("build", "materials", "--qa", qa, cwd=lab).code == 0
    assert files(lab / "modules" / "adjuvant") | files(lab / "runs" / "adjuvant") == before
    scores = gag("route", "which alloy is 3?", "--json", cwd=lab).json["scores"]
    assert set(scores) == {"general", "adjuvant", "materials"}


def test_the_steps_alone_bring_about_what_build_takes(lab: Path, gag: Gag, questions: Gag) -> None:
    qa = questions(lab.parent / "other.jsonl", [f"which alloy is {number}?" for number in range(6)])
    trained = gag("train", "alloys", "--qa", qa, "--json", cwd=lab)
    assert trained.code == 0, trained.err
    assert (Path(trained.json["adapter"]) / "adapter_model.safetensors").is_file()
    aligned = gag("align", "alloys", "--qa", qa, "--json", cwd=lab)
    assert aligned.code == 0, aligned.err
    assert "expert kept" in aligned.err
    assert (Path(aligned.json["folder"]) / "loss.png").is_file()
    assert set(aligned.json) == {"domain", "folder", "loss", "dev_loss"}
    clustered = gag("prototypes", "alloys", "--qa", qa, "--json", cwd=lab)
    assert Path(clustered.json["file"]).is_file()
    built = gag("build", "alloys", "--qa", qa, cwd=lab)
    assert built.err.count(" kept") == 4
    assert all("The " in gag(step, "alloys", "--qa", qa, cwd=lab).out for step in ("train", "align", "prototypes"))


def test_a_whole_model_on_the_command_line_is_an_expert(lab: Path, gag: Gag) -> None:
    done = gag("build", "law", "--qa", "../qa.jsonl", "--expert", "../expert", "--json", cwd=lab)
    assert done.code == 0, done.err
    module = load_module(Path(done.json["folder"]))
    assert module.expert_path is None
    assert module.expert.id == str(lab.parent / "expert")
    assert gag("ask", "what?", "--domain", "law", "--json", cwd=lab).json["knowledge_tokens"] == 2


def test_ctrl_c_says_one_line_and_the_same_command_goes_on(
    lab: Path, monkeypatch: pytest.MonkeyPatch, gag: Gag
) -> None:
    def interrupted(self: Build) -> None:
        raise KeyboardInterrupt

    command = ("build", "second", "--qa", "../qa.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(Build, "prototypes", interrupted)
        stopped = gag(*command, cwd=lab)
    assert stopped.code == 130
    assert stopped.err.splitlines()[-1] == "interrupted: the same command goes on from where it was"
    assert "Traceback" not in stopped.err and "error" not in stopped.err
    assert not (lab / "modules" / "second").exists()
    on = gag(*command, cwd=lab)
    assert on.code == 0
    assert "projector kept" in on.err
    first, second = (load_module(lab / "modules" / name) for name in ("adjuvant", "second"))
    assert second.projector_path.read_bytes() != b""
    assert set(second.projector_state()) == set(first.projector_state())


def test_two_builds_of_one_domain_at_once(built: Path, gag: Gag) -> None:
    with FileLock(built / "runs" / "adjuvant" / ".lock"):
        second = gag("build", "adjuvant", "--qa", "../qa.jsonl", cwd=built)
    assert second.code == 2
    assert "Another process is building the domain adjuvant" in second.error[0]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/data/x.safetensors"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:668] PytorchStreamWriter failed writing file data/3"),
    ],
)
def test_a_full_disk(error: Exception, built: Path, monkeypatch: pytest.MonkeyPatch, gag: Gag) -> None:
    def full(self: Build) -> None:
        raise error

    monkeypatch.setattr(Build, "prototypes", full)
    ran = gag("build", "adjuvant", "--qa", "../qa.jsonl", cwd=built)
    assert ran.code == 1
    assert "no space left" in ran.error[0]
    assert "goes on" in ran.error[1]


def test_an_error_of_ours_is_named_and_shown_in_full_when_asked(
    built: Path, monkeypatch: pytest.MonkeyPatch, gag: Gag
) -> None:
    def broken(self: Build) -> None:
        raise ValueError("first line\nsecond")

    monkeypatch.setattr(Build, "prototypes", broken)
    command = ("prototypes", "adjuvant", "--qa", "../qa.jsonl")
    ran = gag(*command, cwd=built)
    assert ran.code == 1
    assert "ValueError: first line second" in ran.error[0]
    assert "GAG_DEBUG=1" in ran.error[1]
    monkeypatch.setenv("GAG_DEBUG", "1")
    shown = gag(*command, cwd=built)
    assert "Traceback" in shown.err
    assert shown.code == 1


def test_step_files_say_what_made_them(built: Path) -> None:
    for step in ("expert", "projector", "prototypes"):
        (file,) = (built / "runs" / "adjuvant").glob(f"{step}-*/step.json")
        assert json.loads(file.read_text())["config"]["alignment"]["max_steps"] == 2
