"""RAFT on ChemLit-QA: python -m benchmarks.raft --data DATA --out DIR [--train N] [--sweep N] [--test N] [--set K=V]…

The tables of the RAFT paper (arXiv 2403.10131) at a size for two cores, SmolLM2-135M as the base, the chunks of
DATA/materials cut into passages as the corpus:

- retrieved: base + RAG, the base tuned without passages (lora), the same with RAG (lora+rag), and RAFT, each with the
  best 1, 3 and 5 passages;
- distractors: the right passage among 0 to 9 near misses, for the three that read passages;
- oracle-share: RAFT trained with the right passage in a share P of its examples, P from 0 to 1.

Questions whose right passage cannot be told are left out of training and test alike. Everything trained and every
answer is kept in DIR: interrupted, the same command goes on. Rows go to DIR/raft.json.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from gag.config import DomainConfig, load_config
from gag.evaluation.answers import AnswerLog, ask
from gag.evaluation.runner import Evaluated, scored
from gag.evaluation.table import Row, markdown_table, write_results
from gag.methods.lora import LoRA, TunedRAG, tuned_copy, tuned_on_pairs
from gag.methods.method import BaseBacked
from gag.methods.raft import RAFT, over
from gag.methods.raft_training import trained_raft
from gag.methods.rag import RAG, Retriever
from gag.methods.shelf import Shelf
from gag.models.tuned_copy import TunedCopy
from gag.raft.oracle import Oracle, Oracles
from gag.records import Passage, content_hash, read_questions, spread, write_jsonl
from gag.retrieval.store import Hit, PassageStore
from gag.system import GAG
from gag.workspace import Workspace

NAME = "materials"
METRICS = (
    "token_f1",
    "rouge_l",
    "contains",
    "citation_verbatim",
    "citation_answer",
    "added_tokens",
    "completion_tokens",
    "seconds",
)
COMPARED = ("token_f1", "rouge_l", "contains")
DEPTHS = (1, 3, 5)
DISTRACTORS = (0, 1, 3, 5, 9)
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SETTINGS = (
    "corpus.chunk_tokens=128",
    "generation.max_new_tokens=64",
    "lora.epochs=2",
    "lora.max_length=512",
    "lora.truncate_answers=true",
    "raft.distractors=2",
    "raft.epochs=1",
    "raft.learning_rate=0.001",
    "raft.accumulation=2",
    "raft.max_new_tokens=128",
)
SWEEP_DEPTH = 3
"""Retrieved passages of the test where P is swept."""
_AT_ONCE = 16


class Fixed:
    """A store of one test: it finds for each question the passages that were chosen for it."""

    def __init__(self, store: PassageStore, chosen: Mapping[str, Sequence[Passage]]) -> None:
        self._store, self._chosen = store, chosen

    def search(self, questions: Sequence[str], k: int) -> list[list[Hit]]:
        """The chosen passages, in their order; `k` of them."""
        return [[Hit(passage, 0.0) for passage in self._chosen[question][:k]] for question in questions]

    def get(self, passage_id: str) -> Passage:
        """The passage of this id."""
        return self._store.get(passage_id)

    def vector(self, passage_id: str) -> Tensor:
        """A passage's mean vector [d]."""
        return self._store.vector(passage_id)


