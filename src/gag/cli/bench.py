"""`gag bench`: methods compared on domains and general questions, with a report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gag.cli.options import AsJson, Overrides
from gag.cli.output import note, warn, write_json, write_text
from gag.cli.progress import shown_progress
from gag.errors import ConfigError, RunError

if TYPE_CHECKING:
    from gag.evaluation.bench.config import BenchConfig
    from gag.evaluation.bench.found import Found

DATA_VARIABLE = "GAG_DATA"


def bench(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="BENCH", help="The bench.yaml: domains, methods, metrics, tables.", show_default=False),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where results, report and the bench's workspace go.")
    ] = Path("results"),
    preset: Annotated[
        str | None,
        typer.Option("--preset", metavar="NAME", help="A shipped bench: paper-tables, here or quick; under BENCH."),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Fewer questions and far fewer steps: a look, not numbers. Alone: --preset quick."
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="The folder that `data:` paths are in; else $GAG_DATA."),
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", metavar="DIR", help="Compare in this workspace, not in one under --out."),
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Compare methods on domains, question by question, and write tables and a report.

    Every answer is kept as it comes: interrupted anywhere, the same command goes on. --set reaches the bench's own
    keys, and those of gag.yaml under `settings`: --set settings.alignment.epochs=1
    """
    from gag.evaluation.bench.bench import Bench
    from gag.evaluation.bench.methods import OpenBuilt
    from gag.evaluation.bench.place import alone, keeps_modules, open_place
    from gag.evaluation.bench.results import write_found
    from gag.evaluation.judges import judges

    if quick and file is None and preset in (None, "here"):
        quick, preset = False, "quick"
    config = _config(file, preset, data, workspace, overrides or [], quick=quick)
    _check_extras()
    with alone(out.expanduser()), shown_progress() as on_progress:
        place = open_place(config, out.expanduser())
        with OpenBuilt(lambda workspace: keeps_modules(config, workspace)) as open_methods:
            found = Bench(place, open_methods, judges(config.judge, place.out / "scores"), on_progress).run()
        write_found(place, found)
    _say(config, found, place.out, as_json=as_json)


def _config(
    file: Path | None,
    preset: str | None,
    data: Path | None,
    workspace: Path | None,
    overrides: list[str],
    *,
    quick: bool,
) -> BenchConfig:
    from gag.evaluation.bench.loading import bench_preset_names, load_bench

    if file is None and preset is None:
        raise ConfigError(
            "There is nothing to compare: no BENCH file and no --preset.",
            f"Write a bench.yaml (docs/bench.md), or take a shipped one: {', '.join(bench_preset_names())}.",
        )
    named = data if data is not None else Path(given) if (given := os.environ.get(DATA_VARIABLE)) else None
    if named is not None and not named.is_dir():
        raise ConfigError(f"The data folder {named} does not exist.", "Check --data (or $GAG_DATA).")
    if workspace is None and file is None and preset is not None:
        workspace = _own_workspace(preset, overrides)
    place = [] if workspace is None else [f"workspace={workspace.expanduser().resolve()}"]
    return load_bench(file, preset=preset, data=named, overrides=[*overrides, *place], quick=quick)


def _own_workspace(preset: str, overrides: list[str]) -> Path | None:
    """The workspace one stands in, for a shipped bench without domains of its own; None where the bench has some."""
    from gag.evaluation.bench.loading import bench_preset
    from gag.workspace import current_workspace

    if bench_preset(preset).get("domains") or any(said.startswith("workspace=") for said in overrides):
        return None
    found = current_workspace()
    if found is not None:
        note(f"Comparing in the workspace {found}.")
    return found


def _check_extras() -> None:
    """Refuse to begin hours of work whose report could not be written."""
    import importlib

    from gag.errors import MissingExtra

    try:
        importlib.import_module("jinja2")
    except ImportError:
        raise MissingExtra("The report needs the package jinja2.", "pip install 'gag[eval]'") from None


def _say(config: BenchConfig, found: Found, out: Path, *, as_json: bool) -> None:
    """The findings and where everything is; raises RunError where a whole method failed."""
    from dataclasses import asdict

    from gag.evaluation.bench.results import REPORT, RESULTS, duration
    from gag.evaluation.bench.views import findings, problem_lines
    from gag.evaluation.table import rich_tables

    if as_json:
        write_json(
            {
                "rows": [asdict(row) for row in found.rows],
                "problems": [asdict(problem) for problem in found.problems],
                "remarks": found.remarks,
                "report": str(out / REPORT),
                "seconds": round(found.seconds, 1),
            }
        )
    else:
        from gag.cli.output import results

        for table in rich_tables([row for row in found.rows if row.table == "main"]):
            results().print(table)
        for line in findings(config, found):
            write_text(line)
        write_text(f"Report: {out / REPORT}   Numbers: {out / RESULTS}   ({duration(found.seconds)})")
    for line in problem_lines(found.problems):
        (warn if not as_json else note)(line)
    if found.failed_methods:
        names = ", ".join(dict.fromkeys(f"{p.method} on {p.dataset}" for p in found.failed_methods))
        raise RunError(f"Not everything could be compared: {names}.", "The report says why; the rest is complete.")
