"""Every benchmark runs on tiny models, compares like with like, and says what it missed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from benchmarks import __main__ as everything
from benchmarks import alignment, gpu, latency, measure, readout, routing
from gag.config import Config
from gag.models.base import Base
from gag.models.expert import Expert
from gag.models.loading import LoadedModel
from gag.prompts import Prompts
from gag.routing.encoder import Encoder
from gag.testing import VOCABULARY, byte_tokenizer, tiny_causal_lm, tiny_encoder

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

LIMITS = {"float32_gflops": 100.0, "bfloat16_gflops": 100.0}
TINY: dict[str, Any] = {
    **gpu.EXPERT,
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def loaded(seed: int = 0) -> LoadedModel:
    return LoadedModel(tiny_causal_lm(seed=seed), byte_tokenizer(), f"tiny{seed}", None, f"{seed}" * 64, Path("."))


def expert() -> Expert:
    model = loaded()
    return readout.endless(Expert(model.model, model.tokenizer, Prompts(Config().prompts, "vaccine adjuvants")))


def values(rows: list[measure.Row]) -> dict[str, float]:
    assert len({row["what"] for row in rows}) == len(rows)
    return {row["what"]: row["value"] for row in rows}


@pytest.mark.parametrize(
    ("value", "limits", "wanted", "said"),
    [
        (2.0, {"at_least": 2.0}, "at least 2", "met"),
        (1.9, {"at_least": 2.0}, "at least 2", "MISSED"),
        (0.1, {"at_most": 0.1}, "at most 0.1", "met"),
        (0.2, {"at_most": 0.1}, "at most 0.1", "MISSED"),
        (5.0, {}, "", ""),
    ],
)
def test_a_row_says_whether_its_target_is_met(value: float, limits: dict[str, float], wanted: str, said: str) -> None:
    row = measure.row("this", value, "s", **limits)
    assert (measure.target(row), measure.verdict(row)) == (wanted, said)
    assert measure.table([row]).split()[-1] == (said or "s")


def test_calls_take_turns_and_warm_rounds_do_not_count() -> None:
    turns: list[tuple[str, int]] = []
    seconds = measure.alternating(2, lambda turn: turns.append(("a", turn)), lambda turn: turns.append(("b", turn)))
    assert turns == [("a", -1), ("b", -1), ("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert [len(taken) for taken in seconds] == [2, 2]


def test_a_ratio_compares_neighbours() -> None:
    assert measure.ratio([2.0, 20.0, 9.0], [1.0, 10.0, 3.0]) == 2.0


def test_allocated_peak_counts_what_is_held_at_once() -> None:
    size = 4 * 2**20

    def step() -> None:
        first = torch.ones(2**20)
        del first
        _both = torch.ones(2**20), torch.ones(2**20)

    assert 2 * size <= measure.allocated_peak(step, torch.device("cpu")) < 2.1 * size


def test_resident_peak_sees_memory_that_was_given_back() -> None:
    grown = measure.resident_peak(lambda: torch.ones(2**24).sum())
    if grown is None:
        pytest.skip("this system does not tell a process's highest size")
    assert 0.9 * 2**26 < grown < 2 * 2**26


def test_the_machine_is_described_and_written(tmp_path: Path) -> None:
    described = measure.machine(size=64)
    assert described["threads"] == torch.get_num_threads()
    assert described["float32_gflops"] >= 0 and described["bfloat16_gflops"] >= 0
    measure.write(tmp_path / "new" / "this.json", "this", [measure.row("a", 3.0, at_most=2)], described)
    data = json.loads((tmp_path / "new" / "this.json").read_text())
    assert data["name"] == "this" and data["machine"] == described and data["date"]
    wanted = {"what": "a", "value": 3.0, "unit": "", "at_least": None, "at_most": 2, "verdict": "MISSED"}
    assert data["rows"] == [wanted]


def test_parameters_without_embeddings_and_head() -> None:
    tied, untied = tiny_causal_lm("llama"), tiny_causal_lm("mistral")
    table = VOCABULARY * 32
    assert measure.body_parameters(tied) == sum(p.numel() for p in tied.parameters()) - table
    assert measure.body_parameters(untied) == sum(p.numel() for p in untied.parameters()) - 2 * table
    assert measure.head_parameters(tied) == measure.head_parameters(untied) == table


def test_both_loops_of_the_readout_decode_the_same_tokens() -> None:
    reader = expert()
    questions = readout.lab_questions(3)
    config = readout.ReadoutConfig(layers=(-1,), max_new_tokens=5)
    ours = [reading.background for reading in readout.checked(reader.read(questions, config), 5)]
    for use_cache in (True, False):
        plain = readout.one_at_a_time(reader, questions, 5, use_cache=use_cache)
        assert [reader.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in plain] == ours


def test_routing_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "MANY", 9)
    model, tokenizer = tiny_encoder()
    encoder = Encoder(model, tokenizer, name="tiny", fingerprint="0" * 64, pooling="mean")
    questions = [f"question {n}" for n in range(70)]
    rows = [*routing.forward_rows(encoder, questions, 1), *routing.matching_rows(encoder, 1)]
    assert all(row["value"] > 0 for row in rows if "pooling" not in row["what"])
    assert len(values(rows)) == 20
    limited = [row["what"] for row in rows if row["at_most"] is not None]
    assert limited == [
        "1 question, 6 routes: matching, share of the forward",
        "64 questions, 6 routes: matching, share of the forward",
        *(row["what"] for row in rows[-4:]),
    ]


def test_readout_rows() -> None:
    plan = readout.Plan(questions=4, tokens=3, cached=2, uncached=1, rounds=1, layer=-2)
    rows = values(readout.readout_rows(expert(), readout.lab_questions(4), plan, LIMITS))
    assert rows["batch against one at a time with cache"] > 0
    assert 0 < rows["batch: peak memory of tensors beside the model"] < 100
    assert rows["batch: this machine's limit, a question"] < rows["4 questions x 3 tokens in one batch, a question"]


def test_the_slow_ways_answer_questions_of_all_lengths() -> None:
    reader = expert()
    questions = ["x" * n for n in (8, 1, 5, 3, 2, 7, 4, 6)]
    assert [len(q) for q in readout.spread(reader, questions, 4)] == [2, 4, 6, 8]
    assert [len(q) for q in readout.spread(reader, questions, 1)] == [5]


def test_an_early_end_is_not_measured() -> None:
    readings = expert().read(["a"], readout.ReadoutConfig(layers=(-1,), max_new_tokens=2))
    with pytest.raises(RuntimeError, match="ended early"):
        readout.checked(readings, 3)


def test_alignment_rows() -> None:
    base = Base.from_loaded(loaded())
    plan = alignment.Plan(prompts=2, before=9, answer=4, rounds=1)
    rows = values(alignment.alignment_rows(base, plan, LIMITS))
    assert rows["ours: peak memory of tensors"] > 0 and rows["plain: peak memory of tensors"] > 0
    for way in ("ours", "plain"):
        for group in ("matrix multiply", "attention", "head and loss"):
            assert rows[f"profile, {way}: {group}"] > 0


def test_both_ways_of_alignment_have_one_loss_and_gradient() -> None:
    rows = values(alignment.exactness_rows(Base.from_loaded(loaded()), alignment.Plan(prompts=3, before=12, answer=5)))
    assert rows["float32: difference of the losses"] < 1e-5
    assert rows["float32: difference of the gradients, relative"] < 1e-4


def test_a_step_has_the_planned_lengths() -> None:
    step = alignment.example_step(Base.from_loaded(loaded()), alignment.Plan(prompts=3, before=12, answer=5))
    assert [prompt.slots for prompt in step.prompts] == [(12,)] * 3
    assert [len(answer) for answer in step.answers] == [5] * 3
    assert len({prompt.ids for prompt in step.prompts}) == 3


def test_operators_are_grouped() -> None:
    wanted = {
        "aten::mm": "matrix multiply",
        "mkldnn::_linear_pointwise": "matrix multiply",
        "aten::bmm": "attention",
        "aten::_softmax": "attention",
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward": "attention",
        "aten::copy_": "copies",
        "aten::mul": "rest",
    }
    assert {name: alignment._group(name, [[2, 3]], 7) for name in wanted} == wanted
    assert alignment._group("aten::mm", [[2, 3], [3, 7]], 7) == "head and loss"


def test_latency_rows() -> None:
    model, tokenizer = tiny_encoder()
    encoder = LoadedModel(model, tokenizer, "encoder", None, "e" * 64, Path("."))
    models = latency.Models(loaded(), loaded(1), encoder, layer=-1)
    plan = latency.Plan(rounds=1, questions=2, tokens=3, generate_rounds=1)
    rows = values(latency.latency_rows(models, readout.lab_questions(40), plan))
    parts = [value for what, value in rows.items() if what.startswith("part: ")]
    assert len(parts) == 5 and min(parts) > 0
    assert rows["tokens: GAG's prompt"] > rows["tokens: the base's own"]
    assert rows["GAG against the base alone, the same prompt"] > 0  # a time: how large is for an idle machine to say


def test_the_gpu_rows_on_a_tiny_model_of_the_same_kind() -> None:
    device = torch.device("cpu")
    base = gpu.random_model({**TINY, "tie_word_embeddings": False}, device, torch.bfloat16)
    small = gpu.random_model(TINY, device, torch.bfloat16)
    assert {p.dtype for p in base.model.parameters()} == {torch.bfloat16}
    assert base.model.model.rotary_emb.inv_freq.dtype == torch.float32
    plans = gpu.Plans(
        readout.Plan(questions=40, tokens=2, cached=1, uncached=1, rounds=1),
        alignment.Plan(prompts=2, before=9, answer=4, rounds=1),
        latency.Plan(rounds=1, questions=1, tokens=2, generate_rounds=1),
        routing_rounds=1,
    )
    rows = gpu.measured(base, small, LIMITS, plans)
    names = [row["what"].partition(":")[0] for row in rows]
    assert len({row["what"] for row in rows}) == len(rows)
    assert set(names) == {"readout", "alignment", "latency", "routing"}


def test_the_gpu_shapes_are_the_paper_s() -> None:
    sizes = []
    for shape in (gpu.BASE, gpu.EXPERT):
        with torch.device("meta"):
            model = Qwen3ForCausalLM(Qwen3Config(**shape))
        sizes.append(round(sum(p.numel() for p in model.parameters()) / 1e9, 2))
    assert sizes == [8.19, 1.72]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["gpu", "--json", str(tmp_path / "gpu.json")])
    gpu.main()
    assert capsys.readouterr().out.splitlines() == ["gpu: skipped, there is no CUDA GPU here."]
    assert not (tmp_path / "gpu.json").exists()


class Benchmarks:
    """Stands for the processes that `python -m benchmarks` starts: writes a file, or fails, or writes none."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert options["cwd"] == everything.HERE.parent
        name = command[2].removeprefix("benchmarks.")
        self.started.append(name)
        path = Path(command[command.index("--json") + 1])
        if name == "routing":
            measure.write(path, name, [measure.row("share", 9.0, "%", at_most=5)], {"cpu": "this"})
        elif name == "readout":
            measure.write(path, name, [measure.row("faster", 20.0, "times", at_least=15)], {"cpu": "one"})
        return subprocess.CompletedProcess(command, int(name == "latency"))


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Benchmarks:
    fake = Benchmarks()
    monkeypatch.setattr(everything.subprocess, "run", fake.run)
    return fake


def told(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
    return everything.main()


def test_all_of_them_one_after_the_other(
    benchmarks: Benchmarks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert told(["--out", str(tmp_path)], monkeypatch) == 1
    assert benchmarks.started == ["routing", "readout", "alignment", "latency", "retrieval", "ingest", "graph"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["readout.json", "routing.json"]
    routing = json.loads((tmp_path / "routing.json").read_text())
    assert routing["machine"] == {"cpu": "this"} and routing["rows"][0]["verdict"] == "MISSED"
    assert json.loads((tmp_path / "readout.json").read_text())["machine"] == {"cpu": "one"}
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "did not run: latency"
    assert lines[-2] == "2 targets, 1 missed."


def test_a_missed_target_is_no_failure(
    benchmarks: Benchmarks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert told(["--only", "routing", "--out", str(tmp_path)], monkeypatch) == 0
    assert benchmarks.started == ["routing"]
    assert "MISSED" in capsys.readouterr().out


def test_only_the_gpu(benchmarks: Benchmarks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert told(["--gpu", "--out", str(tmp_path)], monkeypatch) == 0
    assert benchmarks.started == ["gpu"]
