"""One domain's questions under several choices of how it answers, on the same module: nothing is trained again.

    python -m benchmarks.choices --workspace demo --domain adjuvant --questions test.jsonl [--metrics nll,fact_recall]
        [--method gag-oracle] [--limit N] --variant "generation.refine_steps=0" --variant "generation.refine_steps=3"

A variant names keys of `generation`; several stand with spaces between them. Prints each variant's means, over all
answers and over those whose expert was at least so sure of its background; and of every later one the paired
differences from the first, all with 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gag.config import load_config, overridden
from gag.corpus.synthesis.splits import for_testing
from gag.errors import ConfigError
from gag.evaluation.runner import Evaluated, evaluate
from gag.methods.shelf import Shelf
from gag.records import Question, read_questions, spread
from gag.workspace import open_workspace

SURE = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Borders of the expert's certainty."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--metrics", default="nll,token_f1")
    parser.add_argument("--method", default="gag-oracle")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N questions, spread over the file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="choices of the workspace")
    parser.add_argument("--variant", action="append", required=True, metavar="CHOICES", help="keys of generation")
    options = parser.parse_args(arguments)
    kept = spread(for_testing(read_questions(options.questions, require_answers=True)), options.limit)
    questions = [replace(question, domain=question.domain or options.domain) for question in kept]
    workspace = open_workspace(options.workspace, overrides=options.set)
    system = Shelf(workspace).system
    first: Evaluated | None = None
    for variant in options.variant:
        shelf = Shelf(workspace, system=system, generation=chosen(variant))
        found = asked(shelf, options.method, options.domain, questions, options.metrics.split(","))
        print(f"\n{options.domain}, {options.method}: {variant or 'as the module says'}")
        print(table(found), flush=True)
        if first is not None:
            print(against(found, first), flush=True)
        first = first or found


def chosen(variant: str) -> dict[str, object]:
    """The choices of `generation` that a variant names; raises ConfigError for others."""
    choices = shlex.split(variant)
    others = [choice for choice in choices if not choice.startswith("generation.")]
    if others:
        raise ConfigError(f"{others[0]} is no choice of how a module answers.", "Name keys of generation alone.")
    load_config(overrides=choices)  # refused in words
    return overridden(choices, "generation")


def asked(shelf: Shelf, method: str, domain: str, questions: Sequence[Question], metrics: Sequence[str]) -> Evaluated:
    """The method's answers, the base proven unchanged."""
    with shelf.system.frozen():
        return evaluate(shelf.method(method, domain), questions, metrics)


def table(found: Evaluated) -> str:
    """A row over all questions, and one for each border of the expert's certainty."""
    sure = {q.id: a.background_probability for q, a in zip(found.questions, found.answers, strict=True)}
    lines = [["sure of", "n", *found.values]]
    for border in (None, *SURE):
        kept = {name for name, p in sure.items() if border is None or (p is not None and p >= border)}
        rows = {row.metric: row for row in found.rows("", only=partial(_among, kept))}
        shown = [_shown(rows[m].value, rows[m].ci_low, rows[m].ci_high) if m in rows else "" for m in found.values]
        lines.append(["any" if border is None else f"{border:.2f}", str(len(kept)), *shown])
    return _lines(lines)


def against(found: Evaluated, first: Evaluated) -> str:
    """The paired differences from the first variant, a line a metric."""
    differences = {metric: found.difference(first, metric) for metric in found.values}
    return _lines(
        [
            [f"{metric} - first", _shown(change.mean, change.low, change.high, sign="+")]
            for metric, change in differences.items()
            if change is not None
        ]
    )


def _among(names: Collection[str], question: Question) -> bool:
    return question.id in names


def _shown(mean: float, low: float | None, high: float | None, sign: str = "") -> str:
    ends = "" if low is None or high is None else f" [{low:{sign}.3f}, {high:{sign}.3f}]"
    return f"{mean:{sign}.3f}{ends}"


def _lines(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows)


if __name__ == "__main__":
    main()
