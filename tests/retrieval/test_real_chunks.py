"""Real chunks of papers and the questions asked about them, by MiniLM's token vectors (needs ../shared/data)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gag.config import ModelsConfig, RetrievalConfig
from gag.records import Passage, read_documents, read_questions
from gag.retrieval.late_interaction import token_encoder
from gag.retrieval.store import PassageStore

FOLDER = Path(os.environ.get("GAG_DATA") or Path(__file__).parents[3] / "shared" / "data") / "materials"


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no {FOLDER}")
def test_the_chunk_a_question_was_asked_about_is_found(tmp_path: Path) -> None:
    """Of 150 chunks, cut to 600 characters that the question's gold sentence may lie behind."""
    chunks = read_documents(FOLDER / "chemlitqa_chunks.jsonl")
    chunk_of = {chunk.text: chunk.id for chunk in chunks}
    questions = read_questions(FOLDER / "chemlitqa_test.jsonl")[:40]
    gold = [chunk_of[question.meta["context"]] for question in questions]
    given = [chunk for chunk in chunks if chunk.id in gold]
    given += [chunk for chunk in chunks if chunk.id not in gold][: 150 - len(given)]
    passages = [Passage(chunk.id, chunk.id, chunk.text[:600]) for chunk in given]
    config = RetrievalConfig(candidates=45)
    store = PassageStore.build(tmp_path, passages, token_encoder(config, ModelsConfig()), config)
    texts = [question.question for question in questions]
    found, every = (
        [[hit.passage.id for hit in hits] for hits in search(texts, 5)] for search in (store.search, store.exhaustive)
    )
    same = sum(len(set(some) & set(best)) for some, best in zip(found, every, strict=True))
    assert same >= 0.97 * 5 * len(texts)
    assert sum(name in hits for name, hits in zip(gold, found, strict=True)) >= 0.8 * len(texts)
