"""Folders that are whole or not there: written as a hidden sibling, renamed when done, removed under another name.

One process at a time works on a folder; `.NAME.lock`, `.NAME.partial` and `.NAME.replaced` beside it are this file's,
and so is the `.lock` in a folder that somebody works in.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from gag.errors import BusyError, InputError, RunError


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty sibling to fill, which takes the place of `folder` when the body ends without an error.

    What was there before stays until then, and comes back if the last step fails. Whatever the body raises, the
    sibling is removed. Raises RunError for the disk's errors, BusyError where another process is at it.
    """
    partial, replaced = _sibling(folder, "partial"), _sibling(folder, "replaced")
    with disk_errors(f"{folder} could not be written"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _writing(folder):
            _put_back(folder)
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(replaced, ignore_errors=True)
            try:
                partial.mkdir()
                yield partial
                _sync(partial)
                if folder.exists():
                    folder.rename(replaced)
                partial.rename(folder)
                _sync_entry(folder.parent)
            finally:
                _put_back(folder)
                shutil.rmtree(partial, ignore_errors=True)
                shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A hidden sibling to write, which takes the place of `path` when the body ends without an error.

    Whatever the body raises, the sibling is removed and `path` stays as it was. Raises RunError for the disk's errors.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with disk_errors(f"{path} could not be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            partial.replace(path)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Take `folder` away in one rename, then delete what it held; a link is removed, not what it points to."""
    removed = _sibling(folder, "removed")
    with disk_errors(f"{folder} could not be removed"), _writing(folder):
        if folder.is_symlink():
            folder.unlink()
            return
        shutil.rmtree(removed, ignore_errors=True)
        if (replaced := _sibling(folder, "replaced")).exists():  # an older one, which would come back
            shutil.rmtree(replaced)
        folder.rename(removed)
        shutil.rmtree(removed)


def restore_interrupted(folder: Path) -> None:
    """Bring back what `new_folder` was replacing when its process was killed between its two renames."""
    if not folder.exists() and _sibling(folder, "replaced").exists():
        with disk_errors(f"{folder} could not be restored"), _writing(folder):
            _put_back(folder)


def interrupted(parent: Path) -> list[Path]:
    """Folders below `parent` that `restore_interrupted` would bring back."""
    names = [path.name[1:].removesuffix(".replaced") for path in parent.glob(".*.replaced")]
    return sorted(parent / name for name in names if not (parent / name).exists())


@contextmanager
def alone(folder: Path, busy: str, mend: str, *, name: str = ".lock") -> Iterator[None]:
    """`folder`, made where it is missing, for this process alone; `name` is the file in it that says so.

    Raises BusyError(busy, mend) while another process has it, InputError where a file has that name, RunError for the
    disk's errors.
    """
    with disk_errors(f"{folder} could not be written"):
        in_the_way = next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)
        if in_the_way is not None:
            raise InputError(f"{in_the_way} is a file, not a folder.", "Name another folder.")
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / name, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise BusyError(busy, mend) from None
    try:
        yield
    finally:
        lock.release()


def _sibling(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{kind}")


def _put_back(folder: Path) -> None:
    replaced = _sibling(folder, "replaced")
    if not folder.exists() and replaced.exists():
        replaced.rename(folder)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    lock = FileLock(_sibling(folder, "lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(f"Another process is writing {folder}.", "Wait until it is done, then try again.") from None
    try:
        yield
    finally:
        with suppress(OSError):
            _sibling(folder, "lock").unlink()
        lock.release()


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Raise RunError, which begins with `what`, for the disk's errors in the body."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RunError(
            f"{what}: {reason}.", "Make room on the disk and check its permissions; nothing changed."
        ) from None


def _sync(folder: Path) -> None:
    """Everything below `folder` onto the disk before its name is."""
    for parent, _, files in os.walk(folder):
        for name in files:
            with open(os.path.join(parent, name), "rb") as file:
                os.fsync(file.fileno())
        _sync_entry(Path(parent))


def _sync_entry(folder: Path) -> None:
    with suppress(OSError):  # some file systems cannot sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
