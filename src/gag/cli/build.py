"""`gag build`: from question-answer pairs to a domain module, every step kept, resumed or skipped."""

from __future__ import annotations

import time

from gag.cli.building import Given, note_lines_to_add, open_build, run_step, shown_path, where
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


def build(
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
    """Build a domain module: expert, knowledge states, projector, prototypes, module.

    Each step is skipped when nothing it depends on changed, and goes on where it was interrupted.
    """
    from gag.pipeline import Build
    from gag.workspace import open_workspace

    started = time.perf_counter()
    place = open_workspace(workspace, overrides=overrides or ())
    given = Given(qa, align_qa, documents, expert)
    module = run_step(open_build(place, name, given, report_to), Build.module)
    seconds = time.perf_counter() - started
    if as_json:
        metrics = module.provenance["metrics"]
        write_json({"domain": name, "folder": str(module.folder), "metrics": metrics, "seconds": round(seconds, 3)})
    else:
        write_text(f"Domain module {shown_path(module.folder)}, {seconds:.0f} s. Ask it:")
        write_text(f'  gag ask "…" --domain {name}{where(place)}')
    note_lines_to_add(place, name, given)
