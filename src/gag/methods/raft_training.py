"""Training of `raft`: examples from a domain's pairs and passages, and an adapter for the base that learns from them.

`gag raft data` writes data/DOMAIN/raft.jsonl, which wins over what would be made from the pairs; the adapter's step is
named by the hash of the examples and of all else it depends on.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import PreTrainedTokenizerBase

from gag.config import ExpertConfig, RaftConfig
from gag.corpus.synthesis.generators import Writer
from gag.errors import ConfigError, InputError
from gag.models import chat
from gag.models.loading import load_causal_lm
from gag.progress import Progress, silent
from gag.raft.citation import INSTRUCTION
from gag.raft.examples import RaftExample, assemble, read_examples, write_examples
from gag.raft.oracle import Oracle, Oracles
from gag.raft.reasoning import extractive, reasoned
from gag.records import Passage, Question, content_hash, questions_hash
from gag.training.expert import ADAPTER, ExpertRows, train_rows

if TYPE_CHECKING:
    from gag.methods.rag import Searchable
    from gag.methods.shelf import Shelf

EXAMPLES = "raft.jsonl"
_AT_ONCE = 64
_SPARE = 8
"""Passages that are searched for beyond the distractors wanted: some hold the answer too and are none."""


@dataclass(frozen=True)
class Made:
    """Examples, why questions are left out (by id), how oracles were found, and what became of the reasons."""

    examples: list[RaftExample]
    left_out: dict[str, str]
    found_by: Counter[str]
    reasons_written: int = 0
    reasons_refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class TrainedRaft:
    """The adapter's folder, how many examples it learnt from, and how many of these lost distractors to fit."""

    adapter: Path
    examples: int
    shortened: int


def make_examples(
    questions: Sequence[Question],
    passages: Sequence[Passage],
    store: Searchable,
    config: RaftConfig,
    *,
    writer: Writer | None = None,
    on_progress: Progress = silent,
) -> Made:
    """RAFT examples from pairs; raises InputError where not one question has its passage among `passages`.

    `writer` writes the reasons; without one they are the quotes alone.
    """
    finder = Oracles(passages)
    oracles: dict[str, Oracle] = {}
    left_out: dict[str, str] = {}
    for question in questions:
        found = finder.find(question)
        if isinstance(found, Oracle):
            oracles[question.id] = found
        else:
            left_out[question.id] = found
    kept = [question for question in questions if question.id in oracles]
    if not kept:
        why, count = Counter(left_out.values()).most_common(1)[0]
        raise InputError(
            f"None of {len(questions)} questions can be used: of {count} {why}.",
            'Name a passage ("passage"), quote one ("quote"), or give the text it is in ("context").',
        )
    distractors = _distractors(kept, oracles, finder, store, config, on_progress)
    reasons = (
        extractive(oracles) if writer is None else reasoned(kept, oracles, writer, config.reason_tokens, on_progress)
    )
    return Made(
        assemble(kept, oracles, distractors, reasons.reasons, config),
        left_out,
        Counter(oracle.by for oracle in oracles.values()),
        reasons.written,
        reasons.refused,
    )


def trained_raft(shelf: Shelf, domain: str) -> TrainedRaft:
    """The adapter of a domain's examples, trained, or gone on with, where it is not there; the shelf's remark says on
    what.
    """
    workspace, config = shelf.workspace, shelf.config(domain).raft
    given = workspace.data(domain) / EXAMPLES
    examples = read_examples(given) if given.is_file() else _from_pairs(shelf, domain)
    whence = EXAMPLES if given.is_file() else "its pairs"
    length = min(config.max_length, shelf.base.context)
    choices = adapter_config(config).model_copy(update={"max_length": length})
    key = content_hash(
        "raft",
        [shelf.base.fingerprint, str(shelf.base.model.dtype)],
        choices.model_dump(),
        INSTRUCTION,
        [asdict(example) for example in examples],
    )
    steps = shelf.steps(domain)
    folder = steps.folder("raft", key)
    share = sum(example.has_oracle for example in examples) / len(examples)
    shelf.remark(
        f"raft {domain}",
        f"raft {domain}: tuned on {len(examples)} examples from {whence}, the right passage in {100 * share:.0f} %",
    )
    if (folder / ADAPTER).is_dir():
        shelf.on_progress("raft", 1, 1, "kept")
        noted = json.loads((folder / "step.json").read_text("utf-8"))
        return TrainedRaft(folder / ADAPTER, len(examples), int(noted["shortened"]))
    with steps.alone():
        rows, shortened = training_rows(examples, shelf.base.tokenizer, choices.max_length)
        steps.note(folder, "raft", key, examples=len(examples), shortened=shortened)
        adapter = train_rows(
            load_causal_lm(shelf.copy_config, root=workspace.root).told("copy of the base", shelf.on_progress),
            ExpertRows(rows),
            choices,
            folder,
            on_progress=lambda _, done, total, note="": shelf.on_progress("raft", done, total, note),
        )
    return TrainedRaft(adapter, len(examples), shortened)


