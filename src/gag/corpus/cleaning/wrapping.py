"""Lines joined to paragraphs, and words that a line's end parted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

HYPHENS = "-\u2010\u00ad"
COMPOUND = re.compile(
    "self|meta|quasi|well|high|low|long|short|large|small|fine|full|half|real|state|cross|non|data|time|end|open|single|"
    "double|two|three|four|five|six|first|second|third|dose|age|sex|body|cell|post|pre"
)
"""First parts that seldom are a syllable only: a hyphen after them is the word's own, unless the document says else."""

LONGEST = 200
"""Letters at a line's end that are looked at: no word or address that is broken has more."""

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LAST = re.compile(r"([^\W\d_]+(?:-[^\W\d_]+)*)[-\u2010]$")
_FIRST = re.compile(r"[^\W\d_]+")
_BROKEN = re.compile(r"([^\W\d_]+)[-\u2010]\n[ \t]*([^\W\d_]+)(\S*)[ \t]*\n?")
_ADDRESS = re.compile(r"(?:https?://|www\.|doi\.org/)\S*[/.\-_=?&]$")
_ENDED = re.compile(r"[.!?:;…。！？][\"'”’)\]]*(?:\[[\d,– -]+\])?\d{0,2}$")


class Vocabulary:
    """The words a document has inside its lines, small: they tell which hyphens are the line's and which the word's."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._words: set[str] = set()
        for text in texts:
            for line in text.split("\n"):
                words = _WORD.findall(line.lower())
                self._words.update(words[:-1] if line.rstrip().endswith(tuple(HYPHENS)) else words)
        for word in [word for word in self._words if "-" in word]:
            parts = word.split("-")
            self._words.update("-".join(parts[:count]) for count in range(2, len(parts)))

    def joined(self, first: str, second: str, *, compound: bool = False) -> str:
        """The word that `first`, a hyphen at the line's end, and `second` are; `compound`: a hyphen comes after it."""
        whole, parted = (first + second).lower(), f"{first}-{second}".lower()
        last = first.rsplit("-", 1)[-1].lower()
        if whole in self._words and parted not in self._words:
            return first + second
        words = last in self._words and second.lower() in self._words and min(len(last), len(second)) > 3
        sure = parted in self._words or compound or "-" in first or COMPOUND.fullmatch(last) or second[0].isupper()
        return f"{first}-{second}" if sure or words else first + second


def join_lines(lines: Sequence[str], vocabulary: Vocabulary) -> str:
    """The lines as one, hyphens at their ends mended, a list's items on lines of their own."""
    text = ""
    for line in (line.strip() for line in lines):
        if not line or not text:
            text += line
            continue
        tail = len(text) - min(len(text), LONGEST)
        last, first = _LAST.search(text, tail), _FIRST.match(line)
        if last and first and first[0] in ("and", "or", "to", "und", "oder", "et"):
            text += " " + line
        elif last and first:
            rest = line[first.end() :]
            text = text[: last.start(1)] + vocabulary.joined(last[1], first[0], compound=rest[:1] == "-") + rest
        elif _without_space(text, line):
            text += line
        else:
            text += " " + line
    return text


def _without_space(text: str, line: str) -> bool:
    """Whether a line follows at once: in an address, after a hyphen or dash, between letters that know no spaces."""
    if _ADDRESS.search(text[-LONGEST:]):
        return not line[0].isupper() and not re.match(r"\d{1,2}\s?(?:https?:|www\.)", line)
    if text[-1] in HYPHENS and len(text) > 1:
        return not text[-2].isspace()
    return _is_cjk(text[-1]) and _is_cjk(line[0])


def mend_hyphens(text: str, vocabulary: Vocabulary) -> str:
    """`text` with words parted at line ends made whole; its lines stay."""
    if "-\n" not in text and "\u2010\n" not in text:
        return text

    def whole(match: re.Match[str]) -> str:
        return vocabulary.joined(match[1], match[2]) + match[3] + "\n" if match[2][0].islower() else match[0]

    return _BROKEN.sub(whole, text)


def goes_on(before: str, after: str) -> bool:
    """Whether a paragraph that ends a column goes on in the first one of the next."""
    before, after = before.rstrip(), after.lstrip()
    if not before or not after or _ENDED.search(before[-LONGEST:]):
        return False
    return (
        before[-1] in HYPHENS + ",("
        or after[0].islower()
        or after[0].isdigit()
        or not after[0].isalpha()
        or _open(before)
    )


def _open(text: str) -> bool:
    """Whether a text ends in the middle of a sentence: in a small word."""
    words = text.split()
    return len(words) > 6 and words[-1].isalpha()


def _is_cjk(letter: str) -> bool:
    return "\u3040" <= letter <= "\u9fff" or "\uff00" <= letter <= "\uffef"
