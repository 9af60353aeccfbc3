"""A domain's pairs on disk, and what a person decided about them: accepted, edited, rejected, saved at once.

`qa.jsonl` is what a build reads, `rejected.jsonl` what the gates or a person left out, `review.jsonl` the decisions in
their order. The decisions hold when pairs are synthesised again; a pair changed by hand in qa.jsonl counts as edited.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from gag.atomic import alone
from gag.corpus.synthesis.gates import normalised
from gag.corpus.synthesis.generators import pair_key
from gag.corpus.synthesis.journal import Journal
from gag.corpus.synthesis.splits import QA, documents_of
from gag.errors import InputError
from gag.records import Question, read_questions, write_jsonl

Decision = Literal["accepted", "edited", "rejected"]
REJECTED, REVIEW = "rejected.jsonl", "review.jsonl"


class QaSet:
    """The pairs of one domain, in the folder data/<domain>."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = Journal(folder / REVIEW)
        self._pool: dict[str, Question] = {}
        self._refused: dict[str, dict[str, str]] = {}
        self._decided: dict[str, dict[str, Any]] = {}
        self._load()

    @contextmanager
    def alone(self) -> Iterator[QaSet]:
        """This set, read anew and kept from other processes; raises BusyError while another one changes it."""
        busy = f"Another process is changing the pairs in {self.folder}."
        with alone(self.folder, busy, "Wait for it, or end it.", name=".qa.lock"):
            self._load()
            self._note_changes_by_hand()
            yield self

    @property
    def path(self) -> Path:
        """The file that a build reads."""
        return self.folder / QA

    @property
    def used(self) -> list[Question]:
        """The pairs that a build takes, with the edits in them."""
        return [self._shown(i) for i in self._pool if self._is_used(i)]

    @property
    def rejected(self) -> list[Question]:
        """The pairs that a gate or a person left out; `meta["refused"]` says which gate and why."""
        return [self._shown(i) for i in self._pool if not self._is_used(i)]

    def decision(self, pair_id: str) -> Decision | None:
        """What a person decided about a pair, if anything."""
        decided: Decision | None = self._decided.get(pair_id, {}).get("decision")
        return decided

    def get(self, pair_id: str) -> Question:
        """One pair, used or not; raises InputError for an unknown id."""
        if pair_id not in self._pool:
            raise InputError(f"There is no pair {pair_id!r} in {self.folder}.", "List them: gag qa DOMAIN --list --all")
        return self._shown(pair_id)

    def undecided(self) -> list[Question]:
        """The pairs in use that nobody has decided about."""
        return [q for q in self.used if q.id not in self._decided]

    def decide(self, pair_id: str, decision: Decision, *, question: str = "", answer: str = "") -> None:
        """Record a decision and write the files; an edit needs the new question and answer. Raises InputError."""
        shown = self.get(pair_id)
        entry: dict[str, Any] = {"id": pair_id, "decision": decision}
        if decision == "edited":
            if not question.strip() or not answer.strip():
                raise InputError(f"The pair {pair_id} needs a question and an answer.", "Give both, or reject it.")
            answers = list(shown.answers) if shown.answers and answer.strip() == shown.answers[0] else [answer.strip()]
            entry |= {"question": question.strip(), "answers": answers, "of": self._original(pair_id)}
        elif decision == "accepted" and self._decided.get(pair_id, {}).get("question"):
            kept = ("question", "answer", "answers", "of")
            entry |= {key: value for key, value in self._decided[pair_id].items() if key in kept}  # an edit stays
        with self._log as log:
            log.append(entry)
        self._decided[pair_id] = entry
        self.save()

    def replace(
        self,
        style: str,
        accepted: Sequence[Question],
        refused: Sequence[Question],
        texts: Mapping[str, str],
        *,
        asked: Collection[str] | None = None,
    ) -> int:
        """Put the result of a synthesis in the place of the earlier one; returns how many earlier rows stay.

        `asked` are the ids of the passages that it was about; None is all.

        What a person decided holds, also where the passage was renumbered. An earlier pair goes where new ones of its
        style are about the same passage, and where the passage is gone or does not say its quote any more (`texts`:
        all passages by id). Everything else stays: other styles, pairs added by hand, and passages that this run
        brought nothing about.
        """
        self._note_changes_by_hand()
        new = {q.id: self._with_distractors(q) for q in (*accepted, *refused)}
        self._follow_moved(new, texts)
        covered = {passage for question in accepted for passage in passages_of(question)}
        kept = {}
        for pair_id, row in self._pool.items():
            undecided = row.meta.get("style") == style and pair_id not in self._decided
            about = passages_of(row)
            looked_at = asked is None or not set(about).isdisjoint(asked)
            replaced = undecided and (looked_at if pair_id in self._refused else not covered.isdisjoint(about))
            if pair_id not in new and not replaced and is_said(row, texts):
                kept[pair_id] = row
        self._refused = {i: r for i, r in self._refused.items() if i in kept}
        self._refused |= {q.id: dict(q.meta["refused"]) for q in refused}
        self._pool = {**kept, **new}
        self.save()
        return len(kept)

    def _with_distractors(self, question: Question) -> Question:
        """A pair that was made for RAFT too, in the same words, with the distractors that it had there."""
        before = self._pool.get(question.id)
        if before is None or "distractors" not in before.meta or "distractors" in question.meta:
            return question
        return replace(question, meta={**question.meta, "distractors": before.meta["distractors"]})

    def _original(self, pair_id: str) -> list[str] | None:
        """Question and answer as they were made, before any edit; None where that is not known any more."""
        before = self._decided.get(pair_id, {})
        if before.get("question"):
            return before.get("of")
        row = self._pool[pair_id]
        return [row.question, row.answers[0]] if row.answers else None

    def _follow_moved(self, new: Mapping[str, Question], texts: Mapping[str, str]) -> None:
        """Decisions about pairs whose quote stands in another passage of its document now.

        They go to the pair that was made of that passage in the same words; where there is none, the row goes there.
        """
        with self._log as log:
            for pair_id, row in list(self._pool.items()):
                here = passages_of(row)
                if pair_id not in self._decided or len(here) != 1 or pair_id in new or is_said(row, texts):
                    continue
                quote, begins = normalised(str(row.meta.get("quote") or "")), f"{row.meta.get('document')}#"
                there = [p for p, text in texts.items() if p.startswith(begins) and quote in normalised(text)]
                if not quote or not there:
                    continue
                entry, original = self._decided[pair_id], self._original(pair_id)
                twin = f"{row.domain}-{pair_key(there[:1], *original)}" if original else ""
                if twin in new:
                    self._decided[twin] = {**entry, "id": twin}
                    log.append(self._decided[twin])
                else:
                    self._pool[pair_id] = replace(row, meta={**row.meta, "passage": there[0]})

    def save(self) -> None:
        """Write both files, the rejected ones first, so that nothing is in neither."""
        write_jsonl(self.folder / REJECTED, (_row(q) for q in self.rejected))
        write_jsonl(self.path, (_row(q) for q in self.used))

    def _load(self) -> None:
        self._pool, self._refused, self._decided = {}, {}, {}
        for name in (REJECTED, QA):
            path = self.folder / name
            if path.is_file() and path.stat().st_size:
                for row in read_questions(path):
                    refused = row.meta.get("refused")
                    if name == REJECTED and isinstance(refused, dict):
                        self._refused[row.id] = {str(k): str(v) for k, v in refused.items()}
                    self._pool[row.id] = row
        for entry in self._log.entries():
            if entry.get("id") in self._pool and entry.get("decision") in ("accepted", "edited", "rejected"):
                self._decided[entry["id"]] = entry

    def _is_used(self, pair_id: str) -> bool:
        decision = self.decision(pair_id)
        return pair_id not in self._refused if decision is None else decision != "rejected"

    def _shown(self, pair_id: str) -> Question:
        row, entry = self._pool[pair_id], self._decided.get(pair_id, {})
        meta = {k: v for k, v in row.meta.items() if k not in ("review", "refused")}
        if "decision" in entry:
            meta["review"] = entry["decision"]
        if not self._is_used(pair_id):
            meta["refused"] = self._refused.get(pair_id, {"gate": "review", "reason": "rejected by a person"})
        changed = {"question": entry["question"], "answers": _answers(entry)} if entry.get("question") else {}
        return replace(row, meta=meta, **changed)

    def _note_changes_by_hand(self) -> None:
        """Rows whose text is not what their id was made of, or what a person wrote last, were edited in the file."""
        with self._log as log:
            for row in self._pool.values():
                if "style" not in row.meta or not row.answers:
                    continue
                before = self._decided.get(row.id, {})
                if before.get("question"):
                    known = (row.question, row.answers) == (before["question"], _answers(before))
                else:
                    made = pair_key(passages_of(row), row.question, row.answers[0])
                    known = row.id.endswith(f"-{made}") and len(row.answers) == 1
                if not known and before.get("decision") != "rejected":
                    entry: dict[str, Any] = {"id": row.id, "decision": "edited", "question": row.question}
                    entry |= {"answers": list(row.answers), "of": self._original(row.id) if before else None}
                    log.append(entry)
                    self._decided[row.id] = entry


