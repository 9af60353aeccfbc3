"""Where a comparison happens: its folder, alone in it; the workspace it builds in; and the questions it asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from gag import atomic
from gag.atomic import new_file
from gag.config import FILE_NAME, WHOLE, DomainConfig, load_config, merged, parse_config, settings_under, without
from gag.corpus.synthesis.splits import for_testing, pairs_not_for_testing
from gag.errors import ConfigError, InputError
from gag.evaluation.bench.config import BenchConfig, BenchDomain, GeneralSet, unknown_in_tables
from gag.evaluation.bench.inputs import FILES, answers_depend_on
from gag.evaluation.bench.loading import own_test, settings_tree, workspace_domains, workspace_settings
from gag.evaluation.datasets import dataset_names, read_dataset, read_own
from gag.evaluation.metrics import REGISTRY
from gag.methods.shelf import check_method
from gag.records import GENERAL, Passage, Question, content_hash, read_questions, spread, write_jsonl
from gag.workspace import Workspace

OWN_MODULES = "modules"
"""The folder of a workspace's own domain modules."""
CHOSEN = "chosen"
"""The folder in data/NAME/ of what the bench chose, where nothing is found by its name once it chooses otherwise."""
SPARE = 200
"""At most so many pairs that nothing learns are kept for what is chosen on pairs nobody saw (`dev_qa`)."""
OF_PAIRS = ("align_qa", "align_where", "align_rest", "align_limit", "train_limit", "answers_as_passages")
"""Keys of a domain that choose among its pairs."""
COST_METRICS = ("added_tokens", "prompt_tokens", "seconds")
"""What every answer on a domain's questions cost, after the metrics."""


@dataclass(frozen=True)
class QuestionSet:
    """Questions that methods are asked, and what they are measured by; `domain` is `general` for a general set."""

    name: str
    domain: str
    questions: tuple[Question, ...]
    metrics: tuple[str, ...]
    longest: int | None = None
    cluster: str | None = None
    unseen: str | None = None

    def first(self, limit: int | None, metrics: Sequence[str] = ()) -> QuestionSet:
        """At most `limit` of the questions, spread over all; other metrics where some are named."""
        return replace(self, questions=tuple(spread(self.questions, limit)), metrics=tuple(metrics) or self.metrics)


@dataclass(frozen=True)
class Place:
    """The folder of one comparison and its workspace."""

    config: BenchConfig
    out: Path
    workspace: Workspace

    @property
    def answers(self) -> Path:
        """Where every single answer is kept."""
        return self.out / "answers"

    @cached_property
    def domains(self) -> dict[str, QuestionSet]:
        """Every domain's test questions, each with its domain; raises InputError for what cannot be read."""
        return {name: self._test(name, domain) for name, domain in _domains(self.config, self.workspace).items()}

    @cached_property
    def general(self) -> dict[str, QuestionSet]:
        """The general sets."""
        table = self.config.tables.general
        metrics = table.metrics if table else ()
        return {
            name: QuestionSet(name, GENERAL, tuple(spread(_general_questions(given), given.limit)), metrics)
            for name, given in self.config.general.items()
        }

    def variant(self, domain: str, settings: Mapping[str, Any], *, bare_expert: bool = False) -> Workspace:
        """The workspace of `domain` alone under other choices; its modules lie apart, its runs are shared.

        `bare_expert` takes the expert model as it is, without the expert stage.
        """
        here = self.workspace
        tree = merged(here.config.model_dump(mode="json", exclude={"domains", "preset"}, context=WHOLE), settings)
        config = parse_config(tree, origin="a table's settings")
        chosen = here.config.domains[domain]
        chosen = chosen.model_copy(update={"settings": without(chosen.settings, settings)})
        if bare_expert:
            chosen = chosen.model_copy(update={"expert": config.models.expert.source})
        config = config.model_copy(update={"domains": {domain: chosen}})
        key = content_hash(config.model_dump(mode="json"))[:12]
        return Workspace(here.root, config, f"variants/{key}")

    def answer_key(self, workspace: Workspace, method: str, domain: str | None) -> str:
        """The hash of all that decides a method's answers: choices and training data, of `domain` or of every one."""
        kept = keeps_modules(self.config, workspace)
        return content_hash("answers", 2, method, answers_depend_on(workspace, method, domain, kept_modules=kept))

    def _test(self, name: str, domain: BenchDomain) -> QuestionSet:
        metrics = tuple(dict.fromkeys((*self.config.metrics, *domain.metrics, *COST_METRICS)))
        read = spread(for_testing(read_dataset(domain.format, domain.test)), domain.limit)
        for key in ("cluster", "unseen"):
            field = getattr(domain, key)
            if field is not None and not any(field in question.meta for question in read):
                raise InputError(
                    f"{domain.test}: no question has the field {field!r} of domains.{name}.{key}.",
                    f"Fields there are: {', '.join(sorted({f for q in read for f in q.meta})) or 'none'}.",
                )
        questions = [replace(q, domain=name) for q in read]
        return QuestionSet(name, name, tuple(questions), metrics, domain.longest_gold, domain.cluster, domain.unseen)


