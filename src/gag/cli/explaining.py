"""How an answer from a graph is shown: its answers, the tree of paths that lead to each, and the picture of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from gag.cli.output import note, notes, results, warn, write_json, write_text
from gag.errors import ConfigError, InputError

if TYPE_CHECKING:
    from gag.graph.explanation import Explanation, Triple
    from gag.methods.rog import ReasoningOnGraphs
    from gag.workspace import Workspace

PICTURE = ".svg"


@dataclass(frozen=True)
class Explaining:
    """How to ask a graph: `rog` or a variant of it, whether the paths are shown, and where they are drawn."""

    method: str
    graph: str
    explain: bool = False
    picture: Path | None = None
    as_json: bool = False


def asks_graph(method: str, graph: str | None) -> bool:
    """Whether a command is about a graph: one is named, or the method needs one."""
    from gag.methods.shelf import ON_GRAPHS

    return graph is not None or method in ON_GRAPHS


def check_graph_options(method: str, graph: str | None, *, explain: bool, picture: Path | None) -> None:
    """Raises ConfigError for options of `gag ask` that do not go together, InputError for a wrong picture."""
    from gag.methods.shelf import ON_GRAPHS

    if picture is not None:
        check_picture(picture)
        if not explain:
            raise ConfigError(f"{picture} is drawn only with --explain.", "Add --explain, or leave it out.")
    if method not in ON_GRAPHS:
        raise ConfigError(
            f"--graph and --explain belong to methods on graphs, not to {method}.",
            f"Add --method rog ({', '.join(sorted(ON_GRAPHS))}), or leave them out.",
        )
    if graph is None:
        raise ConfigError(f"The method {method} needs a graph.", "Name it: --graph NAME; gag graph list shows them.")


def ask_graph(place: Workspace, question: str, asking: Explaining) -> None:
    """Put one question to a graph and show what came of it."""
    from gag.methods.rog import build
    from gag.records import Question

    picture = asking.picture
    with notes().status("loading models"):
        made = build(place, asking.graph, asking.method)
    explanation = made.explain([Question("question", question)])[0]
    if asking.as_json:
        write_json({"method": made.name, "graph": asking.graph, **explanation.to_json()})
    elif asking.explain:
        print_tree(explanation)
    else:
        write_text("\n".join(answer.text for answer in explanation.answers) or "(no answer)")
        for said in explanation.notes:
            warn(said)
    if picture is not None:
        write_picture(explanation, picture)
    if not asking.as_json:
        _footer(made, explanation)


def check_picture(path: Path) -> None:
    """Raises InputError for a name that is no picture's."""
    if path.suffix.lower() != PICTURE:
        raise InputError(
            f"{str(path)!r} is no name for the picture.",
            f"Name a {PICTURE} file after --explain; a question of several words stands in quotes.",
        )


def print_tree(explanation: Explanation) -> None:
    """Plans, then every answer with the paths that end in it."""
    tree = Tree(Text(explanation.question, style="bold"), guide_style="dim")
    plans = tree.add(Text("plans" if len(explanation.plans) != 1 else "plan"))
    for plan in explanation.plans:
        chance = "" if plan.probability is None else f"  {plan.probability:.2f}"
        path = " / ".join(plan.path) or "every relation, within the hop limit"
        ends = f"{plan.ends} end{'' if plan.ends == 1 else 's'}"
        plans.add(Text(f"{plan.entity}: {path}{chance}  ({ends})"))
    if not explanation.plans:
        plans.add(Text("none: no relation leads on from there"))
    for answer in explanation.answers:
        branch = tree.add(Text(answer.text, style="bold" if answer.entailed else ""))
        if not answer.entailed:
            branch.add(Text("no path ends in it: the model's word alone", style="yellow"))
        for path_shown in answer.paths:
            branch.add(Text(chain(path_shown)))
    if not explanation.answers:
        tree.add(Text("no answer", style="yellow"))
    results().print(tree)
    for said in explanation.notes:
        warn(said)


def chain(path: tuple[Triple, ...]) -> str:
    """A path on one line, its relations as arrows."""
    return path[0].head + "".join(f" {triple.arrow} {triple.tail}" for triple in path)


def write_picture(explanation: Explanation, path: Path) -> None:
    """The SVG, whole or not at all."""
    from gag.atomic import new_file
    from gag.graph.drawing import draw

    with new_file(path.expanduser()) as partial:
        partial.write_text(draw(explanation), encoding="utf-8")
    note(f"Drawn: {path}")


def _footer(method: ReasoningOnGraphs, explanation: Explanation) -> None:
    shown = sum(answer.entailed for answer in explanation.answers)
    of = f"{shown} of {len(explanation.answers)} answers have a path"
    about = ", ".join(explanation.entities)
    note(f"{method.name} on {method.graph.name} · about {about} · {of} · {explanation.timings['total']:.2f} s")
