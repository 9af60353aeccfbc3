"""A public set's rows from the Hugging Face hub, or from the copy that its cache holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gag.errors import InputError
from gag.evaluation.datasets.rows import Row, file_rows, numbered_rows

if TYPE_CHECKING:
    from gag.evaluation.datasets.catalogue import Dataset


def hub_rows(dataset: Dataset, identity: str | None, split: str) -> Iterator[Row]:
    """Rows of one part; raises InputError where it cannot be had, and says which file to fetch by hand instead.

    No code of a set's own is run: one that needs some is read from its file.
    """
    name = identity or dataset.hub.id
    if dataset.hub.file is not None:
        if split != dataset.hub.split:
            raise InputError(f"{name} has the part {dataset.hub.split} only, not {split}.", "Leave the split out.")
        yield from file_rows(_file(name, dataset), dataset.shape, dataset.takes)
        return
    yield from numbered_rows(_table(name, dataset, split), f"{name} [{split}] row", dataset.takes)


def _file(name: str, dataset: Dataset) -> Path:
    import huggingface_hub

    assert dataset.hub.file is not None
    try:
        return Path(huggingface_hub.hf_hub_download(name, dataset.hub.file, repo_type="dataset"))
    except Exception as error:  # the hub's client raises whatever its transport does
        raise _not_there(name, dataset, error) from None


def _table(name: str, dataset: Dataset, split: str) -> Iterable[Any]:
    import datasets

    config = dataset.hub.config if name == dataset.hub.id else None
    try:
        table: Iterable[Any] = datasets.load_dataset(name, config, split=split)
    except Exception as error:  # as above; also for a part or configuration that it does not have
        raise _not_there(name, dataset, error) from None
    return table


def _not_there(name: str, dataset: Dataset, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:160]
    return InputError(
        f"{name} could not be had from the hub ({type(error).__name__}: {reason}).",
        f"Fetch its file and name that instead: {dataset.takes}.",
    )
