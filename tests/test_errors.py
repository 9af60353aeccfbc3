"""Every error is one line of what, one of what to do, and an exit code."""

from __future__ import annotations

import pickle

import pytest

from gag import errors

KINDS = errors.GagError.__subclasses__()


def test_the_kinds_and_their_exit_codes() -> None:
    assert {kind.__name__: kind.exit_code for kind in KINDS} == {
        "InputError": 2,
        "ConfigError": 2,
        "ModelError": 2,
        "DomainError": 2,
        "MissingExtra": 2,
        "BusyError": 2,
        "RunError": 1,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_message_and_hint_survive_a_trip_between_processes(kind: type[errors.GagError]) -> None:
    error = pickle.loads(pickle.dumps(kind("The file is empty.", "Write a line.")))
    assert type(error) is kind
    assert (error.message, error.hint) == ("The file is empty.", "Write a line.")
    assert str(error) == "The file is empty.\n  Write a line."
