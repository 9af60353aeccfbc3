"""Finding passages: seconds a question, what is lost against scoring every passage, and memory.

    python -m benchmarks.retrieval [--passages 20000 100000] [--data DATA] [--folder FOLDER]

The passages are made up, 120 tokens x 128 dimensions, and have the structure that matters here. There are 30,000
words in 10,000 groups of synonyms and 300 topics; a word's vector is its group's direction, its own and its topic's
(0.8, 0.5, 0.4). Half of a passage's words come from its topic, 15 % from a second one, the rest from the whole
vocabulary by Zipf's law. A token's vector is its word's, plus half the passage's mean direction (context), plus noise
(0.35). A question has 6 words of one passage, its gold, half of them replaced by synonyms that BM25 cannot match, much
noisier (1.2), so that the gold passage is first about as often as in ChemLit-QA, and 26 mixtures of these in the place
of masks: 32 vectors. Overlap is the share of the ten best of all passages that a search finds among its ten. Searches
are timed when the token vectors are in the system's cache.

With --data the 1,175 chunks of ChemLit-QA are searched with its 211 test questions by MiniLM's token vectors; encoding
them takes minutes, and goes on where it was if --folder is given.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import measure
from benchmarks.measure import Row, row
from gag.config import ModelsConfig, RetrievalConfig
from gag.records import Passage, read_documents, read_questions
from gag.retrieval.late_interaction import Kind, token_encoder
from gag.retrieval.store import Hit, PassageStore
from gag.retrieval.table import PassageTable

TOKENS, DIMENSION, QUERY_TOKENS, QUERY_WORDS = 120, 128, 32, 6
NOISE, QUERY_NOISE, REPLACED = 0.35, 1.2, 0.5
WORDS, GROUPS, TOPICS = 30_000, 10_000, 300
SLOWEST = {20_000: 20.0, 100_000: 60.0}
"""Milliseconds a question may take, by the number of passages."""

BEST = 10


class TopicalVectors:
    """The made-up encoder: a text's vectors depend on its words alone, its noise on the text's checksum."""

    name = "topical"
    kind: Kind = "encoder"
    dimension = DIMENSION
    fingerprint = "topical 1"

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        directions = [unit(self.random.standard_normal((n, DIMENSION))) for n in (GROUPS, WORDS, TOPICS)]
        self.group = self.random.integers(0, GROUPS, WORDS)
        self.topic = self.random.integers(0, TOPICS, WORDS)
        self.words = unit(
            0.8 * directions[0][self.group] + 0.5 * directions[1] + 0.4 * directions[2][self.topic]
        ).astype(np.float32)
        self.frequency = self.random.permutation(1 / np.arange(1, WORDS + 1))
        self.frequency /= self.frequency.sum()

    def passages(self, texts: Sequence[str]) -> list[Tensor]:
        """`[120, 128]` a passage."""
        return [torch.from_numpy(self._tokens(text, NOISE)) for text in texts]

    def queries(self, texts: Sequence[str]) -> list[Tensor]:
        """`[32, 128]` a question."""
        return [self._query(text) for text in texts]

    def _query(self, text: str) -> Tensor:
        named = self._tokens(text, QUERY_NOISE)
        random = np.random.default_rng(zlib.crc32(text.encode()))
        first, second = random.integers(0, len(named), (2, QUERY_TOKENS - len(named)))
        noise = random.standard_normal((len(first), DIMENSION)) / DIMENSION**0.5
        masks = unit(named[first] + 0.5 * named[second] + 0.3 * noise)
        return torch.from_numpy(np.concatenate([named, masks]).astype(np.float32))

    def _tokens(self, text: str, noise: float) -> np.ndarray:
        own = self.words[[int(word[1:]) for word in text.split()]]
        random = np.random.default_rng(zlib.crc32(text.encode()))
        noisy = random.standard_normal(own.shape, dtype=np.float32) * (noise / DIMENSION**0.5)
        return unit(own + 0.5 * unit(own.mean(axis=0)) + noisy)

    def write_passages(self, count: int) -> list[Passage]:
        """Random passages, as the module says."""
        first, second = self.random.integers(0, TOPICS, (2, count))
        half, some = TOKENS // 2, TOKENS * 15 // 100
        rows = self.random.choice(WORDS, (count, TOKENS), p=self.frequency)
        for topic in range(TOPICS):
            words = np.flatnonzero(self.topic == topic)
            weights = self.frequency[words] ** 0.5
            for chosen, columns in ((first, slice(0, half)), (second, slice(half, half + some))):
                which = np.flatnonzero(chosen == topic)
                drawn = self.random.choice(words, (len(which), columns.stop - columns.start), p=weights / weights.sum())
                rows[which, columns] = drawn
        return [Passage(f"p{n}", f"d{n // 10}", " ".join(f"w{word}" for word in r)) for n, r in enumerate(rows)]

    def write_questions(self, passages: Sequence[Passage], count: int) -> list[tuple[str, str]]:
        """Questions, each with its gold passage's id."""
        made = []
        for number in self.random.choice(len(passages), count, replace=False):
            words = self.random.permutation(passages[number].text.split())[:QUERY_WORDS]
            asked = [self._synonym(int(w[1:])) if self.random.random() < REPLACED else int(w[1:]) for w in words]
            made.append((" ".join(f"w{word}" for word in asked), passages[number].id))
        return made

    def _synonym(self, word: int) -> int:
        return int(self.random.choice(np.flatnonzero(self.group == self.group[word])))


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, nargs="+", default=list(SLOWEST), help="sizes of the made-up store")
    parser.add_argument("--questions", type=int, default=100, help="questions that are timed")
    parser.add_argument(
        "--exhaustive", type=int, default=50, help="questions of these, at least one, for which every passage is scored"
    )
    parser.add_argument("--candidates", type=int, help="passages scored exactly; else as the store chooses")
    parser.add_argument("--data", type=Path, help="the data sets' folder: real text too")
    parser.add_argument("--folder", type=Path, help="where the stores are kept; else they are deleted")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    config = RetrievalConfig(candidates=arguments.candidates)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        for count in arguments.passages:
            rows += made_up_rows(folder / f"made-up-{count}", count, config, arguments.questions, arguments.exhaustive)
        if arguments.data:
            rows += real_rows(folder / "chemlitqa", arguments.data / "materials", config)
    measure.report("retrieval", rows, measure.machine(), arguments.json)


