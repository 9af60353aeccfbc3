"""The report as one HTML file: tables, charts and a browser of single questions, with nothing asked of any network.

What users and models wrote goes through jinja2's escaping, `html.escape` in the charts, or JSON without any "<".
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from gag.atomic import new_file
from gag.errors import MissingExtra
from gag.evaluation.bench.config import BenchConfig
from gag.evaluation.bench.found import Found
from gag.evaluation.bench.views import MARKS, View, findings, group_note, problem_lines, views
from gag.evaluation.report.charts import bar_chart, curve_chart, map_chart, scatter_chart
from gag.evaluation.report.series import bars, cost_and_quality, curves
from gag.evaluation.runner import COSTS, Evaluated
from gag.evaluation.table import shown
from gag.records import Answer, Question

RIGHT = ("fact_recall", "number_accuracy", "final_number", "contains", "exact_match")
"""The first of these that was measured says whether an answer is right."""

SHORT_ANSWER = 8
"""Words of a gold answer that can be asked for word for word; of a longer one half of token F1 is enough."""

_TITLES = {
    "main": "Main comparison",
    "cost": "Cost",
    "general": "General questions",
    "routing": "Routing",
    "stages": "Stages",
    "readout": "Readout layer",
    "depth": "Retrieval depth",
}


@dataclass(frozen=True)
class Picture:
    """One chart: its heading and its SVG."""

    title: str
    svg: Any


@dataclass(frozen=True)
class Block:
    """Charts under one caption."""

    caption: str
    pictures: tuple[Picture, ...]
    legend: tuple[str, ...] = ()


@dataclass
class Section:
    """A part of the report that has something to show."""

    slug: str
    title: str
    note: str = ""
    charts: list[Block] = field(default_factory=list)
    views: list[View] = field(default_factory=list)


def write_report(path: Path, config: BenchConfig, found: Found, facts: Sequence[tuple[str, str]]) -> None:
    """Write the report, atomically. `facts` are named values for its head. Raises MissingExtra without jinja2."""
    text = report_html(config, found, facts)
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def report_html(config: BenchConfig, found: Found, facts: Sequence[tuple[str, str]]) -> str:
    """The whole page; raises MissingExtra without jinja2."""
    try:
        jinja2 = importlib.import_module("jinja2")
        safe = importlib.import_module("markupsafe").Markup
    except ImportError:
        raise MissingExtra("The report needs the package jinja2.", "pip install 'gag[eval]'") from None
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(_part("template.html"))
    data = _questions(config, found)
    text: str = page.render(
        title=config.title,
        style=safe(_part("style.css")),
        script=safe(_part("script.js")),
        facts=list(facts),
        sections=_sections(config, found, safe),
        findings=findings(config, found),
        problems=problem_lines(found.problems),
        questions=bool(data["questions"]),
        data=safe(embedded(data)),
        marks=MARKS,
        heat=_heat,
        right_note=_right_note(found),
        footer="Made by gag bench. The numbers are in results.json, every answer in answers/.",
    )
    return text


def embedded(data: Any) -> str:
    """JSON for a script element: no "<", ">", "&" or line separator of JavaScript is left in it, only their escapes."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _part(name: str) -> str:
    return (resources.files("gag.evaluation.report") / name).read_text("utf-8")


def _sections(config: BenchConfig, found: Found, safe: Any) -> list[Section]:
    sections = {slug: Section(slug, title, group_note(slug, config)) for slug, title in _TITLES.items()}
    for view in views(config, found):
        sections[view.group].views.append(view)
    rows, metric, reference = found.rows, config.main_metric, config.reference
    sections["main"].charts += _block(
        f"Mean {metric.replace('_', ' ')} with its 95 % bootstrap interval.",
        [(s.dataset, bar_chart(s, reference)) for s in bars(rows, metric)],
        safe,
    )
    sections["main"].charts += _block(
        "Quality against cost: up is more, left is faster.",
        [(s.dataset, scatter_chart(s, reference)) for s in cost_and_quality(rows, metric)],
        safe,
    )
    for table in ("stages", "readout", "depth"):
        drawn = curves(rows, table, metric)
        pictures = [(s.dataset, bar_chart(s, "") if table == "stages" else curve_chart(s)) for s in drawn]
        sections[table].charts += _block("Each with its 95 % bootstrap interval.", pictures, safe)
    if found.prototype_map is not None:
        routes = list(dict.fromkeys(point.route for point in found.prototype_map.points))
        caption = (
            "Prototypes (diamonds) and test questions (dots) in the plane of the prototypes' first two principal "
            f"components, which shows {100 * found.prototype_map.explained:.0f} % of their variance. A ring marks a "
            "question that took another route."
        )
        picture = Picture("", safe(map_chart(found.prototype_map, routes)))
        sections["routing"].charts.append(Block(caption, (picture,), tuple(routes)))
    return [section for section in sections.values() if section.views or section.charts]


