"""Means with bootstrap intervals, and paired differences between two methods on the same questions.

Percentile bootstrap (Efron). With `clusters`, whole clusters are resampled: questions that ask for the same fact are
right or wrong together, and counting them as independent would make the interval too narrow.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gag.errors import InputError

_DRAWS_AT_ONCE = 2_000_000  # random indices held at a time: 16 MB each for the indices, sums and sizes

FEWEST = 6
"""Independent units that can show a difference: of five, chance alone leans all to one side once in sixteen times."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over `n` questions and the ends of its interval; `units` is how many independent units were resampled.

    `units` is the number of clusters where there are any, else `n`. With one unit the interval has no width and
    says nothing; of a few that happen to agree the bootstrap makes too narrow a one.
    """

    mean: float
    low: float
    high: float
    n: int
    units: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero; never so with fewer than FEWEST units."""
        return self.units >= FEWEST and (self.low > 0 or self.high < 0)


def mean_interval(
    values: Sequence[float] | Floats,
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The mean of `values` (one a question) with its percentile-bootstrap interval; the same seed gives the same ends.

    With `clusters` (one key a value), clusters are drawn instead of values, and the mean stays over values. Constant
    values give an interval of no width. Raises InputError for no values, values that are not finite, a number of
    keys other than that of the values, fewer than one resample, or a level outside (0, 1).
    """
    data = _checked(values, "values")
    if resamples < 1 or not 0 < level < 1:
        raise InputError(
            f"A bootstrap with {resamples} resamples at level {level} is not possible.",
            "Take at least one resample and a level between 0 and 1, such as 2000 and 0.95.",
        )
    sums, sizes = _by_cluster(data, clusters)
    means = _resampled_means(sums, sizes, resamples, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    # Rounding must not push the ends of a constant sample past its mean.
    mean = float(np.clip(data.sum() / data.size, data.min(), data.max()))
    low, high = np.clip([low, high], data.min(), data.max())
    return Interval(mean=mean, low=float(low), high=float(high), n=data.size, units=sums.size)


def paired_difference(
    a: Sequence[float] | Floats,
    b: Sequence[float] | Floats,
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The mean of a - b, where a[i] and b[i] are two methods' values on the same question, with a paired bootstrap.

    Both methods are resampled by the same questions (or clusters of them), so what makes a question hard for both
    cancels. Raises InputError as `mean_interval` does, and for a and b of different lengths.
    """
    left, right = _checked(a, "a"), _checked(b, "b")
    if left.size != right.size:
        raise InputError(
            f"A paired difference of {left.size} and {right.size} values is not possible.",
            "Score both methods on the same questions, in the same order.",
        )
    return mean_interval(left - right, clusters=clusters, resamples=resamples, seed=seed, level=level)


def _checked(values: Sequence[float] | Floats, name: str) -> Floats:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.size == 0:
        raise InputError(
            f"There is no mean over {name} of shape {data.shape}.", "Give one number a question, at least one."
        )
    wrong = np.flatnonzero(~np.isfinite(data))
    if wrong.size:
        raise InputError(
            f"{name}[{wrong[0]}] is {data[wrong[0]]}, not a finite number ({wrong.size} such in all).",
            "Look at that question's answer: a score must be a number.",
        )
    return data


def _by_cluster(data: Floats, clusters: Sequence[Hashable] | None) -> tuple[Floats, Floats]:
    """Sum and size of every resampled unit, each `[units]`; the units in order of first appearance."""
    if clusters is None:
        return data, np.ones_like(data)
    if len(clusters) != data.size:
        raise InputError(
            f"{len(clusters)} cluster keys were given for {data.size} values.", "Give one key a value, in order."
        )
    index: dict[Hashable, int] = {}
    member = np.array([index.setdefault(key, len(index)) for key in clusters])
    return np.bincount(member, weights=data).astype(np.float64), np.bincount(member).astype(np.float64)


def _resampled_means(sums: Floats, sizes: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    units = sums.size
    rows = max(1, _DRAWS_AT_ONCE // units)
    means = np.empty(resamples)
    for start in range(0, resamples, rows):
        drawn = rng.integers(0, units, size=(min(rows, resamples - start), units))
        means[start : start + rows] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return means
