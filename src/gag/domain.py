"""The domain module: one folder with a domain's expert, projector, prototypes, prompts and card.

    module.json  projector.safetensors  prototypes.safetensors  [expert/]  README.md  manifest.json

Written whole or not at all, verified on every load, and refused with the reason and the mend.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from gag.atomic import interrupted, new_folder, remove_folder, restore_interrupted
from gag.card import model_card
from gag.config import GenerationConfig, ProjectorConfig, ReadoutConfig, Section, check_domain_name
from gag.errors import ConfigError, DomainError, RunError
from gag.manifest import BUILD_AGAIN, KINDS, MANIFEST, read_json, read_manifest, verify_files, write_manifest
from gag.prompts import Prompts

SCHEMA = 1
"""The newest form of module.json and manifest.json that this version reads and the one it writes."""

MODULE, CARD = "module.json", "README.md"
PROJECTOR, PROTOTYPES, EXPERT = "projector.safetensors", "prototypes.safetensors", "expert"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


class ModelReference(Section):
    """Which model a module was made with: `fingerprint` is `gag.models.loading.identity_fingerprint`."""

    id: str = Field(min_length=1)
    revision: str | None = None
    fingerprint: str = Field(min_length=1)
    hidden_size: int = Field(ge=1)


class Routing(Section):
    """The encoder that the prototypes belong to, and how many there are."""

    encoder: ModelReference
    prototypes: int = Field(ge=1)


class ModuleSpec(Section):
    """What module.json says. `expert` is the model below the adapter, or the whole expert where there is none."""

    name: str
    version: str = Field("1", min_length=1)
    base: ModelReference
    expert: ModelReference
    readout: ReadoutConfig
    projector: ProjectorConfig
    prompts: Prompts
    routing: Routing
    generation: GenerationConfig
    provenance: dict[str, Any] = Field(default_factory=dict)


class DomainModule(ModuleSpec):
    """A module on disk whose files were verified."""

    folder: Path
    schema_version: int

    @property
    def projector_path(self) -> Path:
        """The projector's weights."""
        return self.folder / PROJECTOR

    @property
    def prototypes_path(self) -> Path:
        """The prototype bank, one tensor called `prototypes`."""
        return self.folder / PROTOTYPES

    @property
    def expert_path(self) -> Path | None:
        """The PEFT adapter's folder; None where `expert` names a whole model."""
        path = self.folder / EXPERT
        return path if path.is_dir() else None

    def projector_state(self) -> dict[str, Tensor]:
        """The projector's state dict."""
        return load_file(self.projector_path)

    def prototypes(self) -> Tensor:
        """The prototype bank `[prototypes, d_encoder]`."""
        return load_file(self.prototypes_path)["prototypes"]


@dataclass(frozen=True)
class ListedModule:
    """One folder of `list_modules`: the module, or why it cannot be used."""

    folder: Path
    module: DomainModule | None
    problem: DomainError | None


