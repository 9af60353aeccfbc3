"""`gag align`: the projector's training alone, with the states it learns from and the expert they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from gag.cli.building import Given, note_lines_to_add, open_build, run_step, shown_path
from gag.cli.options import (
    AlignmentPairs,
    AsJson,
    DocumentsFile,
    DomainName,
    ExpertSource,
    Overrides,
    Pairs,
    Trackers,
    WorkspaceFolder,
)
from gag.cli.output import write_json, write_text

if TYPE_CHECKING:
    from gag.pipeline import Build


def align(
    name: DomainName,
    qa: Pairs = None,
    align_qa: AlignmentPairs = None,
    documents: DocumentsFile = None,
    expert: ExpertSource = None,
    report_to: Trackers = None,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train a domain's projector: states and projector of build, alone.

    The expert is taken as it is where it was trained already, and trained first where not.
    """
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    given = Given(qa, align_qa, documents, expert)
    folder = run_step(open_build(place, name, given, report_to), _states_and_projector)
    run = json.loads((folder / "step.json").read_text("utf-8"))
    last = run["losses"][-1][1]
    dev = min((loss for _, loss in run["dev_losses"]), default=None)
    if as_json:
        write_json({"domain": name, "folder": str(folder), "loss": last, "dev_loss": dev})
    else:
        best = "" if dev is None else f", best dev loss {dev:.3f}"
        write_text(f"The projector of {name}: {shown_path(folder)} (loss {last:.3f}{best}; curve: loss.png)")
    note_lines_to_add(place, name, given)


def _states_and_projector(build: Build) -> Path:
    expert = build.expert(ahead=True)
    return build.projector(expert, build.states(expert))
