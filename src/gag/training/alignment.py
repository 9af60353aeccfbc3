"""Stage `projector`: train Pi_i to make the gold answer likely under injection (paper, section 3, alignment).

Base and expert stay frozen; gradients reach the projector only. The loss of a step is the mean over all answer tokens
of its questions, whatever way they are split into micro-batches and processes, so that both are exact. Any module that
maps knowledge states to vectors can be trained here; the constant-token control is one. Legend: B batch, K slots.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker
from torch import Tensor, nn

from gag.config import AlignmentConfig
from gag.memory import give_back
from gag.models import chat
from gag.models.attention import training_attention
from gag.models.base import Base, Prefix
from gag.models.chat import EncodedPrompt
from gag.models.projector import stacked_states
from gag.progress import Progress, silent
from gag.prompts import Prompts
from gag.records import Question
from gag.training.checkpoint import RunState, load_checkpoint, restore_optimizer, save_checkpoint
from gag.training.order import like_lengths

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Example:
    """A prompt with slots, the gold answer's ids, and the question's knowledge states [tokens or slots, layers, d].

    `teacher` is what predicts each answer token under another prompt, [tokens, d_base] (`with_teacher`); may be none.
    """

    prompt: EncodedPrompt
    answer: tuple[int, ...]
    states: Tensor
    group: str
    teacher: Tensor | None = None

    @property
    def tail(self) -> int:
        """Tokens from the first slot to the answer's end."""
        return len(self.prompt.ids) - self.prompt.slots[0] + len(self.answer)


@dataclass(frozen=True)
class Aligned:
    """A finished alignment: the best module's tensors (its own at the end without dev questions) and the history."""

    tensors: dict[str, Tensor]
    run: RunState


def alignment_examples(
    base: Base,
    prompts: Prompts,
    questions: Sequence[Question],
    states: Sequence[Tensor],
    slots: int,
    config: AlignmentConfig,
) -> list[Example]:
    """Examples under the domain prompt; raises InputError for a pair that does not fit `max_length`."""
    out = []
    for question, state in zip(questions, states, strict=True):
        prompt = base.encode(prompts.domain(question.question, slots))
        room = min(config.max_length, base.context) - len(prompt.ids)
        answer = chat.fitted_answer(question, base.tokenizer, room=room, truncate=config.truncate_answers)
        out.append(Example(prompt, tuple(answer), state, question.answers[0]))
    return out


@torch.no_grad()
def with_teacher(
    base: Base,
    examples: Sequence[Example],
    prompts: Sequence[EncodedPrompt],
    *,
    batch_size: int = 8,
    on_progress: Progress = silent,
) -> list[Example]:
    """The examples with what the same frozen base expects at each answer token under other `prompts`, without slots.

    An example whose other prompt and answer do not fit the base's context has no teacher.
    """
    out = list(examples)
    fitting = [
        index
        for index, (example, prompt) in enumerate(zip(examples, prompts, strict=True))
        if len(prompt.ids) + len(example.answer) <= base.context
    ]
    fitting.sort(key=lambda index: -len(prompts[index].ids))
    for start in range(0, len(fitting), batch_size):
        part = fitting[start : start + batch_size]
        states = base.answer_states([prompts[i] for i in part], None, [examples[i].answer for i in part])
        for index, state in zip(part, states, strict=True):
            out[index] = replace(examples[index], teacher=state.cpu().clone())
        on_progress("teacher", min(start + batch_size, len(fitting)), len(fitting))
    return out


