"""`gag graph`: load knowledge graphs and look into them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gag.cli.building import shown_path, where
from gag.cli.options import AsJson, Overrides, WorkspaceFolder
from gag.cli.output import note, warn, write_json, write_table, write_text
from gag.cli.progress import shown_progress
from gag.errors import ConfigError, InputError

if TYPE_CHECKING:
    from gag.graph.store import Graph
    from gag.workspace import Workspace

GraphName = Annotated[str, typer.Argument(metavar="NAME", help="The graph's name.", show_default=False)]


def graph_app() -> typer.Typer:
    """The group of verbs."""
    app = typer.Typer(name="graph", help="Knowledge graphs, which the method rog reasons on.", no_args_is_help=True)
    app.callback()(_group)
    app.command("load")(load)
    app.command("list")(list_graphs)
    app.command("show")(show)
    app.command("find")(find)
    app.command("follow")(follow)
    app.command("passages")(passages)
    app.command("export")(export)
    app.command("remove")(remove)
    return app


def load(
    name: GraphName,
    triples: Annotated[
        Path | None,
        typer.Option("--triples", metavar="FILE", help="A table (.tsv: head, relation, tail), .nt or .ttl."),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint", metavar="URL", help="The SPARQL endpoint where the triples are; nothing is copied from it."
        ),
    ] = None,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Make a graph from a triple file, or from an endpoint, or name the endpoint that has the file's triples.

    A load that fails leaves what was there before; the same file is not loaded twice.
    """
    from gag.graph.store import graph_folder, load_graph
    from gag.workspace import open_workspace

    if triples is None and endpoint is None:
        raise ConfigError("A graph needs triples.", "Name a file with --triples FILE, or --endpoint URL.")
    place = open_workspace(workspace, overrides=overrides or ())
    folder = graph_folder(place.root, name)
    started = time.perf_counter()
    with shown_progress() as on_progress:
        made = load_graph(folder, place.config.graph, triples=triples, endpoint=endpoint, on_progress=on_progress)
    seconds = time.perf_counter() - started
    if made.row_cap is not None:
        warn(f"The endpoint cuts every result at {made.row_cap} rows; a walk that reaches them is told as cut.")
    if made.names_cut:
        warn(f"Not all names were fetched (graph.max_names is {place.config.graph.max_names}).")
    if as_json:
        write_json({**_summary(made), "folder": str(folder), "seconds": round(seconds, 3)})
        return
    write_text(
        f"Graph {shown_path(folder)}: {made.triples} triples, {made.entities} entities, "
        f"{len(made.relations)} relations, {seconds:.1f} s."
    )
    write_text(f"Teach it to plan:\n  gag rog train {name} --questions FILE.jsonl{where(place)}")