class Tables:
    """One workspace, its models, and the questions of the tables."""

    def __init__(self, workspace: Workspace, data: Path, test: int | None) -> None:
        self.workspace = workspace
        self.system = GAG.from_config(workspace.config, root=workspace.root)
        self.shelf = self.shelf_with()
        self.store = self.shelf.store(NAME)
        finder = Oracles(self.shelf.passages(NAME))
        asked = read_questions(data / "materials" / "chemlitqa_test.jsonl", require_answers=True)
        found = [(question, finder.find(question)) for question in asked]
        usable = [(question, oracle) for question, oracle in found if isinstance(oracle, Oracle)]
        kept = spread(usable, test)
        self.questions = [replace(question, domain=NAME) for question, _ in kept]
        self.oracles = {question.id: oracle for question, oracle in kept}
        self.finder = finder
        _say(f"{len(usable)} of {len(asked)} test questions have their passage in the corpus; {len(kept)} are asked")

    def shelf_with(self, qa: str | None = None, **raft: object) -> Shelf:
        """A shelf over the same base with other pairs or other choices of `raft`."""
        config = self.workspace.config
        domain = config.domains[NAME].model_copy(update={} if qa is None else {"qa": qa})
        changed = {"raft": config.raft.model_copy(update=raft), "domains": {NAME: domain}}
        return Shelf(
            Workspace(self.workspace.root, config.model_copy(update=changed)),
            on_progress=_progress,
            system=self.system,
        )

    @cached_property
    def lora(self) -> TunedCopy:
        """The base tuned on the pairs without passages."""
        return tuned_on_pairs(self.shelf, NAME)

    @cached_property
    def raft(self) -> TunedCopy:
        """The base tuned on RAFT's examples."""
        return tuned_copy(self.shelf, trained_raft(self.shelf, NAME).adapter, "raft")

    def readers(self, retriever: Retriever) -> list[BaseBacked | RAFT]:
        """The methods that read passages, over a retriever."""
        prompts, generation = self.shelf.prompts(NAME), self.shelf.chosen_generation(NAME)
        return [
            BaseBacked(RAG(self.system.base, prompts, generation, retriever)),
            BaseBacked(TunedRAG(self.lora, prompts, generation, retriever)),
            over(self.shelf, NAME, self.raft, retriever),
        ]

    def retrieved(self) -> list[Row]:
        """Every method with 1, 3 and 5 retrieved passages, and RAFT against each."""
        rows: list[Row] = []
        closed = LoRA(self.lora, self.system.general, self.shelf.chosen_generation(NAME))
        alone = self._measured(BaseBacked(closed), "lora", "retrieved")
        rows += alone.rows("no passage")
        for depth in DEPTHS:
            results = [
                self._measured(method, f"{method.name} k={depth}", "retrieved")
                for method in self.readers(Retriever(self.store, depth))
            ]
            rows += [row for result in results for row in result.rows(f"k={depth}")]
            raft = results[-1]
            for other in (*results[:-1], alone):
                rows += _differences(raft, other, f"k={depth}")
        return [replace(row, table="retrieved") for row in rows]

    def distractors(self) -> list[Row]:
        """The right passage among 0 to 9 passages that retrieval takes for it, in an order that is drawn."""
        near = self.store.search([question.question for question in self.questions], max(DISTRACTORS) + 8)
        rows: list[Row] = []
        for count in DISTRACTORS:
            chosen: dict[str, list[Passage]] = {}
            for question, hits in zip(self.questions, near, strict=True):
                oracle = self.oracles[question.id]
                others = [hit.passage for hit in hits if not self.finder.holds(hit.passage, oracle)][:count]
                shown = [oracle.passage, *others]
                random.Random(f"{count} {question.id}").shuffle(shown)
                chosen[question.question] = shown
            for method in self.readers(Retriever(Fixed(self.store, chosen), count + 1)):
                result = self._measured(method, f"{method.name} d={count}", "distractors")
                rows += result.rows(f"{count} distractors")
        return [replace(row, table="distractors") for row in rows]

    def shares(self, train: int) -> list[Row]:
        """RAFT with P from 0 to 1 on fewer examples, asked with retrieved passages."""
        rows: list[Row] = []
        for share in SHARES:
            shelf = self.shelf_with(f"train-{train}.jsonl", oracle_share=share)
            copy = tuned_copy(shelf, trained_raft(shelf, NAME).adapter, "raft")
            method = over(shelf, NAME, copy, Retriever(self.store, SWEEP_DEPTH))
            rows += self._measured(method, f"raft P={share:.1f}", "oracle-share").rows("P")
        return [replace(row, table="oracle-share") for row in rows]

    def _measured(self, method: BaseBacked | RAFT, label: str, table: str) -> Evaluated:
        """The method's answers, kept one by one, under `label`."""
        base = method.quoting.base if isinstance(method, RAFT) else method.preparing.base
        log = AnswerLog(self.workspace.root / "answers", label, table, content_hash(label, base.fingerprint, self._key))
        todo = [question for question in self.questions if log.get(question) is None]
        started = time.perf_counter()
        for start in range(0, len(todo), _AT_ONCE):
            log.add(ask(method, todo[start : start + _AT_ONCE], nll=False))
        if todo:
            _say(
                f"{time.strftime('%H:%M:%S')} {table} {label}: {len(todo)} asked, {time.perf_counter() - started:.0f} s"
            )
        outcomes = [found for question in self.questions if (found := log.get(question)) is not None]
        if len(outcomes) < len(self.questions):
            raise RuntimeError(f"{label} failed on {len(self.questions) - len(outcomes)} questions; see {log.path}")
        return scored(label, outcomes, METRICS)

    @cached_property
    def _key(self) -> list[str]:
        """What all answers depend on."""
        return [self.system.base.fingerprint, self.workspace.config.model_dump_json()]


def main() -> None:
    """Parse, train, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with materials/")
    parser.add_argument("--out", type=Path, required=True, help="workspace and results")
    parser.add_argument("--train", type=int, default=400, help="training questions of lora and RAFT")
    parser.add_argument("--sweep", type=int, default=120, help="training questions of each P")
    parser.add_argument("--test", type=int, default=60, help="test questions")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    tables = Tables(_workspace(options), options.data, options.test)
    rows: list[Row] = []
    makers: list[Callable[[], list[Row]]] = [
        tables.retrieved,
        tables.distractors,
        lambda: tables.shares(options.sweep),
    ]
    with tables.system.frozen():
        for make in makers:
            found = make()
            rows += found
            write_results(options.out / "raft.json", rows)
            _say(markdown_table([replace(row, table="") for row in found], intervals="brackets"))


def _workspace(options: argparse.Namespace) -> Workspace:
    """The workspace with its pairs written: of the training questions the first asked for, spread over all."""
    root = options.out
    root.mkdir(parents=True, exist_ok=True)
    folder = options.data / "materials"
    pairs = read_questions(folder / "chemlitqa_train.jsonl", require_answers=True)
    for count in {options.train, options.sweep}:
        rows = [
            {"id": q.id, "question": q.question, "answers": list(q.answers), **q.meta} for q in spread(pairs, count)
        ]
        write_jsonl(root / f"train-{count}.jsonl", rows)
    config = load_config(preset="demo", overrides=(*SETTINGS, *options.set))
    domain = DomainConfig(
        field="materials chemistry",
        qa=f"train-{options.train}.jsonl",
        documents=str((folder / "chemlitqa_chunks.jsonl").resolve()),
    )
    return Workspace(root, config.model_copy(update={"domains": {NAME: domain}}))


def _differences(one: Evaluated, other: Evaluated, group: str) -> list[Row]:
    """Paired differences, under the two methods' names without what the group says already."""
    names = [name.partition(" k=")[0] for name in (one.method, other.method)]
    rows = []
    for metric in COMPARED:
        interval = one.difference(other, metric)
        if interval is not None:
            rows.append(Row.from_interval(f"{names[0]} - {names[1]}", f"{group}, difference", metric, interval))
    return rows


def _progress(step: str, done: int, total: int, note: str = "") -> None:
    if done % max(1, total // 10) == 0 or done == total:
        _say(f"{time.strftime('%H:%M:%S')} {step} {done}/{total} {note}")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
