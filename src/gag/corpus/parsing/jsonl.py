"""Documents of a JSON Lines file, a row at a time: a bad row is told of, and the others are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gag.corpus.parsing.blocks import Parsed
from gag.corpus.parsing.errors import ParseError
from gag.corpus.parsing.markdown import markdown_blocks, plain_blocks
from gag.corpus.parsing.quality import text_flags
from gag.records import MAX_NESTING

VERSION = "2"
_OURS = frozenset({"quality", "page_starts", "pages", "characters_a_page", "parser", "parser_version"})
"""What ingest itself notes of a document; a row's own field of that name is kept as `given_NAME`."""
LONGEST = 64_000_000
"""Bytes a row may have."""

_MARKUP = re.compile(r"^ {0,3}#{1,6} \S|^ {0,3}\|.*\|\s*$|!\[|^```|<table\b", re.MULTILINE)


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | ParseError]]:
    """Line number, and the row or why it cannot be used."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST + 1):
            number += 1
            if len(line) > LONGEST:
                yield number, ParseError(f"longer than {LONGEST // 1_000_000} MB")
                while line and not line.endswith(b"\n"):
                    line = file.readline(LONGEST)
                continue
            if line.strip():
                yield number, _row(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)


def parsed_row(row: Mapping[str, Any]) -> Parsed:
    """A row's text as blocks; Markdown where it has any of its marks, else plain."""
    text = str(row["text"])
    blocks = markdown_blocks(text) if _MARKUP.search(text) else plain_blocks(text)
    given = {key: value for key, value in row.items() if key not in ("id", "title", "text", "source", "meta")}
    given |= row.get("meta", {})
    meta = {f"given_{key}" if key in _OURS else key: value for key, value in given.items()}
    return Parsed("jsonl", VERSION, blocks, row.get("title"), quality=text_flags(text), meta=meta)


def _row(line: bytes) -> dict[str, Any] | ParseError:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return ParseError(f"not UTF-8 text (byte {error.start})")
    except (ValueError, RecursionError) as error:
        return ParseError(f"not JSON ({getattr(error, 'msg', 'nested too deeply')})")
    if not isinstance(row, dict):
        return ParseError(f"a JSON {type(row).__name__}, not an object")
    for key in ("id", "text"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            have = ", ".join(sorted(map(str, row))) or "nothing"
            return ParseError(f"the field {key!r} is missing or no text (found: {have[:120]})")
    for key in ("title", "source"):
        if not isinstance(row.get(key), (str, type(None))):
            return ParseError(f"{key!r} must be a text")
    if not isinstance(row.get("meta", {}), dict):
        return ParseError("'meta' must be an object")
    if _depth(row) > MAX_NESTING:
        return ParseError(f"nested too deeply (over {MAX_NESTING} levels)")
    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return ParseError("an escape in it is half a character")
    return row


def _depth(value: object) -> int:
    level, depth = [value], 0
    while level and depth <= MAX_NESTING:
        level = [
            item
            for one in level
            if isinstance(one, (dict, list))
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        depth += 1
    return depth
