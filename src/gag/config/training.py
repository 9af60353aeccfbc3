"""How experts, projectors and other methods are trained."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from gag.config.answering import ProjectorConfig
from gag.config.section import Section


class ExpertConfig(Section):
    """How a domain's expert is trained (paper section 3, stage one)."""

    later = ("full_rate_steps",)

    method: Literal["lora", "full"] = Field("lora", description="A LoRA adapter over the shared model, or all weights.")
    lora_rank: int = Field(32, ge=1, description="Rank of the adapter.")
    lora_alpha: int = Field(64, ge=1, description="Scale of the adapter (its updates are multiplied by alpha / rank).")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    lora_targets: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", description="Which linear layers get an adapter: all-linear, or a list of layer names."
    )
    lora_from_layer: int = Field(
        0, ge=0, description="First layer with an adapter; below it nothing is trained and no gradient is computed."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of AdamW.")
    full_rate_steps: int = Field(
        0,
        ge=0,
        description="Steps up to which learning_rate is taken as it is; more take it times sqrt(full_rate_steps / "
        "steps), rounded to one digit. 0 always takes it as it is.",
    )
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

    def for_pairs(self, pairs: int) -> ExpertConfig:
        """These choices for so many pairs: the learning rate that a training of that many steps takes.

        How many processes share the steps makes no difference.
        """
        steps = -(-pairs // (self.batch_size * self.accumulation)) * self.epochs
        rate = self.learning_rate
        if self.full_rate_steps and steps > self.full_rate_steps:
            rate = float(f"{rate * math.sqrt(self.full_rate_steps / steps):.0e}")
        return self.model_copy(update={"learning_rate": rate, "full_rate_steps": 0})

    def deciding(self) -> dict[str, Any]:
        """What decides the weights: every choice, but those that only save memory as if they were not made."""
        return {**self.model_dump(), "gradient_checkpointing": False}

    @field_validator("lora_targets", mode="before")
    @classmethod
    def _one_name(cls, value: object) -> object:
        return (value,) if isinstance(value, str) and value != "all-linear" else value


class AlignmentConfig(Section):
    """How the projector is trained (paper section 3, stage two); base and expert stay frozen."""

    later = ("counterfactual_near",)

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
    counterfactual_near: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the counterfactual pairs (none where `counterfactual` is 0) whose background is the true "
        "answer, its digits and words changed.",
    )
    state_noise: float = Field(0.0, ge=0, description="Noise on the states in training, in their standard deviations.")
    dev_share: float = Field(0.1, ge=0, lt=1, description="Share of the questions kept for the dev loss, by answer.")
    evaluate_every: int = Field(0, ge=0, description="Steps between dev losses; 0 is once an epoch.")
    patience: int = Field(0, ge=0, description="Stop after so many dev losses without a better one; 0 never stops.")
    checkpoint_every: int = Field(50, ge=1, description="Steps between checkpoints.")
    prefix_cache_gb: float = Field(2.0, ge=0, description="Memory for key-values of prompts before the slot.")
    seed: int = Field(980406, description="Seed of order and initialisation.")

    def deciding(self, dropout: float = 0.0) -> dict[str, Any]:
        """What decides the weights: every choice, but those of memory and of checkpoints as if they were not made.

        Where noise or a projector's `dropout` is drawn, how a step is split into parts decides what is drawn.
        """
        free = ["prefix_cache_gb", "checkpoint_every"]
        if not (self.state_noise or dropout):
            free += ["accumulation", "batch_tokens"]
        if not self.counterfactual:
            free.append("counterfactual_near")
        return self.model_copy(update={key: AlignmentConfig.model_fields[key].default for key in free}).model_dump()


class UpdateConfig(Section):
    """How a domain module is trained on with what is new alone, and when the result takes its place (`gag update`)."""

    replay: float = Field(2.0, ge=0, description="Old pairs that are trained on again, for every new one.")
    max_replay: int = Field(5000, ge=0, description="Old pairs that are trained on again, at most.")
    epochs: float | None = Field(
        None, gt=0, description="Passes of the expert over these pairs; null takes three quarters of expert.epochs."
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Peak learning rate of the expert, which starts trained; null takes a quarter of expert's.",
    )
    projector: Literal["keep", "train"] = Field(
        "train",
        description="train: the projector goes on too, on the same pairs; keep: only the expert learns, which takes "
        "two thirds of the time, and fewer of the new facts come through.",
    )
    projector_epochs: int = Field(1, ge=1, description="Passes of a projector that goes on.")
    projector_learning_rate: float | None = Field(
        None, gt=0, description="Its peak learning rate; null takes half of alignment.learning_rate."
    )
    held_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Share of the new facts of which one wording is not trained on, but asked before the promotion.",
    )
    questions: int = Field(
        48, ge=6, description="Questions of a kind (old, learnt, new) that the gate asks both modules, at most."
    )
    max_loss: float = Field(
        1.5,
        ge=0,
        description="What the update may cost on facts the module learnt: answer NLL, nats a token, by the upper end "
        "of the 95 % interval of the difference. More refuses the update. The pairs are asked as they were learnt, "
        "which shows more loss than other wordings do.",
    )
    seed: int = Field(42, description="Seed of which pairs are replayed and which are asked.")


