"""One small model serves many domains under adapters; no domain's readings change when others come and go."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from gag.config import ModelConfig, PromptsConfig, ReadoutConfig
from gag.errors import ModelError
from gag.models.expert import Expert
from gag.models.experts import ExpertPool, with_adapter
from gag.models.loading import load_causal_lm
from gag.prompts import Prompts
from gag.testing import tiny_causal_lm, write_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

PROMPTS = Prompts(PromptsConfig(), "alloys", "")
READOUT = ReadoutConfig(pooling="none", layers=(-1,), max_new_tokens=4)


def write_adapter(folder: Path, seed: int, *, hidden_size: int = 32) -> Path:
    """A LoRA whose update is not zero."""
    model = get_peft_model(
        tiny_causal_lm(hidden_size=hidden_size),
        LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(write_tiny_model(tmp_path / "small"))


def pool_of(source: str, dtype: str = "float32") -> ExpertPool:
    return ExpertPool(ModelConfig.model_validate({"source": source, "dtype": dtype, "device": "cpu"}))


def states(expert: Expert) -> Tensor:
    return expert.read(["What is Q7?"], READOUT)[0].states


def test_domains_share_one_model_and_leave_each_other_alone(tmp_path: Path, source: str) -> None:
    one, two = write_adapter(tmp_path / "a", 1), write_adapter(tmp_path / "b", 2)
    pool = pool_of(source)
    first = pool.attach("first", PROMPTS, source, adapter=one)
    alone = states(first)
    second = pool.attach("second", PROMPTS, source, adapter=two)
    assert first.model is second.model
    assert pool.loaded(source).model is pool.loaded(source).model
    other = states(second)
    assert not torch.equal(other, alone)
    assert torch.equal(states(first), alone)
    pool.detach("second")
    assert torch.equal(states(first), alone)
    again = pool.attach("second", PROMPTS, source, adapter=two)
    assert torch.equal(states(again), other)
    assert torch.equal(states(first), alone)


def test_an_adapter_in_the_pool_reads_as_peft_alone(tmp_path: Path, source: str) -> None:
    adapter = write_adapter(tmp_path / "a", 1)
    pool = pool_of(source)
    pool.attach("other", PROMPTS, source, adapter=write_adapter(tmp_path / "b", 2))
    mine = states(pool.attach("mine", PROMPTS, source, adapter=adapter))
    loaded = load_causal_lm(pool.config)
    alone = Expert(with_adapter(loaded, adapter, "x"), loaded.tokenizer, PROMPTS, adapter="x")
    assert torch.equal(states(alone), mine)
    merged = load_causal_lm(pool.config)
    melted = with_adapter(merged, adapter, "x").merge_and_unload()
    torch.testing.assert_close(states(Expert(melted, merged.tokenizer, PROMPTS)), mine, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bare_first", [True, False])
def test_a_domain_that_uses_the_model_bare_never_sees_an_adapter(tmp_path: Path, source: str, bare_first: bool) -> None:
    pool = pool_of(source)
    adapter = write_adapter(tmp_path / "a", 1)
    wanted = states(pool_of(source).attach("bare", PROMPTS, source))
    if bare_first:
        bare = pool.attach("bare", PROMPTS, source)
        adapted = pool.attach("adapted", PROMPTS, source, adapter=adapter)
    else:
        adapted = pool.attach("adapted", PROMPTS, source, adapter=adapter)
        bare = pool.attach("bare", PROMPTS, source)
    assert not torch.equal(states(adapted), wanted)
    assert torch.equal(states(bare), wanted)


def test_a_model_that_no_domain_uses_is_freed(tmp_path: Path, source: str) -> None:
    pool = pool_of(source)
    adapter = write_adapter(tmp_path / "a", 1)
    pool.attach("one", PROMPTS, source, adapter=adapter)
    pool.attach("two", PROMPTS, source, adapter=adapter)
    pool.attach("bare", PROMPTS, source)
    pool.detach("one")
    assert len(pool._shared) == 2 and len(pool._wrapped) == 1
    (wrapped,) = pool._wrapped.values()
    assert set(wrapped.peft_config) == {"<two>"}
    pool.detach("two")
    pool.detach("bare")
    assert not pool._shared and not pool._wrapped and not pool._domains


def test_the_adapter_is_held_in_the_models_dtype_and_frozen(tmp_path: Path, source: str) -> None:
    pool = pool_of(source, "bfloat16")
    for name, seed in (("one", 1), ("two", 2)):
        expert = pool.attach(name, PROMPTS, source, adapter=write_adapter(tmp_path / name, seed))
    assert {p.dtype for p in expert.model.parameters()} == {torch.bfloat16}
    assert not expert.model.training


@pytest.mark.parametrize("after_another", [False, True])
def test_a_misfit_is_refused_and_leaves_nothing_behind(tmp_path: Path, source: str, after_another: bool) -> None:
    pool = pool_of(source)
    good = write_adapter(tmp_path / "good", 1)
    wanted = states(pool_of(source).attach("x", PROMPTS, source, adapter=good))
    if after_another:
        first = pool.attach("first", PROMPTS, source, adapter=good)
    wide = write_adapter(tmp_path / "wide", 1, hidden_size=64)
    empty = tmp_path / "empty"
    empty.mkdir()
    for bad in (wide, empty):
        with pytest.raises(ModelError) as caught:
            pool.attach("bad", PROMPTS, source, adapter=bad)
        assert str(bad) in caught.value.message and caught.value.hint
        assert "\n" not in caught.value.message
    assert "bad" not in pool._domains
    if after_another:
        assert torch.equal(states(first), wanted)
    assert torch.equal(states(pool.attach("bad", PROMPTS, source, adapter=good)), wanted)


@pytest.mark.parametrize("name", ["lora", "A", "model", "0", "default", "first-2"])
def test_any_domain_name_serves(tmp_path: Path, source: str, name: str) -> None:
    """Also those that peft's own parameter names hold."""
    adapter = write_adapter(tmp_path / "x", 1)
    pool = pool_of(source)
    wanted = states(pool.attach("first", PROMPTS, source, adapter=adapter))
    assert torch.equal(states(pool.attach(name, PROMPTS, source, adapter=adapter)), wanted)
    assert torch.equal(states(pool_of(source).attach(name, PROMPTS, source, adapter=adapter)), wanted)


def test_a_truncated_adapter_is_refused(tmp_path: Path, source: str) -> None:
    adapter = write_adapter(tmp_path / "a", 1)
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ModelError, match="does not fit"):
        pool_of(source).attach("cut", PROMPTS, source, adapter=adapter)


def test_an_adapter_with_weights_missing_is_refused(tmp_path: Path, source: str) -> None:
    adapter = write_adapter(tmp_path / "a", 1)
    weights = adapter / "adapter_model.safetensors"
    save_file(dict(list(load_file(weights).items())[:3]), weights)
    with pytest.raises(ModelError, match="does not fit"):
        pool_of(source).attach("some", PROMPTS, source, adapter=adapter)
    pool = pool_of(source)
    pool.attach("whole", PROMPTS, source, adapter=write_adapter(tmp_path / "b", 1))
    with pytest.raises(ModelError, match="does not fit"):
        pool.attach("some", PROMPTS, source, adapter=adapter)
