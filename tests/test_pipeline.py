"""A build does what changed and nothing else, goes on where it was stopped, and never leaves half a file."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from filelock import FileLock
from safetensors.torch import load_file
from torch import Tensor

from gag.domain import load_module
from gag.errors import BusyError, ConfigError, GagError, InputError, ModelError, RunError
from gag.models import chat
from gag.models.loading import load_causal_lm
from gag.pipeline import Build
from gag.records import write_jsonl
from gag.sources import Sources
from gag.system import GAG
from gag.testing import write_tiny_encoder, write_tiny_model, write_tiny_workspace
from gag.workspace import Workspace, open_workspace

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

SECTIONS: dict[str, Any] = {
    "alignment": {"epochs": 2},
    "domains": {"alloys": {"qa": "qa.jsonl"}, "polymers": {"qa": "more.jsonl", "style": "Be brief."}},
}
STEPS = ("expert", "states", "projector", "prototypes")


def pairs(count: int, what: str) -> list[dict[str, Any]]:
    return [{"id": f"{what}{n}", "question": f"{what} {n}?", "answers": [f"a{n % 4}"]} for n in range(count)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which nothing is built."""
    root = write_tiny_workspace(tmp_path_factory.mktemp("workspace"), **SECTIONS)
    write_jsonl(root / "qa.jsonl", pairs(8, "alloy"))
    write_jsonl(root / "more.jsonl", pairs(7, "polymer"))
    write_jsonl(root / "general.jsonl", pairs(3, "who"))
    write_jsonl(root / "documents.jsonl", [{"id": "d", "text": "An alloy is a mix. " * 4}])
    return root


