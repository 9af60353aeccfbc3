"""The list of a folder's files with their sha256, written last and checked first; nothing hostile gets past it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from gag.errors import DomainError

MANIFEST = "manifest.json"
KINDS = (".json", ".safetensors", ".md", ".txt", ".jinja", ".model")
"""What a module may hold: data that no reader executes."""

BUILD_AGAIN = "Copy the module again from where it is whole, or build it again: gag build NAME"


def write_manifest(folder: Path, schema: int) -> None:
    """Write the manifest of every file that is below `folder` now."""
    files = {name: _sha256(folder / name) for name in sorted(_walk(folder))}
    manifest = {"schema": schema, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


def read_manifest(folder: Path, needed: Iterable[str]) -> dict[str, str]:
    """The files and their sha256; refuses a name that could point out of the folder, and a lack of `needed`."""
    files = read_json(folder, MANIFEST).get("files")
    if not isinstance(files, dict) or not all(isinstance(digest, str) for digest in files.values()):
        raise DomainError(f"{folder / MANIFEST} lists no files.", BUILD_AGAIN)
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or path.as_posix() != name:
            raise DomainError(f"{folder / MANIFEST} names {name!r}, outside the module.", "Do not use this module.")
    if missing := sorted(set(needed) - set(files)):
        raise DomainError(f"{folder / MANIFEST} does not list {', '.join(missing)}.", BUILD_AGAIN)
    return files


def verify_files(folder: Path, files: Mapping[str, str]) -> None:
    """Refuse a missing, additional, changed, linked or executable file. Raises DomainError."""
    there = _walk(folder)
    if missing := sorted(set(files) - there):
        raise DomainError(f"The module {folder} lacks {', '.join(missing)}.", BUILD_AGAIN)
    if extra := sorted(there - set(files) - {MANIFEST}):
        raise DomainError(
            f"The module {folder} holds {', '.join(extra)}, which its manifest does not list.", "Move it elsewhere."
        )
    for name, digest in files.items():
        if PurePosixPath(name).suffix not in KINDS:
            raise DomainError(f"The module {folder} holds {name}, a kind of file never loaded.", "Do not use it.")
        if _sha256(folder / name) != digest:
            raise DomainError(f"The file {name} of the module {folder} was changed or damaged.", BUILD_AGAIN)


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file of `folder`. Raises DomainError."""
    path = folder / name
    if path.is_symlink() or (path.exists() and not path.is_file()):  # reading a pipe would wait for ever
        raise DomainError(f"{path} is a link or no plain file.", "Copy the module with its real files.")
    try:
        tree = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise DomainError(f"{folder} is no domain module: {name} is missing.", BUILD_AGAIN) from None
    except (OSError, ValueError, RecursionError):
        raise DomainError(f"{path} cannot be read as JSON.", BUILD_AGAIN) from None
    if not isinstance(tree, dict):
        raise DomainError(f"{path} is not a JSON object.", BUILD_AGAIN)
    return tree


def _walk(folder: Path) -> set[str]:
    """Every file below `folder`, relative to it; hidden entries at the top (.git, .cache) are not the module's."""
    found = set()
    for parent, folders, names in os.walk(folder):
        if Path(parent) == folder:
            folders[:] = [name for name in folders if not name.startswith(".")]
            names = [name for name in names if not name.startswith(".")]
        for name in [*folders, *names]:
            path = Path(parent) / name
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise DomainError(
                    f"The module {folder} holds {path.relative_to(folder)}, which is a link or no plain file.",
                    "Copy the module with its real files (hf download --local-dir FOLDER).",
                )
        found |= {(Path(parent) / name).relative_to(folder).as_posix() for name in names}
    return found


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DomainError(f"{path} cannot be read: {error.strerror}.", "Check its permissions and the disk.") from None
