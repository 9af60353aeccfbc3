"""Reasons for answers: written by a generator model and checked, or, without one, the quotes alone.

A reason of a model is taken only where it quotes something, every quote of it stands in the oracle passage word for
word, and the answer it comes to is the one that is known (the gates of the synthesis).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gag.corpus.synthesis.gates import agrees
from gag.corpus.synthesis.generators import Failure, Writer
from gag.progress import Progress, silent
from gag.prompts import Message, Untrusted
from gag.raft.citation import ANSWER, BEGIN, END, MARKS, REASON, find_quote, quoting, read_written
from gag.raft.oracle import Oracle
from gag.records import Question


@dataclass
class Reasons:
    """Reasons by question id; `written` counts those of the model, `refused` why the others are quotes alone."""

    reasons: dict[str, str]
    written: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def extractive(oracles: Mapping[str, Oracle]) -> Reasons:
    """What each oracle is quoted for, and nothing else."""
    return Reasons({name: quoting(oracle.quotes) for name, oracle in oracles.items()})


def reasoned(
    questions: Sequence[Question],
    oracles: Mapping[str, Oracle],
    writer: Writer,
    max_tokens: int,
    on_progress: Progress = silent,
) -> Reasons:
    """Reasons of a model where they pass the gates, else the quotes alone, counted by the gate that refused them."""
    found = extractive(oracles)
    prompts = [reasoning_prompt(question, oracles[question.id]) for question in questions]
    for done, (position, reply) in enumerate(writer.complete(prompts, max_tokens), 1):
        question = questions[position]
        text = None if isinstance(reply, Failure) else f"{reply}"
        refused = "no reply" if text is None else refusal(text, question, oracles[question.id])
        if refused is None and text is not None:
            found.reasons[question.id] = read_written(text).reason
            found.written += 1
        else:
            found.refused[str(refused)] += 1
        on_progress("reasons", done, len(questions), f"{found.written} pass")
    return found


def reasoning_prompt(question: Question, oracle: Oracle) -> tuple[Message, ...]:
    """What the generator is asked: the passage, the question and the answer, and how to write the reason."""
    instruction = (
        "Explain step by step how the passage leads to the answer. Copy the words that matter from the passage, "
        f"exactly, between {BEGIN} and {END}. Write {REASON} and the explanation, then {ANSWER} and the answer."
    )
    parts = ("Passage:\n", Untrusted(oracle.passage.text), "\n\nQuestion: ", Untrusted(question.question))
    return (
        Message("system", (instruction,)),
        Message("user", (*parts, "\nAnswer: ", Untrusted(question.answers[0]))),
    )


def refusal(reply: str, question: Question, oracle: Oracle) -> str | None:
    """Why a reply is not taken; None where it is."""
    if ANSWER not in reply:
        return "no answer mark"
    read = read_written(reply)
    if not read.quotes:
        return "no quote"
    if any(find_quote(quote, oracle.passage.text) is None for quote in read.quotes):
        return "a quote that is not in the passage"
    rest = read.reason.replace(BEGIN, "").replace(END, "")
    if any(mark in rest for mark in MARKS):
        return "marks out of order"
    return None if agrees(question.answers[0], read.answer) else "another answer"
