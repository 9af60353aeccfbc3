"""gag+rag and gag-or-rag: token and text together, and one or the other by the base's confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gag.answering import Prepared, complete
from gag.config import GenerationConfig, PromptsConfig
from gag.methods.gag_rag import THRESHOLD, Fallback, TokenAndText, answered, best_threshold, dev_questions
from gag.methods.method import BaseBacked
from gag.methods.rag import Retriever
from gag.methods.shelf import Shelf
from gag.models.base import Base
from gag.prompts import Prompts
from gag.records import Question, Route, write_jsonl
from gag.workspace import open_workspace

from .conftest import ListStore

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

PROMPTS = Prompts(PromptsConfig(), "alloys", "")
GENERATION = GenerationConfig(max_new_tokens=4)
QUESTIONS = [Question(f"q{n}", f"{'why ' * (n + 1)}?", ("x",)) for n in range(5)]
NEVER, ALWAYS = -math.inf, math.inf


class Asked:
    """General prompts with a text before the question."""

    def __init__(self, base: Base, name: str) -> None:
        self.base, self.name = base, name

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        route = Route(self.name, {})
        return [
            Prepared(q, self.base.encode(PROMPTS.general(f"{self.name} {q.question}")), GENERATION, route=route)
            for q in questions
        ]


def test_the_text_comes_after_the_slots(built: Path) -> None:
    shelf = Shelf(open_workspace(built))
    shelf.attached("alloys")
    store = ListStore(["First.", "Second."])
    refining = {"refine_steps": 3, "refine_above": 0}
    both = TokenAndText(shelf.system, "alloys", Retriever(store, 2), generation=refining)
    (item,) = both.prepare([QUESTIONS[0]])
    alone, refined = (
        shelf.system.prepare([QUESTIONS[0]], [Route("alloys", {})], generation=choice)[0]
        for choice in ({"refine_steps": 0}, refining)
    )
    assert item.background_probability and "refine" not in item.timings and "refine" in refined.timings
    assert item.vectors is not None and alone.vectors is not None
    torch.testing.assert_close(item.vectors, alone.vectors)
    assert item.prompt.slots == alone.prompt.slots
    end = item.prompt.slots[-1] + 1
    assert item.prompt.ids[:end] == alone.prompt.ids[:end]
    added = "\nFirst.\n\nSecond."
    assert shelf.base.tokenizer.decode(list(item.prompt.ids[end : end + len(added)])) == added
    assert item.prompt.ids[end + len(added) :] == alone.prompt.ids[end:]
    assert item.added_tokens == 2 + len(added)
    assert (item.passages, item.route, item.background) == (("p0", "p1"), Route("alloys", {}), alone.background)
    assert {"background", "projector", "retrieval"} <= set(item.timings)


def test_confidence_is_the_mean_log_probability_of_the_answer(base: Base) -> None:
    items, confidences = answered(base, Asked(base, "one").prepare(QUESTIONS))
    for item, confidence in zip(items, confidences, strict=True):
        assert item.completion is not None and item.completion.ids
        (loss,) = base.answer_nll([item.prompt], None, [item.completion.ids])
        assert confidence == pytest.approx(-float(loss.mean()), abs=1e-5)
        assert confidence < 0


def test_an_empty_answer_has_no_confidence(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    original = base.generate

    def silent(*given: Any, **choices: Any) -> Any:
        return [replace(completion, text="", ids=()) for completion in original(*given, **choices)]

    monkeypatch.setattr(base, "generate", silent)
    _, confidences = answered(base, Asked(base, "one").prepare(QUESTIONS[:2]))
    assert confidences == [NEVER, NEVER]
    assert [item.route for item in fallback(base, -1e9).prepare(QUESTIONS[:1])] == [Route("one", {})]


def fallback(base: Base, threshold: float) -> Fallback:
    return Fallback(base, Asked(base, "one"), Asked(base, "two"), threshold)


@pytest.mark.parametrize("threshold", [NEVER, ALWAYS])
def test_never_and_always(base: Base, threshold: float) -> None:
    method = BaseBacked(fallback(base, threshold))
    wanted = BaseBacked(Asked(base, "one" if threshold == NEVER else "two"))
    answers, losses = method.answer_and_nll(QUESTIONS)
    plain, plain_losses = wanted.answer_and_nll(QUESTIONS)
    assert [a.text for a in answers] == [a.text for a in plain]
    assert losses == pytest.approx(plain_losses, abs=1e-5)
    assert {a.method for a in answers} == {"gag-or-rag"}


def test_a_first_answer_that_is_given_is_not_written_twice(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    _, confidences = answered(base, Asked(base, "one").prepare(QUESTIONS))
    threshold = sorted(confidences)[2]  # two are below
    written: list[int] = []
    original = base.generate

    def counted(prompts: Any, *given: Any, **choices: Any) -> Any:
        written.append(len(prompts))
        return original(prompts, *given, **choices)

    monkeypatch.setattr(base, "generate", counted)
    prepared = fallback(base, threshold).prepare(QUESTIONS)
    answers = complete(base, prepared, "gag-or-rag")
    assert sum(written) == len(QUESTIONS) + 2
    doubted = [i for i, confidence in enumerate(confidences) if confidence < threshold]
    assert [i for i, item in enumerate(prepared) if item.completion is None] == doubted
    assert len(doubted) == 2
    for i, answer in enumerate(answers):
        assert ("first answer" in answer.timings) == (i in doubted)
        parts = [seconds for part, seconds in answer.timings.items() if part != "total"]
        assert answer.timings["total"] == pytest.approx(sum(parts))


def test_the_threshold_with_the_lowest_loss() -> None:
    """The unsure half is better off with the second method."""
    confidences = [-1.0, -1.1, -2.0, -2.1] * 8
    first = [0.5 if c > -1.5 else 3.0 for c in confidences]
    second = [1.0] * len(confidences)
    threshold = best_threshold(confidences, first, second)
    assert -2.0 < threshold <= -1.0
    assert best_threshold(confidences, second, [2.0] * len(confidences)) == NEVER
    assert best_threshold(confidences, [2.0] * len(confidences), second) == ALWAYS


def test_a_threshold_that_does_not_hold_on_the_other_half_is_not_taken() -> None:
    """On even places the unsure are better off with the second method, on odd places the sure."""
    confidences = [-1.0, -1.0, -2.0, -2.0] * 8
    first = [0.5, 3.0, 3.0, 0.5] * 8
    second = [1.0] * len(confidences)
    assert best_threshold(confidences, first, second) in (NEVER, ALWAYS)


def test_few_and_empty_answers() -> None:
    assert best_threshold([NEVER, NEVER], [2.0, 2.0], [1.0, 1.0]) == ALWAYS
    assert best_threshold([-1.0], [1.0], [2.0]) == NEVER


def test_the_threshold_is_chosen_once_and_kept(lab: Path) -> None:
    shelf = Shelf(open_workspace(lab))
    method = shelf.method("gag-or-rag", "alloys")
    (path,) = (lab / "runs" / "alloys").glob(f"fallback-*/{THRESHOLD}")
    made = path.stat().st_mtime_ns
    assert "pairs that align_qa leaves out" in shelf.remarks["fallback alloys"]
    assert isinstance(method, BaseBacked)
    again = Shelf(open_workspace(lab)).method("gag-or-rag", "alloys")
    assert path.stat().st_mtime_ns == made
    assert isinstance(again, BaseBacked) and isinstance(again.preparing, Fallback)
    assert isinstance(method.preparing, Fallback) and again.preparing.threshold == method.preparing.threshold
    answers = [m.answer([QUESTIONS[0]])[0] for m in (method, again)]
    assert answers[0].text == answers[1].text


def test_which_pairs_the_threshold_is_chosen_on(lab: Path) -> None:
    shelf = Shelf(open_workspace(lab))
    found, whence = dev_questions(shelf, "alloys")
    assert {q.answers for q in found} == {("a3",)}
    assert whence == "pairs that align_qa leaves out"
    assert "were trained on" in dev_questions(shelf, "polymers")[1]
    write_jsonl(lab / "dev.jsonl", [{"id": "d", "question": "new?", "answers": ["y"]}])
    named = Shelf(open_workspace(lab, overrides=["domains.alloys.dev_qa=dev.jsonl"]))
    assert [q.id for q in dev_questions(named, "alloys")[0]] == ["d"]
