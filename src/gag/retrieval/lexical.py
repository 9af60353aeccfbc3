"""BM25 over the words of passages, through bm25s."""

from __future__ import annotations

import importlib
import logging
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from gag.errors import MissingExtra, RunError

UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Kana and Han, which are written without spaces: every character counts as a word."""

_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")


class Lexical:
    """BM25 scores (Lucene's variant, k1 1.5, b 0.75) of `size` passages, whole words, no stop words, no stemming."""

    def __init__(self, index: Any, size: int) -> None:
        self._index = index  # None where no passage has a word
        self.size = size

    @classmethod
    def build(cls, texts: Iterable[str]) -> Lexical:
        """The index of passages, numbered in their order. Raises MissingExtra."""
        rows = [words(text) for text in texts]
        index = _bm25s().BM25()
        if any(rows):
            index.index(rows, show_progress=False)
        return cls(index if any(rows) else None, len(rows))

    def save(self, folder: Path) -> None:
        """Write the index into `folder`, which is made."""
        folder.mkdir(parents=True)
        if self._index is not None:
            self._index.save(folder, allow_pickle=False, show_progress=False)

    @classmethod
    def load(cls, folder: Path, size: int) -> Lexical:
        """What `save` wrote for `size` passages. Raises MissingExtra, and RunError where the files are damaged."""
        bm25s = _bm25s()
        if folder.is_dir() and not any(folder.iterdir()):
            return cls(None, size)
        try:
            index = bm25s.BM25.load(folder, mmap=False, allow_pickle=False, show_progress=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"The BM25 index in {folder} cannot be read ({type(error).__name__}).",
                f"Delete {folder.parent} and run the same command again; it is built from the table beside it.",
            ) from None
        return cls(index, size)

    def scores(self, question: str) -> Float32[np.ndarray, " n"]:
        """The score of every passage; 0 where it shares no word with the question."""
        asked = words(question)
        if self._index is None or not asked:
            return np.zeros(self.size, dtype=np.float32)
        found: np.ndarray = self._index.get_scores(asked)
        return found


def words(text: str) -> list[str]:
    """The words of a text: compatibility forms (NFKC) and case folded, punctuation left out."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _bm25s() -> Any:
    try:
        module = importlib.import_module("bm25s")
    except ImportError:
        raise MissingExtra("Retrieval needs the package bm25s.", "pip install 'gag[retrieval]'") from None
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # its own level shows every step wherever logs are shown
    return module
