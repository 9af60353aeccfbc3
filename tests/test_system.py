"""The whole answers as the base does on the general route, and a domain changes nothing but its own answers."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

from gag import GAG, DomainModule
from gag.answering import text_nll
from gag.config import (
    Config,
    DomainConfig,
    GenerationConfig,
    ModelConfig,
    ModelsConfig,
    ProjectorConfig,
    PromptsConfig,
    ReadoutConfig,
    RouterConfig,
)
from gag.domain import ModelReference, ModuleSpec, Routing, load_module, write_module
from gag.errors import ConfigError, DomainError, InputError, ModelError
from gag.manifest import write_manifest
from gag.models.expert import Reading
from gag.models.fingerprint import weights_checksum
from gag.models.loading import LoadedModel, load_causal_lm, load_encoder
from gag.models.projector import Projector, ProjectorShape
from gag.prompts import Prompts
from gag.records import GENERAL, Question, Route, write_jsonl
from gag.routing.encoder import Encoder
from gag.routing.prototypes import question_bank
from gag.testing import tiny_causal_lm, write_tiny_encoder, write_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

TEXTS = {
    GENERAL: ["Who wrote Hamlet?", "What is the capital of Peru?"],
    "alloys": ["Which alloy has zinc?", "How hard is alloy Q7?"],
    "polymers": ["polymer polymer polymer", "chains of a polymer"],
}


class House:
    """A base, a small model and an encoder on disk, and modules made of random weights."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write_tiny_model(root / "base", "qwen2", seed=1)
        write_tiny_model(root / "small", "llama", seed=2)
        write_tiny_encoder(root / "encoder")
        write_jsonl(root / "general.jsonl", [{"id": str(n), "question": q} for n, q in enumerate(TEXTS[GENERAL])])
        held = {"dtype": "float32", "device": "cpu"}
        self.config = Config(
            models=ModelsConfig(
                **{
                    role: ModelConfig.model_validate({"source": str(root / name), **held})
                    for role, name in (("base", "base"), ("expert", "small"), ("encoder", "encoder"))
                }
            ),
            router=RouterConfig(general_questions=str(root / "general.jsonl"), prototypes=4),
            generation=GenerationConfig(max_new_tokens=6),
        )
        self.models: dict[str, LoadedModel] = {
            "base": load_causal_lm(self.config.models.base),
            "small": load_causal_lm(self.config.models.expert),
        }
        loaded = load_encoder(self.config.models.encoder)
        self.encoder = Encoder.from_loaded(loaded, self.config.router)

    def adapter(self, seed: int) -> Path:
        """A LoRA whose update is not zero."""
        model = get_peft_model(
            tiny_causal_lm("llama", seed=2), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
        )
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
        model.save_pretrained(self.root / f"adapter{seed}")
        return self.root / f"adapter{seed}"

    def module(self, name: str, seed: int, *, bare: bool = False, kind: str = "mlp") -> Path:
        """A module folder with a random projector (and adapter unless `bare`)."""
        base, small = self.models["base"], self.models["small"]
        readout = ReadoutConfig(
            pooling="none" if kind == "attention" else "segment_mean", slots=2, layers=(-2, -1), max_new_tokens=4
        )
        torch.manual_seed(seed)
        projector = Projector(ProjectorConfig.model_validate({"kind": kind}), ProjectorShape(32, 32, 2, 2))
        projector.initialise(list(torch.randn(20, 2, 2, 32)), base.model.get_input_embeddings().weight)
        with torch.no_grad():
            for parameter in projector.network.parameters():
                parameter.mul_(20)
        bank = question_bank(TEXTS[name], self.encoder, self.config.router)
        spec = ModuleSpec(
            name=name,
            base=ModelReference(id=base.source, fingerprint=base.fingerprint, hidden_size=32),
            expert=ModelReference(id=small.source, fingerprint=small.fingerprint, hidden_size=32),
            readout=readout,
            projector=projector.config,
            prompts=Prompts(PromptsConfig(), name, "Be brief."),
            routing=Routing(
                encoder=ModelReference(
                    id=self.config.models.encoder.source,
                    fingerprint=self.encoder.fingerprint,
                    hidden_size=self.encoder.dimension,
                ),
                prototypes=len(bank),
            ),
            generation=GenerationConfig(max_new_tokens=8),
        )
        folder = self.root / "modules" / f"{name}{seed}{kind}{bare}"
        write_module(
            folder,
            spec,
            projector=projector.state_dict(),
            prototypes=bank,
            expert_adapter=None if bare else self.adapter(seed),
        )
        return folder

    def system(self, *domains: Path) -> GAG:
        return GAG.from_config(self.config, domains)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("house")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GAG_CACHE", str(root / "cache"))
        yield House(root)


