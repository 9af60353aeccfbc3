"""From a file or a shipped name to a bench: presets below files, overrides on top, every path in it absolute."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import reduce
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from gag.config import (
    FILE_NAME,
    WHOLE,
    Config,
    Section,
    check_domain_name,
    explained,
    merged,
    override_tree,
    parse_config,
    parse_yaml,
    read_yaml,
    settings_under,
)
from gag.config import load_config as load_workspace_config
from gag.domain import MODULE
from gag.errors import ConfigError, InputError
from gag.evaluation.bench.config import BenchConfig, DepthTable, ReadoutTable
from gag.records import read_questions
from gag.workspace import Workspace

DATA = "data:"
"""Before a path: relative to the folder of --data."""

DEMO = "demo:"
"""Before a path: a file of the package's own demo, such as demo:labs/adjuvant/test.jsonl or demo:general.jsonl."""

QUICK_SETTINGS = ("expert", "alignment", "lora", "xrag")
"""Sections of gag.yaml that `--quick` shortens."""

VARIED: dict[str, tuple[str, type[Section]]] = {"readout": ("layers", ReadoutTable), "depth": ("k", DepthTable)}
"""Tables that vary one choice, which `--quick` tries fewer values of."""

_Value = TypeVar("_Value")


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
    tree = _with_workspace(tree, reduce(_over, over, tree), pairs=quick)
    if quick:
        parse_bench(_without_nothing(reduce(_over, over, tree)), origin=origin)  # what is wrong is said first
        tree = shortened(_without_nothing(tree))
    return parse_bench(_without_nothing(reduce(_over, over, tree)), origin=origin)


def _without_nothing(tree: Mapping[str, Any]) -> dict[str, Any]:
    """`tree` without the domains and general sets that are null: so a file takes out what a shipped bench has."""
    parts = {key: tree[key] for key in ("domains", "general") if isinstance(tree.get(key), Mapping)}
    kept = {part: {name: one for name, one in sets.items() if one is not None} for part, sets in parts.items()}
    return {**tree, **kept}


