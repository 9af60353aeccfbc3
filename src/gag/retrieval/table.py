"""The passages with their vectors in LanceDB: what is kept while a store is built, and what it is built from again."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gag.errors import MissingExtra, RunError
from gag.records import Passage, content_hash

NAME = "passages"
FIELDS = ("id", "document_id", "heading", "text", "more")
"""Columns that make up a passage; `more` is its other fields as JSON."""

AT_ONCE = 512
"""Rows read, and keys removed, in one go."""


class PassageTable:
    """A table with a row a passage: `key`, FIELDS, `mean` (float32), `tokens` (half precision, as bytes).

    `key` is the hash of the whole passage. Every change is a version of the table, whole or not there.
    """

    def __init__(self, table: Any, folder: Path) -> None:
        self._table = table
        self._folder = folder

    @classmethod
    def open(cls, folder: Path, dimension: int) -> PassageTable:
        """The table in `folder`, made where there is none. Raises MissingExtra, and RunError where it is damaged."""
        lancedb = _lancedb()
        with _lance_errors(folder):
            connection = lancedb.connect(folder)
            table = connection.create_table(NAME, schema=_schema(dimension), exist_ok=True)
        return cls(table, folder)

    @property
    def version(self) -> int:
        """The number of the table's newest version."""
        with _lance_errors(self._folder):
            return int(self._table.version)

    def keys(self) -> list[str]:
        """The keys of all rows, in the table's order."""
        return [key for batch in self._batches(["key"]) for key in batch["key"].to_pylist()]

    def add(self, passages: Sequence[Passage], vectors: Sequence[Tensor]) -> None:
        """Add passages with their token vectors `[t, d]`, all of them or none."""
        pyarrow = importlib.import_module("pyarrow")
        means = torch.stack([matrix.float().mean(dim=0) for matrix in vectors])
        schema = _schema(means.shape[1])
        columns: dict[str, Any] = {
            "key": [passage_key(p) for p in passages],
            "id": [p.id for p in passages],
            "document_id": [p.document_id for p in passages],
            "heading": [p.heading for p in passages],
            "text": [p.text for p in passages],
            "more": [json.dumps({"span": p.span, "page": p.page, "meta": dict(p.meta)}) for p in passages],
            "mean": list(means.numpy()),
            "tokens": [matrix.half().contiguous().numpy().tobytes() for matrix in vectors],
        }
        with _lance_errors(self._folder):
            self._table.add(pyarrow.table(columns, schema=schema))

    def remove(self, keys: Sequence[str]) -> None:
        """Remove the rows of these keys, and write the others anew: LanceDB only marks a removed row in a large piece.

        With `compact` nothing of them stays on the disk.
        """
        if not keys:
            return
        with _lance_errors(self._folder):
            for start in range(0, len(keys), AT_ONCE):
                listed = ", ".join(f"'{key}'" for key in keys[start : start + AT_ONCE])
                self._table.delete(f"key IN ({listed})")
            rows = self._table.search().to_batches(batch_size=AT_ONCE)
            connection = _lancedb().connect(self._folder)
            self._table = connection.create_table(NAME, data=rows, schema=self._table.schema, mode="overwrite")

    def compact(self) -> None:
        """Join the pieces in which the table was written and give up older versions."""
        with _lance_errors(self._folder):
            self._table.optimize(cleanup_older_than=timedelta(milliseconds=1))  # 0 would be a warning

    def passages(self) -> Any:
        """A pyarrow table of `key` and FIELDS, in the table's order; `passage_of` makes its rows passages."""
        pyarrow = importlib.import_module("pyarrow")
        columns = ["key", *FIELDS]
        schema = pyarrow.schema([pyarrow.field(name, pyarrow.string()) for name in columns])
        return pyarrow.Table.from_batches(list(self._batches(columns)), schema=schema)

    def vectors(self) -> Iterator[tuple[list[str], np.ndarray, list[bytes]]]:
        """Pieces of the table: keys, mean vectors `[n, d]`, and each passage's half-precision vectors as bytes."""
        for batch in self._batches(["key", "mean", "tokens"]):
            mean = batch["mean"]
            means = mean.flatten().to_numpy().reshape(len(mean), -1)
            yield batch["key"].to_pylist(), means, batch["tokens"].to_pylist()

    def _batches(self, columns: list[str]) -> Iterator[Any]:
        with _lance_errors(self._folder):
            yield from self._table.search().select(columns).to_batches(batch_size=AT_ONCE)


def passage_key(passage: Passage) -> str:
    """The hash of everything a passage says of itself."""
    return content_hash(
        passage.id,
        passage.document_id,
        passage.text,
        passage.heading,
        passage.span,
        passage.page,
        passage.meta,
    )


def passage_of(table: Any, row: int) -> Passage:
    """A row of `PassageTable.passages` as the passage it was."""
    values: dict[str, Any] = {name: table[name][row].as_py() for name in FIELDS}
    more = json.loads(values.pop("more"))
    span = more.pop("span")
    return Passage(**values, **more, span=None if span is None else tuple(span))


def indexed_text(passage: Passage) -> str:
    """What is encoded and indexed of a passage: its headings, where it has them, and its text."""
    return passage.text if passage.heading is None else f"{passage.heading}\n{passage.text}"


def _schema(dimension: int) -> Any:
    pyarrow = importlib.import_module("pyarrow")
    texts = [pyarrow.field(name, pyarrow.string()) for name in ("key", *FIELDS)]
    mean = pyarrow.field("mean", pyarrow.list_(pyarrow.float32(), dimension))
    return pyarrow.schema([*texts, mean, pyarrow.field("tokens", pyarrow.large_binary())])


def _lancedb() -> Any:
    try:
        return importlib.import_module("lancedb")
    except ImportError:
        raise MissingExtra("Retrieval needs the package lancedb.", "pip install 'gag[retrieval]'") from None


@contextmanager
def _lance_errors(folder: Path) -> Iterator[None]:
    """Raise RunError for what LanceDB raises about its files."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise RunError(
            f"The passage table in {folder} cannot be used ({type(error).__name__}: {text[:200]}).",
            f"Make room and give permission there; if it is damaged, delete {folder}: it is then built again.",
        ) from None
