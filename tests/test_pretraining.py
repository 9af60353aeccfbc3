"""The projector's pretraining: once for a base and an expert's model, whatever the domain; resumable; used."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from gag.cli.entry import run as main
from gag.config import load_config
from gag.errors import BusyError, ConfigError
from gag.models.base import Base
from gag.models.loading import load_causal_lm
from gag.pipeline import Build, projector_pretraining
from gag.records import write_jsonl
from gag.sources import Sources
from gag.testing import write_tiny_workspace
from gag.training.pretraining import PRETRAINED_FILE, Pretraining
from gag.workspace import Workspace, open_workspace

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

SECTIONS: dict[str, Any] = {
    "readout": {"layers": [-3]},
    "projector": {"kind": "gated_residual", "warm_start": "regression", "pretrain_pairs": 40, "pretrain_batch_size": 8},
    "alignment": {"dev_share": 0.0},
    "router": {"prototypes": 2},
    "domains": {"alloys": {"qa": "alloy.jsonl"}, "polymers": {"qa": "polymer.jsonl"}},
}
NO_START = "projector.warm_start=none"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_tiny_workspace(tmp_path_factory.mktemp("workspace"), **SECTIONS)
    for what in ("alloy", "polymer", "general"):
        rows = [{"id": f"{what}{n}", "question": f"{what} {n}?", "answers": [f"a{n % 4}"]} for n in range(6)]
        write_jsonl(root / f"{what}.jsonl", rows)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAG_CACHE", str(tmp_path / "cache"))
    shutil.copytree(made, tmp_path / "w")
    return tmp_path / "w"


class Told(list[tuple[str, int, int, str]]):
    """Progress calls; raises at the `stop`-th step of pretraining."""

    def __init__(self, stop: int = 0) -> None:
        self.stop = stop

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None:
        self.append((step, done, total, note))
        if self.stop and (step, done) == ("pretraining", self.stop):
            raise KeyboardInterrupt

    @property
    def pretraining(self) -> list[tuple[int, int, str]]:
        return [(done, total, note) for step, done, total, note in self if step == "pretraining"]


def build(root: Path, name: str, *overrides: str, stop: int = 0) -> Told:
    told = Told(stop)
    Build(open_workspace(root, overrides=overrides), name, Sources(), on_progress=told).run(Build.module)
    return told


def pretrained(root: Path) -> list[Path]:
    return sorted((root.parent / "cache" / "projectors").glob(f"*/{PRETRAINED_FILE}"))


def test_it_is_done_once_and_every_domain_starts_from_it(root: Path) -> None:
    first = build(root, "alloys")
    assert [done for done, _, _ in first.pretraining] == [1, 2, 3, 4, 5]
    (path,) = pretrained(root)
    assert [p.name for p in path.parent.iterdir() if p.name != ".lock"] == [PRETRAINED_FILE]
    kept = path.read_bytes()
    second = build(root, "polymers")
    assert second.pretraining == [(1, 1, "kept")]
    assert path.read_bytes() == kept and pretrained(root) == [path]
    assert build(root, "alloys").pretraining == []  # the module is there: nothing to start


def test_alignment_starts_where_pretraining_ended(root: Path) -> None:
    build(root, "alloys", "alignment.learning_rate=1e-30")
    (path,) = pretrained(root)
    start = load_file(path)
    trained = load_file(root / "modules" / "alloys" / "projector.safetensors")
    for name, tensor in start.items():
        torch.testing.assert_close(trained[name], tensor)


def test_interrupted_it_goes_on_to_the_same_weights(root: Path, made: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(root, "alloys", "alignment.checkpoint_every=1", stop=3)
    assert pretrained(root) == []
    told = build(root, "alloys")
    assert told.pretraining[-1][:2] == (5, 5)
    (path,) = pretrained(root)
    resumed = load_file(path)
    path.unlink()
    shutil.rmtree(path.parent)
    build(root, "polymers")
    for name, tensor in load_file(pretrained(root)[0]).items():
        torch.testing.assert_close(resumed[name], tensor)


STAGES = ("projector.pretrain_lengths=[4,9]", "readout.slots=1")


def test_stages_go_from_short_texts_to_all(root: Path) -> None:
    workspace = open_workspace(root, overrides=STAGES)
    loaded = load_causal_lm(workspace.config.models.base, root=root)
    stages = projector_pretraining(workspace, Base.from_loaded(loaded), loaded)._stages()
    assert [len(pairs) for pairs in stages] == [6, 14, 20]
    assert len({pair.id for pairs in stages for pair in pairs}) == 40
    longest = [max(len(pair.answers[0].encode()) for pair in pairs) for pairs in stages]  # bytes are the tokens here
    assert longest[0] <= 4 < longest[1] <= 9 < longest[2]


def test_every_stage_goes_on_from_the_one_before(root: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(root, "alloys", *STAGES, "alignment.checkpoint_every=1", stop=3)
    assert pretrained(root) == []
    told = build(root, "alloys", *STAGES)
    assert [done for done, _, _ in told.pretraining] == [
        3,
        4,
        5,
        6,
    ]  # stage 1 and a step of stage 2 are kept
    assert {total for _, total, _ in told.pretraining} == {6}
    (path,) = pretrained(root)
    assert [p.name for p in path.parent.iterdir() if p.name != ".lock"] == [PRETRAINED_FILE]
    resumed = load_file(path)
    shutil.rmtree(path.parent)
    whole = build(root, "polymers", *STAGES)
    assert [done for done, _, _ in whole.pretraining] == [1, 2, 3, 4, 5, 6]
    for name, tensor in load_file(pretrained(root)[0]).items():
        torch.testing.assert_close(resumed[name], tensor)


def test_a_stage_starts_with_the_weights_of_the_one_before(root: Path) -> None:
    still = (*STAGES, "projector.pretrain_learning_rate=1e-30")
    with pytest.raises(KeyboardInterrupt):
        build(root, "alloys", *still, stop=2)
    (first,) = (root.parent / "cache" / "projectors").glob(f"*/stage1/{PRETRAINED_FILE}")
    kept = load_file(first)
    build(root, "alloys", *still)
    for name, tensor in load_file(pretrained(root)[0]).items():
        torch.testing.assert_close(tensor, kept[name])


def of_workspace(root: Path) -> Pretraining:
    workspace = open_workspace(root)
    base, expert = (load_causal_lm(getattr(workspace.config.models, role), root=root) for role in ("base", "expert"))
    return projector_pretraining(workspace, Base.from_loaded(base), expert)


def test_several_processes_do_not_wait_for_another_workspace(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(root, "alloys")
    (path,) = pretrained(root)
    path.unlink()
    several = SimpleNamespace(num_processes=2, is_main_process=True, wait_for_everyone=lambda: None)
    monkeypatch.setattr("gag.training.pretraining.processes", lambda: several)
    again = of_workspace(root)
    with FileLock(path.parent / ".lock"), pytest.raises(BusyError, match="pretraining the same projector"):
        again.made()


def test_nobody_looks_before_the_main_process_has_the_lock(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another workspace finished meanwhile is kept by every process, or by none."""
    build(root, "alloys")
    (path,) = pretrained(root)
    kept = path.read_bytes()
    path.unlink()
    second = of_workspace(root)
    barriers: list[int] = []

    def wait() -> None:
        barriers.append(1)
        path.write_bytes(kept)  # the other one is done before the first barrier falls

    other = SimpleNamespace(num_processes=2, is_main_process=False, wait_for_everyone=wait)
    monkeypatch.setattr("gag.training.pretraining.processes", lambda: other)
    told = Told()
    second.made(told)
    assert told.pretraining == [(1, 1, "kept")] and len(barriers) == 2


