"""What is new, what is learnt again, and what is asked: chosen alike every time, and never both."""

from __future__ import annotations

from gag.config import UpdateConfig
from gag.records import Question, pair_mark
from gag.updating.plan import LEARNT, NEW, OLD, Known, Plan, plan_update


def pairs(start: int, count: int, wordings: int = 2) -> list[Question]:
    return [
        Question(f"{n}-{w}", f"Wording {w} of {n}?", (f"a{n}",), meta={"fact": f"f{n}", "document": f"d{n}"})
        for n in range(start, start + count)
        for w in range(wordings)
    ]


def marks(questions: list[Question]) -> frozenset[str]:
    return frozenset(map(pair_mark, questions))


def planned(old: list[Question], new: list[Question], held: list[Question], **choices: object) -> Plan:
    known = Known(marks(old), marks(held))
    return plan_update(known, [*old, *new], held, UpdateConfig.model_validate(choices))


def test_nothing_is_both_trained_on_and_asked() -> None:
    old, new, held = pairs(0, 40), pairs(100, 20), pairs(200, 5)
    plan = planned(old, new, held, replay=0.5)
    asked = {kind: marks(questions) for kind, questions in plan.asked.items()}
    assert len(asked[NEW]) == 8 and asked[NEW] < marks(new)
    assert marks(plan.new) == marks(new) - asked[NEW]
    assert len({q.meta["fact"] for q in plan.asked[NEW]}) == 8  # one wording a fact; the other is learnt
    assert len(plan.replay) == round(0.5 * len(plan.new)) and marks(plan.replay) < marks(old)
    assert asked[LEARNT] < marks(old) and not asked[LEARNT] & marks(plan.replay)
    assert asked[OLD] == marks(held) and not plan.remarks
    assert plan == planned(old, new, held, replay=0.5)
    assert plan != planned(old, new, held, replay=0.5, seed=1)


def test_what_was_asked_once_is_an_old_question_then() -> None:
    old, new = pairs(0, 10), pairs(100, 10)
    plan = planned(old, new, [])
    later = plan_update(plan.known, [*old, *new], [], UpdateConfig())
    assert not later.new and marks(later.asked[LEARNT]) > marks(plan.asked[NEW])
    assert later.known == plan.known and not later.asked[OLD] and OLD in later.remarks


def test_limits() -> None:
    plan = planned(pairs(0, 100), pairs(200, 100), pairs(400, 50), questions=10, max_replay=7, replay=3)
    assert [len(plan.asked[kind]) for kind in (OLD, LEARNT, NEW)] == [10, 10, 10]
    assert len(plan.replay) == 7
    assert not planned(pairs(0, 9), pairs(20, 9), [], replay=0).replay


def test_new_pairs_without_other_wordings_are_asked_as_they_were_learnt() -> None:
    plan = planned(pairs(0, 9), pairs(20, 9, wordings=1), [])
    assert marks(plan.asked[NEW]) == marks(plan.new) and NEW in plan.remarks
    assert not plan.known.held


def test_as_many_facts_are_asked_as_can_show_anything() -> None:
    plan = planned(pairs(0, 7, wordings=1), pairs(20, 7), [])
    assert [len({q.meta["fact"] for q in plan.asked[kind]}) for kind in (LEARNT, NEW)] == [6, 6]
    assert len(plan.replay) == 1 and len(plan.new) == 8 and NEW not in plan.remarks
    few = planned(pairs(0, 7, wordings=1), pairs(20, 5), [])
    assert marks(few.asked[NEW]) == marks(few.new) and "fewer than 6 new facts" in few.remarks[NEW]


def test_nothing_is_said_to_be_asked_that_is_not() -> None:
    plan = plan_update(Known(marks(pairs(0, 9)), marks([])), pairs(20, 9), [], UpdateConfig())
    assert (plan.dropped, plan.replay, plan.asked[LEARNT]) == (18, [], [])
    assert plan.remarks[OLD].endswith("so nothing old is asked")


def test_pairs_that_are_gone_and_pairs_for_testing() -> None:
    old, held = pairs(0, 10), pairs(50, 3)
    plan = plan_update(Known(marks(old), marks([])), old[4:], held, UpdateConfig())
    assert (plan.dropped, plan.untested, plan.new) == (4, 6, [])
    assert marks(held) <= plan.known.held