def made_up_rows(folder: Path, count: int, config: RetrievalConfig, questions: int, exhaustive: int) -> list[Row]:
    """One size of the made-up store."""
    encoder = TopicalVectors()
    passages = encoder.write_passages(count)
    asked = encoder.write_questions(passages, min(questions, count))
    started = time.perf_counter()
    PassageStore.build(folder, passages, encoder, config)
    building = time.perf_counter() - started
    del passages
    found: list[list[Hit]] = []
    every: list[list[Hit]] = []
    seconds: list[float] = []
    scoring_all: list[float] = []

    def search() -> None:
        store = PassageStore.open(folder, encoder, config)
        texts = [text for text, _ in asked]
        started = time.perf_counter()
        every.extend(store.exhaustive(texts[:exhaustive], BEST))  # and the system's cache has the token vectors
        scoring_all.append(time.perf_counter() - started)
        store.search(texts[:3], BEST)  # warms up
        for text, query in zip(texts, encoder.queries(texts), strict=True):
            begun = time.perf_counter()
            found.extend(store.search_encoded([text], [query], BEST))
            seconds.append(time.perf_counter() - begun)

    grown = measure.resident_peak(search)
    peak = None if grown is None else measure._status("VmHWM")
    store = PassageStore.open(folder, encoder, config)
    case = f"{count:,} passages"
    slow = sorted(seconds)[int(0.95 * (len(seconds) - 1))]
    wanted = 0.98 if count == min(SLOWEST) else None
    all_ms = 1e3 * scoring_all[0] / len(every)
    rows = [
        row(f"{case}: a question after encoding, median", ms(seconds), "ms", at_most=SLOWEST.get(count)),
        row(f"{case}: the slowest of twenty", 1e3 * slow, "ms"),
        *part_rows(case, store, asked),
        row(f"{case}: overlap of the ten best with scoring all", overlap(found, every), at_least=wanted),
        row(f"{case}: gold passage first", gold_first(found, asked)),
        row(f"{case}: gold passage first, scoring all", gold_first(every, asked)),
        row(f"{case}: a question scoring all, {len(every)} together", all_ms, "ms"),
    ]
    if peak is not None:
        rows.append(row(f"{case}: resident while searching, at most", peak / 2**30, "GiB", at_most=4.0))
    on_disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    rows.append(row(f"{case}: on disk", on_disk / 2**30, "GiB"))
    return [*rows, row(f"{case}: building without encoding", building, "s")]


