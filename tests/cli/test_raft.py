"""`gag raft data` and `gag raft train`, then `gag ask` and `gag eval` with what came of them, on a tiny model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gag.records import write_jsonl

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

Gag = Callable[..., Any]
SMALL = tuple(
    part
    for choice in ("raft.rank=2", "raft.alpha=4", "raft.epochs=1", "raft.max_new_tokens=16", "retrieval.top_k=2")
    for part in ("--set", choice)
)
DATA = ("raft", "data", "adjuvant", "--distractors", "2", "--oracle-share", "0.5", "--seed", "7")


@pytest.fixture(scope="module")
def place(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace with passages and pairs that name theirs, one of them a passage that is not there."""
    home = tmp_path_factory.mktemp("raft") / "home"
    shutil.copytree(built.parent, home)
    lab = home / "lab"
    texts = [f"Adjuvant {n} binds receptor {n}. It is stored cold." for n in range(6)]
    rows = [{"id": f"p{n}", "document_id": "d", "text": text} for n, text in enumerate(texts)]
    write_jsonl(lab / "data" / "adjuvant" / "passages.jsonl", rows)
    pairs = [
        {"id": f"q{n}", "question": f"what does adjuvant {n} bind?", "answers": [f"receptor {n}"], "passage": f"p{n}"}
        for n in range(4)
    ]
    write_jsonl(lab / "pairs.jsonl", [*pairs, {**pairs[0], "id": "lost", "passage": "p99"}])
    write_jsonl(lab / "lost.jsonl", [{**pairs[0], "passage": "p99"}])
    return lab


def test_from_pairs_to_a_cited_answer(place: Path, gag: Gag, tmp_path: Path) -> None:
    made = gag(*DATA, "--qa", "pairs.jsonl", "--format", "chat", "--json", cwd=place)
    assert made.code == 0, made.err
    assert (made.json["examples"], made.json["with_oracle"], made.json["found_by"]) == (4, 2, {"passage": 4})
    assert made.json["left_out"] == {"lost": "its passage 'p99' is not among the domain's passages"}
    examples = [json.loads(line) for line in Path(made.json["file"]).read_text("utf-8").splitlines()]
    assert [len(example["passages"]) for example in examples] == [3] * 4
    chat = [json.loads(line) for line in Path(made.json["export"]).read_text("utf-8").splitlines()]
    assert [message["role"] for message in chat[0]["messages"]] == ["system", "user", "assistant"]
    told = gag(*DATA, "--qa", "pairs.jsonl", cwd=place)
    assert "left out: lost" in told.err and "gag raft train adjuvant" in told.out

    trained = gag("raft", "train", "adjuvant", *SMALL, "--json", cwd=place)
    assert trained.code == 0, trained.err
    assert trained.json["examples"] == 4 and (Path(trained.json["adapter"]) / "adapter_config.json").is_file()
    again = gag("raft", "train", "adjuvant", *SMALL, cwd=place)
    assert "4 examples from raft.jsonl" in again.err and "--method raft" in again.out

    asked = ("ask", "--method", "raft", "--domain", "adjuvant", "what does adjuvant 1 bind?", *SMALL)
    answer = gag(*asked, "--json", cwd=place)
    assert answer.code == 0, answer.err
    assert isinstance(answer.json["citations"], list) and len(answer.json["passages"]) == 2
    assert gag(*asked, cwd=place).code == 0

    out = tmp_path / "answers.jsonl"
    how = ("--method", "raft", "--domain", "adjuvant", "--questions", "pairs.jsonl", *SMALL)
    done = gag(
        "eval", *how, "--metrics", "contains,citation_verbatim,citation_answer", "--out", out, "--json", cwd=place
    )
    assert done.code == 0, done.err
    assert {row["metric"]: row["n"] for row in done.json["rows"]} == {
        "contains": 5,
        "citation_verbatim": 5,
        "citation_answer": 5,
    }
    assert len(out.read_text("utf-8").splitlines()) == 5


@pytest.mark.parametrize(
    ("arguments", "says", "mend"),
    [
        ([*DATA, "--qa", "none.jsonl"], "none.jsonl does not exist", "Check the path"),
        ([*DATA, "--qa", "lost.jsonl"], "None of 1 questions can be used", '"passage"'),
        ([*DATA[:3], "--qa", "pairs.jsonl", "--distractors", "50"], "of 51 wanted", "--distractors"),
        ([*DATA[:3], "--qa", "pairs.jsonl", "--oracle-share", "2"], "--oracle-share", "less than or equal"),
        (["raft", "data", "nothing", "--qa", "pairs.jsonl"], "The domain nothing has no passages", "domains.nothing"),
        (["raft", "train", "materials"], "has no RAFT examples", "gag raft data materials"),
        (
            [*DATA, "--qa", "pairs.jsonl", "--model", "http://127.0.0.1:9/v1#m"],
            "nobody is there to ask",
            "--yes",
        ),
    ],
)
def test_bad_input(place: Path, gag: Gag, arguments: list[str], says: str, mend: str) -> None:
    before = sorted(path.name for path in (place / "data").rglob("*"))
    ran = gag(*arguments, cwd=place)
    assert ran.code == 2
    assert says in ran.err and mend in ran.err and "Traceback" not in ran.err
    assert sorted(path.name for path in (place / "data").rglob("*")) == before


def test_a_damaged_file_of_examples_is_named(place: Path, gag: Gag) -> None:
    folder = place / "data" / "broken"
    folder.mkdir(parents=True)
    shutil.copy(place / "data" / "adjuvant" / "passages.jsonl", folder / "passages.jsonl")
    (folder / "raft.jsonl").write_text('{"id": 3}\n', "utf-8")
    ran = gag("raft", "train", "broken", cwd=place)
    assert ran.code == 2 and "raft.jsonl line 1 is no RAFT example" in ran.error[0]
    assert "gag raft data" in ran.error[1]
