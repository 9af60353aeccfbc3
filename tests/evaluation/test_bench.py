"""A comparison goes on where it was stopped, names what failed, and never mixes answers of different choices."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from gag.errors import BusyError, ConfigError, InputError, MissingExtra, ModelError
from gag.evaluation.answers import EARLIER, AnswerLog, Outcome, ask
from gag.evaluation.bench.bench import Bench
from gag.evaluation.bench.config import JudgeConfig
from gag.evaluation.bench.found import Found
from gag.evaluation.bench.loading import parse_bench
from gag.evaluation.bench.place import Place, alone, keeps_modules, open_place, spread
from gag.evaluation.bench.results import write_found
from gag.evaluation.judges import judges
from gag.evaluation.kept import KeptScores
from gag.evaluation.table import Row
from gag.methods.method import Method
from gag.progress import Progress, silent
from gag.records import Answer, Question, Route, write_jsonl
from gag.testing import write_tiny_encoder
from gag.workspace import Workspace


class Fake:
    """Says the question's first answer, unless it is told to fail on it."""

    def __init__(self, name: str, asked: list[str], fails: Callable[[str], bool]) -> None:
        self.name, self.asked, self.fails = name, asked, fails

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        if any(self.fails(q.id) for q in questions):
            raise ValueError("no idea")
        self.asked += [f"{self.name} {q.id}" for q in questions]
        wrong = self.name == "base"
        return [
            Answer(q.id, "no" if wrong else q.answers[0], self.name, Route("general", {}), 9, 4, 3, {"total": 0.5})
            for q in questions
        ]


class Fakes:
    """Methods of every workspace; `missing` cannot be made, `fails` says which questions go wrong."""

    def __init__(self, missing: Sequence[str] = (), fails: Callable[[str], bool] = lambda _: False) -> None:
        self.asked: list[str] = []
        self.opened: list[Workspace] = []
        self.missing, self.fails = missing, fails
        self.made: set[tuple[str, str | None]] = set()

    def __call__(self, workspace: Workspace, *, on_progress: Progress = silent) -> Fakes:
        self.opened.append(workspace)
        return self

    def remarks_of(self, name: str, domain: str | None = None) -> dict[str, str]:
        assert (name, domain) in self.made
        if name not in ("rag", "gag-oracle"):
            return {}
        how = json.dumps(self.opened[-1].config.retrieval.top_k) if name == "rag" else self.opened[-1].root
        return {f"{name} {domain}": f"{domain}: chosen {how}"}

    def method(self, name: str, domain: str | None = None) -> Method:
        self.made.add((name, domain))
        if name in self.missing:
            raise MissingExtra(f"{name} needs a package.", "pip install 'gag[retrieval]'")
        return Fake(name, self.asked, self.fails if name != "base" else lambda _: False)


def run(tree: dict[str, Any], out: Path, methods: Fakes | None = None) -> tuple[Found, Place]:
    place = open_place(parse_bench(tree, origin="test"), out)
    return Bench(place, methods or Fakes()).run(), place


