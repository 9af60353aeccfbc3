"""The projector's warm start: a regression from states to the base's embeddings of the background's segments."""

from __future__ import annotations

import pytest
import torch

from gag.config import Config, ProjectorConfig, parse_config
from gag.errors import ConfigError
from gag.models.projector import Projector, ProjectorShape
from gag.models.readout import segment_embeddings


def test_segments_of_embeddings() -> None:
    table = torch.arange(10.0).unsqueeze(1).expand(10, 3)
    out = segment_embeddings([2, 4, 6, 8], table, 2)
    assert out.tolist() == [[3.0] * 3, [7.0] * 3]
    assert segment_embeddings([5], table, 3).tolist() == [[5.0] * 3] * 3


def test_warm_start_recovers_a_linear_map() -> None:
    torch.manual_seed(0)
    states = list(torch.randn(400, 2, 1, 16))
    mixing = torch.randn(16, 12)
    normalised = torch.nn.functional.layer_norm(torch.stack(states).squeeze(2), (16,))
    targets = normalised @ mixing
    config = ProjectorConfig(kind="gated_residual", warm_start="regression", normalize_input="none", ridge=1e-6)
    projector = Projector(config, ProjectorShape(16, 12, 2, 1))
    projector.initialise(states, torch.randn(50, 12), targets)
    out = projector.eval()(torch.stack(states))
    assert (out - targets).square().mean() < 1e-3 * targets.square().mean()


def test_without_targets_the_first_outputs_have_the_configured_size() -> None:
    torch.manual_seed(0)
    embedding = torch.randn(50, 12) * 3
    config = ProjectorConfig(kind="gated_residual", output_scale=0.1)
    projector = Projector(config, ProjectorShape(16, 12, 2, 1))
    states = list(torch.randn(64, 2, 1, 16))
    projector.initialise(states, embedding)
    moved = projector.eval()(torch.stack(states)) - projector.slot_vectors
    typical = embedding.norm(dim=-1).median()
    assert float(moved.detach().norm(dim=-1).mean()) == pytest.approx(0.1 * float(typical), rel=0.05)


def test_other_kinds_refuse_it() -> None:
    with pytest.raises(ConfigError, match="warm_start needs"):
        parse_config({"projector": {"warm_start": "regression"}}, origin="here")
    assert Config().projector.warm_start == "none"
