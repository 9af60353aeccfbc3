"""How ids become windows, by hand."""

from __future__ import annotations

import pytest

from gag.retrieval.layout import Layout

T, F = True, False


def test_a_question_is_filled_up_with_masks_that_are_kept_and_not_attended_to() -> None:
    layout = Layout((1, 2), (3,), limit=20, own_kept=True, filler=9, fill_to=8)
    (window,) = layout.windows([50, 51])
    assert window.ids == (1, 2, 50, 51, 3, 9, 9, 9)
    assert window.attended == (T, T, T, T, T, F, F, F)
    assert window.kept == (T,) * 8


def test_masks_may_be_attended_to() -> None:
    layout = Layout((1, 2), (3,), limit=20, own_kept=True, filler=9, fill_to=8, filler_attended=True)
    assert layout.windows([50])[0].attended == (T,) * 8


@pytest.mark.parametrize("length", [5, 6, 17])
def test_a_question_of_full_length_has_no_masks_and_is_not_cut(length: int) -> None:
    layout = Layout((1, 2), (3,), limit=20, own_kept=True, filler=9, fill_to=8)
    (window,) = layout.windows(range(100, 100 + length))
    assert window.ids == (1, 2, *range(100, 100 + length), 3)


def test_skipped_ids_are_read_and_give_no_vector() -> None:
    layout = Layout((1, 2), (3,), limit=20, own_kept=True, skipped=frozenset({50, 1}))
    (window,) = layout.windows([50, 51, 50])
    assert window.ids == (1, 2, 50, 51, 50, 3)
    assert window.kept == (T, T, F, T, F, T)  # 1 is the window's own, not the text's


def test_own_ids_give_no_vectors_unless_asked_for() -> None:
    assert Layout((1,), (3,), limit=9).windows([5, 6])[0].kept == (F, T, T, F)


def test_an_empty_text_keeps_what_is_around_it() -> None:
    (window,) = Layout((1,), (3,), limit=9).windows([])
    assert (window.ids, window.kept) == ((1, 3), (T, T))


@pytest.mark.parametrize(("length", "parts"), [(7, [7]), (8, [4, 4]), (15, [5, 5, 5]), (22, [5, 6, 5, 6])])
def test_a_long_text_is_cut_into_as_few_windows_of_equal_length(length: int, parts: list[int]) -> None:
    layout = Layout((1, 2), (3,), limit=10)
    windows = layout.windows(range(100, 100 + length))
    assert [len(window.ids) - 3 for window in windows] == parts
    assert [token for window in windows for token in window.ids[2:-1]] == list(range(100, 100 + length))
    assert all(window.ids[:2] == (1, 2) and window.ids[-1] == 3 for window in windows)
