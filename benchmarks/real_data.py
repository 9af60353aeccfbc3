"""Two real domains end to end: medicine (MedQuAD) and materials (ChemLit-QA), every method, with intervals.

    python -m benchmarks.real_data --data DATA --out runs/real [--domains materials] [--ablations]

Builds both domains through the pipeline (resumable: the same command goes on), evaluates base, constant, egc,
gag-oracle and gag on the test files and on general questions, prints Markdown and writes real_data.json. Answers are
cut to LONGEST tokens for training and for the likelihood, on every method alike.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from safetensors.torch import load_file

from gag.answering import gold_nll, injected
from gag.build_models import BuildModels
from gag.config import DomainConfig, load_config
from gag.evaluation.agreement import general_agreement
from gag.evaluation.bertscore import BertScore
from gag.evaluation.runner import Evaluated, evaluate
from gag.evaluation.statistics import mean_interval, paired_difference
from gag.evaluation.table import Row, markdown_table, write_results
from gag.methods.base import ClosedBook
from gag.methods.constant import Constant
from gag.methods.egc import GeneratedContext
from gag.methods.gag import Injected
from gag.methods.method import BaseBacked, Preparing
from gag.models.base import Base
from gag.models.loading import load_encoder
from gag.models.projector import ConstantToken, Projector, ProjectorShape
from gag.pipeline import Build
from gag.prompts import Prompts
from gag.records import Question, read_questions, write_jsonl
from gag.sources import Sources
from gag.steps import PROJECTOR_FILE
from gag.system import GAG
from gag.training.alignment import Alignment, alignment_examples
from gag.workspace import Workspace

DOMAINS = {
    "medicine": ("rare diseases", "medicine/medquad_train.jsonl", "medicine/medquad_test.jsonl"),
    "materials": ("materials chemistry", "materials/chemlitqa_train.jsonl", "materials/chemlitqa_test.jsonl"),
}
GENERAL_FILES = ("nq_open", "webquestions", "freebaseqa", "hotpotqa")
METRICS = ("nll", "token_f1", "rouge_l", "added_tokens", "seconds")
LAYERS = (-1, -4, -12, -20, -28)
BARE = (-4, -12)
"""Layers that are read without the expert's training too."""
LONGEST = 64
SETTINGS = (
    "expert.max_length=160",
    "expert.truncate_answers=true",
    "expert.epochs=2",
    "expert.batch_size=16",
    "alignment.max_length=200",
    "alignment.truncate_answers=true",
    "alignment.batch_size=16",
    "alignment.counterfactual=0.5",
    "alignment.epochs=2",
    "alignment.dev_share=0.05",
    "readout.max_new_tokens=64",
    "generation.max_new_tokens=64",
)
"""What differs from the preset `demo`: longer answers, fewer passes."""


