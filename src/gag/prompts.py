"""Prompts as data: messages made of template text, untrusted text and slots.

Nothing here is a string that gets re-parsed: what a user types stays an `Untrusted` part until it is tokenised, so no
text of theirs can become a slot, a message border or a special token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gag.config import PromptsConfig


@dataclass(frozen=True)
class Untrusted:
    """Text from outside (a question, a passage, a background): tokenised as plain text, always."""

    text: str


@dataclass(frozen=True)
class Slots:
    """`count` consecutive positions that injected vectors fill."""

    count: int


Part = str | Untrusted | Slots

PARAPHRASES: tuple[tuple[str, str], ...] = (
    ("Background:", "\nThis says the same as the following text."),
    ("The knowledge", " can be written out in full as follows."),
    ("Write out in your own words what this holds:", ""),
    ("Here is a text in short:", "\nGive it in full."),
    ("Knowledge:", "\nWhat does it say? Say it as a text."),
    ("Put into words what is meant by", "."),
    ("Summary:", "\nThe passage behind it reads:"),
    ("What is another way to say", "?"),
)
"""Requests to write out what a slot holds: what stands before the slots and after them (xRAG's pretraining)."""


@dataclass(frozen=True)
class Message:
    """One chat message; plain `str` parts are the template's own text."""

    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Prompts:
    """The templates of one domain: the workspace's wording with the domain's field and style filled in."""

    templates: PromptsConfig
    field: str
    style: str = ""

    def expert(self, question: str) -> tuple[Message, ...]:
        """What the domain's expert is asked."""
        system = self._parts(self.templates.expert_system, {})
        user = Message("user", self._parts(self.templates.expert_user, {"question": Untrusted(question)}))
        return (Message("system", system), user) if system else (user,)

    def domain(self, question: str, slots: int) -> tuple[Message, ...]:
        """What the base is asked on a domain route, with `slots` positions to inject into."""
        parts: dict[str, Part] = {"question": Untrusted(question), "knowledge": Slots(slots)}
        return (Message("user", self._parts(self.templates.base_domain, parts)),)

    def context(self, question: str, context: str) -> tuple[Message, ...]:
        """The domain prompt with text in place of the slots, for methods that add text."""
        parts = {"question": Untrusted(question), "knowledge": Untrusted(" " + context)}
        return (Message("user", self._parts(self.templates.base_domain, parts)),)

    def injected_context(self, question: str, slots: int, context: str) -> tuple[Message, ...]:
        """The domain prompt with the slots where they always are and text after them."""
        known = (Slots(slots), Untrusted("\n" + context))
        parts = self._parts(self.templates.base_domain, {"question": Untrusted(question), "knowledge": known[0]})
        place = parts.index(known[0])
        return (Message("user", (*parts[: place + 1], known[1], *parts[place + 1 :])),)

    def general(self, question: str) -> tuple[Message, ...]:
        """What the base is asked on the general route: the request and the question, nothing else."""
        return (Message("user", self._parts(self.templates.base_general, {"question": Untrusted(question)})),)

    @staticmethod
    def paraphrase(number: int, slots: int) -> tuple[Message, ...]:
        """A request to write out what the slots hold, in wording `number` (any number: the wordings take turns)."""
        before, after = PARAPHRASES[number % len(PARAPHRASES)]
        return (Message("user", tuple(part for part in (before, Slots(slots), after) if part)),)

    def to_json(self) -> dict[str, object]:
        """The templates, field and style, for module.json and for hashing."""
        return {"templates": self.templates.model_dump(), "field": self.field, "style": self.style}

    @staticmethod
    def from_json(row: Mapping[str, object]) -> Prompts:
        """The inverse of `to_json`."""
        return Prompts(PromptsConfig.model_validate(row["templates"]), str(row["field"]), str(row["style"]))

    def _parts(self, template: str, values: Mapping[str, Part]) -> tuple[Part, ...]:
        style = f"{self.style.strip()} " if self.style.strip() else ""
        known: dict[str, Part] = {"field": self.field, "style": style, **values}
        parts: list[Part] = []
        for piece in re.split(r"(\{(?:" + "|".join(known) + r")\})", template):
            part = known[piece[1:-1]] if piece[:1] == "{" and piece[1:-1] in known else piece
            if isinstance(part, str) and parts and isinstance(parts[-1], str):
                parts[-1] += part
            elif part != "":
                parts.append(part)
        return tuple(parts)
