"""`gag router eval`: over the workspace's routes or a pool's own, whole and growing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Gag = Callable[..., Any]
TEXTS = {
    "general": ["who wrote the book?", "where is the river?", "when was the war?"],
    "alpha": ["aaaa aaa aa?", "aa aaa aaaa?", "aaaaa a aa?"],
    "beta": ["zz 99 zz 99?", "99 zz 99?", "zz 9 zz 9?"],
}


@pytest.fixture
def pool(tmp_path: Path, questions: Gag) -> Path:
    parts = [questions(tmp_path / f"{name}.jsonl", texts, domain=name) for name, texts in TEXTS.items()]
    lines = [line for part in parts for line in part.read_text().splitlines()]
    path = tmp_path / "pool.jsonl"
    numbered = [line.replace('"id": "q', f'"id": "{number}-q') for number, line in enumerate(lines)]
    path.write_text("\n".join(numbered), "utf-8")
    return path


def test_a_pool_s_own_prototypes_find_its_questions(built: Path, pool: Path, gag: Gag) -> None:
    ran = gag("router", "eval", pool, "--prototypes-from", pool, "--json", cwd=built)
    assert ran.code == 0, ran.err
    assert ran.json["routes"] == ["general", "alpha", "beta"]
    assert ran.json["micro"]["share"] == 1
    assert ran.json["encoder"] == "../encoder"
    table = gag("router", "eval", pool, "--prototypes-from", pool, cwd=built).out
    assert table.count("100.00") >= 5
    assert "all (micro)" in table


def test_growing(built: Path, pool: Path, gag: Gag) -> None:
    command = ("router", "eval", pool, "--prototypes-from", pool, "--grow", "--order", "beta,alpha")
    stages = gag(*command, "--json", cwd=built).json["stages"]
    assert [stage["routes"] for stage in stages] == [["general", "beta"], ["general", "beta", "alpha"]]
    assert [stage["micro"]["n"] for stage in stages] == [6, 9]
    table = gag(*command, cwd=built).out
    assert "+ beta" in table and "+ alpha" in table
    assert len(gag(*command[:5], "--grow", "--json", cwd=built).json["stages"]) == 2


def test_the_workspace_s_own_routes(built: Path, tmp_path: Path, questions: Gag, gag: Gag) -> None:
    texts = [f"what does adjuvant {number} bind?" for number in range(4)]
    ran = gag("router", "eval", questions(tmp_path / "pool.jsonl", texts, domain="adjuvant"), "--json", cwd=built)
    assert ran.json["routes"] == ["general", "adjuvant"]
    assert ran.json["per_route"]["adjuvant"]["correct"] == 4


def test_routes_that_are_not_attached_are_named(built: Path, pool: Path, gag: Gag) -> None:
    ran = gag("router", "eval", pool, cwd=built)
    assert ran.code == 0
    assert "not attached: alpha (3), beta (3)" in ran.err


def test_prototypes_of_a_pool_need_no_workspace(built: Path, pool: Path, tmp_path: Path, gag: Gag) -> None:
    encoder = f"models.encoder.source={built.parent / 'encoder'}"
    command = ("router", "eval", pool, "--prototypes-from", pool, "--json", "--set", encoder)
    assert gag(*command, cwd=tmp_path).code == 0


def test_an_unknown_route_in_the_order(built: Path, pool: Path, gag: Gag) -> None:
    ran = gag("router", "eval", pool, "--prototypes-from", pool, "--grow", "--order", "gamma", cwd=built)
    assert ran.code == 2
    assert "gamma" in ran.error[0]