def main() -> None:
    """Parse, build, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with medicine/, materials/, general/")
    parser.add_argument("--out", type=Path, required=True, help="workspace and results")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--limit", type=int, default=None, help="test questions a domain, for a quick look")
    parser.add_argument("--domains", nargs="+", choices=sorted(DOMAINS), default=list(DOMAINS))
    parser.add_argument("--ablations", action="store_true", help="readout layers and stages, on materials")
    options = parser.parse_args()
    workspace = _workspace(options)
    if options.ablations:
        rows = ablations(workspace, options.data, options.limit)
        write_results(options.out / "ablations.json", rows)
    else:
        rows = comparison(workspace, options)
        write_results(options.out / "real_data.json", rows)
    _say(markdown_table(rows, intervals="brackets"))


def comparison(workspace: Workspace, options: argparse.Namespace) -> list[Row]:
    """Every method on the domains, paired differences, and what happens to general questions."""
    data, limit = options.data, options.limit
    builds = {name: Build(workspace, name, Sources(), on_progress=_progress) for name in options.domains}
    folders = [build.run(Build.module).folder for build in builds.values()]
    constants = {name: build.run(Build.constant) for name, build in builds.items()}
    model = GAG.from_config(workspace.config, folders, root=workspace.root)
    rows: list[Row] = []
    scorer = _scorer()
    with model.frozen():
        for name in options.domains:
            questions = _questions(data / DOMAINS[name][2], name)[:limit]
            module = model.domains[name].module
            token = ConstantToken(module.readout.slots, model.base.table.weight)
            token.load_state_dict(load_file(constants[name] / PROJECTOR_FILE))
            methods: list[Preparing] = [
                ClosedBook(model.base, model.general, module.generation),
                Constant(model.base, module.prompts, token, module.generation),
                GeneratedContext(model, name),
                Injected(model, oracle=True),
                Injected(model),
            ]
            results = {}
            for method in methods:
                started = time.perf_counter()
                result = evaluate(BaseBacked(method), questions, METRICS, longest=LONGEST)
                scores = scorer.f1([a.text for a in result.answers], [q.answers for q in questions])
                result.values["bertscore"] = tuple(scores)
                results[method.name] = result
                rows += result.rows(name)
                answers = [a.to_json() for a in result.answers]
                write_jsonl(workspace.root / f"answers-{name}-{method.name}.jsonl", answers)
                _say(f"{name} {method.name}: {time.perf_counter() - started:.0f} s")
            rows += _differences(name, results)
        rows += _general(model, data, limit)
    return rows


def ablations(workspace: Workspace, data: Path, limit: int | None) -> list[Row]:
    """Answer NLL on materials by readout layer (one token, last state, mlp), without expert and without alignment."""
    name = "materials"
    config = workspace.config
    questions = _questions(data / DOMAINS[name][2], name)[:limit]
    training = _questions(data / DOMAINS[name][1], name)
    readout = config.readout.model_copy(update={"layers": LAYERS, "pooling": "last", "slots": 1})
    projector = config.projector.model_copy(update={"kind": "mlp"})
    config = config.model_copy(update={"readout": readout, "projector": projector})
    place = Workspace(workspace.root, config)
    models = BuildModels(place, _progress)
    trial = _Trial(place, models.base, place.prompts(name), training, questions)
    losses: dict[str, list[float]] = {}
    for label, source in (("trained expert", None), ("untrained expert", config.models.expert.source)):
        build = Build(place, name, Sources(expert=source), on_progress=_progress, base=models.base)
        expert = build.expert()
        store = build.states(expert)
        train_states = store.load([q.question for q in training])
        reader = models.expert(expert, trial.prompts)
        test_states = [reading.states for reading in reader.read([q.question for q in questions], readout)]
        for layer in LAYERS if source is None else BARE:
            position = LAYERS.index(layer)
            learnt, asked = ([s[:, [position]] for s in states] for states in (train_states, test_states))
            found = trial.layer(label, layer, learnt, asked)
            losses |= found
            _say("; ".join(f"{method}: nll {fmean(values):.3f}" for method, values in found.items()))
    rows = [Row.from_interval(method, name, "nll", mean_interval(values)) for method, values in losses.items()]
    for layer in BARE:
        one, other = (losses[f"{label}, layer {layer}"] for label in ("trained expert", "untrained expert"))
        method = f"trained - untrained expert, layer {layer}"
        rows.append(Row.from_interval(method, name, "nll", paired_difference(one, other)))
    return rows


@dataclass(frozen=True)
class _Trial:
    """What is the same for every layer."""

    workspace: Workspace
    base: Base
    prompts: Prompts
    training: Sequence[Question]
    questions: Sequence[Question]

    def layer(
        self, label: str, layer: int, train_states: list[torch.Tensor], test_states: list[torch.Tensor]
    ) -> dict[str, list[float]]:
        """NLL a question with a projector of one layer's last states [1, 1, d]: at -4 as it begins, and trained."""
        config, base, asked = self.workspace.config, self.base, self.questions
        torch.manual_seed(config.alignment.seed)
        module = Projector(config.projector, ProjectorShape(train_states[0].shape[-1], base.hidden_size, 1, 1))
        module.initialise(train_states, base.table.weight)
        found = {}
        for stage in ("untrained projector", "") if layer == -4 else ("",):
            if not stage:
                examples = alignment_examples(base, self.prompts, self.training, train_states, 1, config.alignment)
                folder = self.workspace.root / "ablations" / f"{label.split()[0]}{layer}"
                module.load_state_dict(Alignment(base, module, config.alignment, folder).train(examples).tensors)
            with torch.no_grad():
                vectors = module.eval().to(base.device)(torch.stack(test_states).to(base.device))
            method = ", ".join(part for part in (label, f"layer {layer}", stage) if part)
            prepared = injected(base, self.prompts, asked, vectors, config.generation)
            found[method] = gold_nll(base, prepared, longest=LONGEST)
        return found


