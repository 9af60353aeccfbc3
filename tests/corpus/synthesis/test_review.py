"""The pairs on disk and the decisions about them: saved at once, kept through a new synthesis, whole after a crash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gag.corpus.synthesis.generators import pair_key
from gag.corpus.synthesis.review import REJECTED, REVIEW, QaSet, by_document
from gag.corpus.synthesis.splits import QA
from gag.errors import BusyError, InputError
from gag.records import Question, read_questions

TEXTS = {"d#1": "It is so."}


def pair(number: int, *, style: str = "plain", document: str = "d", refused: bool = False) -> Question:
    question, answer, passage = f"What is {style} {number}?", f"it is {number}", f"{document}#1"
    meta = {"document": document, "passage": passage, "style": style, "split": "train", "quote": "so"}
    meta |= {"refused": {"gate": "quote", "reason": "no quote"}} if refused else {}
    return Question(f"dom-{pair_key([passage], question, answer)}", question, (answer,), "dom", meta)


@pytest.fixture
def pairs(tmp_path: Path) -> QaSet:
    made = QaSet(tmp_path)
    made.replace("plain", [pair(0), pair(1), pair(2)], [pair(3, refused=True)], TEXTS)
    return made


def questions(folder: Path, name: str = QA) -> list[str]:
    return [json.loads(line)["question"] for line in (folder / name).read_text("utf-8").splitlines()]


def test_what_is_written(pairs: QaSet) -> None:
    assert questions(pairs.folder) == ["What is plain 0?", "What is plain 1?", "What is plain 2?"]
    assert questions(pairs.folder, REJECTED) == ["What is plain 3?"]
    assert read_questions(pairs.path, require_answers=True)[0].meta["document"] == "d"
    assert pairs.rejected[0].meta["refused"]["gate"] == "quote"
    assert len(pairs.undecided()) == 3
    assert {k: len(v) for k, v in by_document(pairs.used).items()} == {"d": 3}


def test_decisions_are_on_disk_at_once(pairs: QaSet) -> None:
    first, second, third = (pair(n).id for n in range(3))
    pairs.decide(first, "rejected")
    assert questions(pairs.folder) == ["What is plain 1?", "What is plain 2?"]
    pairs.decide(second, "edited", question=" Which one? ", answer="that one")
    assert questions(pairs.folder)[0] == "Which one?"
    pairs.decide(third, "accepted")
    pairs.decide(pair(3).id, "accepted")
    again = QaSet(pairs.folder)
    assert [again.decision(i) for i in (first, second, third)] == ["rejected", "edited", "accepted"]
    assert [q.question for q in again.used] == ["Which one?", "What is plain 2?", "What is plain 3?"]
    assert [q.meta["refused"]["gate"] for q in again.rejected] == ["review"]
    assert again.undecided() == []
    again.decide(first, "accepted")
    assert pair(0).question in questions(pairs.folder)


def test_decisions_hold_through_a_new_synthesis(pairs: QaSet) -> None:
    pairs.decide(pair(0).id, "rejected")
    pairs.decide(pair(1).id, "edited", question="Which one?", answer="that one")
    pairs.decide(pair(2).id, "accepted")
    again = QaSet(pairs.folder)
    kept = again.replace("plain", [pair(0), pair(1), pair(5)], [], TEXTS)
    assert kept == 1  # the accepted pair that is not made any more
    assert set(questions(pairs.folder)) == {"Which one?", "What is plain 2?", "What is plain 5?"}
    assert questions(pairs.folder, REJECTED) == ["What is plain 0?"]
    again.decide(pair(1).id, "accepted")
    assert again.get(pair(1).id).question == "Which one?"  # accepting an edited pair keeps the edit


def test_decisions_follow_a_passage_that_was_renumbered(pairs: QaSet) -> None:
    pairs.decide(pair(0).id, "rejected")
    pairs.decide(pair(1).id, "edited", question="Which one?", answer="that one")
    pairs.decide(pair(2).id, "accepted")

    def moved(number: int) -> Question:
        made = pair(number)
        made_id = f"dom-{pair_key(['d#2'], made.question, made.answers[0])}"
        return Question(made_id, made.question, made.answers, "dom", {**made.meta, "passage": "d#2"})

    texts = {"d#1": "A new beginning.", "d#2": "It is so."}
    QaSet(pairs.folder).replace("plain", [moved(0), moved(1)], [], texts)  # the accepted pair is not made any more
    assert sorted(questions(pairs.folder)) == ["What is plain 2?", "Which one?"]
    assert questions(pairs.folder, REJECTED) == ["What is plain 0?"]
    again = QaSet(pairs.folder)
    assert again.decision(moved(0).id) == "rejected" and again.decision(moved(1).id) == "edited"
    assert {q.meta["passage"] for q in again.used} == {"d#2"}


def test_other_styles_and_own_pairs_stay_and_removed_documents_go(pairs: QaSet) -> None:
    own = {"id": "mine", "question": "Mine?", "answers": ["yes"]}
    with pairs.path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(own) + "\n")
    QaSet(pairs.folder).replace("raft", [pair(7, style="raft", document="e")], [], TEXTS | {"e#1": "so"})
    assert set(questions(pairs.folder)) == {"Mine?", "What is raft 7?", *(f"What is plain {n}?" for n in range(3))}
    QaSet(pairs.folder).replace("plain", [], [], {"e#1": "so"})
    assert set(questions(pairs.folder)) == {"Mine?", "What is raft 7?"}


def test_what_a_run_brings_nothing_about_stays_until_its_text_changes(pairs: QaSet) -> None:
    assert QaSet(pairs.folder).replace("plain", [], [], TEXTS) == 3
    assert len(questions(pairs.folder)) == 3
    other = pair(8, document="e")
    assert QaSet(pairs.folder).replace("plain", [other], [], TEXTS | {"e#1": "so"}) == 3
    assert len(questions(pairs.folder)) == 4
    QaSet(pairs.folder).replace("plain", [], [], {"d#1": "It was.", "e#1": "so"})
    assert questions(pairs.folder) == ["What is plain 8?"]


def test_what_is_written_into_the_file_is_kept_whatever_was_decided_before(pairs: QaSet) -> None:
    def rewrite(old: str, new: str) -> None:
        text = pairs.path.read_text("utf-8")
        assert old in text
        pairs.path.write_text(text.replace(old, new), "utf-8")

    pairs.decide(pair(0).id, "accepted")
    pairs.decide(pair(1).id, "edited", question="Which one?", answer="FIRST")
    rewrite('"it is 0"', '"it is nought"')
    rewrite('"FIRST"', '"SECOND"')
    rewrite('"it is 2"', '"it is 2", "it is two"')
    with QaSet(pairs.folder).alone() as again:
        again.decide(pair(2).id, "accepted")
    wanted = {
        "What is plain 0?": ("it is nought",),
        "Which one?": ("SECOND",),
        "What is plain 2?": ("it is 2", "it is two"),
    }
    assert {q.question: q.answers for q in read_questions(pairs.path)} == wanted
    with QaSet(pairs.folder).alone() as again:
        again.replace("plain", [pair(n) for n in range(3)], [], TEXTS)
    assert {q.question: q.answers for q in read_questions(pairs.path)} == wanted


def test_an_edit_of_the_question_keeps_all_answers(pairs: QaSet) -> None:
    own = {"id": "mine", "question": "Mine?", "answers": ["yes", "aye"]}
    with pairs.path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(own) + "\n")
    with QaSet(pairs.folder).alone() as again:
        again.decide("mine", "edited", question="Whose?", answer="yes")
    assert QaSet(pairs.folder).get("mine").answers == ("yes", "aye")


def test_a_pair_keeps_its_distractors_when_it_is_made_without(pairs: QaSet) -> None:
    plain = pair(0)
    raft = Question(
        plain.id, plain.question, plain.answers, "dom", {**plain.meta, "style": "raft", "distractors": ["e#1"]}
    )
    QaSet(pairs.folder).replace("raft", [raft], [], TEXTS)
    assert QaSet(pairs.folder).get(plain.id).meta["distractors"] == ["e#1"]
    QaSet(pairs.folder).replace("plain", [plain, pair(1)], [], TEXTS)
    found = QaSet(pairs.folder).get(plain.id).meta
    assert found["style"] == "plain" and found["distractors"] == ["e#1"]
    assert "distractors" not in QaSet(pairs.folder).get(pair(1).id).meta


def test_what_a_run_did_not_look_at_stays_refused(pairs: QaSet) -> None:
    other = pair(8, document="e")
    QaSet(pairs.folder).replace("plain", [other], [], TEXTS | {"e#1": "so"}, asked={"e#1"})
    assert questions(pairs.folder, REJECTED) == ["What is plain 3?"]
    QaSet(pairs.folder).replace("plain", [pair(0)], [], TEXTS | {"e#1": "so"}, asked={"d#1"})
    assert questions(pairs.folder, REJECTED) == []


def test_a_row_changed_by_hand_counts_as_edited(pairs: QaSet) -> None:
    text = pairs.path.read_text("utf-8").replace("What is plain 1?", "By hand?")
    pairs.path.write_text(text, "utf-8")
    QaSet(pairs.folder).replace("plain", [pair(n) for n in range(3)], [], TEXTS)
    assert questions(pairs.folder) == ["What is plain 0?", "By hand?", "What is plain 2?"]
    assert QaSet(pairs.folder).decision(pair(1).id) == "edited"


def test_a_crash_between_log_and_files_loses_no_decision(pairs: QaSet) -> None:
    before = {name: (pairs.folder / name).read_bytes() for name in (QA, REJECTED)}
    pairs.decide(pair(0).id, "rejected")
    for name, content in before.items():
        (pairs.folder / name).write_bytes(content)
    with (pairs.folder / REVIEW).open("a") as log:
        log.write('{"id": "dom-torn", "dec')
    again = QaSet(pairs.folder)
    assert [q.question for q in again.used] == ["What is plain 1?", "What is plain 2?"]
    again.decide(pair(1).id, "rejected")
    assert [q.question for q in QaSet(pairs.folder).used] == ["What is plain 2?"]


def test_what_cannot_be_decided(pairs: QaSet) -> None:
    with pytest.raises(InputError, match="no pair 'nope'"):
        pairs.decide("nope", "accepted")
    with pytest.raises(InputError, match="needs a question and an answer"):
        pairs.decide(pair(0).id, "edited", question="  ", answer="x")
    assert not (pairs.folder / REVIEW).exists()


def test_one_process_at_a_time(pairs: QaSet) -> None:
    with pairs.alone(), pytest.raises(BusyError, match="Another process"), QaSet(pairs.folder).alone():
        pass
    with pairs.alone() as free:
        assert len(free.used) == 3
