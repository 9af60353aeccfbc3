"""Foreign texts: short texts that no question predicts, for a projector to learn to let through.

Their variety decides what a projector lets through later (docs/lab-book.md): drawn from a domain's answers, general
text, quantities and made-up words, no two alike but by chance.
"""

from __future__ import annotations

import random
import re
import string
from collections import Counter
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

VERSION = 2
"""Counts up with every change to what is drawn, so that a projector pretrained on other texts is told apart."""

NEAR_VERSION = 2
"""Likewise for changed answers (`ForeignTexts.near`), which no pretraining sees."""

SHORT = 4
"""Letters of a piece that names are made of, at most."""

UNITS = (
    *("nm", "mm", "cm", "km", "mg", "kg", "g", "micrograms", "mL", "L", "g/L", "mol", "mmol", "bar", "kPa", "°C", "K"),
    *("V", "mV", "kW", "Hz", "percent", "%", "times"),
    *("seconds", "minutes", "hours", "days", "weeks", "months", "years"),
)


class ForeignTexts:
    """Draws texts of one to eight words; the same ones for the same arguments.

    `texts` lend spans and words, `answers` (may be empty) are drawn whole and with other digits and spliced words, and
    `pieces` (a tokenizer's vocabulary, may be empty) make words that no text has.
    """

    def __init__(self, texts: Sequence[str], answers: Sequence[str], seed: int, *, pieces: Sequence[str] = ()) -> None:
        self._rng, self._pieces = random.Random(seed), list(pieces)
        self._texts = [text for text in texts if text.split()]
        words = {word.strip(string.punctuation) for text in (*self._texts, *answers) for word in text.split()}
        self._words = sorted(words - {""}) or ["nothing"]
        self._answers = list(answers)
        self._answer_words = sorted({word for answer in self._answers for word in answer.split()})
        counted = Counter(word for answer in {*self._answers} for word in {*answer.split()})
        self._common = {word for word, count in counted.items() if count > 1}
        self._short = [piece for piece in self._pieces if len(piece) <= SHORT]

    def draw(self) -> str:
        """The next text."""
        kind = self._rng.random()
        if self._answers and kind < 0.25:
            return perturbed(self._rng.choice(self._answers), self._answer_words, self._rng)
        if self._answers and kind < 0.35:
            return self._rng.choice(self._answers)
        return self._general()

    def near(self, answer: str) -> str:
        """`answer` with other digits and names: of its kind, never itself; any other text where nothing can be changed.

        Words that several answers have (units, "virus", "gum") mostly stay; others are made up of short pieces.
        """
        for _ in range(8):
            changed = self._changed(answer)
            if changed != answer:
                return changed
        return next(text for text in iter(self.draw, None) if text != answer)

    def _changed(self, answer: str) -> str:
        """`answer` with every digit drawn again, and most of its own words."""
        pieces = re.split(r"(\s+)", answer)
        for index, piece in enumerate(pieces):
            if any(c in string.digits for c in piece):
                pieces[index] = re.sub(r"\d", lambda _: self._rng.choice(string.digits), piece)
            elif len(piece) > 3 and self._rng.random() > (0.9 if piece in self._common else 0.1):
                made = self._name()
                pieces[index] = made.capitalize() if piece[0].isupper() else made
        return "".join(pieces)

    def _name(self) -> str:
        """Two to four short pieces of vocabulary in a row, as names are made of; any made-up word without pieces."""
        if not self._short:
            return self._made_up().lower()
        return "".join(self._rng.choice(self._short) for _ in range(self._rng.randint(2, 4))).lower()

    def _general(self) -> str:
        """A text of no domain's form: made-up words, quantities, spans of a text, and these together."""
        kind = self._rng.random()
        if kind < 0.12:
            return " ".join(self._made_up() for _ in range(self._rng.randint(1, 3)))
        if kind < 0.24:
            return self._quantity()
        if kind < 0.32:
            return f"{self._quantity()} of {self._span(2)}"
        if kind < 0.38:
            return f"{self._quantity()} and {self._quantity()}"
        if kind < 0.54:
            return f"{self._made_up()} {self._span(3)}"
        if kind < 0.74:
            return perturbed(self._span(6), self._words, self._rng)
        return self._span(8)

    def _span(self, longest: int) -> str:
        """One to `longest` words in a row of one of the texts."""
        words = self._rng.choice(self._texts).split() if self._texts else self._words
        length = self._rng.randint(1, min(longest, len(words)))
        start = self._rng.randint(0, len(words) - length)
        return " ".join(words[start : start + length]).strip(string.punctuation) or self._made_up()

    def _made_up(self) -> str:
        """Two or three pieces of vocabulary, or the beginning of one word and the end of another."""
        if self._pieces and self._rng.random() < 0.5:
            word = "".join(self._rng.choice(self._pieces) for _ in range(self._rng.randint(2, 3)))
        else:
            head, tail = self._rng.choice(self._words), self._rng.choice(self._words)
            word = head[: self._rng.randint(2, 5)] + tail[-self._rng.randint(2, 5) :]
        return word.capitalize() if self._rng.random() < 0.5 else word.lower()

    def _quantity(self) -> str:
        rng = self._rng
        number = str(rng.randint(1, 9999)) if rng.random() < 0.5 else f"{rng.uniform(0, 100):.{rng.randint(1, 2)}f}"
        return f"{number} {rng.choice(UNITS)}"


def tokenizer_pieces(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The `word_pieces` of a tokenizer's whole vocabulary."""
    return word_pieces([str(tokenizer.decode([i])) for i in range(len(tokenizer))])


def word_pieces(vocabulary: Sequence[str]) -> list[str]:
    """The entries of a tokenizer's `vocabulary`, decoded, that are letters only (two at least), each once, sorted."""
    stripped = {entry.strip() for entry in vocabulary}
    return sorted(piece for piece in stripped if len(piece) > 1 and piece.isalpha())


def perturbed(answer: str, words: Sequence[str], rng: random.Random) -> str:
    """`answer` with every digit drawn anew and some words spliced from halves of two of `words`."""
    pieces = re.split(r"(\s+)", answer)
    for index, piece in enumerate(pieces):
        if any(c in string.digits for c in piece):
            pieces[index] = re.sub(r"\d", lambda _: rng.choice(string.digits), piece)
        elif len(piece) > 3 and rng.random() < 0.7:
            head, tail = piece, rng.choice(words)
            pieces[index] = head[: (len(head) + 1) // 2] + tail[len(tail) // 2 :].lower()
    return "".join(pieces)
