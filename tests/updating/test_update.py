"""An update learns what is new alone, is measured before it is promoted, and is refused where it does harm."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from filelock import FileLock
from safetensors.torch import load_file, save_file

from gag.corpus.ingest.ingest import Ingest
from gag.corpus.synthesis.generators import Failure, Reply
from gag.corpus.synthesis.journal import Journal, Remembered
from gag.corpus.synthesis.splits import documents_of
from gag.domain import load_module
from gag.errors import BusyError, ConfigError, DomainError, InputError, ModelError, RunError
from gag.formats import texts_by_role
from gag.prompts import Message
from gag.records import pair_mark, read_questions
from gag.training.expert import train_expert
from gag.training.states import StateStore
from gag.updating import candidate as candidates
from gag.updating import update as updates
from gag.updating.candidate import Candidate
from gag.updating.plan import LEARNT, NEW, OLD
from gag.updating.promotion import previous_folder, roll_back
from gag.updating.update import Update
from gag.workspace import Workspace

from .conftest import NEW as NEW_NAMES
from .conftest import OLD as OLD_NAMES
from .conftest import Taken, document, write

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates end before anything is trained."""
    monkeypatch.setattr(Update, "_learn", lambda *_: None)


def test_an_update_takes_a_quarter_of_the_rate_that_so_many_pairs_take(place: Workspace) -> None:
    def rate(pairs: int, **update: Any) -> float:
        expert = place.config.expert.model_copy(update={"learning_rate": 0.008, "full_rate_steps": 4, "epochs": 1})
        config = place.config.model_copy(
            update={"expert": expert, "update": place.config.update.model_copy(update=update)}
        )
        plan: Any = SimpleNamespace(kept=[None] * pairs)
        chosen = Candidate(replace(place, config=config), load_module(place.module("mill")), plan)._expert_config
        assert chosen.for_pairs(10**6) == chosen, "what is chosen is taken"
        return chosen.learning_rate

    batch = place.config.expert.batch_size
    assert [rate(4 * batch), rate(16 * batch)] == [0.002, 0.001]
    assert rate(16 * batch, learning_rate=0.003) == 0.003


def test_a_good_update_is_promoted_and_comes_back(place: Workspace, take: Taken) -> None:
    target = place.module("mill")
    before = files(target)
    stores = set(place.runs("mill").glob("states-*"))
    done = take("new.jsonl")
    assert done.promoted and not done.refused and not done.forced
    assert {row.kind for row in done.measured} == {OLD, LEARNT, NEW}
    assert set(done.seconds) == {"ingest", "synth", "train", "measure", "total"}
    module = load_module(target)
    built, updated = module.provenance["history"]
    assert (module.version, built["made"], updated["made"]) == ("2", "built", "updated")
    assert updated["new"] == len(done.plan.new) and updated["measured"]
    assert done.folder is not None and json.loads((done.folder / "report.json").read_text())["promoted"]

    (new_store,) = set(place.runs("mill").glob("states-*")) - stores
    asked = {q.question for q in (*done.plan.new, *done.plan.replay)}
    everything = read_questions(place.data("mill") / "qa.jsonl")
    others = [q.question for q in everything if q.question not in asked]
    assert len(others) > 10 and StateStore(new_store).missing(others) == others

    after = files(target)
    again = take("new.jsonl")
    assert not again.plan.new and again.folder is None and files(target) == after

    assert files(previous_folder(place, "mill")) == before
    assert [m.version for m in (roll_back(place, "mill"),)] == ["1"] and files(target) == before
    assert roll_back(place, "mill").version == "2" and files(target) == after


