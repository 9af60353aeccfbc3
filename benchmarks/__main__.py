"""Every benchmark in a process of its own, one after the other: python -m benchmarks [--gpu] [--only NAME] [--out DIR]

Ends with one table of every row that has a target. A missed target is said and is no failure; a benchmark that does
not run is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Row, table, target, verdict, write

NAMES = ("routing", "readout", "alignment", "latency", "retrieval", "ingest", "graph")
HERE = Path(__file__).resolve().parent


def main() -> int:
    """Parse, run, print; 1 when a benchmark did not run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--gpu", action="store_true", help="the paper's shapes on one CUDA GPU instead")
    parser.add_argument("--only", choices=NAMES, action="append", help="this one alone; may be given again")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where the JSON files go")
    arguments = parser.parse_args()
    names = ("gpu",) if arguments.gpu else tuple(arguments.only or NAMES)
    rows: list[Row] = []
    failed = []
    for name in names:
        print(f"--- {name}", flush=True)
        started = time.perf_counter()
        found = run(name, arguments.out.resolve())
        print(f"--- {name}: {time.perf_counter() - started:.0f} s\n", flush=True)
        if found is None:
            failed.append(name)
        else:
            rows += [{**r, "what": f"{name}: {r['what']}"} for r in found]
    print(summary(rows))
    if failed:
        print(f"did not run: {', '.join(failed)}")
    return 1 if failed else 0


def run(name: str, out: Path) -> list[Row] | None:
    """The rows of one benchmark, run in a fresh process; [] where it was skipped, None where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / f"{name}.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(found)]
        quiet = {**os.environ, "KINETO_LOG_LEVEL": "5"}  # else the profiler tells of its own starts and stops
        if subprocess.run(command, cwd=HERE.parent, env=quiet, check=False).returncode:
            return None
        if not found.exists():
            return []
        data = json.loads(found.read_text("utf-8"))
    write(out / f"{name}.json", name, data["rows"], data["machine"])
    return list(data["rows"])


def summary(rows: list[Row]) -> str:
    """The rows with a target, and how many were missed."""
    wanted = [r for r in rows if target(r)]
    missed = sum(verdict(r) == "MISSED" for r in wanted)
    return "\n".join([table(wanted), f"{len(wanted)} targets, {missed} missed."]) if wanted else ""


if __name__ == "__main__":
    sys.exit(main())
