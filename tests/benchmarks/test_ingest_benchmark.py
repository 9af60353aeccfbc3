"""The benchmark of ingest on next to nothing: every row is there, and its targets are the ones asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import ingest
from gag.testing import byte_tokenizer


@pytest.mark.slow
def test_ingest_rows(tmp_path: Path) -> None:
    byte_tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    plan = ingest.Plan(texts=6, files=1, pages=2, sizes=(2, 4), model=str(tmp_path / "model"))
    rows = {row["what"]: row for row in ingest.ingest_rows(plan)}
    assert all(row["value"] > 0 for row in rows.values())
    assert rows["texts a second, all steps"]["at_least"] == 200
    assert rows["PDF pages a second, all steps"]["at_least"] == 5
    assert rows["memory at 4 documents against 2"]["at_most"] == 1.25


def test_the_texts_differ(tmp_path: Path) -> None:
    lines = ingest.write_texts(tmp_path / "t.jsonl", 30).read_text().splitlines()
    assert len(set(lines)) == 30 and all(900 < len(line) < 3000 for line in lines)
