"""The files below the paths a user names, each once, in a steady order; links are followed, loops are not."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gag.corpus.parsing.mineru import ALSO, SUFFIXES
from gag.corpus.parsing.parse import Kind, kind_by_name
from gag.errors import InputError

_NEVER = ("~$", ".", "Thumbs.db", "desktop.ini", "__MACOSX")
"""How names begin that are a program's own: hidden files, locks of open Office files, an archive's leavings."""

_LAYOUT = ("layout.json", "full.md")
"""MinerU's names for the whole document where its service wrote the folder."""


@dataclass(frozen=True)
class Source:
    """A file to read; `name` is the journal's: its path from the workspace where it is inside, else whole."""

    path: Path
    name: str
    kind: Kind | None


@dataclass(frozen=True)
class Left:
    """A file or folder that is not read, and why. `unread` marks kinds that are never read: their count is enough."""

    name: str
    reason: str
    unread: bool = False


def discover(paths: Sequence[Path], root: Path, own: Sequence[Path] = ()) -> Iterator[Source | Left]:
    """The files that `paths` name and those in the folders among them, sorted; raises InputError for a missing path.

    What is among or below `own`, the program's own files, is not read.
    """
    for path in paths:
        if not os.path.lexists(path):
            raise InputError(f"{path} does not exist.", "Check the path; it is relative to the current folder.")
    seen = {(about.st_dev, about.st_ino) for path in own if path.exists() for about in [path.stat()]}
    for path in paths:
        yield from _walk(path, root.resolve(), seen, (), named=True)


def _walk(
    path: Path, root: Path, seen: set[tuple[int, int]], above: tuple[tuple[int, int], ...], *, named: bool = False
) -> Iterator[Source | Left]:
    name = _name(path, root)
    try:
        about = path.stat()
    except OSError as error:
        yield Left(name, _unreachable(path, error))
        return
    identity = (about.st_dev, about.st_ino)
    if identity in above:
        yield Left(name, "a symlink loop: it points to a folder that it is in")
        return
    if identity in seen:
        if path.is_symlink() or named:
            yield Left(name, "read already under another name, or ingest's own", unread=True)
        return
    seen.add(identity)
    if stat.S_ISDIR(about.st_mode):
        yield from _folder(path, root, seen, (*above, identity))
    elif not stat.S_ISREG(about.st_mode):
        yield Left(name, "no regular file")
    elif not os.access(path, os.R_OK):
        yield Left(name, "no permission to read it")
    elif not _is_utf8(path):
        yield Left(name, "its name is not UTF-8, by which it could be found again: rename it")
    else:
        kind = kind_by_name(path)
        if kind is None and not named:
            yield Left(name, f"{path.suffix or 'no suffix'}", unread=True)
        else:
            yield Source(path, name, kind)


def _folder(
    folder: Path, root: Path, seen: set[tuple[int, int]], above: tuple[tuple[int, int], ...]
) -> Iterator[Source | Left]:
    try:
        entries = sorted(os.listdir(folder))
    except OSError as error:
        yield Left(_name(folder, root), f"could not be listed: {error.strerror or error}")
        return
    entries = [entry for entry in entries if not entry.startswith(_NEVER)]
    left = _second_best(entries)
    for entry in entries:
        path = folder / entry
        if entry in left:
            yield Left(_name(path, root), left[entry], unread=True)
        elif entry.endswith(".json") and not entry.endswith((*(s[1:] for s in SUFFIXES), "layout.json")):
            yield Left(_name(path, root), ".json", unread=True)
        else:
            yield from _walk(path, root, seen, above)


def _second_best(entries: Sequence[str]) -> dict[str, str]:
    """Of the files that MinerU wrote for one document, all but the one that says most, and why."""
    there = set(entries)
    left: dict[str, str] = {}
    for entry in entries:
        rank, stem = next(
            ((n, entry[: -len(s) + 1]) for n, s in enumerate(SUFFIXES) if entry.endswith(s[1:])), (0, None)
        )
        if stem is None or entry in left:
            continue
        bare = stem.removesuffix("_")
        others = [stem + suffix[1:] for suffix in SUFFIXES[rank + 1 :]]
        others += (
            [bare + suffix for suffix in ALSO] + [stem + suffix.removeprefix("_") for suffix in ALSO] + list(_LAYOUT)
        )
        left.update(
            {other: f"MinerU's output, read from {entry}" for other in others if other in there and other != entry}
        )
    return left


def _unreachable(path: Path, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a symlink loop: it points to itself"
    if path.is_symlink():
        return f"a symlink that leads nowhere ({os.readlink(path)})"
    return f"could not be read: {error.strerror or error}"


def _name(path: Path, root: Path) -> str:
    """The path from the workspace where it is inside, else whole; links are not followed."""
    whole = Path(os.path.abspath(path))
    name = whole.relative_to(root) if whole.is_relative_to(root) else whole
    return name.as_posix().encode("utf-8", "backslashreplace").decode("utf-8")


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
