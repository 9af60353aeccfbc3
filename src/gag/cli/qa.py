"""`gag qa`: see, accept, edit, reject and export a domain's pairs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gag.cli.building import shown_path, where
from gag.cli.options import AsJson, DomainName, Overrides, WorkspaceFolder
from gag.cli.output import note, notes, write_json, write_table, write_text
from gag.errors import ConfigError, InputError

if TYPE_CHECKING:
    from gag.corpus.synthesis.review import QaSet
    from gag.records import Question
    from gag.workspace import Workspace

FormatName = Literal["jsonl", "trl", "sharegpt", "alpaca", "raft"]
KEYS = "accept a · edit e · reject r · skip s · quit q"


def qa(
    name: DomainName,
    review: Annotated[bool, typer.Option("--review", help="Go through the undecided pairs, one by one.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the pairs in use.")] = False,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="With --list or --review: those that a gate or a person left out.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="With --list: both.")] = False,
    accept: Annotated[
        list[str] | None, typer.Option("--accept", metavar="ID", help="Accept this pair; may be repeated.")
    ] = None,
    reject: Annotated[
        list[str] | None, typer.Option("--reject", metavar="ID", help="Reject this pair; may be repeated.")
    ] = None,
    edit: Annotated[
        str | None, typer.Option("--edit", metavar="ID", help="Edit this pair: --question, --answer.")
    ] = None,
    question: Annotated[str | None, typer.Option("--question", metavar="TEXT", help="The edited question.")] = None,
    answer: Annotated[str | None, typer.Option("--answer", metavar="TEXT", help="The edited answer.")] = None,
    export_as: Annotated[
        FormatName | None, typer.Option("--export", help="Write the pairs in use in this format.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where --export writes; a new folder.")
    ] = None,
    workspace: WorkspaceFolder = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Look at a domain's question-answer pairs and decide about them; every decision is saved at once.

    Without an option it counts them. Decisions hold when the pairs are synthesised again.
    """
    from gag.corpus.synthesis.review import QaSet
    from gag.workspace import open_workspace

    place = open_workspace(workspace, overrides=overrides or ())
    pairs = QaSet(place.data(name))
    if not pairs.used and not pairs.rejected:
        raise InputError(
            f"The domain {name} has no pairs in {shown_path(pairs.path)}.",
            f"Make them from its passages: gag synth {name}{where(place)}",
        )
    if (question is not None or answer is not None) and edit is None:
        raise ConfigError("--question and --answer say how a pair is edited.", "Add --edit ID.")
    changed = 0
    if accept or reject or edit is not None:
        with pairs.alone():
            changed = _decide(pairs, accept or [], reject or [], (edit, question, answer))
    if export_as is not None:
        _export(place, name, pairs, export_as, out, as_json)
    elif review:
        with pairs.alone():
            _review(pairs, rejected)
    elif listed or everything or rejected:
        _list(pairs, _chosen(pairs, rejected, everything), as_json)
    else:
        _count(pairs, name, changed, as_json)


def _decide(pairs: QaSet, accept: list[str], reject: list[str], edit: tuple[str | None, str | None, str | None]) -> int:
    both = sorted(set(accept) & set(reject))
    if both:
        raise ConfigError(f"The pair {both[0]} is both accepted and rejected.", "Decide for one.")
    for pair_id in (*accept, *reject, *([edit[0]] if edit[0] else [])):
        pairs.get(pair_id)  # all of them are there, before any is changed
    for pair_id in accept:
        pairs.decide(pair_id, "accepted")
    for pair_id in reject:
        pairs.decide(pair_id, "rejected")
    edited, question, answer = edit
    if edited is not None:
        if question is None and answer is None:
            raise ConfigError(f"Nothing to change in {edited}.", "Add --question TEXT, --answer TEXT or both.")
        row = pairs.get(edited)
        old = row.answers[0] if row.answers else ""
        texts = {
            "question": row.question if question is None else question,
            "answer": old if answer is None else answer,
        }
        pairs.decide(edited, "edited", **texts)
    return len(accept) + len(reject) + (edited is not None)


def _chosen(pairs: QaSet, rejected: bool, everything: bool) -> list[Question]:
    if everything:
        return [*pairs.used, *pairs.rejected]
    return pairs.rejected if rejected else pairs.used


def _list(pairs: QaSet, rows: list[Question], as_json: bool) -> None:
    if as_json:
        write_json(
            [
                {
                    "id": q.id,
                    "question": q.question,
                    "answers": list(q.answers),
                    "state": _state(pairs, q),
                    "meta": q.meta,
                }
                for q in rows
            ]
        )
        return
    if not rows:
        note("None.")
        return
    table = [[q.id, q.question, q.answers[0] if q.answers else "", _state(pairs, q)] for q in rows]
    write_table(["id", "question", "answer", "state"], table)


