"""`gag prototypes`: a domain's prototype bank alone."""

from __future__ import annotations

from gag.cli.building import Given, note_lines_to_add, open_build, run_step, shown_path
from gag.cli.options import AsJson, DomainName, Overrides, Pairs, WorkspaceFolder
from gag.cli.output import write_json, write_text


def prototypes(
    name: DomainName,
    qa: Pairs = None,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Cluster a domain's questions into the prototypes that the router compares with: that step of build, alone."""
    from gag.pipeline import Build
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    given = Given(qa)
    path = run_step(open_build(place, name, given), Build.prototypes)
    if as_json:
        write_json({"domain": name, "file": str(path)})
    else:
        write_text(f"The prototypes of {name}: {shown_path(path)}")
    note_lines_to_add(place, name, given)