def training_rows(
    examples: Sequence[RaftExample], tokenizer: PreTrainedTokenizerBase, longest: int
) -> tuple[list[dict[str, list[int]]], int]:
    """`input_ids` and `labels` (-100 on the prompt) of each example, and how many lost distractors to fit `longest`.

    Raises InputError for one that does not fit even without distractors.
    """
    rows, shortened = [], 0
    for example in examples:
        ids, answer = _tokens(example, tokenizer)
        shown: RaftExample | None = example
        while len(ids) + len(answer) > longest:
            shown = None if shown is None else shown.without_last_distractor()
            if shown is None:
                raise InputError(
                    f"The RAFT example {example.id!r} has {len(ids) + len(answer)} tokens without distractors; "
                    f"{longest} fit.",
                    "Raise raft.max_length where the model's context allows, or cut the documents shorter.",
                )
            ids, answer = _tokens(shown, tokenizer)
        shortened += shown is not example
        rows.append({"input_ids": [*ids, *answer], "labels": [-100] * len(ids) + answer})
    return rows, shortened


def adapter_config(config: RaftConfig) -> ExpertConfig:
    """The expert section that the adapter is trained under."""
    return ExpertConfig(
        method="lora",
        lora_rank=config.rank,
        lora_alpha=config.alpha,
        learning_rate=config.learning_rate,
        epochs=config.epochs,
        batch_size=config.batch_size,
        accumulation=config.accumulation,
        max_length=config.max_length,
        seed=config.seed,
    )


def _tokens(example: RaftExample, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    return list(chat.encode(example.prompt(), tokenizer).ids), chat.encode_answer(example.target, tokenizer)


def _from_pairs(shelf: Shelf, domain: str) -> list[RaftExample]:
    """Examples of the domain's pairs by rules, for whoever did not say `gag raft data`."""
    config = shelf.config(domain).raft
    if config.reasoner != "extractive":
        raise ConfigError(
            f"The domain {domain} has no RAFT examples, and raft.reasoner is {config.reasoner}.",
            f"Have them written first: gag raft data {domain} --qa FILE.jsonl",
        )
    questions, passages = shelf.build(domain).all_pairs, shelf.passages(domain)
    choices = config.model_dump(include={"distractors", "oracle_share", "negatives", "unsupported", "seed"})
    meta = [question.meta for question in questions]  # where a question's passage is named
    texts = [[passage.id, passage.heading, passage.text] for passage in passages]
    key = content_hash("raft data", questions_hash(questions), meta, texts, shelf.token_encoder.fingerprint, choices)
    path = shelf.steps(domain).folder("raft-data", key) / EXAMPLES
    if not path.is_file():
        made = make_examples(questions, passages, shelf.store(domain), config, on_progress=shelf.on_progress)
        write_examples(path, made.examples)
    return read_examples(path)


def _distractors(
    questions: Sequence[Question],
    oracles: dict[str, Oracle],
    finder: Oracles,
    store: Searchable,
    config: RaftConfig,
    on_progress: Progress,
) -> dict[str, list[Passage]]:
    """Passages that do not hold the answer, by question id: the likest first, or any; one stands in for the oracle."""
    wanted, passages = config.distractors + 1, finder.passages
    found: dict[str, list[Passage]] = {}
    for start in range(0, len(questions), _AT_ONCE):
        part = questions[start : start + _AT_ONCE]
        if config.negatives == "hard":
            hits = store.search([question.question for question in part], min(len(passages), wanted + _SPARE))
            ranked = [[hit.passage for hit in row] for row in hits]
        else:
            ranked = [_drawn(passages, wanted + _SPARE, f"{config.seed} {question.id}") for question in part]
        for question, candidates in zip(part, ranked, strict=True):
            oracle = oracles[question.id]
            others = [passage for passage in candidates if not finder.holds(passage, oracle)]
            if len(others) < wanted:  # the nearest ones all hold it: the rest is drawn from anywhere
                drawn = _drawn(passages, len(passages), f"{config.seed} {question.id}")
                others += [p for p in drawn if p not in others and not finder.holds(p, oracle)]
            found[question.id] = others[:wanted]
        on_progress("distractors", len(found), len(questions), "")
    fewest = min(map(len, found.values()))
    if fewest < wanted:
        raise InputError(
            f"Some question has {fewest} passages that do not hold its answer, of {wanted} wanted.",
            "Lower raft.distractors (--distractors), or give the domain more documents.",
        )
    return found


def _drawn(passages: Sequence[Passage], count: int, seed: str) -> list[Passage]:
    return random.Random(seed).sample(list(passages), min(count, len(passages)))
