"""The RAFT tables on a corpus of eight sentences and a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import raft as benchmark
from gag.records import write_jsonl
from gag.testing import write_tiny_encoder, write_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

SETTINGS = {
    "models.base.source": "base",
    "models.encoder.source": "encoder",
    "models.base.dtype": "float32",
    "corpus.chunk_tokens": "64",
    "generation.max_new_tokens": "3",
    "lora.epochs": "1",
    "lora.rank": "2",
    "raft.rank": "2",
    "raft.max_new_tokens": "16",
}


def test_every_table_has_its_rows_and_a_second_run_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    texts = [f"Alloy {n} is made of metal{n} in a furnace." for n in range(8)]
    write_jsonl(
        data / "materials" / "chemlitqa_chunks.jsonl", [{"id": f"c{n}", "text": t} for n, t in enumerate(texts)]
    )
    rows = [
        {"id": f"q{n}", "question": f"What is alloy {n} made of?", "answers": [f"metal{n}"], "context": texts[n]}
        for n in range(8)
    ]
    lost = {"id": "lost", "question": "What is it?", "answers": ["x"], "gold_sentences": ["Nowhere to be found."]}
    write_jsonl(data / "materials" / "chemlitqa_train.jsonl", rows[:5])
    write_jsonl(data / "materials" / "chemlitqa_test.jsonl", [*rows[5:], lost])
    write_tiny_model(out / "base", "qwen2", seed=1)
    write_tiny_encoder(out / "encoder")
    monkeypatch.setenv("GAG_CACHE", str(tmp_path / "cache"))
    for name, value in (("DEPTHS", (1, 2)), ("DISTRACTORS", (0, 2)), ("SHARES", (0.0, 1.0)), ("SWEEP_DEPTH", 2)):
        monkeypatch.setattr(benchmark, name, value)
    command = ["raft", "--data", str(data), "--out", str(out), "--train", "4", "--sweep", "2", "--test", "2"]
    for key, value in SETTINGS.items():
        command += ["--set", f"{key}={value}"]
    monkeypatch.setattr("sys.argv", command)
    benchmark.main()
    said = capsys.readouterr().out
    assert "3 of 4 test questions have their passage in the corpus; 2 are asked" in said
    found = json.loads((out / "raft.json").read_text("utf-8"))
    methods = {(row["table"], row["method"]) for row in found}
    assert {("retrieved", f"{name} k={k}") for name in ("rag", "lora+rag", "raft") for k in (1, 2)} <= methods
    assert {("retrieved", "lora"), ("retrieved", "raft - rag"), ("retrieved", "raft - lora")} <= methods
    assert {("distractors", f"{name} d={d}") for name in ("rag", "lora+rag", "raft") for d in (0, 2)} <= methods
    assert {("oracle-share", f"raft P={share}") for share in ("0.0", "1.0")} <= methods
    assert {row["n"] for row in found if row["metric"] == "token_f1"} == {2}
    cited = {row["method"] for row in found if row["metric"] == "citation_verbatim"}
    assert cited and all(method.startswith("raft ") for method in cited)
    benchmark.main()
    assert " asked, " not in capsys.readouterr().out
    assert json.loads((out / "raft.json").read_text("utf-8")) == found
