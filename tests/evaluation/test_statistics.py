"""Bootstrap intervals against theory, and their edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gag.errors import InputError
from gag.evaluation import statistics
from gag.evaluation.statistics import Interval, mean_interval, paired_difference


def test_the_interval_agrees_with_the_normal_approximation() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, size=400)
    interval = mean_interval(values, resamples=4000)
    error = values.std() / math.sqrt(400)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)
    assert (interval.n, interval.units) == (400, 400)


def test_a_wider_level_is_wider() -> None:
    values = [0.0, 1.0] * 30
    narrow, wide = mean_interval(values, level=0.5), mean_interval(values, level=0.99)
    assert wide.low < narrow.low < 0.5 < narrow.high < wide.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    samples = rng.random((300, 60)) < 0.4
    intervals = [mean_interval(sample.astype(float), resamples=300) for sample in samples]
    covered = np.mean([i.low <= 0.4 <= i.high for i in intervals])
    assert 0.9 <= covered <= 0.98


def test_same_seed_same_interval_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).random(50)
    first = mean_interval(values, seed=7)
    assert mean_interval(list(values), seed=7) == first
    assert mean_interval(values, seed=8) != first
    monkeypatch.setattr(statistics, "_DRAWS_AT_ONCE", 130)
    assert mean_interval(values, seed=7) == first


def test_one_value_and_constant_values_have_no_width() -> None:
    assert mean_interval([0.3]) == Interval(0.3, 0.3, 0.3, n=1, units=1)
    assert not mean_interval([0.3]).excludes_zero  # one question proves nothing
    constant = mean_interval([0.1] * 7)
    assert constant.low == constant.mean == constant.high == 0.1
    assert constant.excludes_zero
    assert not mean_interval([0.0] * 7).excludes_zero
    assert mean_interval([0.5] * 6).excludes_zero
    assert not mean_interval([0.5] * 5).excludes_zero  # by chance alone all five agree once in sixteen times
    assert not mean_interval([0.5] * 20, clusters=[n % 5 for n in range(20)]).excludes_zero


def test_pairing_cancels_what_is_hard_for_both() -> None:
    rng = np.random.default_rng(5)
    hardness = rng.normal(0, 10, size=80)
    a, b = hardness + rng.normal(0.5, 0.3, size=80), hardness + rng.normal(0, 0.3, size=80)
    difference = paired_difference(a, b)
    assert difference.mean == pytest.approx(a.mean() - b.mean())
    assert difference.low > 0.3
    assert difference.high < 0.7
    assert difference.excludes_zero
    backwards = paired_difference(b, a)
    assert backwards.excludes_zero
    assert backwards.high < 0
    assert not paired_difference(a, a).excludes_zero
    assert not paired_difference(hardness, rng.permutation(hardness)).excludes_zero


def test_clusters_are_drawn_whole() -> None:
    facts = [0.0, 1.0] * 20
    values = [fact for fact in facts for _ in range(5)]
    keys = [f"fact-{i}" for i in range(40) for _ in range(5)]
    clustered, naive = mean_interval(values, clusters=keys), mean_interval(values)
    assert clustered.mean == naive.mean == 0.5
    assert (clustered.n, clustered.units) == (200, 40)
    ratio = (clustered.high - clustered.low) / (naive.high - naive.low)
    assert ratio == pytest.approx(math.sqrt(5), rel=0.15)
    # Clusters of equal size are the same draw as their means.
    per_fact = mean_interval(facts)
    assert (clustered.low, clustered.high) == (per_fact.low, per_fact.high)


def test_clusters_of_one_are_the_plain_bootstrap_and_order_of_keys_is_free() -> None:
    values = np.random.default_rng(2).random(30)
    plain = mean_interval(values)
    assert mean_interval(values, clusters=list(range(30))) == plain
    assert mean_interval(values, clusters=[("f", i) for i in range(30)]) == plain
    assert mean_interval([1.0, 0.0, 1.0], clusters=["x", "y", "x"]).units == 2


def test_unequal_clusters_keep_the_mean_over_questions() -> None:
    interval = mean_interval([1.0, 1.0, 1.0, 0.0], clusters=["a", "a", "a", "b"])
    assert interval.mean == 0.75
    assert (interval.low, interval.high) == (0.0, 1.0)
    single = mean_interval([1.0, 0.5], clusters=["a", "a"])
    assert single == Interval(0.75, 0.75, 0.75, n=2, units=1)
    assert not single.excludes_zero


def test_paired_difference_takes_clusters() -> None:
    keys = ["a"] * 10 + ["b"] * 10
    assert paired_difference([1.0] * 20, [0.5] * 20, clusters=keys).units == 2


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "no mean over values"),
        ([[1.0]], {}, "shape"),
        ([1.0, math.nan, math.inf], {}, r"values\[1\] is nan, not a finite number \(2 such"),
        ([1.0, 2.0], {"clusters": ["a"]}, "1 cluster keys were given for 2 values"),
        ([1.0], {"resamples": 0}, "0 resamples"),
        ([1.0], {"level": 1.0}, "level 1.0"),
    ],
)
def test_what_cannot_be_averaged_is_refused(values: list[float], options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mean_interval(values, **options)  # type: ignore[arg-type]


def test_unpaired_lists_are_refused() -> None:
    with pytest.raises(InputError, match="3 and 2 values"):
        paired_difference([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(InputError, match=r"b\[0\] is inf"):
        paired_difference([1.0], [math.inf])
