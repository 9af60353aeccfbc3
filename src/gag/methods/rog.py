"""Method `rog`, Reasoning on Graphs (arXiv 2310.01061): plan relation paths, walk them, answer from what they reach.

`rog-paths` is without the reasoning: the ends of the planned paths are the answers. `rog-unplanned` is without the
planning: the model reads whatever paths there are within the hop limit. An answer's text is one answer a line, the
likeliest first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gag.config import RogConfig
from gag.errors import ConfigError
from gag.graph.explanation import Explanation, PlannedPath, shown_answers
from gag.graph.linking import Linked, link
from gag.graph.model import PathModel, Said
from gag.graph.names import plain
from gag.graph.paths import ReasoningPath, Walk, Walker, follow_all
from gag.graph.planning import Plan
from gag.graph.reasoning import answers_in, chosen_paths, line, one_line
from gag.graph.store import Graph, graph_folder
from gag.methods.rog_training import trained_rog
from gag.models.experts import with_adapter
from gag.models.loading import load_causal_lm
from gag.records import Answer, Question, spread
from gag.workspace import Workspace

if TYPE_CHECKING:
    from gag.methods.shelf import Shelf

NAMES = ("rog", "rog-paths", "rog-unplanned")
"""The method whole, without reasoning, and without planning."""


@dataclass(frozen=True)
class _Walked:
    """A plan (None without planning) that was walked for a question."""

    plan: Plan | None
    walk: Walk


@dataclass
class _Case:
    """One question on its way to an answer."""

    linked: Linked
    walked: list[_Walked]
    lines: list[str]
    seconds: dict[str, float]
    ends: list[str] = field(default_factory=list)
    said: Said | None = None

    @property
    def walks(self) -> list[Walk]:
        """Every walk, those of likelier plans first."""
        return [walked.walk for walked in self.walked]


class ReasoningOnGraphs:
    """A Method over one graph; raises InputError for a question whose entity is unknown or unclear."""

    def __init__(
        self, graph: Graph, model: PathModel, config: RogConfig, *, planning: bool = True, reasoning: bool = True
    ) -> None:
        if not (planning or reasoning):
            raise ValueError("without planning there must be reasoning")
        self.graph, self.model, self.config = graph, model, config
        self.planning, self.reasoning = planning, reasoning
        self.name = "rog" if planning and reasoning else "rog-paths" if planning else "rog-unplanned"

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question, in order; its text has one answer a line."""
        return [self._answer(q, case) for q, case in zip(questions, self._cases(questions), strict=True)]

    def explain(self, questions: Sequence[Question]) -> list[Explanation]:
        """Answers with the plans and the paths that lead to them, each of which was found in the graph once more."""
        return [self._explanation(case) for case in self._cases(questions)]

    def answer_and_explain(self, questions: Sequence[Question]) -> tuple[list[Answer], list[Explanation]]:
        """Both, of one and the same run."""
        cases = self._cases(questions)
        answers = [self._answer(q, case) for q, case in zip(questions, cases, strict=True)]
        return answers, [self._explanation(case) for case in cases]

    def _cases(self, questions: Sequence[Question]) -> list[_Case]:
        cases = []
        for question in questions:
            started = time.perf_counter()
            linked = link(self.graph, question)
            cases.append(_Case(linked, [], [], {"link": time.perf_counter() - started}))
        if self.planning:
            self._walk_plans(cases)
        else:
            for case in cases:
                case.walked = [
                    _Walked(None, follow_all(self.graph, entity, self.config.hops)) for entity in case.linked.entities
                ]
        for case in cases:
            case.seconds["follow"] = sum(walk.seconds for walk in case.walks)
            paths = self._read_paths(case)
            case.lines = [line(self.graph, path) for path in paths]
            case.ends = [one_line(label) for label in self.graph.labels([path.nodes[-1] for path in paths])]
        if self.reasoning:
            started = time.perf_counter()
            ends = None if self.config.answers == "free" else [case.ends for case in cases]
            asked, lines = [case.linked.question for case in cases], [case.lines for case in cases]
            said = self.model.answer(asked, lines, ends, self.config.max_new_tokens)
            for case, one in zip(cases, said, strict=True):
                case.said = one
                case.seconds["reason"] = (time.perf_counter() - started) / len(cases)
        return cases

    def _walk_plans(self, cases: Sequence[_Case]) -> None:
        """Plan from every entity of every question, and walk the plans that are likely enough beside the best."""
        started = time.perf_counter()
        asked = [(case, entity) for case in cases for entity in case.linked.entities]
        walkers = [Walker(self.graph, entity, self.config.hops) for _, entity in asked]
        marked = [case.linked.marked(entity) for case, entity in asked]
        found = self.model.plan(marked, [walker.next_steps for walker in walkers], self.config.beams)
        seconds = (time.perf_counter() - started) / max(1, len(cases))
        for (case, _), walker, plans in zip(asked, walkers, found, strict=True):
            least = self.config.plan_share * max((plan.probability for plan in plans), default=0.0)
            case.walked += [_Walked(plan, walker.walk(plan.path)) for plan in plans if plan.probability >= least]
        for case in cases:
            case.seconds["plan"] = seconds
            case.walked.sort(key=lambda walked: -walked.plan.probability if walked.plan is not None else 0.0)

    def _read_paths(self, case: _Case) -> list[ReasoningPath]:
        """The paths the model reads: of plans, one to each end; without plans, spread over all ends, a share a hop."""
        if self.planning:
            return chosen_paths(case.walks, self.config.lines)
        paths: list[ReasoningPath] = []
        for hop in range(1, self.config.hops + 1):
            ends = [(walk, end) for walk in case.walks for end in walk.ends(hop)]
            most = min((self.config.lines - len(paths)) // (self.config.hops - hop + 1), len(ends))
            paths += [path for walk, end in spread(ends, most) for path in walk.paths_to(end, 1, hop)]
        return paths

    def _answers(self, case: _Case) -> list[tuple[str, str | None]]:
        """Answers and their terms, best first; None for what no path ends in."""
        ranked = self._ranked(case)
        if case.said is None:
            return list(zip(self.graph.labels(ranked), ranked, strict=True))
        terms: dict[str, str] = {}
        for label, term in zip(self.graph.labels(ranked), ranked, strict=True):
            terms.setdefault(plain(one_line(label)), term)
        return [(text, terms.get(plain(text))) for text in answers_in(case.said.text)]

    def _ranked(self, case: _Case) -> list[str]:
        """Ends of all walks: those of likelier plans first, and of one plan those that more ways lead to."""
        weight: dict[str, float] = {}
        order: dict[str, int] = {}
        for walked in case.walked:
            hops = range(1, len(walked.walk.layers) + 1) if walked.walk.open_ended else [len(walked.walk.layers)]
            for hop in hops:
                for end in walked.walk.ends(hop):
                    weight[end] = weight.get(end, 0.0) + (walked.plan.probability if walked.plan else 1.0)
                    order.setdefault(end, len(order))
        return sorted(weight, key=lambda end: (-weight[end], order[end]))

    def _answer(self, question: Question, case: _Case) -> Answer:
        said = case.said or Said("", 0, 0, 0)
        return Answer(
            question_id=question.id,
            text="\n".join(text for text, _ in self._answers(case)),
            method=self.name,
            prompt_tokens=said.prompt_tokens,
            knowledge_tokens=said.path_tokens,
            completion_tokens=said.completion_tokens,
            timings={**case.seconds, "total": sum(case.seconds.values())},
            background="\n".join(case.lines),
        )

    def _explanation(self, case: _Case) -> Explanation:
        plans = []
        for walked in case.walked:
            path, chance = ((), None) if walked.plan is None else (walked.plan.path, walked.plan.probability)
            plans.append(PlannedPath(self.graph.label(walked.walk.start), path, chance, len(walked.walk.ends())))
        cuts = dict.fromkeys(cut.said(self.graph) for walk in case.walks for cut in walk.cuts)
        started = time.perf_counter()
        answers = shown_answers(self.graph, self._answers(case), case.walks, self.config.shown_paths)
        seconds = {**case.seconds, "prove": time.perf_counter() - started}
        return Explanation(
            question=case.linked.question,
            entities=tuple(self.graph.labels(case.linked.entities)),
            plans=tuple(plans),
            answers=answers,
            notes=tuple(cuts),
            timings={**seconds, "total": sum(seconds.values())},
        )


def build(workspace: Workspace, graph: str, name: str = "rog") -> ReasoningOnGraphs:
    """The method called `name` over a graph of the workspace, with what was trained for it last.

    Raises InputError where the graph or the training is missing, ConfigError for another model than was trained.
    """
    opened = Graph.open(graph_folder(workspace.root, graph), workspace.config.graph)
    trained = trained_rog(workspace, opened)
    config = workspace.config.models.expert
    loaded = load_causal_lm(config.model_copy(update={"source": trained.source}), root=workspace.root)
    if loaded.fingerprint != trained.fingerprint:
        raise ConfigError(
            f"The model {trained.source} is not the one that the planner of {graph} was trained on.",
            f"Put that model back, or train again: gag rog train {graph} --questions FILE.jsonl",
        )
    model = PathModel(with_adapter(loaded, trained.adapter(workspace, graph), "rog"), loaded.tokenizer)
    parts = {"planning": name != "rog-unplanned", "reasoning": name != "rog-paths"}
    return ReasoningOnGraphs(opened, model, workspace.config.rog, **parts)


def variant(method: ReasoningOnGraphs, name: str) -> ReasoningOnGraphs:
    """The same graph and model under another of NAMES."""
    return ReasoningOnGraphs(
        method.graph, method.model, method.config, planning=name != "rog-unplanned", reasoning=name != "rog-paths"
    )


def from_shelf(shelf: Shelf, domain: str | None) -> ReasoningOnGraphs:
    """For the shelf: `domain` is the graph's name."""
    return _on(shelf, domain, "rog")


def paths_from_shelf(shelf: Shelf, domain: str | None) -> ReasoningOnGraphs:
    """`rog-paths` for the shelf."""
    return _on(shelf, domain, "rog-paths")


def unplanned_from_shelf(shelf: Shelf, domain: str | None) -> ReasoningOnGraphs:
    """`rog-unplanned` for the shelf."""
    return _on(shelf, domain, "rog-unplanned")


def _on(shelf: Shelf, graph: str | None, name: str) -> ReasoningOnGraphs:
    if graph is None:
        raise ConfigError(f"The method {name} needs a graph.", "Name one with --graph NAME; gag graph list shows them.")
    return build(shelf.workspace, graph, name)
