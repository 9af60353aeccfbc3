"""The shelf: every method by name over one base; what is missing is built, what is wrong is said."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load_file

from gag.config import GenerationConfig
from gag.errors import ConfigError, DomainError, InputError
from gag.methods import shelf as module
from gag.methods.base import ClosedBook
from gag.methods.constant import Constant
from gag.methods.egc import GeneratedContext
from gag.methods.gag import Injected
from gag.methods.method import BaseBacked
from gag.methods.shelf import BUILT_IN, GROUP, Shelf, check_method, method_names
from gag.models.fingerprint import weights_checksum
from gag.models.projector import ConstantToken
from gag.pipeline import Build
from gag.records import Answer, Question, write_jsonl
from gag.workspace import open_workspace

from .conftest import Told

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

NAMES = ["base", "gag", "gag-oracle", "constant", "egc", "rag", "xrag", "lora", "gag+rag", "gag-or-rag"]
QUESTIONS = [Question("a", "alloy 1?", ("a1",), domain="alloys"), Question("b", "who 1?", ("a1",))]


def open_shelf(root: Path, *overrides: str, **choices: Any) -> Shelf:
    return Shelf(open_workspace(root, overrides=overrides), **choices)


@pytest.fixture(scope="module")
def stocked(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A shelf whose methods are made once for this file."""
    root = tmp_path_factory.mktemp("stocked") / "w"
    shutil.copytree(built, root)
    return open_shelf(root)


def test_the_names() -> None:
    assert list(BUILT_IN)[: len(NAMES)] == NAMES
    assert Shelf.names() == method_names() == list(BUILT_IN)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_answers_over_the_one_base(stocked: Shelf, name: str) -> None:
    before = weights_checksum(stocked.base.model)
    method = stocked.method(name, "alloys")
    assert stocked.method(name, "alloys") is method
    assert isinstance(method, BaseBacked) and method.name == name
    answers, losses = method.answer_and_nll(QUESTIONS)
    assert [a.question_id for a in answers] == ["a", "b"]
    assert {a.method for a in answers} == {name}
    assert all(loss > 0 for loss in losses)
    assert (method.preparing.base is stocked.base) == (name != "lora")
    assert weights_checksum(stocked.base.model) == before


@pytest.mark.parametrize(
    ("name", "added"),
    [("base", (0, 0)), ("lora", (0, 0)), ("gag-oracle", (2, 0)), ("constant", (2, 2)), ("xrag", (1, 1))],
)
def test_what_each_adds(stocked: Shelf, name: str, added: tuple[int, int]) -> None:
    answers = stocked.method(name, "alloys").answer(QUESTIONS)
    assert tuple(a.knowledge_tokens for a in answers) == added


def test_the_oracle_takes_the_questions_own_domain(stocked: Shelf) -> None:
    answers = stocked.method("gag-oracle", "alloys").answer(QUESTIONS)
    assert [a.route.name for a in answers if a.route] == ["alloys", "general"]


def test_what_was_retrieved_with_is_said(stocked: Shelf) -> None:
    stocked.method("rag", "alloys")
    said = stocked.remarks["retrieval alloys"]
    assert re.match(r"alloys: the best 1 \(xrag: the best one\) of \d+ passages", said)
    assert "encoder" in said and "no ColBERT checkpoint is configured" in said
    stocked.method("gag+rag", "alloys")
    stocked.method("base")
    assert stocked.remarks_of("gag+rag", "alloys") == {"retrieval alloys": said}, "though the store was there before"
    assert stocked.remarks_of("base") == {}


@pytest.mark.parametrize(("wrong", "near"), [("rga", "Did you mean"), ("gag_oracle", "gag-oracle"), ("zzz", "")])
def test_an_unknown_method(built: Path, wrong: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"no method '{wrong}'.*{near}") as caught:
        check_method(wrong)
    assert all(name in caught.value.hint for name in NAMES)
    with pytest.raises(ConfigError):
        open_shelf(built).method(wrong)


def test_a_method_of_a_domain_needs_one(built: Path) -> None:
    for name in ("rag", "lora", "constant"):
        with pytest.raises(ConfigError, match=f"{name} needs a domain") as caught:
            open_shelf(built).method(name)
        assert "alloys, polymers" in caught.value.hint
    with pytest.raises(DomainError, match=r"no domain 'aloys'.*Did you mean alloys"):
        open_shelf(built).method("rag", "aloys")


