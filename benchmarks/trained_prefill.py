"""Can a readout without any decoding carry facts?

    python -m benchmarks.trained_prefill --workspace demo --domain adjuvant [--codes STEPS] [--epochs N] …

The domain's expert reads the question and, after it, one learned position for every part of every slot; what it says
there goes through the workspace's pretrained projector into the base's slots. Trained in two turns:

- `--codes STEPS`: on all the expert's pairs, at those positions the states that the projector would read if the expert
  had written the answer. Neither base nor projector takes part.
- `--epochs N`: on the pairs that the projector learns, end to end through the frozen base, with the expert's adapter
  (`--adapter frozen`: not), positions and projector. A second loss (`--keep W`, its weight; 0 leaves it out) keeps the
  expert answering all its pairs.

Asked after each turn are the test questions, whose wordings neither saw: of facts that the second turn sees and of
others. The first turn sees every fact, as the expert's own training does.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from gag.config import Config
from gag.demo.labs import seen_by_projector
from gag.evaluation.metrics import fact_recall
from gag.evaluation.statistics import mean_interval
from gag.models import chat
from gag.models.attention import training_attention
from gag.models.base import Base
from gag.models.expert import Expert
from gag.models.loading import load_causal_lm
from gag.models.projector import Projector, ProjectorShape
from gag.pipeline import Build, projector_pretraining
from gag.prompts import Prompts
from gag.records import Question, read_questions
from gag.sources import Sources
from gag.workspace import open_workspace

BATCH = 16


class Reader(nn.Module):
    """Prompts -> the states [B, K, 1, parts * width] that a projector reads, from one forward over learned positions.

    `mean` and `scale` [K, parts * width] are those of the states it is to say.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, expert: Any, shape: tuple[int, int], layer: int, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.expert, self.layer, (self.slots, self.parts) = expert, layer, shape
        self.table = expert.get_input_embeddings()
        width = self.table.weight.shape[1]
        start = self.table.weight.detach().float()
        self.positions = nn.Parameter(start.mean(0) + 0.5 * start.std(0) * torch.randn(self.slots * self.parts, width))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def standardised(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """What it says, [B, K, parts * width], each number less its mean and over its scale."""
        longest, count = max(map(len, prompts)), len(self.positions)
        rows, mask = [], torch.zeros(len(prompts), longest + count, dtype=torch.long)
        for number, ids in enumerate(prompts):
            embedded = self.table(torch.tensor(list(ids)))
            gap = embedded.new_zeros(longest - len(ids), embedded.shape[1])
            rows.append(torch.cat([gap, embedded, self.positions.to(embedded.dtype)]))
            mask[number, longest - len(ids) :] = 1
        places = (mask.cumsum(-1) - 1).clamp_min(0)
        model = self.expert.get_base_model().model
        out = model(
            inputs_embeds=torch.stack(rows), attention_mask=mask, position_ids=places, output_hidden_states=True
        )
        said: Tensor = self.head(out.hidden_states[self.layer][:, -count:].float())
        return said.reshape(len(prompts), self.slots, -1)

    def forward(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Prompts of token ids -> states as a readout gives them."""
        return (self.standardised(prompts) * self.scale + self.mean).unsqueeze(2)

    def own_loss(self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> Tensor:
        """The expert's loss on answers of its own, as in its training."""
        longest = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
        ids, labels = torch.zeros(len(prompts), longest, dtype=torch.long), torch.full((len(prompts), longest), -100)
        mask = torch.zeros_like(ids)
        for number, (p, a) in enumerate(zip(prompts, answers, strict=True)):
            row = [*p, *a]
            ids[number, : len(row)], mask[number, : len(row)] = torch.tensor(row), 1
            labels[number, len(p) : len(row)] = torch.tensor(list(a))
        loss: Tensor = self.expert(input_ids=ids, attention_mask=mask, labels=labels).loss
        return loss


@dataclass
class Trial:
    """A reader, the projector behind it and the frozen base, with a domain's prompts."""

    reader: Reader
    projector: Projector
    base: Base
    prompts: Prompts
    tokenizer: Any
    config: Config

    def asked(self, questions: Sequence[Question]) -> list[list[int]]:
        """The expert's prompts."""
        return [list(chat.encode(self.prompts.expert(q.question), self.tokenizer).ids) for q in questions]

    def given(self, questions: Sequence[Question]) -> list[Any]:
        """The base's prompts, with slots."""
        return [self.base.encode(self.prompts.domain(q.question, self.config.readout.slots)) for q in questions]

    def vectors(self, questions: Sequence[Question]) -> Tensor:
        """What goes into the slots [B, K, d_base]."""
        with self.lower_precision():
            states = self.reader(self.asked(questions))
        out: Tensor = self.projector(states.float())
        return out

    def lower_precision(self) -> torch.autocast:
        """Adapters and positions are float32, over weights as they were loaded."""
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.base.model.dtype is torch.bfloat16)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, train, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--layer", type=int, default=-1)
    parser.add_argument("--codes", type=int, default=500, help="steps of 16 pairs")
    parser.add_argument("--codes-rate", type=float, default=2e-3, help="of everything in the first turn")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--keep", type=float, default=0.5)
    parser.add_argument("--rate", type=float, default=3e-4, help="of the second turn")
    parser.add_argument("--adapter", choices=("trained", "frozen"), default="trained")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)
    workspace = open_workspace(options.workspace)
    config = workspace.config
    base = Base.from_loaded(load_causal_lm(config.models.base, root=workspace.root))
    loaded = load_causal_lm(config.models.expert, root=workspace.root)
    build = Build(workspace, options.domain, Sources(), base=base)
    adapter = build.run(Build.expert).adapter
    prompts = workspace.prompts(options.domain)
    tensors = projector_pretraining(workspace, base, loaded).tensors()
    plain = Expert(loaded.model, loaded.tokenizer, prompts)
    targets = read(plain, build.questions, config)
    shape = ProjectorShape(targets.shape[-1], base.hidden_size, config.readout.slots, 1)
    projector = Projector(config.projector, shape)
    projector.load_state_dict(tensors)
    expert: Any = PeftModel.from_pretrained(loaded.model, str(adapter), is_trainable=options.adapter == "trained")
    flat = targets.squeeze(2)
    sizes = (config.readout.slots, config.readout.parts)
    reader = Reader(expert, sizes, options.layer, flat.mean(0), flat.std(0).clamp_min(1e-6))
    trial = Trial(reader, projector, base, prompts, loaded.tokenizer, config)
    questions = read_questions(workspace.root / "data" / options.domain / "test.jsonl", require_answers=True)

    with training_attention(expert, max(len(ids) for ids in trial.asked(build.questions))):
        train_codes(trial, build.questions, targets, options)
        shown(trial, questions)
        if options.epochs:
            train_through_base(trial, build, options)
            shown(trial, questions)