def _count(pairs: QaSet, name: str, changed: int, as_json: bool) -> None:
    used, rejected = pairs.used, pairs.rejected
    counts = {
        "used": len(used),
        "train": sum(q.meta.get("split") != "test" for q in used),
        "test": sum(q.meta.get("split") == "test" for q in used),
        "undecided": len(pairs.undecided()),
        "accepted": sum(pairs.decision(q.id) == "accepted" for q in used),
        "edited": sum(pairs.decision(q.id) == "edited" for q in used),
        "rejected_by_person": sum(pairs.decision(q.id) == "rejected" for q in rejected),
        "rejected_by_gate": sum(pairs.decision(q.id) is None for q in rejected),
    }
    if as_json:
        write_json({"domain": name, "file": str(pairs.path), "changed": changed, **counts})
        return
    if changed:
        note(f"{changed} {'decision' if changed == 1 else 'decisions'} saved.")
    write_text(
        f"{counts['used']} pairs in use ({counts['train']} train, {counts['test']} test): "
        f"{counts['accepted']} accepted, {counts['edited']} edited, {counts['undecided']} undecided.\n"
        f"{len(rejected)} left out: {counts['rejected_by_gate']} by a gate, {counts['rejected_by_person']} by a person."
    )


def _export(place: Workspace, name: str, pairs: QaSet, form: FormatName, out: Path | None, as_json: bool) -> None:
    from gag.corpus.synthesis.exports import export

    target = out or Path(f"{name}-{form}")
    files = export(name, pairs.used, form, place.prompts(name), target)
    if as_json:
        write_json({"domain": name, "format": form, "files": [str(f) for f in files]})
    else:
        write_text("Written: " + ", ".join(shown_path(f) for f in files))


def _review(pairs: QaSet, rejected: bool) -> None:
    """One pair after another until there are none, or the reader quits."""
    if not sys.stdin.isatty():
        raise ConfigError(
            "--review asks about each pair, and nobody is there to answer.",
            "In a script: --list --json, then --accept ID, --reject ID or --edit ID.",
        )
    rows = pairs.rejected if rejected else pairs.undecided()
    if not rows:
        note("No pair is undecided.")
        return
    decided = 0
    for number, row in enumerate(rows, 1):
        _show_pair(row, f"{number}/{len(rows)}")
        answer = _asked()
        if answer == "q":
            break
        decided += answer != "s" and _done(pairs, row, answer)
    note(f"{decided} {'decision' if decided == 1 else 'decisions'} saved in {shown_path(pairs.folder)}.")


def _done(pairs: QaSet, row: Question, answer: str) -> bool:
    if answer == "e":
        old = row.answers[0] if row.answers else ""
        question, changed = _typed("question", row.question), _typed("answer", old)
        if question == row.question and changed == old:
            pairs.decide(row.id, "accepted")
        else:
            pairs.decide(row.id, "edited", question=question, answer=changed)
        return True
    pairs.decide(row.id, "accepted" if answer == "a" else "rejected")
    return True


def _asked() -> str:
    """The key that was pressed; end of input is quit."""
    console = notes()
    while True:
        try:
            typed = console.input(f"{KEYS} > ", markup=False).strip().lower()[:1]
        except EOFError:
            return "q"
        if typed and typed in "aersq":
            return typed
        console.print(f"One of: {KEYS}", markup=False)


def _typed(what: str, old: str) -> str:
    """A new text; an empty line keeps the old one."""
    try:
        return notes().input(f"{what} [Enter keeps it]: ", markup=False).strip() or old
    except EOFError:
        return old


def _show_pair(row: Question, place: str) -> None:
    from rich.text import Text

    console = notes()
    meta = row.meta
    console.print()
    origin = " · ".join(str(meta[k]) for k in ("document", "heading", "kind", "split") if meta.get(k))
    console.print(Text(f"{place}  {row.id}  {origin}", style="dim"))
    console.print(Text("Q ", style="bold").append(row.question, style="not bold"))
    console.print(
        Text("A ", style="bold green").append(row.answers[0] if row.answers else "", style="not bold default")
    )
    if meta.get("quote"):
        console.print(Text(f"  “{meta['quote']}”", style="italic"))
    if meta.get("refused"):
        console.print(Text(f"  {meta['refused']['gate']}: {meta['refused']['reason']}", style="yellow"))


def _state(pairs: QaSet, row: Question) -> str:
    refused = row.meta.get("refused")
    if isinstance(refused, dict):
        return f"{refused['gate']}: {refused['reason']}"
    return pairs.decision(row.id) or "undecided"
