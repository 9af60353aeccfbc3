"""The tables of a comparison as people read them: cells with marks and notes, for Markdown and for the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gag.evaluation.bench.config import BenchConfig
from gag.evaluation.bench.found import Found, Problem
from gag.evaluation.bench.place import COST_METRICS
from gag.evaluation.routing_tables import OWN, RoutingResult
from gag.evaluation.runner import Evaluated
from gag.evaluation.table import (
    NOT_MEASURED,
    Row,
    distinct,
    escaped,
    format_value,
    heading,
    markdown_line,
    metric_format,
    shown,
)

MARKS = {"better": "▲", "worse": "▼", "": ""}


@dataclass(frozen=True)
class Cell:
    """One cell: its text, whether it is better or worse than the reference beyond chance, and whether the best."""

    text: str
    mark: str = ""
    best: bool = False
    title: str = ""


@dataclass(frozen=True)
class View:
    """A table; the first column names the lines. `group` is the section of the report it belongs to."""

    group: str
    slug: str
    title: str
    headings: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]
    note: str = ""


def group_note(group: str, config: BenchConfig) -> str:
    """What has to be known to read the tables of a group."""
    marks = f"▲ better, ▼ worse than {config.reference} on the same questions, where the paired interval excludes zero."
    return {
        "main": f"Means ± half the 95 % bootstrap interval; bold is the best mean. {marks}",
        "cost": "Questions asked one at a time: seconds to the first token and in all (median and 95th percentile), "
        "tokens a second after the first, and the most memory of the process, which holds every method's models.",
        "general": f"Questions of no domain. lora-NAME is the base fine-tuned on NAME. {marks}",
        "routing": "The router takes the route of the nearest prototype; nothing of it is trained.",
        "stages": "What is left without the expert stage (the expert model as it comes), and without alignment (the "
        "projector as it was initialised).",
        "readout": "The expert's layer whose state is injected, -1 the last; the projector is trained again for each.",
        "depth": "Passages that rag puts into the prompt.",
    }.get(group, "")


def views(config: BenchConfig, found: Found) -> list[View]:
    """Every table that has a line, in the report's order."""
    out = [*_main(config, found.rows), *_costs(found.rows), *_general(config, found.rows)]
    for result in found.routing:
        out += [_growing(result), _confusion(result)]
    for table, name in (("stages", "Stages"), ("readout", "Readout layer"), ("depth", "Retrieval depth")):
        for dataset in distinct(row.dataset for row in found.rows if row.table == table):
            part = [row for row in found.rows if row.table == table and row.dataset == dataset]
            out.append(_grid(part, table, f"{name}: {dataset}", first="variant"))
    return [view for view in out if view.lines]


def markdown(view: View) -> str:
    """The table as Markdown with its title and note; ▲ and ▼ mark what is better or worse than the reference."""
    lines = [markdown_line([escaped(name) for name in view.headings])]
    lines.append(markdown_line(["---", *["---:"] * (len(view.headings) - 1)]))
    for cells in view.lines:
        lines.append(
            markdown_line([f"**{escaped(c.text)}**{_tail(c)}" if c.best else escaped(c.text) + _tail(c) for c in cells])
        )
    note = f"\n{view.note}\n" if view.note else ""
    return f"### {escaped(view.title)}\n{note}\n" + "\n".join(lines) + "\n"


def findings(config: BenchConfig, found: Found) -> list[str]:
    """What the numbers say of every domain: which method is best, which cannot be told from it, and what each costs.

    What methods remark of how they were made follows.
    """
    out: list[str] = []
    metric = config.main_metric
    for dataset, results in found.main.items() if metric_format(metric).better else ():
        there = {r.method: r for r in found.rows if (r.table, r.dataset, r.metric) == ("main", dataset, metric)}
        if len(there) < 2:
            continue
        first = _best(there.values()) or next(iter(there.values()))
        best = first.method
        near = [name for name in there if name != best and not _beyond(results[best], results[name], metric)]
        said = f"{dataset}: {best} has the best {metric} ({_said(first)})"
        if near:
            said += "; not distinguishable from it: " + ", ".join(f"{name} ({_said(there[name])})" for name in near)
        else:
            said += "; every other method is worse beyond chance"
        out.append(said + ".")
    return out + found.remarks


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """One line a problem."""
    return [
        f"{p.table}: {p.method} on {p.dataset}: "
        + (
            f"{p.questions} question{'s' if p.questions != 1 else ''} failed, the first {p.message}"
            if p.questions
            else p.message
        )
        + (f" ({p.hint})" if p.hint else "")
        for p in problems
    ]


