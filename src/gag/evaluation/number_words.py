"""English number words as digits: "twenty-one" is 21, "two hundred and five" is 205; "one" alone is left a pronoun."""

from __future__ import annotations

import re

_SMALL = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = {word: value for value, word in enumerate(_SMALL)} | {word: 20 + 10 * i for i, word in enumerate(_TENS)}
_MULTIPLES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_VALUE, _MULTIPLE = "(?:" + "|".join(_VALUES) + ")", "(?:" + "|".join(_MULTIPLES) + ")"
_AFTER_MULTIPLE = "(?:" + "|".join(f"(?<={word})" for word in _MULTIPLES) + ")"
_PHRASE = re.compile(
    rf"(?<!\w){_VALUE}(?:[ -](?:{_VALUE}|{_MULTIPLE})|{_AFTER_MULTIPLE} and {_VALUE})*(?!\w)", re.IGNORECASE
)


def digits_for_words(text: str) -> str:
    """`text` with every number in English words written in digits; multiples after digits (3 million) are left."""
    return _PHRASE.sub(_digits, text)


def _digits(phrase: re.Match[str]) -> str:
    words = [word for word in re.split(r"[ -]", phrase[0].lower()) if word != "and"]
    if words == ["one"]:
        return phrase[0]
    numbers: list[int] = []
    total = current = 0
    previous = ""
    for word in words:
        if word == "hundred":
            current *= 100
        elif word in _MULTIPLES:
            total, current = total + current * _MULTIPLES[word], 0
        elif previous and not _continues(previous, _VALUES[word]):  # "two three" are two numbers
            numbers.append(total + current)
            total, current = 0, _VALUES[word]
        else:
            current += _VALUES[word]
        previous = word
    return " ".join(map(str, [*numbers, total + current]))


def _continues(previous: str, value: int) -> bool:
    """Whether a value goes on after the word before it: twenty one, hundred five, thousand two."""
    return previous in _MULTIPLES or (previous in _TENS and 0 < value < 10)
