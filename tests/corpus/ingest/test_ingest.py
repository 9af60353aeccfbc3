"""A corpus from files: what is written, what a second run does, what an interruption leaves, what failing costs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from gag.config import load_config
from gag.corpus.ingest import files, reading
from gag.corpus.ingest import ingest as module
from gag.corpus.ingest.ingest import Ingest, Ingested
from gag.corpus.ingest.report import write_report
from gag.corpus.ingest.store import Store
from gag.errors import BusyError, InputError, RunError
from gag.records import read_documents, read_passages
from gag.testing import byte_tokenizer
from gag.workspace import Workspace

Run = Callable[..., Ingested]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    byte_tokenizer().save_pretrained(tmp_path / "expert")
    (tmp_path / "expert" / "config.json").write_text('{"model_type": "llama"}')
    return tmp_path


@pytest.fixture
def run(place: Path) -> Run:
    def ingested(*paths: str, prune: bool = False, **choices: Any) -> Ingested:
        settings = {"models.expert.source": "./expert", "corpus.chunk_tokens": 300, "corpus.workers": 1}
        settings |= {f"corpus.{key}": value for key, value in choices.items()}
        config = load_config(overrides=[f"{key}={json.dumps(value)}" for key, value in settings.items()])
        return Ingest(Workspace(place, config), "lab").run([place / path for path in paths], prune=prune)

    return ingested


@pytest.fixture
def corpus(place: Path, make: SimpleNamespace) -> Path:
    """A folder of a PDF, Markdown, text and JSONL, with a copy and two files that cannot be read."""
    folder = place / "papers"
    folder.mkdir()
    make.write_pdf(
        folder / "paper.pdf",
        [make.lines(72, 80, make.sentences(20, 1), width=80), make.lines(72, 80, make.sentences(9, 2))],
    )
    (folder / "notes.md").write_text(f"# Protocol\n\n{make.sentences(5, 3)}")
    (folder / "a.md").write_text(f"# Title\n\n{make.sentences(9, 4)}\n\n## References\n\n[1] Smith 2001.\n")
    (folder / "copy of a.md").write_text(f"# Title\n\n{make.sentences(9, 4)}\n")
    (folder / "b.txt").write_text(make.sentences(3, 5))
    rows = [{"id": f"r{n}", "title": f"Row {n}", "text": make.sentences(4, 10 + n), "year": n} for n in range(3)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{oops\n")
    (folder / "cut.pdf").write_bytes(b"%PDF-1.4\n")
    return folder


def test_everything_goes_in_and_the_rest_is_named(corpus: Path, place: Path, run: Run) -> None:
    done = run("papers")
    documents = {one.id: one for one in read_documents(done.files.documents)}
    assert sorted(documents) == ["a", "b", "notes", "paper", "r0", "r1", "r2"]
    assert done.failed == (
        (
            "papers/cut.pdf",
            "no whole PDF file: truncated or damaged (Failed to load document (PDFium: Data format error).)",
        ),
        ("papers/rows.jsonl line 4", "not JSON (Expecting property name enclosed in double quotes)"),
    )
    assert done.totals.copies == (("copy_of_a", "a", 1.0),)
    assert documents["paper"].meta["pages"] == 2 and documents["paper"].meta["parser"] == "liteparse"
    assert documents["paper"].meta["characters_a_page"] > 100 and len(documents["paper"].meta["page_starts"]) == 2
    assert documents["r1"].meta["year"] == 1 and documents["r1"].title == "Row 1" and documents["a"].title == "Title"
    assert "Smith" not in documents["a"].text
    passages = read_passages(done.files.passages)
    for name, document in documents.items():
        assert "".join(p.text for p in passages if p.document_id == name) == document.text
        assert all(p.span and p.text == document.text[slice(*p.span)] for p in passages if p.document_id == name)
    assert {p.page for p in passages if p.document_id == "paper"} == {1, 2}
    assert next(p for p in passages if p.document_id == "r1").heading == "Row 1"


def test_the_journal_says_what_came_from_where(corpus: Path, run: Run) -> None:
    journal = json.loads(run("papers").files.journal.read_text())
    sources = {row["name"]: row for row in journal["sources"]}
    assert sources["papers/paper.pdf"] | {"sha256": "", "bytes": 0, "version": ""} == {
        "name": "papers/paper.pdf", "sha256": "", "bytes": 0, "kind": "pdf", "status": "ok", "parser": "liteparse",
        "version": "", "pages": 2,
    }  # fmt: skip
    assert sources["papers/cut.pdf"]["status"] == "failed" and "truncated" in sources["papers/cut.pdf"]["reason"]
    assert sources["papers/rows.jsonl"]["problems"][0]["place"] == "line 4"
    documents = {row["id"]: row for row in journal["corpus_documents"]}
    assert documents["a"]["cut"] == {"references": len("References") + len("[1] Smith 2001.")}
    assert documents["copy_of_a"]["copy_of"] == "a" and documents["copy_of_a"]["likeness"] == 1.0
    assert journal["domain"] == "lab" and journal["corpus"]["chunk_tokens"] == 300


def test_a_second_run_takes_up_only_what_changed(
    corpus: Path, run: Run, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run("papers")
    before = {path.name: path.stat().st_mtime_ns for path in (first.files.documents, first.files.passages)}
    monkeypatch.setattr(module, "clean", lambda *_: pytest.fail("cleaned again"))
    monkeypatch.setattr(module, "chunk_document", lambda *_, **__: pytest.fail("chunked again"))
    again = run("papers")
    assert (again.taken, again.unchanged) == (0, 6) and len(again.failed) == 1  # the bad row is known already
    assert {path.name: path.stat().st_mtime_ns for path in (again.files.documents, again.files.passages)} == before
    monkeypatch.undo()
    (corpus / "b.txt").write_text(make.sentences(3, 99))
    make.write_pdf(corpus / "cut.pdf", [make.lines(72, 80, make.sentences(9, 50), width=500)])
    third = run("papers")
    assert (third.taken, third.unchanged) == (2, 5) and third.failed == ()
    texts = {one.id: one.text for one in read_documents(third.files.documents)}
    assert texts["b"] == make.sentences(3, 99) and texts["cut"] == make.sentences(9, 50)


def test_other_choices_parse_nothing_again(corpus: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("papers")
    monkeypatch.setattr(reading.Worker, "parse", lambda *_: pytest.fail("parsed again"))
    monkeypatch.setattr(reading, "parse_text", lambda *_: pytest.fail("parsed again"))
    (corpus / "cut.pdf").unlink()
    done = run("papers", cut_sections=[], chunk_tokens=100, near_duplicates=0)
    texts = {one.id: one.text for one in read_documents(done.files.documents)}
    assert "Smith 2001" in texts["a"] and "copy_of_a" in texts
    assert all(len(p.text.strip().encode()) <= 100 for p in read_passages(done.files.passages))


@pytest.mark.parametrize("step", ["clean", "chunk_document", "write_files"])
def test_an_interrupted_run_goes_on_and_ends_the_same(
    step: str, corpus: Path, run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    real = getattr(module, step)

    def interrupted(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3 or step == "write_files":
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(module, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("papers")
    assert not (place / "data" / "lab" / "documents.jsonl").exists()
    monkeypatch.undo()
    done = run("papers")
    files = [path.read_text() for path in (done.files.documents, done.files.passages)]
    other = Ingest(
        Workspace(place, load_config(overrides=["models.expert.source=./expert", "corpus.chunk_tokens=300"])), "fresh"
    )
    fresh = other.run([corpus])
    assert files == [path.read_text() for path in (fresh.files.documents, fresh.files.passages)]


def test_an_interruption_while_reading_keeps_whole_documents(
    corpus: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reading.Reader._take

    def take(self: reading.Reader, job: Any, found: Any, turn: int) -> None:
        if job.source.path.name >= "notes":
            raise KeyboardInterrupt
        real(self, job, found, turn)

    monkeypatch.setattr(reading.Reader, "_take", take)
    with pytest.raises(KeyboardInterrupt):
        run("papers")
    monkeypatch.undo()
    done = run("papers")
    assert done.unchanged == 3 and done.taken == 3 and done.totals.documents == 7


def test_files_that_are_gone_are_said_and_kept_until_pruned(corpus: Path, run: Run) -> None:
    run("papers")
    (corpus / "b.txt").unlink()
    kept = run("papers")
    assert kept.gone == ("papers/b.txt",) and kept.totals.documents == 7
    pruned = run("papers", prune=True)
    assert pruned.pruned == ("papers/b.txt",) and pruned.gone == ()
    assert "b" not in {one.id for one in read_documents(pruned.files.documents)}
    for path in corpus.iterdir():
        path.unlink()
    assert run(prune=True).totals.documents == 0


def test_a_file_that_goes_bad_keeps_its_earlier_documents(corpus: Path, run: Run) -> None:
    run("papers")
    (corpus / "paper.pdf").write_bytes(b"%PDF-1.4\n")
    done = run("papers")
    assert "its 1 document of an earlier reading stay" in dict(done.failed)["papers/paper.pdf"]
    assert "paper" in {one.id for one in read_documents(done.files.documents)}


def test_more_folders_add_up_and_no_path_takes_the_known_ones(
    corpus: Path, run: Run, place: Path, make: SimpleNamespace
) -> None:
    run("papers")
    (place / "more").mkdir()
    (place / "more" / "b.txt").write_text(make.sentences(3, 77))
    done = run("more")
    ids = [one.id for one in read_documents(done.files.documents)]
    assert len(ids) == 8 and len([name for name in ids if name.startswith("b-")]) == 1
    assert run().unchanged == 7


def test_a_longer_jsonl_keeps_the_work_on_its_rows(
    corpus: Path, run: Run, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("papers")
    rows = (corpus / "rows.jsonl").read_text().splitlines()[:3]
    rows = [
        rows[2],
        rows[0],
        json.dumps({"id": "r9", "text": make.sentences(4, 90)}),
        json.dumps({"id": "r9", "text": "twice"}),
    ]
    (corpus / "rows.jsonl").write_text("\n".join(rows))
    cleaned = []
    real = module.clean
    monkeypatch.setattr(module, "clean", lambda parsed, config: cleaned.append(parsed) or real(parsed, config))
    done = run("papers/rows.jsonl")
    ids = [one.id for one in read_documents(done.files.documents)]
    assert len(cleaned) == 1 and ids[-3:] == ["r2", "r0", "r9"] and "r1" not in ids
    assert ("papers/rows.jsonl line 4", "the id 'r9' is already used in this file") in done.failed


def test_files_of_one_name_keep_their_documents_apart(place: Path, run: Run, make: SimpleNamespace) -> None:
    for year in range(4):
        (place / "years" / str(year)).mkdir(parents=True)
        row = {"id": "1", "text": make.sentences(4, 30 + year)}
        (place / "years" / str(year) / "x.jsonl").write_text(json.dumps(row))
    done = run("years")
    ids = [one.id for one in read_documents(done.files.documents)]
    assert len(ids) == 4 and ids[:2] == ["1", "x:1"] and all(one.startswith("x-") for one in ids[2:])
    assert [one.id for one in read_documents(run("years").files.documents)] == ids


def test_a_rows_own_fields_do_not_pass_for_ours(place: Path, run: Run, make: SimpleNamespace) -> None:
    row = {"id": "q", "text": make.sentences(4, 3), "quality": 0.93, "page_starts": "none", "meta": {"pages": "4-9"}}
    (place / "rows.jsonl").write_text(json.dumps(row))
    done = run("rows.jsonl")
    (document,) = read_documents(done.files.documents)
    wanted = {"given_quality": 0.93, "given_page_starts": "none", "given_pages": "4-9"}
    assert wanted.items() <= document.meta.items()
    assert done.totals.flagged == ()


def test_a_copy_that_is_read_again_is_still_a_copy(place: Path, run: Run, make: SimpleNamespace) -> None:
    (place / "d").mkdir()
    for name in ("a.txt", "b.txt"):
        (place / "d" / name).write_text(make.sentences(6, 1))
    assert run("d").totals.documents == 1
    (place / "d" / "b.txt").write_text(make.sentences(6, 1) + "\n")
    assert run("d").totals.documents == 1


def test_what_the_program_wrote_for_any_domain_is_no_document(place: Path, run: Run, make: SimpleNamespace) -> None:
    (place / "a.txt").write_text(make.sentences(6, 1))
    other = place / "data" / "other"
    other.mkdir(parents=True)
    for name in ("ingest.json", "passages.jsonl", "review.jsonl"):
        (other / name).write_text(json.dumps({"id": name, "text": make.sentences(5, 9)}))
    (place / "data" / "own").mkdir()
    (place / "data" / "own" / "documents.jsonl").write_text(json.dumps({"id": "mine", "text": make.sentences(5, 7)}))
    done = run(".")
    assert {one.id for one in read_documents(done.files.documents)} == {"a", "mine"}


@pytest.mark.parametrize("name", ["documents.jsonl", "passages.jsonl"])
def test_a_file_of_somebodys_own_is_not_replaced(name: str, corpus: Path, run: Run, place: Path) -> None:
    own = place / "data" / "lab" / name
    own.parent.mkdir(parents=True)
    content = json.dumps({"id": "mine", "text": "Precious."})
    own.write_text(content)
    for paths in (["papers"], [f"data/lab/{name}"]):
        with pytest.raises(InputError, match="is yours") as refused:
            run(*paths)
        assert refused.value.hint == "Move it elsewhere and name it: gag ingest lab FILE"
    assert own.read_text() == content and [path.name for path in own.parent.iterdir()] == [name]
    own.rename(place / "mine.jsonl")
    assert run("papers", "mine.jsonl").totals.documents == 8
    assert run("papers").unchanged


def test_a_pair_file_of_somebodys_own_is_read_where_it_is_named(place: Path, run: Run, make: SimpleNamespace) -> None:
    own = place / "data" / "lab" / "raft.jsonl"
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps({"id": "mine", "text": make.sentences(5, 7)}))
    with pytest.raises(InputError, match="nothing to read"):
        run("data")
    assert run("data/lab/raft.jsonl").totals.documents == 1


def test_what_an_interrupted_run_wrote_is_its_own(
    corpus: Path, run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_write_journal", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("papers")
    monkeypatch.undo()
    assert (place / "data" / "lab" / "documents.jsonl").is_file()
    done = run("papers")
    assert done.totals.documents == 7 and done.files.journal.is_file()


def test_nothing_to_read(place: Path, run: Run) -> None:
    (place / "empty").mkdir()
    (place / "empty" / "a.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"nothing to read in .*empty \(found: \.jpg\)"):
        run("empty")
    with pytest.raises(InputError, match="No file was named"):
        run()


def test_what_cleaning_empties_is_said(place: Path, run: Run) -> None:
    (place / "a.md").write_text("# References\n\n[1] Smith 2001.")
    done = run("a.md")
    assert done.totals.empty == ("a",) and done.totals.documents == 0


@pytest.mark.parametrize("kept", [0, 4096])
def test_a_damaged_store_is_said(corpus: Path, run: Run, place: Path, kept: int) -> None:
    run("papers")
    store = place / "runs" / "lab" / "ingest" / "corpus.sqlite"
    store.write_bytes(store.read_bytes()[:kept] + b"\0rubbish" * 5000)
    with pytest.raises(RunError, match=r"corpus\.sqlite is damaged"):
        run("papers")
    store.unlink()
    assert run("papers").totals.documents


@pytest.mark.parametrize("column", ["parsed", "row", "cleaned", "passages"])
def test_a_damaged_row_of_the_store_is_said(corpus: Path, run: Run, place: Path, column: str) -> None:
    run("papers")
    store = place / "runs" / "lab" / "ingest" / "corpus.sqlite"
    with closing(sqlite3.connect(store, isolation_level=None)) as db:
        db.execute(f"UPDATE documents SET {column} = ?", (b"{\0rubbish",))
    with pytest.raises(RunError, match=r"corpus\.sqlite is damaged"), Store(store) as damaged:
        [damaged.parsed(document.id) for document in damaged.documents()]


def test_a_store_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "corpus.sqlite").mkdir()
    with pytest.raises(RunError, match=r"corpus\.sqlite could not be written"):
        Store(tmp_path / "corpus.sqlite")


def test_one_process_at_a_time(corpus: Path, run: Run, place: Path) -> None:
    run("papers")
    with FileLock(place / "runs" / "lab" / "ingest" / ".lock"), pytest.raises(BusyError, match="ingesting into lab"):
        run("papers")


def test_the_report_shows_cuts_beside_what_stayed(corpus: Path, run: Run, place: Path) -> None:
    (corpus / "evil.md").write_text(
        "# <script>alert(1)</script>\n\nKept.\n\n## References\n\n[1] <img src=x onerror=alert(2)> Smith."
    )
    run("papers")
    work = Ingest(Workspace(place, load_config(overrides=["models.expert.source=./expert"])), "lab")
    write_report(work)
    page = work.files.report.read_text()
    assert '<del data-reason="references">[1] &lt;img src=x' in page or '<del data-reason="image">&lt;img' in page
    assert "<script" not in page and "<img" not in page and "http" not in page.replace("http-equiv", "")
    assert "a copy of a (100%), left out" in page
