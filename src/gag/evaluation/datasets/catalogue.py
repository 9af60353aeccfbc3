"""The public sets by name: where each is on the hub, what its files look like, and what to beware of in its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gag.evaluation.datasets import open_domain, specialist
from gag.evaluation.datasets.rows import Row, Shape
from gag.records import Question


@dataclass(frozen=True)
class Hub:
    """A set on the hub: its id, configuration and the part that is evaluated; one `file` where it would need code."""

    id: str
    config: str | None = None
    split: str = "test"
    file: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A public set: `read` makes a question of a row (None passes it over), `takes` says which files it reads.

    `note` says what to beware of when its parts are used for training and for testing.
    """

    name: str
    title: str
    read: Callable[[Row], Question | None]
    takes: str
    hub: Hub
    note: str
    shape: Shape = field(default_factory=Shape)


_ALL = (
    Dataset(
        "freebaseqa",
        "FreebaseQA",
        open_domain.freebaseqa,
        'FreebaseQA-{train,dev,eval}.json: {"Questions": [{"Question-ID", "RawQuestion", "Parses"}]}',
        Hub("microsoft/freebase_qa"),
        "Many of its questions are TriviaQA's: do not train on one and test on the other.",
        Shape(inside="Questions"),
    ),
    Dataset(
        "hotpotqa",
        "HotpotQA",
        open_domain.hotpotqa,
        'hotpot_{train,dev}_*.json: [{"_id", "question", "answer", "context"}], or the hub\'s rows',
        Hub("hotpotqa/hotpot_qa", "distractor", "validation"),
        "The test part has no answers; results are reported on dev.",
    ),
    Dataset(
        "nq_open",
        "Natural Questions, open",
        open_domain.nq_open,
        'NQ-open.*.jsonl: {"question", "answer": ["…"]} a line, or the hub\'s rows',
        Hub("google-research-datasets/nq_open", None, "validation"),
        "What papers call the test part is the original dev; efficientqa.dev is another sample. Do not choose on dev.",
    ),
    Dataset(
        "triviaqa",
        "TriviaQA",
        open_domain.triviaqa,
        '*-{train,dev}.json: {"Data": [{"QuestionId", "Question", "Answer": {"Value", "Aliases"}}]}, or hub rows',
        Hub("mandarjoshi/trivia_qa", "rc.nocontext", "validation"),
        "The test part has no answers. FreebaseQA holds many of its questions.",
        Shape(inside="Data"),
    ),
    Dataset(
        "webquestions",
        "WebQuestions",
        open_domain.webquestions,
        'webquestions.examples.*.json: [{"url", "targetValue", "utterance"}], or the hub\'s {"question", "answers"}',
        Hub("stanfordnlp/web_questions"),
        "It has train and test only: a dev part has to be held out of train.",
    ),
    Dataset(
        "popqa",
        "PopQA",
        open_domain.popqa,
        "test.tsv with the columns id, question, possible_answers (a JSON list), or the hub's rows",
        Hub("akariasai/PopQA"),
        "It has a test part only, made of templates over Wikidata: questions of one relation read alike.",
    ),
    Dataset(
        "aviationqa",
        "AviationQA",
        specialist.aviationqa,
        "{train,dev,test}.csv with the columns Question and Answer, or the hub's rows",
        Hub("sakharamg/AviationQA"),
        "Questions on one accident are in all parts: split by meta.accident_no where unseen accidents are meant.",
    ),
    Dataset(
        "housing_qa",
        "HousingQA",
        specialist.housing_qa,
        'questions.json, also in .zip: [{"idx", "state", "question", "answer", "statutes"}]',
        Hub("reglab/housing_qa", None, "test", "data/questions.json.zip"),
        "Two thirds of the answers are No. questions_aux holds all of questions; a question comes once a state.",
    ),
    Dataset(
        "gsm8k",
        "GSM8K",
        specialist.gsm8k,
        '{train,test}.jsonl: {"question", "answer": "… #### 42"} a line, or the hub\'s rows',
        Hub("openai/gsm8k", "main"),
        "Report the test part; models are often trained on the other.",
    ),
    Dataset(
        "medquad",
        "MedQuAD",
        specialist.medquad,
        "a folder of its XML documents, one of them, or a table with the columns question and answer",
        Hub("lavita/MedQuAD", None, "train"),
        "It has no parts of its own; questions on one disease share text, so split by meta.focus.",
    ),
    Dataset(
        "pubmedqa",
        "PubMedQA",
        specialist.pubmedqa,
        'ori_pqal.json: {"PMID": {"QUESTION", "CONTEXTS", "LONG_ANSWER", "final_decision"}}, or the hub\'s rows',
        Hub("qiaojin/PubMedQA", "pqa_labeled", "train"),
        "Of the 1,000 labelled ones, 500 are the official test part (test_ground_truth.json); the hub has one part.",
        Shape(keyed_by="pubid"),
    ),
)

DATASETS: Mapping[str, Dataset] = MappingProxyType({dataset.name: dataset for dataset in _ALL})
"""The public sets by name."""