def _answers(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The answers of an edit; an earlier version wrote one."""
    return tuple(entry["answers"]) if entry.get("answers") else (entry["answer"],)


def passages_of(question: Question) -> list[str]:
    """The passages that a pair was made from, the oracle first."""
    passages = question.meta.get("passages") or [question.meta.get("passage")]
    return [str(p) for p in passages if p]


def is_said(row: Question, texts: Mapping[str, str]) -> bool:
    """Whether the passages of a pair are there and still say its quotes; always for one that was added by hand."""
    if "style" not in row.meta:
        return True
    passages = passages_of(row)
    quotes = row.meta.get("quotes") or [row.meta.get("quote") or ""]
    return all(
        p in texts and normalised(str(q)) in normalised(texts[p]) for p, q in zip(passages, quotes, strict=False)
    )


def by_document(questions: Iterable[Question]) -> dict[str, list[Question]]:
    """Pairs by the (first) document they are about; those added by hand under `(by hand)`."""
    found: dict[str, list[Question]] = {}
    for question in questions:
        found.setdefault(next(iter(documents_of(question)), "(by hand)"), []).append(question)
    return found


def _row(question: Question) -> dict[str, Any]:
    row: dict[str, Any] = {"id": question.id, "question": question.question, "answers": list(question.answers)}
    if question.domain is not None:
        row["domain"] = question.domain
    return {**row, "meta": dict(question.meta)}
