"""Recall against facts and slots: the invented facts, and the whole run on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.made_facts import KINDS, made_facts

from benchmarks import scaling
from gag.testing import write_tiny_encoder, write_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

SETTINGS = {
    "models.base.source": "base",
    "models.expert.source": "base",
    "models.encoder.source": "encoder",
    "models.base.dtype": "float32",
    "models.expert.dtype": "float32",
    "expert.epochs": "1",
    "expert.lora_rank": "2",
    "readout.layers": "[-1]",
    "readout.max_new_tokens": "4",
    "generation.max_new_tokens": "4",
    "projector.pretrain_pairs": "0",
    "projector.pretrain_lengths": "[]",
    "projector.hidden": "16",
    "alignment.counterfactual": "0",
}


def test_facts_are_invented_and_fewer_are_the_first_ones() -> None:
    train, test = made_facts(200)
    assert len(train) == 600 and len(test) == 200
    assert len({q.question for q in (*train, *test)}) == 800
    assert made_facts(50)[1] == test[:50]
    assert made_facts(50, seed=1)[1] != test[:50]
    assert 110 < sum(q.meta["projector"] for q in test) < 170
    by_fact = {q.meta["fact"]: q.meta["value"] for q in test}
    assert len(by_fact) == 200 and all(by_fact[q.meta["fact"]] == q.answers[0] for q in train)
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert not any(q.answers[0] in q.question for q in train)


def test_every_size_and_number_of_slots_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_model(tmp_path / "base", "qwen2", seed=1)
    write_tiny_encoder(tmp_path / "encoder")
    monkeypatch.setenv("GAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(scaling, "ASKED", 6)
    command = ["--out", str(tmp_path), "--facts", "16", "8", "--slots", "1", "2"]
    for key, value in SETTINGS.items():
        command += ["--set", f"{key}={value}"]
    scaling.main(command)
    rows = json.loads((tmp_path / "scaling.json").read_text("utf-8"))
    wanted = {(f"{who}, {k} slots", f"{n} facts, {s}") for who in ("gag", "expert") for k in (1, 2) for n in (8, 16)
              for s in ("seen", "unseen")}  # fmt: skip
    assert {(row["method"], row["domain"]) for row in rows} == wanted
    assert all(row["metric"] == "fact_recall" and 1 <= row["n"] <= 3 for row in rows)
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
    assert "facts, seen: gag" in capsys.readouterr().out
    scaling.main(command)
    assert "facts, seen: gag" not in capsys.readouterr().out
    assert json.loads((tmp_path / "scaling.json").read_text("utf-8")) == rows
