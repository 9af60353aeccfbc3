"""Rows to JSON, to a terminal table and to Markdown."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from rich.console import Console

from gag.errors import InputError, RunError
from gag.evaluation.statistics import mean_interval
from gag.evaluation.table import (
    Row,
    format_value,
    markdown_table,
    metric_format,
    rich_tables,
    write_results,
)

ROWS = [
    Row("base", "materials", "nll", 3.51249, 3.4, 3.6, 208),
    Row("base", "materials", "fact_recall", 0.0, 0.0, 0.0, 208),
    Row("gag", "materials", "nll", 1.2, 1.1, 1.3, 208),
    Row("gag", "materials", "fact_recall", 0.6204, 0.55, 0.69, 208),
    Row("gag", "materials", "seconds", 0.4321, None, None, 208),
    Row("gag", "adjuvant", "nll", 1.0, 0.9, 1.1, 1),
]


@pytest.mark.parametrize(
    ("metric", "value", "low", "high", "expected"),
    [
        ("nll", 1.23456, 1.2, 1.3, ("1.235 ±0.050", "1.235 [1.200, 1.300]", "1.235")),
        ("fact_recall", 0.62, 0.55, 0.69, ("62.0 ±7.0", "62.0 [55.0, 69.0]", "62.0")),
        ("bertscore", 0.69169, 0.69, 0.7, ("69.2 ±0.5", "69.2 [69.0, 70.0]", "69.2")),
        ("added_tokens", 1234.5, 1234.5, 1234.5, ("1,234.5 ±0.0", "1,234.5 [1,234.5, 1,234.5]", "1,234.5")),
        ("seconds", 0.5, None, None, ("0.50", "0.50", "0.50")),
        ("seconds", 0.00123, None, None, ("0.0012", "0.0012", "0.0012")),
        ("seconds", 0.0, None, None, ("0.00", "0.00", "0.00")),
        ("my_metric", -0.5, -0.6, -0.4, ("-0.500 ±0.100", "-0.500 [-0.600, -0.400]", "-0.500")),
    ],
)
def test_a_value_is_shown_as_its_metric_is(
    metric: str, value: float, low: float | None, high: float | None, expected: tuple[str, str, str]
) -> None:
    row = Row("gag", "d", metric, value, low, high, 9)
    assert (format_value(row), format_value(row, "brackets"), format_value(row, "none")) == expected


def test_formats_know_the_better_direction() -> None:
    assert metric_format("nll").better == "lower"
    assert metric_format("token_f1").unit == "%"
    assert metric_format("anything").better == ""


def _read(path: Path) -> list[Row]:
    return [Row(**row) for row in json.loads(path.read_text("utf-8"))]


def test_results_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "results.json"
    write_results(path, ROWS)
    assert _read(path) == ROWS
    rows = json.loads(path.read_text("utf-8"))
    assert list(rows[0]) == ["method", "domain", "metric", "value", "ci_low", "ci_high", "n"]
    assert rows[4]["ci_low"] is None
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]
    write_results(path, [])
    assert _read(path) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    write_results(path, ROWS)
    with pytest.raises(InputError, match="not a finite number"):
        write_results(path, [Row("gag", "d", "nll", math.nan, 0.0, 0.0, 1)])

    def full(self: Path, target: object) -> Path:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RunError, match="No space"):
        write_results(path, ROWS[:1])
    assert _read(path) == ROWS
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_a_row_comes_from_an_interval() -> None:
    interval = mean_interval([0.0, 1.0, 1.0, 1.0])
    row = Row.from_interval("gag", "materials", "fact_recall", interval)
    assert row == Row("gag", "materials", "fact_recall", 0.75, interval.low, interval.high, 4)


def test_markdown_has_a_table_a_domain() -> None:
    assert markdown_table(ROWS) == (
        "**materials (208 questions)**\n"
        "\n"
        "| method | nll ↓ | fact_recall (%) ↑ | seconds (s) ↓ |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| base | 3.512 ±0.100 | 0.0 ±0.0 | – |\n"
        "| gag | 1.200 ±0.100 | 62.0 ±7.0 | 0.43 |\n"
        "\n"
        "**adjuvant (1 question)**\n"
        "\n"
        "| method | nll ↓ |\n"
        "| --- | ---: |\n"
        "| gag | 1.000 ±0.100 |\n"
    )
    assert "1.200 [1.100, 1.300]" in markdown_table(ROWS, intervals="brackets")
    assert markdown_table([]) == ""


def test_names_cannot_break_the_markdown_table() -> None:
    text = markdown_table([Row("a|b", "x*y", "m|n", 1.0, None, None, 2)])
    assert r"| a\|b | 1.000 |" in text
    assert r"m\|n" in text
    assert r"**x\*y (2 questions)**" in text


def test_rich_tables_show_the_same_cells_and_take_no_markup_from_names() -> None:
    rows = [*ROWS, Row("[bold]odd[/bold]", "adjuvant", "nll", 2.0, None, None, 3)]
    tables = rich_tables(rows)
    assert len(tables) == 2
    console = Console(width=120, record=True, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    with console.file:
        for table in tables:
            console.print(table)
        text = console.export_text()
    assert "materials (208 questions)" in text
    assert "adjuvant (1 to 3 questions)" in text
    assert "fact_recall (%) ↑" in text
    assert "62.0 ±7.0" in text
    assert "–" in text
    assert "[bold]odd[/bold]" in text


def test_two_values_for_one_cell_are_refused() -> None:
    with pytest.raises(InputError, match="Two results give nll of base on materials"):
        markdown_table([*ROWS, ROWS[0]])
    with pytest.raises(InputError, match="Two results give"):
        rich_tables([*ROWS, ROWS[0]])
