"""Attention while training on a CPU: eager for short examples, the model's own for long ones and afterwards."""

from __future__ import annotations

import pytest

from gag.models.attention import LONGEST_EAGER, training_attention
from gag.testing import tiny_causal_lm


@pytest.mark.parametrize(
    ("chosen", "longest", "during"),
    [
        ("sdpa", 10, "eager"),
        ("sdpa", LONGEST_EAGER, "eager"),
        ("sdpa", LONGEST_EAGER + 1, "sdpa"),
        ("eager", 9999, "eager"),
    ],
)
def test_which_is_used(chosen: str, longest: int, during: str) -> None:
    model = tiny_causal_lm("llama")
    model.set_attn_implementation(chosen)
    with training_attention(model, longest):
        assert model.config._attn_implementation == during
    assert model.config._attn_implementation == chosen
