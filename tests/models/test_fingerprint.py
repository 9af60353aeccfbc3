"""Fingerprints name weights across dtypes and wrappers; the checksum sees a single byte."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from gag.errors import RunError
from gag.models.fingerprint import frozen, identity_fingerprint, weights_checksum
from gag.testing import FAMILIES, tiny_causal_lm

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft


@pytest.mark.parametrize("family", FAMILIES)
def test_identity_is_the_same_in_float32_and_bfloat16(family: str) -> None:
    single = identity_fingerprint(tiny_causal_lm(family))
    half = identity_fingerprint(tiny_causal_lm(family).to(torch.bfloat16))
    assert single == half
    assert identity_fingerprint(tiny_causal_lm(family, seed=1)) != single


def test_identity_by_hand() -> None:
    model = torch.nn.Linear(2, 1)
    lines = []
    for name, value in (("bias", model.bias), ("weight", model.weight)):
        data = value.detach().to(torch.bfloat16).view(torch.int16).numpy().tobytes()
        lines.append(f"{name} {tuple(value.shape)} {hashlib.sha256(data).hexdigest()}\n")
    assert identity_fingerprint(model) == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_identity_looks_through_peft() -> None:
    bare = tiny_causal_lm()
    expected = identity_fingerprint(bare)
    wrapped = get_peft_model(bare, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert identity_fingerprint(wrapped) == expected


def test_identity_of_all_models_differs() -> None:
    found = {identity_fingerprint(tiny_causal_lm(family, seed=seed)) for family in FAMILIES for seed in (0, 1)}
    assert len(found) == 2 * len(FAMILIES)


def test_checksum_sees_one_bit_of_a_parameter_and_of_a_persistent_buffer() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    seen = {weights_checksum(model)}
    with torch.no_grad():
        model[0].weight.view(torch.int32)[0, 0] ^= 1
        seen.add(weights_checksum(model))
        model[1].running_mean[0] = 1e-7
        seen.add(weights_checksum(model))
    model[1].register_buffer("scratch", torch.ones(2), persistent=False)
    seen.add(weights_checksum(model))
    assert len(seen) == 3


def test_checksum_knows_the_dtype() -> None:
    model = torch.nn.Linear(2, 2)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    other = torch.nn.Linear(2, 2)
    other.load_state_dict(model.state_dict())
    assert weights_checksum(model) == weights_checksum(other)
    assert weights_checksum(model) != weights_checksum(other.half())


def test_frozen_names_the_model_that_changed() -> None:
    model = tiny_causal_lm()
    with frozen(model, "the base"):
        model(torch.arange(4)[None])
    with pytest.raises(RunError, match="the base changed"), frozen(model, "the base"), torch.no_grad():
        next(model.parameters()).add_(1e-3)


def test_frozen_does_not_hide_the_bodys_own_error() -> None:
    model = tiny_causal_lm()

    def body() -> None:
        with frozen(model, "the base"), torch.no_grad():
            next(model.parameters()).add_(1)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        body()


def test_tied_weights_count_once(tmp_path: Path) -> None:
    tied = tiny_causal_lm("llama")
    names = [name for name, _ in tied.named_parameters()]
    assert "lm_head.weight" not in names
    for left, right in itertools.pairwise([identity_fingerprint(tied), identity_fingerprint(tiny_causal_lm("llama"))]):
        assert left == right
