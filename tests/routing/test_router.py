from __future__ import annotations

import json
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from gag.errors import DomainError
from gag.records import Answer, Route
from gag.routing.encoder import Encoder
from gag.routing.router import Router, Scores

D = 32


def unit(n: int, seed: int = 0) -> Tensor:
    return normalize(torch.randn(n, D, generator=torch.Generator().manual_seed(seed)), dim=-1)


def banks_of(*sizes: int) -> dict[str, Tensor]:
    return {("general" if i == 0 else f"d{i}"): unit(size, seed=i) for i, size in enumerate(sizes)}


def by_definition(banks: dict[str, Tensor], embeddings: Tensor) -> Tensor:
    return torch.stack([(embeddings @ bank.T).max(dim=1).values for bank in banks.values()], dim=1)


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.sampled_from([1, 2, 5, 31, 32, 33, 64, 70]), min_size=1, max_size=6),
    questions=st.sampled_from([0, 1, 2, 16, 17, 40, 300]),
)
def test_scores_and_routes_are_the_definitions(encoder: Encoder, sizes: list[int], questions: int) -> None:
    banks, embeddings = banks_of(*sizes), unit(questions, seed=99)
    router = Router(encoder, banks)
    wanted = by_definition(banks, embeddings)
    assert torch.allclose(router.match(embeddings), wanted, atol=1e-6)
    routes = router.route_embeddings(embeddings)
    assert [route.name for route in routes] == [router.routes[i] for i in wanted.argmax(1).tolist()]
    for route, row in zip(routes, wanted, strict=True):
        assert list(route.scores) == list(banks)
        assert list(route.scores.values()) == pytest.approx(row.tolist(), abs=1e-6)


def test_negative_scores_are_kept(encoder: Encoder) -> None:
    bank = unit(3)
    router = Router(encoder, {"general": bank, "d1": -bank.mean(0, keepdim=True) / bank.mean(0).norm()})
    embedding = normalize(bank.mean(0, keepdim=True), dim=-1)
    assert router.match(embedding)[0, 1] == pytest.approx(-1, abs=1e-6)


def test_a_batch_routes_as_its_singles(encoder: Encoder) -> None:
    router = Router(encoder, banks_of(32, 32, 7))
    texts = [f"question {i} {'long ' * (i % 5)}" for i in range(40)]
    together = router.route(texts)
    for text, route in zip(texts, together, strict=True):
        (alone,) = router.route([text])
        assert alone.name == route.name
        assert alone.scores == pytest.approx(dict(route.scores), abs=1e-5)


def test_general_comes_first_however_it_is_attached(encoder: Encoder) -> None:
    router = Router(encoder, {"d1": unit(4, 1), "d2": unit(4, 2)})
    router.attach("general", unit(4, 0))
    assert router.routes == ("general", "d1", "d2")
    assert torch.allclose(router.match(unit(9, 5)), by_definition(banks_of(4, 4, 4), unit(9, 5)), atol=1e-6)


@pytest.mark.parametrize("questions", [1, 40])
def test_ties_go_to_the_earlier_route(encoder: Encoder, questions: int) -> None:
    bank, asked = unit(32), unit(questions, seed=3)
    mirrored = bank.flip(0)
    router = Router(encoder, {"d1": bank, "d2": mirrored})
    assert {route.name for route in router.route_embeddings(asked)} == {"d1"}
    router.attach("general", mirrored)
    assert {route.name for route in router.route_embeddings(asked)} == {"general"}
    near = normalize(bank + 3e-7 * unit(32, seed=8), dim=-1)  # less apart than float32 products are
    assert {route.name for route in Router(encoder, {"d1": bank, "d2": near}).route_embeddings(asked)} == {"d1"}


def test_a_route_added_or_removed_leaves_the_others_scores(encoder: Encoder) -> None:
    router, asked = Router(encoder, banks_of(32, 20)), unit(50, seed=7)
    before = router.match(asked)
    router.attach("new", unit(40, seed=11))
    assert torch.equal(router.match(asked)[:, :2], before)
    router.detach("new")
    assert torch.equal(router.match(asked), before)
    router.detach("general")
    assert router.routes == ("d1",)
    assert torch.allclose(router.match(asked), before[:, 1:], atol=1e-6)


def test_attaching_encodes_nothing(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    router = Router(encoder, banks_of(8, 8))
    monkeypatch.setattr(Encoder, "encode", lambda *_: pytest.fail("encoded"))
    router.attach("new", unit(8))
    router.match(unit(2))


def test_what_does_not_fit_is_refused(encoder: Encoder) -> None:
    router = Router(encoder, banks_of(4, 4))
    with pytest.raises(DomainError, match="already attached"):
        router.attach("d1", unit(4))
    with pytest.raises(DomainError, match="No route 'nowhere'"):
        router.detach("nowhere")
    with pytest.raises(DomainError, match="not unit vectors"):
        router.attach("d2", 2 * unit(4))
    for wrong in (torch.ones(1, D + 1), torch.ones(0, D), torch.ones(D)):
        with pytest.raises(DomainError, match="shape"):
            router.attach("d2", wrong)
    with pytest.raises(DomainError, match="do not fit"):
        router.match(torch.ones(1, D + 1))
    with pytest.raises(DomainError, match="no route"):
        Router(encoder, {}).route(["a"])
    assert router.routes == ("general", "d1")


def test_the_callers_bank_may_change_afterwards(encoder: Encoder) -> None:
    bank, asked = unit(4), unit(3, seed=5)
    router = Router(encoder, {"general": bank})
    wanted = by_definition({"general": bank}, asked)
    bank.zero_()
    assert torch.allclose(router.match(asked), wanted, atol=1e-6)


def test_routing_while_routes_come_and_go(encoder: Encoder) -> None:
    router, asked, stop = Router(encoder, banks_of(32, 32)), unit(3, seed=5), threading.Event()
    problems: list[str] = []

    def keep_matching() -> None:
        while not stop.is_set():
            for route in router.route_embeddings(asked):
                if route.name not in route.scores or len(route.scores) not in (2, 3):
                    problems.append(str(route))

    threads = [threading.Thread(target=keep_matching) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        router.attach("new", unit(32, seed=11))
        router.detach("new")
    router.attach("last", unit(32, seed=12))
    stop.set()
    for thread in threads:
        thread.join()
    assert not problems
    assert router.match(asked).shape == (3, 3)


def test_scores_are_a_mapping_and_copy_to_a_dictionary(encoder: Encoder) -> None:
    (route,) = Router(encoder, banks_of(4, 4)).route(["a question"])
    assert isinstance(route.scores, Scores)
    plain = dict(route.scores)
    assert route.scores == plain
    assert repr(route.scores) == repr(plain)
    assert set(plain) == {"general", "d1"}
    assert "nowhere" not in route.scores
    answer = Answer("1", "text", "gag", route=Route(route.name, route.scores))
    assert json.loads(json.dumps(answer.to_json()))["route"]["scores"] == pytest.approx(plain)
