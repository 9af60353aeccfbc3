"""Quantities in text, and whether an answer states the accepted ones: 148 nm is 0.148 µm, 25 °C is 298.15 K.

Read: signs of any dash, ranges (10–20 nm, 10 to 20 nm, between 10 and 20 nm), uncertainties (148 ± 3 nm), powers of ten
(1.5×10^3, 1.5·10³, 1.5e3), thousands (1,080; 1 080 with a narrow space; 1.080,5), decimal commas (3,5), percentages,
currencies, number words (twenty-one, 3 million), digits of any script, vulgar fractions (2½). Not read: numbers that
are part of a name (CO2, GBLA-19), version numbers (1.2.3), fractions written 1/2 (two numbers).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gag.errors import InputError
from gag.evaluation.number_words import digits_for_words
from gag.evaluation.units import NO_UNIT, Unit, read_price, read_unit, scale

TOLERANCE = 1e-9
"""Relative difference below which two values are the same: floating-point rounding, no leniency."""

_NUMBER = re.compile(
    r"""(?<![A-Za-zΑ-Ωα-ω_\d])(?<![A-Za-z]-)(?<!\d[.,])
    (?:(?<![^\s(\[{=≈~<>≤≥:;,/*"'“‘`$])(?P<sign>[-+]))?
    (?:(?P<currency>(?:US)?\$|[€£¥])\ ?)?
    (?P<mantissa>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![,\d])|\d{1,3}(?:\.\d{3})+,\d+|\d+(?:[.,]\d+)?|\.\d+)(?!\d|\.\d)
    (?:[eE](?P<e>[-+]?\d{1,3})(?![\d.])|\ ?(?:[×x*·⋅]|\\times|\\cdot)\ ?10(?:\ ?(?:\^|\*\*)\ ?[({]?|(?=-))
       (?P<power>[-+]?\d{1,3})[)}]?)?
    (?:\ ?(?P<times>hundred|thousand|million|billion|trillion|bn)(?![^\W\d_])
       |(?P<short>[kKmMB])(?![^\W\d_]))?""",
    re.VERBOSE,
)
_POWER_OF_TEN = re.compile(r"10(?:\^|\*\*)[({]?([-+]?\d{1,3})[)}]?")
_RANGE = re.compile(r" ?(?:[-~〜]|(?P<to>to|through|until)) ?", re.IGNORECASE)
_BETWEEN = re.compile(r"\bbetween (?:about |approximately )?$", re.IGNORECASE)
_AND = re.compile(r" ?and ?")
_HYPHEN = re.compile(r"-(?=[^\W\d_])")
_INCH = re.compile(r" ?in(?=[.,;)]|$)")  # "in" is a unit only where nothing follows it
_DATE_GOES_ON = re.compile(r"-\d")
_PLUS_MINUS = re.compile(r" ?(?:±|\+/-|\+-|\\pm) ?")
_LESS = re.compile(r"(?:[<≤]=?|\b(?:less than|fewer than|below|at most|no more than)) ?(?:about|approximately|~|≈)? ?$")
_MORE = re.compile(
    r"(?:[>≥]=?|\b(?:more than|greater than|above|at least|no less than)) ?(?:about|approximately|~|≈)? ?$"
)
_TIMES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "bn": 1e9}
_SHORT = {"k": 1e3, "K": 1e3, "m": 1e6, "M": 1e6, "B": 1e9}
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d"), "-")
_SPACES = dict.fromkeys(map(ord, "\u00a0\u2007\u2008\u3000\t\n\r\v\f"), " ") | {0x2009: "\u2009", 0x202F: "\u2009"}
_DIGIT_GROUPS = re.compile(r"(?<![\d.,\u2009'’])\d{1,3}(?:[\u2009'’]\d{3})+(?![\d\u2009'’])")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_MERCURY = re.compile(r"\b([mc]m) ?Hg\b")
_NO_SYMBOL = r"(?![a-z]{1,2}[RD]NAs?\b|mAbs?\b|pH\b|iPSCs?\b|eGFP\b)"
_UNREAD = re.compile(rf"[ -]?{_NO_SYMBOL}([a-zµ]{{1,2}}[A-Z][A-Za-z]{{0,3}}(?:/[A-Za-zµ]+)?)(?!\w)")
"""What is no word and must be a unit's symbol, though none that is known here: mKat, kIU/L (but mRNA, mAb, pH)."""
_DEGREES = re.compile(r"(?:°|º|˚|\bdegrees?\b|\bdeg\.?) ?(celsius|centigrade|fahrenheit|C\b|F\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Quantity:
    """A value, or a range from `low` to `high`, with its unit; `relation` is "<" or ">" where only a bound is stated.

    `uncertainty` is what follows ±, in its own unit or that of the value; `symbol` is a unit's that is not known here.
    """

    low: float
    high: float
    unit: Unit = NO_UNIT
    uncertainty: float | None = None
    uncertainty_unit: Unit = NO_UNIT
    relation: str = ""
    symbol: str = ""


def number_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """1 when every quantity of an accepted answer is stated in the prediction, in whatever unit, else 0.

    Equal means equal: 148.2 nm is not 148 nm, a range is not its middle, "more than 5" is not 5. An accepted number
    without a unit leaves the unit open (GSM8K's 40 is met by "$40"); one with a unit wants one, and one with a symbol
    that is not known here that very symbol. An uncertainty is compared where both state it. Answers without a number
    are passed over; raises InputError when none has one.
    """
    wanted = [quantities for answer in answers if (quantities := read_quantities(answer))]
    if not wanted:
        raise InputError("No accepted answer has a number.", "Leave number_accuracy out for this question.")
    said = read_quantities(prediction, ends=True)
    return float(any(all(any(same(one, gold) for one in said) for gold in golds) for golds in wanted))


def final_number(prediction: str, answers: Sequence[str]) -> float:
    """1 when the prediction's last number (or the first after "####") is that of an accepted answer, else 0.

    For answers that end a calculation, as in GSM8K: what is computed on the way does not count. Raises InputError when
    no accepted answer has a number.
    """
    wanted = [quantities[-1] for answer in answers if (quantities := read_quantities(answer.rpartition("####")[2]))]
    if not wanted:
        raise InputError("No accepted answer has a number.", "Leave final_number out for this question.")
    _, marked, after = prediction.rpartition("####")
    said = read_quantities(after)
    if not said:
        return 0.0
    return float(any(same(said[0 if marked else -1], gold) for gold in wanted))


def has_number(text: str) -> bool:
    """Whether a text states a quantity."""
    return next(_quantities(_plain(text), ends=False), None) is not None


def read_quantities(text: str, *, ends: bool = False) -> list[Quantity]:
    """The quantities of a text, in order; with `ends`, "5 to 7 nm" also gives 5 nm and 7 nm (as in "from 5 to 7")."""
    return list(_quantities(_plain(text), ends=ends))


def same(said: Quantity, gold: Quantity) -> bool:
    """Whether `said` states `gold`; a gold quantity without a unit takes any."""
    if said.relation != gold.relation or (said.unit.kind and gold.unit.kind and said.unit.kind != gold.unit.kind):
        return False
    if gold.symbol and gold.symbol != said.symbol:
        return False
    if not gold.unit.factors and _close(said.low, gold.low) and _close(said.high, gold.high):
        return True
    ours, theirs = scale(said.unit.factors), scale(gold.unit.factors)
    if ours.dimension != theirs.dimension:
        return False
    ends = ((said.low, gold.low), (said.high, gold.high))
    if not all(_close(a * ours.factor + ours.offset, b * theirs.factor + theirs.offset) for a, b in ends):
        return False
    if said.uncertainty is None or gold.uncertainty is None:
        return True
    ours, theirs = scale(said.uncertainty_unit.factors), scale(gold.uncertainty_unit.factors)
    return ours.dimension == theirs.dimension and _close(
        said.uncertainty * ours.factor, gold.uncertainty * theirs.factor
    )


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-300)


@dataclass(frozen=True)
class _Read:
    value: float
    unit: Unit
    end: int


def _quantities(text: str, *, ends: bool) -> Iterator[Quantity]:
    position = 0
    while (number := _NUMBER.search(text, position)) is not None:
        first = _read(text, number)
        relation = _relation(text[max(0, number.start() - 40) : number.start()])
        second, loose = _range_end(text, number.start(), first)
        if second is None:
            quantity, position = _with_uncertainty(text, first)
            unread = None if quantity.unit.factors else _UNREAD.match(text, position)
            yield replace(quantity, relation=relation, symbol=unread[1] if unread else "")
            continue
        position = second.end
        unit = first.unit if first.unit.factors else second.unit
        if ends and loose:
            yield Quantity(first.value, first.value, unit)
            yield Quantity(second.value, second.value, second.unit if second.unit.factors else unit)
        high = _converted(second.value, second.unit, unit) if second.unit.factors else second.value
        yield Quantity(first.value, high, unit)


def _number_at(text: str, start: int) -> re.Match[str] | None:
    """The number that begins at `start`, whatever stands before it; positions in the match count from `start`."""
    return _NUMBER.match(text[start : start + 80])


def _read(text: str, number: re.Match[str], shift: int = 0) -> _Read:
    value = _decimal(number["mantissa"]) * _ten_to(number["e"] or number["power"] or "0")
    value *= _TIMES.get(number["times"] or "", 1.0)
    end = number.end() + shift
    if number["short"] and number["currency"]:
        value *= _SHORT[number["short"]]
    elif number["short"]:
        end -= 1  # 5K and 5M are units
    bare_power = None if number["e"] or number["power"] else _POWER_OF_TEN.match(text, number.start("mantissa") + shift)
    if bare_power is not None:
        value, end = _ten_to(bare_power[1]), bare_power.end()
    if number["sign"] == "-":
        value = -value
    if number["currency"]:
        return _Read(value, *read_price(text, end, number["currency"][-1]))
    return _Read(value, *_unit_after(text, end))


def _ten_to(power: str) -> float:
    """A power of ten; infinite where no float is so large."""
    return float(f"1e{power}")


def _unit_after(text: str, end: int) -> tuple[Unit, int]:
    """The unit that follows a number, after at most a space or a hyphen (a 148-nm film)."""
    hyphen = _HYPHEN.match(text, end)
    unit, after = read_unit(text, end + 1 if hyphen or text[end : end + 1] == " " else end)
    if unit.factors:
        return unit, after
    inch = _INCH.match(text, end)
    return (Unit((("inch", 1),)), inch.end()) if inch else (NO_UNIT, end)


def _range_end(text: str, start: int, first: _Read) -> tuple[_Read | None, bool]:
    """The second end of a range whose first was read at `start`, and whether its ends may also be meant one by one."""
    link = _RANGE.match(text, first.end)
    loose = link is not None and link["to"] is not None
    if link is None and _BETWEEN.search(text, max(0, start - 30), start):
        link = _AND.match(text, first.end)
    number = _number_at(text, link.end()) if link else None
    if link is None or number is None:
        return None, False
    second = _read(text, number, link.end())
    in_a_date = _DATE_GOES_ON.match(text, second.end) or re.search(r"\d-$", text[max(0, start - 2) : start])
    alike = not (first.unit.factors and second.unit.factors) or (
        scale(first.unit.factors).dimension == scale(second.unit.factors).dimension
    )
    return (None, False) if (in_a_date and not loose) or not alike else (second, loose)


def _with_uncertainty(text: str, first: _Read) -> tuple[Quantity, int]:
    sign = _PLUS_MINUS.match(text, first.end)
    number = _number_at(text, sign.end()) if sign else None
    if sign is None or number is None:
        return Quantity(first.value, first.value, first.unit), first.end
    read = _read(text, number, sign.end())
    unit, end = read.unit, read.end
    if not unit.factors and text[end : end + 1] == ")":  # (148 ± 3) nm
        unit, end = _unit_after(text, end + 1)
    own = first.unit if first.unit.factors else unit
    return Quantity(first.value, first.value, own, abs(read.value), unit if unit.factors else own), end


def _relation(before: str) -> str:
    lowered = before.lower()
    return "<" if _LESS.search(lowered) else ">" if _MORE.search(lowered) else ""


def _converted(value: float, unit: Unit, wanted: Unit) -> float:
    ours, theirs = scale(unit.factors), scale(wanted.factors)
    return (value * ours.factor + ours.offset - theirs.offset) / theirs.factor


def _decimal(digits: str) -> float:
    """The value of digits with either mark: commas before groups of three are thousands, except after a lone zero."""
    if re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", digits):
        return float(digits.replace(",", ""))
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+", digits):
        return float(digits.replace(".", "").replace(",", "."))
    return float(digits.replace(",", "."))


def _plain(text: str) -> str:
    """The text in one spelling: NFKC, ASCII digits, one kind of dash and space, exponents after ^, words as digits."""
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+", lambda raised: "^" + raised[0].translate(_RAISED), text)
    text = "".join(_character(c, text[i - 1 : i]) for i, c in enumerate(text))
    text = unicodedata.normalize("NFKC", text.translate(_SPACES).replace("\u2009", "\ue000"))
    text = text.replace("\ue000", "\u2009").translate(_DASHES).replace("℃", "°C").replace("℉", "°F")
    text = _DIGIT_GROUPS.sub(lambda group: re.sub(r"[\u2009'’]", "", group[0]), text).replace("\u2009", " ")
    text = _MERCURY.sub(r"\1Hg", text)
    text = _DEGREES.sub(lambda degrees: "°" + ("F" if degrees[1][0] in "fF" else "C"), text)
    text = re.sub(r"\bper ?cent\b", "%", re.sub(r" {2,}", " ", text), flags=re.IGNORECASE)
    text = re.sub(r"\bminus (?=\.?\d)", "-", text, flags=re.IGNORECASE)
    return digits_for_words(text)


def _character(character: str, before: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Nd":
        return str(unicodedata.decimal(character))
    if kind == "No" and "FRACTION" in unicodedata.name(character, ""):
        value = f"{unicodedata.numeric(character):.17g}"
        return value[1:] if before.isdigit() else value
    return {"٫": ".", "٬": ","}.get(character, character)
