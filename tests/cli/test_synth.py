"""`gag synth`: passages in, pairs out, and a build that takes them; what a terminal shows, what bad input says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from filelock import FileLock

from gag.corpus.synthesis.domain_pairs import synthesis_task
from gag.corpus.synthesis.local_writer import LocalWriter
from gag.corpus.synthesis.review import passages_of
from gag.corpus.synthesis.synthesis import Synthesis
from gag.pipeline import Build
from gag.records import read_questions
from gag.sources import Sources
from gag.testing import write_tiny_model
from gag.workspace import open_workspace

Gag = Callable[..., Any]
NAMES = ("Plovert", "Tarvik", "Zemmel", "Orlat", "Vesk", "Mirrow")


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny `base`."""
    home = tmp_path_factory.mktemp("models")
    write_tiny_model(home / "base", seed=1)
    return home


@pytest.fixture
def mill(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with the passages of the domain `mill`."""
    monkeypatch.setenv("GAG_CACHE", str(tmp_path / "cache"))
    for name in ("GAG_WORKSPACE", "GAG_DEBUG", "RANK", "GAG_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    lab = tmp_path / "lab"
    lab.mkdir()
    roles = "".join(f"  {role}: {{source: {models / 'base'}, dtype: float32}}\n" for role in ("base", "expert"))
    (lab / "gag.yaml").write_text(f"models:\n{roles}")
    text = "{0} has a flow rate of {1} ml. Its shell is made from {0}ite tin. It was built in {2} days by hand."
    write(
        lab / "data" / "mill" / "documents.jsonl",
        [{"id": n, "title": f"{n}, a machine", "text": text.format(n, i + 3, i + 40)} for i, n in enumerate(NAMES)],
    )
    write(
        lab / "data" / "mill" / "passages.jsonl",
        [{"id": f"{n}#1", "document_id": n, "text": text.format(n, i + 3, i + 40)} for i, n in enumerate(NAMES)],
    )
    return lab


def test_pairs_go_with_the_last_passage(mill: Path, gag: Gag) -> None:
    gag("synth", "mill", cwd=mill)
    qa, passages = mill / "data" / "mill" / "qa.jsonl", mill / "data" / "mill" / "passages.jsonl"
    qa.write_text(qa.read_text("utf-8") + json.dumps({"id": "mine", "question": "Mine?", "answers": ["yes"]}) + "\n")
    passages.write_text("")
    made = gag("synth", "mill", cwd=mill)
    assert made.code == 2 and "all its documents were taken out" in made.err and "gag ingest mill" in made.err
    assert [q.id for q in read_questions(qa)] == ["mine"]


def test_passages_that_come_later_are_not_asked_the_same_with_another_answer(mill: Path, gag: Gag) -> None:
    passages = mill / "data" / "mill" / "passages.jsonl"
    gag("synth", "mill", cwd=mill)
    text = "Plovert has a flow rate of 99 ml."
    with passages.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "Plovert#2", "document_id": "Plovert", "text": text}) + "\n")
    place = open_workspace(mill)
    task = synthesis_task(place, "mill", place.config.synthesis, only={"Plovert#2"})
    assert task.known and not any("Plovert#2" in passages_of(pair) for pair in task.known)
    asked = {q.question: q.answers for q in task.known}
    again = Synthesis(task, None).run()
    assert not [q for q in again.accepted if asked.get(q.question, q.answers) != q.answers]
    assert any(q.question in asked for q in again.refused)


def test_a_build_takes_the_train_side_of_what_was_made(mill: Path, gag: Gag) -> None:
    made = gag("synth", "mill", cwd=mill)
    assert made.code == 0, made.err
    assert "accepted" in made.out and "refused: quote" in made.out
    assert "Split by document: train" in made.out
    assert "gag build mill" in made.out
    pairs = read_questions(mill / "data" / "mill" / "qa.jsonl", require_answers=True)
    assert {q.meta["split"] for q in pairs} == {"train", "test"}
    train = [q for q in pairs if q.meta["split"] == "train"]
    place = open_workspace(mill)
    assert Build(place, "mill").questions == train
    assert Build(place, "mill").align_questions == train
    assert len(Build(place, "mill", Sources(qa=_copied(mill))).questions) == len(pairs)


def _copied(mill: Path) -> Path:
    """The same pairs under another name: a file that somebody names is taken whole."""
    shutil.copy(mill / "data" / "mill" / "qa.jsonl", mill / "mine.jsonl")
    return mill / "mine.jsonl"


def test_the_json_and_a_second_run(mill: Path, gag: Gag) -> None:
    first = gag("synth", "mill", "--json", cwd=mill).json
    assert first["accepted"] == len(read_questions(Path(mill / first["file"])))
    assert first["failed"] == {} and first["style"] == "plain" and first["kept"] == 0
    content = (mill / "data" / "mill" / "qa.jsonl").read_bytes()
    assert gag("synth", "mill", "--json", cwd=mill).json == first
    assert (mill / "data" / "mill" / "qa.jsonl").read_bytes() == content
    raft = gag("synth", "mill", "--style", "raft", "--json", cwd=mill).json
    assert raft["style"] == "raft" and raft["kept"] == 0  # the same questions, now with distractors
    beyond = gag("synth", "mill", "--style", "unanswerable", "--json", cwd=mill).json
    assert beyond["kept"] == raft["candidates"]
    assert (mill / "runs" / "mill" / "synth" / "report-raft.json").is_file()


def test_a_preview_and_a_limit(mill: Path, gag: Gag) -> None:
    shown = gag("synth", "mill", "--preview", cwd=mill)
    assert shown.code == 0 and "Q What is the flow rate of Plovert?" in shown.out
    assert "Nothing was kept" in shown.err
    assert not (mill / "data" / "mill" / "qa.jsonl").exists() and not (mill / "data" / "mill" / "splits.json").exists()
    few = gag("synth", "mill", "--limit", "2", "--per-passage", "1", "--json", cwd=mill).json
    assert few["passages"] == 2 and set(few["documents"]) == {"Plovert", "Tarvik"}


def test_a_local_model_writes(mill: Path, gag: Gag) -> None:
    ran = gag("synth", "mill", "--model", "base", "--limit", "2", "--set", "synthesis.tokens_per_pair=16", cwd=mill)
    assert ran.code == 0, ran.err
    assert "No pair passed the gates" in ran.err and "8 replies held no pair" in ran.err
    (journal,) = (mill / "runs" / "mill").glob("synth-*/journal.jsonl")
    assert len(journal.read_text().splitlines()) == 8
    again = gag("synth", "mill", "--model", "base", "--limit", "2", "--set", "synthesis.tokens_per_pair=16", cwd=mill)
    assert again.code == 0 and len(journal.read_text().splitlines()) == 8


def test_a_local_model_that_changes_is_told(mill: Path, gag: Gag, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(self: LocalWriter, prompts: Sequence[Any], max_tokens: int) -> Iterator[tuple[int, str]]:
        with torch.no_grad():
            next(self._base.model.parameters()).add_(1e-3)
        yield from ((position, "nothing") for position in range(len(prompts)))

    command = ("synth", "mill", "--model", "base", "--limit", "2", "--set", "synthesis.tokens_per_pair=16")
    with monkeypatch.context() as changed:
        changed.setattr(LocalWriter, "complete", spoilt)
        ran = gag(*command, cwd=mill)
    assert ran.code == 1 and "The weights of the model" in ran.err and "changed" in ran.err
    assert not (mill / "data" / "mill" / "qa.jsonl").exists()
    (journal,) = (mill / "runs" / "mill").glob("synth-*/journal.jsonl")
    assert journal.read_text() == ""  # what a changed model wrote is not taken for the model's
    assert gag(*command, cwd=mill).code == 0
    assert len(journal.read_text().splitlines()) == 8


class Endpoint(BaseHTTPRequestHandler):
    """Writes one good pair a passage; Zemmel's requests are dropped while `broken`, `refused` ones get status 400."""

    broken = True
    refused: tuple[str, ...] = ()
    asked = 0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"]
        type(self).asked += 1
        name = next(n for n in NAMES if n in text)
        if name == "Zemmel" and self.broken:
            self.close_connection = True
            self.connection.close()
            return
        if name in self.refused:
            self._send(400, {"error": {"message": "too long"}})
            return
        amount = f"{NAMES.index(name) + 3} ml"
        reply = (
            f"Question: What is the flow rate of {name}?\nAnswer: {amount}\nQuote: {name} has a flow rate of {amount}."
        )
        content = amount if text.startswith("Text: ") else reply
        self._send(200, {"choices": [{"message": {"content": content}}]})

    def _send(self, status: int, answer: Any) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Endpoint, "broken", True)
    monkeypatch.setattr(Endpoint, "refused", ())
    monkeypatch.setattr(Endpoint, "asked", 0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1#tiny"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_endpoint_that_fails_for_one_passage(mill: Path, gag: Gag, address: str) -> None:
    command = ("synth", "mill", "--model", address, "--set", "synthesis.retries=0", "--yes")
    first = gag(*command, cwd=mill)
    assert first.code == 1
    assert "1 of 6 passages failed" in first.error[0] and "same command" in first.error[1]
    assert "Zemmel#1: no connection" in first.err
    assert "6 requests" in first.err and "tokens sent" in first.err
    assert len(read_questions(mill / "data" / "mill" / "qa.jsonl")) == 5
    Endpoint.broken, Endpoint.asked = False, 0
    second = gag(*command, "--json", cwd=mill)
    assert second.code == 0, second.err
    assert second.json["accepted"] == 6
    assert Endpoint.asked == 2  # its pair and its check
    Endpoint.asked = 0
    assert gag(*command, "--json", cwd=mill).json["accepted"] == 6
    assert Endpoint.asked == 0


def test_nothing_is_sent_unasked(mill: Path, gag: Gag, address: str) -> None:
    refused = gag("synth", "mill", "--model", address, cwd=mill)
    assert refused.code == 2 and "nobody is there to ask" in refused.error[0]
    preview = gag("synth", "mill", "--model", address, "--preview", "--set", "synthesis.price_in=1", cwd=mill)
    assert preview.code == 0 and "Plovert has a flow rate" in preview.out and "tokens sent" in preview.err
    assert Endpoint.asked == 0


def test_the_checks_of_an_interrupted_run_are_not_sent_unasked(mill: Path, gag: Gag, address: str) -> None:
    Endpoint.broken, command = False, ("synth", "mill", "--model", address)
    assert gag(*command, "--yes", cwd=mill).code == 0 and Endpoint.asked == 12
    (journal,) = (mill / "runs" / "mill").glob("synth-*/journal.jsonl")
    lines = journal.read_text("utf-8").splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if "Question:" in line), "utf-8")
    Endpoint.asked = 0
    refused = gag(*command, cwd=mill)
    assert refused.code == 2 and "nobody is there to ask" in refused.error[0] and Endpoint.asked == 0
    assert "0 requests and 6 short checks" in refused.err
    assert gag(*command, "--yes", cwd=mill).code == 0 and Endpoint.asked == 6
    assert gag(*command, cwd=mill).code == 0 and Endpoint.asked == 6  # every reply is known: nothing to agree to


