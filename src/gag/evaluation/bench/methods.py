"""The methods of a comparison's workspace: domain modules built first, the loaded base shared from one to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType

from gag.methods.method import Method
from gag.methods.shelf import ON_GRAPHS, Shelf
from gag.models.base import Base
from gag.models.experts import ExpertPool
from gag.pipeline import Build
from gag.progress import Progress, silent
from gag.prompts import Prompts
from gag.records import GENERAL
from gag.routing.router import Router
from gag.system import GAG
from gag.workspace import Workspace

WITHOUT_MODULE = frozenset({"base", "rag", "xrag", "lora", "lora+rag", "raft"}) | ON_GRAPHS
"""Methods that need no domain module."""


class BuiltMethods:
    """A shelf whose domain modules are those of the workspace's choices: built, or built again, before they are used.

    `like` is a shelf over the same base, whose loaded models are used again. With `as_they_are` modules are neither
    built nor built again: they are their owner's.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        on_progress: Progress = silent,
        like: BuiltMethods | None = None,
        as_they_are: bool = False,
    ) -> None:
        system = None if like is None else _shared(like.shelf, workspace)
        self.shelf: Shelf = Shelf(workspace, on_progress=on_progress, system=system)
        self._built: set[str] = set(workspace.config.domains) if as_they_are else set()

    def remarks_of(self, name: str, domain: str | None = None) -> Mapping[str, str]:
        """The shelf's remarks on a method that was made."""
        return self.shelf.remarks_of(name, domain)

    def method(self, name: str, domain: str | None = None) -> Method:
        """The method; what it needs is trained first. Raises what building and loading raise."""
        domains = list(self.shelf.workspace.config.domains)
        if name not in WITHOUT_MODULE:
            for needed in domains if domain is None else [domain]:
                self._build(needed)
        method = self.shelf.method(name, domain)
        if name == "gag":  # routed without one of the domains, it would say something else than it seems to
            missing = [problem for one, problem in self.shelf.left_out.items() if one in domains]
            if missing:
                raise missing[0]
        return method

    def _build(self, domain: str) -> None:
        if domain not in self._built:
            if domain in self.shelf.system.domains:  # what lay there of an earlier run, under other choices
                self.shelf.system.detach(domain)
            self.shelf.build(domain).run(Build.module)
            self._built.add(domain)


class OpenBuilt:
    """Opens the methods of one workspace after another over the base that is loaded already.

    A context manager: at its end it raises RunError if a byte of a base changed in it. `kept` says of a workspace
    whether its modules are asked as they are.
    """

    def __init__(self, kept: Callable[[Workspace], bool] = lambda _: False) -> None:
        self._kept = kept
        self._last: BuiltMethods | None = None
        self._watched: dict[int, Base] = {}
        self._stack = ExitStack()

    def __enter__(self) -> OpenBuilt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def __call__(self, workspace: Workspace, *, on_progress: Progress = silent) -> BuiltMethods:
        """The workspace's methods; raises ModelError where a model cannot be loaded."""
        kept = self._kept(workspace)
        self._last = BuiltMethods(workspace, on_progress=on_progress, like=self._last, as_they_are=kept)
        system = self._last.shelf.system
        if id(system.base) not in self._watched:
            self._watched[id(system.base)] = system.base
            self._stack.enter_context(system.frozen())
        return self._last


def _shared(shelf: Shelf, workspace: Workspace) -> GAG | None:
    """A system of its own over the base and the router's encoder of `shelf`; None where the models differ."""
    theirs, mine = shelf.workspace.config, workspace.config
    if (theirs.models, theirs.router) != (mine.models, mine.router):
        return None
    loaded = shelf.system
    return GAG(
        loaded.base,
        Router(loaded.router.encoder, {GENERAL: loaded.router.banks[GENERAL]}),
        ExpertPool(mine.models.expert, workspace.root),
        generation=mine.generation,
        general=Prompts(mine.prompts, GENERAL),
        read_batch_size=lambda name: mine.of(name).readout.batch_size,
    )
