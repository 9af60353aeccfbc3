"""The route of a question: r(x) = argmax_i max_c e(x)·p_{i,c} over every attached bank (paper section 3)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gag.errors import DomainError
from gag.records import GENERAL, Route
from gag.routing.encoder import Encoder

BLOCK = 32
"""Columns a bank is padded to a multiple of: the paper's bank size, so that usual banks need no padding."""

TIE = 1e-6
"""Scores closer than this are equal: a float32 product may differ by 1e-7 between batches, its route may not."""

_FEW = 16
_CHUNK_SCORES = 1 << 23
"""Similarities held at once (32 MiB)."""


class Scores(Mapping[str, float]):
    """The score of every route by name, read from one row when asked; a deep copy is a plain dictionary.

    For a thousand routes a dictionary for each question would cost a third of the matching itself.
    """

    __slots__ = ("_index", "_row")

    def __init__(self, index: Mapping[str, int], row: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
        self._index = index
        self._row = row

    def __getitem__(self, name: str) -> float:
        return float(self._row[self._index[name]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __deepcopy__(self, memo: dict[int, object]) -> dict[str, float]:
        return dict(zip(self._index, self._row.tolist(), strict=True))


@dataclass(frozen=True)
class _Layout:
    """The banks as one matrix, `[d, BLOCK * blocks]`.

    Column c * blocks + j is prototype c of block j, so that the maximum over a block's prototypes runs over whole rows.
    A vector times this shape takes half the time of the matrix with one prototype a row times the vector.
    """

    banks: Mapping[str, Tensor]
    index: Mapping[str, int]
    matrix: Tensor
    owner: Tensor | None
    """Route of each block, None where every route has exactly one."""


class Router:
    """Routes questions by their nearest prototype; `general` is a route like the others, and comes first.

    Banks are `[p, d]` float32 unit vectors, of any number of prototypes each. Attaching a route copies its bank and
    computes nothing for the others; it may happen while another thread routes. Raises DomainError for a bank that
    does not fit the encoder.
    """

    def __init__(self, encoder: Encoder, banks: Mapping[str, Tensor]) -> None:
        self.encoder = encoder
        self._banks: Mapping[str, Tensor] = {}
        self._layout: _Layout | None = None
        self._changing = threading.Lock()
        for name, bank in banks.items():
            self.attach(name, bank)

    @property
    def routes(self) -> tuple[str, ...]:
        """Names of the attached routes: general, then the others in the order they came."""
        return tuple(self._banks)

    @property
    def banks(self) -> Mapping[str, Tensor]:
        """The attached banks by route."""
        return dict(self._banks)

    def attach(self, name: str, bank: Float[Tensor, "p d"]) -> None:
        """Add a route; raises DomainError for a name that is taken and for a bank that does not fit."""
        bank = _checked(name, bank, self.encoder)
        with self._changing:
            if name in self._banks:
                raise DomainError(f"The route {name!r} is already attached.", f"Detach {name!r} first.")
            added = {name: bank}
            self._banks = {**added, **self._banks} if name == GENERAL else {**self._banks, **added}

    def detach(self, name: str) -> None:
        """Remove a route; raises DomainError when there is none of that name."""
        with self._changing:
            if name not in self._banks:
                raise DomainError(f"No route {name!r} is attached.", f"Attached: {', '.join(self._banks) or 'none'}.")
            self._banks = {other: bank for other, bank in self._banks.items() if other != name}

    def route(self, questions: Sequence[str]) -> list[Route]:
        """The route of each question with every route's score; raises DomainError when nothing is attached."""
        return self.route_embeddings(self.encoder.encode(questions))

    def route_embeddings(self, embeddings: Float[Tensor, "n d"]) -> list[Route]:
        """`route` for questions that are encoded already."""
        layout = self._current()
        scores = _match(layout, embeddings)
        names = list(layout.index)
        rows = scores.numpy()
        return [
            Route(names[best], Scores(layout.index, row))
            for best, row in zip(_first_best(scores).tolist(), rows, strict=True)
        ]

    def match(self, embeddings: Float[Tensor, "n d"]) -> Float[Tensor, "n routes"]:
        """The score of every route, columns as in `routes`: the cosine similarity to its nearest prototype."""
        return _match(self._current(), embeddings)

    def _current(self) -> _Layout:
        banks, layout = self._banks, self._layout
        if layout is None or layout.banks is not banks:
            layout = self._layout = _laid_out(banks)
        return layout


def _checked(name: str, bank: Tensor, encoder: Encoder) -> Tensor:
    mend = f"Build its prototypes again: gag prototypes {name}"
    if bank.ndim != 2 or not len(bank) or bank.shape[1] != encoder.dimension:
        raise DomainError(
            f"The prototypes of {name!r} have the shape {list(bank.shape)}; "
            f"the encoder {encoder.name} gives vectors of {encoder.dimension}.",
            mend,
        )
    bank = bank.detach().to("cpu", torch.float32, copy=True)  # what its owner does with it later must not matter
    if not bool(((bank.norm(dim=1) - 1).abs() < 1e-3).all()):
        raise DomainError(f"The prototypes of {name!r} are not unit vectors.", mend)
    return bank


def _laid_out(banks: Mapping[str, Tensor]) -> _Layout:
    if not banks:
        raise DomainError("The router has no route.", "Attach the general route, or a domain.")
    padded = [_padded(bank) for bank in banks.values()]
    rows = torch.cat(padded)  # [blocks * BLOCK, d]
    matrix = rows.view(-1, BLOCK, rows.shape[1]).permute(2, 1, 0).reshape(rows.shape[1], -1).contiguous()
    blocks = torch.tensor([len(bank) // BLOCK for bank in padded])
    owner = None if bool((blocks == 1).all()) else torch.repeat_interleave(torch.arange(len(blocks)), blocks)
    return _Layout(banks, {name: i for i, name in enumerate(banks)}, matrix, owner)


def _padded(bank: Tensor) -> Tensor:
    """`bank` with its first prototype repeated up to a multiple of BLOCK, which changes no maximum."""
    missing = -len(bank) % BLOCK
    return torch.cat([bank, bank[:1].expand(missing, -1)]) if missing else bank


@torch.no_grad()
def _match(layout: _Layout, embeddings: Tensor) -> Tensor:
    matrix = layout.matrix
    if embeddings.ndim != 2 or embeddings.shape[1] != matrix.shape[0]:
        raise DomainError(
            f"Embeddings of shape {list(embeddings.shape)} do not fit prototypes of length {matrix.shape[0]}.",
            "Encode the questions with the router's own encoder.",
        )
    embeddings = embeddings.detach().to("cpu", torch.float32)
    chunk = max(1, min(256, _CHUNK_SCORES // matrix.shape[1]))
    scores = torch.empty(len(embeddings), len(layout.index))
    for start in range(0, len(embeddings), chunk):
        best = _block_best(matrix, embeddings[start : start + chunk])
        if layout.owner is not None:
            owner = layout.owner.expand(len(best), -1)
            best = torch.full((len(best), scores.shape[1]), -torch.inf).scatter_reduce_(1, owner, best, "amax")
        scores[start : start + chunk] = best
    return scores


def _block_best(matrix: Tensor, embeddings: Tensor) -> Tensor:
    """Best similarity in every block, `[n, blocks]`; the order of the product is whichever is faster for n."""
    n, blocks = len(embeddings), matrix.shape[1] // BLOCK
    if n <= _FEW:
        return (embeddings @ matrix).view(n, BLOCK, blocks).amax(1)
    return (matrix.T @ embeddings.T).view(BLOCK, blocks, n).amax(0).T


def _first_best(scores: Float[Tensor, "n routes"]) -> Tensor:
    """The earliest route within TIE of the best."""
    near = scores >= scores.amax(1, keepdim=True) - TIE
    return near.to(torch.uint8).argmax(1)
