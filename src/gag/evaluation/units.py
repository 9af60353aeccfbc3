"""Units in running text: which words and symbols are one, and what they are worth in base units (by pint).

pint alone is too generous for prose: it takes "in", "at", "a" and "cats" for units. So only the words and symbols below
count, and pint converts. Case matters in symbols (mM, MM), not in words.
"""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from gag.errors import MissingExtra

Factors = tuple[tuple[str, int], ...]
"""A unit as pint's names with their exponents; empty for a bare number."""

_FINE, _ALL = "f p n u µ m", "f p n u µ m k M G T"
_PREFIXES = {
    "f": "femto",
    "p": "pico",
    "n": "nano",
    "u": "micro",
    "µ": "micro",
    "m": "milli",
    "c": "centi",
    "d": "deci",
    "h": "hecto",
    "k": "kilo",
    "M": "mega",
    "G": "giga",
    "T": "tera",
}
_PREFIXED: dict[str, tuple[str, str]] = {
    "m": ("meter", _FINE + " c d k"),
    "g": ("gram", _FINE + " k M"),
    "s": ("second", "f p n u µ m"),
    "A": ("ampere", _FINE + " k"),
    "K": ("kelvin", "n u µ m"),
    "mol": ("mole", _FINE + " k"),
    "M": ("molar", _FINE),
    "L": ("liter", "p n u µ m c d"),
    "l": ("liter", "n u µ m c d"),
    "Hz": ("hertz", "m k M G T"),
    "N": ("newton", "p n u µ m k M"),
    "Pa": ("pascal", "u µ m h k M G"),
    "bar": ("bar", "m k"),
    "J": ("joule", _ALL),
    "cal": ("calorie", "k"),
    "eV": ("electron_volt", "m k M G T"),
    "W": ("watt", _ALL),
    "Wh": ("watt_hour", "m k M G T"),
    "Ah": ("ampere_hour", "m k"),
    "V": ("volt", _ALL),
    "Ω": ("ohm", "m k M G"),
    "S": ("siemens", "n u µ m"),
    "T": ("tesla", "n u µ m"),
    "Bq": ("becquerel", "k M G T"),
    "Gy": ("gray", "m"),
    "Sv": ("sievert", "u µ m"),
    "Ci": ("curie", "n u µ m"),
    "Da": ("dalton", "k M"),
    "P": ("poise", "m c"),
    "Eq": ("equivalent_charge", "u µ m"),
    "Osm": ("osmole", "m"),
    "B": ("byte", "k M G T"),
}
_ONLY_PREFIXED = {"C": ("coulomb", "p n u µ m"), "F": ("farad", "f p n u µ m"), "H": ("henry", "n u µ m")}
_SYMBOLS = {
    "°C": "degree_Celsius",
    "°F": "degree_Fahrenheit",
    "C": "degree_Celsius",  # in running text 80 C is a temperature, not a charge
    "F": "degree_Fahrenheit",
    "°": "degree",
    "%": "percent",
    "‰": "permille",
    "Å": "angstrom",
    "h": "hour",
    "d": "day",
    "dB": "decibel",
    "Nm": "newton * meter",
    "ha": "hectare",
    "U": "enzyme_unit",
    "$": "dollar",
    "€": "euro",
    "£": "pound_sterling",
    "¥": "yen",
    "KG": "kilogram",
    "Kg": "kilogram",
    "KM": "kilometer",
    "Km": "kilometer",
    "CM": "centimeter",
    "MM": "millimeter",
    "NM": "nanometer",
    "ML": "milliliter",
    "hz": "hertz",
    "KDa": "kilodalton",
    "kda": "kilodalton",
}
_PREFIXED_WORDS = {
    "meter metre": "meter",
    "gram gramme": "gram",
    "second sec": "second",
    "ampere amp": "ampere",
    "kelvin": "kelvin",
    "mole": "mole",
    "molar": "molar",
    "liter litre": "liter",
    "hertz": "hertz",
    "newton": "newton",
    "pascal": "pascal",
    "joule": "joule",
    "calorie": "calorie",
    "electronvolt": "electron_volt",
    "watt": "watt",
    "volt": "volt",
    "ohm": "ohm",
    "tesla": "tesla",
    "dalton": "dalton",
    "byte": "byte",
    "bit": "bit",
}
_WORDS = {
    "minute min": "minute",
    "hour hr": "hour",
    "day": "day",
    "week wk": "week",
    "month": "month",
    "year yr": "year",
    "decade": "decennium",
    "century centuries": "century",
    "inch inches": "inch",
    "foot feet ft": "foot",
    "yard yd": "yard",
    "mile mi": "mile",
    "pound lb": "pound",
    "ounce oz": "ounce",
    "ton": "ton",
    "tonne": "metric_ton",
    "acre": "acre",
    "hectare": "hectare",
    "gallon gal": "gallon",
    "knot": "knot",
    "mph": "mile / hour",
    "kmh kph": "kilometer / hour",
    "cc": "centimeter ** 3",
    "mcg": "microgram",
    "micron": "micrometer",
    "angstrom ångström": "angstrom",
    "atmosphere atm": "standard_atmosphere",
    "psi": "pound_force_per_square_inch",
    "mmhg": "millimeter_Hg",
    "cmhg": "centimeter_Hg",
    "torr": "torr",
    "rpm": "revolutions_per_minute",
    "degree deg": "degree",
    "percent pct": "percent",
    "ppm": "ppm",
    "ppb": "parts_per_billion",
    "kcal": "kilocalorie",
    "kwh": "kilowatt_hour",
    "iu": "international_unit",
    "cfu": "colony_forming_unit",
    "dollar usd": "dollar",
    "cent": "cent",
    "euro eur": "euro",
    "gbp": "pound_sterling",
    "yen jpy": "yen",
}
_DEFINITIONS = (
    "dollar = [currency_dollar]",
    "cent = dollar / 100",
    "euro = [currency_euro]",
    "pound_sterling = [currency_pound_sterling]",
    "yen = [currency_yen]",
    "international_unit = [international_unit]",
    "equivalent_charge = [equivalent_charge]",
    "osmole = [osmole]",
    "colony_forming_unit = [colony_forming_unit]",
    "parts_per_billion = 1e-9",
    "decennium = 10 * year",
)
_OFFSET = {"degree_Celsius": "delta_degree_Celsius", "degree_Fahrenheit": "delta_degree_Fahrenheit"}

