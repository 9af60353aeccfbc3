from __future__ import annotations

import json

import pytest
import torch

from gag.errors import DomainError, InputError
from gag.records import Question
from gag.routing.accuracy import grow, routing_accuracy, wilson
from gag.routing.encoder import Encoder
from gag.routing.router import Router

AXES = torch.eye(32)
BANKS = {"general": AXES[0:1], "law": AXES[1:2], "math": AXES[2:3]}


def asked(*pairs: tuple[str, int]) -> tuple[list[Question], torch.Tensor]:
    """Questions by right route and the axis they point along, and their embeddings."""
    questions = [Question(str(i), f"question {i}", meta={"route": route}) for i, (route, _) in enumerate(pairs)]
    return questions, AXES[[axis for _, axis in pairs]]


def test_the_table_of_a_pool(encoder: Encoder) -> None:
    questions, embeddings = asked(
        ("general", 0), ("general", 0), ("general", 1), ("law", 1), ("math", 0), ("finance", 2), ("finance", 0)
    )
    table = routing_accuracy(Router(encoder, BANKS), questions, embeddings)
    assert (table.micro.correct, table.micro.n, table.micro.share) == (3, 5, 0.6)
    assert {name: (share.correct, share.n) for name, share in table.per_route.items()} == {
        "general": (2, 3),
        "law": (1, 1),
        "math": (0, 1),
    }
    assert table.macro == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert table.confusion == {
        "general": {"general": 2, "law": 1, "math": 0},
        "law": {"general": 0, "law": 1, "math": 0},
        "math": {"general": 1, "law": 0, "math": 0},
    }
    assert table.left_out == {"finance": 2}
    assert json.loads(json.dumps(table.to_json()))["micro"]["n"] == 5


def test_questions_are_encoded_when_no_embeddings_are_given(encoder: Encoder) -> None:
    questions = [Question("1", "who wrote Faust?", domain="general"), Question("2", "is theft a crime?", domain="law")]
    vectors = encoder.encode([question.question for question in questions])
    router = Router(encoder, {"general": vectors[:1], "law": vectors[1:]})
    assert routing_accuracy(router, questions).micro.share == 1
    assert [stage.micro.share for stage in grow(router, ["law"], questions)] == [1]


def test_growing_adds_one_route_at_a_time_and_scores_only_what_is_there(encoder: Encoder) -> None:
    questions, embeddings = asked(("math", 2), ("general", 2), ("general", 0), ("law", 1), ("law", 0))
    router = Router(encoder, BANKS)
    first, second = grow(router, ["math", "law"], questions, embeddings)
    assert first.routes == ("general", "math")
    assert second.routes == ("general", "math", "law")
    assert (first.micro.correct, first.micro.n, first.left_out) == (2, 3, {"law": 2})
    assert (second.micro.correct, second.micro.n, second.left_out) == (3, 5, {})
    assert "law" not in first.per_route
    assert router.routes == ("general", "law", "math")


def test_growing_encodes_every_question_once(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    questions, embeddings = asked(("math", 2), ("general", 0), ("law", 1))
    calls: list[int] = []
    monkeypatch.setattr(Encoder, "encode", lambda _, texts: calls.append(len(texts)) or embeddings)
    assert [stage.micro.share for stage in grow(Router(encoder, BANKS), ["law", "math"], questions)] == [1, 1]
    assert calls == [3]


def test_growing_an_unknown_route_is_refused(encoder: Encoder) -> None:
    questions, embeddings = asked(("math", 2))
    with pytest.raises(DomainError, match="lacks finance"):
        grow(Router(encoder, BANKS), ["law", "finance"], questions, embeddings)
    with pytest.raises(DomainError, match="lacks general"):
        grow(Router(encoder, {"law": AXES[:1]}), ["law"], questions, embeddings)
    with pytest.raises(DomainError, match="lacks a domain"):
        grow(Router(encoder, BANKS), [], questions, embeddings)


def test_a_pool_without_a_question_to_score_is_refused(encoder: Encoder) -> None:
    questions, embeddings = asked(("finance", 2))
    with pytest.raises(InputError, match="No question belongs") as caught:
        routing_accuracy(Router(encoder, BANKS), questions, embeddings)
    assert "finance" in caught.value.hint
    with pytest.raises(InputError, match="which route is right"):
        routing_accuracy(Router(encoder, BANKS), [Question("1", "q")], embeddings)


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_wilsons_interval(correct: int, n: int, low: float, high: float) -> None:
    share = wilson(correct, n)
    assert share.share == correct / n
    assert (share.ci_low, share.ci_high) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_no_share_of_nothing(correct: int, n: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(correct, n)