def test_a_module_that_is_missing_is_built_first(lab: Path) -> None:
    told = Told()
    shelf = open_shelf(lab, on_progress=told)
    (answer,) = shelf.method("gag-oracle", "polymers").answer([Question("p", "polymer 1?", domain="polymers")])
    assert (lab / "modules" / "polymers").is_dir()
    assert {"expert", "states", "projector", "prototypes", "module"} <= told.worked
    assert answer.route is not None and answer.route.name == "polymers"
    assert set(shelf.system.domains) == {"alloys", "polymers"}


def test_nothing_to_build_from(lab: Path) -> None:
    (lab / "data" / "law").mkdir(parents=True)
    with pytest.raises(DomainError, match="no domain module 'law'") as caught:
        open_shelf(lab).method("egc", "law")
    assert "gag build law" in caught.value.hint
    with pytest.raises(InputError, match="no passages to retrieve") as missing:
        open_shelf(lab).method("rag", "law")
    assert "domains.law.passages" in missing.value.hint
    with pytest.raises(InputError, match="no question-answer pairs"):
        open_shelf(lab).method("lora", "law")


def test_where_passages_come_from(lab: Path) -> None:
    shelf = open_shelf(lab)
    cut = shelf.passages("alloys")
    assert {p.document_id for p in cut} == {f"alloy{n}" for n in range(5)}
    assert len(cut) > 5
    assert {p.document_id for p in shelf.passages("polymers")} == {f"polymer{n}" for n in range(5)}
    rows = [{"id": "mine", "document_id": "d", "text": "Given."}]
    write_jsonl(lab / "data" / "polymers" / "passages.jsonl", rows)
    assert [p.id for p in open_shelf(lab).passages("polymers")] == ["mine"]
    write_jsonl(lab / "named.jsonl", [{**rows[0], "id": "named"}])
    assert [p.id for p in open_shelf(lab, "domains.alloys.passages=named.jsonl").passages("alloys")] == ["named"]


def test_a_damaged_module_is_left_out_and_named(lab: Path) -> None:
    shutil.copytree(lab / "modules" / "alloys", lab / "modules" / "broken")
    (lab / "modules" / "broken" / "projector.safetensors").write_bytes(b"")
    shelf = open_shelf(lab)
    shelf.method("gag")
    shelf.method("gag-oracle")
    assert set(shelf.system.domains) == {"alloys"}
    assert len(shelf.left_out) == 1
    shutil.rmtree(lab / "modules" / "alloys")
    with pytest.raises(DomainError):
        open_shelf(lab).method("gag")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "lora"])
def test_given_limits_hold_for_every_method(stocked: Shelf, name: str) -> None:
    shelf = Shelf(stocked.workspace, system=stocked.system, generation=GenerationConfig(max_new_tokens=1))
    assert {p.generation.max_new_tokens for p in prepared(shelf, name)} == {1}
    assert {p.generation.max_new_tokens for p in prepared(stocked, name)} == {4}


def prepared(shelf: Shelf, name: str) -> list[Any]:
    method = shelf.method(name, "alloys")
    assert isinstance(method, BaseBacked)
    return method.preparing.prepare(QUESTIONS[:1])


class Parrot:
    """A method of another package, without a base."""

    name = "parrot"

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        return [Answer(q.id, q.question, self.name) for q in questions]


def parrot(shelf: Shelf, domain: str | None) -> Parrot:
    return Parrot()


def broken(shelf: Shelf, domain: str | None) -> Parrot:
    raise ImportError("no parrots here")


def nothing(shelf: Shelf, domain: str | None) -> object:
    return object()


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """`install(parrot="…:parrot")`: entry points as an installed package has them."""

    def installed(**points: str) -> None:
        found = [EntryPoint(name.replace("_", "-"), value, GROUP) for name, value in points.items()]
        monkeypatch.setattr(module, "entry_points", lambda group: found if group == GROUP else [])

    return installed


def test_a_method_of_another_package(stocked: Shelf, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "parrots", SimpleNamespace(make=parrot))
    install(parrot="parrots:make")
    assert stocked.names() == [*BUILT_IN, "parrot"]
    method = stocked.method("parrot")
    assert method.answer(QUESTIONS[:1])[0].text == "alloy 1?"
    with pytest.raises(ConfigError, match="Did you mean parrot"):
        check_method("parot")


