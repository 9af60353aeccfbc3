"""xrag: gag with another source of the vector, trained in two stages that are kept and gone on with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from gag.config import GenerationConfig, ProjectorConfig, PromptsConfig
from gag.errors import InputError
from gag.methods.method import BaseBacked
from gag.methods.rag import Retriever
from gag.methods.shelf import Shelf
from gag.methods.xrag import XRAG, Training, best_state
from gag.models.base import Base
from gag.models.fingerprint import weights_checksum
from gag.models.projector import Projector, ProjectorShape
from gag.prompts import Prompts
from gag.records import Question
from gag.workspace import open_workspace

from .conftest import ListStore, Told

PROMPTS = Prompts(PromptsConfig(), "alloys", "")
QUESTIONS = [Question("a", "why?", ("x",)), Question("b", "how so?", ("y",))]


def xrag(base: Base) -> XRAG:
    torch.manual_seed(0)
    projector = Projector(ProjectorConfig(), ProjectorShape(8, base.hidden_size, 1, 1))
    projector.initialise([torch.randn(1, 1, 8) for _ in range(4)], base.table.weight)
    return XRAG(base, PROMPTS, GenerationConfig(max_new_tokens=4), Retriever(ListStore(["One.", "Two."]), 1), projector)


def test_the_best_passages_vector_fills_the_slot(base: Base) -> None:
    method = xrag(base)
    items = method.prepare(QUESTIONS)
    for item in items:
        assert item.prompt == base.encode(PROMPTS.domain(item.question.question, 1))
        assert item.vectors is not None
        torch.testing.assert_close(item.vectors, method.projector(torch.ones(1, 1, 1, 8))[0])
        assert (item.added_tokens, item.passages, item.passage_scores) == (1, ("p0",), (1.0,))
    (answer,) = BaseBacked(method).answer(QUESTIONS[:1])
    assert (answer.method, answer.knowledge_tokens, answer.passages) == ("xrag", 1, ("p0",))


def test_no_passage_is_an_error_that_says_so() -> None:
    with pytest.raises(InputError, match="No passage was found"):
        best_state(Retriever(ListStore([]), 1), [])


def training(root: Path, *overrides: str, told: Told | None = None) -> Training:
    return Training(
        Shelf(open_workspace(root, overrides=overrides), on_progress=Told() if told is None else told), "alloys"
    )


@pytest.fixture(scope="module")
def trained(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace with xrag trained; not to be changed."""
    root = tmp_path_factory.mktemp("trained") / "w"
    shutil.copytree(built, root)
    training(root).tuned()
    return root


def folders(root: Path) -> list[str]:
    return sorted(p.name.rpartition("-")[0] for p in (root / "runs" / "alloys").glob("xrag*"))


def test_both_stages_are_trained_once_and_the_base_is_not(lab: Path) -> None:
    told = Told()
    run = training(lab, told=told)
    before = weights_checksum(run.base.model)
    made = run.tuned()
    assert weights_checksum(run.base.model) == before
    assert folders(lab) == ["xrag", "xrag-pretrain"]
    assert told.worked == {"passages", "xrag-pretrain", "teacher", "xrag"}
    again = Told()
    kept = training(lab, told=again).tuned()
    assert again.worked <= {"passages"}
    for name, tensor in made.state_dict().items():
        assert torch.equal(tensor, kept.state_dict()[name]), name


def test_the_first_stage_learns_passages_and_the_second_starts_from_it(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "w")
    run = training(tmp_path / "w")
    pretrained = run._pretrained(run._pretraining_key()).state_dict()
    torch.manual_seed(run._alignment(1, 1e-3).seed)
    assert not torch.equal(pretrained["network.0.weight"], run._projector().state_dict()["network.0.weight"])
    still = training(tmp_path / "w", "xrag.learning_rate=1e-12", "xrag.teacher_weight=0").tuned().state_dict()
    for name, tensor in pretrained.items():
        torch.testing.assert_close(still[name], tensor, msg=name)


def test_an_interrupted_training_goes_on_to_the_same_projector(lab: Path, trained: Path) -> None:
    for at in ("xrag-pretrain", "xrag"):
        with pytest.raises(KeyboardInterrupt):
            training(lab, told=Told(at)).tuned()
    cut, whole = training(lab).tuned().state_dict(), training(trained).tuned().state_dict()
    for name, tensor in whole.items():
        torch.testing.assert_close(cut[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("change", "redone"),
    [
        ("xrag.learning_rate=0.01", {"xrag"}),
        ("xrag.teacher_weight=0", {"xrag"}),
        ("xrag.pretrain_tokens=8", {"xrag-pretrain", "xrag"}),
        ("prompts.base_domain='{question} {knowledge}'", {"xrag"}),
        ("generation.max_new_tokens=2", set()),
        ("alignment.counterfactual=1", set()),
    ],
)
def test_each_change_redoes_just_its_stage(trained: Path, tmp_path: Path, change: str, redone: set[str]) -> None:
    shutil.copytree(trained, tmp_path / "w")
    told = Told()
    training(tmp_path / "w", change, told=told).tuned()
    assert told.worked & {"xrag", "xrag-pretrain"} == redone


def test_the_pretraining_can_be_left_out(lab: Path) -> None:
    told = Told()
    training(lab, "xrag.pretrain_epochs=0", told=told).tuned()
    assert folders(lab) == ["xrag"]
    assert "xrag-pretrain" not in told.worked


def test_the_teacher_is_the_base_that_reads_the_passage(trained: Path) -> None:
    run = training(trained)
    pairs = run._pairs(run._alignment(1, 1e-3))
    assert all(e.teacher is not None and len(e.teacher) == len(e.answer) for e in pairs)
    assert all(e.states.shape == (1, 1, run.shelf.token_encoder.dimension) for e in pairs)
    assert {e.group for e in pairs} == {"a0", "a1", "a2"}  # those that gag's projector learns from