def list_graphs(workspace: WorkspaceFolder = None, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """List the graphs of the workspace."""
    from gag.errors import GagError
    from gag.graph.store import MANIFEST, read_manifest
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    found = []
    for path in sorted((place.root / "graphs").glob(f"[!.]*/{MANIFEST}")):
        try:
            found.append(read_manifest(path.parent))
        except GagError as error:
            warn(f"left out: {error.message} {error.hint}")
    if as_json:
        write_json([_summary(manifest) for manifest in found])
        return
    if not found:
        note("There is no graph yet. Load one: gag graph load NAME --triples FILE")
        return
    rows = [
        [
            m.name,
            str(m.triples),
            str(m.entities),
            str(len(m.relations)),
            m.endpoint or m.source,
            _trained(place, m.name),
        ]
        for m in found
    ]
    write_table(["graph", "triples", "entities", "relations", "from", "rog"], rows, numbers=[1, 2, 3])


def show(
    name: GraphName, workspace: WorkspaceFolder = None, overrides: Overrides = None, as_json: AsJson = False
) -> None:
    """Show a graph's relations and counts."""
    graph, _ = _opened(name, workspace, overrides)
    manifest = graph.manifest
    if as_json:
        write_json({**_summary(manifest), "relation_counts": {r.name: r.count for r in manifest.relations}})
        return
    write_text(
        f"{name}: {manifest.triples} triples, {manifest.entities} entities, {manifest.endpoint or manifest.source}"
    )
    rows = [[r.name, str(r.count), r.term] for r in manifest.relations]
    write_table(["relation", "triples", "term"], rows, numbers=[1])


def find(
    name: GraphName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A name, or something like it.", show_default=False)],
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Find entities by name: those called so, else those spelt alike."""
    from gag.graph.linking import find as found_by

    graph, _ = _opened(name, workspace, overrides)
    found = found_by(graph, text)
    if as_json:
        write_json([{"label": n.label, "name": n.name, "term": n.term, "score": round(n.score, 3)} for n in found])
        return
    if not found:
        note(f"Nothing in {name} is spelt like {text!r}.")
        return
    write_table(["entity", "score", "term"], [[n.label, f"{n.score:.2f}", n.term] for n in found], numbers=[1])


def follow(
    name: GraphName,
    entity: Annotated[str, typer.Argument(metavar="ENTITY", help="Its name, or its <IRI>.", show_default=False)],
    steps: Annotated[
        list[str],
        typer.Argument(
            metavar="RELATION…", help="Relations in turn; ^ before one walks it backwards.", show_default=False
        ),
    ],
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE.svg", help="Also draw the paths.")] = None,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Walk a relation path from an entity, as a plan is walked, and show where every way leads."""
    from gag.cli.explaining import check_picture, print_tree, write_picture
    from gag.graph.explanation import Explanation, PlannedPath, shown_answers
    from gag.graph.linking import find as found_by
    from gag.graph.paths import follow as followed

    if picture is not None:
        check_picture(picture)
    graph, place = _opened(name, workspace, overrides)
    found = [named for named in found_by(graph, entity) if named.score == 1]
    if len(found) != 1:
        near = found or found_by(graph, entity)
        shown = "; ".join(f"{n.label} {n.term}" for n in near[:5]) or "nothing is spelt like it"
        what = "could be several entities" if found else f"is no entity of the graph {name}"
        raise InputError(f"{entity!r:.80} {what}.", f"Name one by its IRI: {shown}.")
    walk = followed(graph, found[0].term, tuple(steps), hops=max(len(steps), place.config.rog.hops))
    ends = walk.ends()
    answers = shown_answers(
        graph, list(zip(graph.labels(ends), ends, strict=True)), [walk], place.config.rog.shown_paths
    )
    explanation = Explanation(
        question=f"{found[0].label}: {' / '.join(steps)}",
        entities=(found[0].label,),
        plans=(PlannedPath(found[0].label, tuple(steps), None, len(ends)),),
        answers=answers,
        notes=tuple(dict.fromkeys(cut.said(graph) for cut in walk.cuts)),
        timings={"follow": walk.seconds},
    )
    if as_json:
        write_json(explanation.to_json())
    else:
        print_tree(explanation)
        note(f"{len(ends)} ends, {1000 * walk.seconds:.1f} ms")
    if picture is not None:
        write_picture(explanation, picture)


def passages(
    name: GraphName,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The JSONL file.", show_default=False)],
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Write the graph as passages, one an entity, for methods that read text (rag)."""
    from gag.graph.verbalise import passages as verbalised
    from gag.records import write_jsonl

    graph, _ = _opened(name, workspace, overrides)
    count = 0

    def counted() -> Any:
        nonlocal count
        for passage in verbalised(graph):
            count += 1
            yield passage

    write_jsonl(out, counted())
    if as_json:
        write_json({"graph": name, "passages": count, "file": str(out)})
    else:
        write_text(f"Wrote {count} passages to {shown_path(out)}. Under `domains:` in gag.yaml:")
        write_text(f"  {name}: {{passages: {shown_path(out)}}}")


def export(
    name: GraphName,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.nt", help="The N-Triples file.", show_default=False)],
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Write the graph as N-Triples, to give it to a SPARQL endpoint."""
    from gag.graph.store import export_graph, graph_folder
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    count = export_graph(graph_folder(place.root, name), out)
    if as_json:
        write_json({"graph": name, "triples": count, "file": str(out)})
    else:
        write_text(f"Wrote {count} triples to {shown_path(out)}.")


def remove(
    name: GraphName, workspace: WorkspaceFolder = None, overrides: Overrides = None, as_json: AsJson = False
) -> None:
    """Remove a graph from the workspace; what was trained on it stays in runs/."""
    from gag.atomic import remove_folder
    from gag.graph.store import graph_folder, read_manifest
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    folder = graph_folder(place.root, name)
    read_manifest(folder)
    remove_folder(folder)
    if as_json:
        write_json({"removed": name})
    else:
        write_text(f"Removed the graph {name}.")


def _group() -> None:
    """Knowledge graphs, which the method rog reasons on."""


def _opened(name: str, workspace: Path | None, overrides: list[str] | None) -> tuple[Graph, Workspace]:
    from gag.graph.store import Graph, graph_folder
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    return Graph.open(graph_folder(place.root, name), place.config.graph), place


def _trained(place: Workspace, name: str) -> str:
    return "trained" if (place.runs(name) / "rog.json").is_file() else ""


def _summary(manifest: Any) -> dict[str, Any]:
    return {
        "graph": manifest.name,
        "kind": manifest.kind,
        "triples": manifest.triples,
        "entities": manifest.entities,
        "relations": len(manifest.relations),
        "source": manifest.source,
        "endpoint": manifest.endpoint,
        "row_cap": manifest.row_cap,
        "names_cut": manifest.names_cut,
    }
