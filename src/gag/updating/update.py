"""Update a domain by what is new: read, synthesise, train on, measure what it costs, and only then take its place.

Every step goes on where it was interrupted. A candidate stays in runs/<domain>/update-<key>/, beside report.json.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gag.atomic import new_file
from gag.config import ReadoutConfig
from gag.corpus.ingest.ingest import Ingest, Ingested
from gag.corpus.synthesis.domain_pairs import domain_passages, keep_pairs, open_writer, synthesis_task, unasked
from gag.corpus.synthesis.journal import Remembered
from gag.corpus.synthesis.review import QaSet
from gag.corpus.synthesis.synthesis import Report, Synthesis
from gag.domain import DomainModule, load_module
from gag.errors import ConfigError, DomainError, InputError, RunError
from gag.models.base import Base
from gag.models.experts import ExpertPool
from gag.models.fingerprint import frozen
from gag.models.loading import load_causal_lm
from gag.progress import Progress, silent
from gag.sources import Material, Sources
from gag.steps import Steps
from gag.system import GAG, general_router
from gag.training.processes import processes
from gag.updating.candidate import Candidate
from gag.updating.gate import CANDIDATE, PRESENT, Asking, Measured, measure, refusals
from gag.updating.plan import Known, Plan, known_pairs, plan_update
from gag.updating.promotion import promote
from gag.workspace import Workspace

Agree = Callable[[Synthesis, Remembered], None]
"""Called before passages are sent to an endpoint; raises ConfigError where they must not be."""


@dataclass(frozen=True)
class Named:
    """What a command names: files and folders that are read first, whether what is gone goes, and a file of pairs."""

    paths: tuple[Path, ...] = ()
    prune: bool = False
    qa: Path | None = None


@dataclass
class Updated:
    """What one run did. `folder` holds the candidate and the report; None where there was nothing new to learn."""

    domain: str
    plan: Plan
    ingested: Ingested | None = None
    synthesised: Report | None = None
    folder: Path | None = None
    module: DomainModule | None = None
    measured: list[Measured] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    promoted: bool = False
    forced: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        plan = self.plan
        return {
            "domain": self.domain,
            "promoted": self.promoted,
            "forced": self.forced,
            "refused": self.refused,
            "documents": plan.documents,
            "left_out": {} if self.synthesised is None else self.synthesised.left_out,
            "pairs": {
                "new": len(plan.new),
                "replayed": len(plan.replay),
                "dropped": plan.dropped,
                "for_testing": plan.untested,
            },
            "remarks": plan.remarks,
            "measured": [row.to_json() for row in self.measured],
            "version": None if self.module is None else self.module.version,
            "folder": None if self.module is None else str(self.module.folder),
            "candidate": None if self.folder is None else str(self.folder / "module"),
            "seconds": {step: round(seconds, 3) for step, seconds in self.seconds.items()},
        }


class Update:
    """One update of one domain; `agree` is asked before passages leave the machine."""

    def __init__(
        self,
        workspace: Workspace,
        name: str,
        named: Named | None = None,
        *,
        on_progress: Progress = silent,
        agree: Agree | None = None,
    ) -> None:
        self.workspace, self.name, self.named = workspace.of(name), name, named or Named()
        self.on_progress, self.agree = on_progress, agree
        self._seconds: dict[str, float] = {}

    def run(self, *, force: bool = False) -> Updated:
        """All steps, alone; `force` promotes what the gate refuses.

        Raises DomainError where there is no module that can be updated, BusyError, and what reading, synthesis and
        training raise. A refusal raises nothing: see `Updated.refused`.
        """
        started = time.perf_counter()
        present = self._present()
        with Steps(self.workspace, self.name).alone():
            known = known_pairs(self.workspace, present, self._material)
            with self._timed("ingest"):
                ingested = self._ingest()
            with self._timed("synth"):
                synthesised = self._synthesise()
            plan = self._plan(known)
            done = Updated(self.name, plan, ingested, synthesised, seconds=self._seconds)
            if plan.new:
                self._learn(present, done, force)
        self._seconds["total"] = time.perf_counter() - started
        if done.folder is not None:
            self._report(done)
        return done

    def _present(self) -> DomainModule:
        """The module as it is; raises DomainError and ConfigError where it cannot be trained on."""
        if processes().num_processes > 1:
            raise ConfigError("gag update runs in one process.", "Start it without accelerate launch.")
        folder, config = self.workspace.module(self.name), self.workspace.config
        if not folder.is_dir():
            raise DomainError(f"There is no module of {self.name} to update.", f"Build it first: gag build {self.name}")
        module = load_module(folder)
        again = f"Build it again: gag build {self.name}"
        if module.expert_path is None or self.workspace.domain(self.name).expert is not None:
            raise DomainError(
                f"The module {self.name} has an expert that was given or trained whole; an update trains an adapter "
                "on that gag build made.",
                again,
            )
        unread = {"batch_size": ReadoutConfig().batch_size}  # what changes no state
        for key, its, asked in (
            ("readout", module.readout.model_copy(update=unread), config.readout.model_copy(update=unread)),
            ("projector", module.projector, config.projector),
            ("prompts", module.prompts, self.workspace.prompts(self.name)),
        ):
            if its != asked:
                raise DomainError(
                    f"The module {self.name} was built with another `{key}` than gag.yaml has now.",
                    f"{again}; or set `{key}` back.",
                )
        return module

    @property
    def _material(self) -> Material:
        """The pairs as they are on the disk now."""
        return Material(self.workspace, self.name, Sources(qa=self.named.qa))

    @property
    def _pairs_file(self) -> str | None:
        """What names the pairs where they are somebody's own file, which synthesis has no part in."""
        configured = f"domains.{self.name}.qa of gag.yaml" if self.workspace.domain(self.name).qa is not None else None
        return configured if self.named.qa is None else str(self.named.qa)

    def _plan(self, known: Known) -> Plan:
        """What the update is made of; raises InputError for a file of pairs that holds none the module learnt."""
        found = self._material
        plan = plan_update(known, found.questions, found.held, self.workspace.config.update)
        if self._pairs_file is not None and known.trained and plan.dropped == len(known.trained):
            raise InputError(
                f"None of the {plan.dropped} pairs that {self.name} learnt is in {self._pairs_file}: nothing could be "
                "replayed, and nothing would tell what is forgotten.",
                "Name a file that holds the old pairs and the new ones.",
            )
        return plan

    def _ingest(self) -> Ingested | None:
        paths, prune = self.named.paths, self.named.prune
        if not paths and not prune:
            return None
        if self._pairs_file is not None:
            raise ConfigError(
                f"The pairs of {self.name} come from {self._pairs_file}, so documents would teach it nothing.",
                f"Add pairs to that file and run gag update {self.name} without documents, or name no file of pairs.",
            )
        if self.workspace.domain(self.name).passages is not None:
            raise ConfigError(
                f"The passages of {self.name} come from domains.{self.name}.passages of gag.yaml, so documents would "
                "teach it nothing.",
                f"Add passages to that file and run gag update {self.name} without documents.",
            )
        done = Ingest(self.workspace, self.name, self.on_progress).run(paths, prune=prune)
        if done.failed and not done.taken and not done.unchanged:
            raise RunError(
                f"Nothing could be read: {done.failed[0][0]}: {done.failed[0][1]}.",
                f"Each file is listed with its reason in {done.files.journal}.",
            )
        return done

    def _synthesise(self) -> Report | None:
        """Pairs of the passages that nothing was asked about yet; those of passages that are gone are dropped.

        Passages that the writer can write nothing about are left out, and stay in the report.
        """
        made = self.workspace.data(self.name) / "passages.jsonl"
        if self._pairs_file is not None or not (made.is_file() or self.workspace.domain(self.name).passages):
            return None
        config = self.workspace.config.synthesis
        passages = domain_passages(self.workspace, self.name)
        todo = {passage.id for passage in unasked(self.workspace, self.name, config.style, passages)}
        if not todo:
            with QaSet(self.workspace.data(self.name)).alone() as pairs:
                pairs.replace(config.style, [], [], {p.id: p.text for p in passages}, asked=())
            return None
        task = synthesis_task(self.workspace, self.name, config, only=todo)
        with open_writer(self.workspace, self.name, config) as writer:
            run = Synthesis(task, writer, self.on_progress)
            if writer is not None and self.agree is not None:
                self.agree(run, writer)
            result = run.run()
        keep_pairs(self.workspace, self.name, result, task)
        if result.report.failed:
            raise RunError(
                f"{len(result.report.failed)} of {len(task.passages)} passages failed; nothing was trained.",
                "Run the same command again: it asks only for what is missing.",
            )
        return result.report

    def _learn(self, present: DomainModule, done: Updated, force: bool) -> None:
        config = self.workspace.config
        with ExitStack() as stack:
            with self._timed("train"):
                loaded = load_causal_lm(config.models.base, root=self.workspace.root)
                base = Base.from_loaded(loaded.told("base", self.on_progress))
                stack.enter_context(frozen(base.model, "the base"))
                candidate = Candidate(self.workspace, present, done.plan, self.on_progress).module(base)
            done.folder = candidate.folder.parent
            with self._timed("measure"):
                done.measured = self._measured(base, present, candidate, done)
        done.refused = refusals(done.measured, config.update, done.plan.dropped)
        done.module, done.forced = present, force and bool(done.refused)
        if not done.refused or force:
            gate = {"measured": [row.to_json() for row in done.measured], "refused": done.refused}
            done.module = promote(self.workspace, candidate, gate)
            done.promoted = True
            self.on_progress("promote", 1, 1, str(done.module.folder))

    def _measured(self, base: Base, present: DomainModule, candidate: DomainModule, done: Updated) -> list[Measured]:
        config, root = self.workspace.config, self.workspace.root
        router = general_router(config, root=root)
        system = GAG(base, router, ExpertPool(config.models.expert, root), generation=config.generation)
        asking = Asking(system, candidate.folder.parent / "answers", self.on_progress)
        asked = {kind: questions for kind, questions in done.plan.asked.items() if questions}
        now = asking.ask(present, PRESENT, asked)
        return measure(now, asking.ask(candidate, CANDIDATE, asked))

    def _report(self, done: Updated) -> None:
        assert done.folder is not None
        with new_file(done.folder / "report.json") as partial:
            partial.write_text(json.dumps(done.to_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[step] = time.perf_counter() - started


def rows_shown(measured: Sequence[Measured]) -> list[list[str]]:
    """The measurements as a table's lines: kind, questions, and for every metric present, candidate, difference."""
    kinds = list(dict.fromkeys(row.kind for row in measured))
    lines = []
    for kind in kinds:
        of_kind = [row for row in measured if row.kind == kind]
        line = [kind, str(of_kind[0].questions)]
        for row in of_kind:
            scale, digits = (100, 1) if row.metric == "token_f1" else (1, 3)
            d = row.difference
            values = [f"{value * scale:.{digits}f}" for value in (row.present, row.candidate)]
            ends = ", ".join(f"{end * scale:+.{digits}f}" for end in (d.low, d.high))
            line += [*values, f"{d.mean * scale:+.{digits}f} [{ends}]"]
        lines.append(line)
    return lines
