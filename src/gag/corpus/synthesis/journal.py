"""A journal of what was paid for: one line a reply, appended and synced as it comes, read back by the next run.

A failure that lasts is kept too, so that it is not paid for again. A line torn by a crash is left out; its prompt is
simply asked again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from gag.atomic import disk_errors
from gag.corpus.synthesis.generators import Failure, Reply, Writer
from gag.prompts import Message, Untrusted
from gag.records import content_hash


class Journal:
    """An append-only JSONL file of objects; usable in a `with` block, which closes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def entries(self) -> Iterator[dict[str, Any]]:
        """What it holds, in order, without what cannot be read."""
        if not self.path.is_file():
            return
        with disk_errors(f"{self.path} could not be read"), self.path.open("rb") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except ValueError:  # torn by a crash, or not UTF-8
                    continue
                if isinstance(entry, dict):
                    yield entry

    def append(self, entry: dict[str, Any]) -> None:
        """Write one line, so that it survives whatever comes next."""
        with disk_errors(f"{self.path} could not be written"):
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                torn = self._ends_torn()
                self._file = self.path.open("a", encoding="utf-8")
                if torn:
                    self._file.write("\n")
            self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    @property
    def size(self) -> int:
        """Its length in bytes; 0 where nothing was written yet."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def cut(self, size: int) -> None:
        """Drop what stands behind the first `size` bytes."""
        self.close()
        if self.size > size:
            with disk_errors(f"{self.path} could not be written"):
                os.truncate(self.path, size)

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ends_torn(self) -> bool:
        if not self.path.is_file() or not self.path.stat().st_size:
            return False
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"


class Remembered:
    """A writer whose replies are kept in a journal: a prompt that was answered before is not asked again.

    Nor is one whose failure was lasting.
    """

    def __init__(self, writer: Writer, journal: Journal) -> None:
        self._writer, self._journal = writer, journal
        self._known = dict(_replies(journal))
        self.asked = 0
        """Prompts that the writer was asked in this run."""

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    @property
    def name(self) -> str:
        """The writer's."""
        return self._writer.name

    def missing(self, prompts: Sequence[tuple[Message, ...]], max_tokens: int) -> int:
        """How many of `prompts` the writer would be asked."""
        return sum(self.known(prompt, max_tokens) is None for prompt in prompts)

    def known(self, prompt: tuple[Message, ...], max_tokens: int) -> Reply | None:
        """The reply or lasting failure that is in the journal; None where the writer would be asked."""
        return self._known.get(self._key(prompt, max_tokens))

    def complete(self, prompts: Sequence[tuple[Message, ...]], max_tokens: int) -> Iterator[tuple[int, Reply]]:
        """Known replies first, then the writer's, each in the journal before it is handed on."""
        keys = [self._key(prompt, max_tokens) for prompt in prompts]
        new: list[int] = []
        for position, key in enumerate(keys):
            if key in self._known:
                yield position, self._known[key]
            else:
                new.append(position)
        if not new:
            return
        for index, reply in self._writer.complete([prompts[p] for p in new], max_tokens):
            position = new[index]
            self.asked += 1
            if not isinstance(reply, Failure):
                self._journal.append({"key": keys[position], "reply": reply})
            elif reply.lasting:
                self._journal.append({"key": keys[position], "failure": reply.reason})
            if not isinstance(reply, Failure) or reply.lasting:
                self._known[keys[position]] = reply
            yield position, reply

    def _key(self, prompt: tuple[Message, ...], max_tokens: int) -> str:
        said = [[m.role, "".join(p.text if isinstance(p, Untrusted) else str(p) for p in m.parts)] for m in prompt]
        return content_hash(self._writer.name, max_tokens, said)[:24]


class Recalled:
    """A writer that knows what the journal holds and no more: every other prompt fails, and is kept in `missing`."""

    def __init__(self, remembered: Remembered) -> None:
        self._remembered = remembered
        self.missing: list[list[tuple[Message, ...]]] = []
        """Prompts whose replies are not known, a list for every call."""

    @property
    def name(self) -> str:
        """The writer's."""
        return self._remembered.name

    def complete(self, prompts: Sequence[tuple[Message, ...]], max_tokens: int) -> Iterator[tuple[int, Reply]]:
        """Known replies and failures, in order."""
        missing: list[tuple[Message, ...]] = []
        self.missing.append(missing)
        for position, prompt in enumerate(prompts):
            reply = self._remembered.known(prompt, max_tokens)
            if reply is None:
                missing.append(prompt)
            yield position, Failure("not asked") if reply is None else reply


def _replies(journal: Journal) -> Iterator[tuple[str, Reply]]:
    for entry in journal.entries():
        if "key" in entry and "reply" in entry:
            yield str(entry["key"]), str(entry["reply"])
        elif "key" in entry and "failure" in entry:
            yield str(entry["key"]), Failure(str(entry["failure"]), lasting=True)