class Alignment:
    """One run: `train` goes on from its checkpoint in `folder` and returns the trained tensors.

    With `teacher_weight`, a step's loss has that much of KL(teacher || student) at the answer tokens of the examples
    that have a teacher, a mean over all answer tokens as the likelihood is; the dev loss stays the likelihood alone.
    """

    def __init__(
        self,
        base: Base,
        module: nn.Module,
        config: AlignmentConfig,
        folder: Path,
        *,
        on_progress: Progress = silent,
        report_to: Sequence[str | GeneralTracker] = (),
        teacher_weight: float = 0.0,
    ) -> None:
        self.base, self.module, self.config, self.folder = base, module, config, folder
        self.on_progress, self.teacher_weight = on_progress, teacher_weight
        self.accelerator = Accelerator(
            cpu=base.device.type == "cpu", log_with=list(report_to) or None, project_dir=folder
        )
        self.report_to = report_to
        self.prefixes = _PrefixCache(base, config.prefix_cache_gb, config.batch_tokens)

    def train(self, examples: Sequence[Example], extra: Sequence[Example] = ()) -> Aligned:
        """Train on `examples`, a share of them held out by answer for the dev loss, and on all of `extra`."""
        longest = max((len(e.prompt.ids) + len(e.answer) for e in (*examples, *extra)), default=0)
        if self.report_to:
            self.accelerator.init_trackers("gag-alignment", config=self.config.model_dump())
        try:
            with training_attention(self.base.model, longest):
                return self._train(examples, extra)
        finally:
            give_back()
            if self.report_to:
                self.accelerator.end_training()

    def _train(self, examples: Sequence[Example], extra: Sequence[Example]) -> Aligned:
        training, dev = split_by_group(examples, self.config.dev_share, self.config.seed)
        training += extra
        config = self.config
        module = self.module.to(self.base.device).train()
        parameters = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        run, best = self._resumed(optimizer)
        per_epoch = -(-len(training) // config.batch_size)
        total = config.max_steps or per_epoch * config.epochs
        every = config.evaluate_every or per_epoch
        while run.step < total and not run.stopped:
            batch = nth_batch(training, config, run.step)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * schedule(config, run.step, total)
            loss = self._step(batch, parameters, optimizer, run.step)
            run.step += 1
            run.losses.append((run.step, loss))
            if dev and (run.step % every == 0 or run.step == total):
                best = self._evaluate(dev, run, best)
            self._tell(run, total)
            if run.step % config.checkpoint_every == 0 or run.step == total or run.stopped:
                self._save(optimizer, run, best)
        tensors = best if dev and best else _tensors(module)
        return Aligned({name: t.detach().cpu().clone() for name, t in tensors.items()}, run)

    @torch.no_grad()
    def loss(self, examples: Sequence[Example]) -> float:
        """Mean negative log-likelihood of an answer token over `examples`."""
        self.module.eval()
        total, tokens = 0.0, 0
        for part in self._shares(examples):
            states, _ = self._states(part, None)
            total += float(torch.cat(self.base.nll(states, [e.answer for e in part])).sum())
            tokens += sum(len(e.answer) for e in part)
        self.module.train()
        sums: Any = self.accelerator.reduce(torch.tensor([total, float(tokens)], device=self.base.device), "sum")
        return float(sums[0] / sums[1])

    def _step(
        self, batch: Sequence[Example], parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, step: int
    ) -> float:
        tokens = sum(len(e.answer) for e in batch)
        optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.base.device)
        for number, part in enumerate(self._shares(batch)):
            torch.manual_seed(hash((self.config.seed, step, self.accelerator.process_index, number)) % 2**63)
            states, vectors = self._states(part, self.config.state_noise)
            losses = torch.cat(self.base.nll(states, [e.answer for e in part])).sum() + self._teacher_term(part, states)
            loss = losses / tokens + self._extra_terms(part, vectors) * (len(part) / len(batch))
            loss.backward()
            total += loss.detach()
        if self.accelerator.num_processes > 1:
            for parameter in parameters:
                gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
                parameter.grad = self.accelerator.reduce(gradient, "sum")
            total = self.accelerator.reduce(total, "sum")
        torch.nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm)
        optimizer.step()
        return float(total)

    def _states(self, part: Sequence[Example], noise: float | None) -> tuple[list[Tensor], Tensor]:
        """What predicts each answer token (`Base.answer_states`), and the injected vectors [B, K, d_base]."""
        states, mask = stacked_states([e.states for e in part], self.base.device)
        if noise:
            states = states + noise * torch.randn_like(states) * _deviation(self.module, states)
        vectors = self.module(states, mask)
        prompts = [e.prompt for e in part]
        split = self.base.can_keep_prefixes and all(p.slots[0] for p in prompts)  # a slot may come first of all
        prefixes = self.prefixes.get(prompts) if split else None
        return self.base.answer_states(prompts, vectors, [e.answer for e in part], prefixes), vectors

    def _teacher_term(self, part: Sequence[Example], states: Sequence[Tensor]) -> Tensor:
        """The weighted KL(teacher || student), summed over the answer tokens of the examples that have a teacher."""
        taught = [(own, e.teacher) for own, e in zip(states, part, strict=True) if e.teacher is not None]
        if not taught or not self.teacher_weight:
            return states[0].new_zeros((), dtype=torch.float32)
        divergence = self.base.divergence([own for own, _ in taught], [teacher for _, teacher in taught])
        return self.teacher_weight * torch.cat(divergence).sum()

    def _extra_terms(self, part: Sequence[Example], vectors: Tensor) -> Tensor:
        """The optional terms: the injected vector near the answer's mean embedding; slots unlike one another."""
        extra = vectors.new_zeros(())
        if self.config.semantic_weight:
            table = self.base.table
            means = torch.stack([table(torch.tensor(e.answer, device=vectors.device)).float().mean(0) for e in part])
            near = nn.functional.cosine_similarity(vectors.float().mean(1), means, dim=-1)
            extra = extra + self.config.semantic_weight * (1 - near).mean()
        slots = vectors.shape[1]
        if self.config.diversity_weight and slots > 1:
            unit = nn.functional.normalize(vectors.float(), dim=-1)
            cosines = unit @ unit.transpose(1, 2)
            off = ~torch.eye(slots, dtype=torch.bool, device=vectors.device)
            extra = extra + self.config.diversity_weight * cosines[:, off].square().mean()
        return extra

    def _shares(self, batch: Sequence[Example]) -> Iterator[Sequence[Example]]:
        """This process's micro-batches: at least `accumulation` parts, each within the token budget."""
        mine = batch[self.accelerator.process_index :: self.accelerator.num_processes]
        mine = sorted(mine, key=self._computed)
        most = max(1, -(-len(mine) // self.config.accumulation))
        part: list[Example] = []
        for example in mine:
            if part and (len(part) == most or (len(part) + 1) * self._computed(example) > self.config.batch_tokens):
                yield part
                part = []
            part.append(example)
        if part:
            yield part

    def _computed(self, example: Example) -> int:
        """Tokens of an example that are computed with a gradient: all of them where no prefix can be kept."""
        whole = len(example.prompt.ids) + len(example.answer)
        return example.tail if self.base.can_keep_prefixes else whole

    def _evaluate(self, dev: Sequence[Example], run: RunState, best: dict[str, Tensor]) -> dict[str, Tensor]:
        loss = self.loss(dev)
        run.dev_losses.append((run.step, loss))
        if loss < run.best_loss:
            run.best_loss, run.best_step = loss, run.step
            best = {name: t.detach().clone() for name, t in _tensors(self.module).items()}
        since = sum(step > run.best_step for step, _ in run.dev_losses)
        run.stopped = bool(self.config.patience) and since >= self.config.patience
        return best

    def _resumed(self, optimizer: torch.optim.Optimizer) -> tuple[RunState, dict[str, Tensor]]:
        checkpoint = load_checkpoint(self.folder / CHECKPOINT)
        if checkpoint is None:
            return RunState(), {}
        self.module.load_state_dict(checkpoint.modules)
        restore_optimizer(optimizer, checkpoint.moments)
        device = self.base.device
        return checkpoint.run, {name: t.to(device) for name, t in checkpoint.best.items()}

    def _save(self, optimizer: torch.optim.Optimizer, run: RunState, best: dict[str, Tensor]) -> None:
        if self.accelerator.is_main_process:
            save_checkpoint(self.folder / CHECKPOINT, _tensors(self.module), best, optimizer, run)
        self.accelerator.wait_for_everyone()

    def _tell(self, run: RunState, total: int) -> None:
        step, loss = run.losses[-1]
        values = {"loss": loss}
        note = f"loss {loss:.3f}"
        if run.dev_losses:
            values["dev_loss"] = run.dev_losses[-1][1]
            note += f", dev {run.dev_losses[-1][1]:.3f}"
        self.accelerator.log(values, step=step)
        if self.accelerator.is_main_process:
            self.on_progress("projector", step, total, note)


class _PrefixCache:
    """Key-values of prompts before their slot, kept up to a memory limit; beyond it they are computed each time.

    At most `batch_tokens` tokens, padding included, are computed at once.
    """

    def __init__(self, base: Base, limit_gb: float, batch_tokens: int) -> None:
        self.base, self.left, self.batch_tokens = base, int(limit_gb * 1e9), batch_tokens
        self.kept: dict[tuple[int, ...], Prefix] = {}

    def get(self, prompts: Sequence[EncodedPrompt]) -> list[Prefix]:
        keys = [p.ids[: p.slots[0]] for p in prompts]
        new = [i for i, key in enumerate(keys) if key not in self.kept]
        fresh: dict[int, Prefix] = {}
        for part in self._parts(new, [len(key) for key in keys]):
            fresh |= zip(part, self.base.prefixes([prompts[i] for i in part]), strict=True)
        for i, prefix in fresh.items():
            if prefix.bytes <= self.left and keys[i] not in self.kept:
                self.kept[keys[i]] = prefix
                self.left -= prefix.bytes
        return [fresh[i] if i in fresh else self.kept[key] for i, key in enumerate(keys)]

    def _parts(self, wanted: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
        """`wanted` in as few parts as the budget allows, those of like length together."""
        if len(wanted) * max((lengths[i] for i in wanted), default=0) <= self.batch_tokens:
            return [list(wanted)] if wanted else []
        parts: list[list[int]] = [[]]
        for i in sorted(wanted, key=lambda i: lengths[i]):
            if parts[-1] and (len(parts[-1]) + 1) * lengths[i] > self.batch_tokens:
                parts.append([])
            parts[-1].append(i)
        return parts


def split_by_group(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Training and dev examples; all wordings of one answer fall on the same side."""
    groups = sorted({e.group for e in examples})
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed)).tolist()
    held = {groups[i] for i in order[: round(share * len(groups))]}
    if len(held) == len(groups):
        held = set()
    return [e for e in examples if e.group not in held], [e for e in examples if e.group in held]


def nth_batch(examples: Sequence[Example], config: AlignmentConfig, step: int) -> list[Example]:
    """The questions of a step: epochs in an order of their own, questions of like length together."""
    per_epoch = -(-len(examples) // config.batch_size)
    epoch, position = divmod(step, per_epoch)
    batches = like_lengths([e.tail for e in examples], config.batch_size, config.seed + epoch)
    return [examples[i] for i in batches[position]]


def schedule(config: AlignmentConfig, step: int, total: int) -> float:
    """The learning rate of a step as a share of the peak."""
    warm = math.ceil(config.warmup * total)
    if step < warm:
        return (step + 1) / (warm + 1)
    if config.scheduler == "constant":
        return 1.0
    done = (step - warm) / max(1, total - warm)
    return 1 - done if config.scheduler == "linear" else 0.5 * (1 + math.cos(math.pi * done))


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.state_dict())


def _deviation(module: Any, states: Tensor) -> Tensor:
    """The size of state noise: the training states' deviation where the module knows it, else this batch's."""
    if getattr(getattr(module, "config", None), "normalize_input", None) == "standardize":
        deviation: Tensor = module.state_deviation
        return deviation
    return states.flatten(0, 1).std(0, correction=0)