def test_every_number_is_a_row_and_every_answer_a_line(
    small: dict[str, Any], tmp_path: Path, questions: Callable[..., str]
) -> None:
    questions(tmp_path / "test.jsonl", 6)
    found, place = run(small, tmp_path / "out")
    write_found(place, found)
    rows = [Row(**row) for row in json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))]
    assert rows == found.rows
    first = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))[0]
    assert list(first) == [
        "method", "domain", "metric", "value", "ci_low", "ci_high", "n", "table", "dataset", "seconds", "tokens",
    ]  # fmt: skip
    gag = next(r for r in rows if (r.table, r.dataset, r.method, r.metric) == ("main", "alloys", "gag", "token_f1"))
    assert (gag.value, gag.n, gag.seconds, gag.tokens) == (1.0, 6, 0.5, 4.0)
    gap = next(r for r in rows if r.table == "main-difference" and r.method == "gag - base" and r.dataset == "plants")
    assert gap.value == 1.0 and gap.ci_low == 1.0
    stayed = {r.metric: r.value for r in rows if r.table == "general-routing"}
    assert stayed == {
        "routed_general": 4,
        "not_routed_general": 0,
        "identical_to_base": 0,
        "asked_again_alone": 0,
    }
    assert {r.method for r in rows if r.table == "general"} == {"base", "gag", "lora-alloys", "lora-plants"}
    lines = (tmp_path / "out" / "answers" / "alloys" / "gag.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == [f"it is {i}" for i in range(6)]
    assert "▲" in (tmp_path / "out" / "tables" / "main-alloys.md").read_text("utf-8")
    assert "best token_f1" in (tmp_path / "out" / "summary.md").read_text("utf-8")
    assert (tmp_path / "out" / "figures" / "comparison.png").stat().st_size < 100_000


def test_what_a_method_remarks_is_said_and_kept_with_its_answers(small: dict[str, Any], tmp_path: Path) -> None:
    small["methods"] = ["base", "gag-oracle", "gag"]
    del small["metrics"][0]
    first, place = run(small, tmp_path / "out")
    said = [f"{name}: chosen {place.workspace.root}" for name in ("alloys", "plants")]
    write_found(place, first)
    assert first.remarks == said
    assert said[0] in (tmp_path / "out" / "summary.md").read_text("utf-8")
    assert said[1] in (tmp_path / "out" / "report.html").read_text("utf-8")
    again = Fakes()
    assert run(small, tmp_path / "out", again)[0].remarks == said and again.opened == []
    small["methods"].remove("gag-oracle")
    assert run(small, tmp_path / "out")[0].remarks == []


def test_answers_of_earlier_choices_come_back_with_what_was_remarked(small: dict[str, Any], tmp_path: Path) -> None:
    small |= {"methods": ["base", "rag"], "metrics": ["token_f1"]}
    choices = [{"settings": {"retrieval": {"top_k": k}}} for k in (3, 2, 3)]
    runs = [Fakes() for _ in choices]
    said = [
        run(small | choice, tmp_path / "out", fakes)[0].remarks for choice, fakes in zip(choices, runs, strict=True)
    ]
    assert [one[0] for one in said] == ["alloys: chosen 3", "alloys: chosen 2", "alloys: chosen 3"]
    assert runs[1].asked and not runs[2].asked


def test_a_second_run_asks_nothing_and_finds_the_same(small: dict[str, Any], tmp_path: Path) -> None:
    del small["metrics"][0]  # without nll nothing of these fakes is missing
    first, _ = run(small, tmp_path / "out")
    again = Fakes()
    second, _ = run(small, tmp_path / "out", again)
    assert again.asked == [] and again.opened == []
    assert second.rows == first.rows


def test_an_interrupted_run_goes_on(small: dict[str, Any], tmp_path: Path) -> None:
    small["metrics"] = ["token_f1"]
    stopped = Fakes()
    real = Fake.answer

    def interrupt(self: Fake, asked: Sequence[Question]) -> list[Answer]:
        if self.name == "gag" and asked[0].id == "q2":
            raise KeyboardInterrupt
        return real(self, asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fake, "answer", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(small, tmp_path / "out", stopped)
    path = tmp_path / "out" / "answers" / "alloys" / "gag.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write('{"key": "cut sho')  # what a crash leaves
    rest = Fakes()
    found, _ = run(small, tmp_path / "out", rest)
    assert stopped.asked == [*[f"base q{i}" for i in range(5)], "gag q0", "gag q1"]
    assert rest.asked[:3] == ["gag q2", "gag q3", "gag q4"] and "base q0" in rest.asked  # of the next domain
    assert found.rows == run(small, tmp_path / "fresh")[0].rows


def test_a_failed_question_is_a_row_and_the_run_goes_on(small: dict[str, Any], tmp_path: Path) -> None:
    small["metrics"] = ["token_f1"]
    found, place = run(small, tmp_path / "out", Fakes(fails=lambda name: name == "q3"))
    problem = next(p for p in found.problems if (p.method, p.dataset) == ("gag", "alloys"))
    assert problem.questions == 1 and "q3: ValueError: no idea" in problem.message
    assert not found.failed_methods
    row = next(r for r in found.rows if (r.method, r.dataset, r.metric) == ("gag", "alloys", "token_f1"))
    assert (row.value, row.n) == (0.8, 5), "no answer counts as a wrong one"
    cost = next(r for r in found.rows if (r.method, r.dataset, r.metric) == ("gag", "alloys", "seconds"))
    assert cost.n == 4, "no answer costs nothing"
    line = json.loads((place.answers / "alloys" / "gag.jsonl").read_text("utf-8").splitlines()[3])
    assert (line["id"], line["text"]) == ("q3", None) and "no idea" in line["error"]
    again, _ = run(small, tmp_path / "out", Fakes(fails=lambda name: name == "q3"))
    assert again.rows == found.rows and not again.failed_methods, "a question that fails again is still only one"
    mended = Fakes()
    found, _ = run(small, tmp_path / "out", mended)
    first = mended.asked[: mended.asked.index("gag q0")]  # from there on: general answers that differ, asked alone
    assert set(first) == {"gag q3", "rag q3", "lora q3"} and not found.problems


def test_a_failed_method_does_not_stop_the_others(small: dict[str, Any], tmp_path: Path) -> None:
    found, place = run(small, tmp_path / "out", Fakes(missing=["rag"], fails=lambda _: True))
    said = {(p.method, p.dataset): p for p in found.failed_methods}
    assert said["rag", "alloys"].hint == "pip install 'gag[retrieval]'"
    assert "answered none of its first 2 questions" in said["gag", "plants"].message
    assert {r.method for r in found.rows if r.table == "main"} == {"base"}
    write_found(place, found)
    assert "needs a package" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_answers_of_other_choices_are_put_aside_and_come_back(small: dict[str, Any], tmp_path: Path) -> None:
    small["metrics"] = ["token_f1"]
    run(small, tmp_path / "out")
    changed = Fakes()
    run({**small, "settings": {"generation": {"max_new_tokens": 7}}}, tmp_path / "out", changed)
    assert len(changed.asked) == 2 * 3 * 5 + 4 * 4
    assert len(list((tmp_path / "out" / "answers").glob(f"*/{EARLIER}/*.jsonl"))) == 10
    back = Fakes()
    run(small, tmp_path / "out", back)
    assert back.asked == []


def test_more_questions_methods_and_metrics_keep_what_there_is(
    small: dict[str, Any], tmp_path: Path, questions: Callable[..., str]
) -> None:
    small["metrics"] = ["token_f1"]
    run(small, tmp_path / "out")
    questions(tmp_path / "test.jsonl", 7)
    more = Fakes()
    run(
        {**small, "methods": ["base", "gag", "rag", "egc"], "metrics": ["contains", "token_f1"]}, tmp_path / "out", more
    )
    assert {name for name in more.asked if "q0" in name} == {"egc q0"}
    assert more.asked.count("gag q6") == 2


def test_changed_training_data_make_other_answers_but_not_of_the_base(
    small: dict[str, Any], tmp_path: Path, questions: Callable[..., str]
) -> None:
    small["metrics"] = ["token_f1"]
    run(small, tmp_path / "out")
    questions(tmp_path / "qa.jsonl", 8)
    changed = Fakes()
    run(small, tmp_path / "out", changed)
    assert {name.split()[0] for name in changed.asked} == {"gag", "rag", "lora"}


def test_two_runs_into_one_folder(small: dict[str, Any], tmp_path: Path) -> None:
    lock = FileLock(tmp_path / ".lock")
    with lock, pytest.raises(BusyError, match="Another gag bench is writing"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


def test_variants_share_runs_but_not_modules(small: dict[str, Any], tmp_path: Path) -> None:
    small["tables"] = {"main": None, "readout": {"layers": [-1, -2]}, "stages": {}, "depth": {"k": [1, 3]}}
    fakes = Fakes()
    found, place = run(small, tmp_path / "out", fakes)
    assert {w.root for w in fakes.opened} == {place.workspace.root}
    folders = [w.modules_folder for w in fakes.opened]
    assert len(folders) == 7 and folders[0] == folders[5], "one passage is the default: the same choices"
    assert len(set(folders)) == 6 and "modules" not in folders
    by_table = {t: [r.method for r in found.rows if r.table == t and r.metric == "token_f1"] for t in small["tables"]}
    assert by_table["readout"] == ["layer -1", "layer -2"] and by_table["depth"] == ["k = 1", "k = 3"]
    assert by_table["stages"] == ["both stages", "without expert stage", "without alignment"]
    assert [w.config.retrieval.top_k for w in fakes.opened[-2:]] == [1, 3]
    assert fakes.opened[1].config.domains["alloys"].expert == place.workspace.config.models.expert.source
    assert fakes.opened[2].config.alignment.max_steps == 1


def test_depth_is_of_every_domain_with_passages_also_ingested_ones(
    small: dict[str, Any], tmp_path: Path, questions: Callable[..., str]
) -> None:
    small["tables"] = {"main": None, "depth": {"k": [1]}}
    _, place = run(small, tmp_path / "out")
    questions(place.workspace.data("plants") / "test.jsonl", 2)
    (place.workspace.data("plants") / "passages.jsonl").write_text("{}")
    tree = {
        "workspace": str(place.workspace.root),
        "methods": ["base"],
        "metrics": ["token_f1"],
        "tables": {"depth": {"k": [1]}},
    }
    tree["domains"] = {"plants": {"test": str(place.workspace.data("plants") / "test.jsonl")}}
    found, _ = run(tree, tmp_path / "other")
    assert {(row.dataset, row.method) for row in found.rows if row.table == "depth"} == {("plants", "k = 1")}


def test_costs_are_measured_one_at_a_time_and_kept(small: dict[str, Any], tmp_path: Path) -> None:
    small |= {"metrics": ["token_f1"], "tables": {"cost": {"questions": 4}}}
    small["domains"]["alloys"] = {**small["domains"]["alloys"], "limit": 2}
    found, _ = run(small, tmp_path / "out")
    counts = {(r.dataset, r.n) for r in found.rows if r.table == "cost"}
    assert counts == {("alloys", 2), ("plants", 4)}, "a domain of few questions makes no other's fewer"
    cost = [r for r in found.rows if r.table == "cost" and r.method == "gag" and r.dataset == "alloys"]
    assert {"total_p50", "total_p95", "tokens_per_second"} <= {r.metric for r in cost}
    again = Fakes()
    assert [r for r in run(small, tmp_path / "out", again)[0].rows if r.table == "cost"] == [
        r for r in found.rows if r.table == "cost"
    ]
    assert again.asked == []


def test_questions_that_could_not_be_timed_are_told(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Fake, questions: Sequence[Question]) -> list[Answer]:
        if self.name == "gag" and any(q.id == "q1" for q in questions):
            raise InputError("too long", "")
        return answered(self, questions)

    answered = Fake.answer
    monkeypatch.setattr(Fake, "answer", refused)
    found, _ = run(small | {"metrics": ["token_f1"], "tables": {"cost": {"questions": 4}}}, tmp_path / "out")
    assert {(r.method, r.n) for r in found.rows if r.table == "cost"} == {("base", 4), ("gag", 3), ("rag", 4)}
    told = [(p.method, p.questions) for p in found.problems if p.table == "cost"]
    assert told == [("gag", 1), ("gag", 1)], "one a domain"


def test_unseen_facts_have_rows_of_their_own(small: dict[str, Any], tmp_path: Path) -> None:
    rows = [{"id": f"q{i}", "question": f"what {i}?", "answers": ["x"], "projector": i < 2} for i in range(5)]
    write_jsonl(tmp_path / "test.jsonl", rows)
    small["domains"]["alloys"]["unseen"] = "projector"
    found, _ = run(small, tmp_path / "out")
    assert {r.n for r in found.rows if r.dataset == "alloys/unseen" and r.metric == "token_f1"} == {3}


def test_the_workspace_has_the_chosen_pairs(small: dict[str, Any], tmp_path: Path) -> None:
    rows = [{"id": f"q{i}", "question": f"w {i}?", "answers": [f"a {i}"], "projector": i % 2 == 0} for i in range(8)]
    write_jsonl(tmp_path / "qa.jsonl", rows)
    small["domains"]["plants"] |= {"train_limit": 3, "align_where": "projector", "answers_as_passages": True}
    _, place = run(small, tmp_path / "out")
    data = place.workspace.root / "data" / "plants" / "chosen"
    lines = {path.name: path.read_text("utf-8").splitlines() for path in data.iterdir()}
    assert [json.loads(line)["id"] for line in lines["qa.jsonl"]] == ["q0", "q2", "q5"]
    assert [json.loads(line)["id"] for line in lines["align.jsonl"]] == ["q0", "q2", "q4"]
    assert json.loads(lines["passages.jsonl"][0]) == {"id": "q0", "document_id": "q0", "text": "a 0", "heading": "w 0?"}
    small["domains"]["plants"]["align_where"] = "nothing"
    with pytest.raises(InputError, match="in no question is 'nothing' true"):
        run(small, tmp_path / "out")


def test_a_workspace_that_exists(small: dict[str, Any], tmp_path: Path, questions: Callable[..., str]) -> None:
    _, place = run(small, tmp_path / "out")
    root = place.workspace.root
    test = root / "data" / "alloys" / "test.jsonl"
    for name in ("alloys", "plants"):
        questions(root / "data" / name / "test.jsonl", 2)
    tree = {"workspace": str(root), "methods": ["base"], "metrics": ["token_f1"]}
    again = open_place(parse_bench(tree, origin="test"), tmp_path / "other")
    assert list(again.domains) == ["alloys", "plants"]
    assert again.workspace.modules_folder.startswith("variants/"), "what is missing is built apart"
    for name in ("alloys", "plants"):
        (root / "modules" / name).mkdir(parents=True)
        (root / "modules" / name / "manifest.json").write_text(name)
    again = open_place(parse_bench(tree, origin="test"), tmp_path / "other")
    assert again.workspace.modules_folder == "modules" and keeps_modules(again.config, again.workspace)
    keys = {name: again.answer_key(again.workspace, name, "alloys") for name in ("gag", "base", "rag")}
    (root / "modules" / "alloys" / "manifest.json").write_text("updated")
    assert again.answer_key(again.workspace, "gag", "alloys") != keys["gag"]
    assert again.answer_key(again.workspace, "base", "alloys") == keys["base"]
    (root / "data" / "alloys" / "passages.jsonl").write_text("other passages")
    assert again.answer_key(again.workspace, "rag", "alloys") != keys["rag"]
    other = {"alloys": {"test": str(test), "qa": small["domains"]["alloys"]["qa"]}}
    apart = open_place(parse_bench({**tree, "domains": other}, origin="t"), tmp_path / "other").workspace
    assert apart.modules_folder.startswith("variants/"), "other pairs are another module"
    changed = open_place(parse_bench({**tree, "settings": {"expert": {"epochs": 1}}}, origin="t"), tmp_path / "other")
    assert changed.workspace.modules_folder.startswith("variants/"), "the user's own modules stay as they are"
    test.unlink()
    with pytest.raises(InputError, match=r"test\.jsonl"):
        open_place(parse_bench(tree, origin="test"), tmp_path / "other")
    with pytest.raises(ConfigError, match="is no workspace"):
        open_place(parse_bench({**tree, "workspace": str(tmp_path)}, origin="test"), tmp_path / "other")


def test_an_unknown_metric_is_refused_before_anything_is_trained(small: dict[str, Any], tmp_path: Path) -> None:
    small["metrics"] = ["token_f1", "bleu"]
    with pytest.raises(ConfigError, match="there is no metric 'bleu'"):
        run(small, tmp_path / "out")


def test_a_metric_that_cannot_be_computed_is_said_once(small: dict[str, Any], tmp_path: Path) -> None:
    small["metrics"] = ["token_f1", "bertscore"]

    def broken(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        raise MissingExtra("bertscore has no encoder.", "Name one.")

    place = open_place(parse_bench(small, origin="test"), tmp_path / "out")
    found = Bench(place, Fakes(), {"bertscore": broken}).run()
    assert [(p.method, p.questions) for p in found.problems] == [("bertscore", None)]
    assert {r.metric for r in found.rows if r.table == "main"} >= {"token_f1", "seconds"}


def test_a_judge_scores_a_method_in_one_call(small: dict[str, Any], tmp_path: Path) -> None:
    small["metrics"] = ["token_f1", "bertscore"]
    calls: list[int] = []

    def judge(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        calls.append(len(predictions))
        return [0.5] * len(predictions)

    place = open_place(parse_bench(small, origin="test"), tmp_path / "out")
    found = Bench(place, Fakes(), {"bertscore": judge}).run()
    assert calls == [1, 5, 5, 5, 5, 5, 5], "one to see whether it works, then a method and domain each"
    assert {r.value for r in found.rows if r.metric == "bertscore" and r.table == "main"} == {0.5}


def test_ask_gives_each_question_its_own_outcome() -> None:
    asked = [Question(f"q{i}", "?", ("a",)) for i in range(3)]
    outcomes = ask(Fake("gag", [], lambda name: name == "q1"), asked, nll=True)
    assert [o.error for o in outcomes] == [None, "ValueError: no idea", None]
    assert outcomes[0].nll is None, "a method that does not end in the base has no nll"

    class Short(Fake):
        def answer(self, questions: Sequence[Question]) -> list[Answer]:
            return []

    assert "gave 0 answers to 1 questions" in str(ask(Short("gag", [], lambda _: False), asked, nll=False)[0].error)


def test_a_log_that_is_no_log_is_refused(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path, "a/b", "c d", "key")
    log.add([Outcome(Question("q", "?", ("a",)), Answer("q", "half \ud800 sign", "a/b"))])
    assert log.path == tmp_path / "c%20d" / "a%2Fb.jsonl"
    assert AnswerLog(tmp_path, "a/b", "c d", "key").get(Question("q", "?", ("a",))) is not None
    log.path.write_text("no json\n", "utf-8")
    with pytest.raises(InputError, match="line 1 is not a line of answers"):
        AnswerLog(tmp_path, "a/b", "c d", "key")


def test_kept_scores(tmp_path: Path) -> None:
    kept = KeptScores(tmp_path / "s.jsonl", "make")
    kept.add({"a": 0.25})
    with kept.path.open("a") as file:
        file.write('{"make": "make", "key"')
    KeptScores(kept.path, "make").add({"b": 0.5})
    assert KeptScores(kept.path, "make").scores == {"a": 0.25, "b": 0.5}
    assert KeptScores(kept.path, "other").scores == {}


def test_spread() -> None:
    assert spread(list(range(10)), 3) == [0, 3, 6]
    assert spread([1, 2], 5) == [1, 2] and spread([1, 2], None) == [1, 2]


def test_a_domain_that_is_gone_is_not_routed_to(small: dict[str, Any], tmp_path: Path) -> None:
    _, place = run(small, tmp_path / "out")
    for name in ("alloys", "plants"):
        place.workspace.module(name).mkdir(parents=True)
    assert open_place(place.config, place.out).workspace.modules_folder == "modules"
    del small["domains"]["plants"]
    assert run(small, tmp_path / "out")[1].workspace.modules_folder.startswith("variants/")


def test_judges_keep_their_scores(tmp_path: Path) -> None:
    encoder = {"source": str(write_tiny_encoder(tmp_path / "encoder")), "dtype": "float32", "device": "cpu"}
    config = JudgeConfig.model_validate({"encoder": encoder, "layer": -1, "max_tokens": 40})
    made = judges(config, tmp_path / "scores")
    first = {name: judge(["an alloy", "iron"], [["an alloy"], ["a plant", "iron"]]) for name, judge in made.items()}
    assert set(first) == {"bertscore", "sts"}
    assert all(score == pytest.approx(1.0, abs=1e-5) for scores in first.values() for score in scores)
    again = judges(config, tmp_path / "scores")
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr("gag.evaluation.judges.load_bertscore")
        patch.delattr("gag.evaluation.judges.load_similarity")
        assert {
            name: judge(["an alloy", "iron"], [["an alloy"], ["a plant", "iron"]]) for name, judge in again.items()
        } == first
    shutil.rmtree(tmp_path / "encoder")
    again = judges(config, tmp_path / "scores")
    with pytest.raises(ModelError, match="The metric sts needs the encoder"):
        again["sts"](["another"], [["one"]])


def test_a_judge_that_fails_on_a_method_costs_only_its_own_number(small: dict[str, Any], tmp_path: Path) -> None:
    small["metrics"] = ["bertscore", "token_f1"]

    def judge(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        if len(predictions) > 1:
            raise ValueError("too long")
        return [0.5]

    place = open_place(parse_bench(small, origin="test"), tmp_path / "out")
    found = Bench(place, Fakes(), {"bertscore": judge}).run()
    said = [p.message for p in found.problems if p.method == "bertscore of base"]
    assert said and all("too long" in message for message in said)
    assert {r.metric for r in found.rows if r.table == "main"} >= {"token_f1", "seconds"}
    assert not [r for r in found.rows if r.metric == "bertscore"]
