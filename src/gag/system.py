"""GAG: the base, the router and the attached domain modules; questions in, answers out (paper: the whole of it)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from gag.answering import Prepared, complete, injected
from gag.config import Config, GenerationChoice, GenerationConfig, ModelConfig, ModelsConfig, ReadoutConfig
from gag.domain import DomainModule, ModelReference, check_base, check_encoder, check_expert, load_module
from gag.errors import ConfigError, DomainError, GagError
from gag.models import chat
from gag.models.base import Base
from gag.models.chat import EncodedPrompt
from gag.models.expert import Expert, Reading
from gag.models.experts import ExpertPool
from gag.models.fingerprint import frozen
from gag.models.loading import cache_folder, load_causal_lm, load_encoder
from gag.models.projector import Projector, ProjectorShape, projector_from_tensors, stacked_states
from gag.models.refinement import refined
from gag.prompts import Prompts
from gag.records import GENERAL, Answer, Question, Route
from gag.routing.encoder import Encoder
from gag.routing.prototypes import cached_bank, general_questions
from gag.routing.router import Router
from gag.workspace import workspace_of


@dataclass(frozen=True)
class Attached:
    """A domain in use: its module, expert and projector."""

    module: DomainModule
    expert: Expert
    projector: Projector
    readout: ReadoutConfig

    @property
    def prompts(self) -> Prompts:
        """The domain's prompts."""
        return self.module.prompts

    def read(self, questions: Sequence[str]) -> list[Reading]:
        """What the expert knows about each question."""
        return self.expert.read(questions, self.readout)

    def said(self, readings: Sequence[Reading], base: Base, generation: GenerationConfig) -> list[list[int]]:
        """The backgrounds as the base would write them: as long as an answer at most, with an end where there was one.

        Empty for one that the expert was less sure of than `refine_above`. Raises ConfigError where the readout writes
        none.
        """
        if self.readout.mode != "generate":
            raise ConfigError(
                f"generation.refine_steps needs a background, and {self.module.name} reads without one (readout.mode "
                f"{self.readout.mode}).",
                "Leave generation.refine_steps at 0.",
            )
        out = []
        for reading in readings:
            sure = reading.probability is not None and reading.probability >= generation.refine_above
            text = chat.encode_answer(reading.background, base.tokenizer) if reading.background and sure else []
            ended = reading.tokens < self.readout.max_new_tokens
            out.append((text if ended else text[:-1])[: generation.max_new_tokens])
        return out

    def refined(
        self,
        base: Base,
        prompts: Sequence[EncodedPrompt],
        readings: Sequence[Reading],
        vectors: Tensor,
        generation: GenerationConfig,
        *,
        batch_size: int = 32,
    ) -> Tensor:
        """The vectors [questions, slots, d_base] refined under the prompts they fill, where `generation` says so."""
        if not generation.refine_steps:
            return vectors
        texts = self.said(readings, base, generation)
        return refined(base, prompts, vectors, texts, generation.refine_steps, batch_size=batch_size)

    @torch.no_grad()
    def vectors(self, readings: Sequence[Reading]) -> Tensor:
        """The injected vectors [questions, slots, d_base], float32."""
        device = next(self.projector.parameters()).device
        states, mask = stacked_states([r.states for r in readings], device)
        out: Tensor = self.projector(states, mask)
        return out


