"""Recall of invented facts against their number and the number of slots: the expert's, and what comes through.

    python -m benchmarks.scaling --out runs/scaling [--facts 100 300 1000] [--slots 1 2 4 8] [--set KEY=VALUE]…

For every number of facts a domain of the preset `demo` is built from three wordings each, once for every number of
slots (the expert is the same). A slot's segment has so many parts that about twelve tokens are kept apart; what else a
number of slots needs is in CHOSEN. Asked is the fourth wording of at most ASKED facts, with the route given; facts that
the projector saw in training and facts it never saw are told apart. Interrupted anywhere, the same command goes on.
Writes scaling.json and scaling.png; the folder is a workspace too, for `benchmarks.passing`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.made_facts import FIELD, made_facts
from gag.atomic import new_file
from gag.config import FILE_NAME, DomainConfig, load_config
from gag.demo.labs import seen_by_projector
from gag.errors import ConfigError
from gag.evaluation.metrics import fact_recall
from gag.evaluation.runner import evaluate
from gag.evaluation.statistics import mean_interval
from gag.evaluation.table import Row, markdown_table, write_results
from gag.methods.gag import Injected
from gag.methods.method import BaseBacked
from gag.pipeline import Build
from gag.records import read_questions, spread, write_jsonl
from gag.sources import Sources
from gag.system import GAG
from gag.workspace import Workspace
from gag.workspace_file import commented_yaml

ASKED = 400
"""Test questions of each size, spread over its facts."""
KEPT_APART = 12
"""Background tokens whose order a readout keeps, over all slots."""

CHOSEN = {
    1: ("readout.parts=8", "projector.hidden=2304", "projector.pretrain_lengths=[2,4,7]"),
    2: ("projector.hidden=2304", "projector.pretrain_lengths=[4]", "projector.pretrain_pairs=48000"),
    8: ("projector.pretrain_pairs=16000",),
}
"""What so many slots need in place of the preset's: few hold many tokens each, so a wider network and short texts first
(docs/results.md, One token); eight hold one or two, which is learnt from a sixth of the texts."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, build what is missing, ask, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="workspace, scaling.json and scaling.png")
    parser.add_argument("--facts", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    out = options.out.resolve()
    rows: list[Row] = []
    write_workspace(out, sorted(options.facts), options.set)
    for facts in sorted(options.facts):
        for slots in options.slots:
            rows += kept_rows(out, facts, slots, options.set)
            write_results(out / "scaling.json", rows)
            draw(rows, out / "scaling.png")
    print(markdown_table(rows, intervals="brackets"), flush=True)


def kept_rows(out: Path, facts: int, slots: int, choices: Sequence[str]) -> list[Row]:
    """The rows of one size and one number of slots, from disk where these choices were measured before."""
    overrides = [f"readout.slots={slots}", f"readout.parts={-(-KEPT_APART // slots)}"]
    overrides += [*CHOSEN.get(slots, ()), *choices]
    path = out / "rows" / f"{facts}-{slots}.json"
    if path.is_file():
        kept = json.loads(path.read_text("utf-8"))
        if kept["choices"] == overrides:
            return [Row(**row) for row in kept["rows"]]
    rows = measured(out, facts, slots, overrides)
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as partial:
        said = {"choices": overrides, "rows": [dataclasses.asdict(row) for row in rows]}
        partial.write_text(json.dumps(said, indent=1) + "\n", "utf-8")
    return rows


def measured(out: Path, facts: int, slots: int, overrides: Sequence[str]) -> list[Row]:
    """Build the domain and ask: recall of gag and of its expert, on seen and on unseen facts."""
    name = f"facts-{facts}"
    test = read_questions(out / "data" / name / "test.jsonl")
    config = load_config(preset="demo", overrides=overrides).model_copy(update={"domains": {name: _domain(facts)}})
    place = Workspace(out, config, modules_folder=f"modules/{slots}-slots")
    module = Build(place, name, Sources(), on_progress=_progress).run(Build.module)
    system = GAG.from_config(config, [module.folder], root=out)
    method = BaseBacked(Injected(system, oracle=True))
    rows = []
    for side, wanted in (("seen", True), ("unseen", False)):
        asked = [question for question in test if seen_by_projector(question) is wanted]
        found = evaluate(method, asked, ("fact_recall",))
        knew = [fact_recall(a.background or "", q.meta["value"]) for a, q in zip(found.answers, asked, strict=True)]
        for who, values in (("gag", found.values["fact_recall"]), ("expert", knew)):
            row = Row.from_interval(
                f"{who}, {slots} slots", f"{facts} facts, {side}", "fact_recall", mean_interval(values)
            )
            rows.append(row)
            print(f"{row.domain}: {row.method} {row.value:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]", flush=True)
    return rows


def written(out: Path, facts: int) -> None:
    """Write the pairs of so many facts under data/: to train, of these to align, and the test questions to ask."""
    name = f"facts-{facts}"
    train, test = made_facts(facts)
    sides = [[q for q in test if seen_by_projector(q) is seen] for seen in (True, False)]
    asked = [dataclasses.replace(q, domain=name) for side in sides for q in spread(side, ASKED // 2)]
    align = [q for q in train if seen_by_projector(q)]
    for part, questions in (("train", train), ("align", align), ("test", asked)):
        write_jsonl(out / "data" / name / f"{part}.jsonl", questions)


def write_workspace(out: Path, sizes: Sequence[int], choices: Sequence[str]) -> None:
    """Write gag.yaml, the preset with `choices` and a domain for every size so far, and the pairs of `sizes`.

    Raises ConfigError where `out` is another workspace, or was measured with other choices.
    """
    path, config = out / FILE_NAME, load_config(preset="demo", overrides=choices)
    domains = {f"facts-{size}": _domain(size) for size in sizes}
    if path.is_file():
        there = load_config(path)
        if not there.domains or any(domain.field != FIELD for domain in there.domains.values()):
            raise ConfigError(f"{out} is another workspace.", "Name another --out.")
        if there.model_dump(exclude={"domains", "preset"}) != config.model_dump(exclude={"domains", "preset"}):
            raise ConfigError(f"{out} was measured with other choices (its {FILE_NAME}).", "Name another --out.")
        domains = {**there.domains, **domains}
    config = config.model_copy(update={"domains": domains})
    out.mkdir(parents=True, exist_ok=True)
    for size in sizes:
        written(out, size)
    with new_file(path) as partial:
        partial.write_text(commented_yaml(config), "utf-8")


def _domain(facts: int) -> DomainConfig:
    """The domain of so many facts as gag.yaml has it."""
    folder = f"data/facts-{facts}"
    return DomainConfig(field=FIELD, qa=f"{folder}/train.jsonl", align_qa=f"{folder}/align.jsonl")


def draw(rows: Sequence[Row], path: Path) -> None:
    """Recall of unseen facts against the number of facts, a line for each number of slots, and the expert's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    lines: dict[str, list[Row]] = {"the expert itself": []}
    for row in rows:
        if row.domain.endswith(", unseen"):
            who, slots = row.method.split(", ")
            label = f"gag, {slots.removesuffix('s') if slots == '1 slots' else slots}"
            lines.setdefault("the expert itself" if who == "expert" else label, []).append(row)
    for label, points in lines.items():
        at = {int(p.domain.split()[0]): p for p in points}
        ends = [((p.value - (p.ci_low or p.value)), ((p.ci_high or p.value) - p.value)) for p in at.values()]
        values, expert = [p.value for p in at.values()], label == "the expert itself"
        colour, line = ("0.4", "--") if expert else (None, "-")
        yerr = list(zip(*ends, strict=True))
        axes.errorbar(list(at), values, yerr, label=label, capsize=3, marker="o", color=colour, linestyle=line)
    axes.set(title="Facts that the projector never saw", xlabel="facts in the domain", ylabel="exact recall")
    axes.set_ylim(0, 1)
    axes.set_xscale("log")
    sizes = sorted({int(row.domain.split()[0]) for row in rows})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.legend()
    with new_file(path) as partial:
        figure.savefig(partial, dpi=130, format="png")


def _progress(step: str, done: int, total: int, note: str = "") -> None:
    if done == total or done % 100 == 0:
        print(f"{time.strftime('%H:%M:%S')} {step} {done}/{total} {note}", flush=True)


if __name__ == "__main__":
    main()
