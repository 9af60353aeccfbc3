"""Whether an answer says that it does not know, by a list of English patterns, and whether it was right to.

An answer abstains when its first sentence matches a pattern and does not go on to answer ("I am not sure, but …"), or
when it says nothing at all. "The cause is unknown" is an answer: what is unknown must be the answer, or the whole text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Pattern:
    """One way to say so, as a regular expression over lower-cased text with plain apostrophes, and an example."""

    expression: str
    example: str


_NOT = (
    r"(?:do not|don't|did not|didn't|cannot|can not|can't|could not|couldn't|am unable to|am not able to|won't be "
    r"able to)"
)
_FIND = (
    r"(?:answer|determine|find|provide|say|tell|give|verify|confirm|identify|locate|recall|remember|help|access|"
    r"comment)"
)
_INFORMATION = r"(?:information|context|evidence|data|details?|knowledge|background|record|records|mention|answer)"

PATTERNS: tuple[Pattern, ...] = (
    Pattern(r"\bi (?:really |simply |honestly )?(?:do not|don'?t) (?:actually )?know\b", "I don't know."),
    Pattern(r"^(?:sorry,? )?(?:do not|don'?t) know\b", "Don't know"),
    Pattern(r"\bi(?:'m| am) (?:not|un)\s?(?:sure|certain|aware|familiar|acquainted)\b", "I'm not sure."),
    Pattern(rf"\bi {_NOT} (?:\w+ly )?{_FIND}\b", "I cannot answer this question."),
    Pattern(rf"\bi'm (?:unable|not able) to (?:\w+ly )?{_FIND}\b", "I'm unable to determine that."),
    Pattern(
        rf"\bi (?:do not|don't|currently do not|currently don't) have (?:any |enough |sufficient |specific |access to |"
        rf"the )*(?:{_INFORMATION}|real-time|personal)",
        "I don't have enough information to say.",
    ),
    Pattern(r"\bi have no (?:idea|information|knowledge|data|record|way of knowing)\b", "I have no idea."),
    Pattern(
        rf"^(?:unfortunately,? |sorry,? )?(?:there is|there's|there are|there was) (?:no|not enough|insufficient|not "
        rf"sufficient) (?:\w+ ){{0,2}}{_INFORMATION}(?:$|\b.{{0,40}}\b(?:available|provided|given|to "
        rf"(?:answer|determine|say|tell)|in the (?:text|context|passage|question|background|knowledge|document)|"
        rf"about (?:this|that|it)$))",
        "There is not enough information to answer.",
    ),
    Pattern(
        rf"^(?:no|not enough|insufficient) (?:\w+ )?{_INFORMATION}(?: (?:is |was )?(?:available|provided|given|"
        rf"found))?$",
        "No information available",
    ),
    Pattern(
        r"\bthe (?:provided |given )?(?:text|context|passage|question|background|knowledge|document|information)"
        r"(?: provided| given)? (?:does not|doesn't|do not|did not) (?:\w+ly )?"
        r"(?:say|state|mention|specify|provide|contain|include|give|answer)\b",
        "The context does not mention it.",
    ),
    Pattern(
        r"\b(?:this|that|it|the answer|the information) (?:is|was) not (?:\w+ly )?(?:mentioned|specified|stated|"
        r"provided|given|included) in the\b",
        "It is not mentioned in the text.",
    ),
    Pattern(
        r"\b(?:the|this|that|your) (?:question|query) (?:cannot|can not|can't|could not) be answered\b",
        "This question cannot be answered.",
    ),
    Pattern(
        r"^(?:it|this|that|the answer)(?: to (?:this|the|that|your) question)? (?:cannot|can not|can't|could not) be "
        r"(?:determined|answered|known|inferred|verified)\b",
        "It cannot be determined.",
    ),
    Pattern(
        r"\bthe answer(?: to (?:this|the|that|your) question)? is (?:unknown|unclear|not known|unavailable|not "
        r"available|not clear)\b",
        "The answer is unknown.",
    ),
    Pattern(
        r"^(?:unknown|unanswerable|not known|not available|not specified|not mentioned|not stated|not provided|no idea|"
        r"no answer|n/a|cannot say|can't say|cannot answer|can't answer|cannot determine|undetermined|it is unknown)$",
        "Unknown",
    ),
)
"""Every pattern; an addition needs an example, which the tests try."""

_COMPILED = tuple(re.compile(pattern.expression) for pattern in PATTERNS)
_SENTENCE_END = re.compile(r"[.!?。！？](?=\s|$)|\n")
_GOES_ON = re.compile(
    r"\b(?:but|however|though|although|nevertheless|still),? (?=.*\b(?:is|are|was|were|i (?:think|believe|guess|"
    r"suspect)|it|probably|perhaps|maybe|likely|might|may)\b)(?!.*\b(?:help|more (?:context|details|information))\b)"
)


def abstained(prediction: str, answers: Sequence[str] = ()) -> float:
    """1 when the answer says that it does not know, or says nothing, else 0; `answers` do not matter."""
    text = _plain(prediction)
    if not any(c.isalnum() for c in text):
        return 1.0
    end = _SENTENCE_END.search(text)
    first = (text[: end.start()] if end else text)[:400].strip(" .!?\"'*")
    rest = text[end.end() :][:400] if end else ""
    if not any(pattern.search(first) for pattern in _COMPILED):
        return 0.0
    return float(not _GOES_ON.search(first) and not _GOES_ON.match(rest.strip()))


def abstained_rightly(prediction: str, answers: Sequence[str]) -> float:
    """1 when the answer abstains and there is no accepted answer, or answers where there is one, else 0.

    Says nothing of whether what was answered is right.
    """
    return float(bool(abstained(prediction)) == (not answers))


def _plain(text: str) -> str:
    # Half a paragraph is enough for a first sentence, and bounds the work on a very long answer.
    text = unicodedata.normalize("NFKC", text[:4000]).replace("\u2019", "'").casefold()
    return re.sub(r"[^\S\n]+", " ", text).strip()
