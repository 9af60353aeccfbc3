"""Export for LLaMA-Factory, and an adapter as it leaves one taken in by a build."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model

from gag.config import Config, ExpertConfig, PromptsConfig, load_config
from gag.domain import load_module
from gag.errors import ConfigError
from gag.pipeline import Build
from gag.prompts import Prompts
from gag.records import Question
from gag.sources import Sources
from gag.testing import tiny_causal_lm, write_tiny_encoder, write_tiny_model
from gag.training.llamafactory import export_llamafactory, model_path, recipe
from gag.workspace import Workspace

PAIRS = [Question(f"q{n}", f"what is {{field}} {n}?", (f"it is “{n}”", "other")) for n in range(6)]


def test_what_is_written(tmp_path: Path) -> None:
    prompts = Prompts(PromptsConfig(), "vaccine adjuvants")
    config = ExpertConfig(learning_rate=3e-4, batch_size=4, accumulation=2, max_length=99)
    done = export_llamafactory("adjuvant", prompts, PAIRS, config, "owner/model", tmp_path / "out")
    rows = json.loads(done.data.read_text("utf-8"))
    system = "You are an expert in vaccine adjuvants. Give background knowledge relevant to the question."
    assert rows[2] == {"system": system, "instruction": "what is {field} 2?", "input": "", "output": "it is “2”"}
    assert len(rows) == len(PAIRS)
    info = json.loads(done.info.read_text())["adjuvant"]
    assert info["file_name"] == done.data.name
    assert set(info["columns"].values()) == set(rows[0])
    tree = yaml.safe_load(done.recipe.read_text())
    assert tree == recipe("adjuvant", config, "owner/model")
    wanted = {
        "model_name_or_path": "owner/model",
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": 32,
        "lora_alpha": 64,
        "lora_target": "all",
        "dataset_dir": ".",
        "dataset": "adjuvant",
        "cutoff_len": 99,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "learning_rate": 3e-4,
        "num_train_epochs": 8.0,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.1,
        "bf16": True,
        "seed": 42,
    }
    assert wanted.items() <= tree.items()
    assert done.result == tmp_path / "out" / tree["output_dir"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["adjuvant.json", "dataset_info.json", "sft.yaml"]


def test_full_fine_tuning_names_no_lora() -> None:
    tree = recipe("x", ExpertConfig(method="full", scheduler="constant"), "m")
    assert tree["finetuning_type"] == "full"
    assert tree["lr_scheduler_type"] == "constant_with_warmup"
    assert not any(key.startswith("lora") for key in tree)
    assert recipe("x", ExpertConfig(lora_targets=("q_proj", "v_proj")), "m")["lora_target"] == "q_proj,v_proj"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(ConfigError, match="not an empty folder"):
        export_llamafactory("x", Prompts(PromptsConfig(), "x"), PAIRS, ExpertConfig(), "m", tmp_path)
    assert (tmp_path / "dataset_info.json").read_text() == "{}"


def test_where_the_model_is(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert model_path("model", tmp_path) == str(tmp_path / "model")
    assert model_path("owner/name", tmp_path) == "owner/name"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("GAG_CACHE", str(tmp_path / "cache"))
    write_tiny_model(tmp_path / "lm")
    write_tiny_encoder(tmp_path / "encoder")
    choices = [
        *(f"models.{role}.{key}" for role in ("base", "expert") for key in ("source=lm", "dtype=float32")),
        "models.encoder.source=encoder",
        "readout.max_new_tokens=3",
        "alignment.max_steps=1",
        "alignment.dev_share=0",
    ]
    config: Config = load_config(overrides=choices)
    return Workspace(tmp_path, config)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft
def test_an_adapter_as_llama_factory_leaves_it(workspace: Workspace) -> None:
    root = workspace.root
    torch.manual_seed(0)
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(tiny_causal_lm(), lora).save_pretrained(root / "saves")
    for path in (root / "lm").glob("token*"):
        shutil.copy(path, root / "saves")
    for name in ("all_results.json", "trainer_state.json", "train_results.json", "vocab.json"):
        (root / "saves" / name).write_text("{}")
    for name in ("README.md", "trainer_log.jsonl", "merges.txt", "chat_template.jinja"):
        (root / "saves" / name).write_text("x")
    for name in ("training_args.bin", "training_loss.png"):
        (root / "saves" / name).write_bytes(b"\x80\x04.")
    (root / "saves" / "checkpoint-3").mkdir()
    (root / "saves" / "checkpoint-3" / "optimizer.pt").write_bytes(b"\x80\x04.")
    rows = [{"id": q.id, "question": q.question, "answers": list(q.answers)} for q in PAIRS]
    (root / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    build = Build(workspace, "adjuvant", Sources(qa=root / "qa.jsonl", expert="saves"))
    module = build.run(Build.module)
    assert module.expert_path is not None
    weights = "adapter_model.safetensors"
    assert (module.expert_path / weights).read_bytes() == (root / "saves" / weights).read_bytes()
    taken = {path.name for path in module.expert_path.iterdir()}
    assert not taken & {"training_args.bin", "checkpoint-3", "training_loss.png"}
    assert load_module(module.folder).expert.id == "lm"
    assert not list((root / "runs" / "adjuvant").glob("expert-*"))


def test_what_it_has_no_key_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="lora_from_layer"):
        recipe("x", ExpertConfig(lora_from_layer=2), "m")
    assert "lora_target" not in recipe("x", ExpertConfig(lora_from_layer=2, method="full"), "m")
