"""An expert learns answers and nothing else, and an interrupted training ends where an uninterrupted one does."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import datasets
import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from gag.config import ExpertConfig, ModelConfig, PromptsConfig
from gag.errors import ConfigError, InputError, RunError
from gag.models import chat
from gag.models.experts import with_adapter
from gag.models.fingerprint import identity_fingerprint
from gag.models.loading import LoadedModel, load_causal_lm
from gag.prompts import Prompts
from gag.records import Document, Question
from gag.testing import IM_END_ID, byte_tokenizer, tiny_causal_lm, write_tiny_model
from gag.training import expert as module
from gag.training.answer_loss import AnswerLossTrainer
from gag.training.expert import ExpertData, last_checkpoint, sft_examples, train_expert

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

PROMPTS = Prompts(PromptsConfig(expert_system=""), "alloys", "")
QUESTIONS = [Question(f"q{n}", "Q" + "?" * n, ("abcde"[: 1 + n % 5],)) for n in range(8)]
DOCUMENTS = [Document("d1", "Some plain text.", title="Title"), Document("d2", "More of it.")]
DATA = ExpertData(PROMPTS, QUESTIONS)


def config(**choices: object) -> ExpertConfig:
    small = {
        "lora_rank": 2,
        "lora_alpha": 4,
        "batch_size": 4,
        "epochs": 1,
        "learning_rate": 1e-2,
        "pretrain_length": 16,
    }
    return ExpertConfig.model_validate({**small, **choices})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_model(tmp_path_factory.mktemp("small")))


def loaded(source: str, dtype: str = "float32") -> LoadedModel:
    return load_causal_lm(ModelConfig.model_validate({"source": source, "dtype": dtype, "device": "cpu"}))


class Told(list[tuple[str, int, int]]):
    """Progress calls; raises at the `stop`-th step of stage `at`."""

    def __init__(self, at: str = "", stop: int = 0) -> None:
        self.at, self.stop = at, stop

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None:
        self.append((step, done, total))
        if (step, done) == (self.at, self.stop):
            raise KeyboardInterrupt


def weights(folder: Path) -> dict[str, Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-6)


def test_labels_are_the_answer_and_the_end_of_the_turn() -> None:
    tokenizer = byte_tokenizer()
    for question, row in zip(QUESTIONS, sft_examples(DATA, tokenizer, config()), strict=True):
        prompt = list(chat.encode(PROMPTS.expert(question.question), tokenizer).ids)
        answer = [*question.answers[0].encode(), IM_END_ID]
        assert row == {"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer}


def test_what_does_not_fit_is_refused_or_cut() -> None:
    data = ExpertData(PROMPTS, [Question("long", "Q", ("x" * 50,))])
    prompt = len(chat.encode(PROMPTS.expert("Q"), byte_tokenizer()).ids)
    with pytest.raises(InputError, match="'long' has 51 tokens"):
        sft_examples(data, byte_tokenizer(), config(max_length=prompt + 50))
    (row,) = sft_examples(data, byte_tokenizer(), config(max_length=prompt + 50, truncate_answers=True))
    assert row["labels"][prompt:] == list(b"x" * 50)
    with pytest.raises(InputError, match="alone is longer"):
        sft_examples(data, byte_tokenizer(), config(max_length=prompt, truncate_answers=True))


def test_the_models_context_limits_examples_too(tmp_path: Path) -> None:
    folder = tmp_path / "short"
    tiny_causal_lm(max_positions=64).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    data = ExpertData(PROMPTS, [Question("long", "Q", ("x" * 50,))])
    with pytest.raises(InputError, match="long"):
        train_expert(loaded(str(folder)), data, config(max_length=2048), tmp_path / "out")


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_loss_is_the_librarys(source: str, tmp_path: Path, method: str) -> None:
    model: Any = loaded(source).model
    if method == "lora":
        model = peft.get_peft_model(model, module._lora(config(), model))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter)
    else:
        model.requires_grad_(True)
    rows = sft_examples(DATA, byte_tokenizer(), config())

    def trainer(kind: type[SFTTrainer]) -> SFTTrainer:
        return kind(
            model=model,
            args=SFTConfig(output_dir=str(tmp_path), max_length=None, use_cpu=True, bf16=False, report_to="none",
                           activation_checkpointing=False, gradient_checkpointing=False, dataloader_pin_memory=False),
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=byte_tokenizer(),
        )  # fmt: skip

    ours, theirs = trainer(AnswerLossTrainer), trainer(SFTTrainer)
    assert isinstance(ours, AnswerLossTrainer) and ours.head is not None
    batch = ours.data_collator(rows[:5])
    assert int((batch["labels"] != -100).sum()) == sum(len(r["labels"]) - r["labels"].count(-100) for r in rows[:5])
    for items in (None, torch.tensor(37)):
        found = []
        for one in (ours, theirs):
            model.zero_grad()
            loss = one.compute_loss(model, {k: v.clone() for k, v in batch.items()}, num_items_in_batch=items)
            loss.backward()
            found.append(
                (loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
            )
        torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
        assert found[0][1].keys() == found[1][1].keys() != set()
        for name, gradient in found[1][1].items():
            torch.testing.assert_close(found[0][1][name], gradient, rtol=1e-3, atol=1e-5)


def nll(model: Any) -> float:
    rows = sft_examples(DATA, byte_tokenizer(), config())
    with torch.no_grad():
        losses = [model(torch.tensor([r["input_ids"]]), labels=torch.tensor([r["labels"]])).loss for r in rows]
    return float(torch.stack(losses).mean())


def test_lora_learns_the_answers_and_only_the_adapter_changes(source: str, tmp_path: Path) -> None:
    held = loaded(source)
    before = nll(held.model)
    told = Told()
    target = train_expert(held, DATA, config(epochs=5), tmp_path, on_progress=told)
    assert target == tmp_path / "adapter"
    assert [t for t in told if t[0] == "expert"] == [("expert", n, 10) for n in range(1, 11)]
    assert identity_fingerprint(held.model) == held.fingerprint
    fresh = loaded(source)
    trained = peft.PeftModel.from_pretrained(fresh.model, str(target))
    assert nll(trained.eval()) < before - 0.5
    assert json.loads((target / "adapter_config.json").read_text())["base_model_name_or_path"] == source
    assert not list(tmp_path.glob(".*"))
    stamp = (target / "adapter_model.safetensors").stat().st_mtime_ns
    again = Told()
    assert train_expert(loaded(source), DATA, config(epochs=5), tmp_path, on_progress=again) == target
    assert again == [] and (target / "adapter_model.safetensors").stat().st_mtime_ns == stamp


def test_all_weights(source: str, tmp_path: Path) -> None:
    before = nll(loaded(source).model)
    target = train_expert(loaded(source), DATA, config(method="full", epochs=4, learning_rate=5e-3), tmp_path)
    assert target == tmp_path / "model"
    trained = loaded(str(target))
    assert trained.fingerprint != loaded(source).fingerprint
    assert nll(trained.model) < before - 0.5
    assert trained.model.generation_config is not None


@pytest.mark.parametrize("method", ["lora", "full"])
def test_in_bfloat16_the_trained_weights_are_float32(source: str, tmp_path: Path, method: str) -> None:
    """Steps too small for bfloat16 add up; the result is held as the model was."""
    held = loaded(source, "bfloat16")
    seen: set[torch.dtype] = set()

    def told(step: str, done: int, total: int, note: str = "") -> None:
        seen.update(p.dtype for p in held.model.parameters() if p.requires_grad)

    target = train_expert(held, DATA, config(method=method, learning_rate=1e-4), tmp_path, on_progress=told)
    assert seen == {torch.float32}
    saved = {t.dtype for t in weights(target).values()}
    assert saved == {torch.float32 if method == "lora" else torch.bfloat16}


def test_pretraining_comes_first_and_counts(source: str, tmp_path: Path) -> None:
    told = Told()
    data = ExpertData(PROMPTS, QUESTIONS, DOCUMENTS)
    with_it = train_expert(loaded(source), data, config(pretrain_epochs=2), tmp_path / "a", on_progress=told)
    stages = [step for step, _, _ in told]
    assert set(stages) == {"pretrain", "expert"}
    assert stages == sorted(stages, reverse=True)
    without = train_expert(loaded(source), data, config(), tmp_path / "b", on_progress=(other := Told()))
    assert {step for step, _, _ in other} == {"expert"}
    one, two = weights(with_it), weights(without)
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_documents_follow_one_another_in_pieces() -> None:
    pieces = module._pretraining_pieces(DOCUMENTS, byte_tokenizer(), config(pretrain_length=8))
    stream = [i for piece in pieces for i in piece["input_ids"]]
    assert stream == [*b"Title\n\nSome plain text.", IM_END_ID, *b"More of it.", IM_END_ID]
    assert all(len(piece["input_ids"]) == 8 for piece in pieces[:-1])
    assert all(piece["labels"] == piece["input_ids"] for piece in pieces)
    last = module._pretraining_pieces([Document("d", "12345678")], byte_tokenizer(), config(pretrain_length=8))
    assert len(last) == 1  # a single token has nothing to predict


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
@pytest.mark.parametrize("stop", [13])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    source: str, tmp_path: Path, method: str, stop: int
) -> None:
    """16 steps of 4 an epoch: checkpoints at 10 and 16, so the kill loses three steps in the middle of an epoch."""
    chosen = config(method=method, batch_size=2, epochs=4, lora_dropout=0.1)
    whole = weights(train_expert(loaded(source), DATA, chosen, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        train_expert(loaded(source), DATA, chosen, tmp_path / "cut", on_progress=Told("expert", stop))
    told = Told()
    assert_equal(weights(train_expert(loaded(source), DATA, chosen, tmp_path / "cut", on_progress=told)), whole)
    assert told[0][1] == 11


def test_an_interruption_after_pretraining_does_not_repeat_it(source: str, tmp_path: Path) -> None:
    data = ExpertData(PROMPTS, QUESTIONS, DOCUMENTS)
    chosen = config(pretrain_epochs=1)
    whole = weights(train_expert(loaded(source), data, chosen, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        train_expert(loaded(source), data, chosen, tmp_path / "cut", on_progress=Told("expert", 1))
    told = Told()
    assert_equal(weights(train_expert(loaded(source), data, chosen, tmp_path / "cut", on_progress=told)), whole)
    assert {step for step, _, _ in told} == {"expert"}


def test_a_half_written_checkpoint_is_not_gone_on_from(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for number, text in ((2, "{}"), (10, "{}"), (12, '{"half'), (14, None)):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        if text is not None:
            (folder / "trainer_state.json").write_text(text)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


@pytest.mark.parametrize(
    "choices",
    [
        {"scheduler": "linear"},
        {"scheduler": "constant", "warmup": 0.5},
        {"gradient_checkpointing": True},
        {"accumulation": 2, "batch_size": 2},
        {"lora_targets": ["q_proj", "down_proj"], "weight_decay": 0.1},
    ],
    ids=str,
)
def test_the_other_choices_train_too(source: str, tmp_path: Path, choices: dict[str, object]) -> None:
    told = Told()
    target = train_expert(loaded(source), DATA, config(**choices), tmp_path, on_progress=told)
    assert told[-1] == ("expert", 2, 2)
    found = weights(target)
    assert any(bool(t.any()) for name, t in found.items() if "lora_B" in name)
    if "lora_targets" in choices:
        assert {name.split(".")[-3] for name in found} == {"q_proj", "down_proj"}


def test_every_epoch_is_told_to_the_sampler(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(module._SameOrder, "on_epoch_begin", watched(module._SameOrder.on_epoch_begin, told))
    train_expert(loaded(source), DATA, config(batch_size=2, epochs=3), tmp_path)
    assert told == [0, 1, 2]


def watched(real: Any, told: list[int]) -> Any:
    def on_epoch_begin(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        real(self, args, state, control, **kwargs)
        assert self.trainer is not None
        told.append(self.trainer.order.epoch)

    return on_epoch_begin


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("q_proj", "typo"), "names 'typo'"),
        (("self_attn",), "No adapter can be put on"),
    ],
)
def test_layers_that_cannot_have_an_adapter_are_named(
    source: str, tmp_path: Path, targets: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        train_expert(loaded(source), DATA, config(lora_targets=targets), tmp_path)
    assert "q_proj" in caught.value.hint and "\n" not in caught.value.message


def test_one_layers_name_is_that_layer_also_from_a_layer_on(source: str, tmp_path: Path) -> None:
    chosen = config(lora_targets="q_proj", lora_from_layer=1)
    found = weights(train_expert(loaded(source), DATA, chosen, tmp_path))
    assert {name.split(".")[-3] for name in found} == {"q_proj"}


def test_accumulated_batches_are_one_batch(source: str, tmp_path: Path) -> None:
    whole = train_expert(loaded(source), DATA, config(batch_size=8), tmp_path / "a")
    parts = train_expert(loaded(source), DATA, config(batch_size=2, accumulation=4), tmp_path / "b")
    one, two = weights(whole), weights(parts)
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("write", ["checkpoint", "result"])
def test_a_full_disk_is_one_plain_error(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    original = peft.PeftModel.save_pretrained

    def full(self: Any, folder: str, **choices: Any) -> None:
        if ("checkpoint-" in folder) == (write == "checkpoint"):
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, folder, **choices)

    with monkeypatch.context() as patched:
        patched.setattr(peft.PeftModel, "save_pretrained", full)
        with pytest.raises(RunError, match="No space left") as caught:
            train_expert(loaded(source), DATA, config(), tmp_path)
    assert caught.value.hint
    assert not (tmp_path / "adapter").exists()
    assert (train_expert(loaded(source), DATA, config(), tmp_path) / "adapter_model.safetensors").is_file()


def test_an_adapter_serves_the_pool(source: str, tmp_path: Path) -> None:
    held = loaded(source)
    with_adapter(held, train_expert(loaded(source), DATA, config(), tmp_path), "alloys")
    assert identity_fingerprint(held.model) == held.fingerprint


def test_training_goes_on_from_an_adapter(source: str, tmp_path: Path) -> None:
    start = train_expert(loaded(source), DATA, config(), tmp_path / "first")
    still = ExpertData(PROMPTS, QUESTIONS, start=start)
    kept = train_expert(loaded(source), still, config(learning_rate=1e-30, epochs=10), tmp_path / "still")
    assert weights(kept).keys() == weights(start).keys()
    assert all(torch.equal(weights(kept)[name], tensor) for name, tensor in weights(start).items())
    assert json.loads((kept / "adapter_config.json").read_text())["base_model_name_or_path"] == source
    moved = train_expert(loaded(source), still, config(), tmp_path / "moved")
    assert any(not torch.equal(weights(moved)[name], tensor) for name, tensor in weights(start).items())
