"""Prototype banks: a route's questions clustered into unit vectors p_{i,c} (paper section 3; no training)."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn.functional import normalize

from gag.config import RouterConfig
from gag.errors import InputError, RunError
from gag.records import GENERAL, Question, content_hash, read_questions
from gag.routing.encoder import Encoder

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class BankKey:
    """Everything a bank depends on; equal keys mean equal banks."""

    encoder: str
    pooling: str
    max_length: int
    questions: str
    prototypes: int
    max_questions: int
    n_init: int
    seed: int

    @property
    def digest(self) -> str:
        """sha256 (hex) of the key."""
        return content_hash("bank", 1, asdict(self))


def bank_key(questions: Sequence[str], encoder: Encoder, config: RouterConfig) -> BankKey:
    """The key of the bank that `encoder` and `config` make of `questions`."""
    return BankKey(
        encoder=encoder.fingerprint,
        pooling=encoder.pooling,
        max_length=encoder.max_length,
        questions=content_hash(list(questions)),
        prototypes=config.prototypes,
        max_questions=config.max_questions,
        n_init=config.n_init,
        seed=config.seed,
    )


def choose_questions(questions: Sequence[_Item], config: RouterConfig) -> list[_Item]:
    """All of `questions`, or `config.max_questions` of them drawn with the fixed seed, in their own order."""
    if len(questions) <= config.max_questions:
        return list(questions)
    chosen = random.Random(config.seed).sample(range(len(questions)), config.max_questions)
    return [questions[i] for i in sorted(chosen)]


def build_bank(embeddings: Float[Tensor, "n d"], config: RouterConfig) -> Float[Tensor, "p d"]:
    """Unit prototypes, float32: k-means centres of the l2-normalised `embeddings`, at most `config.prototypes`.

    With fewer distinct questions than prototypes each is one. The same embeddings give the same bits, however many
    threads the machine has. Raises InputError when there are no questions.
    """
    if not len(embeddings):
        raise InputError("A prototype bank needs at least one question.", "Give the route some questions.")
    unit = normalize(embeddings[choose_questions(range(len(embeddings)), config)].float().cpu(), dim=-1).numpy()
    _, first = np.unique(unit, axis=0, return_index=True)
    if len(first) <= config.prototypes:
        return torch.from_numpy(unit[np.sort(first)])
    with threadpool_limits(limits=1):  # several threads add up in any order, so the last bits would vary
        means = KMeans(config.prototypes, n_init=config.n_init, random_state=config.seed).fit(unit)
    centres = np.asarray(means.cluster_centers_, dtype=np.float32)
    lengths = np.linalg.norm(centres, axis=1, keepdims=True)
    for cluster in np.flatnonzero(lengths < 1e-6):  # opposite questions: their mean points nowhere
        centres[cluster] = unit[means.labels_ == cluster][0]
    return normalize(torch.from_numpy(centres), dim=-1)


def question_bank(questions: Sequence[str], encoder: Encoder, config: RouterConfig) -> Float[Tensor, "p d"]:
    """The bank of a route's `questions`; only the chosen ones are encoded."""
    return build_bank(encoder.encode(choose_questions(questions, config)), config)


def pool_banks(questions: Sequence[Question], encoder: Encoder, config: RouterConfig) -> dict[str, Tensor]:
    """A bank for every route named in a labelled pool, in order of appearance, general first."""
    by_route: dict[str, list[str]] = {}
    for question in questions:
        by_route.setdefault(route_of(question), []).append(question.question)
    order = sorted(by_route, key=lambda name: name != GENERAL)
    return {name: question_bank(by_route[name], encoder, config) for name in order}


def route_of(question: Question) -> str:
    """The route `question` belongs to: its `domain`, or a `route` beside it; raises InputError where it names none."""
    route = question.domain if question.domain is not None else question.meta.get("route")
    if not isinstance(route, str) or not route:
        raise InputError(
            f"The question {question.id!r} does not say which route is right.",
            'Add "domain": "general" or a domain\'s name to its line.',
        )
    return route


def cached_bank(questions: Sequence[str], encoder: Encoder, config: RouterConfig, folder: Path) -> Float[Tensor, "p d"]:
    """`question_bank`, kept in `folder` under the hash of everything it depends on (see `BankKey`).

    A file that is damaged is built again. Raises RunError when the folder cannot be written.
    """
    key = bank_key(questions, encoder, config)
    path = folder / f"{key.digest}.safetensors"
    kept = _read_bank(path, key)
    if kept is not None:
        return kept
    bank = question_bank(questions, encoder, config)
    _write_bank(path, bank, key)
    return bank


def general_questions(config: RouterConfig, root: Path | None) -> list[Question]:
    """The general route's questions: the user's file, relative to `root` (the workspace), or the package's own."""
    if config.general_questions is not None:
        return read_questions((root or Path()) / config.general_questions)
    with resources.as_file(resources.files("gag") / "demo" / "general.jsonl") as path:
        return read_questions(path)


def _read_bank(path: Path, key: BankKey) -> Tensor | None:
    try:
        with safe_open(path, framework="pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            if metadata.get("key") != key.digest:
                return None
            bank: Tensor = file.get_tensor("prototypes")
    except (OSError, SafetensorError):
        return None
    return bank


def _write_bank(path: Path, bank: Tensor, key: BankKey) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(save({"prototypes": bank.contiguous()}, metadata={"key": key.digest}))
        os.replace(partial, path)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror or error}).", "Make room there, or set GAG_CACHE to a folder."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
