"""Methods `gag+rag`, the token and the passages together, and `gag-or-rag`, one or the other by confidence.

The confidence is the mean log-probability that the base gives the tokens of its own first answer, the one under the
injected token. Below a threshold the question is asked again with passages. The threshold is chosen on pairs that no
training saw: among never, the quartiles of their confidence, and always, the one with the lowest mean loss of the gold
answers on half of the pairs, kept only if it holds on the other half against never and always.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gag.answering import Prepared, completions, gold_nll, text_nll
from gag.atomic import new_file
from gag.config import GenerationChoice
from gag.methods.gag import Injected
from gag.methods.method import BaseBacked, Method, Preparing
from gag.methods.rag import RAG, Retriever, with_passages
from gag.models.base import Base
from gag.prompts import Message
from gag.records import Question, Route, content_hash, questions_hash, read_questions, spread
from gag.system import GAG

if TYPE_CHECKING:
    from gag.methods.shelf import Shelf

DEV_QUESTIONS = 64
"""Pairs that the threshold is chosen on, at most."""
THRESHOLD = "threshold.json"


class TokenAndText:
    """The domain prompt with the injected vectors in its slots and the passages after them; route given.

    The vectors are not refined: beside passages it changes nothing (docs/results.md, When the expert is sure).
    """

    name = "gag+rag"

    def __init__(self, system: GAG, domain: str, retriever: Retriever, *, generation: GenerationChoice = None) -> None:
        self.system, self.base, self.domain = system, system.base, domain
        self.retriever, self.generation = retriever, generation

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        """gag's prompts with as many passages as fit; added tokens are slots and text."""
        routes = [Route(self.domain, {})] * len(questions)
        own = self.system.domains[self.domain].module.generation.under(self.generation)
        asked = own.model_copy(update={"refine_steps": 0})
        prepared = self.system.prepare(questions, routes, generation=asked)
        found, seconds = self.retriever.find(questions)
        out = []
        for item, hits in zip(prepared, found, strict=True):
            timed = replace(item, timings={**item.timings, "retrieval": seconds})
            out.append(with_passages(self.base, timed, hits, self._asked(item)))
        return out

    def _asked(self, item: Prepared) -> Callable[[str], tuple[Message, ...]]:
        prompts, slots = self.system.domains[self.domain].prompts, len(item.prompt.slots)
        return lambda text: prompts.injected_context(item.question.question, slots, text)


class Fallback:
    """The answer of `first`, or where the base is less confident of that than `threshold`, the answer of `second`."""

    name = "gag-or-rag"

    def __init__(self, base: Base, first: Preparing, second: Preparing, threshold: float) -> None:
        self.base, self.first, self.second, self.threshold = base, first, second, threshold

    def prepare(self, questions: Sequence[Question]) -> list[Prepared]:
        """Prompts of either; a first answer that is given is not written again, one that is not costs its time."""
        out, confidences = answered(self.base, self.first.prepare(questions))
        doubted = [i for i, confidence in enumerate(confidences) if confidence < self.threshold]
        second = self.second.prepare([questions[i] for i in doubted]) if doubted else []
        for i, item in zip(doubted, second, strict=True):
            written = out[i].completion
            spent = sum(out[i].timings.values()) + (written.seconds if written is not None else 0.0)
            out[i] = replace(item, route=out[i].route, timings={"first answer": spent, **item.timings})
        return out


def answered(base: Base, prepared: Sequence[Prepared]) -> tuple[list[Prepared], list[float]]:
    """Each with the base's answer, and how confident it is of that: the mean log-probability of the answer's tokens.

    An empty answer has none: minus infinity.
    """
    written = completions(base, prepared)
    said = [i for i, completion in enumerate(written) if completion.ids]
    started = time.perf_counter()
    losses = text_nll(base, [prepared[i] for i in said], [written[i].ids for i in said])
    seconds = (time.perf_counter() - started) / max(1, len(prepared))
    confidences = [-math.inf] * len(prepared)
    for i, loss in zip(said, losses, strict=True):
        confidences[i] = -loss
    done = [
        replace(item, completion=completion, timings={**item.timings, "confidence": seconds})
        for item, completion in zip(prepared, written, strict=True)
    ]
    return done, confidences


