"""`gag init`: a workspace whose gag.yaml spells out every choice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from gag.cli.options import AsJson, Overrides
from gag.cli.output import write_json, write_text
from gag.errors import ConfigError


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The workspace's folder.", show_default=False)],
    preset: Annotated[
        str, typer.Option("--preset", metavar="NAME", help="The choices to start from: demo, paper or multislot.")
    ] = "demo",
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Make a workspace: a folder with gag.yaml, every choice spelled out and commented."""
    from gag.config import FILE_NAME, load_config
    from gag.workspace_file import commented_yaml

    file = folder.expanduser() / FILE_NAME
    if file.exists():
        raise ConfigError(f"{file} is there already.", "Edit it, or name another folder.")
    text = commented_yaml(load_config(preset=preset, overrides=overrides or ()))
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    if as_json:
        write_json({"workspace": str(folder), "file": str(file), "preset": preset})
        return
    write_text(
        f"Made {file} from the preset {preset}.\n"
        f"Next: cd {folder}\n"
        '      gag build NAME --qa FILE.jsonl     (a line each: {"id", "question", "answers": ["…"]})'
    )
