"""What `make env` installs goes onto every Python that pyproject.toml promises."""

from __future__ import annotations

import tomllib
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
PINS = {canonicalize_name(r.name): r for r in map(Requirement, filter(lambda line: not line.startswith("#"), LINES))}


def test_every_pin_goes_onto_the_oldest_python() -> None:
    """soupsieve 4.1.1 needs Python 3.11.5, and pip on Debian's 3.11.2 gave up without saying why."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lowest = next(s.version for s in SpecifierSet(project["requires-python"]) if s.operator == ">=")
    oldest = f"{lowest}.0"
    pinned = {canonicalize_name(d.name): d for d in distributions() if canonicalize_name(d.name) in PINS}
    assert len(pinned) > len(PINS) / 2, "the environment is not the pinned one"
    wrong = {
        name: found.metadata["Requires-Python"]
        for name, found in pinned.items()
        if not SpecifierSet(found.metadata.get("Requires-Python") or "").contains(oldest)
    }
    assert not wrong
