"""Cleaning: what goes and with which reason, and that the rest stays as it was."""

from __future__ import annotations

import pytest

from gag.config import CorpusConfig
from gag.corpus.cleaning.characters import plain_characters
from gag.corpus.cleaning.clean import Cleaned, clean
from gag.corpus.cleaning.references import is_reference
from gag.corpus.cleaning.wrapping import Vocabulary, goes_on, join_lines, mend_hyphens
from gag.corpus.parsing.blocks import Block, Parsed
from gag.corpus.parsing.boilerplate import is_boilerplate
from gag.corpus.parsing.markdown import markdown_blocks, plain_blocks
from gag.corpus.parsing.sections import is_known_section, section_kind

CONFIG = CorpusConfig()


def cleaned(text: str, config: CorpusConfig = CONFIG) -> Cleaned:
    return clean(Parsed("markdown", "1", markdown_blocks(text)), config)


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("References", "references"),
        ("REFERENCES", "references"),
        ("7. References", "references"),
        ("VII. REFERENCES", "references"),
        ("5.2 References and Notes", "references"),
        ("R E F E R E N C E S", "references"),
        ("**Bibliography**", "references"),
        ("Literature Cited", "references"),
        ("Literaturverzeichnis", "references"),
        ("参考文献", "references"),
        ("6 参考文献", "references"),
        ("Acknowledgements", "acknowledgements"),
        ("ACKNOWLEDGMENT", "acknowledgements"),
        ("■ ACKNOWLEDGMENTS", "acknowledgements"),
        ("A. Acknowledgements and Funding", "acknowledgements"),
        ("Funding Sources:", "acknowledgements"),
        ("Author Information", "authors"),
        ("■ AUTHOR INFORMATION", "authors"),
        ("Authors' contributions", "authors"),
        ("CRediT authorship contribution statement", "authors"),
        ("Declaration of Competing Interest", "authors"),
        ("Conflicts of interest", "authors"),
        ("Corresponding Author", "authors"),
        ("ORCID", "authors"),
        ("Supporting Information", "supporting"),
        ("Supplementary Materials", "supporting"),
        ("Associated Content", "supporting"),
        ("Appendix A. Supplementary data", "supporting"),
        ("Electronic supplementary material", "supporting"),
    ],
)
def test_headings_that_are_cut(heading: str, kind: str) -> None:
    assert section_kind(heading) == kind


@pytest.mark.parametrize(
    "heading",
    [
        "Introduction",
        "2 Reference materials and methods",
        "Referencing in C",
        "The author function",
        "Funding of vaccine trials",
        "Materials and Methods",
        "Appendix B",
        "Conflict monitoring",
        "Supporting cells",
        "Supplementation",
        "3.1 Interests",
    ],
)
def test_headings_that_stay(heading: str) -> None:
    assert section_kind(heading) is None


def test_known_sections_are_short_names_alone() -> None:
    assert (
        is_known_section("Abstract")
        and is_known_section("2. Materials and Methods")
        and is_known_section("CONCLUSIONS")
    )
    assert not is_known_section("The results of the trial were as follows")


@pytest.mark.parametrize("level", [1, 2, 4])
def test_a_section_is_cut_up_to_the_next_heading_as_high(level: int) -> None:
    mark = "#" * level
    text = f"{mark} Results\n\nKept one.\n\n{mark} References\n\n[1] A.\n\n{mark}# Deeper\n\nStill in.\n\n"
    text += f"{mark} Appendix\n\nKept two."
    found = cleaned(text)
    assert found.text == f"{mark} Results\n\nKept one.\n\n{mark} Appendix\n\nKept two."
    assert {cut.reason for cut in found.cuts} == {"references"}
    assert "Still in." in [cut.text for cut in found.cuts]


def test_what_is_cut_is_a_choice() -> None:
    text = "## Results\n\nKept.\n\n## References\n\n[1] A.\n\n## Acknowledgements\n\nThanks."
    found = cleaned(text, CorpusConfig(cut_sections=("acknowledgements",)))
    assert "[1] A." in found.text and "Thanks" not in found.text


def test_a_section_name_alone_on_its_line_is_a_heading_in_plain_text() -> None:
    text = "A study\n\nIntroduction\n\nWhy.\n\nREFERENCES\n\nSmith J. 2001.\n\nAppendix\n\nMore."
    found = clean(Parsed("text", "1", plain_blocks(text)), CONFIG)
    assert found.text == "A study\n\n## Introduction\n\nWhy.\n\n## Appendix\n\nMore."


