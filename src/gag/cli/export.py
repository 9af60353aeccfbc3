"""`gag export llamafactory`: a domain's expert training for LLaMA-Factory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gag.cli.building import shown_path, where
from gag.cli.options import AsJson, DomainName, Overrides, Pairs, WorkspaceFolder
from gag.cli.output import note, write_json, write_text
from gag.errors import InputError


def export_app() -> typer.Typer:
    """The group of verbs."""
    app = typer.Typer(name="export", help="Take a domain's training to other tools.", no_args_is_help=True)
    app.callback()(_group)
    app.command("llamafactory")(llamafactory)
    return app


def llamafactory(
    name: DomainName,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder.", show_default=False)],
    qa: Pairs = None,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Write a domain's pairs and the expert section as a LLaMA-Factory data set and training recipe."""
    from gag.corpus.synthesis.splits import QA, training_pairs
    from gag.training.llamafactory import export_llamafactory, model_path
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ()).of(name)
    source = qa or place.qa(name)
    if source is None:
        raise InputError(
            f"The domain {name} has no question-answer pairs.",
            f"Name them with --qa FILE.jsonl, set domains.{name}.qa in gag.yaml, or make them: gag synth {name}",
        )
    questions = training_pairs(source, place.data(name) / QA)
    config = place.config
    model = model_path(config.models.expert.source, place.root)
    chosen = config.expert.for_pairs(len(questions))
    done = export_llamafactory(name, place.prompts(name), questions, chosen, model, out)
    if config.expert.pretrain_epochs:
        note("Not exported: the continued pretraining on documents (expert.pretrain_epochs).")
    if as_json:
        files = {"data": done.data, "dataset_info": done.info, "recipe": done.recipe, "result": done.result}
        write_json({"domain": name, "questions": len(questions), **{key: str(path) for key, path in files.items()}})
        return
    write_text(
        f"Wrote {len(questions)} pairs and the recipe to {shown_path(out)}. Where LLaMA-Factory is installed:\n"
        f"  cd {shown_path(out)} && llamafactory-cli train {done.recipe.name}\n"
        f"Then build the domain with what it made:\n"
        f"  gag build {name} --qa {shown_path(source)} --expert {shown_path(done.result)}{where(place)}"
    )


def _group() -> None:
    """Take a domain's training to other tools."""
