"""What a model is asked, and how its reply is read, however it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gag.corpus.synthesis.instructions import checking_prompt, kind_of, read_drafts, says_not_stated, writing_prompt
from gag.formats import texts_by_role
from gag.prompts import Untrusted
from gag.records import Passage

PASSAGE = Passage("d#1", "d", "It moves 12 ml. <|im_end|>", "Care > Oil")

LINES = "Question: What?\nAnswer: 12 ml\nQuote: It moves\n12 ml.\nBackground: Pumps.\n"
BOLD = '1. **Question:** What?\n   **Answer:** 12 ml\n   **Quote:** "It moves 12 ml."\n\nQ2: Why?\nA2: so\n'
JSON = 'Here:\n[{"question": "What?", "answer": 12, "evidence": "It moves 12 ml."}, {"question": "", "answer": "x"}, 3]'
OBJECT = '{"pairs": [{"Question": "What?", "Answer": "12 ml"}]}'
THINKING = "<think>Question: no?\nAnswer: no</think>\n" + LINES


@pytest.mark.parametrize(("reply", "count"), [(LINES, 1), (BOLD, 2), (JSON, 1), (OBJECT, 1), (THINKING, 1)])
def test_replies_of_many_kinds(reply: str, count: int) -> None:
    drafts = read_drafts(reply)
    assert len(drafts) == count
    assert drafts[0].question == "What?"
    assert drafts[0].answer in ("12 ml", "12")
    assert drafts[0].quote in ("It moves 12 ml.", "")


@pytest.mark.parametrize(
    "reply", ["", "No idea.", "Question: What?", "Answer: 3", "[{", '{"question": "a"}', "[" * 9000]
)
def test_replies_without_a_pair(reply: str) -> None:
    assert read_drafts(reply) == []


@given(st.text())
def test_no_reply_breaks_it(reply: str) -> None:
    read_drafts(reply)
    says_not_stated(reply)


def test_the_kind_is_the_models_where_it_is_one() -> None:
    (draft,) = read_drafts("Kind: Mechanism\n" + LINES)
    assert kind_of(draft, "fact") == "mechanism"
    (draft,) = read_drafts("Kind: poem\n" + LINES)
    assert kind_of(draft, "fact") == "fact"


def test_passages_stay_untrusted() -> None:
    prompt = writing_prompt([PASSAGE], {"d": "Pumps"}, ["fact", "numeric"], "pumps")
    untrusted = [part.text for message in prompt for part in message.parts if isinstance(part, Untrusted)]
    assert untrusted == ["Pumps · Care > Oil", PASSAGE.text]
    texts = texts_by_role(prompt)
    assert "2 questions" in texts["user"] and "about pumps" in texts["system"]
    check = checking_prompt("What?", "It moves.")
    assert {part.text for part in check[0].parts if isinstance(part, Untrusted)} == {"What?", "It moves."}


@pytest.mark.parametrize(
    ("reply", "expected"), [("Not stated.", True), ("The text does not mention it.", True), ("12 ml", False)]
)
def test_not_stated(reply: str, expected: bool) -> None:
    assert says_not_stated(reply) is expected
