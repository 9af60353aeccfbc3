"""`gag doctor`: what this machine can do, which models load, what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gag.cli.attaching import workspace_or_defaults
from gag.cli.options import AsJson, Overrides, WorkspaceFolder
from gag.cli.output import note, notes, warn, write_json, write_table, write_text
from gag.errors import GagError

if TYPE_CHECKING:
    from gag.config import Config, ModelConfig
    from gag.models.loading import LoadedModel

PACKAGES = ("gag", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors", "scikit-learn")


def doctor(workspace: WorkspaceFolder = None, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Say what this machine can do, load every configured model, and name what is missing with the way to get it.

    Without a workspace the default models are tried. Exit code 1 where a model does not load.
    """
    config, root = workspace_or_defaults(workspace, overrides or ())
    report: dict[str, Any] = {
        "workspace": str(root) if root else None,
        "machine": _machine(config, root),
        "packages": {name: _version(name) for name in PACKAGES},
        "models": _models(config, root),
        "extras": _extras(),
    }
    if as_json:
        write_json(report)
    else:
        _print(report)
    if any(model["problem"] for model in report["models"].values()):
        raise typer.Exit(1)


def _machine(config: Config, root: Path | None) -> dict[str, Any]:
    import torch
    from transformers.utils.import_utils import is_flash_attn_2_available

    from gag.models.loading import cache_folder, choose_device, choose_dtype

    device = choose_device(config.models.base.device)
    _, reason = choose_dtype("auto", device)
    gpus = [
        f"{torch.cuda.get_device_name(i)}, {torch.cuda.get_device_properties(i).total_memory / 1e9:.0f} GB"
        for i in range(torch.cuda.device_count())
    ]
    cache = cache_folder()
    return {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cpu": f"{os.cpu_count()} cores, {torch.get_num_threads()} used",
        "memory": _memory(),
        "gpu": gpus,
        "device": str(device),
        "dtype": reason,
        "flash_attention_2": is_flash_attn_2_available(),
        "disk": _free(root or Path.cwd()),
        "cache": f"{cache} ({_free(cache)})",
    }


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return "not known"
    return f"{total / 1e9:.1f} GB"


def _free(folder: Path) -> str:
    there = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    return f"{shutil.disk_usage(there).free / 1e9:.1f} GB free"


def _models(config: Config, root: Path | None) -> dict[str, dict[str, Any]]:
    """base, expert and encoder; a model named twice is loaded once."""
    from gag.models.loading import load_causal_lm, load_encoder

    rows: dict[str, dict[str, Any]] = {}
    tried: dict[ModelConfig, dict[str, Any]] = {}
    for role, model, load in (
        ("base", config.models.base, load_causal_lm),
        ("expert", config.models.expert, load_causal_lm),
        ("encoder", config.models.encoder, load_encoder),
    ):
        if model not in tried or role == "encoder":
            with notes().status(f"loading {role}: {model.source}"):
                tried[model] = _tried(model, lambda model=model, load=load: load(model, root=root), role)
        rows[role] = tried[model]
    return rows


def _tried(model: ModelConfig, load: Any, role: str) -> dict[str, Any]:
    row: dict[str, Any] = {"source": model.source, "problem": None, "mend": None}
    started = time.perf_counter()
    try:
        loaded: LoadedModel = load()
        row |= {"seconds": round(time.perf_counter() - started, 2), **_described(loaded, causal=role != "encoder")}
    except GagError as error:
        row |= {"problem": error.message, "mend": error.hint}
    return row


def _described(loaded: LoadedModel, *, causal: bool) -> dict[str, Any]:
    from gag.models.chat import turn_end
    from gag.models.sizes import context_of

    model, tokenizer = loaded.model, loaded.tokenizer
    parameter = next(model.parameters())
    row: dict[str, Any] = {
        "kind": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": str(parameter.dtype).removeprefix("torch."),
        "device": str(parameter.device),
        "context": context_of(model.config),
    }
    if causal:
        template = tokenizer.chat_template
        row |= {
            "chat_template": template is not None,
            "thinking_switch": "enable_thinking" in str(template),
            "turn_end": str(tokenizer.convert_ids_to_tokens(turn_end(tokenizer))),
        }
    return row


def _extras() -> dict[str, dict[str, Any]]:
    """Every extra of the package: what of it is missing, and the command that installs it."""
    from packaging.requirements import Requirement

    needs = [Requirement(text) for text in importlib.metadata.requires("gag") or []]
    rows: dict[str, dict[str, Any]] = {}
    for extra in importlib.metadata.metadata("gag").get_all("Provides-Extra") or []:
        wanted = [n.name for n in needs if n.marker is not None and n.marker.evaluate({"extra": extra})]
        missing = [name for name in wanted if name != "gag" and _version(name) is None]
        rows[extra] = {"missing": missing, "install": f'pip install "gag[{extra}]"' if missing else None}
    return rows


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _print(report: dict[str, Any]) -> None:
    write_text(
        f"{'workspace':<18} {report['workspace'] or 'none here: the defaults are shown (gag init DIR makes one)'}"
    )
    for key, value in report["machine"].items():
        shown = ", ".join(value) or "none" if isinstance(value, list) else {True: "yes", False: "no"}.get(value, value)
        write_text(f"{key.replace('_', ' '):<18} {shown}")
    write_text(f"{'packages':<18} " + ", ".join(f"{k} {v or 'MISSING'}" for k, v in report["packages"].items()))
    rows = []
    for role, row in report["models"].items():
        if row["problem"]:
            rows.append([role, row["source"], "does not load", "", ""])
            continue
        size = f"{row['parameters'] / 1e6:.0f} M, {row['dtype']} on {row['device']}"
        chat = ""
        if "chat_template" in row:
            thinking = ", thinking switched off" if row["thinking_switch"] else ""
            chat = (
                f"{'template' if row['chat_template'] else 'no template'}, turn ends with {row['turn_end']}{thinking}"
            )
        rows.append([role, row["source"], f"{row['kind']}, {row['seconds']:.1f} s", size, chat])
    write_table(["model", "source", "loaded", "size", "chat"], rows)
    for role, row in report["models"].items():
        if row["problem"]:
            warn(f"{role}: {row['problem']} {row['mend']}")
    for extra, row in report["extras"].items():
        if row["missing"]:
            note(f"extra [{extra}]: {', '.join(row['missing'])} not installed; {row['install']}")
    if not report["machine"]["flash_attention_2"] and report["machine"]["gpu"]:
        note("FlashAttention-2 is not installed; pip install flash-attn --no-build-isolation (optional, for GPUs)")