PUMP = "Maintenance of the Harwick pump\n\n{}Authors{}\n\nJ. Miller, K. Smith\n\n{}Daily work{}\n\n"
PUMP += "The pump runs at 40 bar. It is checked every day."
PDF_PUMP = (
    Block("heading", "Maintenance of the Harwick pump", 1, 1),
    Block("heading", "Authors", 2, 1),
    Block("paragraph", "J. Miller, K. Smith", 0, 1),
    Block("heading", "Daily work", 3, 1),
    Block("paragraph", "The pump runs at 40 bar. It is checked every day.", 0, 1),
)


@pytest.mark.parametrize(
    ("blocks", "wrapped"),
    [
        (plain_blocks(PUMP.format("", "", "", "")), False),
        (markdown_blocks(PUMP.format("**", "**", "**", "**")), False),
        (markdown_blocks(PUMP.format("## ", "", "### ", "")), False),
        (PDF_PUMP, True),
    ],
)
def test_the_text_after_a_section_that_is_cut_stays(blocks: tuple[Block, ...], wrapped: bool) -> None:
    found = clean(Parsed("x", "1", blocks, wrapped=wrapped), CONFIG)
    assert [cut.text for cut in found.cuts] == ["Authors", "J. Miller, K. Smith"]
    assert "Daily work" in found.text and "The pump runs at 40 bar. It is checked every day." in found.text


@pytest.mark.parametrize("name", ["Authors", "Funding", "Contributors", "Disclosures", "References", "Supplementary"])
@pytest.mark.parametrize("count", [2, 90])
def test_a_line_with_a_sections_name_does_not_take_the_document(name: str, count: int) -> None:
    text = f"On pumps\n\n{name}\n\n" + "\n\n".join(["The pump runs at 40 bar."] * count)
    found = clean(Parsed("text", "1", plain_blocks(text)), CONFIG)
    assert found.text.count("40 bar") == count and found.cuts == ()


def test_lists_and_thanks_without_a_marked_heading_are_cut() -> None:
    entries = [f"{n}. Smith J. Droplets in mice. Journal of Tests 2001;12:10{n}." for n in range(60)]
    entries[30] = "The Harwick works, a report."
    body = ["Pumps have been built for long, and this is how they are built."] * 20
    after = ["Daily work", "It runs at 40 bar."]
    text = [*body, "Acknowledgements", "We thank the council.", "REFERENCES", *entries, *after]
    found = clean(Parsed("text", "1", plain_blocks("\n\n".join(text))), CONFIG)
    assert found.text == "\n\n".join([*body, *after])


def test_a_numbered_part_of_a_section_is_cut_with_it() -> None:
    rows = [("7 References", 2), ("", 0), ("7.1 Books", 3), ("", 0), ("8 Daily work", 3)]
    blocks = [
        Block("heading", words, level) if words else Block("paragraph", "Smith J. 2001.") for words, level in rows
    ]
    pdf = Parsed("pdf", "1", (Block("paragraph", "Text."), *blocks, Block("paragraph", "Kept.")), wrapped=True)
    assert clean(pdf, CONFIG).text == "Text.\n\n### 8 Daily work\n\nKept."


def test_run_in_headings_cut_their_paragraph() -> None:
    found = cleaned("Text.\n\n**Acknowledgements.** We thank all.\n\nFunding: none.\n\nFunding agencies matter here.")
    assert found.text == "Text.\n\nFunding agencies matter here."


def test_images_go_and_the_words_around_them_stay() -> None:
    found = cleaned("Before ![a](images/x.jpg) after.\n\n![](b.png)\n\n<img src='c.png'>\n\nEnd.")
    assert found.text == "Before after.\n\nEnd."
    assert [cut.reason for cut in found.cuts] == ["image"] * 3


def test_publishers_sentences_go() -> None:
    just = "“Just Accepted” manuscripts have been peer-reviewed and accepted for publication. They are posted online."
    assert is_boilerplate(just) and is_boilerplate("© 2020 The Authors. All rights reserved.")
    assert is_boilerplate("Proceedings of the 58th Annual Meeting of the ACL, pages 2270-2282")
    assert is_boilerplate("Received: 12 March 2019; Accepted: 3 May 2019")
    assert is_boilerplate("Received March 12, 2019; revised April 1, 2019; accepted May 3, 2019")
    assert is_boilerplate("Published on 12 May 2016. Downloaded by Harwick University on 3/4/2017")
    assert is_boilerplate("Downloaded from https://harwick.example by guest") and is_boilerplate(
        "Available online 3 May 2019"
    )
    assert not is_boilerplate("The manuscript was accepted, and the copyright of images is discussed by Smith.")
    assert cleaned(f"Text.\n\n{just}\n\nMore.").text == "Text.\n\nMore."


