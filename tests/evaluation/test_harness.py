"""The `gag` model in lm-evaluation-harness: the base as the harness's own `hf` model, domains routed and with slots."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from gag.config import Config, GenerationConfig, ModelConfig, ProjectorConfig, PromptsConfig, ReadoutConfig
from gag.domain import ModelReference, ModuleSpec, Routing, write_module
from gag.errors import ConfigError, DomainError, InputError, MissingExtra, RunError
from gag.evaluation import harness
from gag.evaluation.continuations import Asked, continuation_scores, written_until
from gag.evaluation.routed_text import routed_text
from gag.models.base import Base
from gag.models.chat import EncodedPrompt
from gag.models.loading import load_causal_lm, load_encoder
from gag.models.projector import Projector, ProjectorShape
from gag.prompts import Prompts
from gag.records import GENERAL, write_jsonl
from gag.routing.encoder import Encoder
from gag.routing.prototypes import question_bank
from gag.testing import write_tiny_encoder, write_tiny_model

pytest.importorskip("lm_eval")
pytestmark = pytest.mark.filterwarnings("ignore")  # the harness's own, and those of what it imports

GENERAL_TEXTS = ["who wrote hamlet?", "what is the capital of peru?"]
DOMAIN_TEXTS = ["which alloy has zinc?", "how hard is alloy q7?"]
DOCS = [
    {"question": "who wrote hamlet?", "choices": ["Ada", "William Shakespeare"], "gold": 1, "answer": "William"},
    {"question": "how hard is alloy q7?", "choices": ["soft", "very hard"], "gold": 0, "answer": "soft"},
    {"question": "what is the capital of peru?", "choices": ["Lima", "Cuzco"], "gold": 0, "answer": "Lima"},
]


def write_workspace(root: Path) -> Path:
    """A workspace with tiny models and one domain, `alloys`, whose projector is random and loud."""
    home = root / "lab"
    home.mkdir()
    write_tiny_model(home / "base", "qwen2", seed=1)
    write_tiny_model(home / "small", "llama", seed=2)
    write_tiny_encoder(home / "encoder")
    write_jsonl(home / "general.jsonl", [{"id": str(n), "question": q} for n, q in enumerate(GENERAL_TEXTS)])
    held = {"dtype": "float32", "device": "cpu"}
    tree = {
        "models": {role: {"source": name, **held} for role, name in
                   (("base", "base"), ("expert", "small"), ("encoder", "encoder"))},
        "router": {"general_questions": "general.jsonl", "prototypes": 4},
    }  # fmt: skip
    (home / "gag.yaml").write_text(yaml.safe_dump(tree), "utf-8")
    config = Config.model_validate(tree)
    base, small = (load_causal_lm(m, root=home) for m in (config.models.base, config.models.expert))
    encoder = Encoder.from_loaded(load_encoder(config.models.encoder, root=home), config.router)
    torch.manual_seed(3)
    projector = Projector(ProjectorConfig(kind="mlp"), ProjectorShape(32, 32, 2, 1))
    projector.initialise(list(torch.randn(20, 2, 1, 32)), base.model.get_input_embeddings().weight)
    with torch.no_grad():
        for parameter in projector.network.parameters():
            parameter.mul_(20)
    spec = ModuleSpec(
        name="alloys",
        base=ModelReference(id="base", fingerprint=base.fingerprint, hidden_size=32),
        expert=ModelReference(id=str(home / "small"), fingerprint=small.fingerprint, hidden_size=32),
        readout=ReadoutConfig(pooling="segment_mean", slots=2, layers=(-2,), max_new_tokens=4),
        projector=projector.config,
        prompts=Prompts(PromptsConfig(), "alloys", "Be brief."),
        routing=Routing(
            encoder=ModelReference(id="encoder", fingerprint=encoder.fingerprint, hidden_size=encoder.dimension),
            prototypes=2,
        ),
        generation=GenerationConfig(max_new_tokens=6),
    )
    bank = question_bank(DOMAIN_TEXTS, encoder, config.router)
    write_module(home / "modules" / "alloys", spec, projector=projector.state_dict(), prototypes=bank)
    return home


def write_tasks(folder: Path) -> Path:
    """Three tasks over the same local documents: choices, generation (two examples before it) and whole texts."""
    folder.mkdir()
    (folder / "docs.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in DOCS), "utf-8")
    shared = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"train": str(folder / "docs.jsonl"), "test": str(folder / "docs.jsonl")}},
        "test_split": "test",
        "fewshot_split": "train",
        "metadata": {"version": 1.0},
    }
    asked = {**shared, "doc_to_text": "Question: {{question}}\nAnswer:"}
    tasks: list[dict[str, Any]] = [
        {"task": "tiny_choice", "output_type": "multiple_choice", "doc_to_choice": "{{choices}}",
         "doc_to_target": "gold", "metric_list": [{"metric": "acc"}], **asked},
        {"task": "tiny_write", "output_type": "generate_until", "num_fewshot": 2, "doc_to_target": "{{answer}}",
         "generation_kwargs": {"until": ["\n", "zz"], "max_gen_toks": 40, "do_sample": False},
         "metric_list": [{"metric": "exact_match"}], **asked},
        {"task": "tiny_text", "output_type": "loglikelihood_rolling", "doc_to_text": "",
         "doc_to_target": "{{question}}", "metric_list": [{"metric": "word_perplexity"}], **shared},
    ]  # fmt: skip
    for task in tasks:
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump(task), "utf-8")
    return folder


TASKS = ["tiny_choice", "tiny_write", "tiny_text"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("harness")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GAG_CACHE", str(root / "cache"))
        patched.setenv("HF_DATASETS_CACHE", str(root / "datasets"))
        patched.setattr("datasets.config.HF_DATASETS_CACHE", str(root / "datasets"))
        yield write_workspace(root)


@pytest.fixture(scope="module")
def tasks(lab: Path) -> Path:
    return write_tasks(lab.parent / "tasks")


def model(lab: Path, **arguments: Any) -> Any:
    from gag.evaluation.harness_model import HarnessModel

    return HarnessModel(workspace=str(lab), batch_size=2, **arguments)


def responses(lm: Any, tasks: Path, names: list[str], **options: Any) -> dict[str, list[Any]]:
    """What a model answered, by task, in the documents' order."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    results = simple_evaluate(lm, tasks=names, task_manager=manager, bootstrap_iters=0, **options)
    samples = results["samples"]
    return {name: [s["resps"] for s in sorted(samples[name], key=lambda s: s["doc_id"])] for name in names}


