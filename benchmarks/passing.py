"""How much of what the expert knows passes through the slots, for facts that the projector saw and for others.

    python -m benchmarks.passing --workspace demo --domain adjuvant [--set KEY=VALUE]…

Builds the domain of a demo workspace with other choices (in modules of its own; steps that are there are kept) and asks
the test questions with the route given. `passed` is the recall of GAG's answers as a share of its background's; facts
whose value has a number in it are told apart from those in words.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from gag.demo.labs import seen_by_projector
from gag.evaluation.metrics import fact_recall
from gag.evaluation.runner import evaluate
from gag.evaluation.statistics import mean_interval
from gag.methods.gag import Injected
from gag.methods.method import BaseBacked
from gag.pipeline import Build
from gag.records import Question, content_hash, read_questions
from gag.system import GAG
from gag.workspace import open_workspace


def _a_number(question: Question) -> bool:
    return any(character.isdigit() for character in question.meta["value"])


KINDS: dict[str, Callable[[Question], bool]] = {
    "": lambda _: True,
    ", numbers": _a_number,
    ", words": lambda q: not _a_number(q),
}
"""What values are made of decides how hard it is to pass them on."""


def main() -> None:
    """Parse, build, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    workspace = open_workspace(options.workspace, overrides=options.set)
    variant = f"variants/{content_hash(workspace.config.model_dump(mode='json'))[:12]}"
    workspace = dataclasses.replace(workspace, modules_folder=variant)
    started = time.perf_counter()
    module = Build(workspace, options.domain, on_progress=_progress).run(Build.module)
    print(f"built in {time.perf_counter() - started:.0f} s: {' '.join(options.set) or 'as the workspace says'}")
    method = BaseBacked(Injected(GAG.from_config(workspace.config, [module.folder], root=workspace.root), oracle=True))
    questions = read_questions(workspace.root / "data" / options.domain / "test.jsonl", require_answers=True)
    print(f"{'facts':15} {'n':>4} {'expert':>8} {'gag':>24} {'passed':>7} {'nll':>7}")
    for side in (True, False):
        asked = [q for q in questions if seen_by_projector(q) is side]
        found = evaluate(method, asked, ("nll", "fact_recall"))
        knew = [fact_recall(a.background or "", q.meta["value"]) for a, q in zip(found.answers, asked, strict=True)]
        for kind, wanted in KINDS.items():
            part = [n for n, q in enumerate(asked) if wanted(q)]
            if not part:
                continue
            said = mean_interval([found.values["fact_recall"][n] for n in part])
            expert, nll = (sum(values[n] for n in part) / len(part) for values in (knew, found.values["nll"]))
            name = f"{'seen' if side else 'unseen'}{kind}"
            recall = f"{said.mean:.3f} [{said.low:.3f}, {said.high:.3f}]"
            print(f"{name:15} {len(part):4} {expert:8.3f} {recall:>24} {said.mean / max(expert, 1e-9):7.2f} {nll:7.3f}")


def _progress(step: str, done: int, total: int, note: str = "") -> None:
    if done == total or done % 100 == 0:
        print(f"  {step} {done}/{total} {note}", flush=True)


if __name__ == "__main__":
    main()
