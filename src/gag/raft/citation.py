"""What RAFT writes and how it is read: a reason with verbatim quotes between marks, then the answer.

The marks are those of the RAFT paper (arXiv 2403.10131, figure 3). A quote is looked for in the passages that were
given: it is a citation only where it stands there word for word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gag.prompts import Message, Untrusted
from gag.records import Citation, Passage
from gag.retrieval.lexical import UNSPACED

BEGIN, END = "##begin_quote##", "##end_quote##"
REASON, ANSWER = "##Reason:", "##Answer:"
MARKS = (BEGIN, END, REASON, ANSWER)

INSTRUCTION = (
    "Answer the question from the passages. First give the reason, with the words of a passage between "
    f"{BEGIN} and {END}, then the answer after {ANSWER}"
)
"""What the model is told, in training and in use."""

_SIGNED = r"(?<!\^)(?:(?<![-‐‑–−])|(?<=\w[-‐‑–−])(?<!\d[eE][-‐‑–−]))"
"""Before a number: no `^` and no minus, unless that stands after a word or number, and is not that of 1e-5."""
_QUOTE = re.compile(f"{BEGIN}(?:((?:(?!{BEGIN}).)*?){END}|((?:(?!{BEGIN}|{ANSWER}).)*))", re.DOTALL)


@dataclass(frozen=True)
class Written:
    """A text taken apart: the reason as it was written (without its heading), its quotes, and the answer."""

    reason: str
    quotes: tuple[str, ...]
    answer: str


def cited_prompt(question: str, passages: str) -> tuple[Message, ...]:
    """What is asked: the instruction, the passages' text and the question."""
    given = (Untrusted(passages), "\n\n") if passages else ("(none)\n\n",)
    return (
        Message("system", (INSTRUCTION,)),
        Message("user", ("Passages:\n", *given, "Question: ", Untrusted(question))),
    )


def written(reason: str, answer: str) -> str:
    """The text that is learnt."""
    return f"{REASON} {reason}\n{ANSWER} {unmarked(answer)}" if reason else f"{ANSWER} {unmarked(answer)}"


def quoting(quotes: Sequence[str]) -> str:
    """A reason that is nothing but what the passages say."""
    said = " and ".join(f"{BEGIN} {unmarked(quote)} {END}" for quote in quotes)
    return f"The passage says {said}." if said else ""


def unmarked(text: str) -> str:
    """`text` without what would be read as a mark."""
    for mark in MARKS:
        text = text.replace(mark, " ")
    return text.strip()


def read_written(text: str) -> Written:
    """A model's text taken apart; one without an answer's mark is all answer, its quotes apart.

    A quote whose end mark is missing ends where the answer begins, or with the text.
    """
    quotes = tuple(quote for match in _QUOTE.finditer(text) if (quote := (match[1] or match[2] or "").strip()))
    outside = _QUOTE.sub(" ", text)
    _, mark, after = outside.partition(ANSWER)
    if not mark:
        return Written("", quotes, " ".join(unmarked(outside).split()))
    reason = text[: text.index(ANSWER, _last_quote_end(text))].replace(REASON, "", 1).strip()
    return Written(reason, quotes, " ".join(unmarked(after).split()))


def cite(quotes: Sequence[str], passages: Sequence[Passage]) -> tuple[Citation, ...]:
    """Each quote with where it stands: the first of `passages` that holds it word for word, or nowhere."""
    found = []
    for quote in quotes:
        places = ((passage.id, find_quote(quote, passage.text)) for passage in passages)
        passage_id, span = next(((name, span) for name, span in places if span is not None), (None, None))
        found.append(Citation(quote, passage_id, span))
    return tuple(found)


def find_quote(quote: str, text: str) -> tuple[int, int] | None:
    """Where `quote` stands in `text`, word for word; None where it does not, or only within a word or number.

    A sign is part of its number ("-5", "10^5"), but what stands between two words or numbers is a range ("20-80 °C").
    Any white space counts for any other, and its first letter may be of the other case: "… that the size is" is
    commonly quoted as "The size is".
    """
    words = quote.split()
    if not words:
        return None
    rest = r"\s+".join([re.escape(words[0][1:]), *map(re.escape, words[1:])])
    before = r"(?<!\w)(?<!\d[.,])" if _spaced(words[0][0]) else ""
    before += _SIGNED if words[0][0].isdigit() else ""
    after = r"(?!\w|[.,]\d)" if _spaced(words[-1][-1]) else ""
    match = re.search(f"{before}(?i:{re.escape(words[0][0])}){rest}{after}", text)
    return None if match is None else match.span()


def _spaced(letter: str) -> bool:
    """Whether a letter or digit is of a writing that parts its words."""
    return letter.isalnum() and re.match(f"[{UNSPACED}]", letter) is None


def _last_quote_end(text: str) -> int:
    """Where the last quote before the answer ends: a quote may hold anything, an answer's mark too."""
    ends = [match.end() for match in _QUOTE.finditer(text) if ANSWER in text[match.end() :]]
    return ends[-1] if ends else 0
