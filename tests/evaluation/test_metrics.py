"""Metrics against values worked out by hand from the published rules."""

from __future__ import annotations

import importlib
import math
from typing import Any

import pytest

from gag.errors import InputError, MissingExtra
from gag.evaluation import metrics
from gag.evaluation.metrics import METRICS, REGISTRY, contains, exact_match, fact_recall, rouge_l, token_f1
from gag.records import Question


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("The Eiffel Tower!", ["eiffel tower"], 1.0),
        ("eiffel  tower", ["Big Ben", "the Eiffel tower."], 1.0),
        ("Eiffel Tower in Paris", ["Eiffel Tower"], 0.0),
        ("theatre", ["atre"], 0.0),  # an article is a whole word
        ("another", ["other"], 0.0),
        ("state-of-the-art", ["stateoftheart"], 1.0),  # punctuation goes before articles, as in SQuAD's script
        ("café", ["cafe"], 0.0),
        ("the", [""], 1.0),
        ("", ["x"], 0.0),
    ],
)
def test_exact_match_follows_squad(prediction: str, answers: list[str], expected: float) -> None:
    assert exact_match(prediction, answers) == expected


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("It was built by Gustave Eiffel in 1889.", ["gustave eiffel"], 1.0),
        ("It was built by Gustave Eiffel in 1889.", ["Paris", "1889"], 1.0),
        ("eiffelturm", ["eiffel"], 0.0),  # tokens, not characters
        ("the 18890 steps", ["1889"], 0.0),
        ("Eiffel, Gustave", ["Gustave Eiffel"], 0.0),
        ("well-known", ["well known"], 0.0),  # the hyphen is a token
        ("caf\u00e9 noir", ["cafe\u0301"], 1.0),  # NFD makes the two spellings one
        ("cafe noir", ["caf\u00e9"], 0.0),
        ("one\ttwo\nthree", ["two three"], 1.0),
        ("anything", ["", " "], 0.0),
        ("short", ["a much longer answer"], 0.0),
    ],
)
def test_contains_follows_dpr(prediction: str, answers: list[str], expected: float) -> None:
    assert contains(prediction, answers) == expected


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("a red fox", ["the red fox"], 1.0),
        ("red fox runs", ["quick red fox"], 2 / 3),
        ("red red red", ["red dog"], 0.4),  # a word counts as often as both sides have it: P 1/3, R 1/2
        ("blue", ["red", "blue sky"], 2 / 3),
        ("blue", ["red"], 0.0),
        ("", ["red"], 0.0),
        ("the", ["!"], 1.0),
    ],
)
def test_token_f1_follows_squad(prediction: str, answers: list[str], expected: float) -> None:
    assert token_f1(prediction, answers) == pytest.approx(expected)


def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence() -> None:
    pytest.importorskip("rouge_score")
    # "police ... the gunman": 3 of 4 words either side (Lin 2004, section 3.1).
    assert rouge_l("police kill the gunman", ["police killed the gunman"]) == pytest.approx(0.75)
    assert rouge_l("the gunman kill police", ["police killed the gunman"]) == pytest.approx(0.5)
    assert rouge_l("the gunman kill police", ["police killed the gunman", "THE gunman, kill police"]) == 1.0
    assert rouge_l("", ["police"]) == 0.0
    # Precision 1, recall 1/2.
    assert rouge_l("the cat", ["the cat sat down"]) == pytest.approx(2 / 3)


def test_rouge_l_names_the_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    metrics._rouge_scorer.cache_clear()
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match="rouge-score") as caught:
        rouge_l("a", ["a"])
    assert caught.value.hint == "pip install 'gag[eval]'"


@pytest.mark.parametrize(
    "prediction",
    [
        "148 nm",
        "148 nm.",
        "It is about 148  NM, as measured.",
        "The size (148nm) is known",
        "148\u00a0nm",
        "≈148 nm",
        "**148 nm**",
        "size=148 nm; dose=2",
        "1148 nm? No: 148 nm",  # a wrong one first does not hide the right one
        "\uff11\uff14\uff18 nm",
    ],
)
def test_fact_recall_finds_the_value(prediction: str) -> None:
    assert fact_recall(prediction, "148 nm") == 1.0
    assert fact_recall(prediction, " 148nm ") == 1.0


@pytest.mark.parametrize(
    "prediction",
    [
        "1148 nm",
        "148 nmol",
        "148.5 nm",
        "2.148 nm",
        "0,148 nm",
        "1,148 nm",
        "-148 nm",
        "\u2212148 nm",
        "14 8 nm",
        "148 µm",
        "148",
        "nm 148",
        "148 nm2",
        "148 nm²",
        "148 nm^2",
        "148 nm⁻¹",
        "148 nm/s",
        "A148 nm",
        "",
    ],
)
def test_fact_recall_refuses_another_value(prediction: str) -> None:
    assert fact_recall(prediction, "148 nm") == 0.0