def _general_questions(given: GeneralSet) -> list[Question]:
    if given.answered_only and given.path is not None:
        return read_own(Path(given.path), answered_only=True)
    return read_dataset(given.format, given.path)


def alone(out: Path) -> AbstractContextManager[None]:
    """Hold `out` for this process; raises BusyError where another comparison writes into it."""
    mend = "Wait until it is done, or name another folder: --out DIR"
    return atomic.alone(out, f"Another gag bench is writing into {out}.", mend)


def open_place(config: BenchConfig, out: Path) -> Place:
    """The comparison's workspace, made under `out` from the bench's settings or the one that is named; and its data.

    Raises ConfigError and InputError for what is wrong, before anything is trained.
    """
    check_names(config)
    workspace = (
        _made(config, out) if config.workspace is None else _given(config, Path(config.workspace), out / "inputs")
    )
    place = Place(config, out, workspace)
    if not place.domains:
        raise ConfigError(
            f"The workspace {workspace.root} has no domains.",
            "Build one: gag build NAME; or name some under `domains`.",
        )
    if (unknown := unknown_in_tables(config.tables, list(place.domains))) is not None:
        raise ConfigError(
            f"A table names the domain {unknown}, which is not one of domains.",
            f"There are: {', '.join(place.domains)}.",
        )
    _ = place.general
    _check_files(place)
    return place


def _check_files(place: Place) -> None:
    """Refuse a missing file, or a route's order that names no domain, before hours of work; raises InputError."""
    table, general = place.config.tables.routing, place.workspace.config.router.general_questions
    if general is not None and not (path := place.workspace.path(general)).is_file():
        raise InputError(f"router.general_questions: {path} does not exist.", "Check the path.")
    for name in place.domains:
        domain = place.workspace.domain(name)
        for key in FILES:
            said = getattr(domain, key)
            if said is not None and not place.workspace.path(said).is_file():
                raise InputError(
                    f"domains.{name}.{key}: {place.workspace.path(said)} does not exist.", "Check the path."
                )
    if table is None:
        return
    for key in ("pool", "prototypes_from"):
        if (given := getattr(table, key)) is not None:
            read_questions(given)
    if unknown := [name for name in table.order if name not in place.domains]:
        raise ConfigError(f"tables.routing.order names {unknown[0]}, which is not a domain.", "Mend it.")


def check_names(config: BenchConfig) -> None:
    """Refuse a method, a metric or a question set's format of no known name; raises ConfigError."""
    general = config.tables.general
    for method in (*config.methods, *(general.methods if general else ())):
        check_method(method)
    for where, form in (
        *((f"domains.{name}.format", domain.format) for name, domain in config.domains.items()),
        *((f"general.{name}.format", given.format) for name, given in config.general.items()),
    ):
        if form not in dataset_names():
            raise ConfigError(f"{where}: there is no format {form!r}.", f"Known ones: {', '.join(dataset_names())}.")
    known = {name for name, metric in REGISTRY.items() if metric.takes not in ("routes", "clock", "paths")}
    tables = config.tables
    asked = [("metrics", config.metrics)]
    asked += [(f"domains.{name}.metrics", domain.metrics) for name, domain in config.domains.items()]
    asked += [
        (f"tables.{name}.metrics", table.metrics)
        for name, table in (
            ("general", tables.general), ("readout", tables.readout), ("stages", tables.stages), ("depth", tables.depth)
        )
        if table is not None
    ]  # fmt: skip
    for where, names in asked:
        for name in names:
            if name not in known:
                raise ConfigError(f"{where}: there is no metric {name!r}.", f"Known ones: {', '.join(sorted(known))}.")


