"""A store of passages: built piece by piece, and searched by BM25 and mean vectors first, then by exact MaxSim.

The LanceDB table holds everything: text, metadata, mean vector, token vectors, a version for every change. What a
search reads is a frozen view of one version of it, the folder `search`: the token vectors in one flat file, mean
vectors and the BM25 index. Reading 512 passages of 120 tokens x 128 dimensions takes 21 ms from the table and 3 ms from
the file (benchmarks/retrieval.py, one run on a busy machine); it costs the token vectors' room on the disk a second
time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gag.atomic import alone, new_file
from gag.config import RetrievalConfig
from gag.errors import DomainError, InputError
from gag.progress import Progress, silent
from gag.records import Passage
from gag.retrieval.late_interaction import TokenVectors
from gag.retrieval.table import PassageTable, indexed_text, passage_key, passage_of
from gag.retrieval.view import SearchView

FORMAT = 1
STORE_FILE = "store.json"
BLOCK = 128
"""Passages encoded and kept at once: what an interruption loses at most."""

CANDIDATES, CANDIDATE_SHARE = 512, 0.02
"""Passages scored exactly where config.candidates does not say: so many, or this share of the store if it is more.

Of the ten best of 100,000 made-up passages (benchmarks/retrieval.py), 512 candidates hold 0.94 and 2,000 hold 0.995.
"""


@dataclass(frozen=True)
class Hit:
    """A passage and its MaxSim score for the question."""

    passage: Passage
    score: float


class PassageStore:
    """Passages that are searched with questions; `encoder` says with what they were encoded."""

    def __init__(
        self, folder: Path, table: Any, view: SearchView, encoder: TokenVectors, config: RetrievalConfig
    ) -> None:
        self.folder = folder
        self.encoder = encoder
        self.config = config
        self._table = table
        self._view = view
        self._rows = {name: row for row, name in enumerate(table["id"].to_pylist())}

    @classmethod
    def build(
        cls,
        folder: Path,
        passages: Sequence[Passage],
        encoder: TokenVectors,
        config: RetrievalConfig,
        *,
        on_progress: Progress = silent,
    ) -> PassageStore:
        """The store of exactly these passages: those in `folder` already are kept, new ones encoded, others removed.

        Interrupted, it goes on where it was. Raises InputError for no passages or an id used twice, DomainError for a
        store built with another encoder, BusyError where another process builds it, MissingExtra, and RunError.
        """
        wanted = _by_key(passages)
        busy = f"Another process is building the passages in {folder}."
        with alone(folder, busy, "Wait for it, or end it; its work is kept."):
            _check_encoder(folder, encoder, new=True)
            table = PassageTable.open(folder, encoder.dimension)
            here = set(table.keys())
            gone = [key for key in here if key not in wanted]
            missing = [passage for key, passage in wanted.items() if key not in here]
            for start in range(0, len(missing), BLOCK):
                on_progress("passages", len(wanted) - len(missing) + start, len(wanted))
                block = missing[start : start + BLOCK]
                table.add(block, encoder.passages([indexed_text(passage) for passage in block]))
            table.remove(gone)
            fits = SearchView.fits(folder, table)
            on_progress("passages", len(wanted), len(wanted), "" if fits else "writing the search index")
            if not fits:
                table.compact()
                SearchView.write(folder, table)
        return cls.open(folder, encoder, config)

    @classmethod
    def open(cls, folder: Path, encoder: TokenVectors, config: RetrievalConfig) -> PassageStore:
        """The store that `build` finished in `folder`.

        Raises InputError where there is none or it is not finished, DomainError for one built with another encoder.
        """
        _check_encoder(folder, encoder, new=False)
        table = PassageTable.open(folder, encoder.dimension)
        if not SearchView.fits(folder, table):
            raise InputError(
                f"The passage store in {folder} is not finished.", "Build it again; what is there is kept."
            )
        passages = table.passages()
        return cls(folder, passages, SearchView.read(folder, passages), encoder, config)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def candidates(self) -> int:
        """How many passages are scored exactly for a question."""
        if self.config.candidates is not None:
            return self.config.candidates
        return max(CANDIDATES, round(CANDIDATE_SHARE * len(self)))

    def search(self, questions: Sequence[str], k: int | None = None) -> list[list[Hit]]:
        """The `k` (None: config.top_k) best passages of each question, best first; fewer where the store has fewer.

        Exact among `candidates` of them, which BM25 and the mean vectors choose.
        """
        return self.search_encoded(questions, self.encoder.queries(questions), k)

    def search_encoded(
        self, questions: Sequence[str], queries: Sequence[Float[Tensor, "q d"]], k: int | None = None
    ) -> list[list[Hit]]:
        """`search` for questions whose token vectors are already there."""
        count = self._count(k)
        candidates = max(count, self.candidates)
        found = []
        for question, query in zip(questions, queries, strict=True):
            rows = self._view.candidates(question, query, candidates)
            found.append(self._best(self._view.matrices.maxsim(query, rows), rows, count))
        return found

    def exhaustive(self, questions: Sequence[str], k: int | None = None) -> list[list[Hit]]:
        """What `search` would find with every passage a candidate; much slower."""
        rows = np.arange(len(self))
        scores = self._view.matrices.maxsims(self.encoder.queries(questions), rows)
        return [self._best(row, rows, self._count(k)) for row in scores]

    def get(self, passage_id: str) -> Passage:
        """The passage of this id; raises InputError."""
        return passage_of(self._table, self._row(passage_id))

    def vector(self, passage_id: str) -> Float[Tensor, " d"]:
        """The mean of a passage's token vectors in float32; raises InputError for an unknown id."""
        return self._view.means[self._row(passage_id)].clone()

    def _count(self, k: int | None) -> int:
        count = self.config.top_k if k is None else k
        if count < 1:
            raise InputError(f"{count} passages cannot be found.", "Ask for at least one.")
        return count

    def _best(self, scores: Tensor, rows: np.ndarray, count: int) -> list[Hit]:
        order = torch.sort(scores, descending=True, stable=True).indices[:count].tolist()
        return [Hit(passage_of(self._table, int(rows[place])), float(scores[place])) for place in order]

    def _row(self, passage_id: str) -> int:
        if passage_id not in self._rows:
            raise InputError(f"The store has no passage {passage_id!r}.", "Build it again with that passage.")
        return self._rows[passage_id]