def test_an_update_that_may_cost_nothing_is_refused_and_can_be_forced(
    place: Workspace, take: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(place.module("mill"))
    done = take("new.jsonl", choices=("update.max_loss=0",))
    assert not done.promoted and any("update.max_loss" in reason for reason in done.refused)
    assert files(place.module("mill")) == before and not previous_folder(place, "mill").exists()
    assert done.folder is not None and load_module(done.folder / "module").version == "2"

    monkeypatch.setattr(candidates, "train_expert", _kept_only)
    forced = take("new.jsonl", choices=("update.max_loss=0",), force=True)
    assert forced.promoted and forced.forced and forced.refused and forced.folder == done.folder
    assert load_module(place.module("mill")).provenance["history"][-1]["refused"] == forced.refused


def _kept_only(loaded: Any, data: Any, config: Any, out: Path, **more: Any) -> Path:
    assert (out / "adapter").is_dir(), "trained again"
    return train_expert(loaded, data, config, out, **more)


def test_a_bad_update_is_refused(place: Workspace, take: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    def ruined(loaded: Any, data: Any, config: Any, out: Path, **more: Any) -> Path:
        weights = train_expert(loaded, data, config, out, **more) / "adapter_model.safetensors"
        save_file({name: tensor * 300 for name, tensor in load_file(weights).items()}, weights)
        return weights.parent

    before = load_module(place.module("mill"))
    monkeypatch.setattr(candidates, "train_expert", ruined)
    done = take("new.jsonl", choices=("update.projector=keep",))
    assert done.refused and not done.promoted
    assert load_module(place.module("mill")) == before
    assert done.folder is not None
    kept = load_module(done.folder / "module").projector_state()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in before.projector_state().items())


def test_a_base_that_changes_ends_the_update(place: Workspace, take: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Update._measured

    def careless(self: Update, base: Any, *given: Any) -> Any:
        base.table.weight.data[0, 0] += 1
        return measured(self, base, *given)

    before = files(place.module("mill"))
    monkeypatch.setattr(Update, "_measured", careless)
    with pytest.raises(RunError, match="base"):
        take("new.jsonl", choices=("update.projector=keep",), force=True)
    assert files(place.module("mill")) == before


def test_what_a_later_step_refuses_is_refused_before_training(place: Workspace, take: Taken) -> None:
    before = set(place.runs("mill").glob("expert-*"))
    (place.root.parent / "encoder").unlink()
    with pytest.raises(ModelError, match="encoder"):
        take("new.jsonl")
    assert set(place.runs("mill").glob("expert-*")) == before


def test_an_interrupted_update_goes_on_to_the_same_module(place: Workspace, take: Taken, home: Path) -> None:
    for step in ("gates", "expert", "projector", "ask candidate", "promote"):

        def stop(told: str, done: int, total: int, note: str = "", step: str = step) -> None:
            if told == step and note != "kept":
                raise KeyboardInterrupt

        work = Update(place, "mill", updates.Named((place.root / "new.jsonl",)), on_progress=stop)
        with pytest.raises(KeyboardInterrupt):
            work.run()
        if step != "promote":
            assert load_module(place.module("mill")).version == "1"
    through = load_module(place.module("mill"))

    lab = place.root.with_name("other")
    shutil.copytree(home / "lab", lab)
    other = Workspace(lab, place.config)
    done = Update(other, "mill", updates.Named((lab / "new.jsonl",))).run()
    assert done.promoted and done.module is not None
    assert done.module.provenance["key"] == through.provenance["key"]
    for name, tensor in through.projector_state().items():
        assert torch.equal(tensor, done.module.projector_state()[name])


def test_what_ingest_brought_in_is_taken_without_a_path(place: Workspace, take: Taken, untrained: None) -> None:
    assert not take().plan.new
    Ingest(place, "mill").run([place.root / "new.jsonl"])
    done = take()
    assert set(done.plan.documents) < set(NEW_NAMES) and done.plan.new and done.ingested is None


def test_only_new_passages_are_asked_about(
    place: Workspace, take: Taken, untrained: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Sequence[str]] = []
    written = updates.Synthesis

    def watched(task: Any, *more: Any) -> Any:
        seen.append([passage.document_id for passage in task.passages])
        assert {p.document_id for p in task.around} == set(OLD_NAMES)
        return written(task, *more)

    monkeypatch.setattr(updates, "Synthesis", watched)
    take("new.jsonl")
    assert [set(names) for names in seen] == [set(NEW_NAMES)]
    take("new.jsonl")
    assert len(seen) == 1


class Writer:
    """Writes a pair about the passage it sees; `failing` says why it cannot write about the first new one."""

    name = "writer"

    def __init__(self, failing: Failure) -> None:
        self.failing, self.asked = failing, 0

    def complete(self, prompts: Sequence[tuple[Message, ...]], max_tokens: int) -> Iterator[tuple[int, Reply]]:
        for position, prompt in enumerate(prompts):
            self.asked += 1
            text = texts_by_role(prompt)["user"]
            name = next(name for name in NEW_NAMES if name in text)
            amount = re.search(r"flow rate of (\d+ ml)", text)
            assert amount is not None
            quote = f"{name} has a flow rate of {amount[1]}."
            written = f"Question: What is the flow rate of {name}?\nAnswer: {amount[1]}\nQuote: {quote}"
            reply = amount[1] if text.startswith("Text: ") else written
            yield position, self.failing if name == NEW_NAMES[0] else reply


def test_a_passage_that_always_fails_is_left_out(
    place: Workspace, take: Taken, untrained: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(Failure("no connection"))
    journal = Journal(place.runs("mill") / "synth-writer" / "journal.jsonl")
    monkeypatch.setattr(updates, "open_writer", lambda *_: closing(Remembered(writer, journal)))
    choices = ("synthesis.model=base", "synthesis.per_passage=1")
    with pytest.raises(RunError, match="1 of 4 passages failed"):
        take("new.jsonl", choices=choices)
    writer.failing, writer.asked = Failure("too long", lasting=True), 0
    done = take("new.jsonl", choices=choices)
    assert writer.asked == 1 and done.plan.new
    assert done.to_json()["left_out"] == {f"{NEW_NAMES[0]}#1": "too long"}
    again = take("new.jsonl", choices=choices)
    assert writer.asked == 1 and again.to_json()["left_out"] == done.to_json()["left_out"]


def test_pairs_of_a_changed_document_are_dropped_and_made_anew(place: Workspace, take: Taken, untrained: None) -> None:
    rows = [document(n, name) for n, name in enumerate(OLD_NAMES)]
    rows[0] = document(70, OLD_NAMES[0])
    write(place.root / "old.jsonl", rows)
    done = take("old.jsonl")
    assert done.plan.dropped > 0 and done.plan.documents == [OLD_NAMES[0]]
    said = " ".join(q.answers[0] for q in read_questions(place.data("mill") / "qa.jsonl"))
    assert "73 ml" in said and "3 ml" not in said.replace("73 ml", "")


def test_a_document_that_is_gone_takes_its_pairs_along(place: Workspace, take: Taken, untrained: None) -> None:
    write(place.root / "old.jsonl", [document(n, name) for n, name in enumerate(OLD_NAMES) if n])
    done = take("old.jsonl")
    assert done.plan.dropped > 0 and not done.plan.new
    names = {name for q in read_questions(place.data("mill") / "qa.jsonl") for name in documents_of(q)}
    assert names == set(OLD_NAMES[1:])


def test_pairs_of_a_file(place: Workspace, take: Taken, untrained: None) -> None:
    made = place.data("mill") / "qa.jsonl"
    pairs = [json.loads(line) for line in made.read_text("utf-8").splitlines()]
    more = [{"id": f"m{n}", "question": f"How heavy is {n}?", "answers": ["9 kg"]} for n in range(4)]
    own = place.root / "own.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in [*pairs, *more]), "utf-8")
    done = take(qa=own)
    assert [q.id for q in done.plan.new] == [f"m{n}" for n in range(4)]
    assert NEW in done.plan.remarks
    with pytest.raises(ConfigError, match="would teach it nothing"):
        take("new.jsonl", qa=own)


def test_a_file_of_new_pairs_alone_is_refused(place: Workspace, take: Taken, untrained: None) -> None:
    alone = place.root / "alone.jsonl"
    write(alone, [{"id": f"m{n}", "question": f"How heavy is {n}?", "answers": ["9 kg"]} for n in range(20)])
    with pytest.raises(InputError, match=r"None of the \d+ pairs that mill learnt is in .*alone\.jsonl") as refused:
        take(qa=alone, force=True)
    assert "the old pairs and the new ones" in refused.value.hint


def test_an_update_by_which_all_that_was_learnt_goes_must_be_forced(place: Workspace, take: Taken) -> None:
    write(place.root / "old.jsonl", [document(n + 90, f"{name}x") for n, name in enumerate(OLD_NAMES)])
    done = take("old.jsonl", "new.jsonl", choices=("update.projector=keep",))
    assert not done.promoted and any("that it learnt is left" in reason for reason in done.refused)


def test_a_module_built_before_steps_named_their_pairs(place: Workspace, take: Taken, untrained: None) -> None:
    for step in place.runs("mill").glob("expert-*/step.json"):
        row = json.loads(step.read_text("utf-8"))
        del row["pairs"]
        step.write_text(json.dumps(row), "utf-8")
    assert take("new.jsonl").plan.new
    again = take()  # the pairs are others now, but it is known which they were
    assert {pair_mark(q) for q in again.plan.kept} > again.plan.known.trained - {pair_mark(q) for q in again.plan.new}
    shutil.rmtree(place.runs("mill") / "update")
    with pytest.raises(DomainError, match="is not known"):
        take()


def test_one_update_at_a_time(place: Workspace, take: Taken) -> None:
    with FileLock(place.runs("mill") / ".lock"):
        with pytest.raises(BusyError):
            take("new.jsonl")
        with pytest.raises(BusyError):
            roll_back(place, "mill")
    assert not place.data("mill").joinpath("qa.jsonl").read_text("utf-8").count("Quassel")


def test_how_many_are_read_at_once_stops_no_update(place: Workspace, take: Taken) -> None:
    assert take("new.jsonl", choices=("readout.batch_size=3",)).plan.new


def test_modules_that_cannot_be_updated(place: Workspace, take: Taken) -> None:
    with pytest.raises(DomainError, match="another `readout`"):
        take(choices=("readout.max_new_tokens=2",))
    with pytest.raises(DomainError, match="given or trained whole"):
        take(choices=("domains.mill.expert=../expert",))
    tree = yaml.safe_load((place.root / "gag.yaml").read_text("utf-8"))
    tree["domains"] = {"mill": {"style": "Be brief."}}
    (place.root / "gag.yaml").write_text(yaml.safe_dump(tree), "utf-8")
    with pytest.raises(DomainError, match="another `prompts`"):
        take()
    shutil.rmtree(place.module("mill"))
    with pytest.raises(DomainError) as missing:
        take("new.jsonl")
    assert missing.value.hint == "Build it first: gag build mill"