class GAG:
    """A frozen base that answers from attached domain modules; `general` is a route like any other.

    `read_batch_size` says of a domain how many questions its expert reads at once, in place of what its module says.
    Several threads may ask at the same time, and attach and detach: one at a time of them reads with an expert.
    """

    def __init__(
        self,
        base: Base,
        router: Router,
        experts: ExpertPool,
        *,
        generation: GenerationConfig | None = None,
        general: Prompts | None = None,
        batch_size: int = 32,
        read_batch_size: Callable[[str], int] | None = None,
    ) -> None:
        self.base, self.router, self.experts = base, router, experts
        self.generation = generation or GenerationConfig()
        self.general = general or Prompts(Config().prompts, GENERAL)
        self.batch_size, self.read_batch_size = batch_size, read_batch_size
        self._attached: dict[str, Attached] = {}
        self._experts_in_use = threading.RLock()  # one model switches between the domains' adapters

    @classmethod
    def from_pretrained(
        cls,
        base: str | ModelConfig | None = None,
        domains: Sequence[str | Path] = (),
        *,
        expert: str | ModelConfig | None = None,
        encoder: str | ModelConfig | None = None,
    ) -> GAG:
        """A system by names: `base` and others are hub ids, folders or `package:NAME`; `domains` module folders.

        What is not given is taken from the first module, paths of its workspace from there; another place than the
        modules name must hold the same weights. Raises ModelError and DomainError.
        """
        first = load_module(Path(domains[0])) if domains else None
        defaults = ModelsConfig()
        models = ModelsConfig(
            base=_model(base, first.base if first else None, defaults.base),
            expert=_model(expert, first.expert if first else None, defaults.expert),
            encoder=_model(encoder, first.routing.encoder if first else None, defaults.encoder),
        )
        root = workspace_of(first.folder) if first else None
        model = cls.from_config(Config(models=models), root=root)
        model.experts.moved, model.read_batch_size = expert is not None, None
        for folder in domains:
            model.attach(folder)
        return model

    @classmethod
    def from_config(cls, config: Config, domains: Sequence[str | Path] = (), *, root: Path | None = None) -> GAG:
        """A system as a workspace's configuration describes it, with these module folders attached."""
        base = Base.from_loaded(load_causal_lm(config.models.base, root=root))
        model = cls(
            base,
            general_router(config, root=root),
            ExpertPool(config.models.expert, root),
            generation=config.generation,
            general=Prompts(config.prompts, GENERAL),
            read_batch_size=lambda name: config.of(name).readout.batch_size,
        )
        for folder in domains:
            model.attach(folder)
        return model

    @property
    def domains(self) -> dict[str, Attached]:
        """The attached domains by name."""
        return dict(self._attached)

    def attach(self, folder: str | Path) -> str:
        """Attach a domain module, verified, and return its name; nothing of the other domains changes.

        Raises DomainError when the module is damaged or does not fit this base, encoder or expert model.
        """
        module = load_module(Path(folder))
        with self._experts_in_use:
            if module.name in self._attached:
                raise DomainError(
                    f"A domain {module.name!r} is attached already.", f"Detach it first: detach({module.name!r})."
                )
            check_base(module, self.base.fingerprint, self.base.hidden_size)
            check_encoder(module, self.router.encoder.fingerprint)
            projector = _projector(module).to(self.base.device)
            try:
                expert = self._expert(module)
            except GagError:
                self.experts.forget_unused()
                raise
            try:
                self.router.attach(module.name, module.prototypes())
            except DomainError:
                self.experts.detach(module.name)
                raise
            readout = module.readout
            if self.read_batch_size is not None:
                readout = readout.model_copy(update={"batch_size": self.read_batch_size(module.name)})
            self._attached[module.name] = Attached(module, expert, projector, readout)
            return module.name

    def detach(self, name: str) -> None:
        """Forget a domain and free what only it used; raises DomainError when it is not attached."""
        with self._experts_in_use:
            self._domain(name)
            self.router.detach(name)
            self.experts.detach(name)
            del self._attached[name]

    def route(self, question: str) -> Route:
        """The route of one question and every route's score."""
        return self.router.route([question])[0]

    def answer(self, question: str, *, domain: str | None = None) -> Answer:
        """The answer to one question; `domain` (or `general`) takes the place of the router's choice."""
        return self.answer_all([Question("question", question)], domain=domain)[0]

    def answer_all(
        self, questions: Sequence[Question], *, domain: str | None = None, generation: GenerationChoice = None
    ) -> list[Answer]:
        """Answers in the questions' order: routed together, then answered a route and a batch at a time."""
        routes = None if domain is None else [Route(domain, {})] * len(questions)
        prepared = self.prepare(questions, routes, generation=generation)
        return complete(self.base, prepared, "gag", batch_size=self.batch_size)

    def prepare(
        self,
        questions: Sequence[Question],
        routes: Sequence[Route] | None = None,
        *,
        generation: GenerationChoice = None,
    ) -> list[Prepared]:
        """Questions routed (unless `routes` are given), their background read and projected; ready for the base.

        `generation` takes the place of the route's own, or of the choices in it that it names. Raises DomainError for
        a route that is not attached.
        """
        started = time.perf_counter()
        if routes is None:
            routes = self.router.route([q.question for q in questions])
        seconds = {"route": (time.perf_counter() - started) / max(1, len(questions))}
        prepared: list[Prepared | None] = [None] * len(questions)
        for name in dict.fromkeys(route.name for route in routes):
            members = [i for i, route in enumerate(routes) if route.name == name]
            batch = [questions[i] for i in members]
            if name == GENERAL:
                found = self._general(batch, self.generation.under(generation))
            else:
                attached = self._domain(name)
                found = self._injected(attached, batch, attached.module.generation.under(generation))
            for i, item in zip(members, found, strict=True):
                prepared[i] = replace(item, route=routes[i], timings={**seconds, **item.timings})
        return [item for item in prepared if item is not None]

    def stream(self, question: str, *, domain: str | None = None) -> Iterator[str]:
        """The answer to one question, piece by piece."""
        routes = None if domain is None else [Route(domain, {})]
        yield from self.stream_prepared(self.prepare([Question("question", question)], routes)[0])

    def stream_prepared(self, item: Prepared) -> Iterator[str]:
        """The answer to a prepared question, piece by piece."""
        vectors = None if item.vectors is None else item.vectors.unsqueeze(0)
        return self.base.stream(item.prompt, vectors, item.generation)

    def frozen(self) -> AbstractContextManager[None]:
        """A context that raises RunError at its end if a byte of the base changed in it."""
        return frozen(self.base.model, "the base")

    def _expert(self, module: DomainModule) -> Expert:
        """The module's expert, its weights those that the module was made with."""
        adapter, model = module.expert_path, module.expert
        loaded = self.experts.loaded(model.id, model.revision, bare=adapter is None, fingerprint=model.fingerprint)
        check_expert(module, loaded.fingerprint)
        return self.experts.attach(
            module.name, module.prompts, model.id, model.revision, adapter, fingerprint=model.fingerprint
        )

    def _general(self, questions: Sequence[Question], generation: GenerationConfig) -> list[Prepared]:
        room = generation.max_new_tokens
        return [
            Prepared(q, self.base.encode(self.general.general(q.question), room=room), generation) for q in questions
        ]

    def _injected(
        self, attached: Attached, questions: Sequence[Question], generation: GenerationConfig
    ) -> list[Prepared]:
        with self._experts_in_use:
            started = time.perf_counter()
            self._domain(attached.module.name)  # nobody detached it meanwhile
            readings = attached.read([q.question for q in questions])
            read = time.perf_counter()
        vectors = attached.vectors(readings)
        timings = {
            "background": (read - started) / len(questions),
            "projector": (time.perf_counter() - read) / len(questions),
        }
        prepared = injected(self.base, attached.prompts, questions, vectors, generation)
        if generation.refine_steps:
            started = time.perf_counter()
            prompts = [item.prompt for item in prepared]
            vectors = attached.refined(self.base, prompts, readings, vectors, generation, batch_size=self.batch_size)
            timings["refine"] = (time.perf_counter() - started) / len(questions)
        return [
            replace(
                item,
                vectors=vector,
                background=reading.background,
                background_probability=reading.probability,
                timings=timings,
            )
            for item, vector, reading in zip(prepared, vectors, readings, strict=True)
        ]

    def _domain(self, name: str) -> Attached:
        if name not in self._attached:
            have = ", ".join(sorted(self._attached)) or "none"
            raise DomainError(f"The domain {name!r} is not attached (attached: {have}).", "Attach its module first.")
        return self._attached[name]


