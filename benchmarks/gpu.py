"""The same at the paper's shapes on one CUDA GPU: python -m benchmarks.gpu [--json FILE]

Qwen3-8B as base, Qwen3-1.7B as expert and as encoder, with random weights made on the device in bfloat16: they serve
for time and memory. Texts are tokenised a byte a token. Without a GPU one line says that it was skipped.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from benchmarks import alignment, latency, readout, routing
from benchmarks.measure import Row, machine, report
from gag.config import Config, RouterConfig
from gag.models.base import Base
from gag.models.expert import Expert
from gag.models.loading import LoadedModel
from gag.prompts import Prompts
from gag.routing.encoder import Encoder
from gag.routing.prototypes import general_questions
from gag.testing import byte_tokenizer

SHARED = {"vocab_size": 151936, "head_dim": 128, "num_key_value_heads": 8, "max_position_embeddings": 40960}
BASE: dict[str, Any] = {
    **SHARED,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "tie_word_embeddings": False,
}
EXPERT: dict[str, Any] = {
    **SHARED,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "tie_word_embeddings": True,
}
EXACT_LAYERS = 4
"""Layers of the float32 model whose loss is compared: the whole one would take twice the memory for nothing."""


@dataclass(frozen=True)
class Plans:
    """The sizes of the benchmarks; as on a CPU."""

    readout: readout.Plan = field(default_factory=readout.Plan)
    alignment: alignment.Plan = field(default_factory=alignment.Plan)
    latency: latency.Plan = field(default_factory=latency.Plan)
    routing_rounds: int = 30


def main() -> None:
    """Parse, measure, print; without a GPU, say so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("gpu: skipped, there is no CUDA GPU here.")
        return
    device = torch.device("cuda")
    described = machine(device) | {"model": "Qwen3-8B and Qwen3-1.7B shapes, random weights", "dtype": "bfloat16"}
    report("gpu", gpu_rows(device, described), described, arguments.json)


def gpu_rows(device: torch.device, described: dict[str, Any]) -> list[Row]:
    """Readout, alignment, latency and routing, one after the other."""
    base, expert = (random_model(shape, device, torch.bfloat16) for shape in (BASE, EXPERT))
    return measured(base, expert, described, Plans()) + exact_rows(device)


def measured(base: LoadedModel, expert: LoadedModel, described: dict[str, Any], plans: Plans) -> list[Row]:
    """The rows of the CPU's benchmarks for these models; the expert is the encoder too, as in the paper."""
    questions = readout.lab_questions(plans.readout.questions)
    reader = readout.endless(Expert(expert.model, expert.tokenizer, Prompts(Config().prompts, "vaccine adjuvants")))
    encoder = Encoder.from_loaded(expert, RouterConfig())
    routed = [question.question for question in general_questions(RouterConfig(), None)]
    rows = {
        "readout": readout.readout_rows(reader, questions, plans.readout, described),
        "alignment": alignment.alignment_rows(Base.from_loaded(base), plans.alignment, described),
        "latency": latency.latency_rows(latency.Models(base, expert, expert), questions, plans.latency),
        "routing": routing.forward_rows(encoder, routed, plans.routing_rounds)
        + routing.matching_rows(encoder, 2 * plans.routing_rounds),
    }
    return [{**row, "what": f"{name}: {row['what']}"} for name, part in rows.items() for row in part]


def exact_rows(device: torch.device) -> list[Row]:
    """Loss and gradient of both ways of alignment in float32, on a few layers of the base's width."""
    few = random_model({**BASE, "num_hidden_layers": EXACT_LAYERS}, device, torch.float32)
    rows = alignment.exactness_rows(Base.from_loaded(few), alignment.Plan())
    return [{**row, "what": f"alignment, {EXACT_LAYERS} layers, {row['what']}"} for row in rows]


def random_model(shape: dict[str, Any], device: torch.device, dtype: torch.dtype) -> LoadedModel:
    """A Qwen3 of this shape with random weights, made on `device`, with a byte tokenizer."""
    config = Qwen3Config(**shape, rope_parameters={"rope_type": "default", "rope_theta": 1e6})
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            torch.manual_seed(0)
            model = Qwen3ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.eval().requires_grad_(False)
    name = f"random-qwen3-{config.hidden_size}x{config.num_hidden_layers}"
    folder = Path(tempfile.gettempdir())  # only looked at for a sentence encoder's own pooling
    return LoadedModel(model, byte_tokenizer(), name, None, name, folder, "random weights")


if __name__ == "__main__":
    main()
