"""A domain module is written whole, comes back equal, and is refused with reason and mend for anything wrong."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from filelock import FileLock
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file

from gag import atomic, domain
from gag.config import GenerationConfig, ProjectorConfig, PromptsConfig, ReadoutConfig
from gag.domain import (
    DomainModule,
    ModelReference,
    ModuleSpec,
    Routing,
    check_base,
    check_encoder,
    check_expert,
    copy_module,
    list_modules,
    load_module,
    remove_module,
    verify_module,
    write_module,
)
from gag.errors import BusyError, ConfigError, DomainError, RunError
from gag.models.fingerprint import identity_fingerprint
from gag.prompts import Prompts
from gag.testing import tiny_causal_lm

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

BASE = ModelReference(id="owner/base", revision="abc", fingerprint="b" * 64, hidden_size=48)
ENCODER = ModelReference(id="package:encoder", fingerprint="e" * 64, hidden_size=6)
PROJECTOR = {"in.weight": torch.arange(12.0).reshape(3, 4), "out.bias": torch.ones(5, dtype=torch.bfloat16)}
PROTOTYPES = torch.nn.functional.normalize(torch.arange(24.0).reshape(4, 6) + 1, dim=-1)
FILES = [
    "README.md",
    "expert/adapter_config.json",
    "expert/adapter_model.safetensors",
    "manifest.json",
    "module.json",
    "projector.safetensors",
    "prototypes.safetensors",
]


def spec(name: str = "adjuvant", **changes: Any) -> ModuleSpec:
    expert = ModelReference(id="tiny", fingerprint=identity_fingerprint(tiny_causal_lm()), hidden_size=32)
    choices: dict[str, Any] = {
        "name": name,
        "base": BASE,
        "expert": expert,
        "readout": ReadoutConfig(layers=(-4, -1), slots=2, pooling="segment_mean"),
        "projector": ProjectorConfig(kind="gated_residual"),
        "prompts": Prompts(PromptsConfig(), "vaccine adjuvants", "Be brief."),
        "routing": Routing(encoder=ENCODER, prototypes=4),
        "generation": GenerationConfig(max_new_tokens=7),
        "provenance": {"code": "0.1", "data": {"qa": "f" * 64}, "metrics": {"dev_nll": 1.23456, "pairs": 9}},
    }
    return ModuleSpec(**{**choices, **changes})


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEFT folder as a trainer leaves it, with an optimiser state beside."""
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    wrapped = get_peft_model(
        tiny_causal_lm(), LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    )
    wrapped.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    torch.save({"step": 1}, folder / "optimizer.pt")
    return folder


def write(folder: Path, adapter: Path | None, **changes: Any) -> DomainModule:
    return write_module(folder, spec(**changes), projector=PROJECTOR, prototypes=PROTOTYPES, expert_adapter=adapter)


@pytest.fixture
def module(tmp_path: Path, adapter: Path) -> DomainModule:
    return write(tmp_path / "modules" / "adjuvant", adapter)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def refused(folder: Path) -> DomainError:
    with pytest.raises(DomainError) as caught:
        load_module(folder)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


def reseal(folder: Path) -> None:
    """Give `folder` a manifest that holds, as one who forges a module would."""
    files = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in names(folder)
        if name != "manifest.json"
    }
    (folder / "manifest.json").write_text(json.dumps({"schema": 1, "files": files}), "utf-8")


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    tree = json.loads((folder / "module.json").read_text("utf-8"))
    change(tree)
    (folder / "module.json").write_text(json.dumps(tree), "utf-8")
    reseal(folder)


# --- round trip


def test_it_comes_back_equal(module: DomainModule) -> None:
    again = load_module(module.folder)
    assert again == module
    assert ModuleSpec(**{key: getattr(again, key) for key in ModuleSpec.model_fields}) == spec()
    state = again.projector_state()
    assert sorted(state) == sorted(PROJECTOR)
    for name, tensor in PROJECTOR.items():
        assert state[name].dtype == tensor.dtype
        assert torch.equal(state[name], tensor)
    assert torch.equal(again.prototypes(), PROTOTYPES)
    assert again.schema_version == 1
    assert again.prompts.domain("q", 2) == spec().prompts.domain("q", 2)


