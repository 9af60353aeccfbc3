"""The model card of a domain module, in the form the Hugging Face hub reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml


def model_card(module: Mapping[str, Any], *, adapter: bool) -> str:
    """README.md from the content of module.json; `adapter` says whether the folder holds an expert of its own."""
    base, expert, routing = module["base"], module["expert"], module["routing"]
    parts = [
        _front_matter(module, adapter=adapter),
        f"# {module['name']}\n\n"
        f"A domain module about {module['prompts']['field']}, version {module['version']}: what a frozen base model "
        f"needs to answer questions of this domain. The base itself is not in here, and not one weight of it changes.",
        "## Attach it\n\n"
        f'```shell\ngag domain add {module["name"]}/\ngag ask "…" --domain {module["name"]}\n```\n\n'
        f'```python\nfrom gag import GAG\n\nmodel = GAG.from_pretrained(base="{base["id"]}", '
        f'domains=["{module["name"]}"])\nmodel.answer("…")\n```',
        "## What is in it\n\n" + "\n".join(_table(_parts(module, adapter=adapter))),
        "## Models it belongs to\n\n"
        + "\n".join(
            _table(
                [
                    ("", "model", "revision", "width", "fingerprint"),
                    *(
                        (role, m["id"], m["revision"] or "", str(m["hidden_size"]), f"`{m['fingerprint'][:12]}`")
                        for role, m in (("base", base), ("expert", expert), ("encoder", routing["encoder"]))
                    ),
                ]
            )
        )
        + "\n\nWith another base or encoder the module is refused.",
        _provenance(module["provenance"]),
        "Method: *Generation-Augmented Generation*, arXiv 2601.08209.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(module: Mapping[str, Any], *, adapter: bool) -> str:
    matter: dict[str, Any] = {
        "library_name": "gag",
        "license": "other",
        "tags": ["gag", "domain-module", "question-answering", *(["peft", "lora"] if adapter else [])],
    }
    ids = dict.fromkeys(str(module[role]["id"]) for role in ("base", "expert"))
    hub = [name for name in ids if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name)]
    if hub:
        matter["base_model"] = hub
    return f"---\n{yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)}---"


def _parts(module: Mapping[str, Any], *, adapter: bool) -> list[tuple[str, ...]]:
    readout = module["readout"]
    layers = ", ".join(str(layer) for layer in readout["layers"])
    how = (
        f"background of up to {readout['max_new_tokens']} tokens"
        if readout["mode"] == "generate"
        else "end of the prompt"
    )
    parts = f" of {readout['parts']} parts" if readout["parts"] > 1 else ""
    expert = "the domain expert, a PEFT adapter" if adapter else "no adapter: the expert is a whole model, named below"
    return [
        ("part", "what it is"),
        ("`expert/`", expert),
        ("readout", f"{how}, layers {layers}, pooling {readout['pooling']}, {readout['slots']} slot(s){parts}"),
        (
            "`projector.safetensors`",
            f"from the expert's states into the base's embeddings ({module['projector']['kind']})",
        ),
        (
            "`prototypes.safetensors`",
            f"{module['routing']['prototypes']} prototypes that the router compares questions with",
        ),
        ("`module.json`", "all of the above as data, the prompts, and how it was made"),
        ("`manifest.json`", "sha256 of every file; a changed byte is refused"),
    ]


def _provenance(provenance: Mapping[str, Any]) -> str:
    """How it was made: plain values in a list, metrics in a table; nested ones stay in module.json."""
    plain = [f"- {key}: {value}" for key, value in provenance.items() if isinstance(value, (str, int, float))]
    metrics = provenance.get("metrics")
    text = "## How it was made\n\n" + "\n".join(plain or ["See `provenance` in `module.json`."])
    if isinstance(metrics, Mapping) and metrics:
        rows: list[tuple[str, ...]] = [
            ("metric", "value"),
            *((str(name), _shown(value)) for name, value in metrics.items()),
        ]
        text += "\n\n" + "\n".join(_table(rows))
    return text


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]
