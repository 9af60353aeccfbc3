"""Rows of the specialist sets: aviation, law, mathematics and medicine."""

from __future__ import annotations

import re
from typing import Any

from gag.evaluation.datasets.fields import answer_list, identifier, pick, records, text
from gag.evaluation.datasets.rows import Row
from gag.records import Question

_ACCIDENT = re.compile(r"accident no\.? ?([A-Z]{3}\d{2}[A-Z]{2}\d{3}\w?)")


def aviationqa(row: Row) -> Question:
    """AviationQA (Agarwal et al. 2022): facts of accident reports; the accident's number in `meta`."""
    question = text(row, "Question", "question")
    accident = _ACCIDENT.search(question)
    meta = {"accident_no": accident[1]} if accident else {}
    return Question("", question, answer_list(row, [text(row, "Answer", "answer")]), meta=meta)


def housing_qa(row: Row) -> Question:
    """housing_qa (Zheng et al. 2025): the question is asked of every state, so the state and year are put before it."""
    state, asked = text(row, "state"), text(row, "question")
    statutes = [
        {"citation": str(statute.get("citation", "")), "text": str(statute.get("excerpt", ""))}
        for statute in records(row.fields.get("statutes"))
    ]
    group = identifier(row, "question_group")
    meta: dict[str, Any] = {"state": state, "question_raw": asked, **({"question_group": group} if group else {})}
    return Question(
        f"housing_qa-{idx}" if (idx := identifier(row, "idx")) else "",
        f"Consider statutory law for {state} in the year 2021. {asked}",
        answer_list(row, [text(row, "answer")]),
        meta={**meta, **({"statutes": statutes} if statutes else {})},
    )


def gsm8k(row: Row) -> Question:
    """GSM8K (Cobbe et al. 2021): what follows "####", without commas; the worked solution in `meta`."""
    solution, mark, answer = text(row, "answer").rpartition("####")
    if not mark or not answer.strip():
        raise row.refused("the answer has no '#### ' before its number")
    return Question(
        "", text(row, "question"), answer_list(row, [answer.replace(",", "")]), meta={"solution": solution.strip()}
    )


def medquad(row: Row) -> Question | None:
    """MedQuAD (Ben Abacha and Demner-Fushman 2019); pairs whose answer the authors had to remove are passed over."""
    answer = pick(row, "answer")
    if answer is None or (isinstance(answer, str) and not answer.strip()):
        return None
    names = {"source": ("source", "document_source"), "qtype": ("question_type",)}
    names["focus"] = ("question_focus", "focus_area")
    meta = {key: found for key, fields in names.items() if (found := identifier(row, *fields))}
    identity = identifier(row, "question_id")
    return Question(
        f"{meta.get('source', 'medquad')}-{identity}" if identity else "",
        " ".join(text(row, "question").split()),
        answer_list(row, [re.sub(r"[^\S\n]+", " ", text(row, "answer"))]),
        meta=meta,
    )


def pubmedqa(row: Row) -> Question:
    """PubMedQA (Jin et al. 2019): yes, no or maybe; the abstract's parts and its conclusion in `meta`."""
    decision = text(row, "final_decision").lower()
    if decision not in ("yes", "no", "maybe"):
        raise row.refused(f"final_decision is {decision!r:.40}, not yes, no or maybe")
    context = row.fields.get("context")
    parts = context.get("contexts") if isinstance(context, dict) else row.fields.get("CONTEXTS")
    conclusion = row.fields.get("LONG_ANSWER", row.fields.get("long_answer"))
    meta: dict[str, Any] = {"contexts": [str(part) for part in parts]} if isinstance(parts, list) else {}
    if isinstance(conclusion, str) and conclusion.strip():
        meta["long_answer"] = conclusion.strip()
    return Question(identifier(row, "pubid"), text(row, "QUESTION", "question"), (decision,), meta=meta)
