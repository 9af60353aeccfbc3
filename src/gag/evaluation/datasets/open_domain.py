"""Rows of the six open-domain sets that make up the paper's general questions."""

from __future__ import annotations

import json
import re
from typing import Any

from gag.evaluation.datasets.fields import answer_list, distinct, identifier, pick, records, text
from gag.evaluation.datasets.rows import Row
from gag.records import Question

_DESCRIPTION = re.compile(r'\(description (?:"((?:[^"\\]|\\.)*)"|([^()"]+))\)')


def freebaseqa(row: Row) -> Question:
    """FreebaseQA (Jiang et al. 2019): the names of every parse's answers."""
    question = text(row, "RawQuestion")
    names: list[str] = []
    for parse in records(pick(row, "Parses")):
        for answer in records(parse.get("Answers")):
            found = answer.get("AnswersName")
            names += [found] if isinstance(found, str) else found if isinstance(found, list) else []
    return Question(identifier(row, "Question-ID"), question, answer_list(row, names))


def hotpotqa(row: Row) -> Question:
    """HotpotQA (Yang et al. 2018): the answer; paragraphs, type and level in `meta`."""
    meta = {key: row.fields[key] for key in ("type", "level") if isinstance(row.fields.get(key), str)}
    contexts = _paragraphs(row.fields.get("context"))
    return Question(
        identifier(row, "_id", "id"),
        text(row, "question"),
        answer_list(row, [text(row, "answer")]),
        meta={**meta, "contexts": contexts} if contexts else meta,
    )


def nq_open(row: Row) -> Question:
    """Natural Questions, open (Lee et al. 2019)."""
    return Question("", text(row, "question"), answer_list(row, pick(row, "answer")))


def triviaqa(row: Row) -> Question:
    """TriviaQA (Joshi et al. 2017): the value, then its aliases."""
    answer = pick(row, "Answer", "answer")
    if not isinstance(answer, dict):
        raise row.refused(f"the answer is {answer!r:.60}, not an object with a value and aliases")
    value, aliases = answer.get("Value", answer.get("value")), answer.get("Aliases", answer.get("aliases"))
    if not isinstance(value, str) or value == "<unk>":
        raise row.refused("there is no answer; the test part has none, take dev (validation)")
    return Question(
        identifier(row, "QuestionId", "question_id"),
        text(row, "Question", "question"),
        answer_list(row, [value, *(alias for alias in aliases or () if isinstance(alias, str))]),
    )


def webquestions(row: Row) -> Question:
    """WebQuestions (Berant et al. 2013), its own files or the hub's."""
    question = text(row, "utterance", "question", "qText")
    if "targetValue" not in row.fields:
        return Question(identifier(row, "qId"), question, answer_list(row, pick(row, "answers", "targetValue")))
    target = text(row, "targetValue")
    if "".join(_DESCRIPTION.sub("", target).split()) != "(list)":
        raise row.refused(f"targetValue is {target!r:.60}, not (list (description …) …)")
    names = [re.sub(r"\\(.)", r"\1", quoted) or bare for quoted, bare in _DESCRIPTION.findall(target)]
    return Question("", question, answer_list(row, names))


def popqa(row: Row) -> Question:
    """PopQA (Mallen et al. 2023): possible_answers is a JSON list inside a cell; the subject's popularity in `meta`."""
    cell = text(row, "possible_answers")
    try:
        answers = json.loads(cell)
    except ValueError:
        answers = None
    if not isinstance(answers, list):
        raise row.refused(f"possible_answers is {cell!r:.60}, not a JSON list")
    answers = distinct(answer for answer in answers if isinstance(answer, str))
    meta = {key: row.fields[key] for key in ("prop", "s_pop") if row.fields.get(key) not in (None, "")}
    return Question(identifier(row, "id"), text(row, "question"), answer_list(row, answers), meta=meta)


def _paragraphs(context: Any) -> list[dict[str, str]]:
    """[[title, [sentence, …]], …] of the file, or the hub's {"title": […], "sentences": [[…]]}."""
    pairs = context
    if isinstance(context, dict):
        pairs = list(zip(context.get("title", ()), context.get("sentences", ()), strict=False))
    if not isinstance(pairs, list):
        return []
    return [
        {"title": str(pair[0]), "text": "".join(map(str, pair[1]))}
        for pair in pairs
        if isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[1], list)
    ]