def test_the_folder_is_the_one_of_the_design(module: DomainModule) -> None:
    assert names(module.folder) == FILES
    assert [path.name for path in module.folder.parent.iterdir()] == ["adjuvant"]
    manifest = json.loads((module.folder / "manifest.json").read_text("utf-8"))
    assert sorted(manifest["files"]) == [name for name in FILES if name != "manifest.json"]
    tree = json.loads((module.folder / "module.json").read_text("utf-8"))
    assert set(tree) == {"schema", *ModuleSpec.model_fields}


def test_peft_loads_the_expert_as_it_stands(module: DomainModule, adapter: Path) -> None:
    assert module.expert_path is not None
    ids = torch.arange(8)[None]
    with torch.no_grad():
        from_module = PeftModel.from_pretrained(tiny_causal_lm(), str(module.expert_path))(ids).logits
        from_trainer = PeftModel.from_pretrained(tiny_causal_lm(), str(adapter))(ids).logits
        bare = tiny_causal_lm()(ids).logits
    assert torch.equal(from_module, from_trainer)
    assert not torch.equal(from_module, bare)


def test_a_whole_model_as_expert_has_no_folder(tmp_path: Path) -> None:
    module = write(tmp_path / "law", None, name="law")
    assert module.expert_path is None
    assert names(module.folder) == [name for name in FILES if not name.startswith("expert/")]
    assert load_module(tmp_path / "law") == module


def test_the_card_is_what_the_hub_reads(module: DomainModule) -> None:
    text = (module.folder / "README.md").read_text("utf-8")
    matter = yaml.safe_load(text.split("---\n")[1])
    assert matter["library_name"] == "gag"
    assert matter["license"] == "other"
    assert matter["base_model"] == ["owner/base"]
    assert "peft" in matter["tags"]
    for part in ("vaccine adjuvants", "gag domain add", "dev_nll", "1.235", "`bbbbbbbbbbbb`", "segment_mean"):
        assert part in text


def test_verify_says_what_it_checked(module: DomainModule) -> None:
    lines = verify_module(module.folder)
    assert any("6 files" in line for line in lines)
    assert any("4 prototypes of width 6" in line for line in lines)
    assert any("PEFT adapter over tiny" in line for line in lines)


def test_hidden_entries_at_the_top_are_not_the_modules(module: DomainModule) -> None:
    (module.folder / ".git").mkdir()
    (module.folder / ".git" / "HEAD").write_text("ref", "utf-8")
    (module.folder / ".gitattributes").write_text("x", "utf-8")
    load_module(module.folder)


# --- refused on load


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
def test_a_changed_byte_is_refused(module: DomainModule, name: str) -> None:
    path = module.folder / name
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(bytes(data))
    assert path.name in refused(module.folder).message


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(module: DomainModule, name: str) -> None:
    (module.folder / name).unlink()
    assert Path(name).name in refused(module.folder).message


@pytest.mark.parametrize("name", ["notes.txt", "expert/more.safetensors", "expert/.hidden", "new/x.json"])
def test_an_extra_file_is_refused(module: DomainModule, name: str) -> None:
    (module.folder / name).parent.mkdir(exist_ok=True)
    (module.folder / name).write_text("x", "utf-8")
    error = refused(module.folder)
    assert name in error.message
    assert "manifest does not list" in error.message


