"""Whether an expert knows a domain's pairs: their answers against what it writes, which a build has read anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from gag.evaluation.metrics import METRICS
from gag.records import Question
from gag.training.states import StateStore

TOO_LITTLE = 0.6
"""Mean token F1 below which an expert does not know its pairs: invented facts had 0.89 to 0.99 where it had learnt
them, 0.48 where too high a learning rate had kept it from that (docs/results.md, "Recall against the number of
facts")."""


@dataclass(frozen=True)
class Learnt:
    """Means over so many pairs: the share whose answer stands in the background, and the token F1 of the two."""

    pairs: int
    contains: float
    token_f1: float

    def __str__(self) -> str:
        return (
            f"the answers of {self.contains:.1%} of {self.pairs:,} pairs stand in what the expert writes "
            f"(token F1 {self.token_f1:.1%})"
        )

    @property
    def enough(self) -> bool:
        """Whether what the expert writes can carry the answers at all."""
        return self.token_f1 >= TOO_LITTLE


def learnt(store: StateStore, pairs: Sequence[Question]) -> Learnt | None:
    """Compare the backgrounds that `store` has for `pairs` with their answers; None without pairs."""
    if not pairs:
        return None
    said = [(store.background(pair.question), pair.answers) for pair in pairs]
    contains, token_f1 = (
        fmean(METRICS[name](background, answers) for background, answers in said) for name in ("contains", "token_f1")
    )
    return Learnt(len(said), contains, token_f1)