@pytest.mark.parametrize(
    "text",
    [
        "Received 300 kg resin on 3 May, accepted by QA, stored in hall 4.",
        "Downloaded files are kept in hall 4 until the night.",
        "Available online training covers the pump.",
        "Read online manuals before the first start.",
        "Copyright law changed in 2019 for museums.",
        "Published by the council in 2019, the rules say that boats wait.",
        "First published in 1999, the manual is still used.",
    ],
)
def test_sentences_that_begin_as_a_publishers_stay(text: str) -> None:
    assert not is_boilerplate(text)


def test_a_reference_list_without_heading_goes() -> None:
    entries = [
        f"[{n}] Smith, J., Doe, A. Droplets in mice. Journal of Tests 12({n}): 100–11{n}, 200{n}. doi:10.1/x{n}"
        for n in range(7)
    ]
    found = cleaned("Text of the paper.\n\n" + "\n\n".join(entries))
    assert found.text == "Text of the paper."
    assert not is_reference(
        "In 2001 the mice were given five doses, as the guideline of the agency says, and 12 of them fell ill."
    )


@pytest.mark.parametrize(
    "text",
    [
        "2. On 3 May 2019 the council closed the weir in order to repair its gate.",
        "3. Doing this in 2019, press the valve at 10:30 and again at 11:45, then wait.",
        "4. The weir was opened on 4 May 2019, see https://harwick.example/weir for more.",
    ],
)
def test_numbered_paragraphs_with_a_year_are_no_references(text: str) -> None:
    assert not is_reference(text)
    assert cleaned("\n\n".join([text] * 6)).cuts == ()


def test_a_heading_left_without_text_goes_too() -> None:
    assert cleaned("# T\n\n## A\n\nText.\n\n### Empty\n\n## References\n\n[1] x").text == "# T\n\n## A\n\nText."


def test_characters() -> None:
    assert plain_characters("e\ufb03cient\u00a0so\u00adft\u200b\x00 x\r\ny") == "efficient soft x\ny"
    assert plain_characters("a\u202eb\u202c \ud800") == "ab \ufffd"
    assert (
        plain_characters("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645")
        == "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    )


def test_hyphens_at_line_ends() -> None:
    vocabulary = Vocabulary(["a state-of-the-art self-made graph", "GraphSAGE"])
    join = lambda *lines: join_lines(lines, vocabulary)  # noqa: E731
    assert join("litera-", "ture graph") == "literature graph"
    assert join("a state-of-", "the-art thing") == "a state-of-the-art thing"
    assert join("Graph-", "SAGE") == "GraphSAGE"
    assert join("sentence-", "and token-level") == "sentence- and token-level"
    assert join("COVID-", "19 cases") == "COVID-19 cases"
    assert join("see https://x.org/", "a-b and") == "see https://x.org/a-b and"
    assert join("日本", "語") == "日本語"
    assert mend_hyphens("a litera-\nture list\n  - item", vocabulary) == "a literature\nlist\n  - item"


def test_whether_a_paragraph_goes_on() -> None:
    assert (
        goes_on("Xiong et al.,", "2017). We describe")
        and goes_on("papers are pro-", "vided with")
        and goes_on("at what", "it is")
    )
    assert not goes_on("It ends here.", "and this is another") and not goes_on("It ends here [3].", "New")


def test_only_wrapped_text_loses_its_line_ends() -> None:
    poem = (Block("paragraph", "Roses are red,\nviolets are blue."),)
    assert clean(Parsed("text", "1", poem), CONFIG).text == "Roses are red,\nviolets are blue."
    assert clean(Parsed("pdf", "1", poem, wrapped=True), CONFIG).text == "Roses are red, violets are blue."


def test_cuts_and_text_together_are_what_was_read() -> None:
    text = "# T\n\nOne.\n\n## References\n\nTwo.\n\n![](x.png)"
    found = cleaned(text)
    left = found.text + " ".join(cut.text for cut in found.cuts)
    assert all(word in left for word in ("T", "One.", "References", "Two.", "![](x.png)"))
