"""`gag domain`: the modules of a workspace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gag.cli.building import shown_path, where
from gag.cli.options import AsJson, DomainName, Overrides, WorkspaceFolder
from gag.cli.output import note, notes, say_error, warn, write_json, write_table, write_text
from gag.errors import ConfigError, DomainError

if TYPE_CHECKING:
    from gag.domain import DomainModule


def domain_app() -> typer.Typer:
    """The group of verbs."""
    app = typer.Typer(
        name="domain",
        help="List, check, add, roll back and remove the workspace's domain modules.",
        no_args_is_help=True,
    )
    app.command("list")(list_domains)
    app.command("show")(show)
    app.command("verify")(verify)
    app.command("add")(add)
    app.command("rollback")(rollback)
    app.command("rm")(remove)
    return app


def list_domains(workspace: WorkspaceFolder = None, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """List the modules, also those that cannot be used."""
    from gag.domain import list_modules
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    rows = [_row(listed.folder, listed.module, listed.problem) for listed in list_modules(place.modules)]
    if as_json:
        write_json(rows)
        return
    if not rows:
        note(f"No domain module yet. Build one: gag build NAME --qa FILE.jsonl{where(place)}")
        return
    columns = ["name", "version", "base", "expert", "readout", "projector", "size"]
    table = [[str(row[key] or "") if key != "size" else _size(row["bytes"]) for key in columns] for row in rows]
    write_table(columns, table, numbers=[6])
    for row in rows:
        if row["problem"]:
            warn(f"{row['name']} cannot be used: {row['problem']}")


def show(
    name: DomainName, workspace: WorkspaceFolder = None, overrides: Overrides = None, as_json: AsJson = False
) -> None:
    """Show what a module is, what it belongs to and how it was made."""
    from gag.domain import load_module
    from gag.workspace import open_workspace

    module = load_module(open_workspace(workspace, overrides=overrides or ()).module(name))
    if as_json:
        write_json({"folder": str(module.folder), **module.model_dump(mode="json", exclude={"folder"})})
        return
    row = _row(module.folder, module, None)
    routing = f"{module.routing.prototypes} prototypes, encoder {module.routing.encoder.id}"
    facts = [
        ("name", f"{module.name}, version {module.version}"),
        ("folder", f"{shown_path(module.folder)} ({_size(row['bytes'])})"),
        ("field", module.prompts.field),
        ("base", _model(module.base.id, module.base.revision, module.base.fingerprint)),
        ("expert", _model(row["expert"], module.expert.revision, module.expert.fingerprint)),
        ("readout", row["readout"]),
        ("projector", row["projector"]),
        ("routing", routing),
        *((key, _short(value)) for key, value in module.provenance.items() if key not in ("config", "key", "history")),
        *(("history", _came_from(row)) for row in module.provenance.get("history", ())),
    ]
    width = max(len(key) for key, _ in facts)
    for key, value in facts:
        write_text(f"{key:<{width}}  {value}")


def verify(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The domain; all of them if left out.")] = None,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Check every file of a module, or of all: exit code 2 where one is damaged."""
    from gag.domain import verify_module
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    folders = [place.module(name)] if name is not None else sorted(p for p in place.modules.glob("[!.]*") if p.is_dir())
    rows: list[dict[str, Any]] = []
    for folder in folders:
        try:
            rows.append({"name": folder.name, "checked": verify_module(folder), "problem": None})
        except DomainError as problem:
            rows.append({"name": folder.name, "checked": [], "problem": problem.message})
            say_error(problem.message, problem.hint)
    if as_json:
        write_json(rows)
    else:
        for row in rows:
            if row["problem"] is None:
                write_text("\n  ".join([f"{row['name']}: whole", *row["checked"]]))
    if not rows:
        note("No domain module to verify.")
    if any(row["problem"] for row in rows):
        raise typer.Exit(2)


