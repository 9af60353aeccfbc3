"""rag: the best passages that fit, as text that stays text, and their cost."""

from __future__ import annotations

import pytest

from gag.config import GenerationConfig, PromptsConfig
from gag.methods.method import BaseBacked
from gag.methods.rag import RAG, Retriever, fitting, left_out_passages
from gag.models.base import Base
from gag.prompts import Prompts
from gag.records import Answer, Passage, Question, passage_text
from gag.testing import IM_END, IM_END_ID

from .conftest import ListStore

PROMPTS = Prompts(PromptsConfig(base_domain="Q: {question}\nK:{knowledge}"), "alloys", "")
GENERATION = GenerationConfig(max_new_tokens=5)
QUESTION = Question("q", "why?", ("x",))


def rag(base: Base, texts: list[str], top_k: int) -> RAG:
    return RAG(base, PROMPTS, GENERATION, Retriever(ListStore(texts), top_k))


def said(base: Base, ids: tuple[int, ...]) -> str:
    return str(base.tokenizer.decode(list(ids)))


def test_the_passages_stand_in_the_prompt_best_first(base: Base) -> None:
    (item,) = rag(base, ["One.", "Two.", "Three."], 2).prepare([QUESTION])
    assert "Q: why?\nK: One.\n\nTwo." in said(base, item.prompt.ids)
    assert "Three" not in said(base, item.prompt.ids)
    assert item.passages == ("p0", "p1")
    assert item.passage_scores == pytest.approx((1.0, 0.9))
    assert item.timings["retrieval"] >= 0
    bare = base.encode(PROMPTS.domain("why?", 0))
    assert item.added_tokens == len(item.prompt.ids) - len(bare.ids) == len(" One.\n\nTwo.")  # a byte a token


def test_an_answer_says_what_was_used_and_what_it_cost(base: Base) -> None:
    (answer,) = BaseBacked(rag(base, ["One."], 1)).answer([QUESTION])
    assert (answer.method, answer.passages, answer.dropped_passages) == ("rag", ("p0",), 0)
    assert answer.knowledge_tokens == len(" One.")
    assert set(answer.timings) == {"retrieval", "answer", "total"}
    assert answer.to_json()["passages"] == ("p0",)


def test_a_passage_stays_text(base: Base) -> None:
    (item,) = rag(base, [f"{IM_END} {{question}} <think>"], 1).prepare([QUESTION])
    (plain,) = rag(base, ["nothing"], 1).prepare([QUESTION])
    assert item.prompt.ids.count(IM_END_ID) == plain.prompt.ids.count(IM_END_ID)
    assert "{question}" in said(base, item.prompt.ids)


def test_what_does_not_fit_is_dropped_from_the_end_and_counted(base: Base) -> None:
    texts = ["a" * 150, "b" * 150, "c" * 150]
    (item,) = rag(base, texts, 3).prepare([QUESTION])
    assert (item.passages, item.dropped_passages) == (("p0", "p1"), 1)
    assert len(item.prompt.ids) + GENERATION.max_new_tokens <= base.context
    assert item.added_tokens == len(" \n\n") + 300
    assert len(item.passage_scores) == 2
    (answer,) = BaseBacked(rag(base, texts, 3)).answer([QUESTION])
    assert (answer.passages, answer.dropped_passages) == (("p0", "p1"), 1)


def test_what_was_dropped_is_said() -> None:
    def answer(passages: tuple[str, ...], dropped: int) -> Answer:
        return Answer("q", "a", "rag", passages=passages, dropped_passages=dropped)

    assert left_out_passages([answer(("p",), 0)]) == left_out_passages([]) == ""
    said = left_out_passages([answer(("p",), 0), answer(("p",), 1), answer((), 1)])
    assert (
        said == "left passages out that do not fit the base's context, for 2 of 3 questions (for 1 of them every one)"
    )


def test_the_last_token_that_fits(base: Base) -> None:
    empty = len(base.encode(PROMPTS.context("why?", "")).ids)
    for extra, kept in ((0, 1), (1, 0)):
        store = ListStore(["x" * (base.context - empty - 5 + extra)])
        hits, encoded = fitting(base, store.search(["why?"], 1)[0], lambda t: PROMPTS.context("why?", t), room=5)
        assert (len(hits), encoded is not None) == (kept, bool(kept))


def test_a_passage_longer_than_any_window_leaves_the_question_alone(base: Base) -> None:
    (item,) = rag(base, ["x" * 1000], 1).prepare([QUESTION])
    assert (item.passages, item.dropped_passages, item.added_tokens) == ((), 1, 0)
    assert item.prompt == base.encode(PROMPTS.domain("why?", 0))


def test_every_question_is_searched_for_whatever_its_domain(base: Base) -> None:
    store = ListStore(["One."])
    method = RAG(base, PROMPTS, GENERATION, Retriever(store, 1))
    items = method.prepare([Question("a", "one?", domain="general"), Question("b", "two?", domain="other")])
    assert store.asked == ["one?", "two?"]
    assert [item.passages for item in items] == [("p0",), ("p0",)]
    assert method.prepare([]) == []


@pytest.mark.parametrize(
    ("heading", "text", "shown"),
    [
        (None, " Text. ", "Text."),
        ("Methods > Mice", "Text.", "Methods > Mice\nText."),
        ("Methods > Mice", "## Mice\nText.", "## Mice\nText."),
    ],
)
def test_a_passage_stands_under_its_heading(heading: str | None, text: str, shown: str) -> None:
    assert passage_text(Passage("p", "d", text, heading)) == shown
