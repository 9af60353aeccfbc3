"""The shelf: every method of a workspace by name, over one loaded base; what a method needs is trained on the way.

A method's file has a function `from_shelf(shelf, domain)`; a package of yours registers one of the same shape under the
entry-point group `gag.methods`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING

from gag.config import Config, CorpusConfig, GenerationChoice, GenerationConfig, ModelConfig
from gag.domain import list_modules
from gag.errors import ConfigError, DomainError, GagError, InputError, ModelError
from gag.methods.method import Method
from gag.models.base import Base
from gag.models.experts import ExpertPool
from gag.models.loading import load_tokenizer
from gag.pipeline import Build
from gag.progress import Progress, silent
from gag.prompts import Prompts
from gag.records import GENERAL, Document, Passage, content_hash, read_documents, read_passages
from gag.steps import Steps
from gag.system import GAG, Attached
from gag.workspace import Workspace

if TYPE_CHECKING:
    from gag.models.tuned_copy import TunedCopy
    from gag.retrieval.late_interaction import TokenEncoder
    from gag.retrieval.store import PassageStore

GROUP = "gag.methods"
"""The entry-point group of methods from other packages."""

BUILT_IN = MappingProxyType(
    {
        "base": "gag.methods.base:from_shelf",
        "gag": "gag.methods.gag:from_shelf",
        "gag-oracle": "gag.methods.gag:oracle_from_shelf",
        "constant": "gag.methods.constant:from_shelf",
        "egc": "gag.methods.egc:from_shelf",
        "rag": "gag.methods.rag:from_shelf",
        "xrag": "gag.methods.xrag:from_shelf",
        "lora": "gag.methods.lora:from_shelf",
        "gag+rag": "gag.methods.gag_rag:both_from_shelf",
        "gag-or-rag": "gag.methods.gag_rag:fallback_from_shelf",
        "lora+rag": "gag.methods.lora:rag_from_shelf",
        "raft": "gag.methods.raft:from_shelf",
        "rog": "gag.methods.rog:from_shelf",
        "rog-paths": "gag.methods.rog:paths_from_shelf",
        "rog-unplanned": "gag.methods.rog:unplanned_from_shelf",
    }
)
"""The methods of this package and the functions that make them."""

ROUTED = frozenset({"base", "gag", "gag-oracle"})
"""The methods of this package that need no domain to be named."""

ON_GRAPHS = frozenset({"rog", "rog-paths", "rog-unplanned"})
"""Those whose domain is the name of a graph."""


def method_names() -> list[str]:
    """The names of all methods: this package's, then those of entry points."""
    return [*BUILT_IN, *sorted(set(_registered()) - set(BUILT_IN))]


def another_packages(name: str) -> EntryPoint | None:
    """Where another package registered this method; None for a method of this package."""
    return None if name in BUILT_IN else _registered().get(name)


def check_method(name: str) -> str:
    """`name` if there is such a method; raises ConfigError with the nearest known one."""
    known = method_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"There is no method {name!r}.{guess}", f"Known ones: {', '.join(known)}.")
    return name