def _workspace(options: argparse.Namespace) -> Workspace:
    config = load_config(preset=options.preset, overrides=[*SETTINGS, *options.set])
    data = options.data.resolve()
    domains = {name: DomainConfig(field=field, qa=str(data / train)) for name, (field, train, _) in DOMAINS.items()}
    options.out.mkdir(parents=True, exist_ok=True)
    return Workspace(options.out, config.model_copy(update={"domains": domains}))


def _questions(path: Path, domain: str) -> list[Question]:
    found = read_questions(path, require_answers=True)
    return [Question(q.id, q.question, q.answers, domain, q.meta) for q in found]


def _scorer() -> BertScore:
    loaded = load_encoder(load_config(preset="demo").models.encoder)
    return BertScore(loaded.model, loaded.tokenizer, layer=6)


def _differences(domain: str, results: dict[str, Evaluated]) -> list[Row]:
    """Paired differences that the comparison is about; negative NLL differences favour the first."""
    pairs = (("gag-oracle", "base"), ("gag-oracle", "constant"), ("gag-oracle", "egc"), ("gag", "gag-oracle"))
    rows = []
    for metric in ("nll", "token_f1", "rouge_l", "bertscore"):
        for one, other in pairs:
            rows += _difference(f"{domain} (paired differences)", results[one], results[other], metric)
    routed = [float(a.route is not None and a.route.name == domain) for a in results["gag"].answers]
    rows.append(Row.from_interval("gag", f"{domain} routing", "routing_accuracy", mean_interval(routed)))
    return rows


def _difference(domain: str, one: Evaluated, other: Evaluated, metric: str) -> list[Row]:
    interval = one.difference(other, metric)
    return [] if interval is None else [Row.from_interval(f"{one.method} - {other.method}", domain, metric, interval)]


def _both(gag: BaseBacked, base: BaseBacked) -> tuple[BaseBacked, BaseBacked]:
    return gag, base


def _general(model: GAG, data: Path, limit: int | None) -> list[Row]:
    """Exact match alone and under gag, how many stay general, and whether those are answered as the base alone."""
    rows = []
    for name in GENERAL_FILES:
        questions = read_questions(data / "general" / f"{name}.jsonl", require_answers=True)[: limit or 100]
        base = BaseBacked(ClosedBook(model.base, model.general, model.generation))
        gag = BaseBacked(Injected(model))
        alone = evaluate(base, questions, ("exact_match", "contains"))
        mine = evaluate(gag, questions, ("exact_match", "contains"))
        rows += alone.rows(f"general: {name}") + mine.rows(f"general: {name}")
        rows += _difference(f"general: {name}", mine, alone, "contains")
        found = general_agreement(questions, mine.answers, alone.answers, partial(_both, gag, base))
        routed = [float(i in found.stayed) for i in range(len(questions))]
        same = [float(i in found.same) for i in found.stayed]
        rows.append(Row.from_interval("gag", f"general: {name}", "routed_general", mean_interval(routed)))
        rows.append(Row.from_interval("gag", f"general: {name}", "identical_to_base", mean_interval(same)))
        counts = {"routed": len(found.stayed), "identical": len(found.same), "asked again alone": found.again}
        _say(json.dumps({"general": name, **counts}))
    return rows


def _progress(step: str, done: int, total: int, note: str = "") -> None:
    if done % max(1, total // 10) == 0 or done == total:
        _say(f"{time.strftime('%H:%M:%S')} {step} {done}/{total} {note}")


_say: Callable[[Any], None] = lambda text: print(text, flush=True)  # noqa: E731


if __name__ == "__main__":
    main()