def add(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A module's folder.", show_default=False)],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Take it in under this name.")] = None,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Copy a module that someone else built into the workspace, verified."""
    from gag.domain import copy_module, load_module
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    source = load_module(folder)
    target = place.module(name or source.name)
    same = name is None or name == source.name
    module = copy_module(folder, target) if same else _renamed(source, target, name or source.name)
    if as_json:
        write_json({"name": module.name, "folder": str(target)})
    else:
        write_text(f'Added {shown_path(target)}. Ask it:\n  gag ask "…" --domain {module.name}{where(place)}')


def rollback(
    name: DomainName, workspace: WorkspaceFolder = None, overrides: Overrides = None, as_json: AsJson = False
) -> None:
    """Go back to the module before the last promoted update; said again, it swaps them back."""
    from gag.updating.promotion import previous_folder, roll_back
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    module = roll_back(place, name)
    if as_json:
        write_json({"name": name, "folder": str(module.folder), "version": module.version})
        return
    write_text(f"{shown_path(module.folder)} is version {module.version} again.")
    note(f"The other one is kept in {shown_path(previous_folder(place, name))}; the same command swaps them back.")


def remove(
    name: DomainName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Remove a module. What its steps made stays in runs/NAME, so that building it again is quick."""
    from gag.domain import remove_module
    from gag.updating.promotion import forget_previous
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    folder = place.module(name)
    if not folder.exists():
        raise DomainError(f"There is no domain module at {folder}.", "See which there are: gag domain list")
    if not yes and not _agreed(f"Remove {shown_path(folder)}?"):
        note("Kept.")
        return
    forget_previous(place, name)
    remove_module(folder)
    if as_json:
        write_json({"name": name, "removed": str(folder)})
    else:
        write_text(f"Removed {shown_path(folder)}.")


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} Nobody is there to ask.", "Add --yes.")
    return notes().input(f"{question} [y/N] ", markup=False).strip().lower() in ("y", "yes")


def _renamed(source: DomainModule, target: Path, name: str) -> DomainModule:
    """`source` written again under another name; its files hold the name, so a copy would not do."""
    from gag.domain import ModuleSpec, write_module

    if target.exists():
        raise DomainError(f"{target} is there already.", f"Remove it first: gag domain rm {name}")
    parts = {key: getattr(source, key) for key in ModuleSpec.model_fields}
    return write_module(
        target,
        ModuleSpec(**{**parts, "name": name}),
        projector=source.projector_state(),
        prototypes=source.prototypes(),
        expert_adapter=source.expert_path,
    )


def _row(folder: Path, module: DomainModule | None, problem: DomainError | None) -> dict[str, Any]:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    row: dict[str, Any] = dict.fromkeys(("version", "base", "expert", "readout", "projector"))
    if module is not None:
        readout, layers = module.readout, ",".join(str(layer) for layer in module.readout.layers)
        slots = f"{readout.slots} slot{'' if readout.slots == 1 else 's'}"
        slots += f" of {readout.parts} parts" if readout.parts > 1 else ""
        row = {
            "version": module.version,
            "base": module.base.id,
            "expert": f"{module.expert.id}{' + adapter' if module.expert_path else ''}",
            "readout": f"{readout.mode}, layer {layers}, {readout.pooling}, {slots}",
            "projector": module.projector.kind,
        }
    said = None if problem is None else f"{problem.message} {problem.hint}"
    return {"name": folder.name, **row, "bytes": size, "folder": str(folder), "problem": said}


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"


def _model(name: str, revision: str | None, fingerprint: str) -> str:
    return f"{name}{f'@{revision}' if revision else ''} ({fingerprint[:12]})"


def _came_from(row: dict[str, Any]) -> str:
    """One line of a module's history."""
    if row.get("made") != "updated":
        return f"built from {row.get('pairs')} pairs ({row.get('key')})"
    parts = f"{row.get('new')} new pairs of {row.get('documents')} documents, {row.get('replayed')} old ones replayed"
    forced = f", forced: {'; '.join(row['refused'])}" if row.get("refused") else ""
    return f"updated by {parts} ({row.get('key')}){forced}"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(part)}" for key, part in value.items() if part is not None and part != "")
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)[:16] if isinstance(value, str) and len(value) == 64 else str(value)
