"""Results as rows, and the ways to show them: results.json, tables for a terminal, Markdown for a document."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from gag.errors import InputError
from gag.evaluation.metrics import REGISTRY
from gag.evaluation.statistics import Interval

IntervalStyle = Literal["plus_minus", "brackets", "none"]
"""How an interval is shown: 62.0 ±7.1 (half its width), 62.0 [54.8, 69.0] (its ends), or not at all."""

_MISSING = "–"


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
        """The row of a mean and its interval."""
        return Row(method, domain, metric, interval.mean, interval.low, interval.high, interval.n)


@dataclass(frozen=True)
class Format:
    """How a metric is shown: its unit in the heading, its decimals, what it is multiplied by, which way is better."""

    decimals: int
    scale: float = 1.0
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""


_FORMATS = {"routing_macro": Format(decimals=1, scale=100.0, unit="%", better="higher")}
_ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}


def metric_format(metric: str) -> Format:
    """How `metric` is shown; three decimals, no unit and no direction for one that is not known here."""
    known = REGISTRY.get(metric)
    if known is None:
        return _FORMATS.get(metric, Format(decimals=3))
    return Format(known.decimals, known.scale, known.unit, known.better)


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
    """Write `rows` as one JSON list, to a temporary sibling that is then renamed; raises InputError for NaN.

    The columns of a comparison are there for all rows or, where no row has any of them, for none.
    """
    path, rows = Path(path), list(rows)
    wanted = _COLUMNS if any(row.table for row in rows) else _NEEDED
    try:
        lines = [
            json.dumps({name: asdict(row)[name] for name in wanted}, ensure_ascii=False, allow_nan=False)
            for row in rows
        ]
    except ValueError:
        raise InputError(
            f"A result for {path} is not a finite number.", "Look at the method's answers; JSON holds no NaN."
        ) from None
    text = "[\n" + ",\n".join(f"  {line}" for line in lines) + "\n]\n" if lines else "[]\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_results(path: str | Path) -> list[Row]:
    """The rows of a results.json; raises InputError with the file and the row for anything it refuses."""
    path = Path(path)
    hint = "Evaluate again to write it anew."
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{path} does not exist.", "Check the path; an evaluation writes results.json.") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise InputError(f"{path} is not JSON.", hint) from None
    if not isinstance(rows, list):
        raise InputError(f"{path} is not a list of rows.", hint)
    return [_row(row, f"{path} row {number}") for number, row in enumerate(rows, 1)]


def rich_tables(rows: Sequence[Row], *, intervals: IntervalStyle = "plus_minus") -> list[Table]:
    """One table a domain, methods down and metrics across, each in order of first appearance.

    Raises InputError when two rows give the same cell.
    """
    tables = []
    for domain in _distinct(row.domain for row in rows):
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
    for domain in _distinct(row.domain for row in rows):
        headings, lines = _grid(rows, domain, intervals)
        rule = _markdown_line(["---"] + ["---:"] * (len(headings) - 1))
        cells = [_markdown_line([_plain(cell) for cell in line]) for line in (headings, *lines)]
        table = "\n".join([cells[0], rule, *cells[1:]])
        parts.append(f"**{_plain(_title(rows, domain))}**\n\n{table}\n")
    return "\n".join(parts)


def _grid(rows: Sequence[Row], domain: str, intervals: IntervalStyle) -> tuple[list[str], list[list[str]]]:
    """The headings and, a method a line, the formatted cells of one domain."""
    cells: dict[tuple[str, str], str] = {}
    for row in (row for row in rows if row.domain == domain):
        if (row.method, row.metric) in cells:
            raise InputError(
                f"Two results give {row.metric} of {row.method} on {domain}.", "Keep one row a method, domain, metric."
            )
        cells[row.method, row.metric] = format_value(row, intervals)
    methods, metrics = _distinct(method for method, _ in cells), _distinct(metric for _, metric in cells)
    lines = [[method, *[cells.get((method, metric), _MISSING) for metric in metrics]] for method in methods]
    return ["method", *[_heading(metric) for metric in metrics]], lines


def _title(rows: Sequence[Row], domain: str) -> str:
    counts = sorted({row.n for row in rows if row.domain == domain})
    shown = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{domain} ({shown} question{'' if counts == [1] else 's'})"


def _heading(metric: str) -> str:
    shape = metric_format(metric)
    unit = f" ({shape.unit})" if shape.unit else ""
    return f"{metric}{unit}{_ARROWS[shape.better]}"


def _number(value: float, shape: Format) -> str:
    text = f"{value * shape.scale:,.{shape.decimals}f}"
    # A small time or loss must not read as nothing: two significant digits instead.
    if value and not text.strip("-0."):
        return f"{value * shape.scale:.2g}"
    return text


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _plain(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*").replace("\n", " ")


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


_COLUMNS = tuple(field.name for field in fields(Row))
_NEEDED = tuple(field.name for field in fields(Row) if field.default is MISSING)


def _row(row: Any, where: str) -> Row:
    if not isinstance(row, dict) or not set(_NEEDED) <= set(row) <= set(_COLUMNS):
        raise InputError(f"{where} does not have the fields {', '.join(_NEEDED)}.", "Evaluate again to write it anew.")
    texts = all(isinstance(row.get(name, ""), str) for name in ("method", "domain", "metric", "table", "dataset"))
    ends = [row[name] for name in ("ci_low", "ci_high", "seconds", "tokens") if row.get(name) is not None]
    numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in (row["value"], *ends))
    if not texts or not numbers or type(row["n"]) is not int:
        raise InputError(f"{where} has a field of the wrong kind.", "Evaluate again to write it anew.")
    return Row(**row)
