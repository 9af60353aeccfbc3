"""`gag demo`: two private domains built, asked and compared, in minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gag.cli.output import results, write_json
from gag.cli.progress import shown_progress


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the workspace is made.", show_default=True)] = Path("demo"),
    fast: Annotated[
        bool,
        typer.Option("--fast", help="A few documents of each lab and less training: a few minutes; numbers are lower."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the rows of results.json instead of tables.")] = False,
) -> None:
    """Build two fictional labs as private domains with real training, ask them, and compare the methods."""
    from dataclasses import asdict

    from gag.cli.output import notes
    from gag.demo.run import Demo

    with shown_progress() as progress:
        rows = Demo(folder, notes() if json else results(), fast=fast, on_progress=progress).run()
    if json:
        write_json([asdict(row) for row in rows])
