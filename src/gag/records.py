"""Records that pass between the rooms, and their JSON Lines files.

A reader names the file and the line of what it refuses; a writer is atomic.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gag.errors import InputError, RunError

GENERAL = "general"
"""The name of the route that answers with the base alone."""

_Item = TypeVar("_Item")
_Record = TypeVar("_Record", "Question", "Document", "Passage")

MAX_NESTING = 64
"""Levels of lists and objects that a record may have."""


@dataclass(frozen=True)
class Question:
    """A question, its accepted answers (may be empty), and the domain it belongs to where known."""

    id: str
    question: str
    answers: tuple[str, ...] = ()
    domain: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """One source document as plain text."""

    id: str
    text: str
    title: str | None = None
    source: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Passage:
    """A piece of a document, as retrieval and synthesis use it.

    `text` is the document's text from character `span[0]` to `span[1]`, with the white space that follows it there, so
    that a document's passages (cut without overlap) join to its text. `heading` is the path of headings it stands
    under ("Methods > Mice"); `page` counts from 1.
    """

    id: str
    document_id: str
    text: str
    heading: str | None = None
    span: tuple[int, int] | None = None
    page: int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Route:
    """The chosen route and the score of every route (a cosine similarity, paper eq. for r(x))."""

    name: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Citation:
    """Words that an answer rests on: where they stand in a passage, word for word, or None for both if nowhere."""

    quote: str
    passage: str | None = None
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class Answer:
    """What a method says to one question and what it cost.

    `knowledge_tokens` counts what was added to the base's prompt for the domain's sake: slots for gag, text tokens
    for a method that adds text. `timings` are seconds by part; for a question answered in a batch, its share.
    `passages` are the ids of the retrieved passages that were used, best first, with their `passage_scores`;
    `dropped_passages` counts those that did not fit the base's context. `citations` are the quotes of a method that
    quotes its passages, None of one that does not. `background_probability` is the geometric mean of the probabilities
    that the domain's expert gave the tokens of its background: how sure it was, from 0 to 1; None where it wrote none.
    """

    question_id: str
    text: str
    method: str
    route: Route | None = None
    prompt_tokens: int = 0
    knowledge_tokens: int = 0
    completion_tokens: int = 0
    timings: Mapping[str, float] = field(default_factory=dict)
    background: str | None = None
    background_probability: float | None = None
    passages: tuple[str, ...] = ()
    passage_scores: tuple[float, ...] = ()
    dropped_passages: int = 0
    citations: tuple[Citation, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """This answer as a JSON-ready dictionary."""
        return asdict(self)


def read_questions(path: str | Path, *, require_answers: bool = False) -> list[Question]:
    """Questions of a JSONL file, in order; raises InputError with file and line for anything it refuses."""

    def question(row: dict[str, Any], where: str) -> Question:
        made = Question(
            id=_text(row, "id", where),
            question=_text(row, "question", where),
            answers=_answers(row, where),
            domain=_optional_text(row, "domain", where),
            meta=_meta(row, where, known=("id", "question", "answers", "domain", "meta")),
        )
        if require_answers and not all(a.strip() for a in made.answers or ("",)):
            raise InputError(
                f"{where}: the question {made.id!r} has no answer.",
                'Training and evaluation need at least one: "answers": ["…"].',
            )
        for answer in made.answers if require_answers else ():
            refuse_written_list(answer, where)
        return made

    return _read(Path(path), "question", '{"id", "question", "answers"}', question)


def read_documents(path: str | Path) -> list[Document]:
    """Documents of a JSONL file, in order; raises InputError with file and line."""

    def document(row: dict[str, Any], where: str) -> Document:
        return Document(
            id=_text(row, "id", where),
            text=_text(row, "text", where),
            title=_optional_text(row, "title", where),
            source=_optional_text(row, "source", where),
            meta=_meta(row, where, known=("id", "text", "title", "source", "meta")),
        )

    return _read(Path(path), "document", '{"id", "text"}', document)


def read_passages(path: str | Path) -> list[Passage]:
    """Passages of a JSONL file, in order; raises InputError with file and line."""

    def passage(row: dict[str, Any], where: str) -> Passage:
        return Passage(
            id=_text(row, "id", where),
            document_id=_text(row, "document_id", where),
            text=_text(row, "text", where),
            heading=_optional_text(row, "heading", where),
            span=_span(row, where),
            page=_page(row, where),
            meta=_meta(row, where, known=("id", "document_id", "text", "heading", "span", "page", "meta")),
        )

    return _read(Path(path), "passage", '{"id", "document_id", "text"}', passage)


def write_jsonl(path: str | Path, records: Iterable[Any]) -> None:
    """Write dataclass records or dictionaries, one a line, to a temporary sibling that is then renamed.

    Raises RunError where the file cannot be written (no disk space, no permission); what was there before stays.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as out:
            for record in records:
                row = record if isinstance(record, dict) else _without_empty(asdict(record))
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
        partial.replace(path)
    except OSError as error:
        raise RunError(
            f"{path} could not be written: {error.strerror or error}.",
            "Make room or give permission there, then run the same command again.",
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def passage_text(passage: Passage) -> str:
    """A passage as a model reads it: under its heading, where its text does not begin with one of its own."""
    text = passage.text.strip()
    last = (passage.heading or "").rpartition(" > ")[2]
    return text if not last or last in text.partition("\n")[0] else f"{passage.heading}\n{text}"


def spread(items: Sequence[_Item], limit: int | None) -> list[_Item]:
    """At most `limit` of `items` (None: all), in order and evenly spread over them."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[i * len(items) // limit] for i in range(limit)]


def content_hash(*parts: Any) -> str:
    """sha256 (hex) over the canonical JSON of `parts`: the key of a step by its inputs."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def questions_hash(questions: Sequence[Question]) -> str:
    """sha256 over ids, wording and answers of `questions`, in order."""
    return content_hash([[q.id, q.question, list(q.answers)] for q in questions])


def pair_mark(question: Question) -> str:
    """What a pair is known by: its wording and answers, whatever its id (16 hex digits)."""
    return content_hash(question.question, list(question.answers))[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, set, frozenset)):
        return sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"cannot hash a {type(value).__name__}")


