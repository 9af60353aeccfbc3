"""`gag ingest`: what it prints, its exit codes, and that it can be run again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gag.testing import byte_tokenizer

Gag = Callable[..., Any]


@pytest.fixture
def desk(tmp_path: Path, gag: Gag) -> Path:
    """A workspace whose expert has a byte tokenizer, and a folder of texts of which one is broken."""
    byte_tokenizer().save_pretrained(tmp_path / "expert")
    (tmp_path / "expert" / "config.json").write_text('{"model_type": "llama"}')
    made = gag("init", "ws", "--set", "models.expert.source=../expert", cwd=tmp_path)
    assert made.code == 0, made.err
    papers = tmp_path / "ws" / "papers"
    papers.mkdir()
    (papers / "a.md").write_text(
        "# Mice\n\nMice were given five doses of the adjuvant.\n\n## References\n\n[1] Smith 2001.\n"
    )
    (papers / "b.txt").write_text("The vials were kept cold until they were opened.")
    (papers / "zero.pdf").write_bytes(b"")
    (papers / "photo.jpg").write_bytes(b"x")
    return tmp_path / "ws"


def test_what_went_in_and_what_did_not(desk: Path, gag: Gag) -> None:
    ran = gag("ingest", "lab", "papers", "--report", cwd=desk)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("lab: 2 documents, 2 passages (2 files new or changed, 0 unchanged")
    for file in ("documents.jsonl", "passages.jsonl", "ingest.json", "ingest.html"):
        assert (desk / "data" / "lab" / file).is_file() and f"data/lab/{file}" in ran.out
    assert "papers/zero.pdf" in ran.out and "empty: zero bytes" in ran.out
    assert "references" in ran.err and "Not read: 1 file (.jpg)" in ran.err


def test_again_and_as_json(desk: Path, gag: Gag) -> None:
    first = gag("ingest", "lab", "papers", "--json", cwd=desk).json
    assert (first["documents"], first["passages"], first["taken"], first["unchanged"]) == (2, 2, 2, 0)
    assert first["failed"] == [{"name": "papers/zero.pdf", "reason": "empty: zero bytes"}]
    assert first["cut"]["references"] > 10
    second = gag("ingest", "lab", "--json", cwd=desk).json
    assert (second["documents"], second["taken"], second["unchanged"]) == (2, 0, 2)
    passages = [json.loads(line) for line in (desk / "data" / "lab" / "passages.jsonl").read_text().splitlines()]
    assert passages[0]["heading"] == "Mice" and passages[0]["document_id"] == "a" and passages[0]["span"][0] == 0


def test_nothing_could_be_read(desk: Path, gag: Gag) -> None:
    ran = gag("ingest", "lab", "papers/zero.pdf", cwd=desk)
    assert ran.code == 1
    assert "Nothing could be read: papers/zero.pdf: empty: zero bytes" in ran.error[0]


def test_somebodys_own_file_stays(desk: Path, gag: Gag) -> None:
    own = desk / "data" / "lab" / "documents.jsonl"
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps({"id": "mine", "text": "Precious."}))
    before = own.read_bytes()
    ran = gag("ingest", "lab", "papers", cwd=desk)
    assert ran.code == 2 and "documents.jsonl is yours" in ran.error[0] and "gag ingest lab FILE" in ran.error[1]
    assert own.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lab", "nowhere"], "nowhere does not exist"),
        (["lab", "papers/photo.jpg"], "papers/photo.jpg: a kind of file that is not read"),
        (["lab"], "No file was named"),
        (["../lab", "papers"], "cannot be a domain's name"),
        (["lab", "papers", "--set", "corpus.chunk_overlap=999"], "at most half of chunk_tokens"),
        (["lab", "papers", "--set", "corpus.pdf_parser=docling"], "docling is not installed"),
        (["lab", "papers", "--set", "models.expert.source=./none"], "is not there"),
    ],
)
def test_bad_use(arguments: list[str], said: str, desk: Path, gag: Gag) -> None:
    ran = gag("ingest", *arguments, cwd=desk)
    assert ran.code in (1, 2)
    assert said in ran.error[0]