@pytest.fixture(scope="module")
def built(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with the domain alloys built."""
    root = tmp_path_factory.mktemp("built") / "w"
    shutil.copytree(made, root)
    build(root)
    return root


@pytest.fixture
def fresh(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "w")
    return tmp_path / "w"


@pytest.fixture
def again(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "w")
    return tmp_path / "w"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAG_CACHE", str(tmp_path / "cache"))


class Told(list[tuple[str, int, int, str]]):
    """Progress calls; raises at the `stop`-th of step `at`."""

    def __init__(self, at: str = "", stop: int = 1) -> None:
        self.at, self.stop = at, stop

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None:
        self.append((step, done, total, note))
        if (step, done) == (self.at, self.stop):
            raise KeyboardInterrupt

    @property
    def worked(self) -> set[str]:
        """Steps that did something."""
        return {step for step, _, _, note in self if note != "kept" and step not in ("loaded", "learnt")}


def workspace(root: Path, *overrides: str) -> Workspace:
    return open_workspace(root, overrides=overrides)


def build(root: Path, *overrides: str, name: str = "alloys", told: Told | None = None, **sources: Any) -> Told:
    told = Told() if told is None else told
    Build(workspace(root, *overrides), name, Sources(**sources), on_progress=told).run(Build.module)
    return told


def test_where_each_model_is_held_is_said_once(fresh: Path) -> None:
    told = build(fresh, "models.base.dtype=bfloat16")
    loaded = [note for step, _, _, note in told if step == "loaded"]
    assert sorted(note.split()[0] for note in loaded) == ["base", "encoder", "expert"]
    (base,) = (note for note in loaded if note.startswith("base"))
    assert base.endswith(" on cpu in bfloat16 (as configured)")


def learnt_lines(told: Told) -> list[str]:
    return [note for step, _, _, note in told if step == "learnt"]


def test_how_much_the_expert_knows_of_its_pairs_is_said(fresh: Path) -> None:
    (line,) = learnt_lines(build(fresh))
    assert line.startswith("the answers of 0.0% of 8 pairs stand in what the expert writes (token F1 0.0%): too little")
    assert "halve expert.learning_rate" in line
    write_jsonl(fresh / "other.jsonl", [*pairs(6, "alloy"), *pairs(3, "new")])
    (line,) = learnt_lines(build(fresh, align_qa=fresh / "other.jsonl"))
    assert " of 6 pairs " in line, "what it never learnt is no failure to learn"
    write_jsonl(fresh / "other.jsonl", pairs(3, "new"))
    assert learnt_lines(build(fresh, align_qa=fresh / "other.jsonl")) == []
    assert learnt_lines(build(fresh, "readout.mode=prefill", "readout.pooling=last")) == [], "nothing is written there"
    write_jsonl(
        fresh / "qa.jsonl", [*pairs(7, "alloy"), {"id": "l", "question": "l?", "answers": ["of many words " * 9]}]
    )
    (line,) = learnt_lines(build(fresh))
    assert " of 7 pairs " in line, "no background has room for the long one"


def folders(root: Path, name: str = "alloys") -> set[str]:
    return {path.name for path in (root / "runs" / name).iterdir() if path.is_dir()}


def tensors(root: Path, name: str = "alloys") -> dict[str, Tensor]:
    """All tensors of a module."""
    module = root / "modules" / name
    return {
        f"{path.relative_to(module)}:{key}": tensor.clone()
        for path in sorted(module.rglob("*.safetensors"))
        for key, tensor in load_file(path).items()
    }


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(
            tensor, other[name], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def half_written(root: Path) -> list[str]:
    return [p.name for p in root.rglob(".*") if p.name != ".lock" and not p.name.endswith(".lock")]


def test_a_build_makes_a_module_that_answers(built: Path) -> None:
    module = load_module(built / "modules" / "alloys")
    assert module.name == "alloys" and module.expert_path is not None
    assert (module.base.id, module.expert.id, module.routing.encoder.id) == ("base", "small", "encoder")
    assert module.provenance["counts"] == {"qa": 8, "align_qa": 8}
    assert module.provenance["metrics"].keys() == {"expert_contains", "expert_token_f1", "alignment_loss", "dev_nll"}
    assert {folder.partition("-")[0] for folder in folders(built)} == set(STEPS)
    (projector,) = (built / "runs" / "alloys").glob("projector-*")
    assert (projector / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert half_written(built) == []
    model = GAG.from_config(workspace(built).config, [built / "modules" / "alloys"], root=built)
    assert model.answer("alloy 1?", domain="alloys").knowledge_tokens == 2
    assert model.route("alloy 3?").name == "alloys" and model.route("who 1?").name == "general"


def test_nothing_in_a_module_says_where_it_was_made(built: Path) -> None:
    for path in (built / "modules" / "alloys").rglob("*"):
        if path.suffix in (".json", ".md"):
            assert str(built) not in path.read_text("utf-8"), path.name


def test_nothing_changed_nothing_done(again: Path) -> None:
    before = snapshot(again)
    told = build(again)
    assert told.worked == set()
    assert [step for step, *_ in told if step not in ("loaded", "expert")] == [
        "states",
        "learnt",
        "projector",
        "prototypes",
        "module",
    ]
    assert snapshot(again) == before


@pytest.mark.parametrize(
    ("change", "redone"),
    [
        ("expert.learning_rate=0.01", {"expert", "states", "projector"}),
        ("domains.alloys.field=brass", {"expert", "states", "projector"}),
        ("prompts.expert_user='About {question}'", {"expert", "states", "projector"}),
        ("readout.layers=[-1]", {"states", "projector"}),
        ("projector.output_scale=0.5", {"projector"}),
        ("alignment.epochs=1", {"projector"}),
        ("prompts.base_domain='{question} {knowledge}'", {"projector"}),
        ("router.prototypes=2", {"prototypes"}),
        ("generation.max_new_tokens=3", set()),
        ("prompts.base_general='{question}'", set()),
    ],
)
def test_each_change_redoes_just_its_steps(again: Path, change: str, redone: set[str]) -> None:
    before = folders(again)
    key = load_module(again / "modules" / "alloys").provenance["key"]
    told = build(again, change)
    assert told.worked == redone | {"module"}
    assert sorted(name.partition("-")[0] for name in folders(again) - before) == sorted(redone)
    assert before <= folders(again)
    assert load_module(again / "modules" / "alloys").provenance["key"] != key
    if redone == {"prototypes"}:
        assert build(again).worked == {"module"}  # back to the first choices: every step is there still
        assert load_module(again / "modules" / "alloys").provenance["key"] == key


@pytest.mark.parametrize(
    "change",
    [
        "readout.batch_size=2",
        "domains.polymers.style='Be long.'",
        "alignment.batch_tokens=64",
        "alignment.checkpoint_every=1",
        "expert.gradient_checkpointing=true",
        "expert.full_rate_steps=1000",
        "alignment.counterfactual_near=0.5",
    ],
)
def test_a_change_that_makes_no_difference_redoes_nothing(again: Path, change: str) -> None:
    assert build(again, change).worked == set()


def test_a_long_training_takes_a_lower_rate_and_says_so(again: Path) -> None:
    before = folders(again)
    told = build(again, "expert.full_rate_steps=1")
    (line,) = (note for step, _, _, note in told if step == "expert" and "rate" in note)
    made = re.fullmatch(r"learning rate (\S+) in place of (\S+), since there are 8 pairs", line)
    assert made is not None and float(made[1]) < float(made[2])
    assert {name for name in folders(again) - before if name.startswith("expert")}
    alike = build(again, f"expert.learning_rate={made[1]}")
    assert alike.worked == set(), "what that rate trains is there already"
    rates = [
        max(row["learning_rate"] for row in json.loads(path.read_text())["log_history"] if "learning_rate" in row)
        for path in (again / "runs" / "alloys").glob("expert-*/expert-checkpoints/*/trainer_state.json")
    ]
    assert min(rates) <= float(made[1]) < max(rates)


def test_other_pairs(again: Path) -> None:
    write_jsonl(again / "other.jsonl", [*pairs(8, "alloy")[:6], {"id": "n", "question": "new?", "answers": ["a9"]}])
    before = folders(again)
    told = build(again, align_qa=again / "other.jsonl")
    assert told.worked == {"states", "projector", "module"}
    assert [t[2] for t in told if t[0] == "states"] == [1]  # only the new question is read
    assert {name.partition("-")[0] for name in folders(again) - before} == {"projector"}
    told = build(again, qa=again / "other.jsonl")
    assert told.worked == {*STEPS, "module"}


def test_pairs_of_what_was_taken_out_are_not_learnt_again(fresh: Path) -> None:
    data = fresh / "data" / "polymers"
    made = {"style": "factual", "document": "d", "passage": "d#0", "quote": "Zinc melts"}
    rows = [{"id": f"m{n}", "question": f"what melts {n}?", "answers": [f"zinc {n}"], **made} for n in range(3)]
    write_jsonl(data / "qa.jsonl", [*rows, *pairs(4, "by hand")])
    write_jsonl(data / "passages.jsonl", [{"id": "d#0", "document_id": "d", "text": "Zinc melts early."}])
    own = "domains.polymers.qa=null"
    assert build(fresh, own, name="polymers").worked == {*STEPS, "module"}
    write_jsonl(data / "passages.jsonl", [{"id": "d#0", "document_id": "d", "text": "Tin melts early."}])
    with pytest.raises(InputError, match=r"3 of 7 pairs .* gone or changed \(m0 is one\)"):
        build(fresh, own, name="polymers")
    (data / "passages.jsonl").write_text("")
    with pytest.raises(InputError, match="3 of 7 pairs"):
        build(fresh, own, name="polymers")
    write_jsonl(data / "qa.jsonl", pairs(4, "by hand"))
    assert "expert" in build(fresh, own, name="polymers").worked


def test_the_projector_learns_nothing_that_is_kept_for_testing(fresh: Path) -> None:
    rows = [row | {"split": "test" if n > 5 else "train"} for n, row in enumerate(pairs(8, "alloy"))]
    write_jsonl(fresh / "data" / "alloys" / "qa.jsonl", rows)
    place = workspace(fresh, "domains.alloys.align_qa=data/alloys/qa.jsonl")
    assert [q.id for q in Build(place, "alloys").align_questions] == [f"alloy{n}" for n in range(6)]


def test_changed_models_are_noticed(again: Path) -> None:
    write_tiny_model(again / "base", "qwen2", seed=11)
    assert build(again).worked == {"projector", "module"}
    write_tiny_model(again / "small", "llama", seed=12)
    assert build(again).worked == {"expert", "states", "projector", "module"}
    write_tiny_encoder(again / "encoder", seed=13)
    assert build(again).worked == {"prototypes", "module"}


def test_a_domains_own_choices_are_its_alone(again: Path) -> None:
    choice = "domains.polymers.settings={alignment: {epochs: 1}, generation: {max_new_tokens: 3}}"
    build(again, choice, name="polymers")
    assert load_module(again / "modules" / "polymers").generation.max_new_tokens == 3
    assert build(again, choice).worked == set(), "nothing of the other domain changes"
    steps = {path.name for path in (again / "runs" / "polymers").glob("projector-*")}
    build(again, "alignment.epochs=1", "generation.max_new_tokens=3", name="polymers")
    assert {path.name for path in (again / "runs" / "polymers").glob("projector-*")} == steps, "the same choices"


def test_where_the_models_lie_now_is_in_the_module(again: Path) -> None:
    (again / "small").rename(again / "moved")
    told = build(again, "models.expert.source=moved")
    assert told.worked == {"module"}, "the same weights: nothing is trained again"
    assert load_module(again / "modules" / "alloys").expert.id == "moved"


def test_other_foreign_texts_are_another_projector(again: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = "alignment.counterfactual=1.0"
    build(again, choice)
    assert build(again, choice).worked == set()
    write_jsonl(again / "general.jsonl", pairs(5, "where"))
    assert build(again, choice).worked == set(), "which general questions the router has is nothing to the projector"
    with monkeypatch.context() as changed:
        changed.setattr("gag.training.counterfactual.VERSION", 99)
        assert build(again, choice).worked == {"projector", "module"}
    near = (choice, "alignment.counterfactual_near=0.5")
    build(again, *near)
    monkeypatch.setattr("gag.pipeline.NEAR_VERSION", 99)
    assert build(again, *near).worked == {"projector", "module"}
    assert build(again, choice).worked == {"module"}, "where no answer is changed it is nothing to the projector"


def test_near_misses_are_learnt_from(again: Path) -> None:
    choice, before = "alignment.counterfactual=2.0", folders(again)
    build(again, choice)
    told = build(again, choice, "alignment.counterfactual_near=1.0")
    assert told.worked == {"counterfactual states", "projector", "module"}
    made = sorted(name for name in folders(again) - before if name.startswith("projector-"))
    assert len({(again / "runs" / "alloys" / name / "projector.safetensors").read_bytes() for name in made}) == 2


def test_foreign_texts_have_room_beside_every_question(again: Path) -> None:
    """Pairs of up to twelve bytes fit, and hardly a text that is drawn for them."""
    base = load_causal_lm(workspace(again).config.models.base, root=again).tokenizer
    prompts = workspace(again).prompts("alloys")
    longest = max(len(chat.encode(prompts.domain(q["question"], 1), base).ids) for q in pairs(8, "alloy"))
    choices = ("alignment.counterfactual=4.0", f"alignment.max_length={longest + 5}")
    told = build(again, *choices, "alignment.counterfactual_near=0.5")
    assert {"counterfactual states", "projector"} <= told.worked
    made = Build(workspace(again, *choices), "alloys")
    fits = made._has_room(made.run(Build.expert))
    some = made.align_questions[0]
    assert fits(some, "a1") and not fits(some, "a" * 30)
    assert not Build(workspace(again, "readout.max_new_tokens=2"), "alloys")._has_room(made.expert())(some, "a12")


def test_the_control_takes_as_many_steps_as_the_projector(again: Path) -> None:
    choices = ("alignment.dev_share=0.5", "alignment.batch_size=2", "alignment.patience=0", "alignment.max_steps=null")
    before = folders(again)
    build(again, *choices)
    made = folders(again)
    constant = Build(workspace(again, *choices), "alloys").run(Build.constant)
    (projector,) = (name for name in made if name.startswith("projector-") and name not in before)
    steps = [len(read_step(folder)["losses"]) for folder in (constant, again / "runs" / "alloys" / projector)]
    assert steps[0] == steps[1] > 2


def read_step(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "step.json").read_text("utf-8"))
    return found


def test_a_second_domain_changes_nothing_of_the_first(again: Path) -> None:
    parts = [again / "runs" / "alloys", again / "modules" / "alloys", again / "base", again / "small"]
    before = [snapshot(part) for part in parts]
    build(again, name="polymers")
    assert [snapshot(part) for part in parts] == before
    assert load_module(again / "modules" / "polymers").prompts.style == "Be brief."


LATER = [pytest.param(*place, marks=pytest.mark.slow) for place in (("states", 4), ("projector", 1), ("prototypes", 1))]


@pytest.mark.parametrize(("at", "stop"), [("expert", 1), ("projector", 2), ("module", 1), *LATER])
def test_interrupted_anywhere_it_goes_on_to_the_same_module(fresh: Path, built: Path, at: str, stop: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(fresh, told=Told(at, stop))
    told = build(fresh)
    done = {"expert": [], "states": ["expert"], "projector": ["expert", "states"]}
    kept = done.get(at, ["expert", "states", "projector"])
    assert not told.worked & set(kept)
    assert_equal(tensors(fresh), tensors(built))
    assert half_written(fresh) == []
    assert build(fresh).worked == set()


def half(tensors: Any, path: Path, *_: Any, **__: Any) -> None:
    path.write_bytes(b"half")


FULL: dict[str, tuple[str, Callable[..., Any], str]] = {
    "states": ("gag.training.states.save_file", half, "states"),
    "checkpoint": ("gag.training.checkpoint.save_file", half, "projector"),
    "curve": ("matplotlib.figure.Figure.savefig", half, "projector"),
    "projector": ("gag.steps.save", lambda tensors: None, "projector"),
    "prototypes": ("gag.pipeline.save", lambda tensors: None, "prototypes"),
    "note": ("pathlib.Path.write_text", lambda path, *_, **__: "step.json" in path.name, "prototypes"),
    "module": ("gag.domain.save", lambda tensors: None, "nothing"),
    "adapter": ("peft.PeftModel.save_pretrained", lambda self, to, **_: os.makedirs(to, exist_ok=True), "expert"),
}
"""What is replaced, what it does before it fails (False: it does not), and the step whose folder is missing."""


@pytest.mark.parametrize("write", FULL)
def test_a_full_disk_is_one_plain_error_and_leaves_nothing_half_written(
    again: Path, built: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    """Each write in a workspace that lacks just what it brings about."""
    target, start, lost = FULL[write]
    shutil.rmtree(again / "modules")
    for folder in (again / "runs" / "alloys").glob(f"{lost}-*"):
        shutil.rmtree(folder)
    original: Any = Path.write_text

    def full(*given: Any, **choices: Any) -> Any:
        if start(*given, **choices) is False:
            return original(*given, **choices)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(target, full)
        with pytest.raises(RunError, match="No space left") as caught:
            build(again)
    assert "\n" not in caught.value.message and caught.value.hint
    assert not (again / "modules" / "alloys").exists()
    assert [n for n in half_written(again) if n != ".adapter.partial"] == []
    build(again)
    assert_equal(tensors(again), tensors(built))
    assert half_written(again) == []


def test_a_second_build_at_once_is_refused(again: Path) -> None:
    before = snapshot(again)
    lock = FileLock(again / "runs" / "alloys" / ".lock")
    with lock, pytest.raises(BusyError, match="alloys"):
        build(again)
    assert snapshot(again) == before
    with FileLock(again / "runs" / "polymers.lock"):
        assert build(again).worked == set()


@pytest.mark.parametrize(
    ("choices", "align", "message"),
    [
        ((), "[", "line 1"),
        (("readout.layers=[-40]",), None, "readout.layers has -40"),
        (("models.base.source=gone",), None, "gone"),
        (("models.encoder.source=gone",), None, "gone"),
        (("alignment.max_length=8",), None, "Question 'alloy0' alone is longer"),
        (("readout.max_new_tokens=5000",), None, "Question 'alloy0': The expert's prompt has"),
        (("models.base.attention=flash_attention_2",), None, "FlashAttention-2"),
        (("models.encoder.attention=flash_attention_2",), None, "FlashAttention-2"),
    ],
)
def test_what_a_later_step_refuses_is_refused_before_the_first(
    fresh: Path, choices: tuple[str, ...], align: str | None, message: str
) -> None:
    sources = {}
    if align is not None:
        (fresh / "align.jsonl").write_text(align, "utf-8")
        sources["align_qa"] = fresh / "align.jsonl"
    with pytest.raises(GagError, match=message):
        build(fresh, *choices, **sources)
    assert not list((fresh / "runs" / "alloys").glob("expert-*/adapter"))


@pytest.mark.parametrize("what", ["weights", "pooling", "modules"])
def test_files_that_a_later_step_refuses_are_refused_before_the_first(fresh: Path, what: str) -> None:
    match = {"weights": "no safetensors", "pooling": "pools by max_tokens", "modules": "modules is a file"}
    if what == "weights":
        (fresh / "base" / "model.safetensors").unlink()
    elif what == "pooling":
        (fresh / "encoder" / "1_Pooling").mkdir(exist_ok=True)
        (fresh / "encoder" / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}', "utf-8")
    else:
        (fresh / "modules").write_text("", "utf-8")
    with pytest.raises(GagError, match=match[what]):
        build(fresh)
    assert not list((fresh / "runs" / "alloys").glob("expert-*/adapter"))


def test_training_and_alignment_need_no_encoder(fresh: Path) -> None:
    shutil.rmtree(fresh / "encoder")
    made = Build(workspace(fresh), "alloys")
    expert = made.run(Build.expert)
    assert made.projector(expert, made.states(expert)).is_dir()


def test_an_adapter_says_which_model_it_was_made_on(again: Path) -> None:
    (adapter,) = (again / "runs" / "alloys").glob("expert-*/adapter")
    settings = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    (adapter / "adapter_config.json").write_text(
        json.dumps({**settings, "base_model_name_or_path": "another"}), "utf-8"
    )
    told = build(again, name="law", qa=again / "qa.jsonl", expert=str(adapter))
    assert any(note.endswith("made on another: is that small?") for step, _, _, note in told if step == "expert")


def test_an_expert_that_exists_already(again: Path) -> None:
    trained = load_file(again / "modules" / "alloys" / "expert" / "adapter_model.safetensors")
    (adapter,) = (again / "runs" / "alloys").glob("expert-*/adapter")
    told = build(again, name="law", qa=again / "qa.jsonl", expert=str(adapter))
    assert "expert" not in {name.partition("-")[0] for name in folders(again, "law")}
    assert ("expert", 1, 1, f"adapter {adapter}") in told
    module = load_module(again / "modules" / "law")
    assert module.expert_path is not None
    assert_equal(load_file(module.expert_path / "adapter_model.safetensors"), trained)
    whole = build(again, name="whole", qa=again / "qa.jsonl", expert="small")
    assert ("expert", 1, 1, "model small") in whole
    bare = load_module(again / "modules" / "whole")
    assert bare.expert_path is None and bare.expert.id == "small"
    model = GAG.from_config(workspace(again).config, [module.folder, bare.folder], root=again)
    assert model.answer("alloy 1?", domain="whole").background is not None


@pytest.mark.parametrize("what", ["weights", "settings"])
def test_a_changed_adapter_is_noticed(again: Path, what: str) -> None:
    (trained,) = (again / "runs" / "alloys").glob("expert-*/adapter")
    adapter = again / "mine"
    shutil.copytree(trained, adapter)
    build(again, name="law", qa=again / "qa.jsonl", expert="mine")
    if what == "settings":
        text = (adapter / "adapter_config.json").read_text()
        (adapter / "adapter_config.json").write_text(text.replace('"lora_alpha": 4', '"lora_alpha": 8'))
    else:
        path = adapter / "adapter_model.safetensors"
        data = bytearray(path.read_bytes())
        data[-2] ^= 1
        path.write_bytes(bytes(data))
    told = build(again, name="law", qa=again / "qa.jsonl", expert="mine")
    assert {"states", "projector", "module"} <= told.worked


def test_a_whole_expert_of_ones_own(fresh: Path) -> None:
    build(fresh, "expert.method=full", "expert.learning_rate=1e-3")
    module = load_module(fresh / "modules" / "alloys")
    assert module.expert_path is None
    assert not Path(module.expert.id).is_absolute()
    trained = load_causal_lm(
        workspace(fresh).config.models.expert.model_copy(update={"source": module.expert.id}), root=fresh
    )
    assert trained.fingerprint == module.expert.fingerprint
    model = GAG.from_config(workspace(fresh).config, [module.folder], root=fresh)
    assert model.answer("alloy 1?", domain="alloys").knowledge_tokens == 2


@pytest.mark.parametrize(
    "overrides",
    [
        ["readout.pooling=none", "projector.kind=attention"],
        ["readout.mode=prefill", "readout.pooling=last", "projector.kind=gated_residual", "readout.layers=[-1,-2]"],
        [
            "readout.pooling=segment_softmax",
            "readout.normalize=layer_norm",
            "readout.clamp=2",
            "alignment.semantic_weight=0.1",
        ],
        ["readout.pooling=segment_mean", "readout.parts=3", "projector.kind=gated_residual", "projector.hidden=40"],
    ],
    ids=["attention", "prefill", "softmax", "parts"],
)
def test_other_readouts_and_projectors(again: Path, overrides: list[str]) -> None:
    build(again, *overrides)
    model = GAG.from_config(workspace(again, *overrides).config, [again / "modules" / "alloys"], root=again)
    assert model.answer("alloy 1?", domain="alloys").knowledge_tokens == 2


def test_a_whole_expert_is_read_again_in_another_dtype(fresh: Path) -> None:
    full = ("expert.method=full", "expert.learning_rate=1e-3")
    build(fresh, *full)
    assert build(fresh, *full, "models.expert.dtype=bfloat16").worked == {"states", "projector", "module"}


def test_pretraining_takes_what_was_ingested(fresh: Path) -> None:
    data = fresh / "data" / "alloys"
    write_jsonl(data / "documents.jsonl", [{"id": f"d{n}", "text": "An alloy is a mix. " * 4} for n in range(4)])
    place = workspace(fresh, "expert.pretrain_epochs=1")
    assert len(Build(place, "alloys").material.documents) == 4
    config = place.config.synthesis
    sides = {"share": config.test_share, "seed": config.seed, "documents": {"d1": "test"}}
    (data / "splits.json").write_text(json.dumps(sides))
    assert [d.id for d in Build(place, "alloys").material.documents] == ["d0", "d2", "d3"]
    assert Build(workspace(fresh), "alloys").material.documents == []


def test_pretraining_needs_documents(fresh: Path) -> None:
    with pytest.raises(ConfigError, match="has no documents"):
        build(fresh, "expert.pretrain_epochs=1")
    told = build(fresh, "expert.pretrain_epochs=1", documents=fresh / "documents.jsonl")
    assert "pretrain" in told.worked


def test_what_is_wrong_with_the_input_is_said(fresh: Path) -> None:
    for given in (None, "small"):
        told = Told()
        with pytest.raises(InputError, match="no question-answer pairs"):
            build(fresh, name="law", told=told, expert=given)
        assert not told, "nothing is loaded before that is said"
    (fresh / "bad.jsonl").write_text('{"id": "1", "question": "x", "answers": ["y"]}\nnot json\n')
    with pytest.raises(InputError, match="line 2"):
        build(fresh, qa=fresh / "bad.jsonl")
    for expert in ("nowhere/else/at/all", "qa.jsonl"):
        with pytest.raises(ModelError):
            build(fresh, expert=expert)
    (fresh / "pickled").mkdir()
    (fresh / "pickled" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="safetensors"):
        build(fresh, expert="pickled")
    with pytest.raises(ConfigError):
        build(fresh, name="../outside")
    assert not (fresh / "modules").exists()


SCRIPT = """
import sys
from pathlib import Path
from gag.pipeline import Build
from gag.workspace import open_workspace
if __name__ == "__main__":
    told = []
    build = Build(open_workspace(sys.argv[1]), "alloys", on_progress=lambda *a: told.append(a[0]))
    module = build.run(Build.module)
    from gag.training.processes import processes
    place = processes()
    Path(f"{sys.argv[1]}.{place.process_index}").write_text(f"{place.num_processes} {module.name}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_processes_build_what_one_does(fresh: Path, tmp_path: Path, method: str) -> None:
    """Expert, states and projector alike; with half the questions a step on each of the two."""
    tree = yaml.safe_load((fresh / "gag.yaml").read_text())
    tree["expert"] |= {"method": method, "learning_rate": 1e-3}
    (fresh / "gag.yaml").write_text(yaml.safe_dump(tree))
    shutil.copytree(fresh, tmp_path / "two")
    build(fresh)
    tree["expert"]["batch_size"] = 2
    (tmp_path / "two" / "gag.yaml").write_text(yaml.safe_dump(tree))
    (tmp_path / "build.py").write_text(SCRIPT)
    launch = resources.files("gag") / "presets" / "accelerate" / "cpu_two_processes.yaml"
    source = str(Path(__file__).parents[1] / "src")
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(launch),
         str(tmp_path / "build.py"), str(tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": source},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert [(tmp_path / f"two.{n}").read_text() for n in (0, 1)] == ["2 alloys", "2 alloys"]
    assert_equal(tensors(tmp_path / "two"), tensors(fresh), tolerance=1e-4)
    if method == "full":
        one, two = (load_file(next((root / "runs" / "alloys").glob("expert-*/model/model.safetensors")))
                    for root in (fresh, tmp_path / "two"))  # fmt: skip
        assert_equal(two, one, tolerance=5e-4)
    (store,) = (tmp_path / "two" / "runs" / "alloys").glob("states-*")
    assert len(list(store.glob("*.safetensors"))) == 2  # each wrote its share
    assert half_written(tmp_path / "two") == []
    assert build(tmp_path / "two").worked == set()
