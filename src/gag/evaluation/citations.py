"""What an answer's citations are worth: whether they stand in the passages, and whether the answer stands in them."""

from __future__ import annotations

import math
from collections.abc import Callable

from gag.evaluation.metrics import contains
from gag.records import Answer


def citation_verbatim(answer: Answer) -> float:
    """1 when the answer quotes something and every quote stands word for word in a given passage; NaN without quoting.

    A method that quotes passages and did not is 0.
    """
    if answer.citations is None:
        return math.nan
    return float(bool(answer.citations) and all(citation.span is not None for citation in answer.citations))


def citation_answer(answer: Answer) -> float:
    """1 when, beside that, a quote contains the answer that was given; NaN without quoting."""
    if answer.citations is None:
        return math.nan
    held = any(contains(citation.quote, [answer.text]) for citation in answer.citations if answer.text.strip())
    return float(held) * citation_verbatim(answer)


CITATION_METRICS: dict[str, Callable[[Answer], float]] = {
    "citation_verbatim": citation_verbatim,
    "citation_answer": citation_answer,
}
"""By metric name."""