def _without_empty(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None and value != {}}


def _read(path: Path, what: str, shape: str, make: Callable[[dict[str, Any], str], _Record]) -> list[_Record]:
    """The records that `make` makes of a file's lines, at least one, each with an id of its own."""
    found: list[_Record] = []
    seen: dict[str, int] = {}
    for number, row in _rows(path):
        where = f"{path} line {number}"
        record = make(row, where)
        if record.id in seen:
            raise InputError(
                f"{where}: the id {record.id!r} is already used in line {seen[record.id]}.",
                f"Give every {what} an id of its own.",
            )
        seen[record.id] = number
        found.append(record)
    if not found:
        raise InputError(f"{path} has no {what}s.", f"Write one JSON object a line: {shape}.")
    return found


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.", "Check the path; it is relative to the current folder.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, not a file.", "Name a .jsonl file in it.") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text (byte {error.start}).", "Save it as UTF-8, one JSON object a line."
        ) from None
    except OSError as error:
        raise InputError(f"{path} could not be read: {error.strerror or error}.", "Check the file.") from None
    if not text.strip():
        raise InputError(f"{path} is empty.", "Write one JSON object a line.")
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{path} line {number}: not JSON ({_json_problem(error)}).", "Mend that line, or remove it."
            ) from None
        if not isinstance(row, dict):
            raise InputError(
                f"{path} line {number}: a JSON {type(row).__name__}, not an object.",
                'Write each record as {"id": …, …} on one line.',
            )
        _refuse_what_cannot_be_kept(row, line, f"{path} line {number}")
        yield number, row


def _json_problem(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "nested too deeply" if isinstance(error, RecursionError) else "a number with too many digits"


def _refuse_what_cannot_be_kept(row: dict[str, Any], line: str, where: str) -> None:
    """Lone surrogates (an escape that is half a character) cannot be written as UTF-8, nor deep nesting copied."""
    level: list[Any] = [row]
    for _ in range(MAX_NESTING):
        level = [
            item
            for value in level
            if isinstance(value, (dict, list))
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            break
    else:
        raise InputError(f"{where}: nested too deeply (over {MAX_NESTING} levels).", "Flatten that record.")
    if "\\ud" in line.lower():
        try:
            json.dumps(row, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"{where}: the escape \\u{ord(error.object[error.start]):04x} is half a character.",
                "Write the character itself, or both halves of its escape.",
            ) from None


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    if key not in row:
        have = ", ".join(sorted(row)) or "nothing"
        raise InputError(f"{where}: the field {key!r} is missing (found: {have}).", f"Add {key!r} to that line.")
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: {key!r} must be a non-empty text, not {value!r:.60}.", "Mend that field.")
    return value


def _optional_text(row: Mapping[str, Any], key: str, where: str) -> str | None:
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"{where}: {key!r} must be a text, not {value!r:.60}.", "Mend that field or remove it.")
    return value


def _answers(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    value = row.get("answers", [])
    if not isinstance(value, list) or not all(isinstance(a, str) for a in value):
        raise InputError(
            f"{where}: 'answers' must be a list of texts, not {value!r:.60}.", 'Write it as ["first", "second"].'
        )
    return tuple(value)


def refuse_written_list(answer: str, where: str) -> None:
    """Raise InputError for an answer that is a list of texts written out as one text, with the list it should be."""
    written = written_list(answer)
    if written is not None:
        raise InputError(
            f"{where}: an answer is a list written as a text: {answer!r:.60}.",
            f"Write the list itself: {json.dumps(written, ensure_ascii=False):.100}",
        )


def written_list(answer: str) -> list[str] | None:
    """The items of an answer such as "['a', 'b']"; None for one that is no list, or one of numbers only ("(3, 4)")."""
    if not (answer.strip()[:1] in ("[", "(") and answer.strip()[-1:] in ("]", ")")):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(answer.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, (list, tuple)) and any(isinstance(item, str) for item in value):
            return [str(item) for item in value]
    return None


def _span(row: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    value = row.get("span")
    if value is None:
        return None
    if not (isinstance(value, list) and [type(part) for part in value] == [int, int] and 0 <= value[0] < value[1]):
        raise InputError(
            f"{where}: 'span' must be two whole numbers, start and end, not {value!r:.60}.",
            "Mend that field or remove it.",
        )
    return value[0], value[1]


def _page(row: Mapping[str, Any], where: str) -> int | None:
    value = row.get("page")
    if value is not None and (type(value) is not int or value < 1):
        raise InputError(
            f"{where}: 'page' must be a whole number from 1, not {value!r:.60}.", "Mend that field or remove it."
        )
    return value


def _meta(row: Mapping[str, Any], where: str, known: Sequence[str]) -> dict[str, Any]:
    """The `meta` object, plus every field that is not of the record itself."""
    meta = row.get("meta", {})
    if not isinstance(meta, dict):
        raise InputError(f"{where}: 'meta' must be an object, not {meta!r:.60}.", "Mend that field or remove it.")
    return {**{key: value for key, value in row.items() if key not in known}, **meta}