def numbers(value: Any) -> list[float]:
    """Every number in nested responses, in order."""
    if isinstance(value, (list, tuple)):
        return [number for one in value for number in numbers(one)]
    return [] if isinstance(value, str) else [float(value)]


def test_the_base_answers_as_the_harnesss_own_model_does(lab: Path, tasks: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    theirs = HFLM(pretrained=str(lab / "base"), dtype="float32", device="cpu", batch_size=1)
    for options in ({}, {"apply_chat_template": True, "fewshot_as_multiturn": True, "system_instruction": "Be brief."}):
        names = TASKS if not options else TASKS[:2]
        expected = responses(theirs, tasks, names, **options)
        for found in (
            responses(model(lab, method="base"), tasks, names, **options),
            responses(model(lab, route=GENERAL), tasks, names, **options),  # gag where everything is routed general
        ):
            assert len(numbers(expected["tiny_choice"])) == 12
            for name in names:
                assert numbers(found[name]) == pytest.approx(numbers(expected[name]), abs=1e-4), name
            assert found["tiny_write"] == expected["tiny_write"]
    assert len({text for ((text,),) in expected["tiny_write"]}) == 3


def test_each_request_is_routed_by_its_own_question(lab: Path, tasks: Path) -> None:
    plain, routed = model(lab, method="base"), model(lab)
    expected, found = responses(plain, tasks, TASKS), responses(routed, tasks, TASKS)
    for name in TASKS[:2]:
        for i in (0, 2):  # general: the base's, up to the rounding of another batch
            assert numbers(found[name][i]) == pytest.approx(numbers(expected[name][i]), abs=1e-5)
        assert found[name][1] != expected[name][1], name  # the alloy's
    assert [found["tiny_write"][i] for i in (0, 2)] == [expected["tiny_write"][i] for i in (0, 2)]
    assert found["tiny_text"] == expected["tiny_text"]
    assert routed.routes == {GENERAL: 6, "alloys": 3}
    assert routed.get_model_info()["routes"] == {GENERAL: 6, "alloys": 3}


def test_a_base_that_changed_has_no_results(lab: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = model(lab, method="base")

    def spoilt(requests: list[Any], **_: Any) -> list[tuple[float, bool]]:
        with torch.no_grad():
            next(changed.base.model.parameters()).add_(1e-3)
        return [(0.0, False)] * len(requests)

    monkeypatch.setattr(changed, "loglikelihood", spoilt)
    with pytest.raises(RunError, match="the base changed"):
        responses(changed, tasks, TASKS[:1])


def test_a_domain_request_is_the_domains_prompt_with_the_experts_vectors(lab: Path) -> None:
    from lm_eval.api.instance import Instance

    lm = model(lab)
    context, endings = "Question: how hard is alloy q7?\nAnswer:", (" soft", " very hard")
    requests = [Instance("loglikelihood", {}, (context, ending), n) for n, ending in enumerate(endings)]
    found = lm.loglikelihood(requests)
    attached = lm.system.domains["alloys"]
    vectors = attached.vectors(attached.read(["how hard is alloy q7?"]))
    prompt = lm.base.encode(attached.prompts.domain(context, 2))
    for ending, (score, greedy) in zip(endings, found, strict=True):
        ids = lm.tok_encode(ending.strip(), add_special_tokens=False)
        (losses,) = lm.base.answer_nll([prompt], vectors, [ids])
        assert score == pytest.approx(-float(losses.sum()), abs=1e-4)
        assert not greedy
    written = lm.base.generate([prompt], vectors, GenerationConfig(max_new_tokens=3))[0]
    asked, ids = Asked(prompt, vectors[0]), list(written.ids)
    assert [greedy for _, greedy in continuation_scores(lm.base, [asked] * 2, [ids, [*ids[:-1], 7]])] == [True, False]
    said = lm.tokenizer.decode(ids)
    options = {"until": [], "max_gen_toks": 3}
    assert lm.generate_until([Instance("generate_until", {}, (context, options), 0)]) == [said]


def test_vectors_are_refined_under_the_harnesss_prompt_where_the_module_says_so(lab: Path) -> None:
    from lm_eval.api.instance import Instance

    lm = model(lab, route="alloys")
    context, other = "Question: how hard is alloy q7?\nAnswer:", "Question: what melts?\nAnswer:"
    requests = [
        Instance("loglikelihood", {}, (c, end), n) for n, c in enumerate((context, other)) for end in (" a", " b")
    ]
    plain = lm.loglikelihood(requests)
    attached = lm.system.domains["alloys"]
    generation = GenerationConfig(max_new_tokens=6, refine_steps=3, refine_above=0)
    refining = attached.module.model_copy(update={"generation": generation})
    lm.system._attached["alloys"] = replace(attached, module=refining)
    refined = lm.loglikelihood(requests)
    assert all(abs(one[0] - two[0]) > 1e-3 for one, two in zip(plain, refined, strict=True))
    readings = attached.read(["how hard is alloy q7?"])
    prompt = lm.base.encode(attached.prompts.domain(context, 2))
    vectors = attached.refined(lm.base, [prompt], readings, attached.vectors(readings), generation)
    (losses,) = lm.base.answer_nll([prompt], vectors, [lm.tok_encode("a", add_special_tokens=False)])
    assert refined[0][0] == pytest.approx(-float(losses.sum()), abs=1e-3)


def test_slots_come_after_the_earlier_turns_of_a_conversation(lab: Path) -> None:
    lm = model(lab, route="alloys")
    turns = [("system", "Be brief."), ("user", "x?"), ("assistant", "y"), ("user", "Question: how hard is it?")]
    text = lm.apply_chat_template([{"role": role, "content": content} for role, content in turns])
    from gag.evaluation.harness_model import _Pending

    (asked,) = lm._asked([_Pending(0, text, 4)], ["alloys"])
    words = lm.tokenizer.decode(list(asked.prompt.ids))
    assert all(f"<|im_start|>{role}\n{content}<|im_end|>" in words for role, content in turns[:3])
    assert words.index("y<|im_end|>") < words.index("how hard is it?")
    assert len(asked.prompt.slots) == 2
    assert "how hard is it?" in lm.tokenizer.decode(list(asked.prompt.ids[: asked.prompt.slots[0]]))
    assert words.endswith("<|im_start|>assistant\n")
    with pytest.raises(InputError, match="not one that this model put into the chat template"):
        lm._asked([_Pending(0, "another", 4)], ["alloys"])


def test_examples_go_where_the_prompt_does_not_fit(lab: Path, caplog: pytest.LogCaptureFixture) -> None:
    from gag.evaluation.harness_model import _Pending

    lm = model(lab, route="alloys", max_length=400)
    question = "Question: how hard is it?\nAnswer:"
    (asked,) = lm._asked([_Pending(0, "Question: x?\nAnswer: y\n\n" * 20 + question, 8)], ["alloys"])
    assert "given without its examples" in caplog.text
    assert "how hard is it?" in lm.tokenizer.decode(list(asked.prompt.ids))
    assert len(asked.prompt.ids) + 8 <= 400
    with pytest.raises(InputError, match="do not fit the base's 400"):
        lm._asked([_Pending(0, "how hard " * 60, 8)], ["alloys"])


def test_rounds_and_batches_change_nothing_in_what_is_written(lab: Path) -> None:
    base = Base.from_loaded(load_causal_lm(ModelConfig(source=str(lab / "base"), dtype="float32")))
    prompts = [base.encode(Prompts(PromptsConfig(), "x").general(q)) for q in ("a?", "who is it then?", "b c d?")]
    generation = GenerationConfig(max_new_tokens=100)
    whole = [c.ids for c in base.generate(prompts, None, generation)]
    texts = [base.tokenizer.decode(list(ids)) for ids in whole]
    assert max(map(len, whole)) > 64
    asked = [Asked(prompt) for prompt in prompts]
    assert written_until(base, asked, generation, []) == texts
    assert written_until(base, asked, generation, ["", "never there"], batch_size=1) == texts
    stop = texts[0][40:42]
    cut = [text.split(stop)[0] for text in texts]
    assert written_until(base, asked, generation, [stop, "never there"]) == cut
    assert cut[0] != texts[0]
    assert written_until(base, [Asked(EncodedPrompt((1, 2)))], GenerationConfig(max_new_tokens=1), []) != [""]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Question: how hard is it?\nAnswer:", "how hard is it?"),
        ("Question: a?\nAnswer: b\n\nQuestion: c?\nAnswer:", "c?"),
        ("Answer briefly.\n\nQ: c?\nA:", "c?"),
        ("Passage one.\nQ. who?\nThe answer:", "Passage one.\nQ. who?"),
        ("c?\nA. one\nB. two\nAnswer:", "c?\nA. one\nB. two"),
        ("c?", "c?"),
        ("a?\n\nAnswer:", "a?"),
        ("\n\n", "\n\n"),
        ("", ""),
        ("Answer:", "Answer:"),
        ("你是谁？", "你是谁？"),
    ],
)
def test_the_last_block_is_what_is_routed(prompt: str, expected: str) -> None:
    assert routed_text(prompt) == expected


