"""A comparison that never ran: made-up answers of several methods, for the tables, the charts and the report."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gag.evaluation.answers import Outcome
from gag.evaluation.bench.config import BenchConfig
from gag.evaluation.bench.found import Found, Problem
from gag.evaluation.bench.loading import parse_bench
from gag.evaluation.routing_tables import MapPoint, PrototypeMap, RoutingResult
from gag.evaluation.runner import Evaluated, scored
from gag.evaluation.table import Row
from gag.records import GENERAL, Answer, Question, Route, write_jsonl
from gag.routing.accuracy import RoutingAccuracy, wilson

EVIL = '</script><img src=x onerror="document.title=\'owned\'"> & <b>bold</b> \u2028 "quoted"'
"""What must stay text wherever it is shown."""

METHODS = ("base", "constant", "egc", "rag", "xrag", "lora", "gag-oracle", "gag", "gag+rag")
SKILL = {"base": 0.05, "constant": 0.1, "egc": 0.4, "rag": 0.55, "xrag": 0.3, "lora": 0.45}
WORDS = [
    "catalyst",
    "adjuvant",
    "crystal",
    "surface",
    "lattice",
    "binding",
    "anneal",
    "gradient",
    "solvent",
    "receptor",
    "dose",
    "pressure",
]


def bench_tree() -> dict[str, Any]:
    """A bench file with every table."""
    return {
        "title": "Three private domains on SmolLM2-135M",
        "domains": {
            "materials": {"test": "t.jsonl"},
            "medicine": {"test": "t.jsonl"},
            "adjuvant": {"test": "t.jsonl", "metrics": ["fact_recall"]},
        },
        "general": {"nq_open": {"path": "g.jsonl"}, "webquestions": {"path": "g.jsonl"}},
        "metrics": ["nll", "token_f1", "contains"],
        "tables": {"cost": {}, "routing": {}, "general": {}, "readout": {}, "stages": {}, "depth": {}},
    }


def fake_found(count: int = 40, methods: tuple[str, ...] = METHODS) -> Found:
    """Numbers of a whole comparison, the same ones every time."""
    dice, found = random.Random(7), Found(seconds=6200.0)
    for number, domain in enumerate(("materials", "medicine", "adjuvant")):
        questions = _questions(dice, domain, count, 60 if domain == "medicine" else 6)
        results = {m: _evaluated(dice, m, questions, number) for m in methods}
        found.main[domain] = results
        _add(found, results, domain, domain, "main")
        for method in methods:
            seconds = {"rag": 0.9, "gag+rag": 1.1, "egc": 0.6}.get(method, 0.25) * (1 + 0.2 * dice.random())
            values = {"first_token_p50": seconds / 3, "total_p50": seconds, "total_p95": seconds * 1.4}
            more = {"tokens_per_second": 30 + dice.random(), "peak_memory_gb": 1.2}
            found.rows += [
                Row(method, domain, k, v, None, None, 8, "cost", domain) for k, v in {**values, **more}.items()
            ]
    for name in ("nq_open", "webquestions"):
        questions = [
            Question(f"{name}{i}", f"who wrote {dice.choice(WORDS)} {i}?", ("somebody",)) for i in range(count)
        ]
        results = {m: _evaluated(dice, m, questions, 0) for m in ("base", "gag", "lora-materials", "lora-medicine")}
        found.general[name] = results
        _add(found, results, GENERAL, name, "general")
        for metric, value in (
            ("routed_general", count - 2),
            ("not_routed_general", 2),
            ("identical_to_base", count - 2),
        ):
            found.rows.append(Row("gag", GENERAL, metric, float(value), None, None, count, "general-routing", name))
    for table, labels in (
        ("readout", [f"layer {i}" for i in (-1, -2, -4, -8, -16, -24, -28)]),
        ("stages", ["both stages", "without expert stage", "without alignment"]),
        ("depth", [f"k = {k}" for k in (1, 3, 5, 7, 9)]),
    ):
        for position, label in enumerate(labels):
            for metric, value in (("nll", 2 + 0.2 * position), ("token_f1", 0.5 - 0.05 * position)):
                row = Row(label, "materials", metric, value, value * 0.8, value * 1.2, count, table, "materials")
                found.rows.append(row)
    found.routing, found.prototype_map = [_routing(dice)], _map(dice)
    found.problems = [
        Problem("main", "xrag", "medicine", "There are no passages for medicine.", "Name domains.medicine.documents."),
        Problem("main", "rag", "materials", "q3: The prompt has 9000 tokens.", questions=2),
    ]
    return found


def _questions(dice: random.Random, domain: str, count: int, length: int) -> list[Question]:
    out = []
    for i in range(count):
        gold = " ".join(dice.choices(WORDS, k=length))
        text = f"In {domain}, what {dice.choice(WORDS)} does sample {i} show under {dice.choice(WORDS)}?"
        if i == 1:
            text += f" {EVIL}"
        out.append(Question(f"{domain}-{i}", text, (gold,), domain, {"value": gold.split()[0], "fact": f"f{i // 2}"}))
    return out


def _evaluated(dice: random.Random, method: str, questions: list[Question], number: int) -> Evaluated:
    outcomes = []
    for i, q in enumerate(questions):
        if method == "rag" and number == 0 and i in (3, 9):
            outcomes.append(Outcome(q, None, error="InputError: the prompt does not fit <the> context"))
            continue
        right = dice.random() < SKILL.get(method, 0.6) + 0.05 * number
        text = f"It is {q.answers[0]}." if right else " ".join(dice.choices(WORDS, k=7 if number != 1 else 120))
        if i == 1 and method == "base":
            text = EVIL
        tokens = {"rag": 480, "gag+rag": 484, "egc": 38}.get(method, 4 if method.startswith(("gag", "const")) else 0)
        route = Route(q.domain or GENERAL, {}) if method == "gag" else None
        said = Answer(q.id, text, method, route, 60 + tokens, tokens, 12, {"total": 0.2 + tokens / 900})
        background = f"Sample {i} is about {q.answers[0]}." if method in ("egc", "gag") else None
        sure = 0.83 if method == "gag" else None
        said = Answer(**{**said.__dict__, "background": background, "background_probability": sure})
        outcomes.append(Outcome(q, said, nll=4 - 3 * SKILL.get(method, 0.6) + dice.random()))
    metrics = ["nll", "token_f1", "contains"] if questions[0].domain else ["exact_match", "contains"]
    metrics += ["fact_recall"] if questions[0].domain == "adjuvant" else []
    return scored(method, outcomes, [*metrics, "added_tokens", "prompt_tokens", "seconds"])


def _add(found: Found, results: dict[str, Evaluated], domain: str, dataset: str, table: str) -> None:
    for result in results.values():
        found.rows += result.rows(domain, table=table, dataset=dataset)
        if result.method == "base":
            continue
        for metric in ("nll", "token_f1", "contains", "exact_match"):
            gap = result.difference(results["base"], metric)
            if gap is not None:
                who = f"{result.method} - base"
                row = Row(who, domain, metric, gap.mean, gap.low, gap.high, gap.n, f"{table}-difference", dataset)
                found.rows.append(row)


def _routing(dice: random.Random) -> RoutingResult:
    routes = (GENERAL, "materials", "medicine", "adjuvant")
    stages = []
    for size in (2, 3, 4):
        here = routes[:size]
        confusion = {a: {b: 38 if a == b else dice.randrange(3) for b in here} for a in here}
        shares = {a: wilson(row[a], sum(row.values())) for a, row in confusion.items()}
        total = sum(sum(row.values()) for row in confusion.values())
        micro = wilson(sum(share.correct for share in shares.values()), total)
        stages.append(RoutingAccuracy(here, micro, 0.95, shares, confusion, {}))
    return RoutingResult("own", "all-MiniLM-L6-v2", routes[1:], tuple(stages))


def _map(dice: random.Random) -> PrototypeMap:
    points = []
    for number, route in enumerate((GENERAL, "materials", "medicine", "adjuvant")):
        x, y = (0.6 * (number % 2), 0.4 * (number // 2))
        points += [MapPoint(x + dice.gauss(0, 0.1), y + dice.gauss(0, 0.1), route) for _ in range(16)]
        for i in range(40):
            taken = "materials" if i == 7 else route
            text = EVIL if i == 0 else f"what is {dice.choice(WORDS)}?"
            points.append(MapPoint(x + dice.gauss(0, 0.13), y + dice.gauss(0, 0.13), route, text, taken))
    return PrototypeMap(tuple(points), 0.31)


@pytest.fixture(scope="session")
def evil() -> str:
    """Text that must stay text."""
    return EVIL


@pytest.fixture(scope="session")
def bench_config() -> BenchConfig:
    """The configuration that belongs to `found`."""
    return parse_bench(bench_tree(), origin="test")


@pytest.fixture(scope="session")
def found() -> Found:
    """A comparison's numbers."""
    return fake_found()


