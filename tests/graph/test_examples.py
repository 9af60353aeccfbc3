"""Training rows of both instructions, read back."""

from __future__ import annotations

from collections import Counter

import pytest

from gag.config import RogConfig
from gag.errors import InputError
from gag.graph.examples import label_questions, training_rows
from gag.graph.planning import INSTRUCTION as PLANNING
from gag.graph.planning import Speller
from gag.graph.reasoning import INSTRUCTION as REASONING
from gag.graph.reasoning import answers_in
from gag.graph.store import Graph
from gag.records import Question
from gag.testing import byte_tokenizer

SPELLER = Speller(byte_tokenizer())

QUESTIONS = [
    Question("1", "who directed [The Kiln]", ("Ana Ruiz",)),
    Question("2", "which films share an actor with [The Kiln]", ("Salt | Smoke", "Über die Brücke")),
    Question("3", "who directed [Nothing At All Like It]", ("Ana Ruiz",)),
    Question("4", "who directed [The Kiln] again", ("Nobody Known",)),
    Question("5", "what has [Who?] to do with it", ('Dee "Dot" Fox',)),
]


def read(row: dict[str, list[int]]) -> tuple[str, str]:
    """The prompt and what is learnt of it."""
    cut = row["labels"].count(-100)
    assert row["labels"][:cut] == [-100] * cut and row["labels"][cut:] == row["input_ids"][cut:]
    decode = SPELLER.tokenizer.decode
    return decode(row["input_ids"][:cut]), decode(row["input_ids"][cut:], skip_special_tokens=True)


def test_what_can_be_learnt_and_why_the_rest_cannot(films: Graph) -> None:
    found = label_questions(films, QUESTIONS, RogConfig())
    assert [item.question.id for item in found.labelled] == ["1", "2"]
    assert found.labelled[0].labels == (("directed_by",), ("written_by",))
    assert set(found.left_out) == {"3", "4", "5"}
    assert "has no entity" in found.left_out["3"] and "No answer of '4'" in found.left_out["4"]
    assert "No path of up to 3 hops" in found.left_out["5"]
    with pytest.raises(InputError, match="None of the 3 questions can be learnt from: The graph films has no entity"):
        label_questions(films, QUESTIONS[2:], RogConfig())


def test_an_even_mixture_of_the_labels(films: Graph) -> None:
    data = label_questions(films, QUESTIONS[:1], RogConfig()).labelled
    rows = training_rows(films, data, SPELLER, RogConfig(epochs=6, reasoning_share=0))
    said = Counter(read(row)[1] for row in rows)
    assert said == {"directed_by": 3, "written_by": 3}
    assert all("[The Kiln]" in read(row)[0] and PLANNING in read(row)[0] for row in rows)


def test_reasoning_learns_the_answers_among_the_paths(films: Graph) -> None:
    data = label_questions(films, QUESTIONS[:2], RogConfig()).labelled
    config = RogConfig(epochs=1, reasoning_share=1)
    seen = 0
    for seed in range(20):
        rows = training_rows(films, data, SPELLER, config.model_copy(update={"seed": seed}))
        for prompt, said in map(read, rows[2:]):
            assert REASONING in prompt
            answers = answers_in(said)
            gold = QUESTIONS[0].answers if "who directed" in prompt else QUESTIONS[1].answers
            assert answers and set(answers) <= set(gold)
            lines = prompt.split("Paths:\n")[1].split("\nQuestion:")[0].splitlines()
            assert all(line.startswith("The Kiln | ") for line in lines) and len(lines) <= config.lines
            assert all(any(line.endswith(answer) for line in lines) for answer in answers)
            seen += len(lines) > len(answers)
    assert seen  # there are paths beside those of the answers to tell them from


def test_a_row_too_long_loses_paths_not_answers_that_are_shown(films: Graph) -> None:
    data = label_questions(films, QUESTIONS[1:2], RogConfig()).labelled
    short = RogConfig(epochs=1, reasoning_share=1, max_length=330)
    rows = training_rows(films, data, SPELLER, short)
    assert all(len(row["input_ids"]) <= 330 for row in rows)


def test_the_same_seed_the_same_rows(films: Graph) -> None:
    data = label_questions(films, QUESTIONS[:2], RogConfig()).labelled
    config = RogConfig(reasoning_share=1)
    assert training_rows(films, data, SPELLER, config) == training_rows(films, data, SPELLER, config)