def _main(config: BenchConfig, rows: Sequence[Row]) -> Iterable[View]:
    reference = config.reference
    gaps = {(r.method, r.dataset, r.metric): r for r in rows if r.table == "main-difference"}
    for table, note in (("main", ""), ("main-unseen", "Only the questions about facts that the projector never saw.")):
        for dataset in distinct(row.dataset for row in rows if row.table == table):
            part = [row for row in rows if row.table == table and row.dataset == dataset]
            view = _grid(part, "main", f"{dataset} ({_counts(part)})", gaps=gaps, reference=reference)
            yield replace(view, note=note)


def _costs(rows: Sequence[Row]) -> Iterable[View]:
    for dataset in distinct(row.dataset for row in rows if row.table == "cost"):
        part = [row for row in rows if row.table == "cost" and row.dataset == dataset]
        yield _grid(part, "cost", f"Cost: {dataset} ({_counts(part)}, one at a time)")


def _general(config: BenchConfig, rows: Sequence[Row]) -> Iterable[View]:
    gaps = {(r.method, r.dataset, r.metric): r for r in rows if r.table == "general-difference"}
    for dataset in distinct(row.dataset for row in rows if row.table == "general"):
        part = [row for row in rows if row.table == "general" and row.dataset == dataset]
        yield _grid(part, "general", f"{dataset} ({_counts(part)})", gaps=gaps, reference=config.reference)
    yield from _change(config, gaps)
    routed = [row for row in rows if row.table == "general-routing"]
    if not routed:
        return
    lines = []
    for dataset in distinct(row.dataset for row in routed):
        counts = {row.metric: int(row.value) for row in routed if row.dataset == dataset}
        total = next(row.n for row in routed if row.dataset == dataset)
        stayed, same = counts["routed_general"], counts["identical_to_base"]
        cells = (dataset, f"{total}", f"{stayed}", f"{counts['not_routed_general']}", f"{same} of {stayed}")
        lines.append(tuple(Cell(cell) for cell in cells))
    headings = ("set", "questions", "routed general", "not routed general", "answered word for word as base")
    yield View(
        "general",
        "general-routing",
        "General questions under gag",
        headings,
        tuple(lines),
        "A question routed general goes to the base untouched: its answer must be identical. Texts that differ are "
        "asked again, each alone, since in bfloat16 the company in a batch can change a token.",
    )


def _change(config: BenchConfig, gaps: Mapping[tuple[str, str, str], Row]) -> Iterable[View]:
    """How much every method changes the reference's score on general questions, a column a set and metric."""
    places = list(dict.fromkeys((row.dataset, row.metric) for row in gaps.values()))
    lines = []
    for who in distinct(row.method for row in gaps.values()):
        line = [Cell(who.removesuffix(f" - {config.reference}"))]
        for dataset, metric in places:
            gap = gaps.get((who, dataset, metric))
            text = NOT_MEASURED if gap is None else format_value(gap, "brackets")
            line.append(Cell(text if gap is None or gap.value < 0 else f"+{text}", mark=_mark(gap)))
        lines.append(tuple(line))
    headings = ("method", *(f"{dataset}: {_column(metric)}" for dataset, metric in places))
    yield View(
        "general", "general-change", f"Change from {config.reference}", headings, tuple(lines),
        "Paired differences with their 95 % intervals.",
    )  # fmt: skip


def _growing(result: RoutingResult) -> View:
    lines = []
    for added, stage in zip(result.added, result.stages, strict=True):
        micro = stage.micro
        interval = f"{100 * micro.ci_low:.2f} to {100 * micro.ci_high:.2f}"
        cells = (
            f"{len(stage.routes)} routes",
            f"+ {added}",
            f"{micro.n}",
            f"{100 * micro.share:.2f}",
            interval,
            f"{100 * stage.macro:.2f}",
        )
        lines.append(tuple(Cell(cell) for cell in cells))
    headings = ("routes", "added", "questions", "right, micro %", "95 % interval (Wilson)", "macro %")
    return View(
        "routing", f"routing-{result.name}", f"Growing routes: {_which(result)}", headings, tuple(lines),
        f"Encoder {result.encoder}. Each stage scores the questions of the routes then present.",
    )  # fmt: skip