def _domains(config: BenchConfig, workspace: Workspace) -> dict[str, BenchDomain]:
    if config.domains:
        return config.domains
    return {name: BenchDomain(test=str(own_test(workspace, name))) for name in workspace_domains(workspace)}


def _given(config: BenchConfig, root: Path, inputs: Path) -> Workspace:
    """A workspace that exists, with the bench's choices over its own; the modules of other choices lie apart.

    Nothing of its data or modules is written: what the bench chooses of its files goes to `inputs`, and only where
    it has a module of every domain, built from its own choices, are those asked, as they are.
    """
    if not (root / FILE_NAME).is_file():
        raise ConfigError(f"{root} is no workspace: it has no {FILE_NAME}.", f"Make one with: gag init {root}")
    lab = Workspace(root, load_config(root / FILE_NAME))
    said = settings_tree(config)
    tree = merged(settings_under(lab.config.model_dump(mode="json", context=WHOLE), said), said)
    compared = list(config.domains) or workspace_domains(lab)
    domains = {n: section for n, section in tree["domains"].items() if n in compared or _in_use(lab, n)}
    domains |= {n: {} for n in compared if n not in domains and n not in config.domains}
    for name, domain in config.domains.items():
        written = _written(inputs.resolve() / name, name, _with_own_pairs(domain, lab, name))
        below = domains.get(name, {})
        if below.get("dev_qa") is not None:
            written.pop("dev_qa", None)
        if "documents" in written and "passages" not in written:  # the lab's own passages would come before them
            below = {key: value for key, value in below.items() if key != "passages"}
        domains[name] = merged(below, written)
    wanted = parse_config({**tree, "domains": domains}, origin=f"{root / FILE_NAME} with the bench's settings")
    beside = {"domains", "preset"}
    same = wanted.model_dump(exclude=beside) == lab.config.model_dump(exclude=beside) and all(
        lab.domain(name) == wanted.domains.get(name, DomainConfig()) and lab.module(name).is_dir() for name in compared
    )
    folder = OWN_MODULES if same else f"variants/{content_hash(wanted.model_dump(mode='json'))[:12]}"
    return Workspace(root, wanted, folder)


def _in_use(lab: Workspace, name: str) -> bool:
    """Whether a domain that is not compared is a route all the same: it has a module, and pairs to build it from."""
    return lab.module(name).is_dir() and lab.qa(name) is not None


def _with_own_pairs(domain: BenchDomain, lab: Workspace, name: str) -> BenchDomain:
    """`domain` with the lab's own files of pairs, where it chooses among pairs and names none; raises ConfigError."""
    chosen = [key for key in OF_PAIRS if getattr(domain, key)]
    if domain.qa is not None or not chosen:
        return domain
    own, aligned = lab.qa(name), lab.domain(name).align_qa
    if own is None:
        raise _no_pairs(name, chosen[0])
    found = {"qa": str(own)}
    if domain.align_qa is None and aligned is not None:
        found["align_qa"] = str(lab.path(aligned))
    return domain.model_copy(update=found)


def _no_pairs(name: str, key: str) -> ConfigError:
    return ConfigError(f"domains.{name}.{key} chooses among pairs, but there are none.", f"Name domains.{name}.qa.")


def keeps_modules(config: BenchConfig, workspace: Workspace) -> bool:
    """Whether the modules of `workspace` are its owner's, and asked as they are."""
    return config.workspace is not None and workspace.modules_folder == OWN_MODULES


