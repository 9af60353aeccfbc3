"""The retrieval benchmark on a small store: its passages have the structure it claims, and its rows what they name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from benchmarks.measure import target

from benchmarks import retrieval
from gag.config import RetrievalConfig
from gag.retrieval.late_interaction import maxsim


def test_a_passage_and_its_question() -> None:
    encoder = retrieval.TopicalVectors()
    passages = encoder.write_passages(200)
    (first,), (query,) = encoder.passages([passages[0].text]), encoder.queries(["w1 w2 w3"])
    assert first.shape == (retrieval.TOKENS, retrieval.DIMENSION) and query.shape == (32, retrieval.DIMENSION)
    assert first.dtype == query.dtype == torch.float32
    for vectors in (first, query):
        assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-5)
    assert torch.equal(first, encoder.passages([passages[0].text])[0])
    topics = encoder.topic[[int(word[1:]) for word in passages[0].text.split()]]
    commonest = np.bincount(topics).max()
    assert retrieval.TOKENS // 2 <= commonest < 0.8 * retrieval.TOKENS
    asked = encoder.write_questions(passages, 20)
    text_of = {passage.id: passage.text for passage in passages}
    nearer = shared = 0
    for text, name in asked:
        (query,) = encoder.queries([text])
        scores = [maxsim(query, v) for v in encoder.passages([text_of[name], passages[0].text])]
        nearer += scores[0] >= scores[1]
        shared += sum(word in text_of[name].split() for word in text.split())
    assert nearer >= 18
    assert 0.35 < shared / (20 * retrieval.QUERY_WORDS) < 0.8  # a group may have a single word


def test_the_rows(tmp_path: Path) -> None:
    config = RetrievalConfig(candidates=40)
    rows = retrieval.made_up_rows(tmp_path / "store", 300, config, questions=8, exhaustive=4)
    found = {row["what"]: row["value"] for row in rows}
    assert len(found) == len(rows)
    assert 0.5 < found["300 passages: overlap of the ten best with scoring all"] <= 1
    assert found["300 passages: gold passage first, scoring all"] > 0.5
    assert found["300 passages: on disk"] * 2**30 > 2 * 300 * 120 * 128 * 2
    assert {row["what"] for row in rows if target(row)} <= {"300 passages: resident while searching, at most"}


def test_overlap_is_the_share_of_the_wanted() -> None:
    from gag.records import Passage
    from gag.retrieval.store import Hit

    def hits(*names: str) -> list[Hit]:
        return [Hit(Passage(name, "d", "t"), 0.0) for name in names]

    assert retrieval.overlap([hits("a", "b"), hits("c", "d"), hits("x")], [hits("b", "z"), hits("d", "c")]) == 0.75
    assert retrieval.gold_first([hits("a", "b"), hits("c")], [("q", "a"), ("q", "d")]) == 0.5
