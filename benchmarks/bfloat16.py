"""How often a bfloat16 token differs when a question is read alone instead of in a batch, and what that does.

    python -m benchmarks.bfloat16 --workspace demo --domain adjuvant [--questions 100]

Takes a built workspace. Backgrounds and answers of the same questions are made in batches of 64 and one at a time;
printed are the shares that differ, and whether the answers' facts do (questions with a `value`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gag.evaluation.metrics import fact_recall
from gag.records import read_questions
from gag.system import GAG
from gag.workspace import open_workspace


def main() -> None:
    """Parse, answer twice, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--questions", type=int, default=100)
    options = parser.parse_args()
    workspace = open_workspace(options.workspace)
    model = GAG.from_config(workspace.config, [workspace.module(options.domain)], root=workspace.root)
    questions = read_questions(workspace.root / "data" / options.domain / "test.jsonl")[: options.questions]
    together = model.answer_all(questions, domain=options.domain)
    alone = [model.answer_all([q], domain=options.domain)[0] for q in questions]
    pairs = list(zip(together, alone, strict=True))
    count = len(pairs)
    backgrounds = sum(a.background != b.background for a, b in pairs)
    texts = sum(a.text != b.text for a, b in pairs)
    facts = [
        (fact_recall(a.text, q.meta["value"]), fact_recall(b.text, q.meta["value"]))
        for (a, b), q in zip(pairs, questions, strict=True)
    ]
    print(f"{count} questions of {options.domain}, {model.base.model.dtype}")
    print(f"backgrounds that differ   {backgrounds / count:7.1%}")
    print(f"answers that differ       {texts / count:7.1%}")
    print(f"facts that change sides   {sum(a != b for a, b in facts) / count:7.1%}")
    print(f"recall in batches, alone  {sum(a for a, _ in facts) / count:7.1%} {sum(b for _, b in facts) / count:7.1%}")


if __name__ == "__main__":
    main()
