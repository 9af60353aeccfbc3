"""What an update is made of: the pairs a module knows, those that are new, and which are learnt, replayed and asked.

Nothing here is drawn at random: a hash of the pairs' wordings decides, so that an interrupted update chooses the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gag.atomic import new_file
from gag.config import UpdateConfig
from gag.corpus.synthesis.splits import documents_of
from gag.domain import DomainModule
from gag.errors import DomainError
from gag.evaluation.statistics import FEWEST
from gag.records import Question, content_hash, pair_mark, questions_hash
from gag.sources import Material
from gag.workspace import Workspace

OLD, LEARNT, NEW = "old", "learnt", "new"
"""The kinds of questions that are asked before a promotion, see `Plan.asked`."""
FEW_FACTS = 8
"""New facts of which a wording is asked, at least, where that leaves as many that are not."""


@dataclass(frozen=True)
class Known:
    """The pairs that a module learnt, and those that were there and kept from it, by `pair_mark`."""

    trained: frozenset[str]
    held: frozenset[str]

    def to_json(self) -> dict[str, list[str]]:
        """As step.json holds it under `pairs`."""
        return {"trained": sorted(self.trained), "held": sorted(self.held)}


@dataclass(frozen=True)
class Plan:
    """What one update trains on and asks.

    `new` pairs are learnt, `replay` are old ones learnt again. `asked` are the gate's questions by kind: `old` are of
    old documents that no module learnt, `learnt` of facts that the present one did (pairs that this update does not
    replay, and wordings that an earlier one kept back), `new` are wordings of new facts that are kept back now.
    `remarks` say, by kind, where other questions had to do. `kept` are all pairs that the updated module has learnt,
    `known` those and what was kept from it; `dropped` old pairs are gone, `untested` new ones are for testing alone.
    """

    new: list[Question]
    replay: list[Question]
    asked: dict[str, list[Question]]
    remarks: dict[str, str]
    kept: list[Question]
    known: Known
    dropped: int
    untested: int

    @cached_property
    def documents(self) -> list[str]:
        """The documents that new pairs are about, those asked included."""
        pairs = [*self.new, *self.asked[NEW]]
        return sorted({document for question in pairs for document in documents_of(question)})


def known_pairs(workspace: Workspace, module: DomainModule, material: Material) -> Known:
    """The pairs that `module` was made from; raises DomainError where nothing tells.

    The step that trained its expert says; for a module that was built before steps said so, the pairs that are there
    now, if they are still those.
    """
    runs, wanted = workspace.runs(module.name), module.provenance.get("data", {}).get("qa")
    kept = runs / "update" / f"known-{str(wanted)[:12]}.json"
    for found in _rows([*sorted(runs.glob("expert-*/step.json")), kept]):
        if found.get("data", {}).get("qa") == wanted and "pairs" in found:
            return Known(frozenset(found["pairs"]["trained"]), frozenset(found["pairs"]["held"]))
    if questions_hash(material.questions) != wanted:
        raise DomainError(
            f"What the module {module.name} was trained on is not known: the pairs are not those it was built from, "
            "and no step in runs/ says which they were.",
            f"Name the pairs with --qa FILE.jsonl, or build it again: gag build {module.name}",
        )
    marks = material.marks
    with new_file(kept) as partial:
        partial.write_text(json.dumps({"data": {"qa": wanted}, "pairs": marks}) + "\n", encoding="utf-8")
    return Known(frozenset(marks["trained"]), frozenset(marks["held"]))


def plan_update(known: Known, learnable: Sequence[Question], held: Sequence[Question], config: UpdateConfig) -> Plan:
    """What is new among `learnable` pairs and those `held` back for testing, and what is done about it."""
    seed, both = config.seed, known.trained | known.held
    fresh = [q for q in learnable if pair_mark(q) not in both]
    learnt = [q for q in learnable if pair_mark(q) in known.trained]
    kept_back = [q for q in learnable if pair_mark(q) in known.held]
    tests = [q for q in held if pair_mark(q) in known.held]
    unheard = [q for q in held if pair_mark(q) not in both]
    remarks: dict[str, str] = {}
    asked_new = wordings = _held_wordings(fresh, config)
    if not wordings:
        asked_new = first(fresh, "new", seed, config.questions)
        remarks[NEW] = (
            f"fewer than {FEWEST} new facts have several wordings, so new pairs are asked just as they were trained on"
        )
    taken = {q.id for q in wordings}
    new = [q for q in fresh if q.id not in taken]
    asked_learnt = first([*kept_back, *_sampled(learnt, seed)], "learnt", seed, config.questions)
    if not tests:
        others = "only facts that were learnt are asked" if asked_learnt else "nothing old is asked"
        remarks[OLD] = f"no old document was kept for testing, so {others}"
    asked_again = {q.id for q in asked_learnt}
    replayed = min(config.max_replay, round(config.replay * len(new)))
    kept = [*learnt, *new]
    return Plan(
        new=new,
        replay=first([q for q in learnt if q.id not in asked_again], "replay", seed, replayed),
        asked={OLD: first(tests, "old", seed, config.questions), LEARNT: asked_learnt, NEW: asked_new},
        remarks=remarks,
        kept=kept,
        known=Known(_marks(kept), _marks([*kept_back, *tests, *unheard, *wordings])),
        dropped=len(known.trained - _marks(learnt)),
        untested=len(unheard),
    )


def first(questions: Sequence[Question], purpose: str, seed: int, count: int) -> list[Question]:
    """At most `count` of `questions`, in an order that looks drawn and is always the same."""
    return sorted(questions, key=lambda q: content_hash(purpose, seed, pair_mark(q)))[:count]


def _sampled(learnt: Sequence[Question], seed: int) -> list[Question]:
    """A quarter of the pairs, and where these ask fewer than FEWEST facts one pair of others; the rest is replayed."""
    drawn = first(learnt, "learnt", seed, len(learnt))
    sample = drawn[: len(drawn) // 4]
    facts = {_fact(question) for question in sample}
    for question in drawn[len(sample) :]:
        if len(facts) < FEWEST and _fact(question) not in facts:
            facts.add(_fact(question))
            sample.append(question)
    return sample


def _fact(question: Question) -> str:
    fact = question.meta.get("fact")
    return question.id if fact is None else str(fact)


def _held_wordings(pairs: Sequence[Question], config: UpdateConfig) -> list[Question]:
    """One wording each of a share of the facts that have several, of FEWEST at least; none where those are fewer."""
    facts: dict[str, list[Question]] = {}
    for question in pairs:
        if question.meta.get("fact") is not None:
            facts.setdefault(str(question.meta["fact"]), []).append(question)
    several = [wordings for wordings in facts.values() if len({q.question for q in wordings}) > 1]
    if len(several) < FEWEST or not config.held_share:
        return []
    one_each = [first(wordings, "wording", config.seed, 1)[0] for wordings in several]
    count = max(FEWEST, round(config.held_share * len(several)), min(FEW_FACTS, len(several) // 2))
    return first(one_each, "fact", config.seed, min(config.questions, count))


def _marks(questions: Sequence[Question]) -> frozenset[str]:
    return frozenset(map(pair_mark, questions))


def _rows(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        try:
            row = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(row, dict):
            yield row
