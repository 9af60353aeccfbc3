"""Export of stage `expert` for LLaMA-Factory: its data format and its training recipe, not its code.

What it trains plugs in as it stands: `gag build NAME --expert FOLDER` takes the adapter or the whole model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gag.atomic import new_folder
from gag.config import ExpertConfig
from gag.errors import ConfigError
from gag.formats import DATASET_INFO, alpaca_info, alpaca_row
from gag.models.packaged import package_model
from gag.prompts import Prompts
from gag.records import Question

RECIPE = "sft.yaml"
RESULT = "expert"

_HEADER = """\
# LLaMA-Factory recipe of the domain {name}, written by gag export. Run it in this folder:
#   llamafactory-cli train {recipe}
# Then: gag build {name} --expert FOLDER/{result}
# No `template`: LLaMA-Factory then reads the tokenizer's own chat template, as gag does. Where yours asks for a name,
# give the one that writes the same text (for Qwen3: template: qwen3 and enable_thinking: false).
"""


@dataclass(frozen=True)
class Exported:
    """What was written, and where LLaMA-Factory will leave the expert."""

    data: Path
    info: Path
    recipe: Path
    result: Path


def export_llamafactory(
    name: str, prompts: Prompts, questions: Sequence[Question], config: ExpertConfig, model: str, out: Path
) -> Exported:
    """Write data, data set description and recipe of domain `name` to the new folder `out`.

    The prompts are those that the expert is asked with later. `model` is a hub id or folder (see `model_path`).
    Raises ConfigError where `out` holds something, RunError for the disk's errors.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{out} is not an empty folder.", "Name a new one: nothing there is overwritten.")
    data = f"{name}.json"
    rows = [alpaca_row(prompts.expert(question.question), question.answers[0]) for question in questions]
    info = {name: alpaca_info(data)}
    header = _HEADER.format(name=name, recipe=RECIPE, result=RESULT)
    with new_folder(out) as partial:
        (partial / data).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (partial / DATASET_INFO).write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
        text = yaml.safe_dump(recipe(name, config, model), sort_keys=False, allow_unicode=True)
        (partial / RECIPE).write_text(header + text, encoding="utf-8")
    return Exported(out / data, out / DATASET_INFO, out / RECIPE, out / RESULT)


def recipe(name: str, config: ExpertConfig, model: str) -> dict[str, Any]:
    """The values of the expert section under LLaMA-Factory's keys; its folder is where it is run.

    Raises ConfigError for a choice that it has no key for.
    """
    if config.method == "lora" and config.lora_from_layer:
        raise ConfigError(
            f"LLaMA-Factory has no counterpart of expert.lora_from_layer, which is {config.lora_from_layer}.",
            "Export with --set expert.lora_from_layer=0.",
        )
    lora = {
        "lora_rank": config.lora_rank,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "lora_target": _targets(config.lora_targets),
    }
    return {
        "model_name_or_path": model,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": config.method,
        **(lora if config.method == "lora" else {}),
        "dataset_dir": ".",
        "dataset": name,
        "cutoff_len": config.max_length,
        "train_on_prompt": False,
        "packing": False,
        "output_dir": RESULT,
        "logging_steps": 10,
        "save_strategy": "epoch",
        "save_only_model": True,
        "report_to": "none",
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.accumulation,
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "num_train_epochs": float(config.epochs),
        "lr_scheduler_type": "constant_with_warmup" if config.scheduler == "constant" else config.scheduler,
        "warmup_ratio": config.warmup,
        "disable_gradient_checkpointing": not config.gradient_checkpointing,
        "bf16": True,
        "seed": config.seed,
    }


def model_path(source: str, root: Path) -> str:
    """`source` as LLaMA-Factory can load it: a folder's full path (a package's converted one), else the hub id."""
    if source.startswith("package:"):
        name, _, file = source.removeprefix("package:").partition("/")
        return str(package_model(name, file or None))
    path = root / Path(source).expanduser()
    return str(path.resolve()) if path.is_dir() else source


def _targets(targets: str | tuple[str, ...]) -> str:
    """`all` is its word for every linear layer; names are joined by commas."""
    return "all" if isinstance(targets, str) else ",".join(targets)
