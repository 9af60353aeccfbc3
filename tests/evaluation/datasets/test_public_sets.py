"""Every public set in its own file's shape, written for these tests, and what each reader says to another shape."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gag.errors import InputError
from gag.evaluation.datasets import DATASETS, dataset_names, read_dataset
from gag.records import Question

FREEBASE = {
    "Dataset": "FreebaseQA-eval",
    "Version": "1.0",
    "Questions": [
        {
            "Question-ID": "FreebaseQA-eval-0",
            "RawQuestion": "Who keeps the lighthouse at Orrin Head?",
            "ProcessedQuestion": "who keeps the lighthouse at orrin head",
            "Parses": [
                {
                    "Parse-Id": "FreebaseQA-eval-0.P0",
                    "InferentialChain": "a.b.c",
                    "Answers": [
                        {"AnswersMid": "m.1", "AnswersName": ["ada lomond"]},
                        {"AnswersMid": "m.2", "AnswersName": ["a. lomond", "ada lomond"]},
                    ],
                },
                {"Parse-Id": "FreebaseQA-eval-0.P1", "Answers": [{"AnswersMid": "m.3", "AnswersName": ["the keeper"]}]},
            ],
        }
    ],
}
HOTPOT = [
    {
        "_id": "5a0",
        "question": "Which of the two rivers is longer?",
        "answer": "Orrin",
        "type": "comparison",
        "level": "hard",
        "supporting_facts": [["Orrin", 0], ["Lomond", 0]],
        "context": [["Orrin", ["It is 80 km long.", " It is cold."]], ["Lomond", ["It is 60 km long."]]],
    }
]
TRIVIA = {
    "Data": [
        {
            "QuestionId": "tc_1",
            "Question": "Which bird nests on Orrin Head?",
            "Answer": {"Value": "Puffin", "Aliases": ["Puffins", "Puffin", " "], "NormalizedAliases": ["puffin"]},
        }
    ],
    "Domain": "Web",
    "Version": 1.0,
}
WEB = [
    {
        "url": "http://x/view/en/orrin",
        "targetValue": '(list (description "Ada \\"Keeper\\" Lomond") (description Orrin Head))',
        "utterance": "who lives at orrin head?",
    }
]
POP = (
    "id\tsubj\tprop\tobj\ts_pop\tquestion\tpossible_answers\n"
    '7\tAda\toccupation\tkeeper\t142\tWhat is Ada\'s occupation?\t"[""keeper"", ""lighthouse keeper""]"\n'
)
PUBMED = {
    "21645374": {
        "QUESTION": "Do puffins sleep?",
        "CONTEXTS": ["We watched them.", "All night."],
        "LABELS": ["METHODS", "RESULTS"],
        "LONG_ANSWER": "They do.",
        "final_decision": "yes",
    }
}
MEDQUAD = """<?xml version="1.0" encoding="UTF-8"?>
<Document id="0000001" source="GARD" url="https://x">
<Focus>Lomond fever</Focus>
<QAPairs>
 <QAPair pid="1"><Question qid="0000001-1" qtype="information">What is (are) Lomond
   fever ?</Question><Answer>It is a fever.
   It passes.</Answer></QAPair>
 <QAPair pid="2"><Question qid="0000001-2" qtype="treatment">How is it treated ?</Question><Answer></Answer></QAPair>