def _made(config: BenchConfig, out: Path) -> Workspace:
    """The comparison's own workspace with its gag.yaml and training pairs, of use afterwards like any other."""
    root = out / "workspace"
    settings = workspace_settings(config)
    domains = {
        name: _written(root / "data" / name / CHOSEN, name, domain, f"data/{name}/{CHOSEN}")
        for name, domain in config.domains.items()
    }
    whole = parse_config({**settings.model_dump(mode="json", context=WHOLE), "domains": domains}, origin="the bench")
    text = "# Made by gag bench; it is written again at every run.\n" + yaml.safe_dump(
        whole.model_dump(mode="json", exclude={"preset"}, exclude_defaults=True), sort_keys=False, allow_unicode=True
    )
    with new_file(root / FILE_NAME) as partial:
        partial.write_text(text, encoding="utf-8")
    # gag routes to every module that lies there: one of a domain that is no longer compared must not be among them.
    strangers = {path.name for path in (root / "modules").glob("[!.]*")} - set(config.domains)
    return Workspace(root, whole, f"variants/{content_hash(sorted(config.domains))[:12]}" if strangers else "modules")


def _written(folder: Path, name: str, domain: BenchDomain, called: str | None = None) -> dict[str, Any]:
    """The domain's section of gag.yaml; the pairs chosen from the data lie in `folder`, which it calls `called`."""
    called = called or str(folder)
    said = ("field", "style", "documents", "passages", "expert", "settings")
    section: dict[str, Any] = {key: value for key in said if (value := getattr(domain, key))}
    if domain.qa is None:
        for key in OF_PAIRS:
            if getattr(domain, key):
                raise _no_pairs(name, key)
        return section
    pairs = pairs_not_for_testing(Path(domain.qa))
    learned = pairs if domain.align_qa is None else pairs_not_for_testing(Path(domain.align_qa))
    if domain.align_where is not None:
        learned = [q for q in learned if q.meta.get(domain.align_where)]
        if not learned:
            raise InputError(
                f"{domain.align_qa or domain.qa}: in no question is {domain.align_where!r} true.",
                f"Mend domains.{name}.align_where, or leave it out.",
            )
    chosen = spread(pairs, domain.train_limit)
    if domain.align_rest:
        learned = _others(learned, chosen)
        if not learned:
            raise InputError(
                f"domains.{name}: train_limit leaves no pair for align_rest.",
                "Lower train_limit, or leave align_rest out.",
            )
    _write_once(folder / "qa.jsonl", chosen)
    aligned = spread(learned, domain.align_limit or domain.train_limit)
    _write_once(folder / "align.jsonl", aligned)
    section |= {"qa": f"{called}/qa.jsonl", "align_qa": f"{called}/align.jsonl"}
    if spare := spread(_others(pairs, [*chosen, *aligned]), SPARE):
        _write_once(folder / "dev.jsonl", spare)
        section["dev_qa"] = f"{called}/dev.jsonl"
    if domain.answers_as_passages:
        if domain.documents or domain.passages:
            raise ConfigError(
                f"domains.{name} has passages and answers_as_passages.", "Keep one of them, the other left out."
            )
        _write_once(folder / "passages.jsonl", _answers_as_passages([*chosen, *_others(aligned, chosen)]))
        section["passages"] = f"{called}/passages.jsonl"
    return section


def _others(pairs: Sequence[Question], learnt: Sequence[Question]) -> list[Question]:
    """The pairs that are not among `learnt`, nor another wording of one of these."""
    known = {q.id for q in learnt} | {answer for q in learnt for answer in q.answers}
    return [q for q in pairs if q.id not in known and not known.intersection(q.answers)]


def _answers_as_passages(pairs: Sequence[Question]) -> list[Passage]:
    return [Passage(id=q.id, document_id=q.id, text=q.answers[0], heading=q.question) for q in pairs]


def _write_once(path: Path, records: Sequence[Any]) -> None:
    """Write `records` unless the file holds just these, so that its time of change says something."""
    partial = path.with_name(f"{path.name}.new")
    write_jsonl(partial, records)
    if path.is_file() and path.read_bytes() == partial.read_bytes():
        partial.unlink()
    else:
        partial.replace(path)