_ATOM = re.compile(r"(?:(?P<kind>wt|vol|mol|at)\.? ?)?%|%|°[CF]?|[‰$€£¥]|[A-Za-zÀ-ɏͰ-Ͽ]+")
_EXPONENT = re.compile(r"\^?\(?\{?([-+]?[1-9])\)?\}?(?!\d|\.\d)")
_JOINER = re.compile(r" ?/ ?| per (?=[A-Za-z])| ?[·⋅*] ?| ")


@dataclass(frozen=True)
class Unit:
    """A unit as text gave it: pint's names with exponents, and for a percentage what it is of (wt, vol, mol, at)."""

    factors: Factors = ()
    kind: str = ""


NO_UNIT = Unit()
"""A bare number's."""


@dataclass(frozen=True)
class Scale:
    """How a unit becomes base units: base = value * factor + offset, of the dimension named."""

    factor: float
    offset: float
    dimension: str


def read_unit(text: str, start: int) -> tuple[Unit, int]:
    """The longest unit that begins at `start` of normalised text, and where it ends; no unit ends where it began."""
    found = _factor(text, start, in_brackets=False)
    if found is None:
        return NO_UNIT, start
    factors, end, kind = found
    factors, end = _joined(text, end, factors, in_brackets=False)
    return Unit(factors, kind), end


def read_price(text: str, end: int, currency: str) -> tuple[Unit, int]:
    """The unit of a price whose `currency` stood before its number, with what follows at `end`: $40/h."""
    factors, _, _ = _factor(currency, 0, in_brackets=False) or ((), 0, "")
    factors, end = _joined(text, end, factors, in_brackets=False)
    return Unit(factors), end