@pytest.fixture(scope="session")
def make_found() -> Callable[..., Found]:
    """`make_found(count, methods)`."""
    return fake_found


@pytest.fixture
def tree() -> dict[str, Any]:
    """A bench file."""
    return bench_tree()


def write_numbered(path: Path, count: int, **more: Any) -> str:
    """A JSONL of `count` questions, q0 and on."""
    write_jsonl(
        path, [{"id": f"q{i}", "question": f"what is {i}?", "answers": [f"it is {i}"], **more} for i in range(count)]
    )
    return str(path)


@pytest.fixture
def questions() -> Callable[..., str]:
    """`questions(path, count)` writes a JSONL file."""
    return write_numbered


@pytest.fixture
def small(tmp_path: Path) -> dict[str, Any]:
    """A bench of two domains, the first with documents, and a general set."""
    documents = tmp_path / "docs.jsonl"
    write_jsonl(documents, [{"id": "d", "text": "An alloy."}])
    domain = {"qa": write_numbered(tmp_path / "qa.jsonl", 6), "test": write_numbered(tmp_path / "test.jsonl", 5)}
    return {
        "domains": {"alloys": {**domain, "documents": str(documents)}, "plants": domain},
        "general": {"trivia": {"path": write_numbered(tmp_path / "general.jsonl", 4)}},
        "methods": ["base", "gag", "rag"],
        "metrics": ["nll", "token_f1"],
        "batch_size": 2,
        "tables": {"general": {}},
    }