def write_module(
    folder: Path,
    spec: ModuleSpec,
    *,
    projector: Mapping[str, Tensor],
    prototypes: Tensor,
    expert_adapter: Path | None = None,
) -> DomainModule:
    """Write the module to `folder`, in place of an earlier one only when it is whole.

    `projector` is a state dict, `prototypes` `[prototypes, d_encoder]`, `expert_adapter` a PEFT folder whose
    data files are taken as they stand. Raises DomainError for a wrong part, RunError for the disk's errors.
    """
    check_domain_name(spec.name)
    _check_replaceable(folder)
    _check_parts(spec, projector, prototypes)
    with new_folder(folder) as partial:
        tree = {"schema": SCHEMA, **spec.model_dump(mode="json")}
        (partial / MODULE).write_text(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", "utf-8")
        (partial / PROJECTOR).write_bytes(save({name: _plain(t) for name, t in projector.items()}))
        (partial / PROTOTYPES).write_bytes(save({"prototypes": _plain(prototypes)}))
        if expert_adapter is not None:
            _copy_adapter(expert_adapter, partial / EXPERT)
        (partial / CARD).write_text(model_card(tree, adapter=expert_adapter is not None), "utf-8")
        write_manifest(partial, SCHEMA)
        module = load_module(partial)
    return module.model_copy(update={"folder": folder})


def load_module(folder: Path) -> DomainModule:
    """The module in `folder`, every file of it verified. Raises DomainError with the reason and the mend."""
    restore_interrupted(folder)
    if not folder.is_dir():
        raise DomainError(f"There is no domain module at {folder}.", "See which there are: gag domain list")
    tree = read_json(folder, MODULE)
    schema = tree.pop("schema", None)
    if type(schema) is not int or schema < 1:
        raise DomainError(f"{folder / MODULE} names no schema.", BUILD_AGAIN)
    if schema > SCHEMA:
        raise DomainError(
            f"The module {folder} is of schema {schema}; this version reads up to {SCHEMA}.",
            "Install a newer version of gag.",
        )
    verify_files(folder, _manifest(folder))
    try:
        spec = ModuleSpec.model_validate(tree)
        check_domain_name(spec.name)
    except (ValidationError, ConfigError) as error:
        what = error.message if isinstance(error, ConfigError) else "; ".join(_problem(dict(e)) for e in error.errors())
        raise DomainError(f"{folder / MODULE} is wrong: {what.removesuffix('.')}.", BUILD_AGAIN) from None
    parts = {key: getattr(spec, key) for key in ModuleSpec.model_fields}
    module = DomainModule(folder=folder, schema_version=schema, **parts)
    _verify_tensors(module)
    return module


def verify_module(folder: Path) -> list[str]:
    """One line for each thing that `load_module` checked; raises DomainError at the first that does not hold."""
    module = load_module(folder)
    files = _manifest(folder)
    bank = module.prototypes().shape
    return [
        f"module.json: {module.name} version {module.version}, schema {module.schema_version}",
        f"manifest.json: {len(files)} files, each with its sha256, none besides",
        f"projector.safetensors: {module.projector.kind}, {len(module.projector_state())} tensors",
        f"prototypes.safetensors: {bank[0]} prototypes of width {bank[1]}",
        f"expert: {'PEFT adapter over ' if module.expert_path else ''}{module.expert.id}",
        f"base: {module.base.id} ({module.base.fingerprint[:12]}, width {module.base.hidden_size})",
    ]


def check_base(module: DomainModule, fingerprint: str, hidden_size: int) -> None:
    """Refuse a base that the module's projector was not trained for. Raises DomainError."""
    if hidden_size != module.base.hidden_size:
        raise DomainError(
            f"The module {module.name} is for a base of width {module.base.hidden_size}; this one has {hidden_size}.",
            f"Load the base it was built for, {_named(module.base)}, or build it again: gag build {module.name}",
        )
    _check_model(module, "base", module.base, fingerprint)


def check_encoder(module: DomainModule, fingerprint: str) -> None:
    """Refuse an encoder that the module's prototypes do not belong to. Raises DomainError."""
    _check_model(module, "encoder", module.routing.encoder, fingerprint)


def check_expert(module: DomainModule, fingerprint: str) -> None:
    """Refuse an expert model that the module's adapter or readout was not made with. Raises DomainError."""
    _check_model(module, "expert", module.expert, fingerprint)


def list_modules(folder: Path) -> list[ListedModule]:
    """The modules directly below `folder`, by name, also those that cannot be used; empty where there is no folder."""
    if not folder.is_dir():
        return []
    for lost in interrupted(folder):
        restore_interrupted(lost)
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            try:
                found.append(ListedModule(path, load_module(path), None))
            except DomainError as error:
                found.append(ListedModule(path, None, error))
    return found


def copy_module(source: Path, target: Path, *, replace: bool = False) -> DomainModule:
    """Copy the verified module `source` to `target`. Raises DomainError where `target` is taken, unless `replace`."""
    load_module(source)
    if target.exists() and not replace:
        raise DomainError(f"{target} is there already.", f"Remove it first: gag domain rm {target.name}")
    if target.exists() and target.samefile(source):
        raise DomainError(f"{target} is the module itself.", "Name another place.")
    _check_replaceable(target)
    with new_folder(target) as partial:
        for name in [*_manifest(source), MANIFEST]:
            (partial / name).parent.mkdir(exist_ok=True, parents=True)
            shutil.copyfile(source / name, partial / name)
        module = load_module(partial)
    return module.model_copy(update={"folder": target})


def remove_module(folder: Path) -> None:
    """Take the module away in one step, then delete it; a damaged one too. Raises DomainError where there is none."""
    if not (folder / MODULE).is_file() and not (folder / MANIFEST).is_file():
        raise DomainError(f"There is no domain module at {folder}.", "See which there are: gag domain list")
    remove_folder(folder)


def _check_replaceable(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and ((folder / MODULE).exists() or not any(folder.iterdir()))):
        return
    raise DomainError(
        f"{folder} is not a domain module and would be replaced.", "Name another folder, or move it away."
    )


def _check_parts(spec: ModuleSpec, projector: Mapping[str, Tensor], prototypes: Tensor) -> None:
    wanted = (spec.routing.prototypes, spec.routing.encoder.hidden_size)
    if tuple(prototypes.shape) != wanted:
        raise DomainError(
            f"The prototypes of {spec.name} have the shape {tuple(prototypes.shape)}, not {wanted}.",
            "Build them again: gag prototypes",
        )
    if not projector:
        raise DomainError(f"The projector of {spec.name} has no weights.", "Train it: gag align")
    for name, tensor in {**projector, "prototypes": prototypes}.items():
        if not bool(torch.isfinite(tensor).all()):
            raise RunError(
                f"The module {spec.name} was not written: {name} holds values that are not finite.",
                "Train again with a lower learning rate.",
            )


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().clone()


def _copy_adapter(source: Path, target: Path) -> None:
    """The data files of a PEFT folder; optimiser states and other pickles that a trainer leaves there are not taken."""
    for name in ADAPTER_FILES:
        if not (source / name).is_file():
            raise DomainError(
                f"{source} is no PEFT adapter in safetensors: {name} is missing.", "Save it with save_pretrained."
            )
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.is_file() and path.suffix in KINDS and not path.name.startswith("."):
            shutil.copyfile(path, target / path.name)


def _manifest(folder: Path) -> dict[str, str]:
    files = read_manifest(folder, (MODULE, PROJECTOR, PROTOTYPES, CARD))
    if any(name.startswith(f"{EXPERT}/") for name in files):
        return read_manifest(folder, [f"{EXPERT}/{name}" for name in ADAPTER_FILES])
    return files


def _verify_tensors(module: DomainModule) -> None:
    paths = [module.projector_path, module.prototypes_path]
    if module.expert_path is not None:
        paths.append(module.expert_path / ADAPTER_FILES[1])
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
                shape = file.get_slice("prototypes").get_shape() if path == module.prototypes_path else None
        except SafetensorError as error:
            raise DomainError(f"{path} is not as a module has it ({error}).", BUILD_AGAIN) from None
        wanted = [module.routing.prototypes, module.routing.encoder.hidden_size]
        if not names or (shape is not None and shape != wanted):
            raise DomainError(f"{path} does not hold what module.json says.", BUILD_AGAIN)


def _check_model(module: DomainModule, what: str, reference: ModelReference, fingerprint: str) -> None:
    if fingerprint != reference.fingerprint:
        raise DomainError(
            f"The module {module.name} was built with the {what} {_named(reference)}, fingerprint "
            f"{reference.fingerprint[:12]}; the one loaded has {fingerprint[:12]}.",
            f"Load that {what} (models.{what} in gag.yaml), or build the module again: gag build {module.name}",
        )


def _named(reference: ModelReference) -> str:
    return f"{reference.id}@{reference.revision}" if reference.revision else reference.id


def _problem(error: dict[str, Any]) -> str:
    return f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
