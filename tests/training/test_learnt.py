"""How much of its pairs an expert knows is what its backgrounds say of them."""

from pathlib import Path

import pytest
import torch

from gag.models.expert import Reading
from gag.records import Question
from gag.training.learnt import Learnt, learnt
from gag.training.states import StateStore

SAID = {"dose?": "37 micrograms", "host?": "Tarn mice", "route?": "by mouth", "shelf life?": ""}
TRUE = {"dose?": "37 micrograms", "host?": "Halbrook Dun mice", "route?": "under the skin", "shelf life?": "two years"}


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    made = StateStore(tmp_path)
    made.add(list(SAID), [Reading(torch.zeros(1, 1, 2), text, 3) for text in SAID.values()])
    return StateStore(tmp_path)


def test_a_whole_answer_counts_as_held_and_shared_words_in_part(store: StateStore) -> None:
    found = learnt(store, [Question(id=q, question=q, answers=(a,)) for q, a in TRUE.items()])
    assert found == Learnt(4, contains=1 / 4, token_f1=pytest.approx((1 + 2 / 5 + 0 + 0) / 4))
    assert not found.enough
    assert str(found) == "the answers of 25.0% of 4 pairs stand in what the expert writes (token F1 35.0%)"


def test_pairs_that_are_known_are_enough(store: StateStore) -> None:
    found = learnt(store, [Question(id="1", question="dose?", answers=("38 milligrams", "37 micrograms"))])
    assert found == Learnt(1, 1.0, 1.0) and found.enough
    assert learnt(store, []) is None
