"""What must hold whatever is done: the base stays as it is, and gradients, domains and batches keep to themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

from gag.config import AlignmentConfig, GenerationConfig, ProjectorConfig, PromptsConfig, ReadoutConfig
from gag.models.base import Base
from gag.models.expert import Expert
from gag.models.fingerprint import identity_fingerprint, weights_checksum
from gag.models.projector import Projector, ProjectorShape
from gag.prompts import Prompts
from gag.records import Question
from gag.testing import FAMILIES, byte_tokenizer, tiny_causal_lm
from gag.training.alignment import Alignment, alignment_examples

PROMPTS = Prompts(PromptsConfig(), "alloys", "")
QUESTIONS = [Question(f"q{n}", "why " * (n + 1), (f"a{n}",)) for n in range(4)]
SOURCE = Path(__file__).parents[1] / "src" / "gag"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("kind", "pooling"), [("mlp", "segment_mean"), ("attention", "none")])
def test_the_whole_way_changes_no_weight_but_the_projectors(
    tmp_path: Path, family: str, kind: str, pooling: str
) -> None:
    """Background, states, alignment and answer, with any family as base and another as expert."""
    other = FAMILIES[(FAMILIES.index(family) + 1) % len(FAMILIES)]
    base = Base(tiny_causal_lm(family, sliding_window=16), byte_tokenizer(), source=family, fingerprint="f")
    expert = Expert(tiny_causal_lm(other, hidden_size=48, sliding_window=16), byte_tokenizer(), PROMPTS)
    held = base.model, expert.model
    before = [(weights_checksum(m), identity_fingerprint(m)) for m in held]
    readout = ReadoutConfig.model_validate({"pooling": pooling, "slots": 2, "layers": [-1, -2], "max_new_tokens": 3})
    readings = expert.read([q.question for q in QUESTIONS], readout)
    torch.manual_seed(0)
    projector = Projector(ProjectorConfig.model_validate({"kind": kind}), ProjectorShape(48, 32, 2, 2))
    projector.initialise([r.states for r in readings], base.table.weight)
    start = {name: t.clone() for name, t in projector.state_dict().items()}
    config = AlignmentConfig(epochs=1, batch_size=4, dev_share=0)
    examples = alignment_examples(base, PROMPTS, QUESTIONS, [r.states for r in readings], 2, config)
    done = Alignment(base, projector, config, tmp_path).train(examples)
    still = {name for name, t in done.tensors.items() if torch.equal(t, start[name])}
    assert still == {"state_mean", "state_deviation"}
    vectors = projector.eval()(readings[0].states[None], torch.ones(1, len(readings[0].states), dtype=torch.bool))
    base.generate([examples[0].prompt], vectors, GenerationConfig(max_new_tokens=2))
    assert [(weights_checksum(m), identity_fingerprint(m)) for m in held] == before
    for model in held:
        assert not model.training
        assert all(p.grad is None for p in model.parameters())
    assert not any(p.requires_grad for p in base.model.parameters())


def source_files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def test_no_source_file_reads_pickles_or_runs_foreign_code() -> None:
    files = source_files()
    assert len(files) > 50
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name.partition(".")[0] for alias in node.names}
                names |= {(getattr(node, "module", None) or "").partition(".")[0]}
                assert not names & {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "print", "torch.save"), f"{path} line {node.lineno}: {called}"
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                if called == "torch.load":
                    assert given.get("weights_only") == "True", path
                assert given.get("trust_remote_code", "False") == "False", path