def best_threshold(confidences: Sequence[float], first: Sequence[float], second: Sequence[float]) -> float:
    """The confidence below which the second answer is taken, from the losses of both methods on the same questions.

    Chosen on every other question (see this file's top); minus infinity never takes the second, infinity always.
    """
    known = np.array(confidences)
    losses = np.array([first, second])
    fit, valid = slice(0, None, 2), slice(1, None, 2)

    def loss(threshold: float, part: slice) -> float:
        return float(np.where(known[part] < threshold, losses[1][part], losses[0][part]).mean())

    finite = known[fit][np.isfinite(known[fit])]
    quartiles = [float(q) for q in np.quantile(finite, [0.25, 0.5, 0.75])] if len(finite) else []
    best = min([-math.inf, *quartiles, math.inf], key=lambda threshold: loss(threshold, fit))
    plain = min((-math.inf, math.inf), key=lambda threshold: loss(threshold, slice(None)))
    if len(known) < 2:
        return plain
    return best if loss(best, valid) <= min(loss(-math.inf, valid), loss(math.inf, valid)) else plain


def both_from_shelf(shelf: Shelf, domain: str) -> Method:
    """For the shelf: gag+rag."""
    shelf.attached(domain)
    retriever = Retriever(shelf.store(domain), shelf.config(domain).retrieval.top_k)
    return BaseBacked(TokenAndText(shelf.system, domain, retriever, generation=shelf.generation))


def fallback_from_shelf(shelf: Shelf, domain: str) -> Method:
    """For the shelf: gag-or-rag, its threshold chosen on the domain's dev pairs and kept."""
    module = shelf.attached(domain).module
    first = Injected(shelf.system, domain=domain, generation=shelf.generation)
    retriever = Retriever(shelf.store(domain), shelf.config(domain).retrieval.top_k)
    second = RAG(shelf.base, shelf.prompts(domain), shelf.chosen_generation(domain), retriever)
    dev, whence = dev_questions(shelf, domain)
    key = content_hash(
        "fallback",
        [shelf.base.fingerprint, str(shelf.base.model.dtype), module.provenance.get("key")],
        [p.text for p in shelf.passages(domain)],
        [shelf.token_encoder.fingerprint, retriever.top_k],
        [second.prompts.to_json(), module.generation.under(shelf.generation).model_dump()],
        questions_hash(dev),
    )
    steps = shelf.steps(domain)
    path = steps.folder("fallback", key) / THRESHOLD
    if not path.is_file():
        with steps.alone():
            shelf.on_progress("fallback", 0, len(dev), "choosing the threshold")
            items, confidences = answered(shelf.base, first.prepare(dev))
            losses = [gold_nll(shelf.base, one) for one in (items, second.prepare(dev))]
            threshold = best_threshold(confidences, *losses)
            taken = sum(confidence < threshold for confidence in confidences)
            with new_file(path) as partial:  # JSON has no infinities
                partial.write_text(json.dumps({"threshold": str(threshold), "second": taken, "dev": len(dev)}))
        shelf.on_progress("fallback", len(dev), len(dev))
    kept = json.loads(path.read_text("utf-8"))
    shelf.remark(
        f"fallback {domain}",
        f"{domain}: gag-or-rag takes rag below a confidence of {float(kept['threshold']):.3g}, as for {kept['second']} "
        f"of {kept['dev']} dev questions ({whence})",
    )
    return BaseBacked(Fallback(shelf.base, first, second, float(kept["threshold"])))


def dev_questions(shelf: Shelf, domain: str) -> tuple[list[Question], str]:
    """The pairs that a threshold is chosen on, evenly spread over all there are, and which they are in words."""
    build, config = shelf.build(domain), shelf.workspace.domain(domain)
    if config.dev_qa is not None:
        found, whence = read_questions(shelf.workspace.path(config.dev_qa), require_answers=True), "dev_qa"
    else:
        aligned = {answer for q in build.align_questions for answer in q.answers}
        found, whence = [q for q in build.questions if not aligned & {*q.answers}], "pairs that align_qa leaves out"
        if not found:
            found, whence = build.questions, f"pairs that were trained on: better name others, domains.{domain}.dev_qa"
    return spread(found, DEV_QUESTIONS), whence