def test_what_stages_left_ends_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("gag.training.pretraining.shutil", SimpleNamespace(rmtree=lambda *args, **options: 1 / 0))
        with pytest.raises(ZeroDivisionError):
            build(root, "alloys", *STAGES)
    (path,) = pretrained(root)
    kept = load_file(path)
    path.unlink()  # every stage is there, only the last file is not
    assert build(root, "alloys", *STAGES).pretraining == []
    assert [p.name for p in path.parent.iterdir() if p.name != ".lock"] == [PRETRAINED_FILE]
    for name, tensor in load_file(path).items():
        torch.testing.assert_close(tensor, kept[name])


def test_stages_that_do_not_rise_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="must rise from one stage to the next"):
        open_workspace(root, overrides=["projector.pretrain_lengths=[4,4]"])
    with pytest.raises(ConfigError, match="they need pretrain_pairs above 0"):
        open_workspace(root, overrides=["projector.pretrain_lengths=[4]", "projector.pretrain_pairs=0"])


def test_no_stages_change_no_key() -> None:
    config = load_config(preset="demo").projector
    assert "pretrain_lengths" not in config.model_dump()
    staged = config.model_copy(update={"pretrain_lengths": (2, 4)})
    assert staged.model_dump()["pretrain_lengths"] == (2, 4)


