"""`rog` on a small graph with a tiny model: training kept and resumed, variants, bad input."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from gag.config import Config, load_config
from gag.errors import ConfigError, InputError
from gag.graph.model import PathModel, Said
from gag.graph.planning import Plan
from gag.graph.store import graph_folder, load_graph
from gag.methods.rog import NAMES, ReasoningOnGraphs, build, variant
from gag.methods.rog_training import POINTER, train_rog
from gag.methods.shelf import Shelf
from gag.records import Question
from gag.testing import write_tiny_model
from gag.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

FILMS = [(f"Film {n}", step, f"{who} {n % 3}") for n in range(6) for step, who in (("by", "Ana"), ("with", "Bo"))]
QUESTIONS = [
    Question(f"{step}{n}", f"who is [Film {n}] {step}", (f"{who} {n % 3}",))
    for n in range(6)
    for step, who in (("by", "Ana"), ("with", "Bo"))
]
CHOICES = {
    "models.expert.source": "expert",
    "models.expert.dtype": "float32",
    "rog.epochs": 1,
    "rog.reasoning_share": 1,
    "rog.lora_rank": 2,
    "rog.batch_size": 4,
    "rog.max_new_tokens": 6,
    "rog.hops": 2,
}


def config(**more: object) -> Config:
    return load_config(overrides=[f"{key}={value}" for key, value in {**CHOICES, **more}.items()])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the graph `films` and what was trained on it; not to be changed."""
    root = tmp_path_factory.mktemp("work")
    write_tiny_model(root / "expert", seed=2)
    table = root / "films.tsv"
    table.write_text("".join("\t".join(row) + "\n" for row in FILMS), "utf-8")
    place = Workspace(root, config())
    load_graph(graph_folder(root, "films"), place.config.graph, triples=table)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # raised inside peft; marks do not reach this far
        train_rog(place, "films", QUESTIONS)
    return place


@pytest.fixture
def place(trained: Workspace, tmp_path: Path) -> Workspace:
    """A copy, to change."""
    shutil.copytree(trained.root, tmp_path / "work")
    return Workspace(tmp_path / "work", trained.config)


@pytest.fixture(scope="module")
def method(trained: Workspace) -> Iterator[ReasoningOnGraphs]:
    made = build(trained, "films")
    yield made
    made.graph.close()


class Scripted(PathModel):
    """Plans and answers as told."""

    def __init__(self, plans: list[Plan], text: str = "") -> None:
        self.plans, self.text, self.read, self.ends = plans, text, [], None

    def plan(self, marked: Any, grounds: Any, beams: int) -> list[list[Plan]]:
        return [self.plans for _ in marked]

    def answer(self, questions: Any, lines: Any, ends: Any, max_new_tokens: int) -> list[Said]:
        self.read, self.ends = list(lines), ends
        return [Said(self.text, 20, 10, 3) for _ in questions]


def scripted(method: ReasoningOnGraphs, model: PathModel, name: str = "rog", **choices: Any) -> ReasoningOnGraphs:
    return variant(ReasoningOnGraphs(method.graph, model, method.config.model_copy(update=choices)), name)


def test_training_is_kept_and_says_what_taught_nothing(place: Workspace) -> None:
    said: list[tuple[str, str]] = []
    again, _ = train_rog(place, "films", QUESTIONS, on_progress=lambda s, d, t, n="": said.append((s, n)))
    assert said == [("rog", "kept")]
    more = [*QUESTIONS, Question("odd", "who is [Zebra Crossing] by", ("Ana 1",))]
    other, left_out = train_rog(place, "films", more, on_progress=lambda s, d, t, n="": said.append((s, n)))
    (placed,) = (note for step, note in said if step == "loaded")
    assert re.match("expert .* on cpu in float32", placed)
    assert other.key != again.key and list(left_out) == ["odd"] and other.left_out == 1
    asking = Workspace(place.root, config(**{"rog.beams": 1, "rog.shown_paths": 1}))
    assert train_rog(asking, "films", more)[0].key == other.key  # how one asks is not what was learnt


