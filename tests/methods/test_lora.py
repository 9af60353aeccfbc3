"""lora: a copy of the base learns the domain's pairs; the base that everything else uses never changes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gag.config import ExpertConfig, LoraConfig
from gag.errors import InputError
from gag.methods.base import ClosedBook
from gag.methods.lora import LoRA, training_choices
from gag.methods.method import BaseBacked
from gag.methods.shelf import Shelf
from gag.models.fingerprint import identity_fingerprint, weights_checksum
from gag.records import Question, read_questions, write_jsonl
from gag.workspace import open_workspace

from .conftest import Told, pairs

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

GENERAL = [Question("g", "who wrote it?", ("x",))]


def open_shelf(root: Path, *overrides: str, told: Told | None = None) -> Shelf:
    return Shelf(open_workspace(root, overrides=overrides), on_progress=Told() if told is None else told)


def backed(shelf: Shelf, name: str, domain: str | None = None) -> BaseBacked:
    method = shelf.method(name, domain)
    assert isinstance(method, BaseBacked)
    return method


def test_it_learns_and_the_base_stays_as_it_is(lab: Path) -> None:
    shelf = open_shelf(lab, "lora.epochs=20", "lora.learning_rate=2e-2")
    before = weights_checksum(shelf.base.model), identity_fingerprint(shelf.base.model)
    questions = read_questions(lab / "qa.jsonl")
    closed = backed(shelf, "base").gold_nll(questions)
    method = backed(shelf, "lora", "alloys")
    answers, losses = method.answer_and_nll(questions)
    assert sum(losses) < sum(closed) - 0.5 * len(questions)
    assert {(a.method, a.route, a.knowledge_tokens) for a in answers} == {("lora", None, 0)}
    assert (weights_checksum(shelf.base.model), identity_fingerprint(shelf.base.model)) == before
    assert backed(shelf, "base").gold_nll(questions) == pytest.approx(closed, abs=1e-6)
    assert isinstance(method.preparing, LoRA) and method.preparing.base.model is not shelf.base.model
    assert not any(p.requires_grad for p in method.preparing.base.model.parameters())


def test_its_prompt_is_the_general_routes(lab: Path) -> None:
    shelf = open_shelf(lab)
    lora = backed(shelf, "lora", "alloys").preparing.prepare(GENERAL)[0]
    base = ClosedBook(shelf.base, shelf.system.general, shelf.chosen_generation(None)).prepare(GENERAL)[0]
    assert lora.prompt == base.prompt


def test_it_is_trained_once_and_gone_on_with(lab: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        open_shelf(lab, told=Told("lora")).method("lora", "alloys")
    first, told = open_shelf(lab), Told()
    loss = backed(first, "lora", "alloys").gold_nll(GENERAL)
    again = open_shelf(lab, told=told)
    assert backed(again, "lora", "alloys").gold_nll(GENERAL) == pytest.approx(loss, abs=1e-5)
    assert told == [("lora", 1, 1, "kept")]
    (folder,) = (lab / "runs" / "alloys").glob("lora-*")
    assert json.loads((folder / "step.json").read_text())["step"] == "lora"


def test_it_learns_all_that_gag_learns(lab: Path) -> None:
    write_jsonl(lab / "align.jsonl", [*pairs(8, "alloy"), *pairs(3, "other")])
    assert open_shelf(lab).build("alloys").all_pairs == [
        *read_questions(lab / "qa.jsonl"),
        *read_questions(lab / "align.jsonl")[8:],
    ]
    told = Told()
    open_shelf(lab, "lora.epochs=1", told=told).method("lora", "alloys")
    assert told[-1][:3] == ("lora", 3, 3), "eleven pairs, four a step"
    (placed,) = (note for step, _, _, note in told if step == "loaded")
    assert re.match("copy of the base .* on cpu in float32", placed)


def test_it_learns_nothing_of_what_was_taken_out(lab: Path) -> None:
    made = {"style": "factual", "document": "d", "passage": "d#0", "quote": "Zinc"}
    write_jsonl(lab / "data" / "polymers" / "qa.jsonl", pairs(4, "polymer", **made))
    write_jsonl(lab / "data" / "polymers" / "passages.jsonl", [{"id": "d#0", "document_id": "d", "text": "Tin."}])
    with pytest.raises(InputError, match="gone or changed"):
        open_shelf(lab, "domains.polymers.qa=null").method("lora", "polymers")


def test_two_domains_share_a_copy_and_keep_apart(lab: Path) -> None:
    shelf = open_shelf(lab, "lora.learning_rate=5e-2")
    questions = read_questions(lab / "qa.jsonl")
    alloys = backed(shelf, "lora", "alloys")
    before = alloys.gold_nll(questions)
    polymers = backed(shelf, "lora", "polymers")
    assert polymers.gold_nll(questions) != pytest.approx(before, abs=1e-3)
    assert alloys.gold_nll(questions) == pytest.approx(before, abs=1e-5)
    assert isinstance(alloys.preparing, LoRA) and isinstance(polymers.preparing, LoRA)
    assert alloys.preparing.base.model is polymers.preparing.base.model


def test_choices_reach_the_training() -> None:
    config = LoraConfig(rank=3, alpha=5, learning_rate=0.5, epochs=4, max_steps=10, batch_size=4, seed=9)
    chosen = training_choices(config, 80)
    assert isinstance(chosen, ExpertConfig)
    assert (chosen.method, chosen.lora_rank, chosen.lora_alpha, chosen.seed) == ("lora", 3, 5, 9)
    assert (chosen.learning_rate, chosen.batch_size) == (0.5, 4)
    assert chosen.epochs == 0.5  # 20 steps an epoch
    assert training_choices(config, 4).epochs == 4
