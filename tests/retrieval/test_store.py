"""The store: what it keeps, what a search finds, how it grows and shrinks, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from gag.config import RetrievalConfig
from gag.errors import BusyError, DomainError, GagError, InputError, MissingExtra, RunError
from gag.records import Passage
from gag.retrieval import store as store_file
from gag.retrieval.late_interaction import TokenEncoder, maxsim
from gag.retrieval.store import Hit, PassageStore

Words = Callable[..., Any]

METALS = ["iron", "copper", "zinc", "tin", "lead", "gold", "silver", "nickel", "cobalt", "titanium"]
DEEDS = ["melts", "boils", "rusts", "bends", "shines", "conducts", "floats"]


def passages(count: int = 60) -> list[Passage]:
    """Every metal does every deed, each pair once while they last."""
    pairs = [(metal, deed) for deed in DEEDS for metal in METALS]
    texts = [f"{metal} {deed} at {number} degrees" for number, (metal, deed) in enumerate(pairs)]
    return [Passage(f"p{number}", f"d{number % 7}", text) for number, text in enumerate(texts[:count])]


def ids(hits: list[list[Hit]]) -> list[list[str]]:
    return [[hit.passage.id for hit in found] for found in hits]


def built(folder: Path, encoder: Any, given: list[Passage] | None = None, **choices: Any) -> PassageStore:
    return PassageStore.build(folder, passages() if given is None else given, encoder, RetrievalConfig(**choices))


def test_a_search_finds_what_every_score_finds(tmp_path: Path, words: Words) -> None:
    encoder = words()
    store = built(tmp_path / "store", encoder, candidates=24)
    assert len(store) == 60
    questions = ["copper boils", "what melts and is tin", "gold at 15 degrees", "unheard of"]
    every = store.exhaustive(questions, 3)
    assert ids(store.search(questions, 3))[:3] == ids(every)[:3]
    assert ids(every)[0][0] == "p11"
    for question, hits in zip(questions, every, strict=True):
        query = encoder.queries([question])[0]
        scores = sorted((maxsim(query, encoder.passages([p.text])[0].half()) for p in passages()), reverse=True)
        assert [hit.score for hit in hits] == pytest.approx(scores[:3], abs=1e-4)


def test_the_number_found(tmp_path: Path, words: Words) -> None:
    store = built(tmp_path / "store", words(), candidates=2, top_k=4)
    assert [len(found) for found in store.search(["tin", "lead"])] == [4, 4]
    assert len(store.search(["tin"], 1000)[0]) == len(store.exhaustive(["tin"], 1000)[0]) == 60
    assert store.search([], 3) == []
    with pytest.raises(InputError, match="0 passages"):
        store.search(["tin"], 0)


def test_a_large_store_has_more_candidates(tmp_path: Path, words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    store = built(tmp_path / "store", words())
    assert store.candidates == 512
    monkeypatch.setattr(store_file, "CANDIDATES", 1)
    monkeypatch.setattr(store_file, "CANDIDATE_SHARE", 0.05)
    assert store.candidates == 3
    store.config = RetrievalConfig(candidates=7)
    assert store.candidates == 7


def test_passages_come_back_whole(tmp_path: Path, words: Words) -> None:
    given = [
        Passage("a", "d1", "ein “Text”\nmit Zeilen", "Kopf > Teil", (3, 21), 4, {"tags": ["x"], "n": 1.5}),
        Passage("b", "d2", "'; DROP TABLE passages; --"),
    ]
    encoder = words()
    store = built(tmp_path / "store", encoder, given)
    assert [store.get("a"), store.get("b")] == given
    assert {hit.passage.id: hit.passage for hit in store.search(["Text"], 2)[0]} == {p.id: p for p in given}
    wanted = encoder.passages(["Kopf > Teil\nein “Text”\nmit Zeilen"])[0].mean(dim=0)
    assert torch.allclose(store.vector("a"), wanted, atol=1e-5)
    store.vector("a").zero_()
    assert torch.allclose(store.vector("a"), wanted, atol=1e-5)
    for read in (store.get, store.vector):
        with pytest.raises(InputError, match="no passage 'c'"):
            read("c")


def test_a_search_by_heading(tmp_path: Path, words: Words) -> None:
    given = [Passage("a", "d", "it melts", "osmium"), Passage("b", "d", "it melts", "iridium")]
    assert ids(built(tmp_path / "store", words(), given).search(["osmium"], 1)) == [["a"]]


def test_only_what_is_new_is_encoded_and_what_is_gone_is_removed(tmp_path: Path, words: Words) -> None:
    encoder, folder = words(), tmp_path / "store"
    built(folder, encoder)
    before = store_files(folder)
    encoder.encoded.clear()
    again = built(folder, encoder, list(reversed(passages())))
    assert encoder.encoded == []
    assert store_files(folder) == before
    assert len(again) == 60
    changed = [*passages()[10:], Passage("p3", "d", "quicksilver flows"), Passage("new", "d", "platinum")]
    store = built(folder, encoder, changed)
    assert sorted(encoder.encoded) == ["platinum", "quicksilver flows"]
    assert len(store) == 52
    assert store.get("p3").text == "quicksilver flows"
    fresh = built(tmp_path / "fresh", words(), changed)
    questions = ["copper boils", "iron melts", "platinum", "quicksilver"]
    assert ids(store.search(questions, 5)) == ids(fresh.search(questions, 5))
    assert ids(store.search(["platinum", "quicksilver"], 1)) == [["new"], ["p3"]]
    with pytest.raises(InputError):
        store.get("p1")


def test_removed_text_is_not_left_on_the_disk(tmp_path: Path, words: Words) -> None:
    folder, encoder = tmp_path / "store", words()
    secret = "unforgettable" * 3
    built(folder, encoder, [*passages(), Passage("s", "d", secret)])
    assert any(secret.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    built(folder, encoder)
    assert not any(secret.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interrupted_build_goes_on(
    after: int, tmp_path: Path, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_file, "BLOCK", 25)
    folder = tmp_path / "store"
    encoder = words()
    encode, blocks = encoder.passages, []

    def interrupted(texts: list[str]) -> list[torch.Tensor]:
        if len(blocks) == after:
            raise KeyboardInterrupt
        blocks.append(texts)
        return encode(texts)

    monkeypatch.setattr(encoder, "passages", interrupted)
    with pytest.raises(KeyboardInterrupt):
        built(folder, encoder)
    with pytest.raises(InputError, match="not finished"):
        PassageStore.open(folder, encoder, RetrievalConfig())
    again = words()
    store = built(folder, again)
    assert len(again.encoded) == 60 - 25 * after
    fresh = built(tmp_path / "fresh", words())
    assert ids(store.search(["copper boils", "tin"], 9)) == ids(fresh.search(["copper boils", "tin"], 9))


def test_a_view_that_was_not_finished_is_made_again(
    tmp_path: Path, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, encoder = tmp_path / "store", words()
    with monkeypatch.context() as patched:
        patched.setattr("gag.retrieval.lexical.Lexical.save", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            built(folder, encoder)
    assert not (folder / "search").exists()
    encoder.encoded.clear()
    assert len(built(folder, encoder)) == 60
    shutil.rmtree(folder / "search")
    assert ids(built(folder, encoder).search(["copper boils"], 1)) == [["p11"]]
    assert encoder.encoded == []


def test_progress_is_told(tmp_path: Path, words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_file, "BLOCK", 25)
    told: list[tuple[str, int, int]] = []
    folder = tmp_path / "store"
    for given in (passages(30), passages()):
        PassageStore.build(
            folder,
            given,
            words(),
            RetrievalConfig(),
            on_progress=lambda step, done, total, note="": told.append((step, done, total)),
        )
    assert told == [
        (("passages"), done, total) for done, total in ((0, 30), (25, 30), (30, 30), (30, 60), (55, 60), (60, 60))
    ]


def test_what_is_built_is_opened(tmp_path: Path, words: Words) -> None:
    encoder = words()
    made = built(tmp_path / "store", encoder)
    opened = PassageStore.open(tmp_path / "store", encoder, RetrievalConfig(top_k=3))
    assert len(opened) == len(made)
    assert opened.search(["zinc rusts"]) == made.search(["zinc rusts"], 3)
    assert opened.encoder is encoder


def test_a_store_that_is_open_stays_as_it_was_while_it_is_built_again(tmp_path: Path, words: Words) -> None:
    encoder, folder = words(), tmp_path / "store"
    store = built(folder, encoder)
    before = store.search(["zinc rusts"], 5)
    built(folder, encoder, passages(5))
    assert store.search(["zinc rusts"], 5) == before
    assert store.get("p22") == passages()[22]


def test_another_encoders_store_is_refused(tmp_path: Path, words: Words) -> None:
    folder = tmp_path / "store"
    built(folder, words())
    for use in (
        lambda: built(folder, words(seed=1)),
        lambda: PassageStore.open(folder, words(seed=1), RetrievalConfig()),
    ):
        with pytest.raises(DomainError, match="by another words, or other windows") as caught:
            use()
        assert "delete" in caught.value.hint
    other = words(seed=1)
    other.name = "letters"
    with pytest.raises(DomainError, match="by words, not by letters"):
        built(folder, other)
    assert len(built(folder, words())) == 60


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": 1}', '{"format": 2, "fingerprint": "", "dimension": 1, "encoder": ""}']
)
def test_a_damaged_note_is_refused(text: str, tmp_path: Path, words: Words) -> None:
    built(tmp_path / "store", words())
    (tmp_path / "store" / "store.json").write_text(text)
    with pytest.raises(DomainError, match=r"store\.json"):
        built(tmp_path / "store", words())


@pytest.mark.parametrize("name", ["means.npy", "counts.npy", "tokens.f16", "search.json", "bm25/vocab.index.json"])
@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_a_damaged_view_is_refused_and_built_again_when_deleted(
    name: str, damage: str, tmp_path: Path, words: Words
) -> None:
    folder, encoder = tmp_path / "store", words()
    built(folder, encoder)
    path = folder / "search" / name
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(GagError):
        PassageStore.open(folder, encoder, RetrievalConfig())
    shutil.rmtree(folder / "search")
    assert len(built(folder, encoder)) == 60


def test_a_damaged_table_is_refused(tmp_path: Path, words: Words) -> None:
    folder = tmp_path / "store"
    built(folder, words())
    for path in (folder / "passages.lance" / "data").iterdir():
        path.write_bytes(b"no data")
    with pytest.raises(RunError, match="cannot be used") as caught:
        built(folder, words())
    assert "delete" in caught.value.hint


def test_nothing_there_is_said(tmp_path: Path, words: Words) -> None:
    with pytest.raises(InputError, match="no passage store"):
        PassageStore.open(tmp_path / "store", words(), RetrievalConfig())
    assert not (tmp_path / "store").exists()
    with pytest.raises(InputError, match="no passages"):
        built(tmp_path / "store", words(), [])
    with pytest.raises(InputError, match="the id 'a'"):
        built(tmp_path / "store", words(), [Passage("a", "d", "one"), Passage("a", "d", "two")])


def test_two_builds_of_one_store(tmp_path: Path, words: Words) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    with FileLock(folder / ".lock"), pytest.raises(BusyError, match="Another process"):
        built(folder, words())
    assert len(built(folder, words())) == 60


def test_without_lancedb_the_install_command_is_named(
    tmp_path: Path, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, *rest: object) -> object:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(MissingExtra, match=r"gag\[retrieval\]"):
        built(tmp_path / "store", words())


def test_a_store_that_cannot_be_written(tmp_path: Path, words: Words) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(InputError, match="store is a file, not a folder"):
        built(tmp_path / "store", words())
    (tmp_path / "store").unlink()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".lock").mkdir()
    with pytest.raises(RunError, match="could not be written"):
        built(tmp_path / "store", words())


def test_one_passage_without_a_word(tmp_path: Path, words: Words) -> None:
    store = built(tmp_path / "store", words(), [Passage("a", "d", "?!")])
    assert ids(store.search(["", "tin"], 3)) == [["a"], ["a"]]


def test_with_a_colbert_checkpoint(tmp_path: Path, colbert: Path, load: Callable[..., TokenEncoder]) -> None:
    encoder = load(colbert)
    given = [
        Passage("a", "d", "alum is a salt of a metal. " * 5),
        Passage("b", "d", "the salt"),
        Passage("c", "d", "!"),
    ]
    store = PassageStore.build(tmp_path / "store", given, encoder, RetrievalConfig())
    found = store.search(["what is alum"], 3)[0]
    query = encoder.queries(["what is alum"])[0]
    wanted = {p.id: maxsim(query, encoder.passages([p.text])[0].half()) for p in given}
    assert {hit.passage.id: hit.score for hit in found} == pytest.approx(wanted, abs=1e-4)
    assert json.loads((tmp_path / "store" / "store.json").read_text())["kind"] == "colbert"


def store_files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
