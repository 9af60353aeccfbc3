"""Numbers and units: found, and compared by what they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gag.corpus.language.quantities import compared, missing_quantities, quantities


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("148 nm", 148, "nm"),
        ("0.18 micron", 0.18, "um"),
        ("minus 31 mV", -31, "mV"),
        ("−40 °C", -40, "degC"),
        ("1,340 cycles", 1340, None),
        ("1,340.5 g", 1340.5, "g"),
        ("412 m2/g", 412, "m**2/g"),
        ("412 m²/g", 412, "m**2/g"),
        ("38 per second", 38, "1/s"),
        ("63.5 percent", 63.5, "percent"),
        ("63.5%", 63.5, "percent"),
        ("nine hours", 9, "hour"),
        ("50µg", 50, "ug"),
        ("50 μg", 50, "ug"),
        ("5 × 10^6", 5e6, None),
        ("0.00002 × 10^3 M", 0.02, "molar"),
        ("1e-7 * 10^2", 1e-5, None),
        ("12345678901234567890 × 10^3 g", 12345678901234567890e3, "g"),
        ("5 × 10⁻⁵ M", 5e-5, "molar"),
        ("5 × 10−5 M", 5e-5, "molar"),
        ("5 x 10 6 g", 5e6, "g"),
        ("2 mM", 2, "millimolar"),
        ("2 mm", 2, "mm"),
        ("3 M", 3, "molar"),
    ],
)
def test_what_is_read(text: str, value: float, unit: str | None) -> None:
    (found,) = quantities(text)
    assert found.value == pytest.approx(value)
    assert found.unit == unit


@pytest.mark.parametrize(
    ("text", "values"),
    [("0.00005 x 100 = 0.005 g", [5e-5, 100, 0.005]), ("5 x 105", [5, 105]), ("5 x 10 ml", [5, 10])],
)
def test_times_a_number_is_no_power_of_ten(text: str, values: list[float]) -> None:
    assert [found.value for found in quantities(text)] == values


@pytest.mark.parametrize("text", ["IL-6 and H5N1", "Kavadine-5", "HLA-A*0201", "CD4+ cells", "someone told nobody"])
def test_names_hold_no_numbers(text: str) -> None:
    assert quantities(text) == []


@pytest.mark.parametrize(
    ("answer", "passage"),
    [
        ("0.148 µm", "a size of 148 nm"),
        ("2 weeks", "after 14 days"),
        ("-31 mV", "of minus 31 mV"),
        ("1340 cycles", "lasts 1,340 cycles"),
        ("4 °C", "kept at 277.15 K"),
        ("50 %", "fifty percent"),
        ("148", "148 nm"),
        ("148 nm", "from 120 to 148 and more nm"),
        ("blue", "no number here"),
    ],
)
def test_equal_quantities_occur(answer: str, passage: str) -> None:
    assert missing_quantities(answer, passage) == []


@pytest.mark.parametrize(
    ("answer", "passage"),
    [("150 nm", "148 nm"), ("4 mg", "4 g"), ("31 mV", "minus 31 mV"), ("13 cycles", "1,340 cycles"), ("5 h", "5 days")],
)
def test_other_quantities_do_not(answer: str, passage: str) -> None:
    assert missing_quantities(answer, passage) == [answer.removesuffix(" cycles")]


def test_which_is_more() -> None:
    (small,), (large,), (other,) = quantities("3 days"), quantities("1 week"), quantities("4 nm")
    assert compared(large, small) == 1 and compared(small, large) == -1
    assert compared(small, small) == 0 == compared(small, other)


@given(st.text(max_size=80))
def test_any_text_is_read(text: str) -> None:
    assert all(text[q.start : q.end] for q in quantities(text))


@given(st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 3)))
def test_a_number_is_found_in_its_own_text(value: float) -> None:
    written = f"{value:.3f} nm"
    assert missing_quantities(written, f"we saw {written} there") == []
    assert missing_quantities(f"{value + 1:.3f} nm", f"we saw {written} there")
