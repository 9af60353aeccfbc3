"""Records and their files: what is read, what is refused and in which words, and that writing is all or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gag.errors import InputError, RunError
from gag.records import (
    Answer,
    Document,
    Passage,
    Question,
    Route,
    content_hash,
    questions_hash,
    read_documents,
    read_passages,
    read_questions,
    spread,
    write_jsonl,
)

GOOD = '{"id": "q1", "question": "How large?", "answers": ["5 nm"]}'
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: bool(text.strip()))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def written(content: str | bytes) -> Path:
        path = tmp_path / "qa.jsonl"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


def test_a_question_has_all_its_fields(write: Callable[[str | bytes], Path]) -> None:
    row = {"id": "a", "question": "Why?", "answers": ["x", "y"], "domain": "lab", "meta": {"fact": 3}, "split": "dev"}
    assert read_questions(write(json.dumps(row))) == [
        Question("a", "Why?", ("x", "y"), "lab", {"split": "dev", "fact": 3}),
    ]


def test_only_id_and_question_are_needed(write: Callable[[str | bytes], Path]) -> None:
    assert read_questions(write('{"id": "a", "question": "Why?"}\n')) == [Question("a", "Why?")]


def test_a_document_has_all_its_fields(write: Callable[[str | bytes], Path]) -> None:
    row = {"id": "a", "title": "T", "text": "Long.", "source": "s.pdf", "meta": {"page": 1}}
    assert read_documents(write(json.dumps(row))) == [Document("a", "Long.", "T", "s.pdf", {"page": 1})]


def test_a_passage_has_all_its_fields_and_is_read_as_written(
    write: Callable[[str | bytes], Path], tmp_path: Path
) -> None:
    row = {
        "id": "a#1",
        "document_id": "a",
        "text": "Long.\n\n",
        "heading": "T > S",
        "span": [0, 7],
        "page": 2,
        "lab": 3,
    }
    passage = Passage("a#1", "a", "Long.\n\n", "T > S", (0, 7), 2, {"lab": 3})
    assert read_passages(write(json.dumps(row))) == [passage]
    write_jsonl(tmp_path / "again.jsonl", [passage, Passage("a#2", "a", "More.")])
    assert read_passages(tmp_path / "again.jsonl") == [passage, Passage("a#2", "a", "More.")]
    assert len({passage, Passage("a#2", "a", "More.")}) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "a", "text": "x"}, "'document_id' is missing"),
        ({"id": "a", "document_id": "d", "text": " "}, "'text' must be a non-empty text"),
        ({"id": "a", "document_id": "d", "text": "x", "span": [3, 2]}, "'span' must be two whole numbers"),
        ({"id": "a", "document_id": "d", "text": "x", "span": "0-1"}, "'span' must be two whole numbers"),
        ({"id": "a", "document_id": "d", "text": "x", "span": [False, True]}, "'span' must be two whole numbers"),
        ({"id": "a", "document_id": "d", "text": "x", "page": 0}, "'page' must be a whole number from 1"),
    ],
)
def test_a_bad_passage_is_refused(row: dict[str, Any], message: str, write: Callable[[str | bytes], Path]) -> None:
    with pytest.raises(InputError, match=message):
        read_passages(write(json.dumps(row)))


def test_two_passages_cannot_have_one_id(write: Callable[[str | bytes], Path]) -> None:
    row = json.dumps({"id": "a", "document_id": "d", "text": "x"})
    with pytest.raises(InputError, match="line 2: the id 'a' is already used in line 1"):
        read_passages(write(f"{row}\n{row}\n"))


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.encode() + b"\r\n",
        b"\n\r\n  \n" + GOOD.encode() + b"\n\n",
        GOOD.encode() + b"\r\n\r\n",
    ],
    ids=["bom", "crlf", "blank lines", "crlf and blank lines"],
)
def test_editors_habits_are_accepted(content: bytes, write: Callable[[str | bytes], Path]) -> None:
    assert read_questions(write(content)) == [Question("q1", "How large?", ("5 nm",))]


def test_a_line_separator_inside_a_text_is_no_new_line(write: Callable[[str | bytes], Path]) -> None:
    row = {"id": "a", "question": "One\u2028two\x85three?"}
    assert read_questions(write(json.dumps(row, ensure_ascii=False)))[0].question == row["question"]


BAD: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "qa.jsonl is empty"),
    "only blank": ("\n \r\n", "qa.jsonl is empty"),
    "utf-16": (GOOD.encode("utf-16"), "qa.jsonl is not UTF-8 text (byte 0)"),
    "latin-1": (GOOD.replace("nm", "µm").encode("latin-1"), "is not UTF-8 text"),
    "line 17": ("\n".join([GOOD.replace("q1", f"q{n}") for n in range(16)] + ["{oops"]), "line 17: not JSON"),
    "cut off": (GOOD[:-5], "line 1: not JSON"),
    "a list": ("[1, 2]", "line 1: a JSON list, not an object"),
    "a text": ('"id"', "line 1: a JSON str, not an object"),
    "missing id": ('{"question": "Why?"}', "line 1: the field 'id' is missing (found: question)"),
    "missing question": ('{"id": "a", "answer": "x"}', "the field 'question' is missing (found: answer, id)"),
    "nothing in it": ("{}", "the field 'id' is missing (found: nothing)"),
    "number id": ('{"id": 7, "question": "Why?"}', "'id' must be a non-empty text, not 7"),
    "blank question": ('{"id": "a", "question": "  "}', "'question' must be a non-empty text"),
    "null question": ('{"id": "a", "question": null}', "'question' must be a non-empty text, not None"),
    "duplicate id": (GOOD + "\n\n" + GOOD, "line 3: the id 'q1' is already used in line 1"),
    "answers a text": ('{"id": "a", "question": "Why?", "answers": "x"}', "'answers' must be a list of texts, not 'x'"),
    "answers numbers": ('{"id": "a", "question": "Why?", "answers": [1]}', "'answers' must be a list of texts"),
    "answers null": ('{"id": "a", "question": "Why?", "answers": null}', "'answers' must be a list of texts, not None"),
    "domain number": ('{"id": "a", "question": "Why?", "domain": 1}', "'domain' must be a text"),
    "meta list": ('{"id": "a", "question": "Why?", "meta": []}', "'meta' must be an object"),
    "lone surrogate": ('{"id": "a", "question": "x \\ud83d y"}', "line 1: the escape \\ud83d is half a character"),
    "surrogate key": ('{"id": "a", "question": "x", "meta": {"\\uDE00": 1}}', "the escape \\ude00 is half a character"),
    "nested far": ('{"id": "a", "question": "x", "meta": ' + "[" * 100_000, "line 1: not JSON (nested too deeply)"),
    "nested some": (
        '{"id": "a", "question": "x", "meta": {"a": ' + "[" * 80 + "]" * 80 + "}}",
        "line 1: nested too deeply",
    ),
    "endless number": ('{"id": ' + "1" * 5000 + "}", "line 1: not JSON (a number with too many digits)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_questions_are_refused_with_file_and_line(case: str, write: Callable[[str | bytes], Path]) -> None:
    content, expected = BAD[case]
    with pytest.raises(InputError) as caught:
        read_questions(write(content))
    assert expected in caught.value.message
    assert "qa.jsonl" in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400
    assert caught.value.hint


def test_a_whole_surrogate_pair_is_a_character(write: Callable[[str | bytes], Path]) -> None:
    assert read_questions(write('{"id": "a", "question": "\\ud83d\\ude00?"}'))[0].question == "😀?"


def test_a_list_written_as_a_text_is_not_trained_on(write: Callable[[str | bytes], Path]) -> None:
    path = write('{"id": "a", "question": "?", "answers": ["[\'one\', 2]"]}')
    with pytest.raises(InputError, match="line 1: an answer is a list written as a text") as caught:
        read_questions(path, require_answers=True)
    assert '["one", "2"]' in caught.value.hint
    assert read_questions(path)[0].answers == ("['one', 2]",), "not asked for answers, it is only read"
    assert read_questions(write('{"id": "a", "question": "?", "answers": ["(3, 4)"]}'), require_answers=True)


def test_answers_can_be_required(write: Callable[[str | bytes], Path]) -> None:
    path = write(GOOD + '\n{"id": "b", "question": "Why?", "answers": [" "]}')
    assert len(read_questions(path)) == 2
    with pytest.raises(InputError, match=r"line 2: the question 'b' has no answer"):
        read_questions(path, require_answers=True)


@pytest.mark.parametrize("read", [read_questions, read_documents])
def test_missing_files_and_folders_are_named(read: Callable[[Path], list[Any]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl does not exist"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="is a folder, not a file"):
        read(tmp_path)
    loop = tmp_path / "loop.jsonl"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match=r"loop\.jsonl could not be read"):
        read(loop)


def test_documents_are_refused_likewise(write: Callable[[str | bytes], Path]) -> None:
    with pytest.raises(InputError, match="line 1: the field 'text' is missing"):
        read_documents(write('{"id": "a"}'))
    with pytest.raises(InputError, match="line 2: the id 'a' is already used in line 1"):
        read_documents(write('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}'))
    with pytest.raises(InputError, match="'title' must be a text"):
        read_documents(write('{"id": "a", "text": "x", "title": 1}'))


QUESTIONS = st.lists(
    st.builds(
        Question,
        id=TEXT,
        question=TEXT,
        answers=st.lists(TEXT, max_size=2).map(tuple),
        domain=st.none() | TEXT,
        meta=st.dictionaries(TEXT, JSON, max_size=2),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda question: question.id,
)


@given(questions=QUESTIONS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_written_is_read_back(questions: list[Question], tmp_path: Path) -> None:
    write_jsonl(tmp_path / "deep" / "qa.jsonl", questions)
    again = read_questions(tmp_path / "deep" / "qa.jsonl")
    assert again == questions
    assert questions_hash(again) == questions_hash(questions)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "qa.jsonl"
    write_jsonl(path, [{"id": "a"}])

    def interrupted() -> Iterator[dict[str, str]]:
        yield {"id": "b"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(path, interrupted())
    assert path.read_text() == '{"id": "a"}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    def full() -> Iterator[dict[str, str]]:
        raise OSError(28, "No space left on device")
        yield {}

    with pytest.raises(RunError, match=r"out\.jsonl could not be written: No space left on device"):
        write_jsonl(tmp_path / "out.jsonl", full())
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="could not be written"):
        write_jsonl(tmp_path / "file" / "out.jsonl", [])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_empty_fields_are_left_out_and_text_stays_readable(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "p.jsonl", [Passage("p1", "d1", "5 µm")])
    assert (tmp_path / "p.jsonl").read_text("utf-8") == '{"id": "p1", "document_id": "d1", "text": "5 µm"}\n'


def test_an_answer_is_json_ready() -> None:
    answer = Answer("q1", "5 nm", "gag", Route("lab", {"general": 0.1, "lab": 0.9}), 12, 1, 3, {"route": 0.1})
    row = json.loads(json.dumps(answer.to_json()))
    assert row["route"] == {"name": "lab", "scores": {"general": 0.1, "lab": 0.9}}
    assert row["knowledge_tokens"] == 1


def test_hashes_see_content_and_order_and_nothing_else() -> None:
    assert content_hash({"a": 1, "b": (1, 2)}, Path("x")) == content_hash({"b": [1, 2], "a": 1}, "x")
    assert content_hash({"b", "a"}) == content_hash(["a", "b"])
    assert content_hash("ab") != content_hash("a", "b")
    assert content_hash("\ud800") != content_hash("\ud801")
    with pytest.raises(TypeError, match="cannot hash a object"):
        content_hash(object())
    one, two = Question("a", "x"), Question("b", "y")
    assert questions_hash([one, two]) != questions_hash([two, one])
    assert questions_hash([one]) != questions_hash([Question("a", "x", ("z",))])


def test_an_empty_first_answer_is_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "qa.jsonl"
    path.write_text('{"id": "a", "question": "what?", "answers": ["", "x"]}\n', encoding="utf-8")
    with pytest.raises(InputError, match="line 1: the question 'a' has no answer"):
        read_questions(path, require_answers=True)


def test_spread() -> None:
    assert spread(range(10), 3) == [0, 3, 6]
    assert spread(range(3), 3) == [0, 1, 2]
    assert spread([1, 2], 5) == spread([1, 2], None) == [1, 2]