def read(expert: Expert, pairs: Sequence[Question], config: Config) -> Tensor:
    """The states [pairs, K, 1, parts * width] of the answers, as if the expert had written them."""
    readings = expert.read_forced([q.question for q in pairs], [q.answers[0] for q in pairs], config.readout)
    return torch.stack([reading.states for reading in readings]).float()


def train_codes(trial: Trial, pairs: Sequence[Question], targets: Tensor, options: Any) -> None:
    """What the reader says against the answers' states, and what the projector makes of both.

    States have a few huge numbers, which squares would see alone: hence the absolute error. The vectors count by
    squares, as a share of their variance.
    """
    reader = trial.reader
    wanted = (targets.squeeze(2) - reader.mean) / reader.scale
    with torch.no_grad():
        vectors = trial.projector(targets)
    variance = vectors.var(0).mean()
    order = _rounds(len(pairs), random.Random(options.seed))
    recent: deque[float] = deque(maxlen=20)

    def loss() -> tuple[Tensor, str]:
        batch = [next(order) for _ in range(BATCH)]
        with trial.lower_precision():
            said = reader.standardised(trial.asked([pairs[n] for n in batch])).float()
        missed = (said - wanted[batch]).abs().mean()
        made = trial.projector((said * reader.scale + reader.mean).unsqueeze(2))
        left = (made - vectors[batch]).square().mean() / variance
        recent.append(left.item())
        return missed + left, f"states {missed.item():.3f} variance of the vectors left {fmean(recent):.3f}"

    _optimise(loss, options.codes, [{"params": _trainable(reader), "lr": options.codes_rate}])


def train_through_base(trial: Trial, build: Build, options: Any) -> None:
    """The base's loss on the answers, and the expert's own."""
    reader, pairs, everything = trial.reader, build.align_questions, build.questions
    chance = random.Random(options.seed)
    order = _rounds(len(pairs), chance)

    def answers(batch: Sequence[Question]) -> list[Any]:
        return [chat.encode_answer(q.answers[0], trial.base.tokenizer) for q in batch]

    def loss() -> tuple[Tensor, str]:
        batch = [pairs[next(order)] for _ in range(BATCH)]
        given = trial.given(batch)
        prefixes = trial.base.prefixes(given)
        through = torch.cat(trial.base.answer_nll(given, trial.vectors(batch), answers(batch), prefixes)).mean()
        own = torch.zeros(())
        if options.keep and options.adapter == "trained":
            kept = chance.sample(everything, BATCH)
            with trial.lower_precision():
                own = reader.own_loss(trial.asked(kept), answers(kept))
        return through + options.keep * own, f"base {through.item():.3f} own {own.item():.3f}"

    steps = options.epochs * -(-len(pairs) // BATCH)
    _optimise(loss, steps, [{"params": [*_trainable(reader), *trial.projector.parameters()], "lr": options.rate}])


@torch.no_grad()
def shown(trial: Trial, questions: Sequence[Question]) -> None:
    """Print the recall of the base's answers, with one forward of the expert before each."""
    trial.reader.eval()
    for name, wanted in (("seen", True), ("unseen", False)):
        part = [q for q in questions if seen_by_projector(q) is wanted]
        said: list[str] = []
        for start in range(0, len(part), BATCH):
            some = part[start : start + BATCH]
            made = trial.base.generate(trial.given(some), trial.vectors(some), trial.config.generation)
            said += [c.text for c in made]
        found = mean_interval([fact_recall(text, q.meta["value"]) for text, q in zip(said, part, strict=True)])
        print(f"{name:7} {found.n:4} facts recalled {found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]", flush=True)
    trial.reader.train()


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


def _optimise(loss: Callable[[], tuple[Tensor, str]], steps: int, groups: list[dict[str, Any]]) -> None:
    """AdamW with a linear decay, gradients clipped at 1."""
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1, (n + 1) / 10) * (1 - n / steps))
    started = time.perf_counter()
    for step in range(steps):
        value, note = loss()
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 1.0)
        optimizer.step()
        schedule.step()
        if step % 10 == 0 or step == steps - 1:
            print(f"{time.perf_counter() - started:6.0f} s step {step + 1}/{steps} {note}", flush=True)


def _rounds(count: int, chance: random.Random) -> Iterator[int]:
    """Positions, each once a round, in a new order every time."""
    while True:
        yield from chance.sample(range(count), count)


if __name__ == "__main__":
    main()
