"""The updated module beside the present one: the expert trained on, the projector kept or trained on, new prototypes.

Every step's folder is named by the hash of what it depends on, as in a build: an interrupted update goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from gag.build_models import TrainedExpert
from gag.config import AlignmentConfig, ExpertConfig
from gag.domain import EXPERT, PROJECTOR, DomainModule, ModuleSpec, check_base, check_expert, load_module, write_module
from gag.errors import DomainError
from gag.manifest import read_manifest
from gag.models.base import Base
from gag.models.loading import load_causal_lm
from gag.models.projector import ProjectorShape, projector_from_tensors
from gag.pipeline import Build
from gag.preflight import check_ahead, check_place
from gag.progress import Progress, silent
from gag.records import Question, content_hash, questions_hash
from gag.sources import Sources
from gag.steps import PROJECTOR_FILE, AlignmentStep, Steps, code_version, said
from gag.training.alignment import alignment_examples
from gag.training.counterfactual import changed_answers, foreign_texts_hash
from gag.training.expert import ADAPTER, ExpertData, train_expert
from gag.training.foreign import NEAR_VERSION
from gag.updating.plan import Plan
from gag.updating.promotion import history
from gag.workspace import Workspace


@dataclass
class Candidate:
    """The steps from the `present` module and a plan to the module that may take its place."""

    workspace: Workspace
    present: DomainModule
    plan: Plan
    on_progress: Progress = silent

    def module(self, base: Base) -> DomainModule:
        """All steps, and the updated module in runs/<domain>/update-<key>/module; one that is there is kept."""
        check_base(self.present, base.fingerprint, base.hidden_size)
        config, root = self.workspace.config, self.workspace.root
        check_place(config, self.workspace.modules, root=root)
        if config.update.projector != "keep":
            check_ahead(config, self.present.prompts, self._pairs, config.models.expert, root=root)
        expert = self._expert()
        folder = None if self.workspace.config.update.projector == "keep" else self._projector(expert, base)
        bank = self._build(self.plan.kept).prototypes()
        trained = "kept" if folder is None else folder.name
        key = content_hash("update", self.present.provenance.get("key"), expert.key, trained, bank.parent.name)
        target = self._steps.folder("update", key) / "module"
        kept = _kept(target, key)
        if kept is not None:
            self.on_progress("module", 1, 1, "kept")
            return kept
        prototypes = load_file(bank)["prototypes"]
        module = write_module(
            target,
            self._spec(key, prototypes),
            projector=self.present.projector_state() if folder is None else load_file(folder / PROJECTOR_FILE),
            prototypes=prototypes,
            expert_adapter=expert.adapter,
        )
        self.on_progress("module", 1, 1, str(target))
        return module

    def _expert(self) -> TrainedExpert:
        """Train the present adapter on, with the new pairs and the replayed ones."""
        models, prompts = self.workspace.config.models, self.present.prompts
        loaded = load_causal_lm(models.expert, root=self.workspace.root).told("expert", self.on_progress)
        check_expert(self.present, loaded.fingerprint)
        config = self._expert_config
        key = content_hash(
            "expert update",
            loaded.fingerprint,
            str(loaded.model.dtype),
            self._hashes(f"{EXPERT}/"),
            config.deciding(),
            said(prompts.expert("?")),
            questions_hash(self._pairs),
        )
        folder = self._steps.folder("expert", key)
        kept = (folder / ADAPTER).is_dir()
        data = ExpertData(prompts, self._pairs, start=self.present.expert_path)
        adapter = train_expert(loaded, data, config, folder, on_progress=self.on_progress)
        hashes = {"qa": questions_hash(self.plan.kept)}
        self._steps.note(folder, "expert", key, data=hashes, pairs=self.plan.known.to_json())
        if kept:
            self.on_progress("expert", 1, 1, "kept")
        return TrainedExpert(models.expert.source, loaded.revision, adapter, key)

    def _projector(self, expert: TrainedExpert, base: Base) -> Path:
        """Train the present projector on, on the states of the same pairs under the updated expert."""
        build, config, readout = self._build(self._pairs, base), self._alignment_config, self.present.readout
        store = build.states(expert)
        key = content_hash(
            "projector update",
            base.fingerprint,
            str(base.model.dtype),
            store.folder.name,
            self._hashes(PROJECTOR),
            said(self.present.prompts.domain("?", readout.slots)),
            config.deciding(self.present.projector.dropout),
            questions_hash(self._pairs),
            foreign_texts_hash(),
            *([NEAR_VERSION] if changed_answers(config) else []),
        )
        folder = self._steps.folder("projector", key)
        if (folder / PROJECTOR_FILE).is_file():
            self.on_progress("projector", 1, 1, "kept")
            return folder
        states = store.load([q.question for q in self._pairs])
        torch.manual_seed(config.seed)
        shape = ProjectorShape(states[0].shape[-1], base.hidden_size, readout.slots, len(readout.layers))
        module = projector_from_tensors(self.present.projector, shape, self.present.projector_state())
        examples = alignment_examples(base, self.present.prompts, self._pairs, states, readout.slots, config)
        step = AlignmentStep("projector", config, examples, build.counterfactuals(expert, store))
        return self._steps.aligned(
            base, module.requires_grad_(True), step, folder, data={"qa": questions_hash(self._pairs)}
        )

    def _spec(self, key: str, prototypes: Tensor) -> ModuleSpec:
        """The present module's, with what changed and what it came from."""
        present = self.present
        provenance = {
            **present.provenance,
            "key": key,
            "code_version": code_version(),
            "config": self.workspace.config.model_dump(mode="json", exclude={"domains"}),
            "data": {"qa": questions_hash(self.plan.kept)},
            "counts": {"qa": len(self.plan.kept)},
            "metrics": {},
            "history": [*history(present), {"made": "updated", "key": key[:12], **self.counts}],
        }
        changed = {
            "version": _next(present.version),
            "routing": present.routing.model_copy(update={"prototypes": len(prototypes)}),
            "provenance": provenance,
        }
        return ModuleSpec(**{**{name: getattr(present, name) for name in ModuleSpec.model_fields}, **changed})

    @property
    def counts(self) -> dict[str, Any]:
        """What the update is made of, in numbers."""
        plan = self.plan
        return {
            "documents": len(plan.documents),
            "new": len(plan.new),
            "replayed": len(plan.replay),
            "dropped": plan.dropped,
        }

    @cached_property
    def _pairs(self) -> list[Question]:
        return [*self.plan.new, *self.plan.replay]

    @property
    def _expert_config(self) -> ExpertConfig:
        config, update = self.workspace.config.expert, self.workspace.config.update
        chosen = {
            "method": "lora",
            "epochs": update.epochs or 0.75 * config.epochs,
            "learning_rate": update.learning_rate or config.for_pairs(len(self.plan.kept)).learning_rate / 4,
            "full_rate_steps": 0,
            "pretrain_epochs": 0,
        }
        return config.model_copy(update=chosen)

    @property
    def _alignment_config(self) -> AlignmentConfig:
        config, update = self.workspace.config.alignment, self.workspace.config.update
        rate = update.projector_learning_rate or config.learning_rate / 2
        chosen = {"epochs": update.projector_epochs, "learning_rate": rate, "max_steps": None, "dev_share": 0.0}
        return config.model_copy(update=chosen)

    def _build(self, pairs: Sequence[Question], base: Base | None = None) -> Build:
        """The steps of a build on these pairs alone."""
        sources = Sources(pairs=tuple(pairs))
        return Build(self.workspace, self.present.name, sources, on_progress=self.on_progress, base=base)

    def _hashes(self, start: str) -> dict[str, str]:
        """The present module's files whose names begin so, with their sha256."""
        files = read_manifest(self.present.folder, ())
        return {name: digest for name, digest in files.items() if name.startswith(start)}

    @property
    def _steps(self) -> Steps:
        return Steps(self.workspace, self.present.name, self.on_progress)


def _kept(folder: Path, key: str) -> DomainModule | None:
    try:
        module = load_module(folder)
    except DomainError:
        return None
    return module if module.provenance.get("key") == key else None


def _next(version: str) -> str:
    return str(int(version) + 1) if version.isdecimal() else f"{version}+1"