@pytest.mark.parametrize(
    "change",
    [
        "projector.pretrain_lengths=[9]",
        "projector.pretrain_pairs=24",
        "readout.slots=1",
        "prompts.expert_user='Say {question}'",
    ],
)
def test_what_it_depends_on_makes_another(root: Path, change: str) -> None:
    build(root, "alloys")
    build(root, "alloys", change)
    assert len(pretrained(root)) == 2


@pytest.mark.parametrize("change", ["readout.max_new_tokens=4", "prompts.base_general='{question}'", "expert.epochs=2"])
def test_what_it_does_not_depend_on_makes_none(root: Path, change: str) -> None:
    build(root, "alloys")
    assert build(root, "alloys", change).pretraining == [(1, 1, "kept")] or change.startswith("prompts")
    assert len(pretrained(root)) == 1


def test_prefill_has_no_background_to_let_through(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"projector\.pretrain_pairs needs readout\.mode generate"):
        build(root, "alloys", "readout.mode=prefill", "readout.pooling=none", "projector.kind=attention", NO_START)


def test_what_the_package_ships_is_taken_by_its_key(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = root.parent / "pretrained"
    shipped.mkdir(parents=True)
    command = ["pretrain", "--workspace", str(root), "--export", str(shipped / "one"), "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    (shipped / "one").rename(shipped / f"{told['key'][:16]}.safetensors")
    kept = load_file(pretrained(root)[0])
    shutil.rmtree(root.parent / "cache")
    monkeypatch.setattr("gag.training.pretraining.shipped_folder", lambda: shipped)
    assert build(root, "alloys", "alignment.learning_rate=1e-30").pretraining == [(1, 1, "shipped with the package")]
    assert pretrained(root) == []
    for name, tensor in load_file(root / "modules" / "alloys" / "projector.safetensors").items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, kept[name].half().float())


def test_nothing_to_pretrain_is_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "--workspace", str(root), "--set", "projector.pretrain_pairs=0"]) == 2
    assert "there is nothing to pretrain" in capsys.readouterr().err
    assert main(["pretrain", "--workspace", str(root), "--domain", "nobody"]) == 2
    assert "gag.yaml has no domain 'nobody'" in capsys.readouterr().err


def test_a_domains_own_projector_is_pretrained_ahead(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ["--set", "domains.alloys.settings.projector.hidden=24", "--json"]
    keys = []
    for more in (["--domain", "alloys"], []):
        assert main(["pretrain", "--workspace", str(root), *more, *own]) == 0
        keys.append(json.loads(capsys.readouterr().out)["key"])
    assert keys[0] != keys[1]
    assert build(root, "alloys", own[1]).pretraining == [(1, 1, "kept")]


@pytest.mark.slow
def test_the_demo_preset_starts_from_what_is_shipped(tmp_path: Path) -> None:
    config = load_config(preset="demo")
    loaded = load_causal_lm(config.models.base)
    workspace = Workspace(tmp_path, config)
    key = projector_pretraining(workspace, Base.from_loaded(loaded), loaded).key
    shipped = resources.files("gag") / "pretrained" / f"{key[:16]}.safetensors"
    assert shipped.is_file(), "the preset or the general questions changed: see docs/benchmarks.md for how to make it"


def test_who_waits_for_another_process_is_told(root: Path) -> None:
    build(root, "alloys")
    lock = FileLock(pretrained(root)[0].parent / ".lock")
    lock.acquire()
    told: list[str] = []

    def let_go(step: str, done: int, total: int, note: str = "") -> None:
        told.append(note)
        if note.startswith("waiting"):
            lock.release()

    Build(open_workspace(root), "polymers", Sources(), on_progress=let_go).run(Build.module)
    assert "waiting for another process that makes the same one" in told


def test_what_the_package_ships_is_not_made_again(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pretrain", "-w", str(root), "--export", str(tmp_path / "mine.safetensors"), "--json"]) == 0
    key = json.loads(capsys.readouterr().out)["key"]
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (tmp_path / "mine.safetensors").rename(shipped / f"{key[:16]}.safetensors")
    shutil.rmtree(root.parent / "cache" / "projectors")
    monkeypatch.setattr("gag.training.pretraining.shipped_folder", lambda: shipped)
    assert main(["pretrain", "-w", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(shipped / f"{key[:16]}.safetensors")
    assert pretrained(root) == []
