"""The benchmark on two real domains, whole, on tiny models and a few made pairs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import real_data
from gag.records import write_jsonl

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

SMALLER = ("expert.epochs=1", "alignment.epochs=1", "readout.max_new_tokens=4", "generation.max_new_tokens=4")


class Alike:
    """A scorer for which all texts are alike."""

    def f1(self, candidates: list[str], references: list[tuple[str, ...]]) -> list[float]:
        return [1.0] * len(candidates)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of the shape that the benchmark reads, with six pairs a file."""
    folder = tmp_path / "data"
    files = [file for _, *pair in real_data.DOMAINS.values() for file in pair]
    files += [f"general/{name}.jsonl" for name in real_data.GENERAL_FILES]
    for file in files:
        rows = [{"id": f"{n}", "question": f"What is {file} {n}?", "answers": [f"it is {n}"]} for n in range(6)]
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(folder / file, rows)
    return folder


def rows(
    place: Path, data: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch, *more: str
) -> dict[tuple[str, str, str], float]:
    monkeypatch.setattr(real_data, "_scorer", Alike)
    monkeypatch.setattr(real_data, "LAYERS", (-1, -4))
    monkeypatch.setattr(real_data, "BARE", (-4,))
    command = ["real_data", "--data", str(data), "--out", str(place), *more]
    for choice in (*tiny, *SMALLER):
        command += ["--set", choice]
    monkeypatch.setattr(sys, "argv", command)
    real_data.main()
    file = place / ("ablations.json" if "--ablations" in more else "real_data.json")
    found = json.loads(file.read_text("utf-8"))
    return {(row["method"], row["domain"], row["metric"]): row["value"] for row in found}


def test_both_domains(place: Path, data: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = rows(place, data, tiny, monkeypatch)
    for name in real_data.DOMAINS:
        for method in ("base", "constant", "egc", "gag-oracle", "gag"):
            assert {metric for m, d, metric in found if (m, d) == (method, name)} == {*real_data.METRICS, "bertscore"}
        assert ("gag-oracle - constant", f"{name} (paired differences)", "nll") in found
    for name in real_data.GENERAL_FILES:
        assert ("gag", f"general: {name}", "routed_general") in found


def test_layers_and_stages(place: Path, data: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = rows(place, data, tiny, monkeypatch, "--ablations")
    assert {method for method, _, _ in found} == {
        "trained expert, layer -1",
        "trained expert, layer -4",
        "trained expert, layer -4, untrained projector",
        "untrained expert, layer -4",
        "untrained expert, layer -4, untrained projector",
        "trained - untrained expert, layer -4",
    }
    assert len(set(found.values())) == len(found)
    values = {method: value for (method, _, _), value in found.items()}
    apart = values["trained expert, layer -4"] - values["untrained expert, layer -4"]
    assert values["trained - untrained expert, layer -4"] == pytest.approx(apart)
