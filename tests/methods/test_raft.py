"""raft: examples from pairs and passages, an adapter on a copy of the base, answers whose quotes have their places."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest

from gag.answering import Prepared
from gag.config import RaftConfig
from gag.errors import ConfigError, InputError
from gag.methods.method import BaseBacked
from gag.methods.raft import RAFT
from gag.methods.raft_training import make_examples, trained_raft, training_rows
from gag.methods.shelf import Shelf
from gag.models.base import Base
from gag.models.fingerprint import weights_checksum
from gag.raft.citation import ANSWER, BEGIN, END, cited_prompt
from gag.raft.examples import write_examples
from gag.records import Answer, Citation, Passage, Question, read_questions, write_jsonl
from gag.testing import byte_tokenizer
from gag.workspace import open_workspace

from .conftest import ListStore, Told

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

TEXTS = [f"Alloy {n} is made of a{n}." for n in range(8)]
PAIRS = [Question(f"q{n}", f"What is alloy {n} made of?", (f"a{n}",), meta={"passage": f"p{n}"}) for n in range(6)]
CONFIG = RaftConfig(distractors=2)


def open_shelf(root: Path, *overrides: str, told: Told | None = None) -> Shelf:
    small = ("raft.distractors=2", "raft.rank=2", "raft.alpha=4", "raft.epochs=1", "raft.max_new_tokens=16")
    return Shelf(open_workspace(root, overrides=(*small, *overrides)), on_progress=Told() if told is None else told)


@pytest.fixture
def stocked(lab: Path) -> Path:
    """The workspace with pairs that name their passages."""
    rows = [{"id": f"p{n}", "document_id": "d", "text": text} for n, text in enumerate(TEXTS)]
    write_jsonl(lab / "data" / "alloys" / "passages.jsonl", rows)
    pairs = [{"id": q.id, "question": q.question, "answers": list(q.answers), **q.meta} for q in PAIRS]
    write_jsonl(lab / "raft.jsonl", pairs)
    settings = (lab / "gag.yaml").read_text("utf-8")
    settings = settings.replace("documents: documents.jsonl", "passages: data/alloys/passages.jsonl")
    (lab / "gag.yaml").write_text(settings.replace("qa: qa.jsonl", "qa: raft.jsonl"), "utf-8")
    return lab


def test_hard_distractors_are_what_is_found_without_what_holds_the_answer() -> None:
    store = ListStore(TEXTS)
    made = make_examples(PAIRS, store.held, store, RaftConfig(distractors=3, oracle_share=1.0))
    shown = {example.id: {passage.id for passage in example.passages} for example in made.examples}
    assert shown["q0"] == {"p0", "p1", "p2", "p3"} and shown["q5"] == {"p5", "p0", "p1", "p2"}
    assert store.asked == [question.question for question in PAIRS]
    assert (made.left_out, dict(made.found_by)) == ({}, {"passage": 6})


def test_where_all_near_misses_hold_the_answer_others_are_drawn() -> None:
    store = ListStore([TEXTS[0]] * 40 + TEXTS[1:5])
    made = make_examples(PAIRS[:1], store.held, store, RaftConfig(distractors=3, oracle_share=1.0))
    (example,) = made.examples
    assert {passage.text for passage in example.passages} <= set(TEXTS[:5])
    assert sum(passage.text == TEXTS[0] for passage in example.passages) == 1


def test_random_distractors_need_no_search_and_the_seed_decides() -> None:
    store = ListStore(TEXTS)
    config = RaftConfig(distractors=3, negatives="random", oracle_share=0.0)
    made = make_examples(PAIRS, store.held, store, config)
    assert store.asked == []
    for example, number in zip(made.examples, range(6), strict=True):
        assert len({p.id for p in example.passages} - {f"p{number}"}) == 4
    assert made.examples == make_examples(PAIRS, store.held, store, config).examples
    assert made.examples != make_examples(PAIRS, store.held, store, config.model_copy(update={"seed": 1})).examples


def test_what_cannot_be_used_is_said() -> None:
    store = ListStore(TEXTS)
    lost = Question("lost", "What?", ("x",), meta={"passage": "p99"})
    made = make_examples([*PAIRS, lost], store.held, store, CONFIG)
    assert made.left_out == {"lost": "its passage 'p99' is not among the domain's passages"}
    assert len(made.examples) == 6
    with pytest.raises(InputError, match=r"None of 1 questions .* 'p99' is not among"):
        make_examples([lost], store.held, store, CONFIG)
    with pytest.raises(InputError, match="has 7 passages that do not hold its answer, of 21"):
        make_examples(PAIRS, store.held, store, RaftConfig(distractors=20))


def test_only_the_target_is_learnt_and_what_is_too_long_loses_distractors() -> None:
    store = ListStore(TEXTS)
    examples = make_examples(PAIRS[:1], store.held, store, RaftConfig(distractors=3, oracle_share=1.0)).examples
    tokenizer = byte_tokenizer()
    (row,), shortened = training_rows(examples, tokenizer, 4096)
    learnt = [token for token in row["labels"] if token != -100]
    assert row["labels"] == [-100] * (len(row["labels"]) - len(learnt)) + learnt
    assert row["input_ids"][-len(learnt) :] == learnt and shortened == 0
    text = str(tokenizer.decode(learnt, skip_special_tokens=True))
    assert f"{BEGIN} {TEXTS[0]} {END}" in text and text.endswith(f"{ANSWER} a0")
    (short,), shortened = training_rows(examples, tokenizer, len(row["input_ids"]) - 1)
    assert shortened == 1 and len(short["input_ids"]) < len(row["input_ids"])
    assert TEXTS[0] in str(tokenizer.decode(short["input_ids"]))
    with pytest.raises(InputError, match="tokens without distractors; 64 fit"):
        training_rows(examples, tokenizer, 64)


def test_it_is_trained_once_on_a_copy_and_answers(stocked: Path) -> None:
    told = Told()
    shelf = open_shelf(stocked, told=told)
    before = weights_checksum(shelf.base.model)
    method = shelf.method("raft", "alloys")
    assert isinstance(method, RAFT) and not isinstance(method, BaseBacked)
    (answer,) = method.answer([Question("q", "What is alloy 3 made of?")])
    assert answer.method == "raft" and answer.citations is not None and answer.knowledge_tokens > 0
    assert weights_checksum(shelf.base.model) == before
    assert method.quoting.base.model is not shelf.base.model
    assert "tuned on 6 examples from its pairs" in shelf.remarks["raft alloys"]
    again = Told()
    trained_raft(open_shelf(stocked, told=again), "alloys")
    assert [row for row in again if row[0] == "raft"] == [("raft", 1, 1, "kept")]
    assert not [row for row in again if row[0] == "distractors"], "examples are made once, not for every question"
    assert "raft" in told.worked
    (placed,) = (note for step, _, _, note in told if step == "loaded")
    assert re.match("copy of the base .* on cpu in float32", placed)


def test_examples_fit_the_base_too(stocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ListStore(TEXTS)
    examples = make_examples(PAIRS, store.held, store, CONFIG).examples
    write_examples(stocked / "data" / "alloys" / "raft.jsonl", examples)
    whole, _ = training_rows(examples, byte_tokenizer(), 4096)
    longest = max(len(row["input_ids"]) for row in whole)
    path = stocked / "base" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "max_position_embeddings": longest - 1}))
    given: list[Any] = []
    monkeypatch.setattr("gag.methods.raft_training.train_rows", lambda *a, **_: given.append(a[1]) or Path("adapter"))
    trained = trained_raft(open_shelf(stocked), "alloys")
    assert trained.shortened > 0
    assert max(len(row["input_ids"]) for row in given[0].pairs) < longest


def test_an_interrupted_training_goes_on(stocked: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained_raft(open_shelf(stocked, told=Told("raft")), "alloys")
    trained = trained_raft(open_shelf(stocked), "alloys")
    assert trained.adapter.is_dir() and trained.examples == 6


def test_written_examples_win_over_the_pairs(stocked: Path) -> None:
    store = ListStore(TEXTS)
    examples = make_examples(PAIRS[:4], store.held, store, CONFIG).examples
    write_examples(stocked / "data" / "alloys" / "raft.jsonl", examples)
    shelf = open_shelf(stocked, "raft.reasoner=base")
    assert trained_raft(shelf, "alloys").examples == 4
    assert "tuned on 4 examples from raft.jsonl" in shelf.remarks["raft alloys"]


def test_a_reasoner_is_never_replaced_silently(stocked: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no RAFT examples, and raft\.reasoner is base"):
        trained_raft(open_shelf(stocked, "raft.reasoner=base"), "alloys")


def test_an_answer_is_taken_apart_and_its_quote_has_its_place(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ListStore(["Gold melts at 1064 °C.", "Lead melts at 327 °C."])
    said = f"##Reason: As {BEGIN} melts at 1064 °C {END} and {BEGIN} it is hot {END}.\n{ANSWER} 1064 °C"

    class Prepares:
        name, base = "raft", None

        def prepare(self, questions: list[Question]) -> list[Prepared]:
            return [cast(Any, type("Item", (), {"passages": ("p1", "p0")})()) for _ in questions]

    def complete(*_: object, **__: object) -> list[Answer]:
        return [Answer("q", said, "raft", completion_tokens=30)]

    monkeypatch.setattr("gag.methods.raft.complete", complete)
    get = {passage.id: passage for passage in store.held}.__getitem__
    (answer,) = RAFT(cast(Any, Prepares()), get).answer([Question("q", "When does gold melt?")])
    assert answer.text == "1064 °C" and answer.completion_tokens == 30
    assert answer.background is not None and answer.background.startswith("As ")
    assert answer.citations == (Citation("melts at 1064 °C", "p0", (5, 21)), Citation("it is hot"))
    json.dumps(answer.to_json())


def test_lora_and_rag_share_the_tuned_copy(stocked: Path) -> None:
    shelf = open_shelf(stocked)
    both, alone = shelf.method("lora+rag", "alloys"), shelf.method("lora", "alloys")
    assert isinstance(both, BaseBacked) and isinstance(alone, BaseBacked)
    assert both.preparing.base is alone.preparing.base is not shelf.base
    (item,) = both.preparing.prepare([Question("q", "What is alloy 3 made of?", ("a3",))])
    assert item.passages and item.added_tokens > 0
    losses = both.gold_nll(read_questions(stocked / "raft.jsonl"))
    shelf.method("raft", "alloys").answer([Question("q", "What?")])  # another adapter on the same copy
    assert both.gold_nll(read_questions(stocked / "raft.jsonl")) == pytest.approx(losses, abs=1e-5)


def test_the_prompt_counts_what_the_passages_add(stocked: Path) -> None:
    shelf = open_shelf(stocked)
    method = shelf.method("raft", "alloys")
    assert isinstance(method, RAFT)
    (item,) = method.quoting.prepare([Question("q", "What?")])
    bare = method.quoting.base.encode(cited_prompt("What?", ""))
    assert item.added_tokens == len(item.prompt.ids) - len(bare.ids)
    assert [Passage(p.id, p.document_id, p.text) for p in map(shelf.store("alloys").get, item.passages)]
