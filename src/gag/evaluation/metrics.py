"""The registry of every metric, and those of one answer text against the accepted answers (0 to 1, the best counts).

The GAG authors report `contains` under the name "exact match" on the general sets; here each keeps its own name.
`fact_recall` compares with a fact's exact value instead of whole answers. What needs a model or a clock (nll,
bertscore, sts, costs) is computed elsewhere; here is what it means, which values it has and which way is better.
"""

from __future__ import annotations

import functools
import importlib
import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from gag.errors import InputError, MissingExtra
from gag.evaluation.abstention import abstained, abstained_rightly
from gag.evaluation.graph_metrics import answer_f1, hits_at_1
from gag.evaluation.numbers import final_number, has_number, number_accuracy
from gag.records import Question

Takes = Literal["answers", "value", "numbers", "answerability", "base", "encoder", "routes", "answer", "clock", "paths"]
"""What a metric compares: the text with accepted answers, with a fact's `value`, with the numbers in the answers, or
with whether there is an answer; else it needs the base's likelihoods, an encoder, the true routes, the counts that an
Answer carries, questions asked one at a time, or the plans and paths that a method on graphs shows."""

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Inside a word "-" is a hyphen and between numbers a range; elsewhere, directly before a digit, it is a sign.
_FACT_TOKEN = re.compile(r"(?<!\w)-?\d+(?:[.,]\d+)*|\d+(?:[.,]\d+)*|[^\W\d_]+|[^\s\w]|_")
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"))
_THOUSANDS = re.compile(r"(?<![\d.])(?<!\d,)\d{1,3}(?:,\d{3})+(?!,?\d)")
_UNIT_GOES_ON = re.compile(r"[/·][^\W\d_]|\^|-\d")  # nm/s, nm·s, nm^2, nm-1


