"""Numbers with their units in running text, compared by what they mean: 1,340 is 1340, 0.148 µm is 148 nm.

Signs (minus, −, –), thousands separators, powers of ten, number words, µ and μ, % and percent are read alike; units are
compared by pint.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from gag.corpus.language.english_words import NUMBER_WORDS
from gag.errors import MissingExtra

_UNITS: dict[str, tuple[str, str]] = {
    "°c|degrees? c(?:elsius)?|degrees?|deg c|℃|°": ("degC", "temperature"),
    "°f|degrees? f(?:ahrenheit)?": ("degF", "temperature"),
    "kelvins?|K": ("kelvin", "temperature"),
    "nm|nanomet(?:er|re)s?": ("nm", "length"),
    "[µμu]m|microns?|micromet(?:er|re)s?": ("um", "length"),
    "mm|millimet(?:er|re)s?": ("mm", "length"),
    "cm|centimet(?:er|re)s?": ("cm", "length"),
    "km|kilomet(?:er|re)s?": ("km", "length"),
    "m|met(?:er|re)s?": ("m", "length"),
    "[åÅ]|angstroms?|ångströms?": ("angstrom", "length"),
    "inch(?:es)?": ("inch", "length"),
    "feet|foot|ft": ("foot", "length"),
    "miles?": ("mile", "length"),
    "m2/g|m²/g|m\\^?2 ?g\\^?[-−–]1": ("m**2/g", "area"),
    "m2|m²|square met(?:er|re)s?": ("m**2", "area"),
    "[µμu]l|microlit(?:er|re)s?": ("ul", "volume"),
    "ml|millilit(?:er|re)s?": ("ml", "volume"),
    "l|lit(?:er|re)s?": ("liter", "volume"),
    "ng|nanograms?": ("ng", "mass"),
    "[µμu]g|mcg|micrograms?": ("ug", "mass"),
    "mg|milligrams?": ("mg", "mass"),
    "kg|kilograms?": ("kg", "mass"),
    "g|grams?": ("g", "mass"),
    "pg|picograms?": ("pg", "mass"),
    "tons?|tonnes?": ("tonne", "mass"),
    "lbs?|pounds?": ("pound", "mass"),
    "mg/kg": ("mg/kg", "dose"),
    "[µμu]g/kg": ("ug/kg", "dose"),
    "[µμu]g/ml": ("ug/ml", "concentration"),
    "mg/ml": ("mg/ml", "concentration"),
    "ng/ml": ("ng/ml", "concentration"),
    "pg/ml": ("pg/ml", "concentration"),
    "g/l": ("g/l", "concentration"),
    "nM": ("nanomolar", "concentration"),
    "[µμu]M": ("micromolar", "concentration"),
    "mM": ("millimolar", "concentration"),
    "M|mol/l": ("molar", "concentration"),
    "mV|millivolts?": ("mV", "potential"),
    "V|volts?": ("V", "potential"),
    "eV|electron ?volts?": ("eV", "energy"),
    "kj/mol": ("kJ/mol", "energy"),
    "kcal/mol": ("kcal/mol", "energy"),
    "kj|kilojoules?": ("kJ", "energy"),
    "kgy|kilograys?": ("kgray", "dose"),
    "gy|grays?": ("gray", "dose"),
    "mpa|megapascals?": ("MPa", "pressure"),
    "kpa|kilopascals?": ("kPa", "pressure"),
    "pa|pascals?": ("Pa", "pressure"),
    "bar|bars": ("bar", "pressure"),
    "mbar": ("mbar", "pressure"),
    "atm|atmospheres?": ("atm", "pressure"),
    "psi": ("psi", "pressure"),
    "khz|kilohertz": ("kHz", "frequency"),
    "mhz|megahertz": ("MHz", "frequency"),
    "hz|hertz": ("Hz", "frequency"),
    "rpm": ("rpm", "frequency"),
    "(?:per|/) ?(?:second|sec|s)|s\\^?[-−–]1": ("1/s", "frequency"),
    "(?:per|/) ?min(?:ute)?|min\\^?[-−–]1": ("1/min", "frequency"),
    "(?:per|/) ?h(?:ou)?r?|h\\^?[-−–]1": ("1/hour", "frequency"),
    "percent|per cent|%": ("percent", "share"),
    "ms|milliseconds?": ("ms", "time"),
    "s|secs?|seconds?": ("s", "time"),
    "mins?|minutes?": ("min", "time"),
    "h|hrs?|hours?": ("hour", "time"),
    "d|days?": ("day", "time"),
    "wks?|weeks?": ("week", "time"),
    "months?": ("month", "time"),
    "yrs?|years?": ("year", "time"),
    "watts?|W": ("W", "power"),
    "kw|kilowatts?": ("kW", "power"),
    "amps?|amperes?": ("A", "current"),
    "tesla|T": ("T", "field"),
}
"""Spellings of a unit (patterns; those with capitals only as written) -> pint's name, the dimension in plain words."""

