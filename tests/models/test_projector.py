"""Every projector: shapes, masks, a start of the right size, gradients everywhere, and the same again from disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gag.config import ProjectorConfig
from gag.models.projector import ConstantToken, Projector, ProjectorShape, projector_from_tensors, stacked_states

KINDS = ("mlp", "gated_residual", "attention")
NORMALISED = ("none", "layer_norm", "standardize")
SIZES = [(1, 1), (4, 1), (1, 3), (3, 2)]


def made(kind: str, slots: int = 2, layers: int = 3, **choices: object) -> Projector:
    torch.manual_seed(0)
    config = ProjectorConfig.model_validate({"kind": kind, "hidden": 24, **choices})
    return Projector(config, ProjectorShape(16, 32, slots, layers))


def batch(projector: Projector, count: int = 5) -> tuple[Tensor, Tensor]:
    """States and mask as a store gives them: all tokens of 1 to `count` for attention, one a slot else."""
    generator = torch.Generator().manual_seed(1)
    shape = projector.shape
    lengths = range(1, count + 1) if projector.config.kind == "attention" else [shape.slots] * count
    states = [torch.randn(n, shape.layers, 16, generator=generator) for n in lengths]
    return stacked_states(states, torch.device("cpu"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("slots", "layers"), SIZES)
def test_one_vector_a_slot(kind: str, slots: int, layers: int) -> None:
    projector = made(kind, slots, layers)
    states, mask = batch(projector)
    out = projector(states, mask)
    assert out.shape == (5, slots, 32)
    assert out.dtype == torch.float32
    assert projector(states.bfloat16(), mask).dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalised", NORMALISED)
@pytest.mark.parametrize("layers", [1, 3])
def test_gradients_reach_every_parameter(kind: str, normalised: str, layers: int) -> None:
    projector = made(kind, layers=layers, normalize_input=normalised)
    states, mask = batch(projector)
    projector(states, mask).square().sum().backward()
    idle = [n for n, p in projector.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert idle == (["layer_mix"] if layers == 1 else [])  # one layer leaves nothing to mix
    assert not projector.state_mean.requires_grad


@pytest.mark.parametrize("normalised", NORMALISED)
@pytest.mark.parametrize("layers", [1, 3])
def test_attention_does_not_see_padding(normalised: str, layers: int) -> None:
    projector = made("attention", layers=layers, normalize_input=normalised).eval()
    states, mask = batch(projector)
    out = projector(states, mask)
    wild = torch.where(mask[:, :, None, None], states, 1e4)
    torch.testing.assert_close(projector(wild, mask), out)
    for row, length in enumerate(mask.sum(1).tolist()):
        single = projector(states[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(single[0], out[row])
    assert not torch.allclose(projector(wild, torch.ones_like(mask))[0], out[0])


def test_attention_needs_its_mask() -> None:
    with pytest.raises(ValueError, match="mask"):
        made("attention")(torch.zeros(1, 2, 3, 16))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalised", NORMALISED)
def test_the_same_again_from_disk(tmp_path: Path, kind: str, normalised: str) -> None:
    projector = made(kind, normalize_input=normalised, dropout=0.5)
    states, mask = batch(projector)
    projector.initialise([s[m] for s, m in zip(states, mask, strict=True)], torch.randn(50, 32))
    save_file(projector.state_dict(), tmp_path / "p.safetensors")
    again = projector_from_tensors(projector.config, projector.shape, load_file(tmp_path / "p.safetensors"))
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    torch.testing.assert_close(again(states, mask), projector.eval()(states, mask), rtol=1e-6, atol=1e-6)


def test_tensors_of_another_shape_are_refused() -> None:
    tensors = made("mlp").state_dict()
    with pytest.raises(RuntimeError):
        projector_from_tensors(ProjectorConfig(kind="mlp", hidden=24), ProjectorShape(16, 40, 2, 3), tensors)
    with pytest.raises(RuntimeError):
        projector_from_tensors(ProjectorConfig(kind="attention", hidden=24), ProjectorShape(16, 32, 2, 3), tensors)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0.1, 0.5])
def test_the_first_outputs_are_an_embedding_long_and_vary_by_the_scale(kind: str, scale: float) -> None:
    projector = made(kind, output_scale=scale)
    length = 3.0
    table = torch.nn.functional.normalize(torch.randn(64, 32), dim=-1) * length
    states = 5 + 7 * torch.randn(200, 3, 16)
    given = states.unsqueeze(1) if kind == "attention" else states.unsqueeze(1).expand(-1, 2, -1, -1)
    projector.initialise(list(given), table)
    torch.testing.assert_close(projector.slot_vectors.norm(dim=-1), torch.full((2,), length))
    assert not torch.allclose(projector.slot_vectors[0], projector.slot_vectors[1])
    with torch.no_grad():
        added = projector.eval()(given, torch.ones(given.shape[:2], dtype=torch.bool)) - projector.slot_vectors
    assert added.norm(dim=-1).mean().item() == pytest.approx(scale * length, rel=0.15)


def test_standardised_states_have_no_mean_and_unit_deviation() -> None:
    projector = made("mlp", layers=2)
    states = torch.tensor([2.0, -3.0])[:, None] + torch.tensor([4.0, 0.5])[:, None] * torch.randn(4000, 2, 16)
    projector.initialise(list(states.unsqueeze(1).expand(-1, 2, -1, -1)), torch.randn(50, 32))
    seen: list[Tensor] = []
    projector.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        projector.layer_mix.copy_(torch.tensor([[1e4, 0.0], [0.0, 1e4]]))
    projector(states[:, None].expand(-1, 2, -1, -1))
    assert seen[0].mean((0, 2)).abs().max().item() < 0.05
    torch.testing.assert_close(seen[0].std((0, 2)), torch.ones(2), rtol=0.05, atol=0)
    one = made("mlp", slots=1)
    one.initialise([torch.randn(1, 3, 16)], torch.randn(50, 32))
    assert torch.equal(one.state_deviation, torch.ones(3, 16))


def test_a_warm_start_is_the_ridge_regression_to_its_targets() -> None:
    """States that are a linear map of the targets are mapped back, before any training; much ridge gives the mean."""
    torch.manual_seed(3)
    targets = torch.randn(200, 2, 8)
    states = [torch.cat([t, -t], dim=-1).unsqueeze(1).expand(-1, 3, -1) for t in targets]
    for ridge, tolerance in ((1e-6, 1e-2), (1e6, None)):
        chosen = ProjectorConfig(kind="gated_residual", ridge=ridge, warm_start="regression", normalize_input="none")
        projector = Projector(chosen, ProjectorShape(16, 8, 2, 3))
        projector.network.norm = torch.nn.Identity()  # type: ignore[assignment]
        projector.initialise(states, torch.randn(50, 8), targets)
        with torch.no_grad():
            out = projector.eval()(torch.stack(states))
        if tolerance is not None:
            torch.testing.assert_close(out, targets, rtol=tolerance, atol=tolerance)
        else:
            torch.testing.assert_close(out, targets.mean((0, 1)).expand_as(out), rtol=1e-2, atol=1e-2)


def test_the_control_does_not_look_at_the_states() -> None:
    torch.manual_seed(0)
    table = 3 * torch.nn.functional.normalize(torch.randn(50, 32), dim=-1)
    token = ConstantToken(2, table)
    torch.testing.assert_close(token.slot_vectors.norm(dim=-1), torch.full((2,), 3.0))
    out = token(torch.randn(4, 7, 1, 16), torch.ones(4, 7, dtype=torch.bool))
    assert out.shape == (4, 2, 32)
    assert torch.equal(out, token(torch.zeros(4, 1, 1, 1)))


def test_layers_are_mixed_by_slot() -> None:
    """With the whole weight of slot 0 on layer 2 nothing else of its states matters; slot 1 sees layer 0 alone."""
    projector = made("mlp", normalize_input="none").eval()
    with torch.no_grad():
        projector.layer_mix.copy_(torch.tensor([[0.0, 0.0, 1e4], [1e4, 0.0, 0.0]]))
    states, _ = batch(projector)
    other = states + torch.randn_like(states)
    other[:, 0, 2] = states[:, 0, 2]
    same = projector(states)[:, 0], projector(other)[:, 0]
    assert torch.equal(*same)
    assert not torch.allclose(projector(states)[:, 1], projector(other)[:, 1])


def test_dropout_is_for_training() -> None:
    for kind in KINDS:
        projector = made(kind, dropout=0.5)
        states, mask = batch(projector)
        assert not torch.equal(projector(states, mask), projector(states, mask))
        projector.eval()
        assert torch.equal(projector(states, mask), projector(states, mask))


@pytest.mark.parametrize("heads", [1, 4, 8, 3])
def test_heads_that_do_not_divide_the_width_are_fewer(heads: int) -> None:
    projector = made("attention", heads=heads)
    assert projector.pool is not None
    assert projector.pool.heads == {1: 1, 4: 4, 8: 8, 3: 1}[heads]
    states, mask = batch(projector)
    assert projector(states, mask).shape == (5, 2, 32)


def test_stacked_states_are_padded_with_zeros() -> None:
    states, mask = stacked_states([torch.ones(2, 1, 3).bfloat16(), torch.ones(4, 1, 3)], torch.device("cpu"))
    assert states.shape == (2, 4, 1, 3) and states.dtype == torch.float32
    assert mask.tolist() == [[True, True, False, False], [True] * 4]
    assert torch.equal(states[..., 0, 0].bool(), mask)