def test_a_newer_schema_is_refused_whatever_else_it_holds(module: DomainModule) -> None:
    (module.folder / "module.json").write_text('{"schema": 2, "all": "new"}', "utf-8")
    (module.folder / "manifest.json").unlink()
    error = refused(module.folder)
    assert "schema 2" in error.message
    assert "newer version of gag" in error.hint


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"schema": true}', '{"schema": "1"}', "[" * 100_000])
@pytest.mark.parametrize("name", ["module.json", "manifest.json"])
def test_damaged_json_is_refused(module: DomainModule, name: str, content: str) -> None:
    (module.folder / name).write_text(content, "utf-8")
    assert name in refused(module.folder).message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.update(surprise=1), "surprise"),
        (lambda t: t.pop("base"), "base"),
        (lambda t: t["readout"].update(slots=0), "readout.slots"),
        (lambda t: t.update(name="../../etc"), "domain's name"),
        (lambda t: t.update(name=""), "domain's name"),
        (lambda t: t.update(name="general"), "taken by the system"),
        (lambda t: t.update(folder="/elsewhere"), "folder"),
        (lambda t: t["routing"].update(prototypes=5), "prototypes.safetensors"),
        (lambda t: t["prompts"]["templates"].update(base_domain="no slot"), "prompts"),
    ],
)
def test_a_sealed_module_with_wrong_content_is_refused(
    module: DomainModule, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    edit(module.folder, change)
    assert said in str(refused(module.folder))


def test_what_is_not_safetensors_is_refused_though_sealed(module: DomainModule) -> None:
    torch.save(PROJECTOR, module.projector_path)
    reseal(module.folder)
    assert "projector.safetensors" in refused(module.folder).message


def test_a_pickle_is_refused_though_sealed(module: DomainModule) -> None:
    torch.save({}, module.folder / "expert" / "adapter_model.bin")
    reseal(module.folder)
    assert "never loaded" in refused(module.folder).message


def test_a_bank_under_another_name_is_refused(module: DomainModule) -> None:
    save_file({"bank": PROTOTYPES}, module.prototypes_path)
    reseal(module.folder)
    assert "prototypes.safetensors" in refused(module.folder).message


@pytest.mark.parametrize(
    "name", ["../secret.json", "/etc/hosts.json", "a/../../x.json", "C:x.json", "a\\b.json", "./a.json", ""]
)
def test_a_manifest_that_points_outside_is_refused(module: DomainModule, name: str) -> None:
    path = module.folder / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["files"][name] = "0" * 64
    path.write_text(json.dumps(manifest), "utf-8")
    assert "outside the module" in refused(module.folder).message


@pytest.mark.parametrize("name", ["projector.safetensors", "module.json", "manifest.json", "expert", "loop"])
def test_links_are_refused(module: DomainModule, tmp_path: Path, name: str) -> None:
    path = module.folder / name
    if path.exists():
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.symlink_to(module.folder)
    assert "link" in refused(module.folder).message


@pytest.mark.timeout(20)
@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("name", ["more.json", "module.json", "manifest.json"])
def test_a_pipe_is_refused_and_not_waited_for(module: DomainModule, tmp_path: Path, name: str, linked: bool) -> None:
    path = module.folder / name
    path.unlink(missing_ok=True)
    os.mkfifo(tmp_path / "pipe" if linked else path)
    if linked:
        path.symlink_to(tmp_path / "pipe")
    assert name in refused(module.folder).message


def test_no_module_at_all(tmp_path: Path) -> None:
    assert "no domain module" in refused(tmp_path / "nothing").message
    assert "module.json is missing" in refused(tmp_path).message


# --- fits


def test_the_models_it_was_built_with_fit(module: DomainModule) -> None:
    check_base(module, BASE.fingerprint, BASE.hidden_size)
    check_encoder(module, ENCODER.fingerprint)
    check_expert(module, identity_fingerprint(tiny_causal_lm()))


@pytest.mark.parametrize(
    ("check", "known", "model"),
    [
        (lambda m: check_base(m, "c" * 64, 48), BASE.fingerprint, "base owner/base@abc"),
        (lambda m: check_encoder(m, "c" * 64), ENCODER.fingerprint, "encoder package:encoder"),
        (lambda m: check_expert(m, "c" * 64), None, "expert tiny"),
    ],
)
def test_another_model_is_refused_with_both_fingerprints(
    module: DomainModule, check: Callable[[DomainModule], None], known: str | None, model: str
) -> None:
    with pytest.raises(DomainError) as caught:
        check(module)
    assert "cccccccccccc;" not in caught.value.message
    assert "c" * 12 in caught.value.message
    assert (known or module.expert.fingerprint)[:12] in caught.value.message
    assert model in caught.value.message
    assert "gag build adjuvant" in caught.value.hint


def test_another_width_is_refused(module: DomainModule) -> None:
    with pytest.raises(DomainError, match="width 48; this one has 64"):
        check_base(module, BASE.fingerprint, 64)


# --- written whole or not at all


@pytest.mark.parametrize("name", ["General module", "general", "../x", ""])
def test_a_wrong_name_is_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        write(tmp_path / "m", None, name=name)
    assert list(tmp_path.iterdir()) == []


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["model_card", "write_manifest", "_copy_adapter", "load_module"])
@pytest.mark.parametrize("what", [no_space, interrupt])
@pytest.mark.parametrize("earlier", [True, False])
def test_an_interrupted_write_changes_nothing(
    tmp_path: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch, where: str, what: Any, earlier: bool
) -> None:
    folder = tmp_path / "modules" / "adjuvant"
    before = write(folder, adapter) if earlier else None
    with monkeypatch.context() as patch:
        patch.setattr(domain, where, what)
        with pytest.raises(RunError if what is no_space else KeyboardInterrupt) as caught:
            write(folder, adapter, version="2")
    if what is no_space:
        assert "No space left on device" in str(caught.value)
    assert list(folder.parent.iterdir()) == ([folder] if earlier else [])
    if before is not None:
        assert load_module(folder) == before