def _confusion(result: RoutingResult) -> View:
    stage = result.stages[-1]
    lines = []
    for right, row in stage.confusion.items():
        if not sum(row.values()):
            continue
        share = stage.per_route[right]
        lines.append(
            (
                Cell(right),
                *(Cell(str(row[taken]), best=taken == right) for taken in stage.routes),
                Cell(f"{100 * share.share:.1f}"),
            )
        )
    headings = ("right route", *(f"→ {name}" for name in stage.routes), "right %")
    return View(
        "routing", f"confusion-{result.name}", f"Routes taken: {_which(result)}", headings, tuple(lines),
        "Questions by their right route (lines) and the route they took (columns).",
    )  # fmt: skip


def _which(result: RoutingResult) -> str:
    return "this comparison's domains" if result.name == OWN else "the labelled pool"


def _grid(
    rows: Sequence[Row],
    group: str,
    title: str,
    *,
    first: str = "method",
    gaps: dict[tuple[str, str, str], Row] | None = None,
    reference: str = "",
) -> View:
    """Methods down and metrics across, the costs last."""
    cells: dict[tuple[str, str], Row] = {(row.method, row.metric): row for row in rows}
    methods = distinct(row.method for row in rows)
    metrics = distinct(row.metric for row in rows)
    best = {metric: _best([cells[m, metric] for m in methods if (m, metric) in cells]) for metric in metrics}
    lines = []
    for method in methods:
        line = [Cell(method)]
        for metric in metrics:
            row = cells.get((method, metric))
            if row is None:
                line.append(Cell(NOT_MEASURED, title="not measured"))
                continue
            gap = (gaps or {}).get((f"{method} - {reference}", row.dataset, metric))
            line.append(
                Cell(
                    format_value(row, "none" if metric in COST_METRICS else "plus_minus"),
                    mark=_mark(gap),
                    best=metric not in COST_METRICS and row.value == getattr(best[metric], "value", None),
                    title=_title(row, gap, reference),
                )
            )
        lines.append(tuple(line))
    slug = f"{group}-{rows[0].dataset.replace('/', '-')}" if rows else group
    return View(group, slug, title, (first, *map(_column, metrics)), tuple(lines))


def _best(rows: Iterable[Row]) -> Row | None:
    """The first row of the best mean of a metric; None where no direction is better or all are equal."""
    rows = list(rows)
    if len({row.value for row in rows}) < 2 or not metric_format(rows[0].metric).better:
        return None
    return max(rows, key=lambda row: _sign(row.metric) * row.value)


def _sign(metric: str) -> float:
    return -1.0 if metric_format(metric).better == "lower" else 1.0


def _mark(gap: Row | None) -> str:
    """better or worse where the paired interval excludes zero."""
    if gap is None or gap.ci_low is None or gap.ci_high is None or not (gap.ci_low > 0 or gap.ci_high < 0):
        return ""
    better = metric_format(gap.metric).better
    if not better or gap.metric in COST_METRICS:
        return ""
    return "better" if (gap.ci_low > 0) == (better == "higher") else "worse"


def _title(row: Row, gap: Row | None, reference: str) -> str:
    parts = [f"{row.method}, {row.metric}: {format_value(row, 'brackets')}, {row.n} questions"]
    if gap is not None:
        parts.append(f"difference from {reference}: {format_value(gap, 'brackets')}")
    return "; ".join(parts)


def _column(metric: str) -> str:
    return heading(metric).replace("_", " ")


def _counts(rows: Sequence[Row]) -> str:
    most = max((row.n for row in rows), default=0)
    return f"{most} question{'s' if most != 1 else ''}"


def _beyond(one: Evaluated, other: Evaluated, metric: str) -> bool:
    """Whether `one` is better beyond chance on the questions where both have a value."""
    gap = one.difference(other, metric)
    return gap is not None and gap.excludes_zero and _sign(metric) * gap.mean > 0


def _said(row: Row) -> str:
    """A method's mean and what its answers cost."""
    tokens = f"{row.tokens or 0.0:.0f}"
    return f"{shown(row.metric, row.value)}, {tokens} added token{'s' * (tokens != '1')}"


def _tail(cell: Cell) -> str:
    return f" {MARKS[cell.mark]}" if cell.mark else ""
