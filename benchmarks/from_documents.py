"""What a domain built from documents alone keeps of hand-written pairs' gain, and what an update costs and brings.

    python -m benchmarks.from_documents alone  --lab adjuvant --out runs/documents [--set KEY=VALUE]…
    python -m benchmarks.from_documents update --lab adjuvant --out runs/documents

The fictional labs, through the commands that a user runs, each in a process of its own. `alone` builds a lab from its
hand-written pairs and from its documents (ingest, extractive synth, build), and asks the lab's own test questions,
which neither has seen, of the base and of both. `update` builds from four fifths of the documents and lets `gag update`
take up the rest, against a build from all of them; it is asked, promoted or not. Then comes
an update that the gate must refuse. Interrupted anywhere, the same command goes on; seconds of a command that was
interrupted are left out. Rows go to DIR/from_documents.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.commands import Commands, Ran, Run, in_a_process, said
from gag.config import FILE_NAME, DomainConfig, load_config
from gag.demo.labs import LABS, Lab, load_lab
from gag.domain import load_module
from gag.errors import InputError
from gag.evaluation.kept import keep, read_kept
from gag.evaluation.metrics import exact_match, fact_recall
from gag.evaluation.runner import Evaluated, evaluate
from gag.evaluation.statistics import Interval, mean_interval
from gag.evaluation.table import Row, markdown_table, write_results
from gag.methods.base import ClosedBook
from gag.methods.gag import Injected
from gag.methods.method import BaseBacked, Preparing
from gag.records import Answer, Question, content_hash, questions_hash, read_questions, write_jsonl
from gag.system import GAG
from gag.workspace import Workspace, open_workspace
from gag.workspace_file import commented_yaml

METRICS = ("nll", "fact_recall", "token_f1")
ALL_TRAINED = "synthesis.test_share=0"
"""The test questions are the lab's own, so no document is kept back for testing."""
EVERY = 5
"""Every fifth document is a new one of an update."""
BAD = ("update.learning_rate=0.02", "update.replay=0")
"""An update that must destroy what the domain knew: no old pair replayed, steps far too long."""


