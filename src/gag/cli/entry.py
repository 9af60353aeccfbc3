"""The entry point `gag`: runs a verb and turns every error into two lines on stderr and an exit code.

Exit codes: 0 done, 1 failed while running, 2 bad usage or bad input, 130 interrupted. GAG_DEBUG=1 shows tracebacks.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import NoReturn

import typer
from typer.main import get_command

from gag.cli.app import build_app
from gag.cli.output import say_error, say_interrupted
from gag.cli.quiet import third_parties_quiet
from gag.errors import GagError

INTERRUPTED = 130
_DISK = "Make room, then run the same command again: it goes on from where it was."


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `gag` with these arguments, those of the process by default, and exit."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run `gag` and return the exit code; nothing but SystemExit of a reader that went away leaves it."""
    try:
        with third_parties_quiet():
            code = get_command(build_app()).main(list(arguments), prog_name="gag", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        return _reader_went_away()
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):
            return _reader_went_away()
        raise
    except BaseException as error:
        if os.environ.get("GAG_DEBUG", "") not in ("", "0"):
            traceback.print_exc()
        return _explained(error, arguments)
    if code == INTERRUPTED:  # typer makes this of KeyboardInterrupt
        say_interrupted()
    return int(code or 0)


def _explained(error: BaseException, arguments: Sequence[str]) -> int:
    """Say what went wrong and what to do, and give the exit code."""
    if isinstance(error, GagError):
        say_error(error.message, error.hint)
        return error.exit_code
    if isinstance(error, typer.TyperException):
        if not error.format_message().strip():  # no arguments: the help was shown
            return 2
        say_error(error.format_message(), f"See: {_help_of(error)}")
        return 2
    if isinstance(error, typer.Abort):
        say_error("Nothing was done: no answer was given.", "Give the answer as an option instead.")
        return 1
    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
        say_error(f"{error.strerror or error}{_place(error)}.", "Name another file or folder.")
        return 2
    if _disk_is_full(error):
        say_error(f"There is no space left on the device{_place(error)}.", _DISK)
    elif isinstance(error, OSError):
        say_error(f"{error.strerror or error}{_place(error)}.", "Check that file or folder and its permissions.")
    elif isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        say_error("The memory does not suffice.", "Lower the batch sizes (readout, expert, alignment.batch_tokens).")
    else:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        say_error(
            f"gag {' '.join(arguments[:1])} failed in a way it should not: {what}",
            "See where with GAG_DEBUG=1 before the same command, and please report it.",
        )
    return 1


def _help_of(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"{getattr(context, 'command_path', 'gag')} --help"


def _disk_is_full(error: BaseException) -> bool:
    """Also where a library says so in its own words: safetensors, or torch when it saves a trainer's state."""
    said = ("No space left on device", "os error 28", "PytorchStreamWriter failed writing", "Disk quota exceeded")
    return any(
        getattr(one, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(text in str(one) for text in said)
        for one in _chain(error)
    )


def _place(error: BaseException) -> str:
    names = [name for one in _chain(error) if (name := getattr(one, "filename", None))]
    return f": {os.fsdecode(names[0])}" if names else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those it came from."""
    one: BaseException | None = error
    seen: set[int] = set()
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _reader_went_away() -> int:
    """`gag … | head`: nobody reads any more, so what is left to flush goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.__stdout__.fileno() if sys.__stdout__ is not None else 1)
    return 1
