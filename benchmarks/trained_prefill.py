"""Can a readout without any decoding carry facts?

    python -m benchmarks.trained_prefill --workspace demo --domain adjuvant [--epochs N] [--slots K] [--layer L] …

The domain's expert reads the question and, after it, K learned positions; their states at a layer go through a
projector into the base's slots. The expert's adapter (`--adapter frozen`: not), the learned positions and the projector
are trained together, end to end through the frozen base, on the pairs that the projector learns; a second loss
(`--keep W`, its weight; 0 leaves it out) keeps the expert answering all its pairs. Asked are the test questions, of
facts that this training saw and of others that only the expert learnt.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from gag.config import GenerationConfig, ProjectorConfig
from gag.demo.labs import seen_by_projector
from gag.domain import load_module
from gag.evaluation.metrics import fact_recall
from gag.evaluation.statistics import mean_interval
from gag.models import chat
from gag.models.base import Base
from gag.models.loading import load_causal_lm
from gag.models.projector import Projector, ProjectorShape
from gag.pipeline import Build
from gag.records import Question, read_questions
from gag.sources import Sources
from gag.workspace import open_workspace

BATCH = 16


class Reader(nn.Module):
    """Questions -> vectors [B, K, d_base]: one forward of the expert over the prompt and K learned positions."""

    def __init__(self, expert: Any, layer: int, slots: int, base: Base) -> None:
        super().__init__()
        self.expert, self.layer, self.slots = expert, layer, slots
        self.table = expert.get_input_embeddings()
        width = self.table.weight.shape[1]
        start = self.table.weight.detach().float()
        self.positions = nn.Parameter(start.mean(0) + 0.5 * start.std(0) * torch.randn(slots, width))
        shape = ProjectorShape(width, base.hidden_size, slots, 1)
        self.projector = Projector(ProjectorConfig(kind="mlp", normalize_input="layer_norm"), shape)
        self.projector.initialise([torch.randn(slots, 1, width) for _ in range(64)], base.table.weight)

    def forward(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Prompts of token ids, padded on the left."""
        longest = max(map(len, prompts))
        rows, mask = [], torch.zeros(len(prompts), longest + self.slots, dtype=torch.long)
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
        states = out.hidden_states[self.layer][:, -self.slots :].float()
        return self.projector(states.unsqueeze(2))

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


def main() -> None:
    """Parse, train, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--layer", type=int, default=-4)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--keep", type=float, default=0.5)
    parser.add_argument("--rate", type=float, default=3e-4, help="of the adapter; ten times that for what is new")
    parser.add_argument("--adapter", choices=("trained", "frozen"), default="trained")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    workspace = open_workspace(options.workspace)
    module = load_module(workspace.module(options.domain))
    base = Base.from_loaded(load_causal_lm(workspace.config.models.base, root=workspace.root))
    loaded = load_causal_lm(workspace.config.models.expert, root=workspace.root)
    expert: Any = PeftModel.from_pretrained(
        loaded.model, str(module.expert_path), is_trainable=options.adapter == "trained"
    )
    reader = Reader(expert, options.layer, options.slots, base)
    build = Build(workspace, options.domain, Sources(), base=base)
    prompts = module.prompts

    def asked(question: str) -> list[int]:
        return list(chat.encode(prompts.expert(question), loaded.tokenizer).ids)

    train(reader, base, build, options, asked, prompts)
    questions = read_questions(workspace.root / "data" / options.domain / "test.jsonl", require_answers=True)
    for name, wanted in (("seen", True), ("unseen", False)):
        part = [q for q in questions if seen_by_projector(q) is wanted]
        said = answers(reader, base, part, asked, prompts, workspace.config.generation)
        found = mean_interval([fact_recall(text, q.meta["value"]) for text, q in zip(said, part, strict=True)])
        print(f"{name:7} {found.n:4} facts recalled {found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]", flush=True)


def train(reader: Reader, base: Base, build: Build, options: Any, asked: Any, prompts: Any) -> None:
    """Both losses, AdamW with a linear decay."""
    pairs, everything = build.align_questions, build.questions
    fresh = [reader.positions, *reader.projector.parameters()]
    adapter = [p for p in reader.expert.parameters() if p.requires_grad]
    groups = [{"params": fresh, "lr": 10 * options.rate}, {"params": adapter, "lr": options.rate}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.01)
    steps = options.epochs * -(-len(pairs) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1, (n + 1) / 10) * (1 - n / steps))
    chance, started = random.Random(options.seed), time.perf_counter()
    order = _rounds(len(pairs), chance)
    for step in range(steps):
        batch = [pairs[next(order)] for _ in range(BATCH)]
        given = [base.encode(prompts.domain(q.question, options.slots)) for q in batch]
        gold = [chat.encode_answer(q.answers[0], base.tokenizer) for q in batch]
        prefixes = base.prefixes(given)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=base.model.dtype is torch.bfloat16):
            vectors = reader([asked(q.question) for q in batch])
        loss = torch.cat(base.answer_nll(given, vectors, gold, prefixes)).mean()
        own = torch.zeros(())
        if options.keep and adapter:
            kept = chance.sample(everything, BATCH)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=base.model.dtype is torch.bfloat16):
                own = reader.own_loss(
                    [asked(q.question) for q in kept],
                    [chat.encode_answer(q.answers[0], base.tokenizer) for q in kept],
                )
        optimizer.zero_grad()
        (loss + options.keep * own).backward()
        torch.nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 1.0)
        optimizer.step()
        schedule.step()
        if step % 10 == 0 or step == steps - 1:
            spent = time.perf_counter() - started
            print(f"{spent:6.0f} s step {step + 1}/{steps} base {float(loss):.3f} own {float(own):.3f}", flush=True)


@torch.no_grad()
def answers(
    reader: Reader, base: Base, questions: Sequence[Question], asked: Any, prompts: Any, generation: GenerationConfig
) -> list[str]:
    """The base's answers, with one forward of the expert before each."""
    reader.eval()
    out = []
    for start in range(0, len(questions), BATCH):
        part = questions[start : start + BATCH]
        given = [base.encode(prompts.domain(q.question, reader.slots)) for q in part]
        out += [c.text for c in base.generate(given, reader([asked(q.question) for q in part]), generation)]
    return out


def _rounds(count: int, chance: random.Random) -> Iterator[int]:
    """Positions, each once a round, in a new order every time."""
    while True:
        yield from chance.sample(range(count), count)


if __name__ == "__main__":
    main()
