"""Facts that a document's structure states: pipe tables, `key: value` lines, numbered steps, and abbreviations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gag.corpus.language.english_words import STOP_WORDS, word_set

_ROW = re.compile(r"^\s*\|(.+)\|\s*$")
_RULE = re.compile(r"^[\s|:+-]+$")
_PAIR = re.compile(r"^\s*(?:[-*•]\s+)?(?:\*\*)?([A-Z][\w /()°%-]{2,48}?)(?:\*\*)?\s*:\s+(?:\*\*)?(\S[^|]{0,160}?)\s*$")
_STEP = re.compile(r"^\s*(\d{1,2})[.)]\s+(\S.*?)\s*$")
_EXPANSION = re.compile(r"((?:[\w’']+[ -]){1,12})\(([A-Z][A-Za-z0-9-]{1,9})\)")
_INSIDE_KEYS = word_set("of in at per for to and by on with")
_NO_KEYS = word_set("keyword keywords note notes figure table example source")


@dataclass(frozen=True)
class Stated:
    """A question's parts from structure: questions with `{name}` for the subject, the answer, and the words around."""

    questions: tuple[str, ...]
    answer: str
    quote: str
    kind: Literal["fact", "procedure"] = "fact"


def stated(text: str, heading: str | None) -> Iterator[Stated]:
    """All that the lines of a passage state by their form."""
    lines = text.splitlines()
    yield from _tables(lines)
    yield from _pairs(lines)
    yield from _steps(lines, heading)


def expansions(sentence: str) -> Iterator[tuple[str, str]]:
    """(`abbreviation`, `what it stands for`) of `What It Stands For (WISF)`."""
    for match in _EXPANSION.finditer(sentence):
        letters = [c.lower() for c in match[2] if c.isalpha()]
        words = match[1].split()
        start = _first_word(words, letters)
        if start is not None and len(letters) >= 2:
            yield match[2], " ".join(words[start:])


def is_prose(line: str) -> bool:
    """Whether a line is a sentence or more, and no table, heading, list mark or caption."""
    structured = _ROW.match(line) or line.lstrip().startswith(("#", "|", "```"))
    return not (structured or _STEP.match(line) or _pair(line))


def _pair(line: str) -> tuple[str, str] | None:
    """Key and value of `Storage temperature: 4 °C`; None for a sentence with a colon in it."""
    match = _PAIR.match(line)
    if not match:
        return None
    key, value = match[1].strip(), match[2].strip("* ").rstrip(".")
    words = key.lower().split()
    plain = len(words) <= 5 and not any(w in STOP_WORDS and w not in _INSIDE_KEYS for w in words)
    if not plain or re.search(r"[.!?;] ", value) or len(value.split()) > 12 or words[0] in _NO_KEYS:
        return None
    return (key[:1].lower() + key[1:] if key[1:2].islower() else key), value


def _first_word(words: list[str], letters: list[str]) -> int | None:
    """Where the words begin that the letters abbreviate: initials, hyphenated parts counted too."""
    for start in range(len(words) - 1, -1, -1):
        parts = [p for w in words[start:] for p in re.split(r"[-/]", w) if p]
        initials = [p[0].lower() for p in parts]
        strong = [p[0].lower() for p in parts if p.lower() not in ("of", "the", "and", "in", "for", "to", "with", "a")]
        if letters in (initials, strong):
            return start
    return None


def _tables(lines: list[str]) -> Iterator[Stated]:
    header: list[str] | None = None
    for number, line in enumerate(lines):
        match = _ROW.match(line)
        if not match:
            header = None
            continue
        if _RULE.match(line):
            continue
        cells = [cell.strip() for cell in match[1].split("|")]
        ruled = number + 1 < len(lines) and _RULE.match(lines[number + 1]) is not None
        if header is None:
            header = cells if ruled else None
            continue
        merged = len(set(header[1:])) < len(header) - 1  # one label over several columns says of none which it is
        if len(cells) != len(header) or not cells[0] or merged:
            continue
        for column, cell in zip(header[1:], cells[1:], strict=True):
            if column and cell and cell not in ("-", "–", "—"):
                label, of = cells[0], column[:1].lower() + column[1:] if column[1:2].islower() else column
                yield Stated(
                    (f"{{name}}what is the {of} of {label}?", f"{{name}}for {label}, which {of} is given?"),
                    cell,
                    line.strip(),
                )


def _pairs(lines: list[str]) -> Iterator[Stated]:
    for line in lines:
        found = _pair(line)
        if found:
            yield Stated((f"{{of}}{found[0]}", f"{{state}}{found[0]}"), found[1], line.strip())


def _steps(lines: list[str], heading: str | None) -> Iterator[Stated]:
    """`2. Add the oil` under a heading: what is done, by its number and after which step."""
    what = (heading or "").split(" > ")[-1]
    before: tuple[int, str] | None = None
    for line in lines:
        match = _STEP.match(line)
        if not match:
            before = None if line.strip() else before
            continue
        number, text = int(match[1]), match[2].rstrip(".")
        lead = f"In “{what}”, " if what else ""
        if before is not None and number == before[0] + 1 and len(text.split()) <= 40:
            questions = (f"{{name}}{lead}what is step {number}?", f"{{name}}{lead}what comes after “{before[1]}”?")
            yield Stated(questions, text, line.strip(), "procedure")
        elif number == 1:
            yield Stated((f"{{name}}{lead}what is the first step?",), text, line.strip(), "procedure")
        before = (number, text)