_WORDS = "|".join(sorted(NUMBER_WORDS, key=len, reverse=True))
_NUMBER = (
    r"(?P<sign>(?:(?<![\w.])[-−–]|\bminus\s|\bplus\s|\+)\s?)?"
    r"(?P<number>\d{1,3}(?:[,\u202f\u2009\u00a0]\d{3})+(?:\.\d+)?(?![\d])|\d+(?:[.·]\d+)?(?:[eE][-+−]?\d+)?"
    rf"|(?i:\b(?:{_WORDS})\b))"
    r"(?P<power>\s?[×x*]\s?10(?:\s?\^\s?|\s|(?=[-−–⁻⁰¹²³⁴-⁹]))"
    r"(?P<exponent>[-−–]?\d{1,3}(?!\d|\.\d)|⁻?[⁰¹²³⁴-⁹]{1,3}))?"
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−–", "0123456789---")


@dataclass(frozen=True)
class Quantity:
    """A number in a text, with its unit where it has one: where it stands, its value, pint's unit, its dimension."""

    start: int
    end: int
    value: float
    unit: str | None = None
    dimension: str | None = None
    written_unit: str = ""


def quantities(text: str) -> list[Quantity]:
    """Every number in `text`, in order; digits inside names (IL-6, H5N1) are none."""
    return list(_quantities(text))


@lru_cache(maxsize=256)  # a passage is read again for every answer taken from it
def _quantities(text: str) -> tuple[Quantity, ...]:
    return tuple(_quantity(match) for match in _pattern().finditer(text) if not _in_a_name(text, match))


def occurs(wanted: Quantity, there: Sequence[Quantity]) -> bool:
    """Whether an equal quantity is among `there`: the same value in units that convert, or bare numbers alike."""
    return any(_same(wanted, other) for other in there)


def missing_quantities(answer: str, passage: str) -> list[str]:
    """The numbers of `answer`, as written, that `passage` does not hold."""
    there = quantities(passage)
    return [answer[q.start : q.end] for q in quantities(answer) if not occurs(q, there)]


def _same(one: Quantity, other: Quantity) -> bool:
    if one.unit is None or other.unit is None or one.unit == other.unit:
        return math.isclose(one.value, other.value, rel_tol=1e-9, abs_tol=1e-12)
    registry = _registry()
    try:
        first = registry.Quantity(one.value, one.unit)
        second = registry.Quantity(other.value, other.unit)
        if first.dimensionality != second.dimensionality:
            return False
        return math.isclose(first.to(second.units).magnitude, other.value, rel_tol=1e-6)
    except Exception as error:  # pint's own errors for units that do not convert
        if type(error).__module__.startswith("pint"):
            return False
        raise


@cache
def _registry() -> Any:
    try:
        import pint
    except ImportError:
        raise MissingExtra("Comparing units needs pint.", 'pip install "gag[ingest]"') from None
    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


@cache
def _pattern() -> re.Pattern[str]:
    exact = [p for p in _UNITS if re.sub(r"\\.|\(\?[:i]", "", p) != re.sub(r"\\.|\(\?[:i]", "", p).lower()]
    loose = [p for p in _UNITS if p not in exact]
    number = {p: i for i, p in enumerate(_UNITS)}

    def group(patterns: Sequence[str]) -> str:
        longest_first = sorted(patterns, key=lambda p: (-("/" in p or "1" in p), -len(p)))
        return "|".join(f"(?P<u{number[p]}>{p})" for p in longest_first)

    unit = rf"(?:(?:\s|-|\u00a0|\u202f|\u2009)?(?:{group(exact)}|(?i:{group(loose)}))(?![\w]))"
    return re.compile(_NUMBER + rf"(?:{unit})?")


def _quantity(match: re.Match[str]) -> Quantity:
    raw = match["number"]
    value = float(NUMBER_WORDS.get(raw.lower(), 0)) if raw[0].isalpha() else _number(raw)
    if match["power"]:
        value *= float(f"1e{match['exponent'].translate(_SUPERSCRIPTS)}")
    if match["sign"] and match["sign"].strip() not in ("plus", "+"):
        value = -value
    group = match.lastgroup or ""
    if group.startswith("u"):
        unit, dimension = list(_UNITS.values())[int(group[1:])]
        return Quantity(match.start(), match.end(), value, unit, dimension, match[group])
    return Quantity(match.start(), match.end(), value)


def _number(raw: str) -> float:
    plain = raw.translate(_SUPERSCRIPTS).replace("·", ".")
    return float(re.sub(r"[,\u202f\u2009\u00a0]", "", plain))


def _in_a_name(text: str, match: re.Match[str]) -> bool:
    """Whether the digits belong to a word (IL-6, H5N1, Kavadine-5) or a list mark."""
    before = text[match.start() - 1 : match.start()] if match.start() else ""
    first = text[match.start()]
    if first.isalpha():
        return False
    if before and (before.isalpha() or before in "_/*#"):
        return True
    if first in "-−–" and before.isalnum():
        return True
    if before in ("-", "–") and match.start() > 1 and text[match.start() - 2].isalpha():
        return True
    after = text[match.end() : match.end() + 1]
    return after.isalpha() and match.lastgroup is None and not before.isspace() and before != ""


def compared(one: Quantity, other: Quantity) -> int:
    """1 or -1 where `one` is more or less than `other`; 0 where they are equal or cannot be compared."""
    if one.unit is None or other.unit is None:
        return 0
    first, second = one.value, other.value
    if one.unit != other.unit:
        registry = _registry()
        here, there = registry.Quantity(one.value, one.unit), registry.Quantity(other.value, other.unit)
        if here.dimensionality != there.dimensionality:
            return 0
        first = here.to(there.units).magnitude
    return 0 if math.isclose(first, second, rel_tol=1e-6) else (1 if first > second else -1)
