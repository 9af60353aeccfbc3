"""Every verb and flag, pinned; `gag --help` fast, without models; a reader that goes away."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from gag.cli.app import build_app

GOLDEN = Path(__file__).parent.parent / "golden" / "cli.txt"
Gag = Callable[..., Any]


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{path} {name}")


def described() -> str:
    blocks = []
    for path, command in commands(get_command(build_app()), "gag"):
        lines = [path, f"    {' '.join((command.help or '').split())}"]
        for parameter in command.params:
            names = (
                ", ".join(parameter.opts)
                if parameter.param_type_name == "option"
                else str(parameter.metavar or parameter.name)
            )
            many = " (repeatable)" if getattr(parameter, "multiple", False) else ""
            lines.append(f"  {names}{many}: {parameter.help}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def test_verbs_and_flags() -> None:
    """Regenerate on purpose: GAG_REGENERATE=1 pytest tests/cli/test_help.py"""
    text = described()
    if os.environ.get("GAG_REGENERATE") == "1":
        GOLDEN.write_text(text, "utf-8")
    assert text == GOLDEN.read_text("utf-8")


def test_every_parameter_has_help() -> None:
    verbs = [path for path, command in commands(get_command(build_app()), "gag") if not hasattr(command, "commands")]
    assert len(verbs) >= 16
    assert ": None" not in described()


def test_verbs_of_a_workspace_share_their_options() -> None:
    alone = {"gag init", "gag demo"}
    for path, command in commands(get_command(build_app()), "gag"):
        if not hasattr(command, "commands") and path not in alone:
            flags = {flag for parameter in command.params for flag in parameter.opts}
            assert {"--workspace", "-w", "--set", "--json"} <= flags, path


def test_no_arguments_show_the_help(gag: Gag) -> None:
    shown = gag()
    assert "build" in shown.out + shown.err
    assert "error" not in shown.err
    assert gag("ask", "--help").code == 0
    assert gag("--version").out.startswith("gag ")


def test_help_loads_no_model_library() -> None:
    code = (
        "import sys; from gag.cli.entry import run; run(['build', '--help']);"
        "print(sorted({'torch', 'transformers', 'trl', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_reader_that_goes_away_hears_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "gag.cli", "--version"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 1
