"""What one vector could hold at best: vectors optimised for each text, with no expert and no projector.

    python -m benchmarks.best_vectors [--slots 1 4] [--lengths 2 4 8 16 32] [--names] [--texts 64] [--steps 300]

Spans of the demo's labs (facts that no model knows), or with `--names` the values of their test questions that have no
number in them, are to be repeated by the frozen base from the slots alone, under the domain prompt. The vectors of
every text are trained directly on it, with the loop of the alignment. What a projector misses of this is the
projector's; what the vectors miss after so many steps more steps may find. Reported are the mean loss of a token and
the share of the texts that the base writes word for word.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.passing import a_number
from gag.config import AlignmentConfig, load_config
from gag.demo.labs import LABS, load_lab
from gag.evaluation.statistics import mean_interval
from gag.models import chat
from gag.models.base import Base
from gag.models.loading import load_causal_lm
from gag.prompts import Prompts
from gag.records import Question
from gag.training.alignment import Alignment, alignment_examples

FIELD = "a private field"
QUESTION = "What does the record say?"
BATCH = 32


class FreeVectors(nn.Module):
    """A table of vectors [N, K, d_base]; the "state" of an example [1, 1, 1] is its row."""

    def __init__(self, count: int, slots: int, table: Tensor) -> None:
        super().__init__()
        noise = torch.randn(count, slots, table.shape[1])
        norm = table.float().norm(dim=-1).median().cpu()
        self.vectors = nn.Parameter(noise / noise.norm(dim=-1, keepdim=True) * norm)

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """States [B, 1, 1, 1] -> vectors [B, K, d_base]."""
        return self.vectors[states.flatten().long()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, optimise, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--lengths", type=int, nargs="+", default=[2, 4, 8, 16, 32], help="tokens of a span")
    parser.add_argument("--names", action="store_true", help="the labs' values in words, in place of spans")
    parser.add_argument("--texts", type=int, default=64, help="spans of each length, or values")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate", type=float, default=0.1, help="of AdamW, in units of an embedding's typical entry")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="choices of the preset demo")
    options = parser.parse_args(arguments)
    config = load_config(preset="demo", overrides=options.set)
    base = Base.from_loaded(load_causal_lm(config.models.base))
    prompts = Prompts(config.prompts, FIELD)
    print(f"{'slots':>5} {'tokens':>6} {'loss':>7} {'word for word (%)':>24} {'seconds':>8}")
    for slots in options.slots:
        for length in [None] if options.names else options.lengths:
            torch.manual_seed(options.seed)
            started = time.perf_counter()
            texts = names(options.texts, options.seed)
            if length is not None:
                texts = spans(base, length, options.texts, options.seed)
            tokens = sum(len(chat.encode_answer(text, base.tokenizer)) - 1 for text in texts) / len(texts)
            loss, same = optimised(base, prompts, texts, slots, options.steps, options.rate)
            share = mean_interval([100.0 * s for s in same])
            said = f"{share.mean:.0f} [{share.low:.0f}, {share.high:.0f}]"
            spent = time.perf_counter() - started
            print(f"{slots:5} {tokens:6.1f} {loss:7.3f} {said:>24} {spent:8.0f}", flush=True)


def names(count: int, seed: int) -> list[str]:
    """`count` different values of the labs' test questions that have no digit in them."""
    found = sorted({q.meta["value"] for name in LABS for q in load_lab(name).test if not a_number(q)})
    return random.Random(seed).sample(found, min(count, len(found)))


def spans(base: Base, length: int, count: int, seed: int) -> list[str]:
    """`count` spans of the labs' documents that are `length` tokens long, each from its own place."""
    chance = random.Random(seed)
    rows = [chat.encode_answer(d.text, base.tokenizer)[:-1] for name in LABS for d in load_lab(name).documents]
    out: list[str] = []
    while len(out) < count:
        row = chance.choice([row for row in rows if len(row) > length])
        start = chance.randrange(len(row) - length)
        text = base.decode_text(row[start : start + length])
        if len(chat.encode_answer(text, base.tokenizer)) == length + 1 and text not in out:
            out.append(text)
    return out


def optimised(
    base: Base, prompts: Prompts, texts: Sequence[str], slots: int, steps: int, rate: float
) -> tuple[float, list[bool]]:
    """The loss of a token after `steps`, and which of the texts the base then writes word for word."""
    pairs = [Question(f"span~{n}", QUESTION, (text,)) for n, text in enumerate(texts)]
    states = [torch.full((1, 1, 1), float(n)) for n in range(len(texts))]
    entry = float(base.table.weight.float().norm(dim=-1).median()) / base.hidden_size**0.5
    settings = AlignmentConfig(
        learning_rate=rate * entry, batch_size=len(texts), max_steps=steps, dev_share=0.0, scheduler="cosine"
    )
    examples = alignment_examples(base, prompts, pairs, states, slots, settings)
    module = FreeVectors(len(texts), slots, base.table.weight)
    with tempfile.TemporaryDirectory() as folder:
        run = Alignment(base, module, settings, Path(folder))
        run.train(examples)
        loss = run.loss(examples)
    longest = max(len(e.answer) for e in examples)
    generation = load_config(preset="demo").generation.model_copy(update={"max_new_tokens": longest + 4})
    same: list[bool] = []
    with torch.no_grad():
        for start in range(0, len(texts), BATCH):
            part = examples[start : start + BATCH]
            vectors = module(torch.stack([e.states for e in part]))
            written = base.generate([e.prompt for e in part], vectors, generation)
            same += [w.text == text for w, text in zip(written, texts[start : start + BATCH], strict=True)]
    return loss, same


if __name__ == "__main__":
    main()
