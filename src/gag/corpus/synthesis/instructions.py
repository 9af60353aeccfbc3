"""What a model is told to write, and how its reply is read: labelled lines, or JSON from models that prefer it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gag.corpus.synthesis.generators import KINDS, Kind
from gag.prompts import Message, Part, Untrusted
from gag.records import Passage

NOT_STATED = "not stated"

_KINDS: Mapping[Kind, str] = {
    "fact": "a fact: who, what, which or where",
    "mechanism": "a mechanism: how or why something happens",
    "comparison": "a comparison of two things",
    "procedure": "a procedure: how something is made or done",
    "numeric": "a number with its unit",
    "cross-document": "something that can only be answered from both texts together",
    "unanswerable": "something that belongs to the subject but that the text does not say",
}
_EXAMPLE_TEXT = (
    "Text from Northern bridges:\nThe Harwick bridge was opened in 1932. It is 214 m long and carries two lanes.\n\n"
    "Write one question and its answer: a number with its unit."
)
_EXAMPLE = (
    "Question: How long is the Harwick bridge?\nAnswer: 214 m\nQuote: It is 214 m long and carries two lanes.\n"
    "Background: Bridges of that time were made of riveted steel."
)
_UNANSWERABLE_EXAMPLE = (
    f"Question: How high is the Harwick bridge above the water?\nAnswer: {NOT_STATED}\nQuote: none\n"
    "Background: The height of a bridge limits which ships can pass."
)
_LABELS = {
    "question": "question",
    "q": "question",
    "answer": "answer",
    "a": "answer",
    "quote": "quote",
    "evidence": "quote",
    "background": "background",
    "context": "background",
    "kind": "kind",
    "type": "kind",
}
_LABEL = re.compile(r"^[\s>*#_\-\d.)(]*(?:\*\*)?([A-Za-z]+)\s*\d*\s*(?:\*\*)?\s*[:：]\s*(?:\*\*)?\s*(.*)$")


@dataclass(frozen=True)
class Draft:
    """A pair as a model wrote it; the quote of a cross-document pair has two parts."""

    question: str
    answer: str
    quote: str = ""
    background: str = ""
    kind: str | None = None


def writing_prompt(
    passages: Sequence[Passage], titles: Mapping[str, str], kinds: Sequence[Kind], field: str
) -> tuple[Message, ...]:
    """The request for one pair of each of `kinds` about a passage, or about two together."""
    rules = [
        f"You write exam questions about {field}.",
        "Each question names the thing it is about, so that it makes sense to someone who has not seen the text; it "
        'never says "the text", "this study" or "the passage".',
        "The answer is short: a few words, copied from the text where possible, numbers with their units.",
        "The quote is one sentence copied from the text, letter by letter, that proves the answer.",
        "The background is one sentence that helps to understand the answer. Write nothing else.",
    ]
    example = _EXAMPLE
    if "cross-document" in kinds:
        rules[3] = 'The quote is one sentence copied from each text, letter by letter, the two joined by " … ".'
    if "unanswerable" in kinds:
        rules[2:4] = [f"The answer is: {NOT_STATED}. The quote is: none."]
        example = _UNANSWERABLE_EXAMPLE
    parts: list[Part] = []
    for number, passage in enumerate(passages, 1):
        where = " · ".join(x for x in (titles.get(passage.document_id), passage.heading) if x)
        parts.append(f"Text {number}" if len(passages) > 1 else "Text")
        if where:
            parts += [" from ", Untrusted(where)]
        parts += [":\n", Untrusted(passage.text.strip()), "\n\n"]
    pairs = "one question and its answer" if len(kinds) == 1 else f"{len(kinds)} questions with their answers"
    parts.append(f"Write {pairs}: {'; '.join(_KINDS[kind] for kind in kinds)}.")
    return (
        Message("system", (" ".join(rules),)),
        Message("user", (_EXAMPLE_TEXT,)),
        Message("assistant", (example,)),
        Message("user", tuple(parts)),
    )


def checking_prompt(question: str, quote: str) -> tuple[Message, ...]:
    """The request to answer from the quote alone."""
    ask = f'\nAnswer from this text alone, in a few words. If the text does not say it, answer "{NOT_STATED}".'
    return (Message("user", ("Text: ", Untrusted(quote), "\nQuestion: ", Untrusted(question), ask)),)


def read_drafts(reply: str) -> list[Draft]:
    """The pairs of a reply; what is no pair is left out. Never raises."""
    text = re.sub(r"<think>.*?</think>", "", reply, flags=re.DOTALL)
    return _from_json(text) or _from_lines(text)


def kind_of(draft: Draft, wanted: Kind) -> Kind:
    """The kind that the model says, where it is one."""
    said = (draft.kind or "").strip().lower()
    return next((kind for kind in KINDS if kind == said), wanted)


def says_not_stated(reply: str) -> bool:
    """Whether a reply says that the text does not hold the answer."""
    plain = re.sub(r"[^a-z ]", "", reply.lower()).strip()
    return plain.startswith(("not stated", "not specified", "not mentioned", "unknown")) or bool(
        re.search(
            r"\b(?:does not|doesnt|do not|is not|isnt) (?:\w+ )?(?:say|stat|mention|specif|provid|given|cover)", plain
        )
    )


def _from_lines(text: str) -> list[Draft]:
    drafts: list[Draft] = []
    current: dict[str, str] = {}
    label: str | None = None
    for line in text.splitlines():
        match = _LABEL.match(line)
        found = _LABELS.get(match[1].lower()) if match else None
        if match and found:
            if found == "question" and "question" in current:
                drafts += _draft(current)
                current = {}
            label = found if found not in current else None
            if label:
                current[label] = match[2]
        elif label and line.strip():
            current[label] += f" {line.strip()}"
        elif not line.strip():
            label = None
    return drafts + _draft(current)


def _from_json(text: str) -> list[Draft]:
    start = re.search(r"[\[{]", text)
    if not start or '"' not in text:
        return []
    decoder = json.JSONDecoder()
    try:
        value, _ = decoder.raw_decode(text[start.start() :])
    except (ValueError, RecursionError):
        return []
    if isinstance(value, dict):
        value = next((v for v in value.values() if isinstance(v, list)), [value])
    rows = [{str(k).lower(): v for k, v in row.items()} for row in value if isinstance(row, dict)]
    fields = [
        {_LABELS[k]: v for k, v in row.items() if k in _LABELS and isinstance(v, (str, int, float))} for row in rows
    ]
    return [draft for row in fields for draft in _draft({k: str(v) for k, v in row.items()})]


def _draft(row: Mapping[str, str]) -> list[Draft]:
    clean = {key: _clean(value) for key, value in row.items()}
    if not clean.get("question") or not clean.get("answer"):
        return []
    known = {key: clean.get(key, "") for key in ("question", "answer", "quote", "background")}
    return [Draft(**known, kind=clean.get("kind"))]


def _clean(value: str) -> str:
    text = " ".join(value.split()).strip("*_ ")
    while len(text) > 1 and (text[0], text[-1]) in (('"', '"'), ("“", "”"), ("«", "»"), ("'", "'")):
        text = text[1:-1].strip()
    return text
