"""Steps: folders by what they depend on, one process at a time, an alignment kept whole with the base unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from gag.config import AlignmentConfig, Config, PromptsConfig
from gag.errors import BusyError, RunError
from gag.models.base import Base
from gag.models.projector import ConstantToken
from gag.prompts import Prompts
from gag.records import Question
from gag.steps import PROJECTOR_FILE, AlignmentStep, Steps, said
from gag.testing import byte_tokenizer, tiny_causal_lm
from gag.training.alignment import alignment_examples
from gag.workspace import Workspace

PROMPTS = Prompts(PromptsConfig(), "alloys")


def steps(root: Path) -> Steps:
    return Steps(Workspace(root, Config()), "alloys")


def test_a_folder_is_named_by_step_and_key(tmp_path: Path) -> None:
    assert steps(tmp_path).folder("lora", "0123456789abcdef") == tmp_path / "runs" / "alloys" / "lora-0123456789ab"


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with steps(tmp_path).alone(), pytest.raises(BusyError, match="alloys"), steps(tmp_path).alone():
        pass
    with FileLock(tmp_path / "runs" / "alloys" / ".lock", timeout=0):
        pass  # let go of
    with pytest.raises(RuntimeError, match="mine"), steps(tmp_path).alone():
        raise RuntimeError("mine")
    with steps(tmp_path).alone():
        pass


def test_an_alignment_is_kept_with_its_history(tmp_path: Path) -> None:
    base = Base(tiny_causal_lm(), byte_tokenizer(), source="t", fingerprint="f" * 64)
    config = AlignmentConfig(epochs=1, batch_size=2, dev_share=0)
    questions = [Question(f"q{n}", "why?", (f"a{n}",)) for n in range(4)]
    examples = alignment_examples(base, PROMPTS, questions, [torch.zeros(1, 1, 4)] * 4, 1, config)
    torch.manual_seed(0)
    module = ConstantToken(1, base.table.weight)
    folder = steps(tmp_path).folder("constant", "k" * 20)
    done = steps(tmp_path).aligned(base, module, AlignmentStep("constant", config, examples), folder, data={"qa": "h"})
    assert done == folder
    assert set(load_file(folder / PROJECTOR_FILE)) == {"slot_vectors"}
    row = json.loads((folder / "step.json").read_text())
    assert (row["step"], row["data"], len(row["losses"])) == ("constant", {"qa": "h"}, 2)
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_base_that_changes_is_an_error_and_nothing_is_kept(tmp_path: Path) -> None:
    base = Base(tiny_causal_lm(), byte_tokenizer(), source="t", fingerprint="f" * 64)
    config = AlignmentConfig(epochs=1, dev_share=0)
    examples = alignment_examples(base, PROMPTS, [Question("q", "?", ("a",))], [torch.zeros(1, 1, 4)], 1, config)

    def spoil(step: str, done: int, total: int, note: str = "") -> None:
        base.table.weight.data[0, 0] += 1

    spoiling = Steps(Workspace(tmp_path, Config()), "alloys", spoil)
    folder = spoiling.folder("constant", "k" * 20)
    module = ConstantToken(1, base.table.weight)
    with pytest.raises(RunError, match="weights of the base changed"):
        spoiling.aligned(base, module, AlignmentStep("constant", config, examples), folder)
    assert not (folder / PROJECTOR_FILE).exists()


def test_a_prompt_in_a_key_is_what_is_said() -> None:
    assert said(PROMPTS.general("?")) == said(
        Prompts(PromptsConfig(base_domain="{question}{knowledge}"), "x").general("?")
    )
    assert said(PROMPTS.general("?")) != said(PROMPTS.general("!"))
