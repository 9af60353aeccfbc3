"""Methods `gag` and `gag-oracle`: one continuous token, by the router's choice or the question's own domain."""

from __future__ import annotations

from collections.abc import Sequence

from gag.answering import Prepared
from gag.records import GENERAL, Question, Route
from gag.system import GAG


class Injected:
    """The whole system; with `oracle`, a question's `domain` takes the place of the router's choice."""

    def __init__(self, system: GAG, *, oracle: bool = False) -> None:
        self.system, self.base, self.oracle = system, system.base, oracle
        self.name = "gag-oracle" if oracle else "gag"

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        """Prompts with slots and their vectors; general prompts for the general route."""
        routes = [Route(q.domain or GENERAL, {}) for q in questions] if self.oracle else None
        return self.system.prepare(questions, routes)
