"""`gag rog train`, and `gag ask` and `gag eval` on a graph, with a tiny model."""

from __future__ import annotations

import json
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gag.testing import write_tiny_model

from .conftest import call

Gag = Callable[..., Any]

CHOICES = {
    "models.base.source": "../tiny",
    "models.expert.source": "../tiny",
    "models.expert.dtype": "float32",
    "rog.epochs": "1",
    "rog.reasoning_share": "0.5",
    "rog.lora_rank": "2",
    "rog.max_new_tokens": "4",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a graph and what was trained on it; not to be changed."""
    home = tmp_path_factory.mktemp("home")
    write_tiny_model(home / "tiny", seed=2)
    rows = [(f"Film {n}", "by", f"Ana {n % 3}") for n in range(6)]
    (home / "kb.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")
    asked = [
        {"id": f"q{n}", "question": f"who made [{film}]", "answers": [who]} for n, (film, _, who) in enumerate(rows)
    ]
    (home / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked), "utf-8")
    odd = [*asked[:2], {"id": "odd", "question": "who made [Quagmire Zed]", "answers": ["Ana 1"]}]
    (home / "odd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in odd), "utf-8")
    settings = [part for key, value in CHOICES.items() for part in ("--set", f"{key}={value}")]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # raised inside peft
        patch.setenv("GAG_CACHE", str(tmp_path_factory.mktemp("cache")))
        assert call("init", "w", *settings, cwd=home).code == 0
        assert call("graph", "load", "films", "--triples", "../kb.tsv", cwd=home / "w").code == 0
        done = call("rog", "train", "films", "--questions", "../qa.jsonl", "--json", cwd=home / "w")
    assert done.code == 0, done.err
    assert (done.json["questions"], done.json["left_out"]) == (6, {})
    return home / "w"


def test_a_question_with_its_paths(place: Path, gag: Gag, tmp_path: Path) -> None:
    asked = ("ask", "--method", "rog-paths", "--graph", "films", "who made Film 1?")
    plain = gag(*asked, cwd=place)
    assert plain.code == 0, plain.err
    assert plain.out.splitlines()[0] in ("Ana 1", "Film 4")  # one hop or two: nothing else leads on from there
    picture = tmp_path / "paths.svg"
    for arguments in ((*asked, "--explain", picture), (*asked[:-1], "--explain", picture, asked[-1])):
        picture.unlink(missing_ok=True)
        shown = gag(*arguments, cwd=place)
        assert shown.code == 0, shown.err
        assert "Film 1 —by→ Ana 1" in shown.out
        assert ElementTree.parse(picture).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    row = gag(*asked, "--json", cwd=place).json
    assert (row["method"], row["graph"], row["entities"]) == ("rog-paths", "films", ["Film 1"])
    assert all(answer["entailed"] for answer in row["answers"])
    assert row["plans"][0]["path"] in (["by"], ["by", "^by"])


@pytest.mark.parametrize("method", ["rog", "rog-unplanned"])
def test_the_other_variants_show_what_no_path_ends_in(place: Path, gag: Gag, method: str) -> None:
    done = gag("ask", "--method", method, "--graph", "films", "who made Film 1?", "--explain", cwd=place)
    assert done.code == 0, done.err
    assert "plan" in done.out and "answers have a path" in done.err


def test_measuring(place: Path, gag: Gag, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    how = ("--method", "rog-paths", "--graph", "films", "--questions", "../odd.jsonl")
    done = gag("eval", *how, "--out", out, "--json", cwd=place)
    assert done.code == 0, done.err
    rows = {row["metric"]: row for row in done.json["rows"]}
    assert list(rows) == ["hits_at_1", "answer_f1", "path_precision", "path_recall", "entailed", "follow_seconds"]
    assert rows["hits_at_1"]["n"] == 3 and rows["path_recall"]["n"] == 2
    (failed,) = done.json["failed"]
    assert failed["id"] == "odd" and "has no entity 'Quagmire Zed'" in failed["error"]
    assert [json.loads(line)["id"] for line in out.read_text("utf-8").splitlines()] == ["q0", "q1", "odd"]
    table = gag("eval", *how, cwd=place)
    assert "hits_at_1" in table.out and "1 of 3 questions failed" in table.err


@pytest.mark.parametrize(
    ("arguments", "says", "mend"),
    [
        (["ask", "--method", "rog", "who made Film 1?"], "needs a graph", "gag graph list"),
        (["ask", "--method", "rog", "--graph", "no", "who?"], "There is no graph 'no'", "gag graph load no"),
        (["ask", "--graph", "films", "who made Film 1?"], "belong to methods on graphs", "--method rog"),
        (["ask", "--method", "rog", "--graph", "films", "what is it"], "No entity of the graph", "in brackets"),
        (["ask", "--method", "rog", "--graph", "films", "who made", "Film 1"], "is no name for the picture", "quotes"),
        (["ask", "--method", "rog", "--graph", "films", "who?", "p.svg"], "only with --explain", "Add --explain"),
        (
            ["ask", "--method", "rog", "--graph", "films", "--domain", "no", "who?"],
            "--domain no has no meaning",
            "Leave out one",
        ),
        (
            ["ask", "--method", "rog", "--graph", "films", "--show-background", "who?"],
            "--show-background has no meaning",
            "--explain",
        ),
        (["eval", "--method", "rog", "--questions", "../qa.jsonl"], "needs a graph", "--graph"),
        (["eval", "--graph", "films", "--questions", "../qa.jsonl"], "belong to methods on graphs", "--method rog"),
        (
            ["eval", "--method", "rog", "--graph", "films", "--questions", "../qa.jsonl", "--metrics", "nll"],
            "gag eval does not measure 'nll' on a graph.",
            "path_precision",
        ),
        (["rog", "train", "films", "--questions", "none.jsonl"], "none.jsonl does not exist", "Check the path"),
        (["rog", "train", "nowhere", "--questions", "../qa.jsonl"], "There is no graph 'nowhere'", "gag graph load"),
        (
            ["rog", "train", "films", "--questions", "../qa.jsonl", "--questions", "../qa.jsonl"],
            "the id 'q0' is used in",
            "an id of its own",
        ),
        (
            ["rog", "train", "films", "--questions", "../qa.jsonl", "--set", "rog.hops=0"],
            "rog.hops",
            "gag init",
        ),
    ],
)
def test_what_a_user_gets_wrong(place: Path, gag: Gag, arguments: list[str], says: str, mend: str) -> None:
    done = gag(*arguments, cwd=place)
    assert done.code == 2
    assert says in done.error[0] and mend in done.error[1]