</QAPairs>
</Document>"""
HOUSING = [
    {
        "idx": 4,
        "state": "Utah",
        "question": "Is a receipt needed?",
        "answer": "No",
        "question_group": 69,
        "statutes": [{"statute_idx": 1, "citation": "UTAH CODE § 1", "excerpt": "No receipt is needed."}],
    }
]
NQ = '{"question": "who keeps the light", "answer": ["Ada Lomond", "Lomond"]}\n'
GSM = '{"question": "How many?", "answer": "540*2 = <<540*2=1080>>1080\\nSo all.\\n#### 1,080"}\n'
AVIATION = (
    'id,Question,Answer\n1,"What is the Category of the accident no. ERA22LA162?",Airplane\n2,Where?,"Naples, GA"\n'
)


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


FILES: dict[str, tuple[str, Any, list[Question]]] = {
    "freebaseqa": (
        "FreebaseQA-eval.json",
        FREEBASE,
        [
            Question(
                "FreebaseQA-eval-0",
                "Who keeps the lighthouse at Orrin Head?",
                ("ada lomond", "a. lomond", "the keeper"),
            )
        ],
    ),
    "hotpotqa": (
        "hotpot_dev_distractor_v1.json",
        HOTPOT,
        [
            Question(
                "5a0",
                "Which of the two rivers is longer?",
                ("Orrin",),
                meta={
                    "type": "comparison",
                    "level": "hard",
                    "contexts": [
                        {"title": "Orrin", "text": "It is 80 km long. It is cold."},
                        {"title": "Lomond", "text": "It is 60 km long."},
                    ],
                },
            )
        ],
    ),
    "nq_open": (
        "NQ-open.dev.jsonl",
        NQ,
        [Question("nq_open-NQ-open-1", "who keeps the light", ("Ada Lomond", "Lomond"))],
    ),
    "triviaqa": (
        "web-dev.json",
        TRIVIA,
        [Question("tc_1", "Which bird nests on Orrin Head?", ("Puffin", "Puffins"))],
    ),
    "webquestions": (
        "webquestions.examples.test.json",
        WEB,
        [Question("webquestions-webquestions-1", "who lives at orrin head?", ('Ada "Keeper" Lomond', "Orrin Head"))],
    ),
    "popqa": (
        "test.tsv",
        POP,
        [
            Question(
                "7",
                "What is Ada's occupation?",
                ("keeper", "lighthouse keeper"),
                meta={"prop": "occupation", "s_pop": "142"},
            )
        ],
    ),
    "aviationqa": (
        "test.csv",
        AVIATION,
        [
            Question(
                "aviationqa-test-1",
                "What is the Category of the accident no. ERA22LA162?",
                ("Airplane",),
                meta={"accident_no": "ERA22LA162"},
            ),
            Question("aviationqa-test-2", "Where?", ("Naples, GA",)),
        ],
    ),
    "housing_qa": (
        "questions.json",
        HOUSING,
        [
            Question(
                "housing_qa-4",
                "Consider statutory law for Utah in the year 2021. Is a receipt needed?",
                ("No",),
                meta={
                    "state": "Utah",
                    "question_raw": "Is a receipt needed?",
                    "question_group": "69",
                    "statutes": [{"citation": "UTAH CODE § 1", "text": "No receipt is needed."}],
                },
            )
        ],
    ),
    "gsm8k": (
        "test.jsonl",
        GSM,
        [Question("gsm8k-test-1", "How many?", ("1080",), meta={"solution": "540*2 = <<540*2=1080>>1080\nSo all."})],
    ),
    "medquad": (
        "0000001.xml",
        MEDQUAD,
        [
            Question(
                "GARD-0000001-1",
                "What is (are) Lomond fever ?",
                ("It is a fever.\n It passes.",),
                meta={"source": "GARD", "qtype": "information", "focus": "Lomond fever"},
            )
        ],
    ),
    "pubmedqa": (
        "ori_pqal.json",
        PUBMED,
        [
            Question(
                "21645374",
                "Do puffins sleep?",
                ("yes",),
                meta={"contexts": ["We watched them.", "All night."], "long_answer": "They do."},
            )
        ],
    ),
}
HUB_ROWS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "freebaseqa": (
        {
            "Question-ID": "1",
            "RawQuestion": "Who?",
            "Parses": {
                "Parse-Id": ["P0", "P1"],
                "Answers": [{"AnswersMid": ["m"], "AnswersName": [["ada"]]}, {"AnswersMid": [], "AnswersName": []}],
            },
        },
        ("ada",),
    ),
    "hotpotqa": (
        {
            "id": "1",
            "question": "Who?",
            "answer": "Ada",
            "context": {"title": ["T"], "sentences": [["One.", " Two."]]},
        },
        ("Ada",),
    ),
    "nq_open": ({"question": "who", "answer": ["Ada"]}, ("Ada",)),
    "triviaqa": (
        {"question_id": "1", "question": "Who?", "answer": {"value": "Ada", "aliases": ["A."]}},
        ("Ada", "A."),
    ),
    "webquestions": ({"url": "u", "question": "who?", "answers": ["Ada"]}, ("Ada",)),
    "popqa": ({"id": 7, "question": "Who?", "possible_answers": '["Ada"]', "s_pop": 3}, ("Ada",)),
    "aviationqa": ({"Question": "Who?", "Answer": "Ada"}, ("Ada",)),
    "gsm8k": ({"question": "How many?", "answer": "x #### 42"}, ("42",)),
    "medquad": ({"question_id": "1-1", "document_source": "GARD", "question": "Q?", "answer": "A."}, ("A.",)),
    "pubmedqa": (
        {
            "pubid": 5,
            "question": "Do they?",
            "context": {"contexts": ["c"]},
            "long_answer": "Yes.",
            "final_decision": "no",
        },
        ("no",),
    ),
}


def test_every_set_is_tried() -> None:
    assert set(FILES) == set(DATASETS) == set(HUB_ROWS) | {"housing_qa"}
    assert dataset_names() == ("jsonl", *DATASETS)
    for name, dataset in DATASETS.items():
        assert dataset.name == name
        assert dataset.note.endswith(".")


@pytest.mark.parametrize("name", list(FILES))
def test_the_sets_own_file(tmp_path: Path, name: str) -> None:
    file, content, expected = FILES[name]
    path = written(tmp_path, file, content)
    assert read_dataset(name, path) == expected
    packed = written(tmp_path, f"{file}.gz", gzip.compress(path.read_bytes()))
    assert [q.answers for q in read_dataset(name, packed)] == [q.answers for q in expected]


@pytest.mark.parametrize("name", list(HUB_ROWS))
def test_rows_from_the_hub(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    row, answers = HUB_ROWS[name]
    asked = []

    def load(identity: str, config: str | None, *, split: str) -> list[dict[str, Any]]:
        asked.append((identity, config, split))
        return [row]

    monkeypatch.setattr("datasets.load_dataset", load)
    (question,) = read_dataset(name)
    assert question.answers == answers
    read_dataset(name, "someone/copy", split="train")
    known = DATASETS[name].hub
    assert asked == [(known.id, known.config, known.split), ("someone/copy", None, "train")]


def test_a_set_that_needs_code_is_read_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("questions.json", json.dumps(HOUSING))
    path = written(tmp_path, "questions.json.zip", packed.getvalue())
    fetched = []

    def download(identity: str, file: str, *, repo_type: str) -> str:
        fetched.append((identity, file, repo_type))
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert read_dataset("housing_qa", "reglab/housing_qa") == FILES["housing_qa"][2]
    assert fetched == [("reglab/housing_qa", "data/questions.json.zip", "dataset")]
    with pytest.raises(InputError, match="has the part test only, not train"):
        read_dataset("housing_qa", split="train")


def test_a_hub_out_of_reach_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("no network\nhere")

    monkeypatch.setattr("datasets.load_dataset", load)
    with pytest.raises(InputError, match=r"akariasai/PopQA could not be had .* no network here") as caught:
        read_dataset("popqa")
    assert "test.tsv" in caught.value.hint


@pytest.mark.parametrize("name", list(FILES))
def test_another_sets_file_is_refused_with_what_was_found(tmp_path: Path, name: str) -> None:
    for other in ("nq_open", "popqa", "hotpotqa", "freebaseqa", "pubmedqa"):
        if other == name or (other == "hotpotqa" and name in ("aviationqa", "medquad")):  # question and answer suffice
            continue
        path = written(tmp_path, *FILES[other][:2])
        with pytest.raises(InputError, match=r"\(found: |are '|is one JSON dict \(| is | has no |no field") as caught:
            read_dataset(name, path)
        assert caught.value.message.startswith(str(path))
        assert DATASETS[name].takes in caught.value.hint


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        (
            "nq_open",
            "x.jsonl",
            '{"question": "q", "answer": "[\'a\', \'b\']"}',
            r"x\.jsonl line 1: an answer is a list",
        ),
        ("nq_open", "x.jsonl", '\n{"question": "q", "answer": ["[\\"a\\"]"]}', r"x\.jsonl line 2: an answer is a list"),
        ("nq_open", "x.jsonl", '{"question": "q", "answer": "a"}', "the answers are 'a', not a list of texts"),
        ("nq_open", "x.jsonl", '{"question": "q", "answer": []}', "there is no answer"),
        ("nq_open", "x.jsonl", '{"question": "q"}', r"no field 'answer' \(found: question\)"),
        ("nq_open", "x.jsonl", '{"question": " ", "answer": ["a"]}', "'question' is ' ', not a text"),
        ("nq_open", "x.jsonl", '{"question": "q", "answer": ["a"]}\n{"question"', "line 2: not JSON"),
        ("nq_open", "x.jsonl", "[1]", "item 1: a JSON int, not an object"),
        ("nq_open", "x.jsonl", "", "is empty"),
        ("nq_open", "x.jsonl", b"\xff\xfe", r"not UTF-8 text \(byte 0\)"),
        ("nq_open", "x.qa.txt", "q\t['a']", r"is a \.txt file"),
        ("nq_open", "x.jsonl.gz", b"nothing", "cannot be unpacked"),
        ("nq_open", "x.parquet", b"PAR1", "is not a Parquet file"),
        ("triviaqa", "x.json", {"Data": [{"Question": "q", "QuestionId": "1"}]}, "no field 'Answer' or 'answer'"),
        ("triviaqa", "x.json", [{"question": "q", "answer": {"value": "<unk>"}}], "the test part has none"),
        ("webquestions", "x.json", [{"utterance": "q", "targetValue": "(list Ada)"}], "targetValue is '"),
        ("popqa", "x.tsv", "id\tquestion\tpossible_answers\n1\tq\tAda", "'Ada', not a JSON list"),
        ("popqa", "x.tsv", "id\tquestion\tpossible_answers\n1\tq", r"line 2: not as many cells as the heading has \(3"),
        ("popqa", "x.tsv", 'id\tquestion\tpossible_answers\n1\t"q', "after line 1: unexpected end of data"),
        ("gsm8k", "x.jsonl", '{"question": "q", "answer": "42"}', "no '#### ' before its number"),
        ("pubmedqa", "x.json", {"1": {"QUESTION": "q", "final_decision": "unsure"}}, "'unsure', not yes, no or maybe"),
        ("pubmedqa", "x.json", {"1": "yes"}, r"no field 'final_decision' \(found: 1\)"),
        ("pubmedqa", "x.json", {}, "has no questions with answers"),
        ("medquad", "x.xml", "<Document><Focus>f</Focus></Document>", "has no QAPair"),
        ("medquad", "x.xml", "<Document>", "is not XML"),
        ("medquad", "x.xml", '<!DOCTYPE a [<!ENTITY b "c">]><Document/>', "declares entities"),
        ("freebaseqa", "x.json", {"Questions": [{"RawQuestion": "q", "Parses": []}]}, "Questions item 1: there is no"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, name: str, file: str, content: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_dataset(name, written(tmp_path, file, content))
    assert file in caught.value.message
    assert caught.value.hint


def test_the_mend_of_a_written_list_is_the_list(tmp_path: Path) -> None:
    path = written(tmp_path, "x.jsonl", '{"question": "q", "answer": ["[\'a\', \\"it\'s\\"]"]}')
    with pytest.raises(InputError) as caught:
        read_dataset("nq_open", path)
    assert caught.value.hint == 'Write the list itself: ["a", "it\'s"]'
    fine = written(tmp_path, "y.jsonl", '{"question": "q", "answer": ["[Nd(C4H5O6)]", "(1, 2)", "[3]", "[]", "(a"]}')
    assert read_dataset("nq_open", fine)[0].answers == ("[Nd(C4H5O6)]", "(1, 2)", "[3]", "[]", "(a")


def test_tables_of_medquad_and_repeated_ids(tmp_path: Path) -> None:
    rows = "question,answer,source,focus_area\nA?,one,GARD,f\nB?,,GARD,f\nC?,three,GARD,f\n"
    questions = read_dataset("medquad", written(tmp_path, "medquad.csv", rows))
    assert [(q.id, q.answers) for q in questions] == [
        ("medquad-medquad-1", ("one",)),
        ("medquad-medquad-3", ("three",)),
    ]
    assert questions[0].meta == {"source": "GARD", "focus": "f"}
    folder = tmp_path / "documents"
    folder.mkdir()
    for number in (1, 2):
        written(folder, f"000000{number}.xml", MEDQUAD)
    assert [q.id for q in read_dataset("medquad", folder)] == ["GARD-0000001-1", "GARD-0000001-1#2"]


def test_a_folder_gives_the_part_asked_for(tmp_path: Path) -> None:
    for part in ("train", "dev", "eval"):
        content = {**FREEBASE, "Questions": [{**FREEBASE["Questions"][0], "Question-ID": part}]}  # type: ignore[dict-item]
        written(tmp_path, f"FreebaseQA-{part}.json", content)
    written(tmp_path, "README.md", "see")
    assert [q.id for q in read_dataset("freebaseqa", tmp_path, split="validation")] == ["dev"]
    assert [q.id for q in read_dataset("freebaseqa", tmp_path, split="test")] == ["eval"]
    with pytest.raises(InputError, match=r"3 data files \(data files: FreebaseQA-dev\.json"):
        read_dataset("freebaseqa", tmp_path)
    with pytest.raises(InputError, match="0 files of the part 'other'"):
        read_dataset("freebaseqa", tmp_path, split="other")
    with pytest.raises(InputError, match="is one file; a part"):
        read_dataset("freebaseqa", tmp_path / "FreebaseQA-dev.json", split="dev")


def test_parquet_as_the_hub_stores_it(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    row, answers = HUB_ROWS["triviaqa"]
    parquet.write_table(pyarrow.Table.from_pylist([row, row]), tmp_path / "validation-00000-of-00001.parquet")
    questions = read_dataset("triviaqa", tmp_path, split="dev")
    assert [q.id for q in questions] == ["1", "1#2"]
    assert questions[1].answers == answers


def test_limits_and_names(tmp_path: Path) -> None:
    path = written(tmp_path, "test.csv", AVIATION)
    assert [q.id for q in read_dataset("aviationqa", path, limit=1)] == ["aviationqa-test-1"]
    assert len(read_dataset("aviationqa", path, limit=9)) == 2
    with pytest.raises(InputError, match="limit of 0"):
        read_dataset("aviationqa", path, limit=0)
    with pytest.raises(InputError, match="no question set 'squad'") as caught:
        read_dataset("squad", path)
    assert "freebaseqa" in caught.value.hint
    with pytest.raises(InputError, match="does not exist"):
        read_dataset("aviationqa", "no/such.csv")
    with pytest.raises(InputError, match="is a file; none is named"):
        read_dataset("jsonl")
