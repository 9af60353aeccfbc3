"""The benchmark of documents alone and of updates, on tiny models and a few documents."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from benchmarks.commands import Commands

from benchmarks import from_documents as benchmark
from gag.cli.entry import run
from gag.demo.labs import load_lab
from gag.errors import InputError
from gag.records import Question
from gag.testing import write_tiny_encoder, write_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

CHOICES = {
    "expert.epochs": "1",
    "expert.lora_rank": "2",
    "readout.pooling": "segment_mean",
    "readout.layers": "[-2]",
    "readout.slots": "2",
    "readout.max_new_tokens": "2",
    "projector.kind": "mlp",
    "projector.pretrain_pairs": "0",
    "projector.warm_start": "none",
    "alignment.counterfactual": "0",
    "alignment.max_steps": "2",
    "generation.max_new_tokens": "2",
    "update.questions": "6",
    "synthesis.wordings": "1",
}


def here(arguments: Sequence[str]) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run(arguments)
    return code, out.getvalue()


def refused(arguments: Sequence[str]) -> tuple[int, str]:
    raise AssertionError(f"run again: {arguments}")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """`--set` for tiny models."""
    home = tmp_path_factory.mktemp("models")
    write_tiny_model(home / "base", seed=1)
    write_tiny_model(home / "expert", seed=2)
    write_tiny_encoder(home / "encoder")
    (home / "general.jsonl").write_text('{"id": "g", "question": "who wrote it?", "answers": ["he"]}\n')
    models = {f"models.{role}.source": str(home / role) for role in ("base", "expert", "encoder")}
    kinds = {"models.base.dtype": "float32", "models.expert.dtype": "float32"}
    kinds["router.general_questions"] = str(home / "general.jsonl")
    return benchmark.settings([f"{key}={value}" for key, value in {**models, **kinds, **CHOICES}.items()])


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAG_CACHE", str(tmp_path / "cache"))
    for name in ("GAG_WORKSPACE", "GAG_DEBUG", "RANK"):
        monkeypatch.delenv(name, raising=False)


def values(out: Path, table: str) -> dict[tuple[str, str, str], float]:
    rows = [row for row in json.loads((out / "from_documents.json").read_text()) if row["table"] == table]
    assert len({(row["method"], row["domain"], row["metric"]) for row in rows}) == len(rows)
    return {(row["method"], row["domain"], row["metric"]): row["value"] for row in rows}


def test_documents_alone(tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["alone", "--lab", "adjuvant", "--out", str(tmp_path / "out"), "--documents", "2", *tiny]
    assert benchmark.main(given, here) == 0
    found = values(tmp_path / "out", "alone adjuvant, first 2 documents")
    for method in ("base", "gag (written)", "gag (documents)"):
        assert found[method, "adjuvant", "nll"] > 0
    assert 0 <= found["expert (documents)", "adjuvant", "fact_recall"] <= 1
    difference = found["gag (documents) - gag (written)", "adjuvant: paired differences", "nll"]
    assert difference == pytest.approx(
        found["gag (documents)", "adjuvant", "nll"] - found["gag (written)", "adjuvant", "nll"]
    )
    covered = "adjuvant: facts that synthesised pairs ask for"
    assert 0.8 < found["documents", covered, "value in an answer"] <= 1
    assert found["documents", covered, "value is the answer"] <= found["documents", covered, "value in an answer"]
    assert found["written", "adjuvant: build", "pairs"] == 3 * len(load_lab("adjuvant").first(2).test)
    capsys.readouterr()

    assert benchmark.main(given, refused) == 0
    assert values(tmp_path / "out", "alone adjuvant, first 2 documents") == found
    with pytest.raises(InputError, match="other choices"):
        benchmark.main([*given, "--set", "expert.epochs=2"], refused)


def test_an_update(tiny: list[str], tmp_path: Path) -> None:
    given = ["update", "--lab", "adjuvant", "--out", str(tmp_path / "out"), "--documents", "5", *tiny]
    assert benchmark.main(given, here) == 0
    found = values(tmp_path / "out", "update adjuvant, first 5 documents")
    for side, questions in (("old", 32), ("new", 8)):
        assert found["gag (rebuilt)", f"adjuvant: {side} documents", "nll"] > 0
        assert ("gag (updated) - gag (before)", f"adjuvant: {side} documents, paired differences", "nll") in found
        rows = json.loads((tmp_path / "out" / "from_documents.json").read_text())
        assert {row["n"] for row in rows if row["domain"] == f"adjuvant: {side} documents"} == {questions}
    cost = {method: found[method, "adjuvant: cost", "seconds taken"] for method in ("update", "rebuild")}
    ratio = found["update / rebuild", "adjuvant: cost", "seconds taken"]
    assert ratio == pytest.approx(cost["update"] / cost["rebuild"]) and ratio > 0
    assert {found[which, "adjuvant: exit code", "exit code"] for which in ("update", "bad update")} <= {0, 1}
    assert benchmark.main(given, refused) == 0
    assert values(tmp_path / "out", "update adjuvant, first 5 documents") == found


def test_a_command_that_was_interrupted_has_no_seconds(tmp_path: Path) -> None:
    def interrupted(arguments: Sequence[str]) -> tuple[int, str]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Commands(tmp_path, interrupted)("build", "adjuvant")
    ran = Commands(tmp_path, lambda arguments: (0, '{"a": 1}'))("build", "adjuvant")
    assert (ran.code, ran.found, ran.seconds, ran.processor) == (0, {"a": 1}, None, None)
    timed = Commands(tmp_path, lambda arguments: (0, ""))("synth", "adjuvant")
    assert timed.found is None and timed.seconds is not None and timed.seconds >= 0
    with pytest.raises(RuntimeError, match="exit code 3"):
        Commands(tmp_path, lambda arguments: (3, ""))("ask", "adjuvant")


def test_the_share_that_is_kept() -> None:
    base, most = [0.0] * 10, [1.0] * 10
    half, all_kept = (benchmark.share_kept(base, some, most) for some in ([0.5] * 10, most))
    assert half is not None and (half.low, half.mean, half.high, half.n) == (0.5, 0.5, 0.5, 10)
    assert all_kept is not None and all_kept.mean == 1
    uneven = benchmark.share_kept(base, [1.0, 0.0] * 5, most)
    assert uneven is not None and uneven.low < 0.5 < uneven.high and uneven.mean == 0.5
    loss = benchmark.share_kept([8.0, 6.0], [4.0, 4.0], [2.0, 2.0])
    assert loss is not None and loss.mean == pytest.approx(3 / 5)
    assert benchmark.share_kept(base, most, base) is None
    assert benchmark.share_kept(base, most, [1.0, -1.0] * 5) is None


def test_facts_are_asked_for_where_their_document_s_pairs_say_so() -> None:
    lab = load_lab("adjuvant").first(1)

    def pair(answer: str, document: str) -> Question:
        return Question("q", "?", (answer,), None, {"document": document})

    document, value = lab.test[0].meta["document"], lab.test[0].meta["value"]
    asked: list[tuple[list[Any], list[int]]] = [
        ([pair(value, document)], [1, 1]),
        ([pair(f"about {value} in all", document)], [1, 0]),
        ([pair(value, "another")], [0, 0]),
    ]
    for made, counts in asked:
        rows = benchmark.coverage_rows(lab, made)
        assert [round(row.value * len(lab.test)) for row in rows] == counts
