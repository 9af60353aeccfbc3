"""`gag update`: a domain takes up what is new, and what that costs is measured before it is promoted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gag.cli.building import shown_path, where
from gag.cli.options import AsJson, DomainName, Overrides, Pairs, Unasked, WorkspaceFolder
from gag.cli.output import note, warn, write_json, write_table, write_text
from gag.cli.progress import shown_progress
from gag.errors import RunError

if TYPE_CHECKING:
    from gag.corpus.synthesis.journal import Remembered
    from gag.corpus.synthesis.synthesis import Synthesis
    from gag.updating.update import Updated
    from gag.workspace import Workspace

COLUMNS = ("questions", "n", "nll now", "nll updated", "difference", "F1 now", "F1 updated", "difference")


def update(
    name: DomainName,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH...", help="New or changed documents; none takes what gag ingest brought in."),
    ] = None,
    qa: Pairs = None,
    prune: Annotated[bool, typer.Option("--prune", help="Take out documents whose file is gone.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Promote it even where the gate refuses.")] = False,
    yes: Unasked = False,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train a domain's module on with what is new alone, and promote it if old questions do not suffer for it.

    Reads new documents, writes pairs of them, trains the expert on with these and some old pairs, and asks the present
    and the updated module old and new questions. Exit code 1 where the gate refuses: the present module stays. Back
    again: gag domain rollback NAME.
    """
    from gag.cli.synth import agree
    from gag.corpus.synthesis.endpoint import is_endpoint
    from gag.updating.update import Named, Update
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ()).of(name)
    place.module(name)  # refuses a name that cannot be a domain's
    config = place.config.synthesis

    def asked(run: Synthesis, writer: Remembered) -> None:
        if is_endpoint(config.model):
            agree(run, writer, config, yes)

    with shown_progress() as on_progress:
        work = Update(place, name, Named(tuple(paths or ()), prune, qa), on_progress=on_progress, agree=asked)
        done = work.run(force=force)
    if as_json:
        write_json(done.to_json())
    else:
        _show(place, name, done)
    if done.refused and not done.promoted:
        raise RunError(
            f"The update of {name} is not promoted: {'; '.join(done.refused)}.",
            f"The module is as it was; the candidate is {shown_path(done.folder / 'module') if done.folder else ''}. "
            "Other choices: `update` in gag.yaml; or --force.",
        )


def _show(place: Workspace, name: str, done: Updated) -> None:
    from gag.cli.synth import warn_of_left_out

    plan = done.plan
    if done.ingested is not None:
        for file, reason in done.ingested.failed:
            warn(f"Could not be read: {file}: {reason}")
        if done.ingested.gone:
            count = len(done.ingested.gone)
            warn(f"{count} file{'' if count == 1 else 's'} read before now gone; --prune drops their documents.")
    if done.synthesised is not None:
        warn_of_left_out(done.synthesised.left_out)
    if plan.dropped:
        warn(
            f"{plan.dropped} pairs it learnt are gone or changed. Training on does not unlearn what they said; "
            f"gag build {name} does."
        )
    if not plan.new:
        what = f"{plan.untested} pairs of new documents are kept for testing" if plan.untested else "no new pair"
        write_text(f"{name}: nothing new to learn ({what}). The module stays as it is.")
        return
    write_text(
        f"{name}: {len(plan.new)} new pairs of {len(plan.documents)} documents, {len(plan.replay)} old ones replayed, "
        f"{done.seconds['total']:.0f} s"
    )
    from gag.updating.update import rows_shown

    write_table(COLUMNS, rows_shown(done.measured), numbers=range(1, len(COLUMNS)))
    for kind, remark in plan.remarks.items():
        note(f"{kind}: {remark}")
    if done.promoted and done.module is not None:
        forced = f", forced, although {'; '.join(done.refused)}" if done.forced else ""
        write_text(
            f"Promoted: {shown_path(done.module.folder)}, version {done.module.version}{forced}. Back again:\n"
            f"  gag domain rollback {name}{where(place)}"
        )