class Shelf:
    """One base, system and workspace for all methods; `method` builds, and where needed trains, any of them once.

    `system` may be given loaded; `generation` takes the place of the workspace's and the modules' own. `left_out` are
    the problems of modules that could not be attached, by domain, `remarks` what an evaluation should say beside its
    numbers, `tuned` the adapters on copies of the base, by name.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        on_progress: Progress = silent,
        system: GAG | None = None,
        generation: GenerationChoice = None,
    ) -> None:
        self.workspace, self.on_progress, self.generation = workspace, on_progress, generation
        self.left_out: dict[str, GagError] = {}
        self.remarks: dict[str, str] = {}
        self.tuned: dict[str, TunedCopy] = {}
        self._given = system
        self._methods: dict[tuple[str, str | None], Method] = {}
        self._about: dict[tuple[str, str | None], set[str]] = {}
        self._making: list[set[str]] = []
        self._stores: dict[str, PassageStore] = {}
        self._passages: dict[str, list[Passage]] = {}

    @staticmethod
    def names() -> list[str]:
        """The names that `method` knows."""
        return method_names()

    def method(self, name: str, domain: str | None = None) -> Method:
        """The method of that name for `domain`; training it needs is done, or gone on with, under runs/<domain>/.

        Raises ConfigError for an unknown method or where it needs a domain, DomainError for an unknown domain, and
        whatever loading and training raise.
        """
        check_method(name)
        place = _place(name, domain)
        if place not in self._methods:
            if place[1] is not None and name not in ON_GRAPHS:
                self._check_domain(place[1])
            elif place[1] is None and name in BUILT_IN and name not in ROUTED | ON_GRAPHS:
                raise ConfigError(f"The method {name} needs a domain.", f"Name one with --domain ({self._have()}).")
            self._making.append(self._about.setdefault(place, set()))
            try:
                self._methods[place] = _made(name)(self, place[1])
            finally:
                self._making.pop()
        for about in self._about[place]:
            self._concerns(about)
        return self._methods[place]

    def remark(self, about: str, text: str) -> None:
        """Say beside the numbers of every method that is being made; `about` names it, and a later text replaces it."""
        self.remarks[about] = text
        self._concerns(about)

    def remarks_of(self, name: str, domain: str | None = None) -> dict[str, str]:
        """What an evaluation should say beside the numbers of a method that was made, by what each is about."""
        return {about: self.remarks[about] for about in sorted(self._about.get(_place(name, domain), ()))}

    def _concerns(self, about: str) -> None:
        for made in self._making:
            made.add(about)

    @cached_property
    def system(self) -> GAG:
        """The base with the router; modules are attached as methods need them."""
        return self._given or GAG.from_config(self.workspace.config, root=self.workspace.root)

    @property
    def base(self) -> Base:
        """The frozen base that every method but lora answers with."""
        return self.system.base

    def config(self, domain: str) -> Config:
        """The workspace's choices for a domain."""
        return self.workspace.config.of(domain)

    def chosen_generation(self, domain: str | None) -> GenerationConfig:
        """How methods without a module of their own write their answers."""
        config = self.workspace.config if domain is None else self.config(domain)
        return config.generation.under(self.generation)

    def prompts(self, domain: str) -> Prompts:
        """A domain's prompts."""
        return self.workspace.prompts(domain)

    def build(self, domain: str) -> Build:
        """The build of a domain, over the base that is loaded here."""
        return Build(self.workspace, domain, on_progress=self.on_progress, base=self.base)

    def steps(self, domain: str) -> Steps:
        """Where a method keeps what it trains for a domain."""
        return Steps(self.workspace, domain, self.on_progress)

    def attached(self, domain: str) -> Attached:
        """The domain's module in the system, built first where there is none but there are pairs to build it from."""
        if domain not in self.system.domains:
            folder = self.workspace.module(domain)
            if not folder.is_dir():
                if self.workspace.qa(domain) is None:
                    raise DomainError(
                        f"There is no domain module {domain!r} in {self.workspace.root}.",
                        f"Build it: gag build {domain} --qa FILE.jsonl",
                    )
                self.build(domain).run(Build.module)
            self.system.attach(folder)
        return self.system.domains[domain]

    def attach_all(self) -> None:
        """Attach every module of the workspace; those that cannot be used are named in `left_out`.

        Raises the first problem where none can be.
        """
        self.left_out = {}
        for listed in list_modules(self.workspace.modules):
            try:
                if listed.problem is not None:
                    raise listed.problem
                if listed.module is not None and listed.module.name not in self.system.domains:
                    self.system.attach(listed.module.folder)
            except (DomainError, ModelError) as error:
                self.left_out[listed.folder.name] = error
        if self.left_out and not self.system.domains:
            raise next(iter(self.left_out.values()))

    @cached_property
    def token_encoder(self) -> TokenEncoder:
        """What turns questions and passages into token vectors."""
        from gag.retrieval.late_interaction import token_encoder

        config = self.workspace.config
        return token_encoder(config.retrieval, config.models, root=self.workspace.root)

    def passages(self, domain: str) -> list[Passage]:
        """The domain's passages: its `passages`, or its `documents` cut, or what data/<domain>/ has of either.

        Raises InputError where there are none.
        """
        if domain not in self._passages:
            self._passages[domain] = self._read_passages(domain)
        return self._passages[domain]

    def store(self, domain: str) -> PassageStore:
        """The domain's passages, searchable; encoded first where they are new."""
        if domain not in self._stores:
            from gag.retrieval.store import PassageStore

            passages, encoder, config = self.passages(domain), self.token_encoder, self.config(domain)
            cut = self.workspace.domain(domain).passages is None and config.corpus.model_dump()
            folder = self.steps(domain).folder("store", content_hash("store", encoder.fingerprint, cut))
            self._stores[domain] = PassageStore.build(
                folder, passages, encoder, config.retrieval, on_progress=self.on_progress
            )
            what = "a ColBERT checkpoint"
            if encoder.kind != "colbert":
                what = "token embeddings of a sentence encoder, as no ColBERT checkpoint is configured"
            best = f"the best {config.retrieval.top_k} (xrag: the best one) of {len(passages)} passages"
            self.remark(f"retrieval {domain}", f"{domain}: {best}, by {encoder.name} ({what})")
        self._concerns(f"retrieval {domain}")
        return self._stores[domain]

    @cached_property
    def copy_config(self) -> ModelConfig:
        """The base once more, held as the frozen one is."""
        dtype = str(self.base.model.dtype).removeprefix("torch.")
        return self.workspace.config.models.base.model_copy(update={"dtype": dtype})

    @cached_property
    def copies(self) -> ExpertPool:
        """Copies of the base that adapters may change; the frozen one is not among them."""
        return ExpertPool(self.copy_config, self.workspace.root)

    def _read_passages(self, domain: str) -> list[Passage]:
        passages, documents = self.workspace.passage_files(domain)
        if passages is not None:
            return read_passages(passages)
        if documents is not None:
            return self._cut(read_documents(documents), self.config(domain).corpus)
        raise InputError(
            f"The domain {domain} has no passages to retrieve.",
            f"Set domains.{domain}.passages or .documents in gag.yaml, or put documents.jsonl into "
            f"{self.workspace.data(domain)}.",
        )

    def _cut(self, documents: list[Document], config: CorpusConfig) -> list[Passage]:
        from gag.corpus.chunk import chunk_document

        tokenizer = load_tokenizer(self.workspace.config.models.expert, root=self.workspace.root)
        return [
            passage
            for document in documents
            for passage in chunk_document(
                document, tokenizer, config.chunk_tokens, config.chunk_overlap, table_tokens=config.table_tokens
            )
        ]

    def _check_domain(self, domain: str) -> None:
        known = self._known()
        if domain not in known and not self.workspace.module(domain).is_dir():
            near = difflib.get_close_matches(domain, known, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise DomainError(
                f"There is no domain {domain!r} in {self.workspace.root}.{guess}",
                f"There are: {self._have()}. A new one begins with: gag build {domain} --qa FILE.jsonl",
            )

    def _known(self) -> list[str]:
        built = [path.name for path in self.workspace.modules.glob("[!.]*") if path.is_dir()]
        given = [path.name for path in (self.workspace.root / "data").glob("[!.]*") if path.is_dir()]
        attached = [] if self._given is None else list(self._given.domains)
        return sorted({*self.workspace.config.domains, *built, *given, *attached})

    def _have(self) -> str:
        return ", ".join(self._known()) or "none yet"


def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _made(name: str) -> Callable[[Shelf, str | None], Method]:
    """The function that makes the method; raises ConfigError where another package's cannot be used."""
    point = _registered().get(name)
    if name in BUILT_IN:
        if point is not None:
            raise ConfigError(
                f"The package {_package(point)} registers a method {name!r}, a name of this package.",
                "Rename or uninstall it.",
            )
        module, _, function = BUILT_IN[name].partition(":")
        made: Callable[[Shelf, str | None], Method] = getattr(import_module(module), function)
        return made
    assert point is not None

    def make(shelf: Shelf, domain: str | None) -> Method:
        with _plainly(point):
            method: Method = point.load()(shelf, domain)
            if not (isinstance(getattr(method, "name", None), str) and callable(getattr(method, "answer", None))):
                raise TypeError("it has no name and answer")
            return method

    return make


def _place(name: str, domain: str | None) -> tuple[str, str | None]:
    return name, None if domain == GENERAL else domain


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


@contextmanager
def _plainly(point: EntryPoint) -> Iterator[None]:
    """Whatever another package's method raises while it is made, as one error that names the package."""
    try:
        yield
    except GagError:
        raise
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ConfigError(
            f"The method {point.name!r} of the package {_package(point)} cannot be made ({what}).",
            "See docs/add-a-method.md, update that package, or uninstall it.",
        ) from error