def test_one_that_cannot_be_used(stocked: Shelf, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "parrots", SimpleNamespace(broken=broken, nothing=nothing))
    install(lost="nowhere_at_all:make", sick="parrots:broken", empty="parrots:nothing", rag="parrots:nothing")
    for name, reason in {"lost": "nowhere_at_all", "sick": "no parrots here", "empty": "no name and answer"}.items():
        with pytest.raises(ConfigError, match=reason) as caught:
            stocked.method(name)
        assert "add-a-method" in caught.value.hint
    with pytest.raises(ConfigError, match="registers a method 'rag'"):
        Shelf(stocked.workspace, system=stocked.system).method("rag", "alloys")
    assert method_names().count("rag") == 1


def test_without_any_module_gag_says_that_it_is_the_base(lab: Path) -> None:
    shutil.rmtree(lab / "modules")
    shelf = open_shelf(lab)
    (answer,) = shelf.method("gag").answer(QUESTIONS[:1])
    assert answer.route is not None and answer.route.name == "general"
    assert "no domain module" in shelf.remarks["modules"]


def test_the_shelf_gives_what_assembling_by_hand_gives(stocked: Shelf) -> None:
    """As the demo did before there was a shelf."""
    system, config = stocked.system, stocked.workspace.config
    stocked.attached("alloys")
    part = system.domains["alloys"].module
    stocked.method("constant", "alloys")
    (folder,) = (stocked.workspace.root / "runs" / "alloys").glob("constant-*")
    token = ConstantToken(config.readout.slots, system.base.table.weight)
    token.load_state_dict(load_file(folder / "projector.safetensors"))
    by_hand = [
        ClosedBook(system.base, system.general, part.generation),
        Constant(system.base, part.prompts, token, part.generation),
        GeneratedContext(system, "alloys"),
        Injected(system, oracle=True),
        Injected(system),
    ]
    for preparing in by_hand:
        mine = stocked.method(preparing.name, "alloys")
        assert isinstance(mine, BaseBacked)
        answers, losses = mine.answer_and_nll(QUESTIONS)
        wanted, wanted_losses = BaseBacked(preparing).answer_and_nll(QUESTIONS)
        assert [a.text for a in answers] == [a.text for a in wanted]
        assert losses == wanted_losses


def test_methods_take_a_domains_own_choices(lab: Path) -> None:
    shelf = open_shelf(lab, "domains.alloys.settings={generation: {max_new_tokens: 2}, retrieval: {top_k: 1}}")
    assert shelf.chosen_generation("alloys").max_new_tokens == 2
    assert shelf.chosen_generation(None) == shelf.workspace.config.generation
    assert shelf.config("alloys").retrieval.top_k == 1
    assert shelf.config("polymers") is shelf.workspace.config
    write_jsonl(lab / "data" / "alloys" / "passages.jsonl", [{"id": "p", "document_id": "d", "text": "An alloy."}])
    (rag,) = prepared(shelf, "rag")[:1]
    assert rag.generation.max_new_tokens == 2 and len(rag.passages) == 1


@pytest.mark.parametrize("name", ["rag", "constant", "gag-oracle", "egc"])
def test_every_method_asks_in_a_domains_own_words(lab: Path, name: str) -> None:
    words = "'In short, {question} Known:{knowledge}'"
    shelf = open_shelf(lab, f"domains.alloys.settings.prompts.base_domain={words}")
    shelf.build("alloys").run(Build.module)
    write_jsonl(lab / "data" / "alloys" / "passages.jsonl", [{"id": "p", "document_id": "d", "text": "An alloy."}])
    (item,) = prepared(shelf, name)[:1]
    assert shelf.base.decode_text(item.prompt.ids).find("In short,") >= 0


def test_the_base_writes_as_long_as_the_others_of_a_domain(lab: Path) -> None:
    shelf = open_shelf(lab, "domains.alloys.settings.generation.max_new_tokens=2")
    lengths = {}
    for domain in ("alloys", None):
        method = shelf.method("base", domain)
        assert isinstance(method, BaseBacked)
        lengths[domain] = method.preparing.prepare(QUESTIONS[:1])[0].generation.max_new_tokens
    assert lengths == {"alloys": 2, None: 4}


def test_single_choices_come_before_each_routes_own(lab: Path) -> None:
    tree = "domains.alloys.settings.generation.max_new_tokens=2"
    place = open_workspace(lab, overrides=[tree])
    shelf = Shelf(place, generation={"temperature": 0.5})
    assert shelf.chosen_generation("alloys") == GenerationConfig(max_new_tokens=2, temperature=0.5)
    shelf = Shelf(place, generation={"max_new_tokens": 3})
    assert shelf.chosen_generation("alloys").max_new_tokens == 3