def main(arguments: Sequence[str] | None = None, run: Run = in_a_process) -> int:
    """Parse, build, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("alone", "update"))
    parser.add_argument("--lab", choices=sorted(LABS), required=True)
    parser.add_argument("--out", type=Path, required=True, help="workspaces, answers and from_documents.json")
    parser.add_argument("--documents", type=int, help="only the lab's first so many documents, for a quick look")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    lab, out, title = load_lab(options.lab), options.out.resolve(), f"{options.what} {options.lab}"
    if options.documents is not None:
        lab, out = lab.first(options.documents), out / f"first-{options.documents}"
        title += f", first {options.documents} documents"
    rows = (alone if options.what == "alone" else update)(lab, out, options.set, run)
    rows = [replace(row, table=title) for row in rows]
    path = options.out / "from_documents.json"
    earlier = [Row(**row) for row in json.loads(path.read_text("utf-8"))] if path.is_file() else []
    write_results(path, [*(row for row in earlier if row.table != title), *rows])
    said(markdown_table(rows, intervals="brackets"))
    return 0


def alone(lab: Lab, out: Path, choices: Sequence[str], run: Run) -> list[Row]:
    """The lab built from its pairs and from its documents, both asked its test questions."""
    names = ("written", "documents")
    place = workspace(out / f"alone-{lab.name}", lab, choices, names, written="data/lab/train.jsonl")
    lab.write(place.root / "data" / "lab")
    gag = Commands(place.root, run)
    costs = {"documents": built(gag, "documents", place.root / "data" / "lab" / "documents.jsonl")}
    costs["written"] = [gag("build", "written")]
    made = read_questions(place.root / "data" / "documents" / "qa.jsonl")
    results = asked(place, {name: place.module(name) for name in names}, lab.test)
    rows = [row for result in results.values() for row in result.rows(lab.name)]
    base, written, documents = (results[name] for name in ("base", "gag (written)", "gag (documents)"))
    for metric in METRICS:
        pairs = ((documents, base), (written, base), (documents, written))
        rows += difference_rows(f"{lab.name}: paired differences", metric, *pairs)
        kept = share_kept(base.values[metric], documents.values[metric], written.values[metric])
        if kept is not None:
            domain = f"{lab.name}: share of the gain kept"
            rows.append(Row.from_interval("documents / written", domain, metric, kept))
    rows += coverage_rows(lab, made)
    for name, learnt in (("written", lab.train), ("documents", made)):
        rows.append(number(name, f"{lab.name}: build", "pairs", len(learnt)))
        for kind in ("seconds", "processor"):
            taken = [getattr(ran, kind) for ran in costs[name]]
            if None not in taken:
                rows.append(number(name, f"{lab.name}: build", f"{kind} taken", sum(taken)))
    return rows


def update(lab: Lab, out: Path, choices: Sequence[str], run: Run) -> list[Row]:
    """A domain of four fifths of the documents taken up to all by an update, against a build from all."""
    new = {document.id for document in lab.documents[EVERY - 1 :: EVERY]}
    place, whole = (workspace(out / f"{what}-{lab.name}", lab, choices, [lab.name]) for what in ("update", "rebuild"))
    files = {name: place.root / f"{name}.jsonl" for name in ("old", "new")}
    write_jsonl(files["old"], [d for d in lab.documents if d.id not in new])
    write_jsonl(files["new"], [d for d in lab.documents if d.id in new])
    gag, again = Commands(place.root, run), Commands(whole.root, run)
    built(gag, lab.name, files["old"])
    before = copied(place, out / f"before-{lab.name}")
    taken = gag("update", lab.name, files["new"], codes=(0, 1, 2))
    costs = built(again, lab.name, *files.values())
    bad = Commands(before.root, run)("update", lab.name, files["new"], *settings(BAD), codes=(0, 1, 2))
    updated = Path(taken.found["folder" if taken.found["promoted"] else "candidate"])
    modules = {"before": before.module(lab.name), "updated": updated}
    results = asked(place, {**modules, "rebuilt": whole.module(lab.name)}, lab.test)
    rows = []
    for side in ("old", "new"):
        there = {name: part(result, new, side == "new") for name, result in results.items()}
        rows += [row for result in there.values() for row in result.rows(f"{lab.name}: {side} documents")]
        pairs = [(there["gag (updated)"], there[f"gag ({other})"]) for other in ("before", "rebuilt")]
        for metric in METRICS:
            rows += difference_rows(f"{lab.name}: {side} documents, paired differences", metric, *pairs)
    return rows + cost_rows(lab.name, taken, costs) + exit_rows(lab.name, {"update": taken, "bad update": bad})


def built(gag: Commands, name: str, *files: Path) -> list[Ran]:
    """A domain from files of documents."""
    return [gag("ingest", name, *files), gag("synth", name), gag("build", name)]


def workspace(root: Path, lab: Lab, choices: Sequence[str], names: Sequence[str], **qa: str) -> Workspace:
    """A workspace of the preset demo with domains of the lab's field; `qa` names files of pairs where there are any.

    Raises InputError where the folder holds one of other choices.
    """
    domains = {name: DomainConfig(field=lab.field, qa=qa.get(name)) for name in names}
    config = load_config(preset="demo", overrides=[ALL_TRAINED, *choices]).model_copy(update={"domains": domains})
    path = root / FILE_NAME
    if path.is_file() and load_config(path) != config:
        raise InputError(f"{root} was begun with other choices.", "Name another folder with --out.")
    root.mkdir(parents=True, exist_ok=True)
    path.write_text(commented_yaml(config), encoding="utf-8")
    return open_workspace(root)


def copied(place: Workspace, root: Path) -> Workspace:
    """The workspace as it is now, in another folder, unless it was copied there before."""
    if not root.is_dir():
        partial = root.with_name(f"{root.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(place.root, partial)
        partial.rename(root)
    return open_workspace(root)


def asked(place: Workspace, modules: Mapping[str, Path], questions: Sequence[Question]) -> dict[str, Evaluated]:
    """The base, and by name of a module `gag (NAME)` and its `expert (NAME)`; routes are given.

    Answers are kept in answers-NAME.json, and not asked for again while module and questions are the same.
    """
    results = {}
    for name, folder in {"base": None, **modules}.items():
        found = answered(place, name, folder, questions)
        values = {metric: found.values[metric] for metric in METRICS}
        method = "base" if folder is None else f"gag ({name})"
        results[method] = replace(found, method=method, values=values)
        if folder is not None:
            values = {"fact_recall": found.values["expert"]}
            results[f"expert ({name})"] = replace(found, method=f"expert ({name})", values=values)
    return results


def answered(place: Workspace, name: str, folder: Path | None, questions: Sequence[Question]) -> Evaluated:
    """METRICS of a module's answers, without one the base's, and `expert`: whether the background has the fact."""
    said_by = "base" if folder is None else load_module(folder).provenance["key"]
    key = content_hash(
        said_by, place.config.models.model_dump(), place.config.generation.model_dump(), questions_hash(questions)
    )
    path = place.root / f"answers-{name}.json"
    kept = read_kept(path, key)
    if kept is not None:
        texts, values = kept["texts"], {metric: tuple(v) for metric, v in kept["values"].items()}
        answers = tuple(Answer(q.id, text, name) for q, text in zip(questions, texts, strict=True))
        return Evaluated(name, tuple(questions), answers, values)
    said(f"asking {name}")
    system = GAG.from_config(place.config, [] if folder is None else [folder], root=place.root)
    method: Preparing = ClosedBook(system.base, system.general, system.generation)
    if folder is not None:
        method = Injected(system, domain=next(iter(system.domains)))
    found = evaluate(BaseBacked(method), questions, METRICS)
    known = (a.background or "" for a in found.answers)
    found.values["expert"] = tuple(fact_recall(k, q.meta["value"]) for k, q in zip(known, questions, strict=True))
    rows = {
        "questions": [q.question for q in questions],
        "gold": [q.meta["value"] for q in questions],
        "texts": [a.text for a in found.answers],
        "backgrounds": [a.background for a in found.answers],
        "values": found.values,
    }
    keep(path, key, rows)
    return found


def part(result: Evaluated, documents: set[str], inside: bool) -> Evaluated:
    """The questions about these documents (`inside`), or about the others."""
    kept = [i for i, q in enumerate(result.questions) if (q.meta["document"] in documents) is inside]
    values = {name: tuple(v[i] for i in kept) for name, v in result.values.items()}
    questions, answers = tuple(result.questions[i] for i in kept), tuple(result.answers[i] for i in kept)
    return Evaluated(result.method, questions, answers, values)


def share_kept(
    base: Sequence[float], some: Sequence[float], most: Sequence[float], resamples: int = 2000
) -> Interval | None:
    """(some - base) / (most - base) of the means, with a bootstrap interval over the questions, a fact each.

    All three are drawn by the same questions, so the interval is of the ratio and not of its parts. None where a
    sample has nothing gained: then there is no share of it.
    """
    data = np.array([base, some, most], dtype=np.float64)
    drawn = np.random.default_rng(0).integers(0, data.shape[1], size=(resamples, data.shape[1]))
    means = np.concatenate([data.mean(axis=1, keepdims=True), data[:, drawn].mean(axis=2)], axis=1)
    gains = means[2] - means[0]
    if (gains * gains[0] <= 0).any():
        return None
    shares = (means[1] - means[0]) / gains
    low, high = np.quantile(shares[1:], [0.025, 0.975])
    return Interval(float(shares[0]), float(low), float(high), data.shape[1], data.shape[1])


def coverage_rows(lab: Lab, made: Sequence[Question]) -> list[Row]:
    """The share of the lab's facts that pairs of their document ask for: the value in an answer, or as the answer."""
    answers: dict[str, set[str]] = {}
    for pair in made:
        answers.setdefault(str(pair.meta["document"]), set()).add(pair.answers[0])
    held, alike = [], []
    for question in lab.test:
        there, value = answers.get(question.meta["document"], set()), question.meta["value"]
        held.append(float(any(fact_recall(answer, value) for answer in there)))
        alike.append(float(any(exact_match(answer, [value]) for answer in there)))
    domain = f"{lab.name}: facts that synthesised pairs ask for"
    return [
        Row.from_interval("documents", domain, metric, mean_interval(values))
        for metric, values in (("value in an answer", held), ("value is the answer", alike))
    ]


