"""Rows of a data file in JSON, JSON Lines, CSV, TSV, Parquet or MedQuAD's XML, each also in gzip or zip."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from gag.errors import InputError

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".xml")
_LONGEST_CELL = 1 << 24
_SHOWN = 8


@dataclass(frozen=True)
class Row:
    """One row's fields, where it stands (for messages), its number from 1, and what its reader takes."""

    fields: Mapping[str, Any]
    where: str
    number: int
    takes: str

    def refused(self, reason: str) -> InputError:
        """The error that says why this row cannot be used, and what the reader takes."""
        return InputError(f"{self.where}: {reason}.", f"This reader takes {self.takes}.")


@dataclass(frozen=True)
class Shape:
    """How a set's files hold their rows: under the key `inside` of one object, or as an object keyed by `keyed_by`."""

    inside: str | None = None
    keyed_by: str | None = None


def file_rows(path: Path, shape: Shape, takes: str) -> Iterator[Row]:
    """The rows of a file, in order; raises InputError for a file that is not what its suffix says."""
    name, data = _unpacked(path)
    suffix = Path(name).suffix.lower()
    if suffix == ".parquet":
        yield from _numbered(_parquet(path, data), f"{path} row", takes)
    elif suffix == ".xml":
        yield from _numbered(_xml(path, data), f"{path} pair", takes)
    elif suffix in (".csv", ".tsv"):
        yield from _table(path, _decoded(path, data), "\t" if suffix == ".tsv" else ",", takes)
    elif suffix in (".json", ".jsonl"):
        yield from _json(path, _decoded(path, data), shape, takes)
    else:
        raise InputError(f"{path} is a {suffix or 'nameless'} file.", f"Known are {', '.join(SUFFIXES)}, also in .gz.")


def numbered_rows(items: Iterable[Any], where: str, takes: str) -> Iterator[Row]:
    """Rows of items that are in memory already; `where` stands before their numbers in messages."""
    yield from _numbered(items, where, takes)


def _unpacked(path: Path) -> tuple[str, bytes]:
    """The file's name without .gz or .zip, and its bytes."""
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".gz":
            return path.stem, gzip.decompress(data)
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                names = [name for name in archive.namelist() if name.lower().endswith(SUFFIXES)]
                if len(names) != 1:
                    raise InputError(
                        f"{path} holds {len(names)} data files ({', '.join(names[:_SHOWN]) or 'none'}).",
                        "Unpack it and name one.",
                    )
                return names[0], archive.read(names[0])
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.", "Check the path, or give the set's id on the hub.") from None
    except (gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{path} cannot be unpacked ({error}).", "Fetch it again.") from None
    except OSError as error:
        raise InputError(f"{path} could not be read: {error.strerror or error}.", "Check the file.") from None
    return path.name, data


def _decoded(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}).", "Save it as UTF-8.") from None
    if not text.strip():
        raise InputError(f"{path} is empty.", "Fetch it again.")
    return text


def _json(path: Path, text: str, shape: Shape, takes: str) -> Iterator[Row]:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        yield from _json_lines(path, text, takes)
        return
    if isinstance(tree, dict) and shape.inside is not None and isinstance(tree.get(shape.inside), list):
        yield from _numbered(tree[shape.inside], f"{path} {shape.inside} item", takes)
    elif isinstance(tree, dict) and shape.keyed_by is not None and all(isinstance(v, dict) for v in tree.values()):
        for number, (key, value) in enumerate(tree.items(), 1):
            yield Row({shape.keyed_by: key, **value}, f"{path} entry {key}", number, takes)
    elif isinstance(tree, list):
        yield from _numbered(tree, f"{path} item", takes)
    elif isinstance(tree, dict) and "\n" not in text.strip():  # JSON Lines of one line
        yield from _json_lines(path, text, takes)
    else:
        found = ", ".join(sorted(map(str, tree))[:_SHOWN]) if isinstance(tree, dict) else repr(tree)[:60]
        raise InputError(f"{path} is one JSON {type(tree).__name__} ({found}).", f"This reader takes {takes}.")


def _json_lines(path: Path, text: str, takes: str) -> Iterator[Row]:
    number = 0
    for line_number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        number += 1
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            raise InputError(f"{path} line {line_number}: not JSON.", f"This reader takes {takes}.") from None
        yield _row(fields, f"{path} line {line_number}", number, takes)


def _table(path: Path, text: str, separator: str, takes: str) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for number, fields in enumerate(reader, 1):
            where = f"{path} line {reader.line_num}"
            if None in fields or None in fields.values():
                raise InputError(
                    f"{where}: not as many cells as the heading has ({len(reader.fieldnames or ())}).",
                    "Mend that line: a cell with a comma, a tab or a line break needs quotes.",
                )
            yield Row(fields, where, number, takes)
    except csv.Error as error:
        raise InputError(f"{path} after line {reader.line_num}: {error}.", "Mend the quotes there.") from None


def _parquet(path: Path, data: bytes) -> list[dict[str, Any]]:
    pyarrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    try:
        rows: list[dict[str, Any]] = parquet.read_table(pyarrow.BufferReader(data)).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(
            f"{path} is not a Parquet file ({' '.join(str(error).split())[:80]}).", "Fetch it again."
        ) from None
    return rows


def _xml(path: Path, data: bytes) -> list[dict[str, Any]]:
    """A MedQuAD document's question-answer pairs; declarations of entities are refused."""
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise InputError(f"{path} declares entities, which are not read.", "Take the set's own files.")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is not XML ({error}).", "Fetch it again.") from None
    shared = {"source": root.get("source", ""), "question_focus": root.findtext("Focus") or ""}
    pairs = []
    for pair in root.iter("QAPair"):
        question, answer = pair.find("Question"), pair.find("Answer")
        if question is None or answer is None:
            raise InputError(f"{path}: a QAPair without Question or Answer.", "Take the set's own files.")
        pairs.append(
            {
                **shared,
                "question_id": question.get("qid", ""),
                "question_type": question.get("qtype", ""),
                "question": "".join(question.itertext()),
                "answer": "".join(answer.itertext()),
            }
        )
    if not pairs:
        raise InputError(f"{path} has no QAPair (its root is {root.tag}).", "Take the set's own files.")
    return pairs


def _numbered(items: Iterable[Any], where: str, takes: str) -> Iterator[Row]:
    for number, fields in enumerate(items, 1):
        yield _row(fields, f"{where} {number}", number, takes)


def _row(fields: Any, where: str, number: int, takes: str) -> Row:
    if not isinstance(fields, dict):
        raise InputError(f"{where}: a JSON {type(fields).__name__}, not an object.", f"This reader takes {takes}.")
    return Row(fields, where, number, takes)