def test_a_passage_that_always_fails_is_left_out(mill: Path, gag: Gag, address: str) -> None:
    Endpoint.broken, Endpoint.refused = False, ("Zemmel",)
    command = ("synth", "mill", "--model", address, "--yes")
    first = gag(*command, cwd=mill)
    assert first.code == 0, first.err
    assert "1 passage left out" in first.err and "Zemmel#1: status 400: too long" in first.err
    Endpoint.asked = 0
    second = gag(*command, "--json", cwd=mill)
    assert second.code == 0 and second.json["accepted"] == 5 and Endpoint.asked == 0
    assert second.json["left_out"] == {"Zemmel#1": "status 400: too long"} and second.json["failed"] == {}


def test_an_endpoint_that_refuses_every_passage(mill: Path, gag: Gag, address: str) -> None:
    Endpoint.refused = NAMES
    Endpoint.broken = False
    ran = gag("synth", "mill", "--model", address, "--yes", cwd=mill)
    assert ran.code == 1 and "All 6 passages are left out: status 400: too long" in ran.error[0]


def test_what_to_do_where_there_is_nothing(mill: Path, gag: Gag) -> None:
    missing = gag("synth", "other", cwd=mill)
    assert missing.code == 2
    assert "has no passages" in missing.error[0] and "gag ingest other" in missing.error[1]
    build = gag("build", "other", cwd=mill)
    assert build.code == 2 and "gag ingest other FOLDER, then gag synth other" in build.error[1]
    build = gag("build", "mill", cwd=mill)
    assert build.code == 2 and "gag synth mill" in build.error[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "./nowhere"], "is not there"),
        (["--model", "http://"], "is no address"),
        (["--style", "poem"], "poem"),
        (["--per-passage", "0"], "--per-passage"),
        (["--set", "synthesis.wording=2"], "did you mean synthesis.wordings?"),
        (["--set", "synthesis.test_share=1"], "test_share"),
    ],
)
def test_bad_usage(arguments: list[str], said: str, mill: Path, gag: Gag) -> None:
    ran = gag("synth", "mill", *arguments, cwd=mill)
    assert ran.code == 2, ran.err
    assert said in ran.error[0]
    assert not (mill / "data" / "mill" / "qa.jsonl").exists()


def test_bad_passages(mill: Path, gag: Gag) -> None:
    file = mill / "data" / "mill" / "passages.jsonl"
    file.write_text(file.read_text() + "{oops}\n")
    ran = gag("synth", "mill", cwd=mill)
    assert ran.code == 2 and "line 7: not JSON" in ran.error[0]


def test_two_at_once(mill: Path, gag: Gag) -> None:
    with FileLock(mill / "data" / "mill" / ".qa.lock"):
        ran = gag("synth", "mill", cwd=mill)
    assert ran.code == 2 and "Another process" in ran.error[0]
