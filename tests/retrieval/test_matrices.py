"""MaxSim over passages of different lengths, read from one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from gag.errors import RunError
from gag.retrieval import matrices
from gag.retrieval.late_interaction import maxsim
from gag.retrieval.matrices import TokenMatrices

LENGTHS = [3, 1, 40, 7, 7, 2, 19]


@pytest.fixture
def stored(tmp_path: Path) -> tuple[list[Tensor], Path]:
    """Half-precision matrices of 6 dimensions and the file that holds them."""
    generator = torch.Generator().manual_seed(3)
    made = [normalize(torch.randn(length, 6, generator=generator), dim=1).half() for length in LENGTHS]
    path = tmp_path / "tokens.f16"
    path.write_bytes(b"".join(matrix.numpy().tobytes() for matrix in made))
    return made, path


@pytest.mark.parametrize("slice_size", [1, 50, 2**20])
def test_every_score_is_exact_however_it_is_sliced(
    slice_size: int, stored: tuple[list[Tensor], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrices, "SLICE", slice_size)
    made, path = stored
    found = TokenMatrices(path, np.array(LENGTHS), 6)
    generator = torch.Generator().manual_seed(4)
    queries = [-made[0][:1].float(), normalize(torch.randn(5, 6, generator=generator), dim=1)]  # the first all below 0
    for rows in ([0, 1, 2, 3, 4, 5, 6], [6, 2, 2, 0], [1]):
        wanted = [[maxsim(query, made[row]) for row in rows] for query in queries]
        assert torch.allclose(found.maxsims(queries, np.array(rows)), torch.tensor(wanted), atol=1e-5)
        assert torch.allclose(found.maxsim(queries[1], np.array(rows)), torch.tensor(wanted[1]), atol=1e-5)


def test_similarities_below_zero_are_not_hidden_by_padding(tmp_path: Path) -> None:
    path = tmp_path / "tokens.f16"
    path.write_bytes(np.array([[-1, 0], [-1, 0], [-0.6, 0.8]], dtype=np.float16).tobytes())
    scores = TokenMatrices(path, np.array([1, 2]), 2).maxsim(torch.tensor([[1.0, 0.0]]), np.array([0, 1]))
    assert torch.allclose(scores, torch.tensor([-1.0, -0.6]), atol=1e-3)


def test_a_file_of_another_size_is_refused(stored: tuple[list[Tensor], Path]) -> None:
    _, path = stored
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(RunError, match="bytes instead of") as caught:
        TokenMatrices(path, np.array(LENGTHS), 6)
    assert "Delete" in caught.value.hint
    with pytest.raises(RunError, match="No such file"):
        TokenMatrices(path.with_name("other"), np.array(LENGTHS), 6)


def test_a_file_that_shrinks_while_it_is_read_is_refused(stored: tuple[list[Tensor], Path]) -> None:
    _, path = stored
    found = TokenMatrices(path, np.array(LENGTHS), 6)
    with path.open("r+b") as file:
        file.truncate(40)
    with pytest.raises(RunError, match="too early"):
        found.maxsim(torch.ones(1, 6), np.arange(7))
