"""What `gag demo` does: build two private domains with real training, ask them, compare, leave a workspace behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gag.atomic import new_file
from gag.config import FILE_NAME, Config, DomainConfig, load_config
from gag.demo.labs import LABS, Lab, general_sample, load_lab, seen_by_projector
from gag.errors import ConfigError, RunError
from gag.evaluation.agreement import general_agreement
from gag.evaluation.metrics import fact_recall
from gag.evaluation.runner import Evaluated, evaluate
from gag.evaluation.statistics import mean_interval
from gag.evaluation.table import Row, rich_tables, write_results
from gag.methods.base import ClosedBook
from gag.methods.gag import Injected
from gag.methods.method import BaseBacked
from gag.methods.shelf import Shelf
from gag.pipeline import Build
from gag.progress import Progress, silent
from gag.records import GENERAL, Answer, Question
from gag.sources import Sources
from gag.system import GAG
from gag.workspace import Workspace
from gag.workspace_file import commented_yaml

METHODS = ("base", "constant", "egc", "gag-oracle", "gag")
METRICS = ("nll", "fact_recall", "token_f1", "added_tokens", "seconds")
FAST_DOCUMENTS = 4
"""How many documents of each lab `--fast` takes: less training, the same steps."""
TEST_QUESTIONS, FAST_QUESTIONS = 124, 20
"""Test questions a lab, half of them about facts that the projector never saw."""
GENERAL_QUESTIONS = 40


def _says(file: Path, config: Config) -> bool:
    """Whether a gag.yaml makes just these choices, however it is written."""
    try:
        there = load_config(file)
    except ConfigError:
        return False
    return there.model_dump(exclude={"preset"}) == config.model_dump(exclude={"preset"})


@dataclass
class Demo:
    """One run of the demo in `folder`; `say` prints to the user."""

    folder: Path
    console: Console
    fast: bool = False
    on_progress: Progress = silent
    started: float = field(default_factory=time.perf_counter)

    def run(self) -> list[Row]:
        """Everything, in order; returns the rows of results.json."""
        labs = {name: load_lab(name) for name in LABS}
        if self.fast:
            labs = {name: lab.first(FAST_DOCUMENTS) for name, lab in labs.items()}
        workspace = self.workspace(labs)
        first, second = labs.values()
        self._headline(f"1. Build the domain '{first.name}' from {len(first.train)} question-answer pairs")
        folder = self._build(workspace, first)
        model = GAG.from_config(workspace.config, [folder], root=workspace.root)
        with model.frozen():
            self._headline(f"2. First answers of '{first.name}' beside the base's")
            before = self._first_answers(model, first)
            self._headline(f"3. Build '{second.name}' and attach it to the running system")
            model.attach(self._build(workspace, second))
            self._check_unchanged(model, first, before)
            self._headline("4. Compare every method on questions worded as never seen in training")
            rows, examples = self._compare(workspace, model, labs)
        write_results(workspace.root / "results.json", rows)
        self._show(rows, examples)
        self._say(f"\nThe base's weights are bit for bit what they were. {self._clock()} in all.")
        self._say(f"Workspace: {workspace.root}   Numbers: {workspace.root / 'results.json'}")
        known = [question for question, said in examples if fact_recall(said["gag"], question.meta["value"])]
        asked = known[0] if known else examples[0][0]
        self._say(f'Ask it yourself: gag ask --workspace {workspace.root} "{asked.question}"')
        return rows

    def workspace(self, labs: dict[str, Lab]) -> Workspace:
        """The demo's workspace: gag.yaml from the preset and the labs' data as files."""
        domains = {
            name: DomainConfig(field=lab.field, qa=f"data/{name}/train.jsonl", align_qa=f"data/{name}/align.jsonl")
            for name, lab in labs.items()
        }
        config = load_config(preset="demo").model_copy(update={"domains": domains})
        file = self.folder / FILE_NAME
        written = file.read_bytes() if file.is_file() else None
        own = written is None or written == commented_yaml(config).encode()
        if not own and not _says(file, config):
            raise ConfigError(
                f"{file} is not this demo's own: another workspace, of another version, or changed since.",
                "Name another folder: gag demo FOLDER; or remove this one.",
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, lab in labs.items():
            lab.write(self.folder / "data" / name)
        if own:
            with new_file(file) as partial:
                partial.write_text(commented_yaml(config), encoding="utf-8")
        return Workspace(self.folder, config)

    def _build(self, workspace: Workspace, lab: Lab) -> Path:
        build = Build(workspace, lab.name, Sources(), on_progress=self.on_progress)
        module = build.run(Build.module)
        self._say(f"   {self._clock()}: module {module.folder}")
        folder: Path = module.folder
        return folder

    def _first_answers(self, model: GAG, lab: Lab) -> list[Answer]:
        """Six test questions, half of them about facts the projector never saw."""
        questions = _mixed(lab.test, 6)
        base = BaseBacked(ClosedBook(model.base, model.general, model.generation)).answer(questions)
        answers = model.answer_all(questions)
        table = Table("question", "gold", "base alone", "GAG", "expert sure", show_lines=True)
        for q, alone, mine in zip(questions, base, answers, strict=True):
            mark = "[green]✓[/] " if fact_recall(mine.text, q.meta["value"]) else "[red]✗[/] "
            unseen = "" if seen_by_projector(q) else " (unseen by the projector)"
            sure = "" if mine.background_probability is None else f"{mine.background_probability:.0%}"
            table.add_row(q.question + unseen, q.meta["value"], alone.text, mark + mine.text, sure)
        self.console.print(table)
        self._say(f"   {self._clock()} since the start")
        return answers

    def _check_unchanged(self, model: GAG, lab: Lab, before: Sequence[Answer]) -> None:
        questions = _mixed(lab.test, 6)
        after = model.answer_all(questions, domain=lab.name)
        given = [a for a in before if a.route and a.route.name == lab.name]
        kept = {a.question_id: a.text for a in after}
        if any(kept[a.question_id] != a.text for a in given):
            raise RunError(f"Attaching a domain changed answers of {lab.name}.", "Please report how to repeat this.")
        self._say(f"   '{lab.name}' answers {len(given)} of {len(given)} questions exactly as before.")

    def _compare(
        self, workspace: Workspace, model: GAG, labs: dict[str, Lab]
    ) -> tuple[list[Row], list[tuple[Question, dict[str, str]]]]:
        rows: list[Row] = []
        examples: list[tuple[Question, dict[str, str]]] = []
        shelf = Shelf(workspace, on_progress=self.on_progress, system=model)
        for name, lab in labs.items():
            questions = _mixed(lab.test, FAST_QUESTIONS if self.fast else TEST_QUESTIONS)
            methods = [shelf.method(method, name) for method in METHODS]
            results = []
            for position, method in enumerate(methods):
                self.on_progress(f"compare {name}", position, len(methods), method.name)
                results.append(evaluate(method, questions, METRICS))
            self.on_progress(f"compare {name}", len(methods), len(methods), "done")
            for result in results:
                rows += result.rows(name)
                rows += result.rows(f"{name}/seen", only=seen_by_projector)
                rows += result.rows(f"{name}/unseen", only=lambda q: not seen_by_projector(q))
            rows += _expert_rows(name, results)
            for i in _positions(questions, 2 if name == next(iter(labs)) else 1):
                examples.append((questions[i], {r.method: r.answers[i].text for r in results}))
        rows += self._general(model)
        return rows, examples

    def _general(self, model: GAG) -> list[Row]:
        """How many general questions stay with the base, and that those are answered as the base alone does."""
        questions = general_sample(10 if self.fast else GENERAL_QUESTIONS)
        alone = BaseBacked(ClosedBook(model.base, model.general, model.generation))
        mine = BaseBacked(Injected(model))
        found = general_agreement(questions, mine.answer(questions), alone.answer(questions), lambda: (mine, alone))
        self._say(
            f"   General questions: {len(found.stayed)} of {len(questions)} routed general, "
            f"{len(found.same)} of {len(found.stayed)} answered word for word as the base alone."
        )
        routed = mean_interval([float(i in found.stayed) for i in range(len(questions))])
        rows = [Row.from_interval("gag", GENERAL, "routed_general", routed)]
        if found.stayed:
            same = mean_interval([float(i in found.same) for i in found.stayed])
            rows.append(Row.from_interval("gag", GENERAL, "identical_to_base", same))
        return rows

    def _show(self, rows: Sequence[Row], examples: Sequence[tuple[Question, dict[str, str]]]) -> None:
        for table in rich_tables([row for row in rows if row.domain != GENERAL]):
            self.console.print(table)
        for question, answers in examples:
            table = Table(title=question.question, title_justify="left")
            table.add_column("method")
            table.add_column(f"answer (gold: {question.meta['value']})")
            for method, text in answers.items():
                table.add_row(method, text)
            self.console.print(table)
        if self.fast:
            self._say(
                f"--fast takes {FAST_DOCUMENTS} documents of each lab and trains less: these numbers are of few "
                "questions, and below what the full demo reaches."
            )

    def _headline(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/]")

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False)

    def _clock(self) -> str:
        seconds = round(time.perf_counter() - self.started)
        return f"{seconds // 60} min {seconds % 60:02d} s"


def _mixed(questions: Sequence[Question], count: int) -> list[Question]:
    """`count` questions spread over all of them, every other one about a fact the projector never saw."""
    seen = [q for q in questions if seen_by_projector(q)]
    unseen = [q for q in questions if not seen_by_projector(q)]
    half = min(count // 2, len(unseen))
    return [q for pair in zip(_spread(seen, half), _spread(unseen, half), strict=True) for q in pair]


def _spread(questions: Sequence[Question], count: int) -> list[Question]:
    return [questions[i * len(questions) // count] for i in range(count)]


def _positions(questions: Sequence[Question], count: int) -> list[int]:
    """Positions of questions to show: about facts the projector never saw."""
    unseen = [i for i, q in enumerate(questions) if not seen_by_projector(q)]
    return [unseen[(i + 1) * len(unseen) // (count + 1)] for i in range(count)]


def _expert_rows(domain: str, results: Sequence[Evaluated]) -> list[Row]:
    """The expert's own recall: whether the background it wrote, which egc shows to the base, holds the fact."""
    egc = next(result for result in results if result.method == "egc")
    recalls = tuple(
        fact_recall(answer.background or "", q.meta["value"])
        for answer, q in zip(egc.answers, egc.questions, strict=True)
    )
    expert = Evaluated("expert", egc.questions, egc.answers, {"fact_recall": recalls})
    subsets: dict[str, Callable[[Question], bool] | None] = {
        domain: None,
        f"{domain}/seen": seen_by_projector,
        f"{domain}/unseen": lambda q: not seen_by_projector(q),
    }
    return [row for name, only in subsets.items() for row in expert.rows(name, only=only)]
