"""The alignment's loss is exact however a step is split, and a run goes on as if it had never stopped."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from accelerate.tracking import GeneralTracker
from torch import Tensor, nn

from gag.config import AlignmentConfig, ProjectorConfig, PromptsConfig
from gag.errors import InputError
from gag.models.base import Base, Prefix
from gag.models.chat import EncodedPrompt
from gag.models.fingerprint import weights_checksum
from gag.models.projector import ConstantToken, Projector, ProjectorShape
from gag.prompts import Prompts
from gag.records import Question
from gag.testing import byte_tokenizer, tiny_causal_lm
from gag.training.alignment import (
    CHECKPOINT,
    Aligned,
    Alignment,
    Example,
    alignment_examples,
    nth_batch,
    schedule,
    split_by_group,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "alignment_loss.json"
SLOTS, LAYERS, WIDTH = 2, 2, 16
PROMPTS = Prompts(PromptsConfig(base_domain="Q: {question}\nK:{knowledge}"), "alloys", "")
KINDS = ("mlp", "gated_residual", "attention")


@lru_cache
def base(family: str = "llama") -> Base:
    return Base(
        tiny_causal_lm(family, seed=8, sliding_window=16), byte_tokenizer(), source=family, fingerprint="f" * 64
    )


def config(**choices: object) -> AlignmentConfig:
    small = {"learning_rate": 1e-2, "epochs": 2, "batch_size": 4, "dev_share": 0.0, "checkpoint_every": 1000}
    return AlignmentConfig.model_validate({**small, **choices})


@lru_cache
def examples(kind: str = "mlp", count: int = 10, family: str = "llama") -> tuple[Example, ...]:
    """Questions and answers of different lengths; the even ones share their answers with the next."""
    generator = torch.Generator().manual_seed(0)
    questions = [Question(f"q{n}", "w" * (1 + 3 * n % 7), ("abcdefgh"[n // 2 :],)) for n in range(count)]
    tokens = [1 + n % 4 if kind == "attention" else SLOTS for n in range(count)]
    states = [torch.randn(t, LAYERS, WIDTH, generator=generator) for t in tokens]
    return tuple(alignment_examples(base(family), PROMPTS, questions, states, SLOTS, config()))


def projector(kind: str = "mlp", **choices: object) -> Projector:
    torch.manual_seed(5)
    chosen = ProjectorConfig.model_validate({"kind": kind, "hidden": 24, **choices})
    made = Projector(chosen, ProjectorShape(WIDTH, 32, SLOTS, LAYERS))
    made.initialise([e.states for e in examples(kind)], base().table.weight)
    return made


class Stop(Exception):
    pass


def align(
    folder: Path,
    chosen: AlignmentConfig,
    *,
    kind: str = "mlp",
    stop: int = 0,
    module: nn.Module | None = None,
    family: str = "llama",
) -> Aligned:
    def told(step: str, done: int, total: int, note: str = "") -> None:
        assert step == "projector" and "loss" in note
        if done == stop:
            raise Stop

    run = Alignment(base(family), module or projector(kind), chosen, folder, on_progress=told)
    return run.train(examples(kind, family=family))


def assert_close(one: Aligned, other: Aligned) -> None:
    assert [step for step, _ in one.run.losses] == [step for step, _ in other.run.losses]
    torch.testing.assert_close(
        torch.tensor([x for _, x in one.run.losses]),
        torch.tensor([x for _, x in other.run.losses]),
        rtol=1e-5,
        atol=1e-6,
    )
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        # Adam makes steps of a gradient near zero as large as any other, so that its rounding shows.
        torch.testing.assert_close(tensor, other.tensors[name], rtol=1e-3, atol=3e-4)


def test_the_logged_loss_is_the_mean_over_the_steps_answer_tokens(tmp_path: Path) -> None:
    done = align(tmp_path, config(max_steps=1))
    batch = nth_batch(examples(), config(), 0)
    assert len({len(e.answer) for e in batch}) > 1
    made = projector().eval().requires_grad_(False)
    nll = [
        base().answer_nll([e.prompt], made(e.states[None], torch.ones(1, SLOTS, dtype=torch.bool)), [e.answer])[0]
        for e in batch
    ]
    assert done.run.losses[0][1] == pytest.approx(float(torch.cat(nll).mean()), rel=1e-5)


TERMS = {"semantic_weight": 0.3, "diversity_weight": 0.2}


@lru_cache
def unsplit(kind: str) -> Aligned:
    with tempfile.TemporaryDirectory() as folder:
        return align(Path(folder), config(epochs=1, **TERMS), kind=kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "choices",
    [{"accumulation": 4}, {"accumulation": 3}, {"batch_tokens": 40}, {"batch_tokens": 8}, {"prefix_cache_gb": 0.0}],
    ids=str,
)
def test_a_step_split_in_any_way_is_the_same_step(tmp_path: Path, kind: str, choices: dict[str, object]) -> None:
    parts = align(tmp_path, config(epochs=1, **TERMS, **choices), kind=kind)
    assert_close(parts, unsplit(kind))


def test_splits_are_what_was_asked_for(tmp_path: Path) -> None:
    """So that the test above compares what it says."""
    batch = nth_batch(examples(), config(), 0)

    def sizes(**choices: object) -> list[int]:
        run = Alignment(base(), projector(), config(**choices), tmp_path)
        return [len(part) for part in run._shares(batch)]

    assert sizes() == [4]
    assert sizes(accumulation=4) == [1, 1, 1, 1]
    assert sizes(accumulation=3) == [2, 2]
    assert sizes(accumulation=9) == [1, 1, 1, 1]
    tails = sorted(e.tail for e in batch)
    assert sizes(batch_tokens=2 * tails[1])[0] == 2
    assert sizes(batch_tokens=8) == [1, 1, 1, 1]


def test_prompts_before_the_slots_are_computed_within_the_budget_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = Base.prefixes

    def watched(self: Base, prompts: Sequence[EncodedPrompt]) -> list[Prefix]:
        sizes.append(len(prompts) * max(p.slots[0] for p in prompts))
        return real(self, prompts)

    monkeypatch.setattr(Base, "prefixes", watched)
    longest = max(e.prompt.slots[0] for e in examples())
    whole = Alignment(base(), projector(), config(), tmp_path / "whole").loss(examples())
    assert len(sizes) == 1 and sizes[0] > 2 * longest
    sizes.clear()
    parts = Alignment(base(), projector(), config(batch_tokens=2 * longest), tmp_path / "parts").loss(examples())
    assert len(sizes) > 1 and max(sizes) <= 2 * longest
    assert parts == pytest.approx(whole, rel=1e-5)


def test_key_values_are_kept_only_up_to_the_limit(tmp_path: Path) -> None:
    run = Alignment(base(), projector(), config(), tmp_path)
    run.train(examples())
    texts = {e.prompt.ids[: e.prompt.slots[0]] for e in examples()}
    assert set(run.prefixes.kept) == texts
    size = next(iter(run.prefixes.kept.values())).bytes
    some = Alignment(base(), projector(), config(prefix_cache_gb=2.5 * size / 1e9), tmp_path / "some")
    limited = some.train(examples())
    assert 0 < len(some.prefixes.kept) < len(texts)
    assert sum(p.bytes for p in some.prefixes.kept.values()) <= 2.5 * size
    assert_close(limited, align(tmp_path / "all", config()))


@pytest.mark.parametrize("stop", [3, 4, 5])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path, stop: int) -> None:
    """With noise and dropout; the checkpoint of step 4 is gone on from, or the start."""
    chosen = config(epochs=3, checkpoint_every=4, state_noise=0.3, dev_share=0.3, evaluate_every=2, weight_decay=0.1)

    def made() -> Projector:
        return projector(dropout=0.2)

    whole = align(tmp_path / "whole", chosen, module=made())
    with pytest.raises(Stop):
        align(tmp_path / "cut", chosen, module=made(), stop=stop)
    assert (tmp_path / "cut" / CHECKPOINT).exists() == (stop > 4)
    torch.manual_seed(999)
    torch.rand(7)
    again = align(tmp_path / "cut", chosen, module=made())
    assert again.run == whole.run
    for name, tensor in whole.tensors.items():
        assert torch.equal(again.tensors[name], tensor)
    assert align(tmp_path / "cut", chosen, module=made()).run == whole.run


class Tracker(GeneralTracker):
    """Keeps what it is told."""

    name, requires_logging_directory = "kept", False

    def __init__(self) -> None:
        super().__init__()
        self.told: list[object] = []

    @property
    def tracker(self) -> list[object]:
        return self.told

    def store_init_configuration(self, values: dict[str, object]) -> None:
        self.told.append(values)

    def log(self, values: dict[str, object], step: int | None = None, **kwargs: object) -> None:
        self.told.append((step, values["loss"]))

    def finish(self) -> None:
        self.told.append("finished")


def test_trackers_hear_of_every_step_and_are_ended(tmp_path: Path) -> None:
    tracker, chosen = Tracker(), config(max_steps=2)
    run = Alignment(base(), projector(), chosen, tmp_path, report_to=[tracker])
    done = run.train(examples())
    assert tracker.told == [chosen.model_dump(), *done.run.losses, "finished"]


def test_all_wordings_of_an_answer_fall_on_one_side() -> None:
    for seed in range(5):
        training, dev = split_by_group(examples(), 0.4, seed)
        assert len(training) + len(dev) == 10
        assert not {e.group for e in training} & {e.group for e in dev}
        assert len({e.group for e in dev}) == 2
    assert {e.group for e in split_by_group(examples(), 0.4, 1)[1]} != {
        e.group for e in split_by_group(examples(), 0.4, 2)[1]
    }
    assert split_by_group(examples(), 0.0, 0)[1] == []
    assert split_by_group(examples()[:2], 0.9, 0)[1] == []  # one answer alone stays in training


def test_the_best_step_by_dev_loss_is_returned_and_patience_stops(tmp_path: Path) -> None:
    chosen = config(learning_rate=0.5, epochs=40, dev_share=0.3, patience=2, evaluate_every=1, scheduler="constant")
    done = align(tmp_path, chosen)
    steps, losses = zip(*done.run.dev_losses, strict=True)
    assert done.run.stopped and done.run.step < 80
    assert done.run.best_loss == min(losses)
    assert done.run.best_step == steps[losses.index(min(losses))]
    assert len(steps) - 1 - steps.index(done.run.best_step) == 2
    again = projector()
    again.load_state_dict(done.tensors)
    dev = split_by_group(examples(), 0.3, chosen.seed)[1]
    assert Alignment(base(), again, chosen, tmp_path).loss(dev) == pytest.approx(done.run.best_loss, rel=1e-6)
    resumed = align(tmp_path, chosen)
    assert resumed.run == done.run


def test_without_dev_questions_the_last_step_counts(tmp_path: Path) -> None:
    module = projector()
    done = align(tmp_path, config(), module=module)
    assert done.run.dev_losses == []
    assert all(torch.equal(t, done.tensors[n]) for n, t in module.state_dict().items())


@pytest.mark.parametrize(
    ("choices", "steps"), [({}, 6), ({"max_steps": 2}, 2), ({"max_steps": 9}, 9), ({"epochs": 1}, 3)]
)
def test_steps(tmp_path: Path, choices: dict[str, object], steps: int) -> None:
    done = align(tmp_path, config(**choices))
    assert [step for step, _ in done.run.losses] == list(range(1, steps + 1))


def test_an_epoch_takes_every_question_once_in_an_order_of_its_own() -> None:
    epochs = [[e for step in range(3) for e in nth_batch(examples(), config(), 3 * epoch + step)] for epoch in range(3)]
    for epoch in epochs:
        assert sorted(map(id, epoch)) == sorted(map(id, examples()))
    assert len({tuple(map(id, epoch)) for epoch in epochs}) == 3
    assert nth_batch(examples(), config(seed=1), 0) != nth_batch(examples(), config(seed=2), 0)


def test_training_lowers_the_loss_and_leaves_the_base_alone(tmp_path: Path) -> None:
    before = weights_checksum(base().model)
    for kind in KINDS:
        done = align(tmp_path / kind, config(epochs=5), kind=kind)
        assert done.run.losses[-1][1] < done.run.losses[0][1] - 0.1
    assert weights_checksum(base().model) == before
    assert all(p.grad is None for p in base().model.parameters())
    assert base().model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("family", ["gemma3", "mistral", "gpt_neox"])
def test_bases_of_other_kinds(tmp_path: Path, family: str) -> None:
    whole = align(tmp_path / "a", config(), family=family)
    assert_close(align(tmp_path / "b", config(accumulation=4), family=family), whole)
    assert whole.run.losses[-1][1] < whole.run.losses[0][1]


class Echo(nn.Module):
    """Any module with forward(states, mask): here one vector, scaled by how many states are real."""

    def __init__(self) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.full((32,), 0.1))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        assert states.shape[:2] == mask.shape and mask.dtype == torch.bool
        return mask.sum(1).view(-1, 1, 1) * self.vector.expand(len(states), SLOTS, -1)


def test_any_module_trains(tmp_path: Path) -> None:
    done = align(tmp_path / "echo", config(), module=Echo(), kind="attention")
    assert set(done.tensors) == {"vector", "calls"}
    assert not torch.equal(done.tensors["vector"], torch.full((32,), 0.1))
    torch.manual_seed(0)
    constant = align(tmp_path / "constant", config(), module=ConstantToken(SLOTS, base().table.weight))
    assert constant.run.losses[-1][1] < constant.run.losses[0][1]


def test_the_semantic_term_is_one_minus_the_cosine_to_the_answers_mean_embedding(tmp_path: Path) -> None:
    run = Alignment(base(), projector(), config(semantic_weight=0.5), tmp_path)
    part = examples()[:2]
    means = torch.stack([base().table.weight[list(e.answer)].mean(0) for e in part])
    near = torch.stack([means, means], dim=1)
    assert float(run._extra_terms(part, near)) == pytest.approx(0, abs=1e-6)
    assert float(run._extra_terms(part, -near)) == pytest.approx(0.5 * 2)
    half = torch.stack([near[0], -near[1]])
    assert float(run._extra_terms(part, half)) == pytest.approx(0.5)


def test_the_diversity_term_is_the_mean_squared_cosine_between_slots(tmp_path: Path) -> None:
    run = Alignment(base(), projector(), config(diversity_weight=0.1), tmp_path)
    part = examples()[:2]
    vectors = torch.zeros(2, 3, 32)
    vectors[0, 0, 0] = vectors[0, 1, 1] = vectors[0, 2, 2] = 2.0  # at right angles
    vectors[1, :, 0] = torch.tensor([1.0, -3.0, 0.5])  # on one line
    assert float(run._extra_terms(part, vectors)) == pytest.approx(0.1 * (0 + 1) / 2)
    vectors[1, 2] = 0
    vectors[1, 2, 5] = 1.0
    assert float(run._extra_terms(part, vectors)) == pytest.approx(0.1 * (2 / 6) / 2)
    assert float(run._extra_terms(part, vectors[:, :1])) == 0


def test_the_terms_are_part_of_the_logged_loss(tmp_path: Path) -> None:
    plain = align(tmp_path / "a", config(max_steps=1)).run.losses[0][1]
    for term in ("semantic_weight", "diversity_weight"):
        more = [align(tmp_path / f"{term}{w}", config(max_steps=1, **{term: w})).run.losses[0][1] for w in (1.0, 2.0)]
        assert more[0] > plain + 1e-4
        assert more[1] - plain == pytest.approx(2 * (more[0] - plain), rel=1e-3)


@pytest.mark.parametrize("normalised", ["standardize", "layer_norm", "none"])
@pytest.mark.parametrize("accumulation", [1, 4])
def test_noise_is_for_training_only(tmp_path: Path, normalised: str, accumulation: int) -> None:
    chosen = config(state_noise=0.5, accumulation=accumulation, epochs=1)
    made = projector(normalize_input=normalised)
    run = Alignment(base(), made, chosen, tmp_path / "noisy")
    quiet = Alignment(base(), made, config(), tmp_path / "quiet")
    assert run.loss(examples()) == pytest.approx(quiet.loss(examples()), rel=1e-6)
    noisy = align(tmp_path / "a", chosen, module=projector(normalize_input=normalised))
    plain = align(tmp_path / "b", config(epochs=1), module=projector(normalize_input=normalised))
    assert noisy.run.losses[0][1] != pytest.approx(plain.run.losses[0][1], rel=1e-6)
    assert all(math.isfinite(loss) for _, loss in noisy.run.losses)


def test_noise_on_a_single_state_is_finite(tmp_path: Path) -> None:
    torch.manual_seed(0)
    one = Projector(ProjectorConfig(normalize_input="none"), ProjectorShape(WIDTH, 32, 1, LAYERS))
    questions = [Question("q", "why", ("abc",))]
    example = alignment_examples(base(), PROMPTS, questions, [torch.randn(1, LAYERS, WIDTH)], 1, config())
    run = Alignment(base(), one, config(state_noise=0.5), tmp_path)
    assert all(math.isfinite(loss) for _, loss in run.train(example).run.losses)


def test_noise_is_as_large_as_the_training_states_deviation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = projector()
    made.state_deviation.copy_(torch.tensor([1.0, 100.0])[:, None].expand(LAYERS, WIDTH))
    seen: list[Tensor] = []
    made.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    run = Alignment(base(), made, config(), tmp_path)
    run._states(examples()[:8], None)
    torch.manual_seed(0)
    run._states(examples()[:8], 0.25)
    added = (seen[1] - seen[0]).std((0, 1, 3))
    torch.testing.assert_close(added, torch.tensor([0.25, 25.0]), rtol=0.2, atol=0)


def test_a_slot_may_come_first_of_all(tmp_path: Path) -> None:
    """There is then nothing before it to keep."""
    plain = Base(tiny_causal_lm(), byte_tokenizer(chat_template=False), source="x", fingerprint="f")
    prompts = Prompts(PromptsConfig(base_domain="{knowledge}{question}"), "x", "")
    questions = [Question(f"q{n}", "why" * n, ("abc",)) for n in (1, 2)]
    states = [torch.randn(SLOTS, LAYERS, WIDTH) for _ in questions]
    made = alignment_examples(plain, prompts, questions, states, SLOTS, config())
    assert made[0].prompt.slots == (0, 1)
    assert len(Alignment(plain, projector(), config(), tmp_path).train(made).run.losses) == 2


def test_pairs_that_do_not_fit_are_refused_or_cut() -> None:
    question = [Question("long", "why", ("x" * 40,))]
    states = [torch.zeros(1, 1, 4)]
    (whole,) = alignment_examples(base(), PROMPTS, question, states, 1, config())
    length = len(whole.prompt.ids)
    with pytest.raises(InputError, match="'long' has 41"):
        alignment_examples(base(), PROMPTS, question, states, 1, config(max_length=length + 40))
    cut = config(max_length=length + 5, truncate_answers=True)
    (short,) = alignment_examples(base(), PROMPTS, question, states, 1, cut)
    assert short.answer == tuple(b"xxxxx")
    small = Base(tiny_causal_lm(max_positions=length + 7), byte_tokenizer(), source="x", fingerprint="f")
    with pytest.raises(InputError, match="only 7 fit"):
        alignment_examples(small, PROMPTS, question, states, 1, config())


def test_schedules() -> None:
    def rates(name: str) -> list[float]:
        chosen = config(scheduler=name, warmup=0.2)
        return [round(schedule(chosen, step, 10), 4) for step in range(10)]

    warm = [0.3333, 0.6667]
    assert rates("constant") == [*warm, *[1.0] * 8]
    assert rates("linear") == [*warm, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    assert rates("cosine") == [*warm, *[round(0.5 + 0.5 * math.cos(math.pi * n / 8), 4) for n in range(8)]]
    assert schedule(config(warmup=0.0), 0, 1) == 1.0


def test_gradients_are_clipped(tmp_path: Path) -> None:
    """The first loss is as it was; the step that follows from clipped gradients is not."""
    free = align(tmp_path / "a", config(max_steps=2, max_grad_norm=1e9))
    tight = align(tmp_path / "b", config(max_steps=2, max_grad_norm=1e-9))
    assert tight.run.losses[0] == free.run.losses[0]
    assert tight.run.losses[1] != free.run.losses[1]


def test_the_loss_curve_of_a_tiny_run_is_the_golden_one(tmp_path: Path) -> None:
    """Change it only with a change that is meant to change the computation: delete the file and run this test twice."""
    found = {}
    for kind in KINDS:
        chosen = config(epochs=2, dev_share=0.2, semantic_weight=0.1, diversity_weight=0.1)
        run = align(tmp_path / kind, chosen, kind=kind).run
        found[kind] = {"losses": [x for _, x in run.losses], "dev_losses": [x for _, x in run.dev_losses]}
    if not GOLDEN.exists():
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
        pytest.fail(f"{GOLDEN} was not there and has been written")
    golden = json.loads(GOLDEN.read_text())
    assert found.keys() == golden.keys()
    for kind, curves in golden.items():
        for name, values in curves.items():
            assert found[kind][name] == pytest.approx(values, rel=1e-5), f"{kind} {name}"
