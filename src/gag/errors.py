"""The errors of this package: one line that says what and where, and a hint that says what to do."""

from __future__ import annotations


class GagError(Exception):
    """Base of every error a user can cause or meet; `exit_code` is the command line's."""

    exit_code = 1

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)  # both, or the error could not be pickled between processes
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}"


class InputError(GagError):
    """A data file or a record in it cannot be used; names the file and the line."""

    exit_code = 2


class ConfigError(GagError):
    """A workspace file, preset or `--set` override is wrong."""

    exit_code = 2


class ModelError(GagError):
    """A model cannot be found, loaded or used as asked."""

    exit_code = 2


class DomainError(GagError):
    """A domain module is missing, damaged, or does not fit this base or encoder."""

    exit_code = 2


class MissingExtra(GagError):
    """An optional dependency is not installed; the hint is the exact install command."""

    exit_code = 2


class BusyError(GagError):
    """Another process is already working on the same thing."""

    exit_code = 2


class RunError(GagError):
    """Something failed while running: no disk space, a failed worker, a changed base."""

    exit_code = 1
