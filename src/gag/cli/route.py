"""`gag route`: which route a question takes, and every route's score."""

from __future__ import annotations

from gag.cli.attaching import open_router
from gag.cli.options import AsJson, Overrides, QuestionText, WorkspaceFolder
from gag.cli.output import notes, write_json, write_table, write_text
from gag.errors import InputError


def route(
    question: QuestionText,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show which route a question takes and every route's score.

    Only the encoder is loaded. A damaged module is named and left out; it is an error where no other module is left.
    """
    from gag.workspace import open_workspace

    if not question.strip():
        raise InputError("The question is empty.", 'Ask one: gag route "What is …?"')
    with notes().status("loading the encoder"):
        router = open_router(open_workspace(workspace, overrides=overrides or ()))
    found = router.route([question])[0]
    scores = dict(found.scores)
    if as_json:
        write_json({"route": found.name, "scores": scores})
        return
    write_text(f"Route: {found.name}")
    ranked = sorted(scores.items(), key=lambda item: (item[0] != found.name, -item[1]))
    write_table(["route", "score"], [(name, f"{score:.4f}") for name, score in ranked], numbers=[1])
