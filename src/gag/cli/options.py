"""Options that many verbs share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WorkspaceFolder = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-w",
        metavar="DIR",
        help="The workspace; else $GAG_WORKSPACE, else the nearest gag.yaml here or above.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key of gag.yaml for this command; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DomainName = Annotated[str, typer.Argument(metavar="NAME", help="The domain's name.", show_default=False)]
QuestionText = Annotated[str, typer.Argument(metavar="QUESTION", help="The question.", show_default=False)]

Unasked = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before passages are sent to an endpoint.")]
Pairs = Annotated[
    Path | None,
    typer.Option("--qa", metavar="FILE", help="JSONL of question-answer pairs; else domains.NAME.qa of gag.yaml."),
]
AlignmentPairs = Annotated[
    Path | None,
    typer.Option("--align-qa", metavar="FILE", help="JSONL of pairs that the projector learns; else those of --qa."),
]
DocumentsFile = Annotated[
    Path | None,
    typer.Option("--documents", metavar="FILE", help="JSONL of plain documents the expert reads before the pairs."),
]
ExpertSource = Annotated[
    str | None,
    typer.Option(
        "--expert",
        metavar="SOURCE",
        help="A domain model that exists (hub id, folder or PEFT adapter): its training is skipped.",
    ),
]
Trackers = Annotated[
    list[str] | None,
    typer.Option("--report-to", metavar="TRACKER", help="Also log to tensorboard, wandb, …; may be repeated."),
]
