"""Pages to blocks: reading order on columns, headings, paragraphs over pages, notes, tables, furniture, figures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from gag.config import CorpusConfig
from gag.corpus.cleaning.clean import clean
from gag.corpus.parsing.columns import in_columns
from gag.corpus.parsing.layout import blocks_of
from gag.corpus.parsing.page import Page, Rule, Span, lines_of
from gag.corpus.parsing.pdf import parse_pdf

READERS = ["liteparse", "pypdfium2"]


def span(x: float, y: float, text: str, size: float = 10, *, width: float | None = None, bold: bool = False) -> Span:
    return Span(x, y, x + (width or 5 * len(text)), y + size, text, size, bold)


def paper(make: SimpleNamespace, pages: int = 3) -> list[list[tuple[float, float, float, str]]]:
    """Two columns a page under a running head, with a title, an abstract and numbered sections on the first."""
    made = []
    for number in range(pages):
        page = [(250.0, 40.0, 8.0, f"Journal of Tests {number + 1}"), (300.0, 770.0, 8.0, str(number + 11))]
        if number == 0:
            page += [(150, 80, 18, "Droplets as Adjuvants in Mice"), (220, 110, 10, "Ada Writer and Bo Author")]
            page += [(72, 150, 12, "Abstract"), *make.lines(72, 170, make.sentences(6, 1))]
        for x, seed in ((72.0, 2 * number), (320.0, 2 * number + 1)):
            page += [(x, 400.0, 12.0, f"{seed + 1} Section number {seed + 1}")]
            page += make.lines(x, 420.0, f"Begin{seed}. {make.sentences(14, seed + 20)} End{seed}.")
        made.append(page)
    return made


@pytest.mark.parametrize("reader", READERS)
def test_two_columns_are_read_one_after_the_other(reader: str, make: SimpleNamespace, tmp_path: Path) -> None:
    path = make.write_pdf(tmp_path / "paper.pdf", paper(make))
    parsed = parse_pdf(path, reader=reader, max_pages=10, furniture_pages=3)
    text = clean(parsed, CorpusConfig()).text
    marks = [f"{word}{seed}." for seed in range(6) for word in ("Begin", "End")]
    assert sorted(marks, key=text.index) == marks
    assert "Journal of Tests" not in text and "\n11" not in text
    assert parsed.pages == 3 and parsed.quality == ()
    for seed in range(6):
        assert f"Begin{seed}. {make.sentences(14, seed + 20)} End{seed}." in text.replace("\n\n", " ")


def test_title_headings_and_authors_of_a_paper(make: SimpleNamespace, tmp_path: Path) -> None:
    parsed = parse_pdf(
        make.write_pdf(tmp_path / "p.pdf", paper(make)), reader="liteparse", max_pages=9, furniture_pages=3
    )
    cleaned = clean(parsed, CorpusConfig())
    headings = [line for line in cleaned.text.split("\n") if line.startswith("#")]
    assert headings == ["# Droplets as Adjuvants in Mice", "## Abstract"] + [
        f"## {n} Section number {n}" for n in range(1, 7)
    ]
    assert cleaned.title == parsed.title == "Droplets as Adjuvants in Mice"
    assert ("authors", "Ada Writer and Bo Author") in [(cut.reason, cut.text) for cut in cleaned.cuts]
    assert "Ada Writer" not in cleaned.text


def test_a_paragraph_goes_on_over_the_page_and_hyphens_are_mended(make: SimpleNamespace, tmp_path: Path) -> None:
    first = [*make.lines(72, 80, make.sentences(9, 1), width=80), (72, 700, 10, "The antibody titre was meas-")]
    second = [(72, 80, 10, "ured twice, and the dose-"), (72, 92, 10, "response curve was drawn by hand.")]
    second += [(72, 140, 10, "A dose-response curve ends it.")]
    parsed = parse_pdf(
        make.write_pdf(tmp_path / "p.pdf", [first, second]), reader="liteparse", max_pages=9, furniture_pages=3
    )
    cleaned = clean(parsed, CorpusConfig())
    assert "The antibody titre was measured twice, and the dose-response curve was drawn by hand." in cleaned.text
    assert cleaned.page_starts[0] == 0 and cleaned.text[cleaned.page_starts[1] :].startswith("ured twice")


def test_a_band_across_the_columns_parts_them() -> None:
    left = [span(50, y, f"left {y} " + "x" * 30) for y in (100, 112, 124, 136, 300, 312, 324, 336)]
    right = [span(320, y, f"right {y} " + "x" * 30) for y in (100, 112, 124, 136, 300, 312, 324, 336)]
    wide = span(50, 200, "across", width=480)
    order = [[s.text[:9].strip() for s in group] for group in in_columns([*right, wide, *left], 600, 800)]
    assert [group[0].split()[0] for group in order] == ["left", "right", "across", "left", "right"]
    assert order[0][0].endswith("100") and order[3][0].endswith("300")


def test_cells_beside_each_other_are_no_columns() -> None:
    cells = [span(x, y, f"{y}") for y in range(100, 220, 12) for x in (60, 200, 340, 480)]
    assert len(in_columns(cells, 600, 800)) == 1


def test_a_ruled_table_is_whole() -> None:
    rows = [("Dose", "Titre", "Mice"), ("5 mg", "1.2", "10"), ("10 mg", "2.4", "12")]
    spans = [span(60 + 90 * c, 100 + 14 * r, cell) for r, row in enumerate(rows) for c, cell in enumerate(row)]
    spans += [span(60, 160 + 12 * n, "words of a paragraph that stands below it " + "x" * 20) for n in range(4)]
    page = Page(1, 600, 800, tuple(spans), (Rule(58, 330, 97), Rule(58, 330, 112), Rule(58, 330, 145)))
    table, text = blocks_of([page])
    assert table.kind == "table"
    assert table.text == "| Dose | Titre | Mice |\n|---|---|---|\n| 5 mg | 1.2 | 10 |\n| 10 mg | 2.4 | 12 |"
    assert text.kind == "paragraph"


def test_marks_of_notes_go_and_exponents_stay() -> None:
    marks = [span(151, 97, "12", 6), span(246, 97, "2", 6)]
    words = [span(50, 100, "as was shown before."), span(170, 100, "An area of 5 cm"), span(260, 100, "was used")]
    page = lines_of([*marks, *words])
    assert [line.text for line in page] == ["as was shown before. An area of 5 cm2 was used"]


def test_footnotes_stand_after_the_paragraph_they_interrupt() -> None:
    body = [span(50, 100 + 12 * n, f"Line {n} of the body goes on and on for the whole width") for n in range(8)]
    note = [span(60, 300, "1 A note in small type.", 7)]
    rest = [span(320, 100, "and ends in the next column, as one sentence does there")]
    rest += [span(320, 112 + 12 * n, "More of the other column is here, of the same width") for n in range(9)]
    parsed_blocks = blocks_of([Page(1, 600, 800, (*body, *note, *rest))])
    assert [block.kind for block in parsed_blocks][:2] == ["paragraph", "footnote"]


def test_words_in_a_picture_are_told_apart() -> None:
    text = [span(50, 100 + 12 * n, "The body of the text fills all of its lines to the end.") for n in range(6)]
    labels = [span(80, 260, "Query", 6), span(160, 280, "Loss", 6)]
    caption = [span(50, 320, "Figure 3: What happens to the query of the user.")]
    kinds = {block.text: block.kind for block in blocks_of([Page(1, 600, 800, (*text, *labels, *caption))])}
    assert kinds["Figure 3: What happens to the query of the user."] == "caption"
    assert {kind for words, kind in kinds.items() if "Query" in words or "Loss" in words} == {"figure"}


def test_line_numbers_of_a_manuscript_are_furniture() -> None:
    numbers = [span(20, 60 + 20 * n, str(n + 1)) for n in range(30)]
    text = [span(80, 60 + 20 * n, "A line of the manuscript with some words in it") for n in range(30)]
    blocks = blocks_of([Page(1, 600, 800, tuple(numbers + text))])
    assert blocks[0].kind == "furniture" and blocks[0].text.startswith("1 2 3")
    assert not any("17" in block.text for block in blocks[1:])