def general_router(config: Config, *, root: Path | None = None) -> Router:
    """A router with the general route alone; its bank is computed once and kept in the cache."""
    encoder = Encoder.from_loaded(load_encoder(config.models.encoder, root=root), config.router)
    questions = [q.question for q in general_questions(config.router, root)]
    bank = cached_bank(questions, encoder, config.router, cache_folder() / "prototypes")
    return Router(encoder, {GENERAL: bank})


def _projector(module: DomainModule) -> Projector:
    readout = module.readout
    width = module.expert.hidden_size * readout.parts
    shape = ProjectorShape(width, module.base.hidden_size, readout.slots, len(readout.layers))
    try:
        return projector_from_tensors(module.projector, shape, module.projector_state())
    except RuntimeError:
        raise DomainError(
            f"The projector of {module.name} does not have the weights that its module.json describes.",
            f"Build the module again: gag build {module.name}",
        ) from None


def _model(given: str | ModelConfig | None, known: ModelReference | None, default: ModelConfig) -> ModelConfig:
    if given is not None:
        config = given if isinstance(given, ModelConfig) else default.model_copy(update={"source": given})
        path = Path(config.source).expanduser()  # one that is here is meant, not one of a workspace
        return config.model_copy(update={"source": str(path.resolve())}) if path.exists() else config
    if known is not None:
        return default.model_copy(update={"source": known.id, "revision": known.revision})
    return default
