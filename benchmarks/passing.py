"""How much of what the expert knows passes through the slots, for facts that the projector saw and for others.

    python -m benchmarks.passing --workspace demo --domain adjuvant [materials …] [--set KEY=VALUE]…
        [--variant "KEY=VALUE KEY=VALUE"]…

Builds the domains of a workspace of the demo, or of `benchmarks.scaling`, with other choices (in modules of its own;
steps that are there are kept) and asks their test questions with the route given. `passed` is the recall of GAG's
answers as a share of its background's; facts whose value has a number in it are told apart from those in words. Of
several domains the questions are taken together. Of several variants, each with `--set` and its own choices, every
later one is compared with the first, on the same questions.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gag.demo.labs import seen_by_projector
from gag.evaluation.metrics import fact_recall
from gag.evaluation.runner import evaluate
from gag.evaluation.statistics import mean_interval, paired_difference
from gag.methods.gag import Injected
from gag.methods.method import BaseBacked
from gag.pipeline import Build
from gag.records import Question, content_hash, read_questions
from gag.system import GAG
from gag.workspace import open_workspace


@dataclasses.dataclass(frozen=True)
class Passed:
    """One test question and GAG's answer; `knew`: the background holds the value (0 or 1), `said`: the answer does."""

    question: Question
    text: str
    knew: float
    said: float
    nll: float


def a_number(question: Question) -> bool:
    """Whether the question's value has a digit in it."""
    return any(character.isdigit() for character in question.meta["value"])


KINDS: dict[str, Callable[[Question], bool]] = {
    "": lambda _: True,
    ", numbers": a_number,
    ", words": lambda q: not a_number(q),
}
"""What values are made of decides how hard it is to pass them on."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, build, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--domain", required=True, nargs="+")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="choices of every variant")
    parser.add_argument("--variant", action="append", metavar="CHOICES", help="choices of one, spaces between them")
    parser.add_argument(
        "--misses", action="store_true", help="name the values that the expert knew and GAG did not say"
    )
    options = parser.parse_args(arguments)
    first: list[Passed] = []
    for variant in options.variant or [""]:
        choices = [*options.set, *shlex.split(variant)]
        found = [answer for domain in options.domain for answer in passed(options.workspace, domain, choices)]
        print(f"\n{', '.join(options.domain)}: {' '.join(choices) or 'as the workspace says'}")
        print(table(found), flush=True)
        if options.misses:
            print(*misses(found), sep="\n", flush=True)
        if first:
            print(against(found, first), flush=True)
        first = first or found


def passed(folder: Path, domain: str, choices: Sequence[str]) -> list[Passed]:
    """Build the domain with these choices and ask its test questions, the route given."""
    workspace = open_workspace(folder, overrides=choices)
    variant = f"variants/{content_hash(workspace.config.model_dump(mode='json'))[:12]}"
    workspace = dataclasses.replace(workspace, modules_folder=variant)
    module = Build(workspace, domain, on_progress=_progress).run(Build.module)
    method = BaseBacked(Injected(GAG.from_config(workspace.config, [module.folder], root=workspace.root), oracle=True))
    questions = read_questions(workspace.root / "data" / domain / "test.jsonl", require_answers=True)
    asked = [dataclasses.replace(question, domain=domain) for question in questions]
    found = evaluate(method, asked, ("nll", "fact_recall"))
    knew = [fact_recall(a.background or "", q.meta["value"]) for a, q in zip(found.answers, asked, strict=True)]
    texts = [answer.text for answer in found.answers]
    rows = zip(asked, texts, knew, found.values["fact_recall"], found.values["nll"], strict=True)
    return [Passed(*row) for row in rows]


def table(found: Sequence[Passed]) -> str:
    """Facts seen and unseen by the projector, all, with a number, in words: what was known, what came through."""
    lines = [f"{'facts':15} {'n':>4} {'expert':>8} {'gag':>24} {'passed':>7} {'nll':>7}"]
    for side in (True, False):
        for kind, wanted in KINDS.items():
            part = [p for p in found if seen_by_projector(p.question) is side and wanted(p.question)]
            if not part:
                continue
            said = mean_interval([p.said for p in part])
            expert, nll = sum(p.knew for p in part) / len(part), sum(p.nll for p in part) / len(part)
            recall = f"{said.mean:.3f} [{said.low:.3f}, {said.high:.3f}]"
            name = f"{'seen' if side else 'unseen'}{kind}"
            lines.append(
                f"{name:15} {len(part):4} {expert:8.3f} {recall:>24} {said.mean / max(expert, 1e-9):7.2f} {nll:7.3f}"
            )
    return "\n".join(lines)


def misses(found: Sequence[Passed]) -> list[str]:
    """A line for every value that the expert's background holds and GAG's answer does not."""
    side = {True: "seen", False: "unseen"}
    lost = [p for p in found if p.knew > p.said]
    return [f"  {side[seen_by_projector(p.question)]}: {p.question.meta['value']!r} became {p.text!r}" for p in lost]


def against(found: Sequence[Passed], first: Sequence[Passed]) -> str:
    """The paired differences of recall and NLL from the first variant's, on seen and on unseen facts."""
    lines = []
    for side in (True, False):
        pairs = [p for p in zip(found, first, strict=True) if seen_by_projector(p[0].question) is side]
        if not pairs:
            continue
        recall = paired_difference([a.said for a, _ in pairs], [b.said for _, b in pairs])
        nll = paired_difference([a.nll for a, _ in pairs], [b.nll for _, b in pairs])
        name = "seen" if side else "unseen"
        said = [f"{v.mean:+.3f} [{v.low:+.3f}, {v.high:+.3f}]" for v in (recall, nll)]
        lines.append(f"{name} - first: recall {said[0]}, nll {said[1]}")
    return "\n".join(lines)


def _progress(step: str, done: int, total: int, note: str = "") -> None:
    if done == total or done % 100 == 0:
        print(f"  {time.strftime('%H:%M:%S')} {step} {done}/{total} {note}", flush=True)


if __name__ == "__main__":
    main()
