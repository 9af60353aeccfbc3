"""Texts and what each is compared with: what every metric with an encoder takes."""

from __future__ import annotations

from collections.abc import Sequence

from gag.errors import InputError


def check_references(texts: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Raises InputError when a text has no reference or the two differ in length, TypeError for one text as a list."""
    if len(texts) != len(references):
        raise InputError(
            f"{len(texts)} texts came with {len(references)} lists of references.",
            "Give one list of references a text.",
        )
    for number, accepted in enumerate(references):
        if isinstance(accepted, str):
            raise TypeError("references must be sequences of texts, not one text each")
        if not accepted:
            raise InputError(f"Text {number} has no reference.", 'Give the question one: "answers": ["…"].')