@pytest.fixture(scope="module")
def alloys(house: House) -> Path:
    return house.module("alloys", 1)


@pytest.fixture(scope="module")
def polymers(house: House) -> Path:
    return house.module("polymers", 2)


QUESTIONS = ["How hard is alloy Q7?", "Who wrote Hamlet?", "What <|im_end|> is {knowledge}?", "x"]


def texts(model: GAG, domain: str | None = None) -> list[tuple[str, str]]:
    answers = model.answer_all([Question(str(n), q) for n, q in enumerate(QUESTIONS)], domain=domain)
    return [(a.text, a.background or "") for a in answers]


@pytest.mark.parametrize("question", [*QUESTIONS[:2], "  水  "])
def test_the_general_route_is_the_base_alone_token_for_token(house: House, alloys: Path, question: str) -> None:
    model = house.system(alloys)
    loaded = load_causal_lm(house.config.models.base)
    content = f"Answer the question.\n{question}"
    ids = loaded.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = loaded.model.generate(**ids, max_new_tokens=6, do_sample=False)[0, ids["input_ids"].shape[1] :]
    answer = model.answer(question, domain=GENERAL)
    assert answer.text == loaded.tokenizer.decode(out, skip_special_tokens=True).strip()
    assert answer.prompt_tokens == ids["input_ids"].shape[1]
    assert answer.completion_tokens == len([i for i in out.tolist() if i != 259])
    assert (answer.knowledge_tokens, answer.background) == (0, None)


def test_a_domain_answers_with_its_own_prompt_expert_and_limits(house: House, alloys: Path) -> None:
    model = house.system(alloys)
    answer = model.answer(QUESTIONS[0], domain="alloys")
    assert answer.route is not None and answer.route.name == "alloys"
    assert answer.knowledge_tokens == 2 and answer.completion_tokens <= 8
    assert answer.background
    assert answer.text != model.answer(QUESTIONS[0], domain=GENERAL).text
    assert set(answer.timings) == {"route", "background", "projector", "answer", "total"}
    parts = [seconds for name, seconds in answer.timings.items() if name != "total"]
    assert answer.timings["total"] == pytest.approx(sum(parts))
    attached = model.domains["alloys"]
    vectors = attached.vectors(attached.read([QUESTIONS[0]]))
    assert vectors.shape == (1, 2, 32) and not vectors.requires_grad
    prompt = model.base.encode(attached.prompts.domain(QUESTIONS[0], 2))
    (done,) = model.base.generate([prompt], vectors, GenerationConfig(max_new_tokens=8))
    assert answer.text == done.text


def test_refined_vectors_say_more_of_the_background(house: House, alloys: Path) -> None:
    model = house.system(alloys)
    asked = [Question(str(n), q) for n, q in enumerate(QUESTIONS)]
    routes = [Route("alloys", {})] * len(asked)
    plain, moved = (
        model.prepare(asked, routes, generation={"refine_steps": steps, "refine_above": 0}) for steps in (0, 4)
    )
    texts = [model.base.tokenizer.encode(item.background or "", add_special_tokens=False) for item in plain]
    assert all(texts) and [item.background for item in moved] == [item.background for item in plain]
    for before, after in zip(*(text_nll(model.base, prepared, texts) for prepared in (plain, moved)), strict=True):
        assert after < before
    assert {name for item in moved for name in item.timings} == {"route", "background", "projector", "refine"}
    assert all(item.added_tokens == 2 for item in moved)
    before = weights_checksum(model.base.model)
    with model.frozen():
        refining = {"refine_steps": 4, "refine_above": 0}
        together = model.answer_all(asked, domain="alloys", generation=refining)
        for question, answer in zip(asked, together, strict=True):
            (alone,) = model.answer_all([question], domain="alloys", generation=refining)
            assert alone.text == answer.text and alone.timings["refine"] > 0
    assert weights_checksum(model.base.model) == before
    general = [model.answer_all(asked[:2], domain=GENERAL, generation={"refine_steps": n})[0].text for n in (0, 4)]
    assert general[0] == general[1]