def difference_rows(domain: str, metric: str, *pairs: tuple[Evaluated, Evaluated]) -> list[Row]:
    """The paired differences of a metric, with intervals; none where a method has not that metric."""
    rows = []
    for one, other in pairs:
        interval = one.difference(other, metric)
        if interval is not None:
            rows.append(Row.from_interval(f"{one.method} - {other.method}", domain, metric, interval))
    return rows


def cost_rows(name: str, taken: Ran, rebuilt: Sequence[Ran]) -> list[Row]:
    """Seconds of an update and of a build from all documents, and the one as a share of the other."""
    rows = []
    for kind in ("seconds", "processor"):
        one, others = getattr(taken, kind), [getattr(ran, kind) for ran in rebuilt]
        if one is None or None in others or not sum(others):
            continue
        values = {"update": one, "rebuild": sum(others), "update / rebuild": one / sum(others)}
        rows += [number(what, f"{name}: cost", f"{kind} taken", value) for what, value in values.items()]
    return rows


def exit_rows(name: str, ran: Mapping[str, Ran]) -> list[Row]:
    """The exit codes: 0 where an update was promoted."""
    return [number(what, f"{name}: exit code", "exit code", float(one.code)) for what, one in ran.items()]


def number(method: str, domain: str, metric: str, value: float) -> Row:
    """A row without an interval."""
    return Row(method, domain, metric, value, None, None, 1)


def settings(choices: Sequence[str]) -> list[str]:
    """`--set` before each."""
    return [part for choice in choices for part in ("--set", choice)]


if __name__ == "__main__":
    sys.exit(main())
