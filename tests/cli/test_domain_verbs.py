"""`gag domain`: listed, shown, verified, added, renamed and removed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gag.domain import load_module

Gag = Callable[..., Any]
COLUMNS = {"name", "version", "base", "expert", "readout", "projector", "bytes", "folder", "problem"}


def damage(module: Path) -> None:
    path = module / "prototypes.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"abcd")


def test_list(lab: Path, gag: Gag) -> None:
    gag("domain", "add", "modules/adjuvant", "--name", "other", cwd=lab)
    damage(lab / "modules" / "other")
    good, bad = gag("domain", "list", "--json", cwd=lab).json
    assert set(good) == set(bad) == COLUMNS
    assert (good["name"], good["problem"]) == ("adjuvant", None)
    assert good["readout"] == "generate, layer -2, segment_mean, 2 slots of 3 parts"
    assert good["expert"] == "../expert + adapter"
    folder = lab / "modules" / "adjuvant"
    assert good["bytes"] == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    assert bad["name"] == "other" and "changed or damaged" in bad["problem"]
    ran = gag("domain", "list", cwd=lab)
    assert ran.code == 0
    assert "adjuvant" in ran.out and "MB" in ran.out
    assert "other cannot be used: The file prototypes.safetensors" in ran.err


def test_an_empty_list(lab: Path, gag: Gag) -> None:
    gag("domain", "rm", "adjuvant", "-y", cwd=lab)
    assert gag("domain", "list", "--json", cwd=lab).json == []
    ran = gag("domain", "list", cwd=lab)
    assert (ran.code, ran.out) == (0, "")
    assert "No domain module yet" in ran.err
    assert gag("domain", "verify", cwd=lab).code == 0


def test_show(built: Path, gag: Gag) -> None:
    shown = gag("domain", "show", "adjuvant", cwd=built).out
    module = load_module(built / "modules" / "adjuvant")
    for fact in ("modules/adjuvant", module.base.fingerprint[:12], "8 prototypes", "dev_nll", "qa 8"):
        assert fact in shown
    row = gag("domain", "show", "adjuvant", "--json", cwd=built).json
    assert row["base"]["fingerprint"] == module.base.fingerprint
    assert row["provenance"] == module.provenance


def test_verify(lab: Path, gag: Gag) -> None:
    whole = gag("domain", "verify", "adjuvant", cwd=lab)
    assert whole.code == 0
    assert whole.out.startswith("adjuvant: whole\n  module.json")
    gag("domain", "add", "modules/adjuvant", "--name", "other", cwd=lab)
    damage(lab / "modules" / "other")
    ran = gag("domain", "verify", cwd=lab)
    assert ran.code == 2
    assert "adjuvant: whole" in ran.out and "other" not in ran.out
    assert "changed or damaged" in ran.error[0]
    rows = gag("domain", "verify", "--json", cwd=lab)
    assert rows.code == 2
    assert [row["problem"] is None for row in rows.json] == [True, False]
    assert gag("domain", "verify", "adjuvant", cwd=lab).code == 0
    assert gag("domain", "verify", "nothere", cwd=lab).code == 2


@pytest.mark.parametrize("name", [None, "renamed"])
def test_add_a_module_of_another_workspace(name: str | None, lab: Path, tmp_path: Path, gag: Gag) -> None:
    taken = tmp_path / "taken"
    (lab / "modules" / "adjuvant").rename(taken)
    option = [] if name is None else ["--name", name]
    row = gag("domain", "add", taken, *option, "--json", cwd=lab).json
    assert row["name"] == (name or "adjuvant")
    module, source = load_module(Path(row["folder"])), load_module(taken)
    assert module.name == row["name"]
    assert module.projector_path.read_bytes() == source.projector_path.read_bytes()
    question = ("ask", "what does adjuvant 3 bind?", "--domain", row["name"], "--json")
    assert gag(*question, cwd=lab).json["route"] == row["name"]
    again = gag("domain", "add", taken, *option, cwd=lab)
    assert again.code == 2
    assert "is there already" in again.error[0]


def test_rm_asks_and_keeps_the_runs(lab: Path, gag: Gag, monkeypatch: pytest.MonkeyPatch) -> None:
    module = lab / "modules" / "adjuvant"
    nobody = gag("domain", "rm", "adjuvant", cwd=lab)
    assert nobody.code == 2
    assert "--yes" in nobody.error[1]
    monkeypatch.setattr("gag.cli.domain._agreed", lambda question: False)
    assert gag("domain", "rm", "adjuvant", cwd=lab).code == 0
    assert module.is_dir()
    monkeypatch.setattr("gag.cli.domain._agreed", lambda question: True)
    assert gag("domain", "rm", "adjuvant", "--json", cwd=lab).json["name"] == "adjuvant"
    assert not module.exists()
    rebuilt = gag("build", "adjuvant", "--qa", "../qa.jsonl", cwd=lab)
    assert rebuilt.err.count(" kept") == 4
    assert module.is_dir()
    assert gag("domain", "rm", "nothere", "--yes", cwd=lab).code == 2
