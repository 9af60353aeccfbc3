"""Methods `gag` and `gag-oracle`: one continuous token, by the router's choice or the question's own domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gag.answering import Prepared
from gag.config import GenerationChoice
from gag.methods.method import BaseBacked, Method
from gag.records import GENERAL, Question, Route
from gag.system import GAG

if TYPE_CHECKING:
    from gag.methods.shelf import Shelf


class Injected:
    """The whole system; with `oracle`, a question's `domain` takes the place of the router's choice.

    `domain` is the route of every question, `generation` takes the place of the routes' own.
    """

    def __init__(
        self,
        system: GAG,
        *,
        oracle: bool = False,
        domain: str | None = None,
        generation: GenerationChoice = None,
    ) -> None:
        self.system, self.base, self.oracle = system, system.base, oracle
        self.domain, self.generation = domain, generation
        self.name = "gag-oracle" if oracle else "gag"

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        """Prompts with slots and their vectors; general prompts for the general route."""
        routes = None
        if self.domain is not None or self.oracle:
            routes = [Route(self.domain or q.domain or GENERAL, {}) for q in questions]
        return self.system.prepare(questions, routes, generation=self.generation)


def from_shelf(shelf: Shelf, domain: str | None) -> Method:
    """For the shelf: every module of the workspace is a route, and that of `domain` is built where it is missing."""
    _attach(shelf, domain)
    if not shelf.system.domains:
        shelf.remark("modules", "There is no domain module, only the general route: gag is the base alone.")
    return BaseBacked(Injected(shelf.system, generation=shelf.generation))


def oracle_from_shelf(shelf: Shelf, domain: str | None) -> Method:
    """For the shelf, likewise; a question that names no domain takes the general route."""
    _attach(shelf, domain)
    return BaseBacked(Injected(shelf.system, oracle=True, generation=shelf.generation))


def _attach(shelf: Shelf, domain: str | None) -> None:
    if domain is not None:
        shelf.attached(domain)
    shelf.attach_all()