@pytest.mark.parametrize("call", [1, 2])
def test_a_rename_that_fails_keeps_the_earlier_module(
    tmp_path: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    folder = tmp_path / "adjuvant"
    before = write(folder, adapter)
    rename, calls = Path.rename, []

    def failing(self: Path, target: Path) -> Path:
        calls.append(target)
        return rename(self, target) if len(calls) != call else no_space()  # type: ignore[func-returns-value]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        with pytest.raises(RunError):
            write(folder, adapter, version="2")
    assert load_module(folder) == before
    assert list(tmp_path.iterdir()) == [folder]


def test_killed_between_the_renames_the_earlier_module_comes_back(module: DomainModule, adapter: Path) -> None:
    folder = module.folder
    replaced, partial = (folder.with_name(f".adjuvant.{kind}") for kind in ("replaced", "partial"))
    folder.rename(replaced)
    partial.mkdir()
    assert load_module(folder) == module
    folder.rename(replaced)
    assert [entry.module for entry in list_modules(folder.parent)] == [module]
    folder.rename(replaced)
    assert write(folder, adapter, version="2").version == "2"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_module_is_replaced(module: DomainModule, adapter: Path) -> None:
    assert write(module.folder, adapter, version="2").version == "2"
    assert load_module(module.folder).version == "2"
    assert list(module.folder.parent.iterdir()) == [module.folder]


def test_its_own_expert_can_be_written_again(module: DomainModule) -> None:
    write(module.folder, module.expert_path, version="2")
    assert load_module(module.folder).expert_path is not None


def test_a_folder_that_is_no_module_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work", "utf-8")
    with pytest.raises(DomainError, match="not a domain module"):
        write(tmp_path / "thesis", None)
    assert names(tmp_path) == ["thesis/chapter.tex"]
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", None)


def test_two_writers_at_once_are_told_apart(module: DomainModule, adapter: Path) -> None:
    with FileLock(module.folder.with_name(".adjuvant.lock")), pytest.raises(BusyError):
        write(module.folder, adapter, version="2")
    assert load_module(module.folder) == module


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_without_safetensors_is_refused(tmp_path: Path, adapter: Path, missing: str) -> None:
    shutil.copytree(adapter, tmp_path / "adapter")
    (tmp_path / "adapter" / missing).unlink()
    with pytest.raises(DomainError, match=missing):
        write(tmp_path / "m", tmp_path / "adapter")
    assert not (tmp_path / "m").exists()


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def attempt(projector: dict[str, torch.Tensor], prototypes: torch.Tensor) -> None:
        write_module(tmp_path / "m", spec(), projector=projector, prototypes=prototypes)

    with pytest.raises(DomainError, match="shape"):
        attempt(PROJECTOR, PROTOTYPES[:3])
    with pytest.raises(DomainError, match="no weights"):
        attempt({}, PROTOTYPES)
    with pytest.raises(RunError, match="w holds values that are not finite"):
        attempt({"w": torch.tensor([1.0, float("nan")])}, PROTOTYPES)
    assert list(tmp_path.iterdir()) == []


# --- list, copy, remove


def test_list_shows_the_broken_ones_too(module: DomainModule, adapter: Path) -> None:
    folder = module.folder.parent
    law = write(folder / "law", adapter, name="law")
    (folder / "broken").mkdir()
    (folder / ".hidden").mkdir()
    (folder / "file.txt").write_text("x", "utf-8")
    entries = list_modules(folder)
    assert [(entry.folder.name, entry.module) for entry in entries] == [
        ("adjuvant", module),
        ("broken", None),
        ("law", law),
    ]
    assert "module.json is missing" in str(entries[1].problem)
    assert list_modules(folder / "nothing") == []


def test_a_copy_is_equal_and_verified(module: DomainModule, tmp_path: Path) -> None:
    (module.folder / ".git").mkdir()
    target = tmp_path / "other" / "adjuvant"
    copy = copy_module(module.folder, target)
    assert copy == module.model_copy(update={"folder": target})
    assert names(target) == FILES
    with pytest.raises(DomainError, match="there already"):
        copy_module(module.folder, target)
    copy_module(module.folder, target, replace=True)
    with pytest.raises(DomainError, match="itself"):
        copy_module(module.folder, module.folder, replace=True)


def test_a_damaged_module_is_not_copied(module: DomainModule, tmp_path: Path) -> None:
    module.projector_path.write_bytes(b"x")
    with pytest.raises(DomainError):
        copy_module(module.folder, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_copy_without_space_leaves_nothing(
    module: DomainModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain.shutil, "copyfile", no_space)
    with pytest.raises(RunError):
        copy_module(module.folder, tmp_path / "to" / "copy")
    assert list((tmp_path / "to").iterdir()) == []


def test_remove_takes_it_away(module: DomainModule) -> None:
    folder = module.folder
    remove_module(folder)
    assert list(folder.parent.iterdir()) == []
    with pytest.raises(DomainError, match="no domain module"):
        remove_module(folder)


def test_a_damaged_module_can_be_removed_and_a_plain_folder_not(module: DomainModule, tmp_path: Path) -> None:
    (module.folder / "module.json").write_text("{", "utf-8")
    remove_module(module.folder)
    (tmp_path / "mine").mkdir()
    with pytest.raises(DomainError):
        remove_module(tmp_path / "mine")


def test_removing_a_link_keeps_what_it_points_to(module: DomainModule, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(module.folder)
    assert load_module(link).name == "adjuvant"
    remove_module(link)
    assert not link.is_symlink()
    assert load_module(module.folder) == module


def test_a_removal_cut_short_does_not_show(
    module: DomainModule, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(atomic.shutil, "rmtree", lambda *_, **__: None)
        remove_module(module.folder)
    assert list_modules(module.folder.parent) == []
    write(module.folder, adapter)
    remove_module(module.folder)
    assert list(module.folder.parent.iterdir()) == []
