"""RAFT's training examples: a question among passages, the right one there or not, and a text that quotes it.

In a share P of the examples the oracle passage stands among the distractors, in the rest there are distractors only
(arXiv 2403.10131, section 3), one more of them, so that the number of passages does not tell.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from gag.atomic import new_file
from gag.config import RaftConfig
from gag.errors import InputError
from gag.formats import alpaca_row, prompt_completion_row, texts_by_role
from gag.prompts import Message
from gag.raft.citation import cited_prompt, written
from gag.raft.oracle import Oracle
from gag.records import Passage, Question, passage_text

Format = Literal["trl", "chat", "completion", "alpaca"]


@dataclass(frozen=True)
class Given:
    """A passage as an example shows it."""

    id: str
    text: str


@dataclass(frozen=True)
class RaftExample:
    """A question, the passages it stands among, and what is to be written.

    `oracle` names the passage that answers it, which is among `passages` only where `has_oracle`. `reason` is what is
    written before the answer, with the quotes marked; it may be empty.
    """

    id: str
    question: str
    answer: str
    passages: tuple[Given, ...]
    oracle: str
    has_oracle: bool
    reason: str

    @property
    def target(self) -> str:
        """The text to learn."""
        return written(self.reason, self.answer)

    def prompt(self) -> tuple[Message, ...]:
        """What it answers, all its passages in their order."""
        return cited_prompt(self.question, joined([passage.text for passage in self.passages]))

    def without_last_distractor(self) -> RaftExample | None:
        """The same with one distractor fewer; None where there is none left."""
        places = [i for i, passage in enumerate(self.passages) if passage.id != self.oracle]
        if not places:
            return None
        kept = tuple(passage for i, passage in enumerate(self.passages) if i != places[-1])
        return RaftExample(self.id, self.question, self.answer, kept, self.oracle, self.has_oracle, self.reason)


def joined(texts: Sequence[str]) -> str:
    """Passages as one text."""
    return "\n\n".join(text.strip() for text in texts)


def assemble(
    questions: Sequence[Question],
    oracles: Mapping[str, Oracle],
    distractors: Mapping[str, Sequence[Passage]],
    reasons: Mapping[str, str],
    config: RaftConfig,
) -> list[RaftExample]:
    """One example a question, in order; oracles, distractors (one more than an example has) and reasons by question id.

    Exactly the share `oracle_share` of them (rounded) has its oracle, drawn by the seed; the passages' order is drawn
    too, so that the place of a passage says nothing. Without its oracle an example's target has a reason only where
    `raft.unsupported` says so.
    """
    chance = random.Random(config.seed)
    with_oracle = set(chance.sample(range(len(questions)), round(config.oracle_share * len(questions))))
    examples = []
    for number, question in enumerate(questions):
        oracle, has = oracles[question.id], number in with_oracle
        near = distractors[question.id]
        shown = [*near[: config.distractors], oracle.passage] if has else list(near)
        chance.shuffle(shown)
        examples.append(
            RaftExample(
                id=question.id,
                question=question.question,
                answer=question.answers[0],
                passages=tuple(Given(passage.id, passage_text(passage)) for passage in shown),
                oracle=oracle.passage.id,
                has_oracle=has,
                reason=reasons[question.id] if has or config.unsupported == "quote" else "",
            )
        )
    return examples


def write_examples(path: Path, examples: Sequence[RaftExample]) -> None:
    """A JSON object a line, whole or not at all."""
    with new_file(path) as partial:
        lines = (json.dumps(asdict(example), ensure_ascii=False) + "\n" for example in examples)
        partial.write_text("".join(lines), encoding="utf-8")


def read_examples(path: Path) -> list[RaftExample]:
    """What `write_examples` wrote; raises InputError with the line that is something else."""
    examples = []
    again = "Make the file anew: gag raft data NAME --qa FILE.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path} cannot be read.", again) from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            examples.append(_example(json.loads(line)))
        except (ValueError, TypeError, KeyError):
            raise InputError(f"{path} line {number} is no RAFT example.", again) from None
    if not examples:
        raise InputError(f"{path} has no examples.", again)
    return examples


def exported(examples: Sequence[RaftExample], form: Format) -> list[dict[str, Any]]:
    """The examples as rows for another trainer.

    trl: messages of prompt and completion; chat: one list of messages; completion: two plain texts; alpaca: its four
    columns.
    """
    return [_row(example, form) for example in examples]


def _row(example: RaftExample, form: Format) -> dict[str, Any]:
    prompt = example.prompt()
    if form == "alpaca":
        return dict(alpaca_row(prompt, example.target))
    if form == "completion":
        return {"prompt": "\n\n".join(texts_by_role(prompt).values()) + "\n", "completion": example.target}
    row = prompt_completion_row(prompt, example.target)
    return row if form == "trl" else {"messages": [*row["prompt"], *row["completion"]]}


def _example(row: dict[str, Any]) -> RaftExample:
    passages = tuple(Given(str(given["id"]), str(given["text"])) for given in row.pop("passages"))
    example = RaftExample(**row, passages=passages)
    texts = (example.id, example.question, example.answer, example.oracle, example.reason)
    if not all(isinstance(text, str) for text in texts) or not isinstance(example.has_oracle, bool):
        raise TypeError("a field of another kind")
    return example
