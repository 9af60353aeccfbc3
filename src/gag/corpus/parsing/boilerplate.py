"""Publishers' sentences that say nothing of a paper's subject."""

from __future__ import annotations

import re

LONGEST = 1500
"""A paragraph with more characters is looked at sentence by sentence no further: it is text."""

_ANYWHERE = re.compile(
    r"[“\"']?just accepted[”\"']? (?:manuscripts?|papers?|articles?|web ?site)"
    r"|technical editing may introduce minor changes"
    r"|this is a pdf file of an (?:unedited|article)"
    r"|accepted manuscripts? (?:are|is) published online shortly after",
    re.IGNORECASE,
)
_DAY = (
    r"(?:on )?(?:\d{1,2}(?:st|nd|rd|th)?[ ./-] ?(?:[a-z]{3,9}|\d{1,2})\.?[ ,./-]+\d{2,4}"
    r"|[a-z]{3,9}\.? \d{1,2},? \d{4}|\d{4}[-/.]\d{1,2}[-/.]\d{1,2})\b"
)
_OPENING = re.compile(
    r"(?:©|\(c\)|copyright\W{0,4}(?:©|\(c\)|(?:19|20)\d\d|:|(?:is )?(?:held |owned )?by\b|belongs\b|the authors?\b"
    r"|of .{3,120} is the property\b)"
    r"|(?-i:C(?:opyright|OPYRIGHT)(?: [A-Z][\w.&-]*){1,6},? (?:19|20)\d\d)"
    r"|c (?:19|20)\d\d\b|all rights reserved\b"
    r"|published (?:by|on|under)\b.{0,60}(?:©|open.access\b|licen[cs]e\b|\b\d{4}(?:\W*$|\W+downloaded\b))"
    r"|this (?:is an |article is an )?open.access article\b"
    r"|this (?:article|work|paper|version|journal) is (?:licen[sc]ed|distributed|made available|\(?c\)?\b.{0,12}the)"
    r"|licen[sc]ed under (?:a )?creative commons|the author\(?s\)? (?:19|20)\d\d"
    rf"|downloaded (?:(?:from|by|via|on)\b.{{0,80}}(?:https?://|www\.|\b(?:19|20)\d\d\b)|{_DAY})"
    rf"|available online:? (?:at\b|https?://|{_DAY})|read online\W*$"
    r"|(?:view article online|subscriber access|see https?://pubs)\b"
    r"|permission to (?:make|reprint)\b|acs paragon plus environment|proceedings of (?:the )?.{3,120}, pages? [\dA-Z]"
    r"|(?:to cite this|cite this|please cite this|how to cite)\b|articles you may be interested in"
    rf"|received(?: for publication)?[:,]? {_DAY}.{{0,40}}(?:accepted|revised|published|revision)"
    rf"(?: online| form| in (?:final|revised) form| for publication)?[:,]? ?{_DAY}"
    rf"|first published:? (?:online:? |as\b|{_DAY})|article history"
    r"|springer nature remains neutral|publisher[’']s note\b)",
    re.IGNORECASE,
)
_LAST = re.compile(r"(?:19|20)\d\d\.? (?:©|c (?:19|20)\d\d|association for computational linguistics)", re.IGNORECASE)


def is_boilerplate(text: str) -> bool:
    """Whether a paragraph or line is a publisher's: a licence, a copyright line, a note on an early version."""
    text = " ".join(text.split())
    if len(text) > LONGEST:
        return False
    if _ANYWHERE.search(text):
        return True
    return len(text) < 600 and (_OPENING.match(text.lstrip("*_ ")) is not None or _LAST.search(text) is not None)