def _by_key(passages: Sequence[Passage]) -> dict[str, Passage]:
    if not passages:
        raise InputError("There are no passages to search.", "Give the domain documents or passages with text in them.")
    seen: set[str] = set()
    for passage in passages:
        if passage.id in seen:
            raise InputError(f"Two passages have the id {passage.id!r}.", "Give every passage an id of its own.")
        seen.add(passage.id)
    return {passage_key(passage): passage for passage in passages}


def _check_encoder(folder: Path, encoder: TokenVectors, *, new: bool) -> None:
    """Refuse a store of another encoder; where there is no store yet, note this one's if `new`, else refuse too."""
    path = folder / STORE_FILE
    wanted = {
        "format": FORMAT,
        "encoder": encoder.name,
        "kind": encoder.kind,
        "fingerprint": encoder.fingerprint,
        "dimension": encoder.dimension,
    }
    if not path.is_file():
        if not new:
            raise InputError(f"There is no passage store in {folder}.", "Build it first.")
        with new_file(path) as partial:
            partial.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        old = found["format"], found["fingerprint"], found["dimension"]
        name = str(found["encoder"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DomainError(f"{path} is damaged.", f"Delete {folder}; it is then built again.") from None
    if old[0] != FORMAT:
        raise DomainError(f"{path} has the format {old[0]!r}, not {FORMAT}.", f"Delete {folder}; it is built again.")
    if old[1:] != (encoder.fingerprint, encoder.dimension):
        other = f"by {name}, not by {encoder.name}" if name != encoder.name else f"by another {name}, or other windows"
        raise DomainError(
            f"The passages in {folder} were encoded {other}.",
            f"Configure retrieval as it was, or delete {folder}; it is then built again.",
        )
