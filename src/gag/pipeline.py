"""Build a domain module: expert -> knowledge states -> projector -> prototypes -> module.

Every step's folder is named by the hash of what it depends on, so a step whose inputs did not change is kept, an
interrupted one goes on, and nothing of another domain is ever touched.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from gag.atomic import new_file
from gag.build_models import BuildModels, TrainedExpert
from gag.config import DomainConfig, ModelConfig
from gag.domain import DomainModule, ModelReference, ModuleSpec, Routing, load_module, write_module
from gag.errors import DomainError
from gag.models import chat
from gag.models.base import Base
from gag.models.device import choose_device, choose_dtype
from gag.models.expert import Expert
from gag.models.loading import LoadedModel, load_causal_lm, load_tokenizer
from gag.models.projector import ConstantToken, Projector, ProjectorShape
from gag.preflight import check_ahead, check_place
from gag.progress import Progress, silent
from gag.prompts import Prompts
from gag.records import Question, content_hash, questions_hash
from gag.routing.prototypes import question_bank
from gag.sources import Material, Sources
from gag.steps import PROJECTOR_FILE, AlignmentStep, Steps, code_version, said
from gag.training.alignment import Example, alignment_examples, split_by_group
from gag.training.counterfactual import changed_answers, counterfactual_pairs, foreign_texts_hash, shipped_texts
from gag.training.expert import ADAPTER, MODEL, ExpertData, train_expert
from gag.training.foreign import NEAR_VERSION, tokenizer_pieces
from gag.training.learnt import Learnt, learnt
from gag.training.pretraining import FIELD, Pretraining
from gag.training.processes import processes
from gag.training.states import StateStore, fill, fill_forced, states_key
from gag.training.warm_start import warm_start_targets
from gag.workspace import Workspace


@dataclass
class Build:
    """The steps of one domain's build, each of which brings the earlier ones about first.

    A `base` that is loaded already may be given: one that the workspace's configuration describes.
    """

    workspace: Workspace
    name: str
    sources: Sources = field(default_factory=Sources)
    on_progress: Progress = silent
    report_to: Sequence[str] = ()
    base: Base | None = None

    def __post_init__(self) -> None:
        self.workspace = self.workspace.of(self.name)
        self._checked: set[str] = set()
        self._models = BuildModels(self.workspace, lambda *told: self.on_progress(*told), self.base)

    def expert(self, *, ahead: bool = False) -> TrainedExpert:
        """Train the domain's expert, or take the one that exists already.

        `ahead` refuses before the training what later steps would refuse (`preflight.check_ahead`).
        """
        pairs_hash = questions_hash(self.questions)  # refused before a model is loaded
        given = self.sources.expert or self._domain.expert
        if given is not None:
            return self._models.existing_expert(given)
        config = self.workspace.config
        chosen = config.expert.for_pairs(len(self.questions))
        model = config.models.expert
        if chosen.method == "full":  # small updates of bfloat16 weights would be rounded away
            model = model.model_copy(update={"dtype": "float32"})
        loaded = self._models.told("expert", load_causal_lm(model, root=self.workspace.root))
        documents = self.material.documents
        documents_hash = content_hash([[d.id, d.title, d.text] for d in documents])
        key = content_hash(
            "expert",
            loaded.fingerprint,
            str(loaded.model.dtype),
            chosen.deciding(),
            said(self._prompts.expert("?")),
            pairs_hash,
            documents_hash,
        )
        folder = self._step_folder("expert", key)
        kept = (folder / (ADAPTER if chosen.method == "lora" else MODEL)).is_dir()
        if ahead and not kept:
            self._check_ahead(config.models.expert)
        if not kept and chosen.learning_rate != config.expert.learning_rate:
            lower = f"learning rate {chosen.learning_rate:g} in place of {config.expert.learning_rate:g}"
            self.on_progress("expert", 1, 1, f"{lower}, since there are {len(self.questions):,} pairs")
        target = train_expert(
            loaded,
            ExpertData(self._prompts, self.questions, documents),
            chosen,
            folder,
            on_progress=self.on_progress,
            report_to=self.report_to,
        )
        self._steps.note(folder, "expert", key, data=self._data_hashes, pairs=self.material.marks)
        if kept:
            self.on_progress("expert", 1, 1, "kept")
        if chosen.method == "lora":
            return TrainedExpert(config.models.expert.source, loaded.revision, target, key)
        read_in, _ = choose_dtype(config.models.expert.dtype, choose_device(config.models.expert.device))
        return TrainedExpert(str(target.relative_to(self.workspace.root)), None, None, content_hash(key, str(read_in)))

    def states(self, expert: TrainedExpert) -> StateStore:
        """Read the knowledge states of every question that the projector learns from."""
        config = self.workspace.config
        key = states_key(expert.key, said(self._prompts.expert("?")), config.readout)
        store = StateStore(self._step_folder("states", key))
        questions = [q.question for q in self.align_questions]
        if store.missing(questions):
            self._check_ahead(self._models.described(expert))
            fill(store, self._models.expert(expert, self._prompts), questions, config.readout, self.on_progress)
        else:
            self.on_progress("states", 1, 1, "kept")
        return store

    def learnt(self, expert: TrainedExpert, store: StateStore) -> Learnt | None:
        """Say how much of its pairs the expert knows, of those that the projector learns too.

        Only answers for which a background has room count; None where there are none, or nothing is decoded.
        """
        readout = self.workspace.config.readout
        if readout.mode != "generate":
            return None
        here = (self.sources.expert or self._domain.expert) is None
        taught = {(q.question, q.answers) for q in self.questions}
        writes = load_tokenizer(self._models.described(expert), root=self.workspace.root)
        pairs = [
            pair
            for pair in self.align_questions
            if (not here or (pair.question, pair.answers) in taught)
            and len(chat.encode_answer(pair.answers[0], writes)) - 1 <= readout.max_new_tokens
        ]
        found = learnt(store, pairs)
        if found is not None:
            mend = "halve expert.learning_rate, or raise expert.epochs" if here else "this expert knows other things"
            self.on_progress("learnt", 1, 1, f"{found}{'' if found.enough else f': too little; {mend}'}")
        return found

    def projector(self, expert: TrainedExpert, store: StateStore) -> Path:
        """Train the projector and return its folder; the base is proven unchanged."""
        config = self.workspace.config.projector
        known = self.learnt(expert, store)
        pretraining = None
        if config.pretrain_pairs:
            pretraining = projector_pretraining(self.workspace, self._models.base, self._models.without_adapter(expert))
        network: object = config.model_dump()
        if pretraining is not None:
            network = [network, pretraining.key]
        elif self.workspace.config.alignment.counterfactual:
            network = [network, foreign_texts_hash()]
        if changed_answers(self.workspace.config.alignment):
            network = [network, NEAR_VERSION]
        folder = self._aligned_folder("projector", store, network)
        if (folder / PROJECTOR_FILE).is_file():
            self.on_progress("projector", 1, 1, "kept")
            return folder
        states = store.load([q.question for q in self.align_questions])
        torch.manual_seed(self.workspace.config.alignment.seed)
        module = Projector(config, self._shape(states[0].shape[-1]))
        if pretraining is not None:
            module.load_state_dict(pretraining.tensors(self.on_progress))
        else:
            targets = self._warm_start_targets(store) if config.warm_start == "regression" else None
            module.initialise(states, self._models.base.table.weight, targets)
        extra = self.counterfactuals(expert, store)
        return self._align("projector", module, states, folder, extra, learnt=known and asdict(known))

    def constant(self) -> Path:
        """Train the control that knows nothing of the question, as the projector is trained; return its folder.

        Brings about the expert and the states first, since its questions and their order are the projector's.
        """
        store = self.states(self.expert(ahead=True))
        folder = self._aligned_folder("constant", store, None)
        if (folder / PROJECTOR_FILE).is_file():
            self.on_progress("constant", 1, 1, "kept")
            return folder
        states = store.load([q.question for q in self.align_questions])
        torch.manual_seed(self.workspace.config.alignment.seed)
        module = ConstantToken(self.workspace.config.readout.slots, self._models.base.table.weight)
        # As many steps as the projector, whose counterfactual pairs would only mislead a token that cannot see them.
        return self._align("constant", module, states, folder)

    def counterfactuals(self, expert: TrainedExpert, store: StateStore) -> list[Example]:
        """Examples whose background says something else than is true (`training.counterfactual`)."""
        config, questions = self.workspace.config, self.align_questions
        count = round(config.alignment.counterfactual * len(questions))
        if not count:
            return []
        near = config.alignment.counterfactual_near
        pairs = counterfactual_pairs(
            questions,
            shipped_texts(),
            count,
            config.alignment.seed,
            near=near,
            pieces=tokenizer_pieces(self._models.base.tokenizer) if near else [],
            fits=self._has_room(expert),
        )
        fill_forced(store, lambda: self._models.expert(expert, self._prompts), pairs, config.readout, self.on_progress)
        states = store.load_forced(pairs)
        return alignment_examples(
            self._models.base, self._prompts, pairs, states, config.readout.slots, config.alignment
        )

    def _has_room(self, expert: TrainedExpert) -> Callable[[Question, str], bool]:
        """Whether a text can be both what the expert writes and what the base answers to a question."""
        config, base = self.workspace.config, self._models.base
        writes = load_tokenizer(self._models.described(expert), root=self.workspace.root)

        @cache
        def room(question: str) -> int:
            asked = base.encode(self._prompts.domain(question, config.readout.slots))
            return min(config.alignment.max_length, base.context) - len(asked.ids)

        def fits(question: Question, text: str) -> bool:
            written = len(chat.encode_answer(text, writes)) - 1  # without the end of the turn
            answered = len(chat.encode_answer(text, base.tokenizer))
            return written <= config.readout.max_new_tokens and answered <= room(question.question)

        return fits

    def _warm_start_targets(self, store: StateStore) -> Tensor:
        """What each slot should be near to: the base's embeddings of the backgrounds that the expert wrote."""
        texts = [store.background(q.question) or q.answers[0] for q in self.align_questions]
        return warm_start_targets(self._models.base, texts, self.workspace.config.readout.slots)

    def _aligned_folder(self, step: str, store: StateStore, network: object) -> Path:
        """The folder of an alignment, named by all that it depends on; `network` is the trained module's config."""
        base, config = self._models.base, self.workspace.config
        alignment = config.alignment
        if step == "constant":  # which never sees a counterfactual pair, but takes as many steps
            alignment = alignment.model_copy(update={"counterfactual_near": 0.0})
        key = content_hash(
            step,
            base.fingerprint,
            str(base.model.dtype),
            store.folder.name,
            said(self._prompts.domain("?", self.workspace.config.readout.slots)),
            network,
            alignment.deciding(config.projector.dropout),
            questions_hash(self.align_questions),
        )
        return self._step_folder(step, key)

    def _align(
        self,
        step: str,
        module: nn.Module,
        states: list[Tensor],
        folder: Path,
        extra: Sequence[Example] = (),
        **noted: Any,
    ) -> Path:
        """Train `module` on the domain's pairs; keep weights, history, loss curve and what is `noted` in `folder`."""
        base, config = self._models.base, self.workspace.config
        examples = alignment_examples(
            base, self._prompts, self.align_questions, states, config.readout.slots, config.alignment
        )
        steps = config.alignment.max_steps
        if step == "constant" and steps is None:
            learnt, _ = split_by_group(examples, config.alignment.dev_share, config.alignment.seed)
            count = len(learnt) + round(config.alignment.counterfactual * len(examples))
            steps = -(-count // config.alignment.batch_size) * config.alignment.epochs
        chosen = config.alignment.model_copy(update={"max_steps": steps})
        return self._steps.aligned(
            base, module, AlignmentStep(step, chosen, examples, extra), folder, data=self._data_hashes, **noted
        )

    def prototypes(self) -> Path:
        """Build the domain's prototype bank from its questions and return its file."""
        config, encoder = self.workspace.config, self._models.encoder
        key = content_hash(
            "prototypes",
            encoder.fingerprint,
            encoder.pooling,
            config.router.model_dump(),
            questions_hash(self.questions),
        )
        path = self._step_folder("prototypes", key) / "prototypes.safetensors"
        kept = path.is_file()
        processes().wait_for_everyone()  # nobody writes before everybody has looked
        if kept:
            self.on_progress("prototypes", 1, 1, "kept")
        elif processes().is_main_process:
            bank = question_bank([q.question for q in self.questions], encoder, config.router)
            self._steps.note(path.parent, "prototypes", key, data=self._data_hashes)
            with new_file(path) as partial:
                partial.write_bytes(save({"prototypes": bank}))
            self.on_progress("prototypes", 1, 1, f"{len(bank)} from {len(self.questions)} questions")
        processes().wait_for_everyone()
        return path

    def module(self) -> DomainModule:
        """All steps, and the module folder at their end; an equal module already there is kept."""
        check_place(self.workspace.config, self.workspace.modules, root=self.workspace.root)
        expert = self.expert(ahead=True)
        folder = self.projector(expert, self.states(expert))
        bank = self.prototypes()
        config = self.workspace.config
        generation, said_to = config.generation.model_dump(), self._prompts.to_json()
        places = [expert.source, expert.revision, config.models.base.source, config.models.encoder.source]
        key = content_hash("module", expert.key, folder.name, bank.parent.name, generation, said_to, places)
        target = self.workspace.module(self.name)
        kept = self._kept_module(target, key)
        processes().wait_for_everyone()  # nobody writes before everybody has looked
        if kept is not None:
            self.on_progress("module", 1, 1, "kept")
            return kept
        if not processes().is_main_process:
            processes().wait_for_everyone()
            return load_module(target)
        prototypes = load_file(bank)["prototypes"]
        module = write_module(
            target,
            self._spec(expert, folder, len(prototypes), key),
            projector=load_file(folder / PROJECTOR_FILE),
            prototypes=prototypes,
            expert_adapter=expert.adapter,
        )
        processes().wait_for_everyone()
        self.on_progress("module", 1, 1, str(target))
        return module

    def run(self, step: Callable[[Build], Any]) -> Any:
        """`step` of this build, alone: raises BusyError while another process builds the same domain."""
        with self._steps.alone():
            return step(self)

    def _check_ahead(self, expert: ModelConfig) -> None:
        """Once for an expert: what was refused before its training is not looked for again before it is read."""
        if expert.source not in self._checked:
            check_ahead(self.workspace.config, self._prompts, self.align_questions, expert, root=self.workspace.root)
            self._checked.add(expert.source)

    def _spec(self, expert: TrainedExpert, projector_folder: Path, prototypes: int, key: str) -> ModuleSpec:
        config = self.workspace.config
        loaded = self._models.without_adapter(expert)
        run = json.loads((projector_folder / "step.json").read_text("utf-8"))
        encoder = self._models.encoder
        return ModuleSpec(
            name=self.name,
            base=_reference(self._models.base_loaded),
            expert=_reference(loaded),
            readout=config.readout,
            projector=config.projector,
            prompts=self._prompts,
            routing=Routing(
                encoder=ModelReference(
                    id=config.models.encoder.source,
                    revision=encoder.loaded.revision if encoder.loaded is not None else None,
                    fingerprint=encoder.fingerprint,
                    hidden_size=encoder.dimension,
                ),
                prototypes=prototypes,
            ),
            generation=config.generation,
            provenance={
                "key": key,
                "code_version": code_version(),
                "config": config.model_dump(mode="json", exclude={"domains"}),
                "domain": self._domain.model_dump(mode="json"),
                "data": {"qa": questions_hash(self.questions), "align_qa": questions_hash(self.align_questions)},
                "counts": {"qa": len(self.questions), "align_qa": len(self.align_questions)},
                "metrics": _metrics(run),
            },
        )

    def _kept_module(self, target: Path, key: str) -> DomainModule | None:
        try:
            module = load_module(target)
        except DomainError:
            return None
        return module if module.provenance.get("key") == key else None

    def _shape(self, d_expert: int) -> ProjectorShape:
        readout = self.workspace.config.readout
        return ProjectorShape(d_expert, self._models.base.hidden_size, readout.slots, len(readout.layers))

    @property
    def _steps(self) -> Steps:
        return Steps(self.workspace, self.name, self.on_progress, self.report_to)

    def _step_folder(self, step: str, key: str) -> Path:
        return self._steps.folder(step, key)

    @property
    def _data_hashes(self) -> dict[str, str]:
        return {"qa": questions_hash(self.questions)}

    @property
    def _domain(self) -> DomainConfig:
        return self.workspace.domain(self.name)

    @property
    def _prompts(self) -> Prompts:
        return self.workspace.prompts(self.name)

    @cached_property
    def material(self) -> Material:
        """The pairs and documents that this build, or a method beside it, is made from.

        Raises InputError where pairs are about passages that are gone or say something else now.
        """
        found = Material(self.workspace, self.name, self.sources)
        found.check_passages()
        return found

    @property
    def questions(self) -> list[Question]:
        """The pairs that the expert learns."""
        return self.material.questions

    @property
    def align_questions(self) -> list[Question]:
        """The pairs that the projector learns."""
        return self.material.align_questions

    @property
    def all_pairs(self) -> list[Question]:
        """The pairs that either of them learns."""
        return self.material.all_pairs


def projector_pretraining(workspace: Workspace, base: Base, expert: LoadedModel) -> Pretraining:
    """The projector's pretraining for a workspace's choices: nothing of a domain but the model its expert is on."""
    config = workspace.config
    prompts = Prompts(config.prompts, FIELD, "")
    plain = Expert(expert.model, expert.tokenizer, prompts)
    return Pretraining(base, plain, expert.fingerprint, prompts, config, shipped_texts())


def _metrics(run: Mapping[str, Any]) -> dict[str, float]:
    """What a module says of its making, from its projector's step.json."""
    known = run.get("learnt") or {}
    return {
        **{f"expert_{name}": known[name] for name in ("contains", "token_f1") if name in known},
        "alignment_loss": run["losses"][-1][1],
        **({"dev_nll": min(x for _, x in run["dev_losses"])} if run["dev_losses"] else {}),
    }


def _reference(loaded: LoadedModel) -> ModelReference:
    table: Any = loaded.model.get_input_embeddings()
    return ModelReference(
        id=loaded.source,
        revision=loaded.revision,
        fingerprint=loaded.fingerprint,
        hidden_size=int(table.weight.shape[1]),
    )