def part_rows(case: str, store: PassageStore, asked: Sequence[tuple[str, str]]) -> list[Row]:
    """Where a question's time goes, and what reading the candidates from the table instead would take."""
    view = store._view
    texts = [text for text, _ in asked[:30]]
    queries = store.encoder.queries(texts)
    chosen = [view.candidates(text, query, store.candidates) for text, query in zip(texts, queries, strict=True)]
    table = PassageTable.open(store.folder, store.encoder.dimension)._table
    lexical, candidates, reading, scoring, lance = measure.alternating(
        len(texts),
        lambda turn: view.lexical.scores(texts[turn]),
        lambda turn: view.candidates(texts[turn], queries[turn], store.candidates),
        lambda turn: view.matrices._read(chosen[turn]),
        lambda turn: view.matrices.maxsim(queries[turn], chosen[turn]),
        lambda turn: table.take_offsets(chosen[turn].tolist()).select(["tokens"]).to_arrow(),
    )
    return [
        row(f"{case}: candidates ({store.candidates})", ms(candidates), "ms"),
        row(f"{case}: of that, BM25", ms(lexical), "ms"),
        row(f"{case}: MaxSim of the candidates", ms(scoring), "ms"),
        row(f"{case}: of that, reading the token vectors", ms(reading), "ms"),
        row(f"{case}: reading them from the LanceDB table instead", ms(lance), "ms"),
    ]


def real_rows(folder: Path, data: Path, config: RetrievalConfig) -> list[Row]:
    """ChemLit-QA: is the chunk that a question was asked about found?"""
    encoder = token_encoder(config, ModelsConfig())
    documents = read_documents(data / "chemlitqa_chunks.jsonl")
    passages = [Passage(document.id, document.id, document.text) for document in documents]
    chunk_of = {document.text: document.id for document in documents}
    questions = read_questions(data / "chemlitqa_test.jsonl")
    gold = [chunk_of[question.meta["context"]] for question in questions]
    texts = [question.question for question in questions]
    store = PassageStore.build(folder, passages, encoder, config)
    queries = encoder.queries(texts)
    every = store.exhaustive(texts, BEST)
    rows = []
    for candidates in sorted({128, 256, store.candidates}):
        store.config = config.model_copy(update={"candidates": candidates})
        store.search(texts[:3])  # warms up
        started = time.perf_counter()
        found = store.search_encoded(texts, queries, BEST)
        taken = (time.perf_counter() - started) / len(texts)
        case = f"ChemLit-QA, {len(store):,} chunks by {encoder.name}, {candidates} candidates"
        rows += [
            row(f"{case}: overlap of the ten best with scoring all", overlap(found, every)),
            row(f"{case}: a question after encoding", 1e3 * taken, "ms"),
        ]
    for name, hits in (("search", found), ("scoring all", every)):
        ranked = [[hit.passage.id for hit in one] for one in hits]
        for k in (1, 5, 9):
            value = mean(answer in ids[:k] for ids, answer in zip(ranked, gold, strict=True))
            rows.append(row(f"ChemLit-QA, {name}: gold chunk among {k}", value))
    return rows


def overlap(found: Sequence[Sequence[Hit]], wanted: Sequence[Sequence[Hit]]) -> float:
    """The share of the passages in `wanted` that `found` has for the same question; `found` may have more questions."""
    shares = []
    for some, best in zip(found, wanted, strict=False):
        ids = {hit.passage.id for hit in some}
        shares.append(mean(hit.passage.id in ids for hit in best))
    return mean(shares)


def gold_first(found: Sequence[Sequence[Hit]], asked: Sequence[tuple[str, str]]) -> float:
    """The share of questions whose gold passage is the first one found."""
    return mean(hits[0].passage.id == gold for hits, (_, gold) in zip(found, asked, strict=False))


def ms(seconds: Sequence[float]) -> float:
    """The median in milliseconds."""
    return 1e3 * statistics.median(seconds)


def mean(values: object) -> float:
    """The mean of numbers or truths."""
    return float(np.mean(list(values)))  # type: ignore[call-overload]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors along the last dimension, of length one."""
    shortened: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return shortened


if __name__ == "__main__":
    main()
