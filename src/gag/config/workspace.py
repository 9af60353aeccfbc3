"""The whole workspace file, and where it comes from: presets, a file, overrides."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from functools import reduce
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from gag.config.answering import GenerationConfig, ModelsConfig, ProjectorConfig, PromptsConfig, ReadoutConfig
from gag.config.knowledge import CorpusConfig, GraphConfig, RetrievalConfig, RouterConfig, SynthesisConfig
from gag.config.section import WHOLE, Section
from gag.config.training import (
    AlignmentConfig,
    ExpertConfig,
    LoraConfig,
    RaftConfig,
    RogConfig,
    UpdateConfig,
    XragConfig,
)
from gag.config.tree import explained, merged, override_tree, parse_yaml, read_yaml, without
from gag.errors import ConfigError

FILE_NAME = "gag.yaml"
SHARED = frozenset({"preset", "models", "router", "graph", "rog", "domains"})
"""What a domain cannot choose for itself."""
SHARED_KEYS = {"retrieval": ("encoder", "window", "batch_size"), "prompts": ("base_general",)}
"""Keys of other sections that it cannot choose either."""


class DomainConfig(Section):
    """One domain of the workspace; everything here can also be given on the command line."""

    field: str | None = Field(None, description="The field's name as the prompts say it; null takes the domain's name.")
    style: str = Field("", description="How answers should read, one sentence; may be empty.")
    qa: str | None = Field(None, description="JSONL of question-answer pairs that the expert learns.")
    align_qa: str | None = Field(None, description="JSONL of pairs that the projector learns; null takes qa.")
    documents: str | None = Field(
        None, description="JSONL of plain documents: for continued pretraining, and for what rag, xrag and raft read."
    )
    passages: str | None = Field(
        None, description="JSONL of passages that rag, xrag and raft read; null cuts `documents` into passages."
    )
    dev_qa: str | None = Field(
        None,
        description="JSONL of pairs that no training sees, on which gag-or-rag chooses its threshold; null takes pairs "
        "of qa whose answers align_qa does not hold, or, where there are none, pairs that were trained on.",
    )
    expert: str | None = Field(
        None, description="A domain model that already exists (hub id, folder or PEFT adapter): training is skipped."
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="Choices of this domain in the place of the file's own, by section, for instance {generation: "
        "{max_new_tokens: 128}}; what --set says comes before them. Shared by all domains, so not among them: models, "
        "router, graph, rog; retrieval.encoder, .window and .batch_size; prompts.base_general.",
    )


class Config(Section):
    """The whole workspace file."""

    preset: str | None = Field(None, description="Name of a shipped preset whose choices come before this file's.")
    models: ModelsConfig = Field(default_factory=ModelsConfig, description="The three models.")
    expert: ExpertConfig = Field(default_factory=ExpertConfig, description="Training of a domain's expert.")
    readout: ReadoutConfig = Field(default_factory=ReadoutConfig, description="Which states of the expert are read.")
    projector: ProjectorConfig = Field(default_factory=ProjectorConfig, description="From states to slots.")
    alignment: AlignmentConfig = Field(default_factory=AlignmentConfig, description="Training of the projector.")
    router: RouterConfig = Field(default_factory=RouterConfig, description="Which route a question takes.")
    retrieval: RetrievalConfig = Field(default_factory=RetrievalConfig, description="Passages found for a question.")
    update: UpdateConfig = Field(
        default_factory=UpdateConfig, description="Training a module on with what is new (gag update)."
    )
    xrag: XragConfig = Field(default_factory=XragConfig, description="Training of the method xrag.")
    lora: LoraConfig = Field(default_factory=LoraConfig, description="Training of the method lora.")
    raft: RaftConfig = Field(default_factory=RaftConfig, description="The method raft, tuned to quote its passages.")
    graph: GraphConfig = Field(default_factory=GraphConfig, description="Knowledge graphs.")
    rog: RogConfig = Field(default_factory=RogConfig, description="The method rog, reasoning on graphs.")
    generation: GenerationConfig = Field(default_factory=GenerationConfig, description="The base's answers.")
    corpus: CorpusConfig = Field(
        default_factory=CorpusConfig, description="From files to documents and passages (gag ingest)."
    )
    synthesis: SynthesisConfig = Field(
        default_factory=SynthesisConfig, description="Question-answer pairs from passages (gag synth)."
    )
    prompts: PromptsConfig = Field(default_factory=PromptsConfig, description="Prompt templates.")
    domains: dict[str, DomainConfig] = Field(default_factory=dict, description="The workspace's domains by name.")

    @field_validator("domains")
    @classmethod
    def _names(cls, value: dict[str, DomainConfig]) -> dict[str, DomainConfig]:
        for name in value:
            check_domain_name(name)
        return value

    @model_validator(mode="after")
    def _readout_and_projector(self) -> Config:
        if (self.projector.kind == "attention") != (self.readout.pooling == "none"):
            raise ValueError("projector.kind attention and readout.pooling none go together: set both or neither")
        if self.projector.warm_start != "none" and (
            self.projector.kind != "gated_residual" or self.readout.mode != "generate"
        ):
            raise ValueError("projector.warm_start needs projector.kind gated_residual and readout.mode generate")
        if self.readout.mode != "generate":
            for key, value in (
                ("alignment.counterfactual", self.alignment.counterfactual),
                ("projector.pretrain_pairs", self.projector.pretrain_pairs),
                ("generation.refine_steps", self.generation.refine_steps),
            ):
                if value:
                    raise ValueError(f"{key} needs readout.mode generate (with another, set it to 0)")
        return self

    @model_validator(mode="after")
    def _settings_of_domains(self) -> Config:
        for name, section in self.domains.items():
            shared = [key for key in section.settings if key in SHARED]
            for part, keys in SHARED_KEYS.items():
                chosen = section.settings.get(part)
                shared += [f"{part}.{key}" for key in keys if isinstance(chosen, Mapping) and key in chosen]
            if shared:
                raise ValueError(f"domains.{name}.settings has {shared[0]}, which all domains share")
            self.of(name)
        return self

    def of(self, domain: str) -> Config:
        """The choices for one domain: its `settings` in the place of the file's own. Raises ConfigError."""
        section = self.domains.get(domain)
        if section is None or not section.settings:
            return self
        tree = merged(self.model_dump(mode="json", exclude={"domains"}, context=WHOLE), section.settings)
        chosen = parse_config(tree, origin=f"domains.{domain}.settings")
        return chosen.model_copy(update={"domains": self.domains})


