"""Fields of a row as texts and lists of answers; what is of another kind is refused with file, line and the mend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gag.evaluation.datasets.rows import Row
from gag.records import refuse_written_list

_SHOWN = 12


def pick(row: Row, *names: str) -> Any:
    """The value of the first of `names` that the row has; raises InputError that says which fields it has instead."""
    for name in names:
        if name in row.fields:
            return row.fields[name]
    found = ", ".join(sorted(map(str, row.fields))[:_SHOWN]) or "nothing"
    raise row.refused(f"there is no field {' or '.join(map(repr, names))} (found: {found})")


def text(row: Row, *names: str) -> str:
    """The non-empty text under the first of `names`, without outer white space; raises InputError."""
    value = pick(row, *names)
    if not isinstance(value, str) or not value.strip():
        raise row.refused(f"{' or '.join(map(repr, names))} is {value!r:.60}, not a text")
    return value.strip()


def identifier(row: Row, *names: str) -> str:
    """A text or number under the first of `names` as text; "" where the row has none of them."""
    value = next((row.fields[name] for name in names if row.fields.get(name) not in (None, "")), "")
    return str(value) if isinstance(value, (str, int)) else ""


def answer_list(row: Row, value: Any) -> tuple[str, ...]:
    """A list of texts as accepted answers: each once, blank ones left out; raises InputError for anything else."""
    if isinstance(value, str):
        refuse_written_list(value, row.where)
    if not isinstance(value, (list, tuple)) or not all(isinstance(answer, str) for answer in value):
        raise row.refused(f"the answers are {value!r:.60}, not a list of texts")
    for answer in value:
        refuse_written_list(answer, row.where)
    answers = distinct(value)
    if not answers:
        raise row.refused("there is no answer; take a part of the set that has them")
    return answers


def distinct(answers: Iterable[str]) -> tuple[str, ...]:
    """The answers without outer white space, each once, in order, without the blank ones."""
    return tuple(dict.fromkeys(answer.strip() for answer in answers if answer.strip()))


def records(value: Any) -> list[Mapping[str, Any]]:
    """A list of objects, also where it came from the hub as one object of lists (as its sequences are stored)."""
    if isinstance(value, Mapping):
        columns = {key: column for key, column in value.items() if isinstance(column, list)}
        length = min((len(column) for column in columns.values()), default=0)
        return [{key: column[i] for key, column in columns.items()} for i in range(length)]
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
