"""Chunking: the limits, the structure kept, and that passages join to the document (by property)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from gag.corpus.chunk import chunk_document
from gag.corpus.parsing.structure import text_blocks
from gag.records import Document
from gag.testing import byte_tokenizer, tiny_encoder

BYTES = byte_tokenizer()
PIECES = tiny_encoder()[1]
MARKDOWN = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
        st.sampled_from(
            [
                "# Title",
                "## Methods",
                "### Mice",
                "| a | b |\n|---|---|\n| 1 | 2 |",
                "```\n# no heading\n\nx\n```",
                "Table 2: Doses.",
                "word " * 30,
                "x" * 90,
                " \t \n",
                "\n\n\n",
                "日本語の文。" * 5,
                "~~~",
                "e\u0301" * 40,
            ]
        ),
    ),
    max_size=12,
).flatmap(lambda parts: st.sampled_from(["\n\n", "\n", " "]).map(lambda by: by.join(parts)))


def size(text: str, tokenizer: PreTrainedTokenizerFast = BYTES) -> int:
    return len(tokenizer(text.strip(), add_special_tokens=False).input_ids)


@settings(max_examples=100, deadline=None)
@given(MARKDOWN, st.sampled_from([16, 33, 100]), st.sampled_from([BYTES, PIECES]))
def test_passages_join_to_the_document(text: str, tokens: int, tokenizer: PreTrainedTokenizerFast) -> None:
    passages = chunk_document(Document("d", text), tokenizer, tokens, table_tokens=tokens)
    if not text.strip():
        assert passages == []
        return
    assert "".join(passage.text for passage in passages) == text
    assert all(passage.text.strip() for passage in passages)
    assert max(size(passage.text, tokenizer) for passage in passages) <= tokens
    assert [p.id for p in passages] == [f"d#{n + 1}" for n in range(len(passages))]


@settings(max_examples=100, deadline=None)
@given(MARKDOWN, st.integers(0, 40))
def test_overlap_repeats_only_what_came_before(text: str, overlap: int) -> None:
    passages = chunk_document(Document("d", text), BYTES, 80, overlap, table_tokens=80)
    end = 0
    for passage in passages:
        assert passage.span is not None
        assert passage.text == text[slice(*passage.span)]
        assert passage.span[0] <= end < passage.span[1]
        assert len(text[passage.span[0] : end].encode()) <= overlap
        assert size(passage.text) <= 80
        end = passage.span[1]
    assert end == (len(text) if text.strip() else 0)


@pytest.mark.parametrize(
    "text", ["~~~\n\n  \r\r\n\n00000000000000", "\x80ࠀࠀࠀࠀ。\n\n\n\n", "word" + " " * 99 + "word", " " * 99 + "word"]
)
def test_white_space_is_never_a_passage(text: str) -> None:
    passages = chunk_document(Document("d", text), BYTES, 16)
    assert "".join(passage.text for passage in passages) == text
    assert all(passage.text.strip() for passage in passages)


def test_overlap_starts_at_a_sentence_or_a_word() -> None:
    text = "One is first. Two is second. Three is the third sentence. Four follows it here."
    found = chunk_document(Document("d", text), BYTES, 60, 20)
    assert [p.text for p in found][:2] == [
        "One is first. Two is second. ",
        "Two is second. Three is the third sentence. ",
    ]
    words = " ".join(f"w{n}" for n in range(40))
    assert all(p.text.startswith("w") for p in chunk_document(Document("d", words), BYTES, 60, 20))


def test_nothing_is_repeated_across_a_heading() -> None:
    text = "Before it, one.\n\n# Heading\n\nAfter it."
    first, second = chunk_document(Document("d", text), BYTES, 64, 32)
    assert second.text.startswith("# Heading") and first.text.startswith("Before")


def test_an_overlap_above_half_is_refused() -> None:
    with pytest.raises(ValueError, match="half of the tokens"):
        chunk_document(Document("d", "x"), BYTES, 100, 51)


def test_a_paragraph_that_fits_is_not_split_and_a_longer_one_is_between_sentences() -> None:
    short, long = "A short paragraph of words. " * 3, "This sentence has forty characters, yes. " * 4
    found = [p.text.strip() for p in chunk_document(Document("d", f"{short.strip()}\n\n{long.strip()}"), BYTES, 100)]
    assert found[0] == short.strip()
    assert found[1:] == [("This sentence has forty characters, yes. " * 2).strip()] * 2


def test_a_table_is_whole_up_to_its_own_limit_and_keeps_its_caption() -> None:
    table = "| a | b |\n|---|---|\n" + "".join(f"| {n} | {n * n} |\n" for n in range(12))
    text = f"Words before it.\n\nTable 1: Squares.\n\n{table}\nWords after it."
    whole = chunk_document(Document("d", text), BYTES, 64, table_tokens=400)
    assert [p.text.strip() for p in whole] == [
        "Words before it.",
        f"Table 1: Squares.\n\n{table}".strip(),
        "Words after it.",
    ]
    rows = [
        line for p in chunk_document(Document("d", text), BYTES, 64, table_tokens=64) for line in p.text.split("\n")
    ]
    assert [line for line in rows if line.startswith("|")] == table.strip().split("\n")


def test_headings_are_a_path_and_stay_with_their_text() -> None:
    text = "# Paper\n\n## Methods\n\n### Mice\n\n" + "Mice were kept. " * 5 + "\n\n### Doses\n\n" + "Five doses. " * 6
    found = chunk_document(Document("d", text), BYTES, 130)
    assert [p.heading for p in found] == ["Paper > Methods > Mice", "Paper > Methods > Doses"]
    assert found[1].text.startswith("### Doses\n\nFive")


def test_short_sections_share_a_passage_under_what_they_have_in_common() -> None:
    text = "# Questions\n\n## One\n\nYes.\n\n## Two\n\nNo.\n"
    (found,) = chunk_document(Document("d", text), BYTES, 480)
    assert found.heading == "Questions" and found.text == text


def test_pages_come_from_the_document() -> None:
    text = "First page here.\n\nSecond page here.\n\nThird."
    found = chunk_document(Document("d", text, meta={"page_starts": [0, 18, 37]}), BYTES, 20)
    assert [p.page for p in found] == [1, 2, 3]
    assert chunk_document(Document("d", text), BYTES, 20)[0].page is None


def test_blocks_cover_the_text() -> None:
    text = "\n\nWords\nmore\n# Heading #\n| a |\n| b |\ntext\n\n```\n\n# code\n```\nend"
    found = text_blocks(text)
    assert [(b.kind, text[b.start : b.end].strip()) for b in found] == [
        ("paragraph", "Words\nmore"),
        ("heading", "# Heading #"),
        ("table", "| a |\n| b |"),
        ("paragraph", "text"),
        ("code", "```\n\n# code\n```"),
        ("paragraph", "end"),
    ]
    assert found[0].start == 0 and found[-1].end == len(text)
    assert {b.path for b in found[1:]} == {("Heading",)}
