"""`gag ingest`: from files to a domain's documents and passages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gag.cli.building import shown_path, where
from gag.cli.options import AsJson, DomainName, Overrides, WorkspaceFolder
from gag.cli.output import note, warn, write_json, write_table, write_text
from gag.cli.progress import shown_progress
from gag.errors import RunError

if TYPE_CHECKING:
    from gag.corpus.ingest.ingest import Ingested
    from gag.workspace import Workspace

SHOWN = 30
"""Lines of a list on the terminal; the journal has them all."""


def ingest(
    name: DomainName,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH...", help="Files and folders; none takes those read before again."),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Also write what was cut, side by side with what stayed (HTML).")
    ] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Take out documents whose file is gone.")] = False,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Make documents and passages of PDF, DOCX, PPTX, XLSX, HTML, Markdown, text, JSONL, JATS XML and MinerU files.

    A file that cannot be read is named with its reason, and the others go on. The same command again reads only what is
    new or changed. Exit code 1 where nothing could be read.
    """
    from gag.corpus.ingest.ingest import Ingest
    from gag.corpus.ingest.report import write_report
    from gag.workspace import open_workspace

    started = time.perf_counter()
    place = open_workspace(workspace, overrides=overrides or ())
    place.module(name)  # refuses a name that cannot be a domain's
    with shown_progress() as on_progress:
        work = Ingest(place, name, on_progress)
        done = work.run(paths or (), prune=prune)
        if report:
            write_report(work)
    seconds = time.perf_counter() - started
    if as_json:
        write_json(_as_json(name, done, seconds, report))
    else:
        _show(name, place, done, seconds, report)
    if done.failed and not done.taken and not done.unchanged:
        raise RunError(
            f"Nothing could be read: {done.failed[0][0]}: {done.failed[0][1]}.",
            "Each file is listed with its reason above and in ingest.json; mend them, then run the same command again.",
        )


def _show(name: str, place: Workspace, done: Ingested, seconds: float, report: bool) -> None:
    totals = done.totals
    if totals.documents:
        write_text(
            f"{name}: {_many(totals.documents, 'document')}, {_many(totals.passages, 'passage')} "
            f"({_many(done.taken, 'file')} new or changed, {done.unchanged:,} unchanged, {seconds:.0f} s)"
        )
        for path in (done.files.documents, done.files.passages, done.files.journal):
            write_text(f"  {shown_path(path)}")
    if report:
        write_text(f"  {shown_path(done.files.report)}")
    if totals.cut:
        parts = ", ".join(
            f"{reason} {count:,}" for reason, count in sorted(totals.cut.items(), key=lambda item: -item[1])
        )
        note(f"Characters left out: {parts}")
    if totals.copies:
        copy, first, likeness = totals.copies[0]
        note(f"Copies left out: {len(totals.copies)} (first: {copy} repeats {first}, {likeness:.0%})")
    _warn_of("Read, but look at them", [*totals.flagged, *done.noted])
    _warn_of("Nothing left after cleaning", [(document, "") for document in totals.empty])
    if done.gone:
        warn(f"{_many(len(done.gone), 'file')} read before now gone ({done.gone[0]}, …); --prune drops the documents.")
    if done.pruned:
        note(f"Taken out: {', '.join(done.pruned[:SHOWN])}")
    unread = [one for one in done.left if one.unread]
    if unread:
        kinds = sorted({one.reason for one in unread})
        note(f"Not read: {_many(len(unread), 'file')} ({', '.join(kinds[:8])})")
    if done.failed:
        write_text(f"Could not be read ({len(done.failed)}):")
        write_table(["file", "reason"], done.failed[:SHOWN])
        if len(done.failed) > SHOWN:
            write_text(f"… and {len(done.failed) - SHOWN} more in {shown_path(done.files.journal)}")
    elif totals.documents:
        note(f"Next: gag synth {name}{where(place)}")


def _warn_of(what: str, found: Any) -> None:
    if found:
        listed = "; ".join(f"{name} ({why})" if why else name for name, why in list(found)[:8])
        warn(f"{what}: {listed}{'; …' if len(found) > 8 else ''}")


def _as_json(name: str, done: Ingested, seconds: float, report: bool) -> dict[str, Any]:
    totals = done.totals
    return {
        "domain": name,
        "documents": totals.documents,
        "passages": totals.passages,
        "taken": done.taken,
        "unchanged": done.unchanged,
        "failed": [{"name": one, "reason": reason} for one, reason in done.failed],
        "noted": [{"name": one, "note": text} for one, text in done.noted],
        "not_read": [{"name": one.name, "reason": one.reason} for one in done.left if one.unread],
        "gone": list(done.gone),
        "pruned": list(done.pruned),
        "copies": [{"id": copy, "copy_of": first, "likeness": like} for copy, first, like in totals.copies],
        "flagged": [{"id": one, "quality": flags} for one, flags in totals.flagged],
        "empty": list(totals.empty),
        "cut": totals.cut,
        "files": {
            "documents": str(done.files.documents),
            "passages": str(done.files.passages),
            "journal": str(done.files.journal),
            **({"report": str(done.files.report)} if report else {}),
        },
        "seconds": round(seconds, 3),
    }


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
