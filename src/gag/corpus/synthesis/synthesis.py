"""Question-answer pairs from passages: candidates, gates, second pass, splits; what each stage let through is counted.

The extractive generator needs no model and is done again each time. A model's replies are journalled one by one, so
that a run that was interrupted, or an endpoint that failed, costs only what is missing.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from gag.config import SynthesisConfig
from gag.corpus.language.quantities import quantities
from gag.corpus.language.topics import Corpus, read_corpus
from gag.corpus.synthesis.endpoint import is_endpoint
from gag.corpus.synthesis.extractive import compare, extract, unanswerable
from gag.corpus.synthesis.gates import GATES, Gates, Refusal, normalised
from gag.corpus.synthesis.generators import Candidate, Failure, Kind, Source, Writer
from gag.corpus.synthesis.instructions import Draft, checking_prompt, kind_of, read_drafts, writing_prompt
from gag.corpus.synthesis.journal import Recalled, Remembered
from gag.corpus.synthesis.neighbours import neighbours
from gag.corpus.synthesis.splits import Side
from gag.progress import Progress, silent
from gag.prompts import Message
from gag.records import Passage, Question

PLAIN_KINDS: tuple[Kind, ...] = ("fact", "numeric", "mechanism", "procedure", "comparison")


@dataclass(frozen=True)
class Request:
    """One prompt: the passages it shows (one, or two for a cross-document pair) and the kinds of pair it asks for."""

    passages: tuple[Passage, ...]
    kinds: tuple[Kind, ...]


@dataclass(frozen=True)
class Task:
    """What is to be synthesised: a domain's passages with their documents' titles and sides.

    Of the passages `around` nothing is asked; they tell which words are common, and are compared and contrasted with.
    What the pairs `known` ask, of other passages, is not asked again.
    """

    domain: str
    field: str
    passages: Sequence[Passage]
    titles: Mapping[str, str]
    sides: Mapping[str, Side]
    config: SynthesisConfig
    around: Sequence[Passage] = ()
    known: Sequence[Question] = ()


@dataclass
class Report:
    """What came of a run. `refused` counts candidates by the first gate that refused them.

    `failed` and `left_out` name passages and why a prompt about them has no reply: asked again, that of a `failed` one
    may get one; that of one `left_out` would fail again.
    """

    domain: str
    generator: str
    style: str
    passages: int = 0
    candidates: int = 0
    accepted: int = 0
    refused: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GATES, 0))
    unreadable: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    documents: dict[str, dict[str, int]] = field(default_factory=dict)
    headings: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class Result:
    """The pairs that passed, those that did not (`meta["refused"]` says why), and the report."""

    accepted: list[Question]
    refused: list[Question]
    report: Report


class Synthesis:
    """One run; `writer` None is the extractive generator."""

    def __init__(self, task: Task, writer: Writer | None, on_progress: Progress = silent) -> None:
        self.task, self.writer, self.on_progress = task, writer, on_progress
        name = "extractive" if writer is None else writer.name
        self.report = Report(task.domain, name, task.config.style, passages=len(task.passages))

    def run(self) -> Result:
        """Write, check and count; what failed is in the report, by passage."""
        gates = Gates(self._by_id, self.corpus, self.task.config.similarity)
        for pair in self.task.known:
            gates.remember(pair.question, str(pair.meta.get("fact", pair.id)))
        candidates = list(self._extracted() if self.writer is None else self._written())
        self.report.candidates = len(candidates)
        refused: list[tuple[Candidate, Refusal]] = []
        passed: list[Candidate] = []
        for number, candidate in enumerate(candidates, 1):
            refusal = gates.check(candidate)
            if refusal is None and self.writer is None:
                refusal = gates.answerable(candidate)
            if refusal is None:
                passed.append(candidate)
            else:
                refused.append((candidate, refusal))
            if number % 500 == 0:
                self.on_progress("gates", number, len(candidates))
        if self.writer is not None:
            passed = self._second_pass(gates, passed, refused)
        self.on_progress("gates", 1, 1, f"{len(passed)} of {len(candidates)} pairs passed")
        return self._result(passed, refused)

    def unknown(self, remembered: Remembered) -> tuple[list[tuple[Message, ...]], list[tuple[Message, ...]]]:
        """The prompts a run would send now: those that write pairs, and checks of pairs that are written already."""
        recalled = Recalled(remembered)
        Synthesis(self.task, recalled).run()
        writing, checking = recalled.missing
        return writing, checking

    def requests(self) -> list[Request]:
        """What a model is asked, passage by passage."""
        style, per_passage = self.task.config.style, self.task.config.per_passage
        if style == "cross-document":
            pairs = ((p, self._near[p.id]) for p in self.task.passages)
            shown = [(p, other) for p, others in pairs for other in others[: per_passage or 1]]
            return [Request(both, ("cross-document",)) for both in shown]
        return [
            Request((passage,), kinds)
            for passage in self.task.passages
            for kinds in _batched(self._kinds(passage), self.pairs_per_request)
        ]

    def prompts(self, requests: Sequence[Request]) -> list[tuple[Message, ...]]:
        """The prompts of `requests`."""
        task = self.task
        return [writing_prompt(r.passages, task.titles, r.kinds, task.field) for r in requests]

    @property
    def pairs_per_request(self) -> int:
        """Pairs that a model writes at once."""
        config = self.task.config
        if config.style == "cross-document":
            return 1
        return config.pairs_per_request or ((config.per_passage or 4) if is_endpoint(config.model) else 1)

    @cached_property
    def corpus(self) -> Corpus:
        """The words of the passages and the subjects of their documents."""
        return read_corpus([*self.task.passages, *self.task.around], self.task.titles)

    @cached_property
    def _by_id(self) -> dict[str, Passage]:
        return {passage.id: passage for passage in (*self.task.passages, *self.task.around)}

    @cached_property
    def _near(self) -> dict[str, list[Passage]]:
        count = max(self.task.config.distractors, self.task.config.per_passage or 1)
        return neighbours([*self.task.passages, *self.task.around], self.task.sides, count)

    def _kinds(self, passage: Passage) -> list[Kind]:
        if self.task.config.style == "unanswerable":
            return ["unanswerable"] * (self.task.config.per_passage or 1)
        fitting = [k for k in PLAIN_KINDS if k != "numeric" or any(q.unit for q in quantities(passage.text))]
        return list(itertools.islice(itertools.cycle(fitting), self.task.config.per_passage or 4))

    def _extracted(self) -> Iterator[Candidate]:
        task = self.task
        match task.config.style:
            case "cross-document":
                yield from compare(task.passages, self.corpus, task.sides, task.config)
            case "unanswerable":
                yield from unanswerable(task.passages, self.corpus, task.config)
            case style:
                for number, passage in enumerate(task.passages, 1):
                    yield from extract([passage], self.corpus, task.config, style)
                    if number % 200 == 0 or number == len(task.passages):
                        self.on_progress("write", number, len(task.passages))

    def _written(self) -> list[Candidate]:
        """Candidates of the model's replies, in the order of the passages."""
        assert self.writer is not None
        requests = self.requests()
        tokens = self.task.config.tokens_per_pair * self.pairs_per_request
        found: dict[int, list[Candidate]] = {}
        for done, (position, reply) in enumerate(self.writer.complete(self.prompts(requests), tokens), 1):
            request = requests[position]
            if isinstance(reply, Failure):
                self._failed(request.passages[0], reply)
            else:
                found[position] = self._candidates(request, reply)
                self.report.unreadable += not found[position]
            count = len({**self.report.failed, **self.report.left_out})
            failed = f"{count} passages failed" if count else ""
            self.on_progress("write", done, len(requests), failed)
        return [candidate for position in sorted(found) for candidate in found[position]]

    def _candidates(self, request: Request, reply: str) -> list[Candidate]:
        drafts = read_drafts(reply)[: len(request.kinds)]
        return [self._candidate(request, draft, kind) for draft, kind in zip(drafts, request.kinds, strict=False)]

    def _candidate(self, request: Request, draft: Draft, kind: Kind) -> Candidate:
        style = self.task.config.style
        answer, kind = draft.answer, kind_of(draft, kind) if style in ("plain", "raft") else kind
        if kind in ("unanswerable", "cross-document") and style in ("plain", "raft"):
            kind = "fact"
        quotes = [draft.quote]
        if kind == "unanswerable":
            answer, quotes = self.task.config.unanswerable_answer, [""]
        elif len(request.passages) > 1:
            quotes = _parted(draft.quote, request.passages)
        sources = tuple(
            Source(passage.id, passage.document_id, quote, passage.heading)
            for passage, quote in zip(request.passages, quotes, strict=True)
        )
        return Candidate(draft.question, answer, sources, kind, style, draft.background)

    def _second_pass(
        self, gates: Gates, passed: Sequence[Candidate], refused: list[tuple[Candidate, Refusal]]
    ) -> list[Candidate]:
        """The candidates that the writer itself answers alike from the quote alone."""
        assert self.writer is not None
        prompts = [checking_prompt(c.question, c.quote or self._shown_text(c)) for c in passed]
        agreed: dict[int, Candidate] = {}
        for done, (position, reply) in enumerate(self.writer.complete(prompts, self.task.config.check_tokens), 1):
            candidate = passed[position]
            if isinstance(reply, Failure):
                self._failed(self._by_id[candidate.sources[0].passage_id], reply)
            elif refusal := gates.judged(candidate, reply):
                refused.append((candidate, refusal))
            else:
                agreed[position] = candidate
            self.on_progress("check", done, len(prompts))
        return [agreed[position] for position in sorted(agreed)]

    def _shown_text(self, candidate: Candidate) -> str:
        return "\n".join(self._by_id[source.passage_id].text for source in candidate.sources)

    def _failed(self, passage: Passage, failure: Failure) -> None:
        found = self.report.left_out if failure.lasting else self.report.failed
        found.setdefault(passage.id, failure.reason)

    def _result(self, passed: Sequence[Candidate], refused: Sequence[tuple[Candidate, Refusal]]) -> Result:
        report = self.report
        report.accepted = len(passed)
        report.refused.update(Counter(refusal.gate for _, refusal in refused))
        report.kinds = dict(Counter(c.kind for c in passed))
        report.headings = dict(Counter(c.sources[0].heading or "(no heading)" for c in passed))
        covered = {source.passage_id for c in passed for source in c.sources}
        pairs = Counter(c.sources[0].document_id for c in passed)
        for passage in self.task.passages:
            row = report.documents.setdefault(passage.document_id, {"pairs": 0, "passages": 0, "covered": 0})
            row["pairs"] = pairs[passage.document_id]
            row["passages"] += 1
            row["covered"] += passage.id in covered
        accepted = [self._question(c) for c in passed]
        for side in ("train", "test"):
            of_side = [q for q in accepted if q.meta["split"] == side]
            documents = sum(s == side for s in self.task.sides.values())
            report.splits[side] = {"documents": documents, "pairs": len(of_side)}
        out = [
            self._question(c, {"refused": {"gate": refusal.gate, "reason": refusal.reason}}) for c, refusal in refused
        ]
        taken = {q.id for q in accepted}
        return Result(accepted, list({q.id: q for q in out if q.id not in taken}.values()), report)

    def _question(self, candidate: Candidate, more: Mapping[str, Any] | None = None) -> Question:
        first = candidate.sources[0]
        meta: dict[str, Any] = {
            "document": first.document_id,
            "passage": first.passage_id,
            "split": self.task.sides.get(first.document_id, "train"),
            "kind": candidate.kind,
            "style": candidate.style,
            "quote": candidate.quote,
            "background": candidate.background,
            "fact": candidate.fact or candidate.key,
            "heading": first.heading,
            "generator": self.report.generator,
        }
        if len(candidate.sources) > 1:
            meta["documents"] = [source.document_id for source in candidate.sources]
            meta["passages"] = [source.passage_id for source in candidate.sources]
            meta["quotes"] = [source.quote for source in candidate.sources]
        if candidate.style == "raft":
            near = self._near[first.passage_id][: self.task.config.distractors]
            meta["distractors"] = [passage.id for passage in near]
        meta = {key: value for key, value in meta.items() if value not in (None, "")} | dict(more or {})
        pair_id = f"{self.task.domain}-{candidate.key}"
        return Question(pair_id, candidate.question, (candidate.answer,), self.task.domain, meta)


def _batched(kinds: Sequence[Kind], count: int) -> Iterator[tuple[Kind, ...]]:
    return (tuple(kinds[start : start + count]) for start in range(0, len(kinds), count))


def _parted(quote: str, passages: Sequence[Passage]) -> list[str]:
    """The parts of a quote from several passages, each with the passage that holds it; empty where none does."""
    parts = [part.strip(' "“”') for part in quote.replace("...", "…").split("…") if part.strip()]
    return [next((part for part in parts if normalised(part) in normalised(passage.text)), "") for passage in passages]
