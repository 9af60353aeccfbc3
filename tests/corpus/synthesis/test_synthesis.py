"""A whole run: by rules, by a writer, by a tiny local model; what is counted, kept, named as failed, asked again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gag.config import SynthesisConfig
from gag.corpus.synthesis.gates import GATES
from gag.corpus.synthesis.generators import Failure, Reply
from gag.corpus.synthesis.journal import Journal, Remembered
from gag.corpus.synthesis.local_writer import LocalWriter
from gag.corpus.synthesis.splits import Side, assign
from gag.corpus.synthesis.synthesis import Report, Synthesis, Task
from gag.formats import texts_by_role
from gag.models.base import Base
from gag.prompts import Message
from gag.records import Passage
from gag.testing import byte_tokenizer, tiny_causal_lm

NAMES = ("Plovert", "Tarvik", "Zemmel", "Orlat", "Vesk", "Mirrow")
TITLES = {name: f"{name}, a machine" for name in NAMES}
PASSAGES = [
    Passage(f"{name}#1", name, f"{name} has a flow rate of {n + 3} ml. Its shell is made from tin {name[:2]}x.", "Care")
    for n, name in enumerate(NAMES)
]


def task(**choices: Any) -> Task:
    config = SynthesisConfig(**choices)
    sides: dict[str, Side] = assign(NAMES, config.test_share, config.seed)
    return Task("mill", "machines", PASSAGES, TITLES, sides, config)


def named(text: str) -> str:
    return next(name for name in NAMES if name in text)


class Model:
    """Writes a pair about the passage it sees; `wrong` spoils replies, by the name in the prompt."""

    name = "model"

    def __init__(self, **wrong: Any) -> None:
        self.wrong, self.asked = wrong, 0
        self.lengths: list[int] = []

    def complete(self, prompts: Sequence[tuple[Message, ...]], max_tokens: int) -> Iterator[tuple[int, Reply]]:
        self.lengths.append(max_tokens)
        for position, prompt in reversed(list(enumerate(prompts))):
            self.asked += 1
            yield position, self._reply(texts_by_role(prompt)["user"])

    def _reply(self, text: str) -> Reply:
        name = named(text)
        check = text.startswith("Text: ")
        spoiled = self.wrong.get(f"{name}_{'check' if check else 'write'}")
        if spoiled is not None:
            return spoiled  # type: ignore[no-any-return]
        amount = re.search(r"flow rate of (\d+ ml)", text)
        assert amount is not None
        if check:
            return f"It is {amount[1]}."
        quote = f"{name} has a flow rate of {amount[1]}."
        return f"Question: What is the flow rate of {name}?\nAnswer: {amount[1]}\nQuote: {quote}\nBackground: Mills."


def test_the_extractive_run_counts_everything() -> None:
    done = Synthesis(task(), None).run()
    report = done.report
    assert report.generator == "extractive"
    assert report.accepted == len(done.accepted) > 20
    assert report.candidates == report.accepted + sum(report.refused.values())
    assert set(report.refused) == set(GATES)
    assert set(report.documents) == set(NAMES) and all(row["covered"] == 1 for row in report.documents.values())
    assert report.headings == {"Care": report.accepted}
    assert sum(report.kinds.values()) == report.accepted
    assert {side: row["documents"] for side, row in report.splits.items()} == {"train": 5, "test": 1}
    assert Report(**report.to_json()) == report


def test_wordings_of_a_fact_and_all_of_a_document_are_on_one_side() -> None:
    done = Synthesis(task(test_share=0.3), None).run()
    sides: dict[str, set[str]] = {}
    for question in done.accepted:
        sides.setdefault(str(question.meta["document"]), set()).add(str(question.meta["split"]))
    assert all(len(found) == 1 for found in sides.values())
    assert {s for found in sides.values() for s in found} == {"train", "test"}


def test_a_pair_is_traceable() -> None:
    done = Synthesis(task(), None).run()
    texts = {p.id: p.text for p in PASSAGES}
    assert len({q.id for q in done.accepted}) == len(done.accepted)
    for question in done.accepted:
        assert question.domain == "mill" and question.id.startswith("mill-")
        assert str(question.meta["quote"]) in texts[str(question.meta["passage"])]
        assert {"document", "kind", "style", "fact", "generator", "split", "heading"} <= set(question.meta)
    assert [q.id for q in Synthesis(task(), None).run().accepted] == [q.id for q in done.accepted]


def test_a_model_writes_and_checks() -> None:
    model = Model()
    done = Synthesis(task(model="base", per_passage=1), model).run()
    assert [q.question for q in done.accepted] == [f"What is the flow rate of {name}?" for name in NAMES]
    assert model.asked == 12
    assert done.accepted[0].meta["background"] == "Mills."
    assert done.report.failed == {}


SPOILED = {
    "nothing": ("write", "I would rather not.", None),
    "quote": ("write", "Question: What is the flow rate of {}?\nAnswer: 3 ml\nQuote: It says three of them.", "quote"),
    "numbers": ("write", "Question: How fast is {}?\nAnswer: 99 ml\nQuote: {} has a flow rate", "numbers"),
    "self-contained": (
        "write", "Question: What is said in this study of {}?\nAnswer: tin\nQuote: {} has a flow", "self-contained",
    ),
    "check": ("check", "not stated", "answerable"),
    "another answer": ("check", "it is 77 ml", "answerable"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPOILED)
def test_a_spoiled_reply_costs_its_own_pair_only(kind: str) -> None:
    step, reply, gate = SPOILED[kind]
    done = Synthesis(
        task(model="base", per_passage=1), Model(**{f"Zemmel_{step}": reply.format("Zemmel", "Zemmel")})
    ).run()
    assert len(done.accepted) == 5
    assert done.report.unreadable == (gate is None)
    assert [q.meta["refused"]["gate"] for q in done.refused] == ([gate] if gate else [])
    assert sum(done.report.refused.values()) == len(done.refused)
    assert done.report.documents["Zemmel"] == {"pairs": 0, "passages": 1, "covered": 0}


def test_failed_passages_are_named_and_taken_up_by_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    failing = Model(Zemmel_write=Failure("no connection"), Vesk_check=Failure("429: too many requests"))
    with Journal(path) as journal:
        first = Synthesis(task(model="base", per_passage=1), Remembered(failing, journal)).run()
    assert first.report.failed == {"Zemmel#1": "no connection", "Vesk#1": "429: too many requests"}
    assert len(first.accepted) == 4 and first.refused == []
    again = Model()
    with Journal(path) as journal:
        second = Synthesis(task(model="base", per_passage=1), Remembered(again, journal)).run()
    assert again.asked == 3  # Zemmel's pair, its check, and Vesk's check
    assert len(second.accepted) == 6 and second.report.failed == {}


def test_passages_that_would_fail_again_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    cut = Failure("too long", lasting=True)
    for asked in (11, 0):
        model = Model(Zemmel_write=cut, Vesk_check=cut)
        with Journal(path) as journal:
            done = Synthesis(task(model="base", per_passage=1), Remembered(model, journal)).run()
        assert done.report.left_out == {"Zemmel#1": "too long", "Vesk#1": "too long"} and done.report.failed == {}
        assert len(done.accepted) == 4 and model.asked == asked


def test_what_a_run_would_ask_now(tmp_path: Path) -> None:
    model = Model(Zemmel_write=Failure("no connection"), Vesk_check=Failure("no connection"))
    with Journal(tmp_path / "journal.jsonl") as journal:
        run = Synthesis(task(model="base", per_passage=1), Remembered(model, journal))
        assert [len(prompts) for prompts in run.unknown(Remembered(model, journal))] == [6, 0]
        run.run()
        writing, checking = run.unknown(Remembered(model, journal))
    assert [named(texts_by_role(prompt)["user"]) for prompt in (*writing, *checking)] == ["Zemmel", "Vesk"]
    assert (len(writing), len(checking), model.asked) == (1, 1, 11)


def test_the_length_of_a_check_is_a_choice() -> None:
    model = Model()
    Synthesis(task(model="base", per_passage=1, check_tokens=500), model).run()
    assert model.lengths == [160, 500]


def test_a_changed_passage_alone_is_asked_again(tmp_path: Path) -> None:
    path, model = tmp_path / "journal.jsonl", Model()
    with Journal(path) as journal:
        Synthesis(task(model="base", per_passage=1), Remembered(model, journal)).run()
    changed = task(model="base", per_passage=1)
    passages = [Passage(p.id, p.document_id, p.text.replace("7 ml", "70 ml"), p.heading) for p in PASSAGES]
    again = Model()
    with Journal(path) as journal:
        Synthesis(
            Task("mill", "machines", passages, TITLES, changed.sides, changed.config), Remembered(again, journal)
        ).run()
    assert again.asked == 2


def test_raft_names_distractors_of_other_documents() -> None:
    done = Synthesis(task(style="raft", distractors=2, test_share=0), None).run()
    for question in done.accepted:
        distractors = question.meta["distractors"]
        assert len(distractors) == 2 and question.meta["passage"] not in distractors
        assert question.meta["style"] == "raft"


def test_cross_document_pairs_hold_both_sources() -> None:
    done = Synthesis(task(style="cross-document", test_share=0), None).run()
    assert done.accepted
    for question in done.accepted:
        assert question.meta["kind"] == "cross-document"
        assert len(set(question.meta["documents"])) == len(question.meta["quotes"]) == 2


def test_a_model_is_shown_both_passages_for_a_cross_document_pair() -> None:
    run = Synthesis(task(model="base", style="cross-document"), Model())
    requests = run.requests()
    assert requests and all(len(r.passages) == 2 for r in requests)
    sides = run.task.sides
    assert all(sides[r.passages[0].document_id] == sides[r.passages[1].document_id] for r in requests)
    text = texts_by_role(run.prompts(requests[:1])[0])["user"]
    assert "Text 1 from" in text and "Text 2 from" in text


def test_an_unanswerable_pair_must_be_so() -> None:
    reply = "Question: What is the colour of {0}?\nAnswer: not stated\nQuote: none"
    wrong = {f"{name}_write": reply.format(name) for name in NAMES} | {f"{name}_check": "Not stated." for name in NAMES}
    wrong["Zemmel_check"] = "It is red."
    done = Synthesis(task(model="base", style="unanswerable"), Model(**wrong)).run()
    assert len(done.accepted) == 5
    assert {q.answers[0] for q in done.accepted} == {"The documents do not say."}
    assert {q.meta["kind"] for q in done.accepted} == {"unanswerable"}
    assert done.refused[0].meta["refused"]["gate"] == "answerable"


@pytest.mark.parametrize(("model", "requests"), [("base", 24), ("http://x/v1#m", 6)])
def test_an_endpoint_writes_all_pairs_of_a_passage_at_once(model: str, requests: int) -> None:
    run = Synthesis(task(model=model), Model())
    assert len(run.requests()) == requests
    assert sum(len(r.kinds) for r in run.requests()) == 24
    assert {kind for r in run.requests() for kind in r.kinds} >= {"fact", "numeric", "mechanism", "procedure"}


def test_a_tiny_model_goes_through_all_gates() -> None:
    base = Base(tiny_causal_lm(), byte_tokenizer(), source="tiny", fingerprint="f" * 20)
    writer = LocalWriter(base, batch_size=4)
    done = Synthesis(task(model="base", per_passage=1, tokens_per_pair=16), writer).run()
    assert done.report.generator.startswith("tiny@ffff")
    assert done.report.unreadable == 6 and done.accepted == []
    long = [Passage("long#1", "long", "word " * 2000)]
    tall = Task("mill", "m", long, {}, {"long": "train"}, SynthesisConfig(model="base", per_passage=1))
    report = Synthesis(tall, writer).run().report
    assert "context" in report.left_out["long#1"] and not report.failed


def test_a_writer_keeps_to_batches_and_places() -> None:
    base = Base(tiny_causal_lm(), byte_tokenizer(), source="tiny", fingerprint="f")
    prompts = [(Message("user", (f"say {'x' * n}",)),) for n in (9, 1, 5)]
    one = dict(LocalWriter(base, batch_size=1).complete(prompts, 6))
    many = dict(LocalWriter(base, batch_size=3).complete(prompts, 6))
    assert one == many and set(one) == {0, 1, 2}