def check_domain_name(name: str) -> str:
    """`name` if it can be a domain's: a folder name of letters, digits, '-' and '_', and not 'general' or 'base'."""
    plain = name.replace("-", "").replace("_", "")
    if not (plain.isascii() and plain.isalnum() and name[0].isalnum() and len(name) <= 64):
        raise ConfigError(
            f"{name!r} cannot be a domain's name.",
            "Use up to 64 letters, digits, '-' and '_', a letter or digit first.",
        )
    if name in ("general", "base"):
        raise ConfigError(f"The name {name!r} is taken by the system.", "Choose another name for the domain.")
    return name


def preset_names() -> list[str]:
    """Names of the shipped presets."""
    folder = resources.files("gag") / "presets"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_config(path: str | Path | None = None, *, preset: str | None = None, overrides: Iterable[str] = ()) -> Config:
    """The configuration from a preset, then a file, then `key=value` overrides; raises ConfigError.

    `preset` given here replaces the file's own. Values of overrides are YAML: `readout.layers=[-4,-1]`.
    """
    tree: dict[str, Any] = {}
    if path is not None:
        tree = read_yaml(Path(path))
    nothing: dict[str, Any] = {}
    over = reduce(merged, map(override_tree, overrides), nothing)
    origin = str(path) if path is not None else "the configuration"
    whole = _on_preset(merged(settings_under(tree, over), over), preset)
    try:
        return parse_config(whole, origin=origin)
    except ConfigError:
        if not over:
            raise
        alone = _on_preset(tree, preset)
        found, there = _problems(whole), _problems(alone)
        if shared := [problem for problem in found if problem in there]:  # what is wrong without them is the file's
            raise ConfigError(f"{origin}: " + "; ".join(shared), _EVERY_KEY) from None
        if not found:
            parse_config(alone, origin=origin)
        return parse_config(whole, origin="--set")


def _on_preset(tree: dict[str, Any], preset: str | None) -> dict[str, Any]:
    """`tree` over the preset that is given, or that it names itself."""
    name = preset if preset is not None else tree.get("preset")
    return tree if name is None else merged(_preset_tree(str(name)), {**tree, "preset": name})


_EVERY_KEY = "gag init FOLDER writes a file with every key, each explained."


def settings_under(tree: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`tree` whose domains leave to `over` what that sets."""
    domains = tree.get("domains")
    if not isinstance(domains, Mapping):
        return dict(tree)
    left = {
        name: {**section, "settings": without(section["settings"], over)}
        if isinstance(section, Mapping) and isinstance(section.get("settings"), Mapping)
        else section
        for name, section in domains.items()
    }
    return {**tree, "domains": left}


def _problems(tree: Mapping[str, Any]) -> list[str]:
    try:
        Config.model_validate(tree)
    except ValidationError as error:
        return explained(error, Config)
    return []


def parse_config(tree: Mapping[str, Any], *, origin: str) -> Config:
    """`tree` as a Config; every problem of `origin` in one ConfigError, unknown keys with the nearest known one."""
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        problems = explained(error, Config)
        raise ConfigError(f"{origin}: " + "; ".join(problems), _EVERY_KEY) from None
    try:
        json.dumps(config.model_dump(), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{origin}: the escape \\u{ord(error.object[error.start]):04x} is half a character.",
            "Write the character itself, or both halves of its escape.",
        ) from None
    return config


def _preset_tree(name: str) -> dict[str, Any]:
    if name not in preset_names():
        near = difflib.get_close_matches(name, preset_names(), n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"There is no preset {name!r}.{guess}", f"Shipped presets: {', '.join(preset_names())}.")
    return parse_yaml((resources.files("gag") / "presets" / f"{name}.yaml").read_text("utf-8"), f"preset {name}")
