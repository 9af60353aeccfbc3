"""What a method's answers depend on, by content: training data, model folders and modules in place of their names."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gag.config import ModelConfig
from gag.errors import InputError
from gag.evaluation.bench.methods import WITHOUT_MODULE
from gag.methods.rog_training import POINTER
from gag.methods.shelf import BUILT_IN, another_packages
from gag.records import content_hash
from gag.workspace import Workspace

OF_A_MODEL = (".safetensors", ".gguf", ".json", ".txt", ".model", ".jinja")
"""Files of a model folder that decide what it says."""
CHOOSING = ("gag-or-rag",)
"""The methods of this package that choose something on `dev_qa`."""
FILES = ("qa", "align_qa", "dev_qa", "documents", "passages")
"""Keys of a domain that name files."""
OF_THE_BASE = ("models", "prompts", "generation")
"""Sections of gag.yaml that decide what the base alone says."""


def answers_depend_on(workspace: Workspace, method: str, domain: str | None, *, kept_modules: bool) -> dict[str, Any]:
    """All that decides a method's answers, of `domain` or of every one; raises InputError for a file that is missing.

    With `kept_modules` the modules that lie there are asked as they are, and `gag` routes to each of them.
    """
    config = workspace.config
    names = [] if method == "base" else [domain] if domain is not None else list(config.domains)
    chosen = set(OF_THE_BASE) if method == "base" else set(type(config).model_fields) - {"domains", "preset"}
    found: dict[str, Any] = {
        "choices": config.model_dump(mode="json", include=chosen),
        "domains": {name: _domain(workspace, name, method) for name in names},
        "models": {
            name: digest
            for name, model in _models(workspace)
            if (digest := local_weights(model.source, workspace.root)) is not None
        },
    }
    if (point := another_packages(method)) is not None:
        found["code"] = _code(point)
    if method == "base" and domain is not None and (own := config.of(domain).generation) != config.generation:
        found["generation"] = own.model_dump(mode="json")
    if config.router.general_questions is not None and method != "base":
        found["general_questions"] = file_digest(workspace.path(config.router.general_questions))
    if kept_modules and method not in WITHOUT_MODULE:
        modules = [workspace.module(domain)] if domain is not None else sorted(workspace.modules.glob("[!.]*"))
        manifests = {folder.name: folder / "manifest.json" for folder in modules}
        found["modules"] = {name: file_digest(path) for name, path in manifests.items() if path.is_file()}
    return found


def _code(point: EntryPoint) -> list[str | None]:
    """What tells one state of another package's method from another: its version and its module file's hash."""
    try:
        found = find_spec(point.module)
    except Exception:  # a stranger's package may raise anything: asking it says what
        found = None
    file = Path(found.origin) if found is not None and found.origin else None
    digest = file_digest(file) if file is not None and file.is_file() else None
    return [point.value, point.dist.version if point.dist is not None else None, digest]


def local_weights(source: str, root: Path | None = None) -> str | None:
    """The hash of a model's or adapter's files where `source` is a folder or file here; None for hub ids, packages."""
    path = (root or Path()) / Path(source).expanduser()
    if source.startswith("package:") or not path.exists():
        return None
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.suffix in OF_A_MODEL and p.is_file()]
    return content_hash([[str(file.relative_to(path)), file_digest(file)] for file in sorted(files)])


def file_digest(path: Path) -> str:
    """The sha256 (hex) of a file, read again only once it changed; raises InputError where it cannot be read."""
    try:
        state = path.stat()
        return _digest(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise InputError(f"{path} could not be read: {error.strerror or error}.", "Check the path.") from None


@cache
def _digest(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _models(workspace: Workspace) -> list[tuple[str, ModelConfig]]:
    config = workspace.config
    models = [("base", config.models.base), ("expert", config.models.expert), ("encoder", config.models.encoder)]
    retrieval = config.retrieval.encoder
    return models if retrieval is None else [*models, ("retrieval", retrieval)]


def _domain(workspace: Workspace, name: str, method: str) -> dict[str, Any]:
    """What a domain is built from: its choices, and the content of its files in place of their names."""
    section = workspace.domain(name).model_dump(mode="json")
    if method in BUILT_IN and method not in CHOOSING:
        section["dev_qa"] = None
    for key in FILES:
        if section.get(key) is not None:
            section[key] = file_digest(workspace.path(section[key]))
        elif (made := workspace.data(name) / f"{key}.jsonl").is_file():
            section[key] = file_digest(made)
    if section.get("expert") is not None:
        section["expert"] = local_weights(section["expert"], workspace.root) or section["expert"]
    others = {
        "raft": workspace.data(name) / "raft.jsonl",
        "graph": workspace.root / "graphs" / name / "graph.json",
        "rog": workspace.runs(name) / POINTER,
    }
    return section | {key: file_digest(path) for key, path in others.items() if path.is_file()}