def _block(caption: str, pictures: Sequence[tuple[str, str]], safe: Any) -> list[Block]:
    return [Block(caption, tuple(Picture(title, safe(svg)) for title, svg in pictures))] if pictures else []


def _heat(view: View, line: int, column: int) -> str:
    """How dark a cell of a confusion table is: its share of the line."""
    counts = [int(cell.text) if cell.text.isdigit() else 0 for cell in view.lines[line][1:-1]]
    if column >= len(counts):
        return "0"
    return f"{0.75 * counts[column] / max(sum(counts), 1):.3f}"


def _questions(config: BenchConfig, found: Found) -> dict[str, Any]:
    """Every question with every method's answer, in short keys: the page holds thousands of them."""
    sets: list[str] = []
    methods: list[str] = list(config.methods)
    questions: list[dict[str, Any]] = []
    for name, results in [*found.main.items(), *found.general.items()]:
        if not results:
            continue
        sets.append(name)
        methods += [method for method in results if method not in methods]
        asked = next(iter(results.values())).questions
        for i, question in enumerate(asked):
            answers = [_answer(result, i, methods.index(method)) for method, result in results.items()]
            row = {"s": len(sets) - 1, "i": question.id, "q": question.question, "g": list(question.answers)}
            questions.append({**row, "a": answers})
    return {"sets": sets, "methods": methods, "questions": questions}


def _answer(result: Evaluated, i: int, method: int) -> dict[str, Any]:
    said = result.answers[i]
    if i in result.errors:
        return {"m": method, "e": result.errors[i], "c": ""}
    out: dict[str, Any] = {
        "m": method,
        "t": said.text,
        "r": int(_right(result.questions[i], result.values, i)),
        "c": _cost(said),
    }
    scores = {
        metric: values[i]
        for metric, values in result.values.items()
        if metric not in COSTS and math.isfinite(values[i])
    }
    if scores:
        out["x"] = ", ".join(f"{metric.replace('_', ' ')} {shown(metric, value)}" for metric, value in scores.items())
    if said.route is not None:
        out["o"] = said.route.name
    if said.background:
        out["b"] = said.background
    if said.background_probability is not None:
        out["u"] = f"{said.background_probability:.0%}"
    return out


def _right(question: Question, values: Mapping[str, Sequence[float]], i: int) -> bool:
    """Whether an answer counts as right; see RIGHT."""
    metric = _judging(question, [name for name in values if math.isfinite(values[name][i])])
    return metric is not None and values[metric][i] >= (0.5 if metric == "token_f1" else 1.0)


def _judging(question: Question, measured: Collection[str]) -> str | None:
    """The metric that says whether an answer to `question` is right; None where none can."""
    if not question.answers:
        return "abstention_accuracy" if "abstention_accuracy" in measured else None
    metric = next((name for name in RIGHT if name in measured), None)
    long = min((len(answer.split()) for answer in question.answers), default=0) > SHORT_ANSWER
    if "token_f1" in measured and (metric is None or (long and metric in ("contains", "exact_match"))):
        return "token_f1"
    return metric


def _right_note(found: Found) -> str:
    """What counts as right, set by set."""
    used = []
    for name, results in [*found.main.items(), *found.general.items()]:
        measured = {metric for result in results.values() for metric in result.values}
        questions = next(iter(results.values())).questions if results else ()
        how = dict.fromkeys(_judging(question, measured) for question in questions)
        words = {"token_f1": "token F1 of at least a half", None: "nothing that was measured"}
        used.append(f"{name}: " + " or ".join(words.get(one) or str(one).replace("_", " ") for one in how))
    return f"What counts as right: {'; '.join(used)}."


def _cost(said: Answer) -> str:
    added = said.knowledge_tokens
    seconds = COSTS["seconds"](said)
    return f"+{added} token{'' if added == 1 else 's'}" + (f", {seconds:.2f} s" if math.isfinite(seconds) else "")