@pytest.mark.parametrize(
    ("prediction", "value", "expected"),
    [
        ("The yield is 54 %.", "54%", 1.0),
        ("It was calcined at 1080 °C, slowly.", "1,080 °C", 1.0),
        ("It was calcined at 1,080 ℃, slowly.", "1,080 °C", 1.0),
        ("It was calcined at 11,080 °C", "1,080 °C", 0.0),
        ("It was calcined at 1,080,000 °C", "1,080 °C", 0.0),
        ("It was calcined at 1,0800 °C", "10800 °C", 0.0),  # no thousands: four digits after the comma
        ("It was calcined at 1,080 °F", "1,080 °C", 0.0),
        ("An area of 63 m²/g.", "63 m2/g", 1.0),
        ("From Tessaly Nitrate-rich liquor", "tessaly nitrate", 1.0),
        ("tessaly nitrates", "tessaly nitrate", 0.0),
        ("tessalynitrate", "tessaly nitrate", 0.0),
        ("a twice\u2010filtered ambrol", "twice-filtered ambrol", 1.0),
        ("a twice filtered ambrol", "twice-filtered ambrol", 0.0),
        ("the strain GBLA-19", "GBLA-1", 0.0),
        ("between 100-148 nm", "148 nm", 1.0),  # "-" between numbers is a range, not a sign
        ("it is -20 °C there", "−20 °C", 1.0),
        ("it is 20 °C there", "-20 °C", 0.0),
        ("anything", " ", 0.0),
    ],
)
def test_fact_recall_on_other_kinds_of_values(prediction: str, value: str, expected: float) -> None:
    assert fact_recall(prediction, value) == expected


def test_the_registry_says_of_every_metric_what_it_is() -> None:
    compared = ["exact_match", "contains", "token_f1", "rouge_l", "fact_recall"]
    numbers, sets = ["number_accuracy", "final_number"], ["hits_at_1", "answer_f1"]
    assert list(METRICS) == [*compared, *numbers, "abstention", "abstention_accuracy", *sets]
    assert set(METRICS) < set(REGISTRY)
    assert {"nll", "bertscore", "sts", "added_tokens", "prompt_tokens", "seconds", "routing_accuracy"} < set(REGISTRY)
    assert {"first_token_p50", "first_token_p95", "total_p50", "total_p95"} < set(REGISTRY)
    for name, metric in REGISTRY.items():
        assert metric.name == name
        assert metric.description.endswith(".")
        assert "\n" not in metric.description
        assert metric.low < metric.high
        assert (metric.function is not None) == (name in METRICS)
    for name in compared:
        assert METRICS[name]("green needles", ["red", "green needles"]) == 1.0
        assert METRICS[name]("green needles", ["red", "blue"]) == 0.0
    assert REGISTRY["nll"].better == "lower"
    assert REGISTRY["tokens_per_second"].better == "higher"
    assert REGISTRY["abstention"].better == ""
    with pytest.raises(TypeError, match="it takes: base"):
        REGISTRY["nll"]("a", ["a"])


@pytest.mark.parametrize("name", [name for name in METRICS if not name.startswith("abstention")])
def test_metrics_refuse_no_answers_and_a_bare_text(name: str) -> None:
    with pytest.raises(InputError, match="no accepted answer"):
        METRICS[name]("text", [])
    with pytest.raises(TypeError, match="sequence of texts"):
        METRICS[name]("text", "text")


def test_a_metric_of_a_question_is_nan_where_it_does_not_apply() -> None:
    plain, measured = Question("1", "q", ("many",)), Question("2", "q", ("5 kg",), meta={"value": "5 kg"})
    unanswerable = Question("3", "q", (), meta={"unanswerable": True})
    scores = {
        name: [metric.of(question, "It is 5 kg.") for question in (plain, measured, unanswerable)]
        for name, metric in METRICS.items()
    }
    assert [math.isnan(x) for x in scores["exact_match"]] == [False, False, True]
    assert [math.isnan(x) for x in scores["fact_recall"]] == [True, False, True]
    assert [math.isnan(x) for x in scores["number_accuracy"]] == [True, False, True]
    assert scores["number_accuracy"][1] == scores["final_number"][1] == scores["fact_recall"][1] == 1.0
    assert scores["abstention"] == [0.0, 0.0, 0.0]
    assert scores["abstention_accuracy"] == [1.0, 1.0, 0.0]
    assert METRICS["abstention_accuracy"].of(unanswerable, "I don't know.") == 1.0
    assert math.isnan(METRICS["number_accuracy"]("5", ["many"]))


STRANGE = [
    *("", " ", "?!…", "\u200f\u202eשלום\u202c", "日本語のテキスト。", "e\u0301\u0301\u0301", "\ud800", "\x00"),
    *("🇧🇪" * 50, "x " * 50_000),
]


@pytest.mark.parametrize("name", list(METRICS))
def test_no_text_breaks_a_metric_and_a_score_stays_in_its_range(name: str) -> None:
    if name == "rouge_l":
        pytest.importorskip("rouge_score")
    metric = METRICS[name]
    for said in STRANGE:
        for gold in ([said], ["日本語", "5 nm"], ["שלום"]):
            if name == "rouge_l" and len(said) > 10_000 and len(gold[0]) > 10_000:
                continue  # its table of subsequences has as many cells as both lengths multiplied
            score = metric(said, gold)
            assert math.isnan(score) or metric.low <= score <= metric.high


def test_scripts_without_spaces_and_from_right_to_left() -> None:
    assert exact_match("שלום", ["שלום"]) == token_f1("שלום עולם", ["שלום עולם"]) == 1.0
    assert contains("זה שלום.", ["שלום"]) == 1.0
    assert exact_match("東京", ["東京"]) == 1.0
    assert contains("答えは東京です", ["東京"]) == 0.0  # one run of letters is one token, as in DPR's tokenizer
    assert contains("答えは「東京」です", ["東京"]) == 1.0
