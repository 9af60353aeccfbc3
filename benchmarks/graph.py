"""Loading graphs and following planned paths: python -m benchmarks.graph [--data DIR] [--synthetic N] [--json FILE]

MetaQA's 129k triples (DIR/metaqa_kb.tsv and its dev questions) are loaded and every gold path of the 600 dev questions
is followed, each once, none twice. `--synthetic 10000000` also makes that many triples with hubs, loads them in a
process of their own, and follows paths through them; its memory is that process's highest resident size.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.measure import Row, machine, report, row
from gag.config import GraphConfig
from gag.graph.linking import link
from gag.graph.paths import RelationPath, Walker, follow
from gag.graph.store import Graph, load_graph
from gag.records import read_questions

DATA = Path(os.environ.get("GAG_DATA") or Path(__file__).parents[2] / "shared" / "data") / "kg"
FOLLOWED = 600
RELATIONS = {
    "director": "directed_by",
    "writer": "written_by",
    "actor": "starred_actors",
    "genre": "has_genre",
    "year": "release_year",
    "language": "in_language",
    "tags": "has_tags",
    "tag": "has_tags",
}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with metaqa_kb.tsv and the dev questions")
    parser.add_argument("--synthetic", type=int, default=1_000_000, help="triples of the made graph; 0 leaves it out")
    parser.add_argument("--only-synthetic", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only_synthetic is not None:
        print(json.dumps(synthetic_here(arguments.only_synthetic, arguments.synthetic)))
        return
    described = machine()
    rows: list[Row] = []
    if (arguments.data / "metaqa_kb.tsv").is_file():
        rows += metaqa_rows(arguments.data)
    else:
        print(f"graph: no {arguments.data}/metaqa_kb.tsv, MetaQA left out")
    if arguments.synthetic:
        rows += synthetic_rows(arguments.synthetic)
    report("graph", rows, described, arguments.json)


def metaqa_rows(data: Path) -> list[Row]:
    """Seconds to load, and to follow the gold path of every dev question."""
    with tempfile.TemporaryDirectory() as home:
        started = time.perf_counter()
        manifest = load_graph(Path(home) / "movies", GraphConfig(), triples=data / "metaqa_kb.tsv")
        seconds = time.perf_counter() - started
        graph = Graph.open(Path(home) / "movies", GraphConfig())
        walks = []
        for hops in (1, 2, 3):
            for question in read_questions(data / f"metaqa_{hops}hop_dev.jsonl"):
                entity = link(graph, question).entities[0]
                walks.append((entity, gold_path(str(question.meta["qtype"]))))
        times = followed(graph, walks)
        graph.close()
    return [
        row(f"load {manifest.triples} triples (MetaQA)", seconds, "s", at_most=5),
        row(f"follow a gold path, median of {len(times)}", 1000 * statistics.median(times), "ms", at_most=10),
        row("follow a gold path, p99", 1000 * quantile(times, 0.99), "ms", at_most=100),
    ]


def synthetic_rows(count: int) -> list[Row]:
    """The same of a made graph, loaded in a process of its own."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "benchmarks.graph", "--synthetic", str(count), "--only-synthetic", home]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    found = json.loads(done.stdout.splitlines()[-1])
    return [
        row(f"load {found['triples']} made triples", found["load"], "s"),
        row("that load: highest resident memory", found["memory"] / 2**20, "MiB", at_most=2048),
        row("that graph on disk", found["disk"] / 2**20, "MiB"),
        row("follow a made path, median", 1000 * found["median"], "ms", at_most=10),
        row("follow a made path, p99", 1000 * found["p99"], "ms", at_most=100),
        row("follow from a hub (told as cut)", 1000 * found["hub"], "ms"),
    ]


def synthetic_here(home: Path, count: int) -> dict[str, float]:
    """Make, load and walk in this process, and what it took."""
    table, folder = home / "made.tsv", home / "made"
    write_triples(table, count)
    started = time.perf_counter()
    manifest = load_graph(folder, GraphConfig(), triples=table)
    load = time.perf_counter() - started
    memory = highest_resident()
    table.unlink()
    disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    graph = Graph.open(folder, GraphConfig())
    chance = random.Random(1)
    walks = [made_walk(graph, chance, count) for _ in range(FOLLOWED)]
    times = followed(graph, walks)
    hub = graph.names.exact(["hub"])["hub"][0].term
    at_hub = followed(graph, [(hub, ("^kind_of",))])[0]
    graph.close()
    return {
        "triples": manifest.triples,
        "load": load,
        "memory": memory,
        "disk": disk,
        "median": statistics.median(times),
        "p99": quantile(times, 0.99),
        "hub": at_hub,
    }


def made_walk(graph: Graph, chance: random.Random, count: int) -> tuple[str, RelationPath]:
    """An entity and one to three steps that lead on from it, as a plan's do."""
    while True:
        name = f"entity {chance.randrange(max(10, count // 5))}"
        found = graph.names.exact([name]).get(name)
        if found:
            break
    walker = Walker(graph, found[0].term, 3)
    path: RelationPath = ()
    for _ in range(chance.randint(1, 3)):
        steps = sorted(walker.next_steps(path))
        if not steps:
            break
        path = (*path, chance.choice(steps))
    return found[0].term, path


def write_triples(path: Path, count: int) -> None:
    """`count` triples between count/5 entities by 20 relations, some entities much more often, and one hub of 1 %."""
    chance = random.Random(0)
    entities = max(10, count // 5)
    with path.open("w", encoding="utf-8") as out:
        for number in range(count):
            head = f"entity {number % entities}"
            if number % 100 == 0:
                out.write(f"{head}\tkind_of\thub\n")
                continue
            tail = int(entities * chance.random() ** 2)
            out.write(f"{head}\trelation_{chance.randrange(20)}\tentity {tail}\n")


def followed(graph: Graph, walks: Sequence[tuple[str, RelationPath]]) -> list[float]:
    """Seconds of each walk, after a few that do not count."""
    for start, path in walks[:5]:
        follow(graph, start, path)
    return [follow(graph, start, path).seconds for start, path in walks]


def gold_path(kind: str) -> RelationPath:
    """The relation path of a MetaQA question type, such as actor_to_movie_to_year."""
    parts = kind.split("_to_")
    return tuple(RELATIONS[b] if a == "movie" else f"^{RELATIONS[a]}" for a, b in pairwise(parts))


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all are not above."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def highest_resident() -> int:
    """The highest resident size of this process so far, in bytes."""
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


if __name__ == "__main__":
    main()
