"""`gag pretrain`: the projector's pretraining alone, for the workspace's base and expert model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gag.cli.options import AsJson, Overrides, WorkspaceFolder
from gag.cli.output import note, write_json, write_text


def pretrain(
    export: Annotated[
        Path | None, typer.Option(help="Also write the weights here, in half precision, as the package ships them.")
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option("--domain", metavar="NAME", help="For this domain's own settings (domains.NAME.settings)."),
    ] = None,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Teach the projector to let backgrounds through, before any domain.

    Done once for a base and an expert's model and kept in the cache; build does it when it needs it. What the package
    ships is not made again, but with --export. Needs projector.pretrain_pairs in gag.yaml.
    """
    from safetensors.torch import load_file, save

    from gag.atomic import new_file
    from gag.cli.progress import shown_progress
    from gag.errors import ConfigError
    from gag.models.base import Base
    from gag.models.loading import load_causal_lm
    from gag.pipeline import projector_pretraining
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    if domain is not None:
        if domain not in place.config.domains:
            have = ", ".join(place.config.domains) or "none"
            raise ConfigError(f"gag.yaml has no domain {domain!r}.", f"It has: {have}. Only those have settings.")
        place = place.of(domain)
    models = place.config.models
    if not place.config.projector.pretrain_pairs:
        raise ConfigError(
            "projector.pretrain_pairs is 0: there is nothing to pretrain.",
            "Set it in gag.yaml, or here: gag pretrain --set projector.pretrain_pairs=9600",
        )
    note("loading models")
    base, expert = (load_causal_lm(model, root=place.root) for model in (models.base, models.expert))
    note(f"base {base.placed}; expert {expert.placed}")
    pretraining = projector_pretraining(place, Base.from_loaded(base), expert)
    shipped = pretraining.shipped if export is None else None
    if shipped is None:
        with shown_progress() as on_progress:
            path = str(pretraining.made(on_progress))
    else:
        path = str(shipped)
    if export is not None:
        with new_file(export) as partial:
            partial.write_bytes(save({name: tensor.half() for name, tensor in load_file(path).items()}))
    if as_json:
        write_json({"key": pretraining.key, "file": path, "export": None if export is None else str(export)})
    else:
        where = "The package ships it" if shipped is not None else "The pretrained projector"
        write_text(f"{where}: {path} (key {pretraining.key[:16]})")
