"""The extractive generator: what it asks about made-up machines, tables, lists, definitions; measured on the labs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gag.config import SynthesisConfig
from gag.corpus.language.topics import Corpus, read_corpus, subject_of
from gag.corpus.synthesis.extractive import compare, extract, unanswerable
from gag.corpus.synthesis.gates import Gates
from gag.corpus.synthesis.generators import Candidate
from gag.demo.labs import load_lab
from gag.records import Document, Passage, read_documents

CONFIG = SynthesisConfig()

MACHINES = {
    "Plovert, a small pump": (
        "Plovert is a small pump for cold water. Its outer shell is made from grey tin. The pump has a flow rate of"
        " 12 ml. Units are stored at 4 °C, because warm rubber swells. A weekly check is done with the Osk gauge."
        " The partner filter is a Bram mesh, chosen for its price."
    ),
    "Notes on Tarvik": (
        "Tarvik runs in the dark. The flow rate of 30 ml is its best figure. Field tests used dry oil as the coolant."
    ),
    "Zemmel for beginners": (
        "Zemmel was built by hand. It has a flow rate of 7 ml and drives a Kobb wheel, the main filter of the mill."
    ),
    "The Orlat story": "Orlat was sold twice. Nobody knows why. It was painted green and put on the roof of the mill.",
    "About Vesk": "Vesk has a flow rate of 9 ml. Its coolant was called sorn. The filter is a plain cloth.",
}


def passages(texts: dict[str, str]) -> tuple[list[Passage], Corpus]:
    rows = [Passage(f"d{n}#1", f"d{n}", text) for n, text in enumerate(texts.values())]
    return rows, read_corpus(rows, {f"d{n}": title for n, title in enumerate(texts)})


def asked(texts: dict[str, str], config: SynthesisConfig = CONFIG) -> dict[str, list[str]]:
    """Questions by answer."""
    rows, corpus = passages(texts)
    found: dict[str, list[str]] = {}
    for candidate in extract(rows, corpus, config, "plain"):
        found.setdefault(candidate.answer, []).append(candidate.question)
    return found


def test_subjects_are_the_names_in_the_titles() -> None:
    _, corpus = passages(MACHINES)
    assert [corpus.subject(f"d{n}").name for n in range(5)] == ["Plovert", "Tarvik", "Zemmel", "Orlat", "Vesk"]


def test_a_name_of_two_words_and_a_title_without_a_name() -> None:
    assert subject_of("Perro blue, a dye", "Perro blue is a dye. Perro blue fades.", {}).name == "Perro blue"
    assert subject_of("How pumps are tested", "Pumps are tested.", {}).name is None
    assert subject_of(None, "Anything.", {}).lead == ""


@pytest.mark.parametrize(
    ("answer", "question"),
    [
        ("12 ml", "What is the flow rate of Plovert?"),
        ("4 °C", "Regarding Plovert: at what temperature are units stored?"),
        ("plain cloth", "What is the filter of Vesk?"),
        ("Bram mesh", "What is the filter of Plovert?"),
        ("dry oil", "What is the coolant of Tarvik?"),
        ("Kobb wheel", "What is the filter of the mill for Zemmel?"),
        ("7 ml", "What is the flow rate of Zemmel?"),
        ("sorn", "What is the coolant of Vesk?"),
        ("a small pump for cold water", "What is Plovert?"),
        ("warm rubber swells", "Regarding Plovert: why are units stored at 4 °C?"),
    ],
)
def test_questions(answer: str, question: str) -> None:
    found = asked(MACHINES)
    assert question in found.get(answer, []), found.get(answer, sorted(found))


def test_several_wordings_of_a_fact_share_its_name() -> None:
    rows, corpus = passages(MACHINES)
    one = [c for c in extract(rows, corpus, CONFIG, "plain") if c.answer == "12 ml"]
    assert len(one) >= 3
    assert len({c.fact for c in one}) == 1
    assert len({c.question for c in one}) == len(one)
    assert "Plovert, rate, flow: what?" in {c.question for c in one}
    assert all(c.kind == "numeric" for c in one)
    assert any("____" in c.question for c in extract(rows, corpus, CONFIG, "plain"))


def test_words_that_other_documents_use_ask_for_a_fact_by_its_subject() -> None:
    names = ("Plovert", "Tarvik", "Zemmel", "Orlat", "Vesk")
    texts = {
        f"{n}, a pump": f"{n} was tried in the {n[0]}obby mill. Pistons of {n} met {n[:3]}ite glue." for n in names
    }
    found = asked(texts)
    assert "Tarvik, met, pistons: which glue?" in found["Tarite glue"]
    assert not any("pistons:" in q for questions in asked(dict([*texts.items()][:4])).values() for q in questions)


def test_one_question_about_two_facts_goes_to_the_surer() -> None:
    names = ("Plovert", "Tarvik", "Zemmel", "Orlat", "Vesk")
    said = "Workers hold {0} by {1}ite glue. Workers hold {0} by {1}ix {1}or glue."
    texts = {f"{n}, a pump": said.format(n, n[:3]) for n in names}
    found = asked(texts)
    questions = [q for several in found.values() for q in several]
    assert len(questions) == len(set(questions))
    assert {q for q in questions if q.startswith("Vesk, ")} <= set(found["Vesix Vesor glue"])
    assert any(q.startswith("Vesk, ") for q in questions)


LONG_TITLE = (
    "How small pumps slow the wear of mills with Hobel's joint: trials of Kavotal on three farms in two winters"
)
FARMS = (
    "Kavotal is a grease. Kavotal has a melting point of 81 °C. We tried Kavotal on farms, and Kavotal held. "
    "The sleds were run at 9 bar, with a grip within 2 points from that of tallow. "
    "Rollers of 18-65 kg were drawn by oxen, at doses of 5, 25 and 100 ml. "
    "Ropes wore most in Group 3 of Table 2 (see §4). "
    "A log with 12M lines (1K) was kept, in which Zub7 wax, the CD4 of mills, was named. "
    "Of the sleds 3/4 were 18-year-old ones, which gave a yield of 62 % (95% CI 40 to 80) in spring. "
    "Hobel's joint had a play of 4 mm."
)


def test_a_long_title_names_what_those_sentences_are_about_that_say_it() -> None:
    texts = {LONG_TITLE: FARMS, **MACHINES}
    _, corpus = passages(texts)
    assert corpus.subject("d0").name == "Kavotal"  # and not Hobel, whose joint it is
    found = asked(texts)
    assert "What is the melting point of Kavotal?" in found["81 °C"]
    questions = [q for answer in found for q in found[answer] if "Kavotal" in q.replace(LONG_TITLE, "")]
    assert questions and not any("play" in q or "sleds" in q or "Rollers" in q for q in questions)
    assert any(LONG_TITLE[:30] in q and "Kavotal:" not in q for q in found["4 mm"])
    assert not any(q.startswith("Kavotal, ") for q in questions)


def test_numbers_that_are_labels_or_parts_of_others_are_not_asked_for() -> None:
    found = asked({LONG_TITLE: FARMS, **MACHINES})
    assert any(answer.startswith("18-65 kg") for answer in found)
    assert any(answer.startswith("5, 25 and 100 ml") for answer in found)
    assert any(answer.startswith("62 %") for answer in found)
    assert not {"65 kg", "100 ml", "3", "2", "4", "12M", "1K", "18-year", "95%"} & set(found)
    questions = [q for answer in found for q in found[answer]]
    assert not any("CD4?" in q or ("temperature" in q and "log" in q) for q in questions)
    assert not any("what is the grip" in q.lower() for q in questions)


@pytest.mark.timeout(20)
def test_a_long_list_of_numbers_is_read_in_no_time() -> None:
    many = ",".join(str(n % 10) for n in range(200))
    asked(
        {"Plovert, a pump": f"Plovert was tried at doses {many} by hand, {many.replace(',', ', ')} and 7 ml in mills."}
    )


def test_parts_of_names_ratios_and_columns_that_share_a_label_are_not_asked_for() -> None:
    text = (
        "Kavotal is a grease. It was mixed with P. robusta wax at a ratio of 3:1 by hand, as Hobel et al. did. "
        "It stops 21-hydroxyl decay. Kavotal gave a 1.7 ratio of wear.\n\n"
        "| oil | score | score |\n|---|---|---|\n| Kavotal | 94.9 | 88.1 |\n"
    )
    found = asked({"Kavotal, a grease of type V": text, **MACHINES})
    assert not {"94.9", "88.1", "1", "3", "1.7", "robusta wax", "hydroxyl decay"} & set(found)
    assert subject_of("Mills of type V", "Type V is here. V.", {}).name is None


def test_every_quote_and_answer_is_in_the_passage() -> None:
    rows, corpus = passages(MACHINES)
    by_id = {p.id: p.text for p in rows}
    candidates = list(extract(rows, corpus, CONFIG, "plain"))
    assert len(candidates) > 40
    for candidate in candidates:
        (source,) = candidate.sources
        assert source.quote in by_id[source.passage_id]
        assert candidate.answer in source.quote


def test_fewer_facts_and_wordings_when_asked() -> None:
    rows, corpus = passages(MACHINES)
    few = list(extract(rows[:1], corpus, SynthesisConfig(per_passage=2, wordings=1), "plain"))
    assert len({c.fact for c in few}) == 2 == len(few)


def test_the_same_text_gives_the_same_pairs() -> None:
    assert asked(MACHINES) == asked(dict(MACHINES))


def test_tables_lines_steps_and_abbreviations() -> None:
    text = (
        "# Care\n\nThe Rapid Oil Filter (ROF) has to be changed.\n\n| part | life |\n|---|---|\n| belt | 3 years |\n"
        "| lamp | 90 h |\n\nStorage temperature: 4 °C\n\n1. Open the lid\n2. Take out the belt\n"
    )
    rows = [Passage("d#1", "d", text, "Care")]
    corpus = read_corpus(rows, {"d": "Plovert, a pump"})
    found: dict[str, list[str]] = {}
    for candidate in extract(rows, corpus, CONFIG, "plain"):
        found.setdefault(candidate.answer, []).append(candidate.question)
    assert any("life of belt" in q for q in found["3 years"])
    assert any("life of lamp" in q for q in found["90 h"])
    assert any("storage temperature" in q for q in found["4 °C"])
    assert "What does ROF stand for?" in found["Rapid Oil Filter"]
    assert any("what comes after “Open the lid”" in q for q in found["Take out the belt"])
    assert not any("Storage temperature: 4" in a for a in found)


def test_a_sentence_with_a_colon_is_no_key() -> None:
    found = asked({"Plovert, a pump": "One caution belongs on every label: raw salt stops Plovert within a minute."})
    assert not any("label of" in question for questions in found.values() for question in questions)


def test_cross_document_pairs_compare_two_subjects_of_one_side() -> None:
    rows, corpus = passages(MACHINES)
    sides = {"d0": "train", "d1": "train", "d2": "test", "d4": "train"}
    found = list(compare(rows, corpus, sides, CONFIG))  # type: ignore[arg-type]
    assert found
    for candidate in found:
        one, other = candidate.sources
        assert one.document_id != other.document_id
        assert sides[one.document_id] == sides[other.document_id]
    more = {c.question: c.answer for c in found}
    assert more.get("Which has the higher flow rate, Plovert or Tarvik?", "Tarvik") == "Tarvik"
    assert all(a in q for q, a in more.items())


def test_unanswerable_questions_ask_what_others_say() -> None:
    rows, corpus = passages(MACHINES)
    found = list(unanswerable(rows, corpus, CONFIG))
    assert [c.question for c in found] == ["What is the flow rate of Orlat?"]
    assert found[0].answer == CONFIG.unanswerable_answer
    assert found[0].kind == "unanswerable"


@settings(deadline=None, max_examples=40)
@given(st.text(max_size=200))
def test_any_text_goes_through(text: str) -> None:
    rows = [Passage("d#1", "d", text)]
    corpus = read_corpus(rows, {"d": text[:40]})
    gates = Gates({"d#1": rows[0]}, corpus, 0.8)
    for candidate in extract(rows, corpus, CONFIG, "plain"):
        gates.check(candidate)
        assert candidate.question.strip() and candidate.answer.strip()


def passed(documents: list[Document]) -> dict[str, list[Candidate]]:
    """What passes the gates, by document."""
    rows = [Passage(f"{d.id}#1", d.id, d.text) for d in documents]
    corpus = read_corpus(rows, {d.id: d.title for d in documents if d.title})
    gates = Gates({p.id: p for p in rows}, corpus, 0.8)
    found: dict[str, list[Candidate]] = {}
    for candidate in extract(rows, corpus, CONFIG, "plain"):
        if gates.check(candidate) is None and gates.answerable(candidate) is None:
            found.setdefault(candidate.sources[0].document_id, []).append(candidate)
    return found


@pytest.mark.parametrize("name", ["adjuvant", "materials"])
def test_the_labs_facts_are_asked_for(name: str) -> None:
    """Of the 208 facts that people wrote questions about, at least nine in ten are the answer to a question here."""
    lab = load_lab(name)
    found = passed(lab.documents)
    facts = {q.meta["fact"]: (q.meta["document"], str(q.meta["value"]).removeprefix("a ")) for q in lab.test}
    held = [
        any(value.lower() in c.answer.lower() and c.question for c in found.get(document, []))
        for document, value in facts.values()
    ]
    assert len(held) == 208
    assert sum(held) >= 187


@pytest.mark.data
def test_real_abstracts() -> None:
    path = Path("../shared/data/adjuvant/abstracts.jsonl")
    documents = read_documents(path)[:60]
    found = passed(documents)
    assert len(found) == len(documents)
    assert sum(len(rows) for rows in found.values()) > 10 * len(documents)
    assert not any("this study" in c.question.lower() for rows in found.values() for c in rows if "“" not in c.question)
    json.dumps([c.question for rows in found.values() for c in rows])
