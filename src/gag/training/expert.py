"""Stage `expert`: supervised fine-tuning on QA pairs, loss on answer tokens only (paper, section 3).

TRL's SFTTrainer does the training, on one CPU, one GPU, or under `accelerate launch` (DDP, FSDP, DeepSpeed). Examples
are tokenised here, by the same code that asks questions later, so that training and use see the same prompt.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_config import SFTConfig

from gag.atomic import disk_errors
from gag.config import ExpertConfig
from gag.errors import ConfigError
from gag.memory import give_back
from gag.models import chat
from gag.models.attention import training_attention
from gag.models.loading import LoadedModel
from gag.models.sizes import context_of
from gag.progress import Progress, silent
from gag.prompts import Message, Prompts
from gag.records import Document, Question
from gag.training.answer_loss import SHARDED, AnswerLossTrainer
from gag.training.order import LikeLengths
from gag.training.processes import processes

ADAPTER = "adapter"
MODEL = "model"


@dataclass(frozen=True)
class ExpertData:
    """What an expert learns: pairs under its prompts and, before them, plain documents (may be none).

    With `general`, the pairs stand under the prompt of the base's general route: a base that is fine-tuned itself.
    `start` is the adapter (PEFT) that training goes on from, instead of a new one.
    """

    prompts: Prompts
    questions: Sequence[Question]
    documents: Sequence[Document] = ()
    general: bool = False
    start: Path | None = None

    def asked(self, question: str) -> tuple[Message, ...]:
        """The prompt of a pair."""
        return self.prompts.general(question) if self.general else self.prompts.expert(question)


@dataclass(frozen=True)
class ExpertRows:
    """Tokenised examples, `input_ids` and `labels` (-100 where nothing is learnt), and pieces of text before them.

    `start` is the adapter that training goes on from, if any.
    """

    pairs: list[dict[str, list[int]]]
    pieces: list[dict[str, list[int]]] = field(default_factory=list)
    start: Path | None = None


def train_expert(
    loaded: LoadedModel,
    data: ExpertData,
    config: ExpertConfig,
    out: Path,
    *,
    on_progress: Progress = silent,
    report_to: Sequence[str] = (),
) -> Path:
    """Train and return the folder of the result: `out/adapter` (PEFT) or `out/model`; goes on from checkpoints.

    `loaded` is changed (it gets the adapter, or is trained): load it for this call alone.
    """
    target = out / (ADAPTER if config.method == "lora" else MODEL)
    if target.is_dir():
        return target
    context = context_of(loaded.model.config) or config.max_length
    fitting = config.model_copy(update={"max_length": min(config.max_length, context)})
    pairs = sft_examples(data, loaded.tokenizer, fitting)
    pieces = _pretraining_pieces(data.documents, loaded.tokenizer, config) if config.pretrain_epochs else []
    rows = ExpertRows(pairs, pieces, data.start)
    return train_rows(loaded, rows, config, out, on_progress=on_progress, report_to=report_to)


def train_rows(
    loaded: LoadedModel,
    rows: ExpertRows,
    config: ExpertConfig,
    out: Path,
    *,
    on_progress: Progress = silent,
    report_to: Sequence[str] = (),
) -> Path:
    """`train_expert` on examples that are tokenised already."""
    target = out / (ADAPTER if config.method == "lora" else MODEL)
    if target.is_dir():
        return target
    torch.manual_seed(config.seed)
    model: Any = loaded.model
    held = loaded.model.dtype
    if config.method == "lora":
        if rows.start is None:
            model = _with_new_adapter(model, config)
        else:
            model = PeftModel.from_pretrained(model, str(rows.start), is_trainable=True)
            for adapter in model.peft_config.values():  # where the library looks for the model's files when it saves
                adapter.base_model_name_or_path = loaded.model.name_or_path
    else:
        model.float().requires_grad_(True)  # a small step would be rounded away in half precision
    if rows.pieces:
        stage = _Stage("pretrain", config.pretrain_epochs, config.pretrain_learning_rate, rows.pieces, held)
        _run(model, loaded.tokenizer, config, stage, out, on_progress, report_to)
    stage = _Stage("expert", config.epochs, config.learning_rate, rows.pairs, held)
    weights = _run(model, loaded.tokenizer, config, stage, out, on_progress, report_to)
    if config.method == "full" and weights is None:
        model.to(held)
    with disk_errors(f"The expert {target} could not be written"):
        _save(model, weights, loaded, target)
    return target


def sft_examples(
    data: ExpertData, tokenizer: PreTrainedTokenizerBase, config: ExpertConfig
) -> list[dict[str, list[int]]]:
    """`input_ids` and `labels` (-100 on the prompt) of every pair; raises InputError for one that does not fit."""
    rows = []
    for question in data.questions:
        prompt = list(chat.encode(data.asked(question.question), tokenizer).ids)
        room = config.max_length - len(prompt)
        answer = chat.fitted_answer(question, tokenizer, room=room, truncate=config.truncate_answers)
        rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    return rows


@dataclass(frozen=True)
class _Stage:
    name: str
    epochs: float
    learning_rate: float
    rows: list[dict[str, list[int]]]
    dtype: torch.dtype
    """What the model was loaded in."""


class _Trainer(AnswerLossTrainer):
    """Takes its batches in an order that can be gone on with (the library's draws from the global random state)."""

    def _get_train_sampler(self, train_dataset: Any = None) -> LikeLengths:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        step = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        self.order = LikeLengths([len(ids) for ids in rows["input_ids"]], step, self.args.seed)
        return self.order


class _SameOrder(TrainerCallback):
    """Every epoch in its own order, also the one that is gone on with.

    What the library puts around the sampler in several processes, and once more where batches are skipped, keeps the
    epoch's number from it.
    """

    def __init__(self) -> None:
        self.trainer: _Trainer | None = None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer is not None:
            self.trainer.order.set_epoch(int(state.epoch or 0))


class _Told(TrainerCallback):
    """Passes the trainer's steps and losses on."""

    def __init__(self, name: str, on_progress: Progress) -> None:
        self.name, self.on_progress, self.note = name, on_progress, ""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            self.note = f"loss {float(logs['loss']):.3f}"

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.on_progress(self.name, state.global_step, state.max_steps, self.note)


def _run(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    config: ExpertConfig,
    stage: _Stage,
    out: Path,
    on_progress: Progress,
    report_to: Sequence[str],
) -> dict[str, torch.Tensor] | None:
    """Train one stage; where weights are sharded over processes, return them whole (on the main process)."""
    folder = out / f"{stage.name}-checkpoints"
    order = _SameOrder()
    trainer = _Trainer(
        model=model,
        args=_arguments(config, stage, folder, next(model.parameters()), report_to),
        train_dataset=datasets.Dataset.from_list(stage.rows),
        processing_class=tokenizer,
        callbacks=[_Told(stage.name, on_progress), order],
    )
    order.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    longest = max(len(row["input_ids"]) for row in stage.rows)
    checkpoint = last_checkpoint(folder)  # of a stage that had ended: its weights are loaded, no step is taken
    with disk_errors(f"A checkpoint in {folder} could not be written"), training_attention(model, longest):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    give_back()
    processes().wait_for_everyone()
    if trainer.accelerator.distributed_type not in SHARDED:
        return None
    whole: dict[str, torch.Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return whole


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of the trainer's (its state file is written last), or None."""
    found = []
    for candidate in folder.glob("checkpoint-*"):
        try:
            json.loads((candidate / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            continue
        found.append(candidate)
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _arguments(
    config: ExpertConfig, stage: _Stage, folder: Path, parameter: torch.Tensor, report_to: Sequence[str]
) -> SFTConfig:
    steps = -(-len(stage.rows) // (config.batch_size * config.accumulation * processes().num_processes))
    total = max(1, int(steps * stage.epochs))
    on_cpu = parameter.device.type == "cpu"
    return SFTConfig(
        output_dir=str(folder),
        num_train_epochs=stage.epochs,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=stage.learning_rate,
        lr_scheduler_type=config.scheduler if config.scheduler != "constant" else "constant_with_warmup",
        warmup_steps=round(config.warmup * total),
        weight_decay=config.weight_decay,
        activation_checkpointing=config.gradient_checkpointing,
        gradient_checkpointing=config.gradient_checkpointing,  # its old name, on by default in TRL
        max_length=None,
        use_cpu=on_cpu,
        bf16=stage.dtype is torch.bfloat16,  # trained weights are float32, products are in the dtype asked for
        dataloader_pin_memory=not on_cpu,
        save_strategy="steps",
        save_steps=max(10, total // 5),
        save_total_limit=2,
        logging_steps=max(1, total // 100),
        report_to=list(report_to) or "none",
        disable_tqdm=True,
        seed=config.seed,
        data_seed=config.seed,
    )


def _with_new_adapter(model: Any, config: ExpertConfig) -> Any:
    try:
        return get_peft_model(model, _lora(config, model))
    except ValueError as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        known = ", ".join(_linear_names(model))
        raise ConfigError(
            f"No adapter can be put on the expert model: {reason}.",
            f"Mend expert.lora_targets; its linear layers: {known}; or all-linear.",
        ) from None


def _lora(config: ExpertConfig, model: Any) -> LoraConfig:
    targets = config.lora_targets
    count = int(model.config.get_text_config().num_hidden_layers)
    if config.lora_from_layer >= count:
        raise ConfigError(
            f"expert.lora_from_layer is {config.lora_from_layer}, but the expert model has {count} layers.",
            f"Use 0 to {count - 1}.",
        )
    known = _linear_names(model)
    for target in () if isinstance(targets, str) else targets:
        if not any(f".{name}".endswith(f".{target}") for name, _ in model.named_modules()):
            raise ConfigError(
                f"expert.lora_targets names {target!r}, which the expert model does not have.",
                f"Its linear layers: {', '.join(known)}; or all-linear.",
            )
    if config.lora_from_layer and isinstance(targets, str):  # the library takes layers only with a list of names
        targets = tuple(known)
    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        layers_to_transform=list(range(config.lora_from_layer, count)) if config.lora_from_layer else None,
        task_type="CAUSAL_LM",
    )


def _linear_names(model: Any) -> list[str]:
    """Last parts of the names of all linear layers but the output head: what all-linear stands for."""
    head = model.get_output_embeddings()
    linear = (name for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head)
    return sorted({name.rpartition(".")[2] for name in linear})


def _pretraining_pieces(
    documents: Sequence[Document], tokenizer: PreTrainedTokenizerBase, config: ExpertConfig
) -> list[dict[str, list[int]]]:
    """Documents one after another, each closed by end-of-text, cut into pieces of `pretrain_length` tokens."""
    stream: list[int] = []
    for document in documents:
        text = f"{document.title}\n\n{document.text}" if document.title else document.text
        stream += chat.encode_answer(text, tokenizer)
    pieces = [stream[i : i + config.pretrain_length] for i in range(0, len(stream), config.pretrain_length)]
    return [{"input_ids": piece, "labels": list(piece)} for piece in pieces if len(piece) > 1]


def _save(model: Any, weights: dict[str, torch.Tensor] | None, loaded: LoadedModel, target: Path) -> None:
    """Write the result beside its place, then rename; `weights` take the place of the model's own where given."""
    state = processes()
    if state.is_main_process:
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            if target.name == MODEL:
                model.save_pretrained(str(partial), state_dict=weights)
                loaded.tokenizer.save_pretrained(str(partial))
            else:
                for adapter in model.peft_config.values():
                    adapter.base_model_name_or_path = loaded.source  # not the folder where it lies on this machine
                model.save_pretrained(str(partial), state_dict=weights, save_embedding_layers=False)
                (partial / "README.md").unlink(missing_ok=True)  # the library's form, with that folder in it
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    state.wait_for_everyone()
