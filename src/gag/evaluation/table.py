"""Results as rows, and the ways to show them: results.json, tables for a terminal, Markdown for a document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Literal

from rich.table import Table
from rich.text import Text

from gag.atomic import new_file
from gag.errors import InputError
from gag.evaluation.metrics import REGISTRY, Metric
from gag.evaluation.statistics import Interval

IntervalStyle = Literal["plus_minus", "brackets", "none"]
"""How an interval is shown: 62.0 ±7.1 (half its width), 62.0 [54.8, 69.0] (its ends), or not at all."""

NOT_MEASURED = "–"
"""What stands in a cell without a value."""

_ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}


@dataclass(frozen=True)
class Row:
    """One method's value of one metric on one domain, over `n` questions; null ends where no interval was made.

    Values are as measured: shares from 0 to 1, nll in nats a token, seconds a question. A comparison adds which table
    the row is of, the set of questions where that is not the domain's own, and what an answer took: mean `seconds`,
    and mean `tokens` added to the prompt for the domain's sake.
    """

    method: str
    domain: str
    metric: str
    value: float
    ci_low: float | None
    ci_high: float | None
    n: int
    table: str = ""
    dataset: str = ""
    seconds: float | None = None
    tokens: float | None = None

    @staticmethod
    def from_interval(method: str, domain: str, metric: str, interval: Interval) -> Row:
        """The row of a mean and its interval; null ends where a single unit was drawn, which says nothing of them."""
        low, high = (interval.low, interval.high) if interval.units > 1 else (None, None)
        return Row(method, domain, metric, interval.mean, low, high, interval.n)


_COLUMNS = tuple(field.name for field in fields(Row))
_NEEDED = tuple(field.name for field in fields(Row) if field.default is MISSING)


def metric_format(metric: str) -> Metric:
    """How `metric` is shown; three decimals, no unit and no direction for one that is not known here."""
    return REGISTRY.get(metric) or Metric(metric, "", "answer", better="", decimals=3, scale=1.0, unit="")


def distinct(names: Iterable[str]) -> list[str]:
    """Each name once, in order of first appearance."""
    return list(dict.fromkeys(names))


def heading(metric: str) -> str:
    """The metric's name with its unit and an arrow towards what is better."""
    shape = metric_format(metric)
    unit = f" ({shape.unit})" if shape.unit else ""
    return f"{metric}{unit}{_ARROWS[shape.better]}"


def shown(metric: str, value: float) -> str:
    """One value in its metric's format, with its unit."""
    unit = metric_format(metric).unit
    return format_value(Row("", "", metric, value, None, None, 1)) + (f" {unit}" if unit else "")


def format_value(row: Row, intervals: IntervalStyle = "plus_minus") -> str:
    """The row's value in its metric's format, with its interval where it has one."""
    shape = metric_format(row.metric)
    value = _number(row.value, shape)
    if intervals == "none" or row.ci_low is None or row.ci_high is None:
        return value
    if intervals == "brackets":
        return f"{value} [{_number(row.ci_low, shape)}, {_number(row.ci_high, shape)}]"
    return f"{value} ±{_number((row.ci_high - row.ci_low) / 2, shape)}"


def write_results(path: str | Path, rows: Iterable[Row]) -> None:
    """Write `rows` as one JSON list, atomically; raises InputError for NaN, RunError for the disk's errors.

    The columns of a comparison are there for all rows or, where no row has any of them, for none.
    """
    path, rows = Path(path), list(rows)
    wanted = _COLUMNS if any(row.table for row in rows) else _NEEDED
    try:
        lines = [
            json.dumps({name: getattr(row, name) for name in wanted}, ensure_ascii=False, allow_nan=False)
            for row in rows
        ]
    except ValueError:
        raise InputError(
            f"A result for {path} is not a finite number.", "Look at the method's answers; JSON holds no NaN."
        ) from None
    text = "[\n" + ",\n".join(f"  {line}" for line in lines) + "\n]\n" if lines else "[]\n"
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def rich_tables(rows: Sequence[Row], *, intervals: IntervalStyle = "plus_minus") -> list[Table]:
    """One table a domain, methods down and metrics across, each in order of first appearance.

    Raises InputError when two rows give the same cell.
    """
    tables = []
    for domain in distinct(row.domain for row in rows):
        headings, lines = _grid(rows, domain, intervals)
        table = Table(title=Text(_title(rows, domain)), title_justify="left")
        for number, heading in enumerate(headings):
            table.add_column(Text(heading), justify="left" if number == 0 else "right", no_wrap=number > 0)
        for line in lines:
            table.add_row(*[Text(cell) for cell in line])
        tables.append(table)
    return tables


def markdown_table(rows: Sequence[Row], *, intervals: IntervalStyle = "plus_minus") -> str:
    """The same tables as Markdown, a bold caption before each; raises InputError as `rich_tables` does."""
    parts = []
    for domain in distinct(row.domain for row in rows):
        headings, lines = _grid(rows, domain, intervals)
        rule = markdown_line(["---"] + ["---:"] * (len(headings) - 1))
        cells = [markdown_line([escaped(line[0]), *line[1:]]) for line in ([*map(escaped, headings)], *lines)]
        table = "\n".join([cells[0], rule, *cells[1:]])
        parts.append(f"**{escaped(_title(rows, domain))}**\n\n{table}\n")
    return "\n".join(parts)


def escaped(text: str) -> str:
    """`text` on one line of Markdown, none of it read as markup."""
    for sign in ("\\", "|", "*", "`", "<", "["):
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def markdown_line(cells: Sequence[str]) -> str:
    """A line of a Markdown table; the cells are escaped already."""
    return "| " + " | ".join(cells) + " |"


def _grid(rows: Sequence[Row], domain: str, intervals: IntervalStyle) -> tuple[list[str], list[list[str]]]:
    """The headings and, a method a line, the formatted cells of one domain."""
    cells: dict[tuple[str, str], str] = {}
    for row in (row for row in rows if row.domain == domain):
        if (row.method, row.metric) in cells:
            raise InputError(
                f"Two results give {row.metric} of {row.method} on {domain}.", "Keep one row a method, domain, metric."
            )
        cells[row.method, row.metric] = format_value(row, intervals)
    methods, metrics = distinct(method for method, _ in cells), distinct(metric for _, metric in cells)
    lines = [[method, *[cells.get((method, metric), NOT_MEASURED) for metric in metrics]] for method in methods]
    return ["method", *[heading(metric) for metric in metrics]], lines


def _title(rows: Sequence[Row], domain: str) -> str:
    counts = sorted({row.n for row in rows if row.domain == domain})
    shown = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{domain} ({shown} question{'' if counts == [1] else 's'})"


def _number(value: float, shape: Metric) -> str:
    text = f"{value * shape.scale:,.{shape.decimals}f}"
    # A small time or loss must not read as nothing: two significant digits instead.
    if value and not text.strip("-0."):
        return f"{value * shape.scale:.2g}"
    return text