def _over(tree: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `tree`, whose domains leave to it what it sets for all."""
    settings = above.get("settings")
    return merged(settings_under(tree, settings) if isinstance(settings, Mapping) else tree, above)


def _with_workspace(tree: Mapping[str, Any], whole: Mapping[str, Any], *, pairs: bool) -> dict[str, Any]:
    """`tree` with the domains of the workspace that it is about written out, where `whole` chooses among them.

    Those that `tree` names, or else all that the workspace has: what overrides say lies over these, and null takes one
    out. With `pairs` the workspace's own files of pairs are written out too.
    """
    root, own, said = whole.get("workspace"), tree.get("domains") or {}, whole.get("domains") or {}
    there = isinstance(root, str) and (Path(root) / FILE_NAME).is_file()
    if not there or not (said or pairs) or not all(isinstance(part, Mapping) for part in (own, said)):
        return {**tree}
    lab = Workspace(Path(str(root)), load_workspace_config(Path(str(root)) / FILE_NAME))
    chosen = [name for name, section in own.items() if section is not None] or workspace_domains(lab)
    found = {}
    for name in chosen:
        section, mine = said.get(name, {}), own.get(name) or {}
        if isinstance(section, Mapping) and isinstance(mine, Mapping):
            aligned = lab.domain(name).align_qa
            files = {"test": None if "test" in section else own_test(lab, name)}
            if pairs:
                files |= {"qa": lab.qa(name), "align_qa": None if aligned is None else lab.path(aligned)}
            found[name] = {**{key: os.fspath(path) for key, path in files.items() if path is not None}, **mine}
    return {**tree, "domains": {**own, **found}}


def workspace_domains(lab: Workspace) -> list[str]:
    """The domains of a workspace: those of its gag.yaml, and those that only have a module."""
    built = []
    for path in sorted(lab.modules.glob(f"[!.]*/{MODULE}")):
        with suppress(ConfigError):  # a folder that somebody put there
            built.append(check_domain_name(path.parent.name))
    return list(dict.fromkeys([*lab.config.domains, *built]))


def own_test(lab: Workspace, name: str) -> Path:
    """A domain's test questions: data/NAME/test.jsonl, or else its pairs where some are kept for testing.

    Raises InputError where there are neither.
    """
    path, pairs = lab.data(name) / "test.jsonl", lab.qa(name)
    if path.is_file():
        return path
    if pairs is not None and pairs.is_file() and any(q.meta.get("split") == "test" for q in read_questions(pairs)):
        return pairs
    raise InputError(
        f"The domain {name} has no test questions: {path} does not exist.",
        f"Put questions with answers there, name a file of them (--set domains.{name}.test=FILE), or leave the domain "
        f"out (--set domains.{name}=null).",
    )


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
    few = {key: {**_shipped("quick")["settings"][key]} for key in QUICK_SETTINGS}
    few["alignment"].pop("counterfactual", None)  # what is learnt stays; only how long changes
    out = _over(tree, {"settings": few})
    out["domains"] = {name: _few_pairs(section) for name, section in (out.get("domains") or {}).items()}
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
        if section is not None and name in VARIED:
            key, table = VARIED[name]
            every = list(section.get(key) or table.model_fields[key].default)
            more[key] = list(dict.fromkeys([every[0], every[len(every) // 2], every[-1]]))
        tables[name] = None if section is None else {**section, **more}
    return {**out, "tables": tables}


def _few_pairs(section: Mapping[str, Any]) -> dict[str, Any]:
    """A domain with few questions and, where it names pairs, few of these."""
    limits = {"limit": 12}
    if section.get("qa") is not None:
        limits["train_limit"] = 80
    if section.get("align_limit") is not None:
        limits["align_limit"] = 120
    return {**section, **_at_most(section, **limits)}


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
    return parse_config(_expanded(tree), origin=f"{origin}: settings")


def settings_tree(config: BenchConfig) -> dict[str, Any]:
    """What the bench's `settings` say, a preset's choices written out under them."""
    return _expanded(config.settings)


def _expanded(tree: Mapping[str, Any]) -> dict[str, Any]:
    preset = tree.get("preset")
    if preset is None:
        return dict(tree)
    whole = load_workspace_config(preset=str(preset)).model_dump(mode="json", exclude={"domains"}, context=WHOLE)
    return merged(whole, tree)


_PATHS: dict[str, tuple[str, ...]] = {
    "domains": ("qa", "align_qa", "documents", "passages", "test"),
    "general": ("path",),
}
_MODEL_KEYS = ("source", "expert", "reasoner")
_SETTING_PATHS = ("general_questions",)
_TABLE_PATHS = ("pool", "prototypes_from")


def _absolute(tree: Mapping[str, Any], home: Path, data: Path | None, origin: str) -> dict[str, Any]:
    """`tree` with the paths of its files absolute, so that nothing depends on the current folder later."""
    out = dict(tree)
    for part, keys in _PATHS.items():
        if isinstance(out.get(part), Mapping):
            out[part] = {
                name: _settings(
                    {key: _path(v, home, data, origin) if key in keys else v for key, v in section.items()},
                    home,
                    data,
                    origin,
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
            name: {**section, "settings": _settings(section["settings"], home, data, origin)}
            if isinstance(section, Mapping) and isinstance(section.get("settings"), Mapping)
            else section
            for name, section in out["tables"].items()
        }
    for part in ("settings", "judge"):
        if isinstance(out.get(part), Mapping):
            out[part] = _settings(out[part], home, data, origin)
    if isinstance(out.get("workspace"), str):
        out["workspace"] = _path(out["workspace"], home, data, origin)
    return out


def _settings(tree: Mapping[str, Any], home: Path, data: Path | None, origin: str) -> dict[str, Any]:
    """`tree` with the model folders and files in it absolute; hub ids and packages stay."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            out[key] = _settings(value, home, data, origin)
        elif key in _MODEL_KEYS and isinstance(value, str) and _is_local(value, home):
            out[key] = os.fspath(home / Path(value).expanduser())
        else:
            out[key] = _path(value, home, data, origin) if key in _SETTING_PATHS else value
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
