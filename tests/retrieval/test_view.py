"""Which passages are scored exactly, from scores given by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gag.retrieval.view import SearchView

# By word row 0 is first and by mean vector row 9, each the very last by the other; row 4 is second by both.
BY_WORD = [5.0, 4.0, 4.1, 4.2, 4.9, 4.3, 4.4, 4.5, 4.6, 0.0]
BY_MEAN = [-0.9, 0.2, 0.3, 0.1, 0.8, 0.4, 0.5, 0.3, 0.2, 0.9]


class GivenScores:
    """A Lexical that gives what it was given."""

    def __init__(self, scores: list[float]) -> None:
        self.given = np.array(scores, dtype=np.float32)

    def scores(self, question: str) -> np.ndarray:
        return self.given


def view(by_word: list[float], by_mean: list[float], lengths: list[float] | None = None) -> SearchView:
    """Mean vectors in the plane whose cosines with the first axis are `by_mean`."""
    cosines = torch.tensor(by_mean)
    means = torch.stack([cosines, (1 - cosines**2).sqrt()], dim=1)
    nothing: Any = None
    given: Any = GivenScores(by_word)
    return SearchView(nothing, means * torch.tensor(lengths or [1.0] * len(by_mean))[:, None], given)


def chosen(of: SearchView, count: int) -> list[int]:
    return of.candidates("", torch.tensor([[0.5, 0.0], [0.5, 0.0]]), count).tolist()


def test_a_third_by_words_a_third_by_mean_vectors_and_the_others_by_both() -> None:
    given = view(BY_WORD, BY_MEAN)
    assert chosen(given, 1) == [4]
    assert chosen(given, 3) == [0, 4, 9]
    assert {0, 4, 9} < set(chosen(given, 6)) and len(chosen(given, 6)) == 6


def test_a_mean_vector_counts_by_its_direction() -> None:
    assert chosen(view([0.0] * 10, BY_MEAN, lengths=[1, 9, 9, 9, 1, 9, 9, 9, 9, 0.1]), 2) == [4, 9]


def test_without_a_shared_word_all_are_by_mean_vector() -> None:
    assert chosen(view([0.0] * 10, BY_MEAN), 3) == [4, 6, 9]


def test_a_small_store_is_scored_whole() -> None:
    assert chosen(view(BY_WORD, BY_MEAN), 10) == chosen(view(BY_WORD, BY_MEAN), 99) == list(range(10))
