"""Numbers of one part of a comparison, kept under the hash of what they depend on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gag.atomic import disk_errors, new_file


def read_kept(path: Path, key: str) -> dict[str, Any] | None:
    """What `keep` wrote under the same key; None where there is nothing of it."""
    try:
        tree = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    found = tree.get("kept") if isinstance(tree, dict) and tree.get("key") == key else None
    return found if isinstance(found, dict) else None


def keep(path: Path, key: str, values: Mapping[str, Any]) -> None:
    """Write `values` under `key`, atomically."""
    with new_file(path) as partial:
        partial.write_text(json.dumps({"key": key, "kept": values}, ensure_ascii=False) + "\n", encoding="utf-8")


class KeptScores:
    """Scores by key, a JSON line each; lines of another `make` (a judge's configuration) are passed over."""

    def __init__(self, path: Path, make: str) -> None:
        self.path, self.make = path, make
        self.scores: dict[str, float] = {}
        for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
            try:
                row = json.loads(line)
                if row["make"] == make:
                    self.scores[row["key"]] = float(row["score"])
            except (ValueError, KeyError, TypeError):  # cut short by a crash: it is scored again
                continue

    def add(self, scores: Mapping[str, float]) -> None:
        """Keep these too; raises RunError for the disk's errors."""
        self.scores.update(scores)
        lines = [json.dumps({"make": self.make, "key": key, "score": score}) for key, score in scores.items()]
        with disk_errors(f"{self.path} could not be written"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                # A line that a crash cut short must not swallow the first of these.
                file.write("\n" * (file.tell() > 0) + "\n".join(lines) + "\n")
