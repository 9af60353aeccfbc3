"""`gag bench`: methods x domains x metrics and the paper's tables, from one file, resumable, with what failed named.

A method that fails, on one question or altogether, does not stop the others; the results say so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gag.config import merged
from gag.evaluation.agreement import general_agreement
from gag.evaluation.bench.asking import ROUTED, Asker, OpenMethods, asked_domain
from gag.evaluation.bench.config import Ablation
from gag.evaluation.bench.found import Found, Problem
from gag.evaluation.bench.place import Place, QuestionSet
from gag.evaluation.latency import timed
from gag.evaluation.routing_tables import pool_routing, workspace_routing
from gag.evaluation.runner import COSTS, Evaluated, Judge
from gag.evaluation.statistics import FEWEST
from gag.evaluation.table import Row
from gag.methods.method import Method
from gag.progress import Progress, silent
from gag.records import GENERAL, Question, content_hash
from gag.workspace import Workspace

UNALIGNED: Mapping[str, Any] = {
    "projector": {"pretrain_pairs": 0, "pretrain_lengths": [], "warm_start": "none"},
    "alignment": {"max_steps": 1, "learning_rate": 1e-12, "counterfactual": 0.0},
}
"""One step too small to change a float32 weight: the projector as it was drawn, without a fit of any kind."""
COUNT = "questions"
"""Among kept costs: how many questions they were measured on."""


def only(layer: int) -> dict[str, Any]:
    """The choice of one layer to read out."""
    return {"readout": {"layers": [layer]}}


@dataclass(frozen=True)
class Variant:
    """A domain's workspace under a table's choices, and how the table calls it."""

    domain: str
    label: str
    workspace: Workspace


@dataclass
class Bench:
    """One comparison in its place; `open_methods` gives a workspace's methods, `judges` the metrics with a model."""

    place: Place
    open_methods: OpenMethods
    judges: Mapping[str, Judge] = field(default_factory=dict)
    on_progress: Progress = silent
    found: Found = field(default_factory=Found)

    def __post_init__(self) -> None:
        found = self.found
        self._asker = Asker(self.place, self.open_methods, self.judges, self.on_progress, found.problems, found.remarks)
        self._variants: dict[str, list[Variant]] = {}

    def run(self) -> Found:
        """Every table asked for, in order; a later call finds what an earlier one kept."""
        started = time.perf_counter()
        tables = self.place.config.tables
        self._variants = self._planned()
        steps: list[tuple[object, Callable[[], None]]] = [
            (tables.main, self._main),
            (tables.cost, self._cost),
            (tables.general, self._general),
            (tables.routing, self._routing),
            (tables.stages, partial(self._ablated, "stages", "gag-oracle")),
            (tables.readout, partial(self._ablated, "readout", "gag-oracle")),
            (tables.depth, partial(self._ablated, "depth", "rag")),
        ]
        for wanted, step in steps:
            if wanted is not None:
                step()
        self._asker.close()
        self.found.seconds = time.perf_counter() - started
        return self.found

    def _main(self) -> None:
        config = self.place.config
        for name, questions in self.place.domains.items():
            for method in config.methods:
                found = self._asker.evaluated("main", questions, method, name)
                if found is not None:
                    self.found.main.setdefault(name, {})[method] = found
            self.found.rows += self._compared("main", questions, self.found.main.get(name, {}))

    def _general(self) -> None:
        table = self.place.config.tables.general
        for name, questions in self.place.general.items():
            results = self.found.general.setdefault(name, {})
            for method in table.methods if table else ():
                domains: Sequence[str | None] = [None] if method in ROUTED else list(self.place.domains)
                for domain in domains:
                    label = method if domain is None else f"{method}-{domain}"
                    found = self._asker.evaluated("general", questions, method, domain, label=label)
                    if found is not None:
                        results[label] = found
            self.found.rows += self._compared("general", questions, results)
            self.found.rows += self._kept_general(questions, results)

    def _compared(self, table: str, questions: QuestionSet, results: Mapping[str, Evaluated]) -> list[Row]:
        """Means, and differences from the reference; where some facts are unseen, a second set of rows for these."""
        rows: list[Row] = []
        name, domain = questions.name, questions.domain
        for result in results.values():
            rows += result.rows(domain, table=table, dataset=name)
            if questions.unseen is not None:
                unseen = partial(_is_unseen, questions.unseen)
                rows += result.rows(domain, only=unseen, table=f"{table}-unseen", dataset=f"{name}/unseen")
        reference = results.get(self.place.config.reference)
        for result in results.values() if reference is not None else ():
            for metric in questions.metrics:
                if result is reference or reference is None or metric in COSTS:
                    continue
                gap = result.difference(reference, metric)
                if gap is not None:
                    who = f"{result.method} - {reference.method}"
                    row = Row.from_interval(who, domain, metric, gap)
                    if gap.units < FEWEST:
                        row = replace(row, ci_low=None, ci_high=None)
                    rows.append(replace(row, table=f"{table}-difference", dataset=name))
        return rows

    def _cost(self) -> None:
        table = self.place.config.tables.cost
        count = table.questions if table else 0
        for name, questions in self.place.domains.items():
            chosen = questions.first(count)
            methods = self._still_working(name)
            for position, method in enumerate(methods):
                self.on_progress(f"{name}: cost", position, len(methods), method)
                asked = asked_domain(method, name)
                key = content_hash(
                    self.place.answer_key(self.place.workspace, method, asked), [q.id for q in chosen.questions]
                )

                compute = partial(self._timed, method, asked, chosen)
                values = self._asker.kept_costs("cost", method, name, key, compute) or {}
                measured = int(values.pop(COUNT, len(chosen.questions)))
                if 0 < measured < len(chosen.questions):
                    left = len(chosen.questions) - measured
                    said = f"{left} of {len(chosen.questions)} questions could not be answered and are not timed"
                    self.found.problems.append(Problem("cost", method, name, said, questions=left))
                self.found.rows += [
                    Row(method, name, metric, value, None, None, measured, "cost", name)
                    for metric, value in values.items()
                ]
            self.on_progress(f"{name}: cost", len(methods), len(methods))

    def _timed(self, method: str, domain: str | None, questions: QuestionSet) -> dict[str, float]:
        found = timed(self._asker.methods(self.place.workspace).method(method, domain), questions.questions)
        return {**found.values(), COUNT: len(found.total)}

    def _routing(self) -> None:
        table = self.place.config.tables.routing
        if table is None:
            return
        try:
            own, found_map = workspace_routing(self.place, self.on_progress)
            self.found.routing.append(own)
            self.found.prototype_map = found_map
            if table.pool is not None:
                self.found.routing.append(pool_routing(self.place, self.on_progress))
        except Exception as error:
            self._asker.problem("routing", "router", "all routes", error)
        self.found.rows += [row for result in self.found.routing for row in result.rows()]

    def _planned(self) -> dict[str, list[Variant]]:
        """The variants of each table; raises ConfigError for choices that do not go together, before hours of work."""
        tables, every = self.place.config.tables, list(self.place.domains)
        planned: dict[str, list[Variant]] = {}
        if tables.stages is not None:
            stages: dict[str, tuple[Mapping[str, Any], bool]] = {
                "both stages": ({}, False),
                "without expert stage": ({}, True),
                "without alignment": (UNALIGNED, False),
            }
            planned["stages"] = [
                Variant(name, label, self.place.variant(name, merged(tables.stages.settings, more), bare_expert=bare))
                for name in tables.stages.domains or every[:1]
                for label, (more, bare) in stages.items()
            ]
        if tables.readout is not None:
            planned["readout"] = [
                Variant(name, f"layer {layer}", self.place.variant(name, merged(tables.readout.settings, only(layer))))
                for name in tables.readout.domains or every[:1]
                for layer in tables.readout.layers
            ]
        if tables.depth is not None:
            planned["depth"] = [
                Variant(name, f"k = {k}", self.place.variant(name, {"retrieval": {"top_k": k}}))
                for name in tables.depth.domains or self._with_passages()
                for k in tables.depth.k
            ]
        return planned

    def _ablated(self, table: str, method: str) -> None:
        for variant in self._variants.get(table, []):
            self._varied(table, variant.domain, variant.workspace, method, variant.label)

    def _with_passages(self) -> list[str]:
        """Domains that have something to retrieve from."""
        return [name for name in self.place.domains if any(self.place.workspace.passage_files(name))]

    def _kept_general(self, questions: QuestionSet, results: Mapping[str, Evaluated]) -> list[Row]:
        """How many general questions gag left to the base, and how many of these it answered as the base alone."""
        gag, base = results.get("gag"), results.get("base")
        if gag is None or base is None:
            return []

        def counts() -> dict[str, float]:
            found = general_agreement(questions.questions, gag.answers, base.answers, self._gag_and_base)
            away = sum(a.route is not None and a.route.name != GENERAL for a in gag.answers)
            return {
                "routed_general": len(found.stayed),
                "not_routed_general": away,
                "identical_to_base": len(found.same),
                "asked_again_alone": found.again,
            }

        said = [[a.text, a.route and a.route.name] for a in gag.answers], [a.text for a in base.answers]
        kept = self._asker.kept_costs("general-routing", "gag", questions.name, content_hash("agreement", said), counts)
        return [
            Row("gag", GENERAL, metric, count, None, None, len(questions.questions), "general-routing", questions.name)
            for metric, count in (kept or {}).items()
        ]

    def _gag_and_base(self) -> tuple[Method, Method]:
        methods = self._asker.methods(self.place.workspace)
        return methods.method("gag"), methods.method("base")

    def _varied(self, table: str, name: str, workspace: Workspace, method: str, label: str) -> None:
        """A variant's rows, on the questions and metrics of its table."""
        chosen: Ablation | Any = getattr(self.place.config.tables, table)
        questions = self.place.domains[name].first(chosen.limit, chosen.metrics)
        found = self._asker.evaluated(table, questions, method, name, label=label, workspace=workspace)
        if found is not None:
            self.found.rows += found.rows(name, table=table, dataset=name)

    def _still_working(self, name: str) -> list[str]:
        """The methods that did not fail on `name` already."""
        failed = {p.method for p in self.found.failed_methods if p.table == "main" and p.dataset == name}
        return [method for method in self.place.config.methods if method not in failed]


def _is_unseen(field_name: str, question: Question) -> bool:
    """Whether the field, which says that the projector saw the question's fact, is there and false."""
    return not question.meta.get(field_name, True)