class XragConfig(Section):
    """How xrag's projector is trained (arXiv 2405.13792); what is not named here is as in `alignment`."""

    projector: ProjectorConfig = Field(
        default_factory=ProjectorConfig, description="From a passage's embedding to the slot; mlp as in the paper."
    )
    pretrain_passages: int = Field(
        1000, ge=1, description="Passages that paraphrase pretraining learns from, at most; evenly spread over all."
    )
    pretrain_tokens: int = Field(64, ge=8, description="Tokens of a passage that are written out; longer ones are cut.")
    pretrain_epochs: int = Field(2, ge=0, description="Passes over those passages; 0 leaves the pretraining out.")
    pretrain_learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate of the pretraining.")
    epochs: int = Field(2, ge=1, description="Passes over the question-answer pairs that the tuning makes.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of the tuning.")
    teacher_weight: float = Field(
        2.0, ge=0, description="Weight of KL(teacher || student), the teacher being the base with the passage as text."
    )

    @model_validator(mode="after")
    def _one_state(self) -> XragConfig:
        p = self.projector
        if p.kind == "attention" or p.warm_start != "none" or p.pretrain_pairs:
            raise ValueError(
                "xrag reads one embedding, not a background: projector.kind must be mlp or gated_residual, "
                "warm_start none and pretrain_pairs 0"
            )
        return self


class LoraConfig(Section):
    """How the method lora fine-tunes the base on a domain's pairs (an adapter on a copy; the base stays frozen)."""

    rank: int = Field(32, ge=1, description="Rank of the adapter.")
    alpha: int = Field(64, ge=1, description="Scale of the adapter (its updates are multiplied by alpha / rank).")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of AdamW.")
    epochs: float = Field(4, gt=0, description="Passes over the question-answer pairs.")
    max_steps: int = Field(1000, ge=1, description="Steps at most, whatever the epochs.")
    batch_size: int = Field(16, ge=1, description="Questions a step.")
    max_length: int = Field(1024, ge=8, description="Tokens a training example may have; longer ones are refused.")
    truncate_answers: bool = Field(False, description="Cut answers that do not fit max_length instead of refusing.")
    seed: int = Field(42, description="Seed of order and initialisation.")


class RaftConfig(Section):
    """RAFT (arXiv 2403.10131): the base tuned (an adapter on a copy) to answer from passages with verbatim quotes."""

    distractors: int = Field(4, ge=0, description="Passages of a training example that do not hold its answer.")
    oracle_share: float = Field(
        0.8, ge=0, le=1, description="Share P of the training examples that also have the passage with the answer."
    )
    negatives: Literal["hard", "random"] = Field(
        "hard", description="Distractors: hard: what retrieval finds for the question; random: any passages."
    )
    unsupported: Literal["answer", "quote"] = Field(
        "answer",
        description="What is learnt where the passage with the answer is not there: answer: the answer alone; quote: "
        "also the reason that quotes the missing passage (the paper).",
    )
    reasoner: str = Field(
        "extractive",
        description="Who writes the reasons: extractive (quotes alone, no model), base (models.base), a hub id, folder "
        "or package:NAME, or the address of an OpenAI-compatible endpoint: https://HOST/v1#MODEL.",
    )
    reason_tokens: int = Field(256, ge=16, description="Longest reason and answer that the reasoner may write.")
    max_new_tokens: int = Field(160, ge=16, description="Longest reason and answer in use, in tokens.")
    rank: int = Field(32, ge=1, description="Rank of the adapter.")
    alpha: int = Field(64, ge=1, description="Scale of the adapter (its updates are multiplied by alpha / rank).")
    learning_rate: float = Field(5e-4, gt=0, description="Peak learning rate of AdamW.")
    epochs: float = Field(2, gt=0, description="Passes over the examples.")
    batch_size: int = Field(2, ge=1, description="Examples in memory at once.")
    accumulation: int = Field(4, ge=1, description="Batches a step.")
    max_length: int = Field(
        4096, ge=64, description="Tokens of a training example; a longer one loses distractors, then is refused."
    )
    seed: int = Field(42, description="Seed of which examples have their oracle, of order and of initialisation.")


class RogConfig(Section):
    """Reasoning on Graphs (arXiv 2310.01061): one small model, models.expert, that plans paths and reads them."""

    hops: int = Field(3, ge=1, description="Relations a planned path may have.")
    beams: int = Field(3, ge=1, description="Paths that are planned for a question.")
    plan_share: float = Field(
        0.5, ge=0, le=1, description="A planned path less likely than this share of the likeliest one is dropped."
    )
    lines: int = Field(10, ge=1, description="Reasoning paths that the model reads, at most.")
    shown_paths: int = Field(5, ge=1, description="Paths shown for an answer, at most.")
    labels: Literal["faithful", "shortest"] = Field(
        "faithful",
        description="Weak labels of planning. shortest: every shortest path from a question's entity to one of its "
        "answers (the paper); faithful: of all paths within the hops, those whose ends are most like the answers (F1).",
    )
    answers: Literal["paths", "free"] = Field(
        "paths",
        description="paths: the model answers with ends of the paths it reads, and with nothing else; free: with "
        "whatever it writes (the paper), of which what no path ends in is shown as its word alone.",
    )
    reasoning_share: float = Field(
        0.15, ge=0, le=1, description="Share of the questions from which the model also learns to read paths."
    )
    epochs: int = Field(1, ge=1, description="Passes over the questions; each takes another of a question's paths.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of AdamW.")
    batch_size: int = Field(16, ge=1, description="Examples a step.")
    lora_rank: int = Field(16, ge=1, description="Rank of the adapter.")
    lora_alpha: int = Field(32, ge=1, description="Scale of the adapter (its updates are multiplied by alpha / rank).")
    lora_from_layer: int = Field(
        0, ge=0, description="First layer with an adapter; below it nothing is trained and no gradient is computed."
    )
    max_length: int = Field(1024, ge=64, description="Tokens of a training example; a longer one loses paths.")
    max_new_tokens: int = Field(96, ge=1, description="Longest free answer of the reasoning, in tokens.")
    seed: int = Field(42, description="Seed of order and initialisation.")