def test_what_decides_the_labels_is_part_of_what_was_trained(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gag.methods.rog_training.train_rows", lambda *_, **__: None)
    first = json.loads((place.runs("films") / POINTER).read_text("utf-8"))["key"]
    keys = {first}
    for choice in ({"graph.max_neighbours": 4}, {"graph.max_edges": 50}, {"graph.similarity": 0.9}):
        keys.add(train_rog(Workspace(place.root, config(**choice)), "films", QUESTIONS)[0].key)
    patient = Workspace(place.root, config(**{"graph.timeout": 99, "graph.retries": 9}))
    assert train_rog(patient, "films", QUESTIONS)[0].key == first
    manifest = graph_folder(place.root, "films") / "graph.json"
    row = json.loads(manifest.read_text("utf-8"))
    relations = [{**relation, "count": relation["count"] + 1} for relation in row["relations"]]
    for change in ({"triples": 99}, {"entities": 99}, {"relations": relations}):  # all that an endpoint's graph has
        manifest.write_text(json.dumps({**row, "sha256": "", **change}), "utf-8")
        keys.add(train_rog(place, "films", QUESTIONS)[0].key)
    assert len(keys) == 7


def test_interrupted_training_goes_on_and_ends_alike(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first = json.loads((place.runs("films") / POINTER).read_text("utf-8"))
    adapter = (place.runs("films") / first["run"] / "adapter" / "adapter_model.safetensors").read_bytes()
    shutil.rmtree(place.runs("films"))

    def stop(step: str, done: int, total: int, note: str = "") -> None:
        if step == "rog":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_rog(place, "films", QUESTIONS, on_progress=stop)
    with pytest.raises(InputError, match="No planner has been trained"):
        build(place, "films")
    train_rog(place, "films", QUESTIONS)
    assert (place.runs("films") / first["run"] / "adapter" / "adapter_model.safetensors").read_bytes() == adapter


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_answers(method: ReasoningOnGraphs, name: str) -> None:
    made = variant(method, name)
    assert made.name == name
    answers = made.answer(QUESTIONS[:3])
    assert [a.question_id for a in answers] == [q.id for q in QUESTIONS[:3]]
    assert all(a.method == name for a in answers)
    alone = [made.answer([q])[0] for q in QUESTIONS[:3]]
    assert [a.text for a in alone] == [a.text for a in answers]
    parts = {"link", "follow", "total", *(["plan"] if name != "rog-unplanned" else [])}
    assert parts <= set(answers[0].timings)
    for explanation in made.explain(QUESTIONS[:3]):
        assert explanation.timings["total"] > 0
        if name == "rog-paths":
            assert explanation.answers and all(a.entailed for a in explanation.answers)


def test_planned_paths_are_walked_and_ranked(method: ReasoningOnGraphs) -> None:
    model = Scripted([Plan(("by",), 0.6), Plan(("with",), 0.35), Plan(("by", "^by"), 0.05)])
    (answer,) = scripted(method, model, "rog-paths").answer(QUESTIONS[:1])
    assert answer.text == "Ana 0\nBo 0"  # the third is less than half as likely as the first
    assert answer.background == "Film 0 | by | Ana 0\nFilm 0 | with | Bo 0"
    (answer,) = scripted(method, model, "rog-paths", plan_share=0.9).answer(QUESTIONS[:1])
    assert answer.text == "Ana 0"
    (answer,) = scripted(method, model, "rog-paths", plan_share=0.0).answer(QUESTIONS[:1])
    assert answer.text == "Ana 0\nBo 0\nFilm 3"


def test_the_model_reads_the_paths_and_its_answers_are_tied_to_them(method: ReasoningOnGraphs) -> None:
    model = Scripted([Plan(("by",), 1.0)], "ana 0\nBo 0\n\nana 0")
    made = scripted(method, model, answers="free")
    (explanation,) = made.explain(QUESTIONS[:1])
    assert model.read == [["Film 0 | by | Ana 0"]]
    assert [(a.text, a.entailed) for a in explanation.answers] == [("ana 0", True), ("Bo 0", False)]
    (path,) = explanation.answers[0].paths
    assert (path[0].head, path[0].step, path[0].tail) == ("Film 0", "by", "Ana 0")
    (answer,) = made.answer(QUESTIONS[:1])
    assert (answer.prompt_tokens, answer.knowledge_tokens, answer.completion_tokens) == (20, 10, 3)


def test_answers_are_ends_of_the_paths_that_were_read(method: ReasoningOnGraphs) -> None:
    model = Scripted([Plan(("by", "^by"), 1.0)])
    scripted(method, model).answer(QUESTIONS[:1])
    assert model.ends == [["Film 3"]]
    scripted(method, model, answers="free").answer(QUESTIONS[:1])
    assert model.ends is None
    for name in ("rog", "rog-unplanned"):
        for explanation in variant(method, name).explain(QUESTIONS):  # a random model, held to the paths
            assert explanation.answers and explanation.entailed == 1
            texts = [answer.text for answer in explanation.answers]
            assert len(texts) == len(set(texts))


def test_no_more_lines_than_asked_for(method: ReasoningOnGraphs) -> None:
    model = Scripted([Plan(("by", "^by"), 1.0)])
    scripted(method, model, lines=1).answer(QUESTIONS[:1])
    assert [len(lines) for lines in model.read] == [1]
    for most, shown in ((2, 2), (9, 3)):  # one hop leads to two ends, two hops to a third
        scripted(method, model, "rog-unplanned", lines=most).answer(QUESTIONS[:1])
        assert [len(lines) for lines in model.read] == [shown]


def test_without_a_plan_there_is_no_answer(method: ReasoningOnGraphs) -> None:
    model = Scripted([])
    (answer,) = scripted(method, model, "rog-paths").answer(QUESTIONS[:1])
    assert answer.text == ""
    (explanation,) = scripted(method, model, "rog-paths").explain(QUESTIONS[:1])
    assert explanation.answers == () and explanation.entailed == 0


@pytest.mark.parametrize("text", ["who is [Nothing Such] by", "what time is it"])
def test_an_unknown_entity_is_an_error(method: ReasoningOnGraphs, text: str) -> None:
    with pytest.raises(InputError):
        method.answer([QUESTIONS[0], Question("x", text)])


def test_a_graph_that_changed_its_relations_wants_training_again(place: Workspace) -> None:
    table = place.root / "films.tsv"
    table.write_text(table.read_text("utf-8") + "Film 0\tsequel_of\tFilm 1\n", "utf-8")
    load_graph(graph_folder(place.root, "films"), place.config.graph, triples=table)
    with pytest.raises(InputError, match="had other relations") as error:
        build(place, "films")
    assert "gag rog train films" in error.value.hint


def test_another_model_is_refused(place: Workspace) -> None:
    shutil.rmtree(place.root / "expert")
    write_tiny_model(place.root / "expert", seed=9)
    with pytest.raises(ConfigError, match="not the one that the planner of films was trained on"):
        build(place, "films")


def test_from_the_shelf(trained: Workspace) -> None:
    made = Shelf(trained).method("rog-paths", "films")
    assert isinstance(made, ReasoningOnGraphs) and made.name == "rog-paths"
    assert {*NAMES} <= set(Shelf.names())
    with pytest.raises(ConfigError, match="needs a graph"):
        Shelf(trained).method("rog")
    with pytest.raises(InputError, match="There is no graph 'fims'"):
        Shelf(trained).method("rog", "fims")


def test_the_variants_are_the_three_ablations(method: ReasoningOnGraphs) -> None:
    made = [variant(method, name) for name in NAMES]
    assert [(m.planning, m.reasoning) for m in made] == [(True, True), (True, False), (False, True)]
    with pytest.raises(ValueError, match="without planning"):
        ReasoningOnGraphs(method.graph, method.model, method.config, planning=False, reasoning=False)


def test_an_adapter_of_the_upper_layers_has_all_their_linear_layers(place: Workspace) -> None:
    upper = Workspace(place.root, config(**{"rog.lora_from_layer": 1}))
    trained, _ = train_rog(upper, "films", QUESTIONS)
    with safe_open(trained.adapter(upper, "films") / "adapter_model.safetensors", framework="pt") as file:
        names = [name.split(".layers.")[1].split(".") for name in file.keys()]  # noqa: SIM118
    assert {int(parts[0]) for parts in names} == {1, 2}
    assert {parts[2] for parts in names} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    }
    assert isinstance(build(upper, "films"), ReasoningOnGraphs)