@dataclass(frozen=True)
class Metric:
    """A metric by name: what it takes, its range, which way is better ("" where neither is), and how it is shown.

    Shown is `scale` times the value, with `decimals` and `unit`. Those of METRICS have a `function` of the prediction
    and the accepted answers (or values), and can be called.
    """

    name: str
    description: str
    takes: Takes
    function: Callable[[str, Sequence[str]], float] | None = None
    low: float = 0.0
    high: float = 1.0
    better: Literal["higher", "lower", ""] = "higher"
    decimals: int = 1
    scale: float = 100.0
    unit: str = "%"

    def __call__(self, prediction: str, answers: Sequence[str]) -> float:
        """The score, NaN where the answers have nothing of what the metric takes.

        Raises InputError when there is no answer to compare with, TypeError for one text in place of several and for a
        metric that texts alone do not give.
        """
        if self.function is None:
            raise TypeError(f"{self.name} is not computed from texts alone; it takes: {self.takes}")
        _check(answers, needed=self.takes != "answerability")
        if self.takes == "numbers" and not any(map(has_number, answers)):
            return math.nan
        return self.function(prediction, answers)

    def of(self, question: Question, prediction: str) -> float:
        """The score of a prediction to a question; NaN where the question has not what the metric takes.

        That is: no accepted answer, for `fact_recall` no `value`, for the number metrics no number in the answers.
        """
        if self.takes == "value":
            value = question.meta.get("value")
            return math.nan if value is None else self(prediction, [str(value)])
        if not question.answers and self.takes != "answerability":
            return math.nan
        return self(prediction, question.answers)


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1 when the prediction is an accepted answer after SQuAD's normalisation, else 0.

    Normalisation: lower case; ASCII punctuation and the articles a, an, the dropped; whitespace collapsed. Two texts
    that normalise to nothing are equal, as in SQuAD's script. Raises InputError without answers.
    """
    said = _squad_words(prediction)
    return _best(lambda answer: said == _squad_words(answer), answers)


def contains(prediction: str, answers: Sequence[str]) -> float:
    """1 when an accepted answer's tokens occur in a row in the prediction (DPR's has_answer), else 0.

    Tokens after Unicode NFD and lower-casing: runs of letters, digits and marks, and every other visible character by
    itself. A blank answer never matches (in DPR's code it always does). Raises InputError without answers.
    """
    said = _dpr_tokens(prediction)
    return _best(lambda answer: _has_run(said, _dpr_tokens(answer)), answers)


def token_f1(prediction: str, answers: Sequence[str]) -> float:
    """SQuAD's F1 of the two bags of normalised words.

    When either side has no word left, 1 if both have none and 0 otherwise. Raises InputError without answers.
    """
    said = _squad_words(prediction)
    return _best(lambda answer: _bag_f1(said, _squad_words(answer)), answers)


def rouge_l(prediction: str, answers: Sequence[str]) -> float:
    """ROUGE-L F-measure (longest common subsequence) by the rouge-score package, without stemming.

    That package keeps the letters a-z and digits only, so a text in another script scores 0. Raises MissingExtra
    when rouge-score is not installed, InputError without answers.
    """
    scorer = _rouge_scorer()
    return _best(lambda answer: scorer.score(answer, prediction)["rougeL"].fmeasure, answers)


def fact_recall(prediction: str, value: str) -> float:
    """1 when the exact value occurs in the prediction as whole tokens, else 0.

    Forgiven: case, Unicode form (NFKC: "m²" is "m2", "℃" is "°C"), the kind and number of spaces, the kind of dash,
    the comma between thousands, and the space between a number and its unit ("148nm" and "148 nm", "54%" and "54 %").
    Not forgiven: another digit, sign, unit or word. "148 nm" is in "148 nm." and in "(148nm)", not in "1148 nm",
    "2.148 nm", "-148 nm", "148 nmol", "148 nm2", "148 nm⁻¹" or "148 nm/s". A blank value is never recalled.
    """
    text, wanted_text = _fact_form(prediction), _fact_form(value)
    wanted = _FACT_TOKEN.findall(wanted_text)
    found = list(_FACT_TOKEN.finditer(text))
    if not wanted:
        return 0.0
    measured = wanted[0][-1].isdigit()
    for start in range(len(found) - len(wanted) + 1):
        run = found[start : start + len(wanted)]
        if [token[0] for token in run] == wanted and _is_whole(text, run[0].start(), run[-1].end(), measured=measured):
            return 1.0
    return 0.0


def _any_fact(prediction: str, values: Sequence[str]) -> float:
    return _best(lambda value: fact_recall(prediction, value), values)


_TEXT = (
    Metric("exact_match", "The answer is an accepted one, after SQuAD's normalisation.", "answers", exact_match),
    Metric("contains", "An accepted answer occurs in it, token by token (DPR's has_answer).", "answers", contains),
    Metric("token_f1", "F1 of the words shared with the accepted answer (SQuAD).", "answers", token_f1),
    Metric("rouge_l", "F-measure of the longest common subsequence of words (ROUGE-L).", "answers", rouge_l),
    Metric("fact_recall", "The fact's exact value occurs in the answer as whole tokens.", "value", _any_fact),
    Metric("number_accuracy", "The accepted quantities are stated, in whatever unit.", "numbers", number_accuracy),
    Metric("final_number", "The last number of the answer is the accepted one.", "numbers", final_number),
    Metric("abstention", "The answer says that it does not know.", "answerability", abstained, better=""),
    Metric(
        "abstention_accuracy",
        "It says so where there is no accepted answer, and only there.",
        "answerability",
        abstained_rightly,
    ),
    Metric("hits_at_1", "The first line of the answer is an accepted answer.", "answers", hits_at_1),
    Metric("answer_f1", "F1 of the answer's lines and the accepted answers, as sets.", "answers", answer_f1),
)


def _cost(name: str, description: str, takes: Takes, unit: str = "", decimals: int = 1) -> Metric:
    better: Literal["higher", "lower"] = "higher" if name == "tokens_per_second" else "lower"
    return Metric(name, description, takes, high=math.inf, better=better, decimals=decimals, scale=1.0, unit=unit)


_OTHERS = (
    Metric("bertscore", "BERTScore F1 with the configured encoder and layer.", "encoder"),
    Metric("sts", "Cosine similarity of the answer's and the accepted answer's sentence vectors.", "encoder", low=-1.0),
    Metric("routing_accuracy", "The question took its own route.", "routes"),
    Metric("routing_macro", "The mean of the routes' own accuracies.", "routes"),
    _cost("nll", "Mean -log p of the first accepted answer's tokens, nats a token.", "base", decimals=3),
    _cost("added_tokens", "Tokens or slots added to the prompt for the domain's sake.", "answer"),
    _cost("prompt_tokens", "Tokens of the base's prompt, slots included.", "answer"),
    Metric("completion_tokens", "Tokens that the base wrote.", "answer", None, 0.0, math.inf, "", scale=1.0, unit=""),
    _cost("seconds", "Seconds an answer took; its share where questions shared a batch.", "answer", "s", 2),
    _cost("first_token_p50", "Median seconds until the first token, one question at a time.", "clock", "s", 2),
    _cost("first_token_p95", "95th percentile of the seconds until the first token.", "clock", "s", 2),
    _cost("total_p50", "Median seconds for the whole answer, one question at a time.", "clock", "s", 2),
    _cost("total_p95", "95th percentile of the seconds for the whole answer.", "clock", "s", 2),
    _cost("tokens_per_second", "Tokens a second after the first.", "clock"),
    Metric("citation_verbatim", "Every quote stands in a passage that was given, and there is one.", "answer"),
    Metric("citation_answer", "Beside that, a quote contains the answer.", "answer"),
    Metric("path_precision", "The share of the planned relation paths that are right ones.", "paths"),
    Metric("path_recall", "The share of the right relation paths that were planned.", "paths"),
    Metric("entailed", "The share of the answers that a shown path ends in.", "paths"),
    Metric(
        "follow_seconds", "Time to walk a question's plans.", "paths", None, 0.0, math.inf, "lower", 2, 1000.0, "ms"
    ),
    # No end of it is better: it is the whole process's, with the models that other methods left in it.
    Metric(
        "peak_memory_gb",
        "Most memory in use by the process: of the GPU where there is one, else resident.",
        "clock",
        high=math.inf,
        better="",
        decimals=2,
        scale=1.0,
        unit="GB",
    ),
)

REGISTRY: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in (*_TEXT, *_OTHERS)})
"""Every metric by name, for tables and reports; its name means the same everywhere."""

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _TEXT})
"""Every metric that needs no model, by name; `fact_recall` takes the accepted values in place of the answers."""


def check_metrics(names: Iterable[str]) -> None:
    """Try each of METRICS on a text; raises MissingExtra where what one needs is not installed."""
    for name in names:
        METRICS[name]("1 nm", ["1 nm"])


def _check(answers: Sequence[str], *, needed: bool) -> None:
    if isinstance(answers, str):
        raise TypeError("answers must be a sequence of texts, not one text")
    if needed and not answers:
        raise InputError("There is no accepted answer to compare with.", 'Give the question one: "answers": ["…"].')


def _best(score: Callable[[str], float], answers: Sequence[str]) -> float:
    _check(answers, needed=True)
    return float(max(score(answer) for answer in answers))


def _squad_words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def _bag_f1(said: list[str], expected: list[str]) -> float:
    if not said or not expected:
        return float(said == expected)
    shared = (Counter(said) & Counter(expected)).total()
    return 2 * shared / (len(said) + len(expected))  # = 2PR / (P + R)


def _dpr_tokens(text: str) -> list[str]:
    tokens: list[str] = []
    in_word = False
    for char in unicodedata.normalize("NFD", text).lower():
        kind = unicodedata.category(char)[0]
        if kind in "LNM" and in_word:
            tokens[-1] += char
        elif kind not in "ZC":
            tokens.append(char)
        in_word = kind in "LNM"
    return tokens


def _has_run(tokens: list[str], run: list[str]) -> bool:
    return bool(run) and any(tokens[i : i + len(run)] == run for i in range(len(tokens) - len(run) + 1))


def _fact_form(text: str) -> str:
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_DASHES)
    return _THOUSANDS.sub(lambda number: number[0].replace(",", ""), text)


def _is_whole(text: str, start: int, end: int, *, measured: bool) -> bool:
    """Whether text[start:end] is cut out at word borders and, for a number with a unit, the unit ends there."""
    if start > 0 and text[start].isalnum() and text[start - 1].isalnum():
        return False
    if end < len(text) and text[end - 1].isalnum() and text[end].isalnum():
        return False
    return not (measured and _UNIT_GOES_ON.match(text, end))


@functools.cache
def _rouge_scorer() -> Any:
    try:
        module = importlib.import_module("rouge_score.rouge_scorer")
    except ImportError:
        raise MissingExtra("ROUGE-L needs the package rouge-score.", "pip install 'gag[eval]'") from None
    return module.RougeScorer(["rougeL"], use_stemmer=False)
