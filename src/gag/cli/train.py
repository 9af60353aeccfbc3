"""`gag train`: the expert's training alone."""

from __future__ import annotations

from gag.cli.building import Given, note_lines_to_add, open_build, run_step, shown_path
from gag.cli.options import AsJson, DocumentsFile, DomainName, Overrides, Pairs, Trackers, WorkspaceFolder
from gag.cli.output import write_json, write_text


def train(
    name: DomainName,
    qa: Pairs = None,
    documents: DocumentsFile = None,
    report_to: Trackers = None,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train a domain's expert: the first step of build, alone."""
    from gag.pipeline import Build
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    given = Given(qa, documents=documents)
    trained = run_step(open_build(place, name, given, report_to), Build.expert)
    folder = trained.adapter or place.path(trained.source)
    if as_json:
        write_json(
            {"domain": name, "model": trained.source, "adapter": str(trained.adapter) if trained.adapter else None}
        )
    else:
        write_text(f"The expert of {name}: {shown_path(folder) if folder.exists() else trained.source}")
    note_lines_to_add(place, name, given)