@cache
def scale(factors: Factors) -> Scale:
    """What a unit is worth in base units; degrees Celsius and Fahrenheit alone have an offset, in a product none.

    Raises MissingExtra where pint is not installed.
    """
    registry = _registry()
    if len(factors) == 1 and factors[0][1] == 1:
        expression = factors[0][0]
    else:
        expression = " * ".join(f"({_OFFSET.get(name, name)}) ** {power}" for name, power in factors)
    units = registry.parse_units(expression) if expression else registry.dimensionless
    zero = registry.Quantity(0.0, units).to_base_units()
    one = registry.Quantity(1.0, units).to_base_units()
    dimension = str(dict(sorted(zero.dimensionality.items())))
    return Scale(float(one.magnitude - zero.magnitude), float(zero.magnitude), dimension)


def _joined(text: str, end: int, factors: Factors, *, in_brackets: bool) -> tuple[Factors, int]:
    """A unit's factors with those that are multiplied or divided on to it at `end`, and where they end."""
    while (joiner := _JOINER.match(text, end)) is not None:
        following = _factor(text, joiner.end(), in_brackets=in_brackets)
        if following is None:
            break
        more, further, _ = following
        if joiner[0] == " " and not in_brackets and text[further - 1] not in "0123456789})":
            break  # in running text two units are one only where an exponent says so: W m-2 K-1
        divides = "/" in joiner[0] or "per" in joiner[0]
        factors += tuple((name, -power if divides else power) for name, power in more)
        end = further
    return factors, end


def _factor(text: str, start: int, *, in_brackets: bool) -> tuple[Factors, int, str] | None:
    """One symbol or word with its exponent, or a product in brackets; percentages keep what they are of."""
    if text[start : start + 1] == "(" and not in_brackets:
        first = _factor(text, start + 1, in_brackets=True)
        if first is None:
            return None
        inside, end = _joined(text, first[1], first[0], in_brackets=True)
        return (inside, end + 1, "") if text[end : end + 1] == ")" else None
    atom = _ATOM.match(text, start)
    if atom is None:
        return None
    if atom[0].endswith("%"):
        return (("percent", 1),), atom.end(), atom["kind"] or ""
    name = _names().get(atom[0]) or _word_names().get(atom[0].casefold())
    if name is None or not _is_meant(text, atom):
        return None
    end, power = atom.end(), 1
    raised = _EXPONENT.match(text, end)
    # "5 nm-7 nm" is a range, "5 nm-7" an exponent.
    if raised is not None and not _repeats(text, raised.end(), atom[0]):
        end, power = raised.end(), int(raised[1])
    return ((name, power),), end, ""


def _is_meant(text: str, atom: re.Match[str]) -> bool:
    """Whether a symbol that is also a word, or a time of day, stands for the unit."""
    before = text[max(0, atom.start() - 8) : atom.start()]
    if atom[0] == "pm":
        return re.search(r"(?<![\d.,])(?:0?\d|1[0-2]) ?$", before) is None
    if atom[0] == "s":  # the 1990s
        return re.search(r"(?<![\d.,])\d{3}0$", before) is None
    return True


def _repeats(text: str, start: int, symbol: str) -> bool:
    rest = text[start : start + len(symbol) + 2].lstrip(" ")
    return rest.startswith(symbol) and not rest[len(symbol) :][:1].isalpha()


@cache
def _names() -> Mapping[str, str]:
    names = {}
    for symbol, (name, prefixes) in {**_PREFIXED, **_ONLY_PREFIXED}.items():
        for prefix in prefixes.split():
            names[prefix + symbol] = _PREFIXES[prefix] + name
        if symbol in _PREFIXED:
            names[symbol] = name
    return {unicodedata.normalize("NFKC", symbol): name for symbol, name in {**names, **_SYMBOLS}.items()}


@cache
def _word_names() -> Mapping[str, str]:
    names = {}
    for words, name in _PREFIXED_WORDS.items():
        for word in words.split():
            for prefix in ("", *set(_PREFIXES.values())):
                names[prefix + word] = names[prefix + word + "s"] = prefix + name
    for words, name in _WORDS.items():
        for word in words.split():
            names[word] = names[word + "s"] = name
    return {unicodedata.normalize("NFKC", word).casefold(): name for word, name in names.items()}


@cache
def _registry() -> Any:
    try:
        pint = importlib.import_module("pint")
    except ImportError:
        raise MissingExtra("Numbers with units need the package pint.", "pip install 'gag[eval]'") from None
    registry = pint.UnitRegistry()
    for definition in _DEFINITIONS:
        registry.define(definition)
    return registry
