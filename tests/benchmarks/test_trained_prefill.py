"""The reader learns what a projector would read, and says it from the question alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from benchmarks import trained_prefill
from gag.records import write_jsonl
from gag.testing import write_tiny_workspace

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

CHOICES = {
    "expert": {"epochs": 1, "batch_size": 4},
    "readout": {"pooling": "segment_mean", "layers": [-2], "slots": 2, "parts": 2, "max_new_tokens": 6},
    "projector": {"kind": "gated_residual", "hidden": 16, "pretrain_pairs": 8, "pretrain_batch_size": 4},
    "generation": {"max_new_tokens": 3},
    "domains": {"alloys": {"qa": "train.jsonl"}},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAG_CACHE", str(tmp_path / "cache"))
    root = write_tiny_workspace(tmp_path / "w", **CHOICES)
    rows = [
        {
            "id": str(n),
            "question": f"alloy {n}?",
            "answers": [f"a{n}"],
            "value": f"a{n}",
            "fact": f"f{n}",
            "projector": n % 2 == 0,
        }
        for n in range(8)
    ]
    write_jsonl(root / "train.jsonl", rows)
    (root / "data" / "alloys").mkdir(parents=True)
    write_jsonl(root / "data" / "alloys" / "test.jsonl", rows)
    return root


def test_both_turns_are_trained_and_asked_after(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained_prefill, "BATCH", 8)
    command = [
        "--workspace",
        str(place),
        "--domain",
        "alloys",
        "--codes",
        "60",
        "--codes-rate",
        "0.01",
        "--epochs",
        "1",
    ]
    trained_prefill.main(command)
    said = capsys.readouterr().out
    left = [float(found) for found in re.findall(r"vectors left ([\d.]+)", said)]
    assert left[-1] < 0.8 * left[0], "what the projector would have read is learnt"
    assert len(re.findall(r"unseen +4 facts recalled", said)) == 2
    assert "base" in said and "own" in said


def test_what_is_said_does_not_depend_on_the_batch(place: Path) -> None:
    from gag.models.loading import load_causal_lm
    from gag.workspace import open_workspace

    config = open_workspace(place).config
    loaded = load_causal_lm(config.models.expert, root=place)

    class Bare(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = loaded.model

        def get_input_embeddings(self) -> torch.nn.Module:
            return loaded.model.get_input_embeddings()

        def get_base_model(self) -> torch.nn.Module:
            return loaded.model

    width = loaded.model.get_input_embeddings().weight.shape[1]
    flat = torch.zeros(2, 2 * width)
    reader = trained_prefill.Reader(Bare(), (2, 2), -1, flat, flat + 1)
    prompts = [[5, 6, 7], [8, 9, 10, 11, 12, 13]]
    together = reader(prompts)
    assert together.shape == (2, 2, 1, 2 * width)
    alone = torch.cat([reader([ids]) for ids in prompts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