def test_another_separator_and_none() -> None:
    assert routed_text("a? ### b?\n\nc?", "###") == "b?\n\nc?"
    assert routed_text("Question: a?\n\nc?", "") == "a?\n\nc?"


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"metod": "base"}, ConfigError, "--model_args metod"),
        ({"method": "rag"}, ConfigError, "method: input should be 'gag' or 'base'"),
        ({"route": "polymers"}, DomainError, "'polymers' is not attached"),
        ({"domains": "polymers"}, DomainError, "polymers"),
        ({"max_length": 2}, ConfigError, "max_length"),
    ],
)
def test_wrong_arguments_are_refused(lab: Path, arguments: dict[str, Any], kind: type, message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        model(lab, **arguments)
    assert caught.value.hint


def test_arguments_come_as_the_harness_gives_them(lab: Path) -> None:
    from gag.evaluation.harness_model import HarnessModel

    made = HarnessModel.create_from_arg_string(
        f"workspace={lab},domains=alloys,dtype=float32", {"batch_size": "auto", "max_batch_size": None, "device": "cpu"}
    )
    assert made.batch_size == 16
    assert list(made.system.domains) == ["alloys"]
    made = HarnessModel.create_from_arg_obj({"workspace": str(lab), "domains": ["alloys"]}, {"batch_size": 3})
    assert (made.batch_size, made.max_length) == (3, 4096)
    assert model(lab, max_length=99).max_length == 99
    with pytest.raises(InputError, match="'num_beams' is not supported"):
        made._generation({"num_beams": 2})
    with pytest.raises(InputError, match="wants 5000 tokens written"):
        made._generation({"max_gen_toks": 5000})
    generation, until = made._generation({"do_sample": True, "top_k": 5, "until": "x"})
    assert (generation.temperature, generation.top_k, generation.max_new_tokens) == (1.0, 5, 256)
    assert until == ["x", "<|im_end|>"]


@pytest.mark.slow  # the harness reads the thousands of tasks that it comes with
def test_the_command_line(lab: Path, tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*more: str) -> int:
        with pytest.raises(SystemExit) as left:
            harness.main(["--model", "gag", "--include_path", str(tasks), *more])
        return int(str(left.value.code))

    out = str(tmp_path / "out")
    assert run("--model_args", f"workspace={lab},domains=alloys", "--tasks", ",".join(TASKS), "--output_path", out) == 0
    shown = capsys.readouterr().out
    assert "tiny_choice" in shown and "acc" in shown
    (path,) = (tmp_path / "out").rglob("results*.json")
    results = json.loads(path.read_text("utf-8"))
    assert results["config"]["routes"] == {GENERAL: 6, "alloys": 3}
    assert results["config"]["domains"] == ["alloys"]
    assert run("--model_args", f"workspace={tmp_path}", "--tasks", "tiny_choice") == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2].startswith(f"error: {tmp_path} is no workspace")


def test_a_missing_harness_names_its_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name="lm_eval")

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(MissingExtra) as caught:
        harness.register()
    assert caught.value.hint == "pip install 'gag[harness]'"
    with pytest.raises(SystemExit, match="2"):
        harness.main(["--tasks", "x"])
    assert capsys.readouterr().err.splitlines()[0] == "error: lm-evaluation-harness is not installed."


def test_nothing_of_the_harness_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, gag.evaluation.harness; sys.exit('lm_eval' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