def test_only_what_the_expert_is_sure_of_is_refined(house: House, alloys: Path) -> None:
    model = house.system(alloys)
    asked, routes = [Question(str(n), q) for n, q in enumerate(QUESTIONS)], [Route("alloys", {})] * len(QUESTIONS)

    def vectors(**choices: float) -> tuple[list[torch.Tensor], list[float]]:
        prepared = model.prepare(asked, routes, generation=choices)
        return [p.vectors for p in prepared if p.vectors is not None], [
            p.background_probability for p in prepared if p.background_probability is not None
        ]

    plain, sure = vectors()
    assert len(set(sure)) > 1 and all(0 < p < 1 for p in sure)
    border = sorted(sure)[len(sure) // 2]
    moved, _ = vectors(refine_steps=2, refine_above=border)
    for one, other, p in zip(plain, moved, sure, strict=True):
        assert torch.equal(one, other) == (p < border)
    answers = model.answer_all(asked, domain="alloys")
    assert [a.background_probability for a in answers] == pytest.approx(sure)
    assert model.answer(QUESTIONS[0], domain=GENERAL).background_probability is None


def test_what_is_refined_towards_is_what_an_answer_may_say(house: House, alloys: Path) -> None:
    attached = house.system(alloys).domains["alloys"]
    tokenizer = house.models["base"].tokenizer
    base = house.system(alloys).base
    states = torch.zeros(2, 2, 32)
    readings = [Reading(states, "zinc", 3, 0.9), Reading(states, "zin", 4, 0.8), Reading(states, "", 0, 1.0)]
    answer = GenerationConfig(max_new_tokens=8)
    whole, cut, none = attached.said(readings, base, answer)
    assert tokenizer.decode(whole[:4]) == "zinc" and len(whole) == 5, "with the end of the turn"
    assert tokenizer.decode(cut) == "zin", "the background was cut: no end"
    assert none == []
    assert attached.said(readings, base, answer.under({"max_new_tokens": 2})) == [whole[:2], cut[:2], []]
    assert attached.said(readings, base, answer.under({"refine_above": 0.85})) == [whole, [], []]
    prefill = replace(attached, readout=attached.readout.model_copy(update={"mode": "prefill"}))
    with pytest.raises(ConfigError, match="needs a background"):
        prefill.said(readings, base, answer)


@pytest.mark.parametrize("kind", ["mlp", "attention"])
@pytest.mark.parametrize("bare", [False, True])
def test_a_batch_of_questions_equals_its_singles(house: House, kind: str, bare: bool) -> None:
    model = house.system(house.module("alloys", 5, kind=kind, bare=bare))
    for domain in ("alloys", GENERAL, None):
        together = texts(model, domain)
        for question, pair in zip(QUESTIONS, together, strict=True):
            single = model.answer(question, domain=domain)
            assert (single.text, single.background or "") == pair


def test_questions_find_their_routes(house: House, alloys: Path, polymers: Path) -> None:
    model = house.system(alloys, polymers)
    for name, questions in TEXTS.items():
        for question in questions:
            route = model.route(question)
            assert route.name == name
            assert set(route.scores) == {GENERAL, "alloys", "polymers"}
            assert model.answer(question).route == route
    mixed = [Question(str(n), q) for n, q in enumerate(q for qs in zip(*TEXTS.values(), strict=True) for q in qs)]
    answers = model.answer_all(mixed)
    assert [a.question_id for a in answers] == [q.id for q in mixed]
    assert [a.route.name for a in answers if a.route] == list(TEXTS) * 2
    assert model.answer_all([]) == []


def test_a_second_domain_leaves_the_first_one_and_general_as_they_were(
    house: House, alloys: Path, polymers: Path
) -> None:
    model = house.system(alloys)
    before = texts(model, "alloys"), texts(model, GENERAL)
    checksum = weights_checksum(model.base.model)
    assert model.attach(polymers) == "polymers"
    other = texts(model, "polymers")
    assert (texts(model, "alloys"), texts(model, GENERAL)) == before
    assert other != before[0]
    assert model.domains["alloys"].expert.model is model.domains["polymers"].expert.model
    model.detach("alloys")
    assert texts(model, "polymers") == other
    assert set(model.domains) == {"polymers"} and model.router.routes == (GENERAL, "polymers")
    model.attach(alloys)
    assert texts(model, "alloys") == before[0]
    assert weights_checksum(model.base.model) == checksum


@pytest.mark.parametrize("bare_first", [True, False])
def test_a_bare_expert_and_an_adapter_over_the_same_model(house: House, polymers: Path, bare_first: bool) -> None:
    bare = house.module("alloys", 7, bare=True)
    wanted = texts(house.system(bare), "alloys"), texts(house.system(polymers), "polymers")
    model = house.system(*((bare, polymers) if bare_first else (polymers, bare)))
    assert (texts(model, "alloys"), texts(model, "polymers")) == wanted


def test_what_is_not_attached_or_attached_already_is_refused(house: House, alloys: Path) -> None:
    model = house.system(alloys)
    with pytest.raises(DomainError, match="attached already"):
        model.attach(alloys)
    for action in (model.detach, lambda name: model.answer("x", domain=name)):
        with pytest.raises(DomainError, match="'law' is not attached"):
            action("law")
    with pytest.raises(DomainError):
        next(model.stream("x", domain="law"))
    model.detach("alloys")
    with pytest.raises(DomainError):
        model.answer("x", domain="alloys")


def test_another_base_encoder_or_expert_is_refused_and_leaves_nothing_behind(
    house: House, alloys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_tiny_model(house.root / "other", "qwen2", seed=77)
    chosen = house.config.models.base.model_copy(update={"source": str(other)})
    models = house.config.models.model_copy(update={"base": chosen})
    model = GAG.from_config(house.config.model_copy(update={"models": models}))
    with pytest.raises(DomainError, match="base"):
        model.attach(alloys)
    assert not model.domains and model.router.routes == (GENERAL,)
    model = house.system()
    moved = write_tiny_model(house.root / "moved", "llama", seed=77)
    small = load_causal_lm(house.config.models.expert.model_copy(update={"source": str(moved)}))
    monkeypatch.setattr("gag.models.experts.load_causal_lm", lambda *given, **choices: small)
    with pytest.raises(DomainError, match="expert"):
        model.attach(alloys)
    assert not model.domains and model.router.routes == (GENERAL,) and not model.experts._shared
    write_tiny_encoder(house.root / "other-encoder", seed=9)
    chosen = house.config.models.encoder.model_copy(update={"source": str(house.root / "other-encoder")})
    models = house.config.models.model_copy(update={"encoder": chosen})
    with pytest.raises(DomainError, match="encoder"):
        GAG.from_config(house.config.model_copy(update={"models": models}), [alloys])


def test_a_projector_that_is_not_what_the_module_says_is_refused(house: House) -> None:
    folder = house.module("alloys", 9)
    save_file({"network.0.weight": torch.zeros(2, 2)}, folder / "projector.safetensors")
    (folder / "manifest.json").unlink()
    write_manifest(folder, 1)
    model = house.system()
    with pytest.raises(DomainError, match="projector of alloys"):
        model.attach(folder)
    assert not model.domains and model.router.routes == (GENERAL,) and not model.experts._domains


def test_a_route_that_cannot_be_added_leaves_nothing_behind(
    house: House, alloys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = house.system()

    def taken(name: str, bank: torch.Tensor) -> None:
        raise DomainError(f"The route {name!r} is taken.", "Detach it.")

    with monkeypatch.context() as patched:
        patched.setattr(model.router, "attach", taken)
        with pytest.raises(DomainError, match="taken"):
            model.attach(alloys)
    assert not model.domains and not model.experts._domains
    assert model.attach(alloys) == "alloys"


def test_a_stream_is_the_answer(house: House, alloys: Path) -> None:
    model = house.system(alloys)
    for question in QUESTIONS:
        for domain in ("alloys", GENERAL, None):
            assert "".join(model.stream(question, domain=domain)) == model.answer(question, domain=domain).text


def test_generation_can_be_overridden_for_a_call(house: House, alloys: Path) -> None:
    model = house.system(alloys)
    one = GenerationConfig(max_new_tokens=1)
    for domain in ("alloys", GENERAL):
        (answer,) = model.answer_all([Question("q", "x")], domain=domain, generation=one)
        assert answer.completion_tokens <= 1


def test_from_pretrained_takes_what_is_not_given_from_the_first_module(
    house: House, alloys: Path, polymers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gag.system.Config", lambda **k: house.config.model_copy(update=k))
    held = {role: getattr(house.config.models, role) for role in ("base", "expert", "encoder")}
    model = GAG.from_pretrained(held["base"], [alloys, str(polymers)], expert=held["expert"], encoder=held["encoder"])
    assert set(model.domains) == {"alloys", "polymers"}
    assert isinstance(model.domains["alloys"].module, DomainModule)
    plain = GAG.from_pretrained(domains=[alloys])
    assert plain.base.source == held["base"].source
    assert plain.router.encoder.fingerprint == house.encoder.fingerprint


def test_a_question_longer_than_the_context_is_one_plain_error(house: House, alloys: Path) -> None:
    model = house.system(alloys)
    for domain in ("alloys", GENERAL):
        with pytest.raises(InputError, match="context of 4096"):
            model.answer("x" * 4090, domain=domain)


def test_the_answer_must_fit_the_context_too(house: House) -> None:
    model = house.system()
    empty = model.answer("", domain=GENERAL).prompt_tokens
    assert model.answer("x" * (4096 - empty - 6), domain=GENERAL).completion_tokens <= 6
    with pytest.raises(InputError, match="context of 4096"):
        model.answer("x" * (4096 - empty - 5), domain=GENERAL)


def test_a_changed_base_is_noticed(house: House, alloys: Path) -> None:
    from gag.errors import RunError

    model = house.system(alloys)
    with model.frozen():
        texts(model)
    with pytest.raises(RunError, match="the base changed"), model.frozen(), torch.no_grad():
        model.base.table.weight[0, 0] += 1


@pytest.mark.parametrize("bare", [False, True])
def test_an_expert_that_lies_elsewhere_now(house: House, tmp_path: Path, bare: bool) -> None:
    """Its weights say which it is; where it was when the module was made says nothing."""
    folder = house.module("alloys", 11, bare=bare)
    wanted = texts(house.system(folder), "alloys")
    here, away = house.root / "small", tmp_path / "elsewhere"
    shutil.copytree(here, away)
    places = {"base": str(house.root / "base"), "encoder": str(house.root / "encoder")}
    hidden = house.root / "hidden"
    here.rename(hidden)
    try:
        with pytest.raises(ModelError, match=str(here)):
            house.system(folder)
        models = house.config.models
        moved = models.model_copy(update={"expert": models.expert.model_copy(update={"source": str(away)})})
        assert texts(GAG.from_config(house.config.model_copy(update={"models": moved}), [folder]), "alloys") == wanted
        assert GAG.from_pretrained(domains=[folder], expert=str(away), **places).domains.keys() == {"alloys"}
        other = write_tiny_model(tmp_path / "other", "llama", seed=78)
        with pytest.raises(ModelError, match=str(here)) as caught:
            GAG.from_pretrained(domains=[folder], expert=str(other), **places)
        assert "does not hold these weights" in caught.value.hint
    finally:
        hidden.rename(here)
    model = GAG.from_pretrained(domains=[folder], expert=str(away), **places)
    assert {key[0] for key in model.experts._shared} == {str(away)}, "the place that was named comes first"


def test_from_pretrained_finds_what_a_module_names_in_its_workspace(house: House, tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    (lab / "modules").mkdir(parents=True)
    (lab / "gag.yaml").write_text("{}")
    shutil.copytree(house.root / "small", lab / "runs" / "expert")
    before = house.models["small"]
    house.models["small"] = replace(before, source="runs/expert")
    try:
        folder = shutil.copytree(house.module("alloys", 12, bare=True), lab / "modules" / "alloys")
    finally:
        house.models["small"] = before
    assert GAG.from_pretrained(domains=[folder]).answer("alloy?", domain="alloys").background is not None


def test_from_pretrained_takes_the_revisions_that_a_module_names(
    house: House, alloys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load_module(alloys)
    named = {
        "base": module.base.model_copy(update={"revision": "b1"}),
        "expert": module.expert.model_copy(update={"revision": "e1"}),
        "routing": module.routing.model_copy(
            update={"encoder": module.routing.encoder.model_copy(update={"revision": "c1"})}
        ),
    }
    monkeypatch.setattr("gag.system.load_module", lambda folder: module.model_copy(update=named))
    asked: list[str | None] = []

    def watched(load: Any) -> Any:
        return lambda config, **more: (asked.append(config.revision), load(config, **more))[1]

    monkeypatch.setattr("gag.system.load_causal_lm", watched(load_causal_lm))
    monkeypatch.setattr("gag.system.load_encoder", watched(load_encoder))
    monkeypatch.setattr("gag.models.experts.load_causal_lm", watched(load_causal_lm))
    GAG.from_pretrained(domains=[alloys])
    assert asked == ["b1", "c1", "e1"]


def test_how_many_questions_are_read_at_once_is_a_choice_of_whoever_answers(house: House, alloys: Path) -> None:
    chosen = house.config.model_copy(update={"readout": ReadoutConfig(batch_size=3)})
    assert GAG.from_config(chosen, [alloys]).domains["alloys"].readout.batch_size == 3
    module = load_module(alloys)
    assert GAG.from_pretrained(domains=[alloys]).domains["alloys"].readout == module.readout


def test_a_domain_may_say_how_many_are_read_at_once(house: House, alloys: Path, polymers: Path) -> None:
    own = {"alloys": DomainConfig(settings={"readout": {"batch_size": 2}})}
    model = GAG.from_config(house.config.model_copy(update={"domains": own}), [alloys, polymers])
    sizes = {name: attached.readout.batch_size for name, attached in model.domains.items()}
    assert sizes == {"alloys": 2, "polymers": house.config.readout.batch_size}


def test_single_choices_of_a_call_leave_the_others_to_the_route(house: House, alloys: Path) -> None:
    model = house.system(alloys)
    for domain, longest in (("alloys", 8), (GENERAL, 6)):
        (item,) = model.prepare([Question("q", "x")], [Route(domain, {})], generation={"temperature": 0.5})
        assert item.generation == GenerationConfig(max_new_tokens=longest, temperature=0.5)


def test_threads_read_one_after_another(house: House, alloys: Path, polymers: Path) -> None:
    """One model switches between the domains' adapters: whoever reads, reads alone."""
    model = house.system(alloys, polymers)
    wanted = {name: model.answer("x", domain=name).text for name in ("alloys", "polymers")}
    inside, most = threading.Semaphore(), []
    for name in wanted:
        expert = model.domains[name].expert
        read = expert.read

        def slow(*given: Any, read: Any = read) -> Any:
            most.append(inside.acquire(blocking=False))
            time.sleep(0.05)
            found = read(*given)
            inside.release()
            return found

        expert.read = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: (name, model.answer("x", domain=name).text), [*wanted] * 4))
    assert most == [True] * 8
    assert all(text == wanted[name] for name, text in found)


def test_what_was_loaded_to_be_compared_does_not_stay(house: House, alloys: Path, tmp_path: Path) -> None:
    other = write_tiny_model(tmp_path / "other", "llama", seed=78)
    places = {"base": str(house.root / "base"), "encoder": str(house.root / "encoder")}
    model = GAG.from_pretrained(domains=[alloys], expert=str(other), **places)
    assert len(model.experts._shared) == 1
