"""What a comparison found: rows, every method's answers with their scores, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

from gag.evaluation.routing_tables import PrototypeMap, RoutingResult
from gag.evaluation.runner import Evaluated
from gag.evaluation.table import Row


@dataclass(frozen=True)
class Problem:
    """Something that went wrong and did not stop the rest: a whole method on a set, or single questions of it."""

    table: str
    method: str
    dataset: str
    message: str
    hint: str = ""
    questions: int | None = None
    """How many questions failed; None where the whole method did."""


@dataclass
class Found:
    """All that a comparison found. `main` and `general` are by dataset, then method."""

    rows: list[Row] = field(default_factory=list)
    main: dict[str, dict[str, Evaluated]] = field(default_factory=dict)
    general: dict[str, dict[str, Evaluated]] = field(default_factory=dict)
    routing: list[RoutingResult] = field(default_factory=list)
    prototype_map: PrototypeMap | None = None
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What methods say of how they were made, that a reader of their numbers should know."""
    seconds: float = 0.0

    @property
    def failed_methods(self) -> list[Problem]:
        """The problems of whole methods."""
        return [problem for problem in self.problems if problem.questions is None]
