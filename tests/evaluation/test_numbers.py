"""Quantities in text and their equality, worked out by hand."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gag.errors import InputError, MissingExtra
from gag.evaluation import units
from gag.evaluation.numbers import Quantity, final_number, has_number, number_accuracy, read_quantities
from gag.evaluation.units import Unit

pytest.importorskip("pint")

SAME = [
    ("148 nm", "0.148 µm"),
    ("148 nm", "It is 148nm, as measured."),
    ("148 nm", "a 148-nm film"),
    ("148 nm", "1.48e-7 m"),
    ("148 nm", "1.48 × 10⁻⁷ m"),
    ("148 nm", "1.48·10^-7 m"),
    ("148 nm", r"1.48 \times 10^{-7} m"),
    ("148 nm", "1,48e-7 metres"),
    ("148 nm", "１４８ nm"),
    ("148 nm", "長さは148 nmです"),
    ("148 nm", "الطول ١٤٨ nm"),
    ("148 nm", "-5 nm or 148 nm"),
    ("10^-6 M", "1 µM"),
    ("10⁻⁶ mol/L", "1 uM"),
    ("1.5×10^3 g", "1.5 kg"),
    ("1.5e3", "1,500"),
    ("1.5 x 10-3", "0.0015"),
    ("25 °C", "298.15 K"),
    ("25 ℃", "77 °F"),
    ("25 degrees Celsius", "heated to 25 C"),
    ("-20 °C", "minus 20 °C"),
    ("−20 °C", "at -20 degrees Celsius"),
    ("54%", "54 percent"),
    ("54 %", "54 per cent"),
    ("54 %", "a share of 0.54"),
    ("0.54", "54 %"),
    ("5 wt%", "5%"),
    ("5 wt.%", "5 wt %"),
    ("10–20 nm", "between 10 and 20 nm"),
    ("10-20 nm", "from 10 to 20 nm"),
    ("10 to 20 nm", "0.01 µm – 0.02 µm"),
    ("800 nm to 1.2 µm", "0.8-1.2 µm"),
    ("7 nm", "increased from 5 to 7 nm"),
    ("5 nm-7 nm", "5~7 nm"),
    ("148 ± 3 nm", "148 nm"),
    ("148 nm", "(148 ± 3) nm"),
    ("148±3 nm", "0.148 ± 0.003 µm"),
    ("1,080 °C", "1080 °C"),
    ("1\u202f080 °C", "1080 °C"),
    ("1'080", "1080"),
    ("1.080,5", "1080.5"),
    ("0,148 µm", "148 nm"),
    ("twenty-one", "21"),
    ("205", "two hundred and five"),
    ("3", "two and three"),
    ("3 million", "3,000,000"),
    ("two thousand five hundred", "2500"),
    ("40", "It costs $40."),
    ("$40", "40 dollars"),
    ("-$5", "-5 dollars"),
    ("$1.5 million", "$1.5M"),
    ("40 dollars per hour", "$40/h"),
    ("2½ h", "150 min"),
    ("½", "0.5"),
    ("2019", "in 2019."),
    ("1990", "the 1990s"),
    ("63 m²/g", "63 m2 g-1"),
    ("63 m2/g", "63 m²·g⁻¹"),
    ("5 W m-2 K-1", "5 W/(m² K)"),
    ("5 mg/kg/day", "5 mg per kg per day"),
    ("<5 nm", "less than about 5 nm"),
    ("> 5 nm", "at least 5 nm"),
    ("5 in.", "12.7 cm"),
    ("154 pm", "1.54 Å"),
    ("5 K", "5K"),
    ("16 ounces", "1 lb"),
    ("220 quenching constants", "They found 220."),
    ("July 19, 2019 Annual", "Annual, on July 19, 2019"),
    ("2019-07-19", "2019-07-19"),
    ("100 mcg", "0.1 mg"),
    ("5 mEq/L", "5 mEq/L"),
    ("120 mm Hg", "120 mmHg"),
    ("290 mOsm/kg", "0.29 Osm/kg"),
    ("5 kIU/L", "5 kIU/L"),
]
DIFFERENT = [
    ("148 nm", "148"),
    ("148 nm", "148 µm"),
    ("148 nm", "148 nmol"),
    ("148 nm", "-148 nm"),
    ("148 nm", "148.2 nm"),
    ("148 nm", "1148 nm"),
    ("148 nm", "100-148 nm"),
    ("148 nm", "148 nm²"),
    ("148 nm", "148 nm/s"),
    ("148 nm", "more than 148 nm"),
    ("<5 nm", "5 nm"),
    ("148 ± 3 nm", "148 ± 5 nm"),
    ("10–20 nm", "10 nm"),
    ("10–20 nm", "15 nm"),
    ("25 °C", "25 K"),
    ("25 °C", "25 °F"),
    ("54%", "54"),
    ("5 wt%", "5 mol%"),
    ("1 080 °C", "1080 °C"),  # an ordinary space may part two numbers
    ("10,800", "1,0800"),
    ("1", "one of them"),
    ("2", "CO2"),
    ("19", "GBLA-19"),
    ("$40", "€40"),
    ("$40", "40"),
    ("July 19, 2019", "July 18, 2019"),
    ("1.2", "version 1.2.3"),
    ("148 nm", ""),
    ("148 nm", "?!…"),
    ("5 °C", "The temperature is **−5 °C**."),
    ("42", '"-42"'),
    ("40", "$-40$"),
    ("5", "10^999 years"),
    ("5", "1e999 or 1.5×10^500"),
    ("100 mcg", "100 mg"),
    ("5 mEq/L", "5 mmol/L"),
    ("120 mm Hg", "120 mm"),
    ("5 kIU/L", "5 mg"),
    ("5 kIU/L", "5"),
]


@pytest.mark.parametrize(("gold", "said"), SAME)
def test_equal_quantities(gold: str, said: str) -> None:
    assert number_accuracy(said, [gold]) == 1.0


@pytest.mark.parametrize(("gold", "said"), DIFFERENT)
def test_other_quantities(gold: str, said: str) -> None:
    assert number_accuracy(said, [gold]) == 0.0


@pytest.mark.parametrize("said", ["**-5 °C**", "“−5 °C”", "`-5 °C`"])
def test_signs_within_marks(said: str) -> None:
    assert number_accuracy(said, ["-5 °C"]) == 1.0
    assert number_accuracy(said, ["5 °C"]) == 0.0


def test_what_is_read() -> None:
    nm = Unit((("nanometer", 1),))
    assert read_quantities("10-20 nm") == [Quantity(10, 20, nm)]
    assert read_quantities("148 ± 3 nm") == [Quantity(148, 148, nm, 3, nm)]
    assert read_quantities("below 5 nm") == [Quantity(5, 5, nm, relation="<")]
    assert [q.low for q in read_quantities("from 5 to 7", ends=True)] == [5, 7, 5]
    # Words that pint would take for units: inch, are, technical atmosphere, year.
    assert {q.unit for q in read_quantities("8 in patients, 4 are, 2 at, 3 a, 5 cats, 5 pm")} == {Unit()}


def test_the_best_answer_counts_and_those_without_a_number_do_not() -> None:
    assert number_accuracy("5 kg", ["many", "5000 g", "6 kg"]) == 1.0
    assert number_accuracy("5 kg and 7 h", ["5 kg for 7 h"]) == 1.0
    assert number_accuracy("5 kg", ["5 kg for 7 h"]) == 0.0
    for metric in (number_accuracy, final_number):
        with pytest.raises(InputError, match="No accepted answer has a number"):
            metric("5", ["many"])
    assert has_number("five") and not has_number("many")


@pytest.mark.parametrize(
    ("said", "gold", "expected"),
    [
        ("2 * 20 = 40, so 40 + 2 = 42", "42", 1.0),
        ("42, and not 40", "42", 0.0),
        ("It is 42.\n#### 1,080", "#### 1080", 1.0),
        ("#### 42 (or 7)", "42", 1.0),
        ("She pays $42.", "42", 1.0),
        ("none", "42", 0.0),
    ],
)
def test_the_final_number(said: str, gold: str, expected: float) -> None:
    assert final_number(said, [gold]) == expected


def test_very_long_answers_take_their_time_but_end() -> None:
    text = "between 10-20 nm and 5 mg/kg d-1 -3 °C ± 2 " * 300 + "9" * 20000 + "-1," * 500 + " two" * 500 + "(" * 2000
    assert number_accuracy(text, ["148 nm"]) == 0.0


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    read_quantities(text, ends=True)
    number_accuracy(text, ["148 nm"])


@given(st.integers(-(10**6), 10**6), st.sampled_from(["nm", "mg/mL", "°C", "%", "kJ mol-1", ""]))
def test_a_quantity_equals_itself(value: int, unit: str) -> None:
    assert number_accuracy(f"It is {value} {unit}.", [f"{value} {unit}"]) == 1.0
    assert number_accuracy(f"It is {value + 1} {unit}.", [f"{value} {unit}"]) == 0.0


def test_a_missing_pint_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    units._registry.cache_clear()
    units.scale.cache_clear()
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match="pint") as caught:
        number_accuracy("5 nm", ["6 nm"])
    assert caught.value.hint == "pip install 'gag[eval]'"


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("2 mRNA doses", "2 doses of mRNA"),
        ("3 siRNA", "3 siRNAs"),
        ("7.4 pH", "pH 7.4"),
        ("4 mAbs", "4 antibodies"),
        ("12 cDNA clones", "12 clones"),
    ],
)
def test_what_is_counted_is_no_unit(gold: str, said: str) -> None:
    assert number_accuracy(said, [gold]) == 1.0


def test_symbols_that_are_not_known_stay_units() -> None:
    assert number_accuracy("40 nKat", ["40 mKat"]) == 0.0
    assert number_accuracy("40 mKat", ["40 mKat"]) == 1.0
