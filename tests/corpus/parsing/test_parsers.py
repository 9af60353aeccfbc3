"""Parsers: Markdown, decoding, HTML, Office, JATS, MinerU, JSONL; and what each refuses with which reason."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gag.corpus.parsing.blocks import Parsed, pipe_table
from gag.corpus.parsing.decoding import decoded
from gag.corpus.parsing.errors import ParseError
from gag.corpus.parsing.jats import parse_jats
from gag.corpus.parsing.jsonl import rows
from gag.corpus.parsing.markdown import html_table, markdown_blocks
from gag.corpus.parsing.mineru import parse_mineru
from gag.corpus.parsing.parse import SUFFIXES, ParseOptions, check_parsers, checked_kind, parse
from gag.corpus.parsing.quality import GARBLED, INTERLEAVED, is_garbled, is_interleaved, text_flags
from gag.errors import MissingExtra

OPTIONS = ParseOptions(max_bytes=20_000_000)


def read(path: Path, options: ParseOptions = OPTIONS) -> Parsed:
    kind, notes = checked_kind(path, options)
    parsed = parse(path, kind, options)
    return Parsed(**{**vars(parsed), "notes": (*notes, *parsed.notes)})


def shown(parsed: Parsed) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in parsed.blocks]


def test_markdown() -> None:
    text = "---\ntitle: x\n---\nTitle\n=====\n\nSee [the *page*](http://x.org/a_(b)) and **bold** 2\\*3.<!-- no -->\n\n"
    text += "| a |\n|---|\n| [l](u) |\n"
    found = [(block.kind, block.text, block.level) for block in markdown_blocks(text)]
    assert found == [
        ("heading", "Title", 1),
        ("paragraph", "See the *page* and bold 2*3.", 0),
        ("table", "| a |\n|---|\n| l |", 0),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Comments begin with `<!--` and `more.",
        "The `__init__` of Foo__Bar__Baz, the `<summary>` tag and ``a ` [l](u)``.",
        "```html\n<table><tr><td>a</td></tr></table>\n\n<!-- c -->\nTitle\n---\n```",
        "```mermaid\nA --> B\n```",
        "    ```\n    <!-- c -->\n\n    <br>\n    ```",
        "```a``` begins it.",
        "```\n```",
    ],
)
def test_code_is_no_markup(text: str) -> None:
    found = markdown_blocks(f"Before `<!--` it.\n\n{text}\n\nIt <!-- no -->is --> there.\n\n~~~\n**a** [l](u)")
    assert "\n\n".join(block.text for block in found) == (
        f"Before `<!--` it.\n\n{text}\n\nIt is --> there.\n\n~~~\n**a** [l](u)"
    )


def test_markup_beside_code_is_read() -> None:
    text = "**b `__x__`** __c__ \\` [l](u) \\`\n\n# On `a` <!-- `no\n-->\n\n<table><tr><td>`t`</table>\n\n`open [l](u)"
    assert [(block.kind, block.text) for block in markdown_blocks(text)] == [
        ("paragraph", "b `__x__` c ` l `"),
        ("heading", "On `a`"),
        ("table", "| `t` |\n|---|"),
        ("paragraph", "`open l"),
    ]


@pytest.mark.parametrize(
    ("front", "text"),
    [("", "---\n- one\n- two\n---\nText"), ("---\na: b\nc:\n  - d\n- e\n---\n", "- one\n---\nText")],
)
def test_only_keys_and_values_are_front_matter(front: str, text: str) -> None:
    assert "\n".join(block.text for block in markdown_blocks(front + text)) == text


@pytest.mark.parametrize(
    "text",
    ["---\na: b\n" + "-v: text\n" * 60, "`" * 100_000 + "\n", "    ```x\n" * 20_000, "<!--<table>`` ` " * 10_000],
)
def test_marks_that_are_never_closed_take_no_time(text: str) -> None:
    started = time.monotonic()
    markdown_blocks(text)
    assert time.monotonic() - started < 3


def test_html_tables_are_spread_over_their_columns_and_rows() -> None:
    source = "<table><tr><th rowspan=2>a<th colspan='2'>b</tr><tr><td>c</td><td>d|e</td></tr></table>"
    assert html_table(source) == "| a | b | b |\n|---|---|---|\n| a | c | d\\|e |"
    assert html_table("<table><tr><td colspan=999999999>x</table>").count("|") < 500
    assert pipe_table([["", ""], []]) == ""


@pytest.mark.parametrize(
    ("data", "text", "note"),
    [
        ("Größe".encode(), "Größe", ""),
        (b"\xef\xbb\xbfa", "a", ""),
        ("Größe".encode("utf-16"), "Größe", "utf-16"),
        (("plain words " * 20).encode("utf-16-le"), "plain words " * 20, "utf-16-le"),
        ("Die Größe in µm".encode("cp1252"), "Die Größe in µm", "Windows-1252"),
        ("Ärzte\n".encode() + "naïve\n".encode("cp1252"), "Ärzte\nnaïve\n", "mixed encodings: 1 of 3 lines"),
        ("Привет, это русский текст о вакцинах и мышах. ".encode("cp1251") * 5, "Привет", "a guess"),
    ],
)
def test_decoding(data: bytes, text: str, note: str) -> None:
    found, notes = decoded(data)
    assert found.startswith(text) and len(notes) == bool(note)
    assert note in "".join(notes)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ParseError, match="binary"):
        decoded(bytes(range(256)) * 20)


def test_scripts_and_hidden_parts_of_html_are_no_text(tmp_path: Path, make: SimpleNamespace) -> None:
    path = tmp_path / "page.html"
    path.write_text(
        "<html><head><title>A &amp; B</title><script>evil(1)</script><style>evil{}</style></head><body><nav>evil</nav>"
        "<h2>Heading</h2><script src=x>evil</script><p onclick='evil()'>Words <b>here</b>.</p><noscript>evil</noscript>"
        "<iframe>evil</iframe><template>evil</template><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table></body></html>"
    )
    parsed = read(path)
    assert parsed.title == "A & B" and parsed.parser == "markitdown"
    assert shown(parsed) == [
        ("heading", "Heading"),
        ("paragraph", "Words here."),
        ("table", "| a | b |\n| --- | --- |\n| 1 | 2 |"),
    ]


def test_office(tmp_path: Path, make: SimpleNamespace) -> None:
    path = make.write_docx(
        tmp_path / "a.docx", [("Heading1", "Protocol"), ("Normal", "Keep it cold."), ("Heading2", "Dose")]
    )
    assert shown(read(path)) == [("heading", "Protocol"), ("paragraph", "Keep it cold."), ("heading", "Dose")]


def test_slides_are_pages_and_sheets_are_tables(tmp_path: Path) -> None:
    pptx, openpyxl = pytest.importorskip("pptx"), pytest.importorskip("openpyxl")
    slides = pptx.Presentation()
    for title in ("One", "Two"):
        slide = slides.slides.add_slide(slides.slide_layouts[1])
        slide.shapes.title.text, slide.placeholders[1].text = title, f"Words of {title}"
    slides.save(tmp_path / "s.pptx")
    parsed = read(tmp_path / "s.pptx")
    assert parsed.pages == 2
    assert [(b.kind, b.text, b.page) for b in parsed.blocks][2:] == [
        ("heading", "Two", 2),
        ("paragraph", "Words of Two", 2),
    ]
    book = openpyxl.Workbook()
    book.active.append(["dose", "titre"])
    book.active.append([5, None])
    book.save(tmp_path / "b.xlsx")
    assert shown(read(tmp_path / "b.xlsx"))[1] == ("table", "| dose | titre |\n| --- | --- |\n| 5 |  |")


ARTICLE = """<?xml version="1.0"?><!DOCTYPE article [<!ENTITY secret SYSTEM "file:///etc/hostname">]>
<article xmlns:x="y"><front><article-meta><article-id pub-id-type="doi">10.1/x</article-id>
<title-group><article-title>On\n<italic>mice</italic></article-title></title-group>
<contrib-group><contrib><name><surname>Writer</surname></name></contrib></contrib-group>
<abstract><p>Short &alpha; &secret;.</p></abstract></article-meta></front>
<body><sec><label>1</label><title>Methods</title>
<p>Mice<sup><xref ref-type="bibr">3</xref></sup> of 10<sup>6</sup> cm<sup>2</sup>, H<sub>2</sub>O.
<fig><label>Figure 1</label><caption><p>A mouse.</p></caption></fig> It went on.</p>
<sec><title>Doses</title><list><list-item><p>one</p></list-item></list>
<table-wrap><label>Table 1</label><caption><p>Doses.</p></caption>
<table><tr><th>d</th></tr><tr><td>5</td></tr></table></table-wrap></sec></sec></body>
<back><ack><p>Thanks.</p></ack>
<ref-list><ref><mixed-citation>Smith 2001</mixed-citation></ref></ref-list></back></article>"""


def test_jats(tmp_path: Path) -> None:
    path = tmp_path / "a.nxml"
    path.write_text(ARTICLE)
    parsed = read(path)
    assert parsed.title == "On mice" and parsed.meta == {"doi": "10.1/x"}
    found = [(block.kind, block.text, block.level) for block in parsed.blocks]
    assert found == [
        ("heading", "On mice", 1),
        ("heading", "Abstract", 2),
        ("paragraph", "Short α .", 0),
        ("heading", "1 Methods", 2),
        ("paragraph", "Mice3 of 10^6 cm^2, H2O. It went on.", 0),
        ("caption", "Figure 1. A mouse.", 0),
        ("heading", "Doses", 3),
        ("paragraph", "- one", 0),
        ("caption", "Table 1. Doses.", 0),
        ("table", "| d |\n|---|\n| 5 |", 0),
        ("heading", "Acknowledgements", 2),
        ("paragraph", "Thanks.", 0),
        ("heading", "References", 2),
        ("paragraph", "Smith 2001", 0),
    ]


def test_a_set_of_one_article_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<pmc-articleset><article><body><p>Words.</p></body></article></pmc-articleset>")
    assert shown(read(tmp_path / "a.xml")) == [("paragraph", "Words.")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<article><front>", "damaged XML"),
        (
            "<pmc-articleset>" + "<article><body><p>x</p></body></article>" * 3 + "</pmc-articleset>",
            "3 articles in one file",
        ),
        ("<TEI><text/></TEI>", "another kind than JATS .its root is <TEI>"),
        (
            "<!DOCTYPE article [<!ENTITY a0 'ha'>"
            + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12))
            + "]><article><body><p>&a11;</p></body></article>",
            "damaged XML",
        ),
    ],
)
def test_xml_that_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(ParseError, match=reason):
        parse_jats(tmp_path / "a.xml")


SPAN = [{"type": "text", "content": "Words."}]
MINERU: dict[str, Any] = {
    "x_content_list.json": [
        {"type": "header", "text": "Head", "page_idx": 0},
        {"type": "text", "text": "Title", "text_level": 1, "page_idx": 0},
        {"type": "text", "text": "Words.", "page_idx": 0},
        {"type": "image", "img_path": "images/a.jpg", "image_caption": ["Figure 1. A."], "page_idx": 1},
        {
            "type": "table",
            "table_body": "<table><tr><td>a</td></tr></table>",
            "table_caption": ["Table 1."],
            "page_idx": 1,
        },
        {"type": "list", "list_items": ["[1] Smith 2001"], "sub_type": "ref_text", "page_idx": 1},
    ],
    "x_content_list_v2.json": [
        [
            {"type": "page_header", "content": {"page_header_content": [{"type": "text", "content": "Head"}]}},
            {"type": "title", "content": {"title_content": [{"type": "text", "content": "Title"}], "level": 1}},
            {"type": "paragraph", "content": {"paragraph_content": SPAN}},
        ],
        [
            {"type": "image", "content": {"image_source": {"path": "images/a.jpg"}, "image_caption": ["Figure 1. A."]}},
            {"type": "table", "content": {"html": "<table><tr><td>a</td></tr></table>", "table_caption": ["Table 1."]}},
            {
                "type": "list",
                "content": {
                    "list_type": "reference_list",
                    "list_items": [
                        {"item_type": "text", "item_content": [{"type": "text", "content": "[1] Smith 2001"}]}
                    ],
                },
            },
        ],
    ],
    "x_middle.json": {
        "_version_name": "2.7.1",
        "pdf_info": [
            {
                "para_blocks": [
                    {"type": "title", "lines": [{"spans": [{"type": "text", "content": "Title"}]}]},
                    {"type": "text", "lines": [{"spans": SPAN}]},
                ],
                "discarded_blocks": [{"type": "header", "lines": [{"spans": [{"content": "Head"}]}]}],
            },
            {
                "para_blocks": [
                    {
                        "type": "image",
                        "blocks": [
                            {"type": "image_caption", "lines": [{"spans": [{"content": "Figure 1. A."}]}]},
                            {"type": "image_body", "lines": [{"spans": [{"type": "image", "image_path": "a.jpg"}]}]},
                        ],
                    },
                    {
                        "type": "table",
                        "blocks": [
                            {"type": "table_caption", "lines": [{"spans": [{"content": "Table 1."}]}]},
                            {
                                "type": "table_body",
                                "lines": [{"spans": [{"type": "table", "html": "<table><tr><td>a</td></tr></table>"}]}],
                            },
                        ],
                    },
                    {
                        "type": "list",
                        "sub_type": "ref_text",
                        "blocks": [{"lines": [{"spans": [{"content": "[1] Smith 2001"}]}]}],
                    },
                ]
            },
        ],
    },
}


@pytest.mark.parametrize("name", MINERU)
def test_mineru(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(MINERU[name]))
    parsed = parse_mineru(tmp_path / name)
    assert parsed.pages == 2 and parsed.title == "Title" and parsed.parser == "mineru"
    found = {(block.kind, block.text, block.page) for block in parsed.blocks if block.kind != "image"}
    assert found == {
        ("furniture", "Head", 1),
        ("heading", "Title", 1),
        ("paragraph", "Words.", 1),
        ("caption", "Figure 1. A.", 2),
        ("caption", "Table 1.", 2),
        ("table", "| a |\n|---|", 2),
        ("reference", "[1] Smith 2001", 2),
    }


@pytest.mark.parametrize("value", ["{}", "[1, 2]", '{"pdf_info": 3}', "[", '[{"a": 1}]', "[" * 5000])
def test_json_that_is_none_of_minerus(value: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(value)
    with pytest.raises(ParseError, match="JSON"):
        parse_mineru(tmp_path / "a.json")


def test_rows_of_jsonl(tmp_path: Path) -> None:
    good = {"id": "a", "text": "x"}
    lines = [
        json.dumps(good),
        "",
        "{oops",
        "[1]",
        '{"id": "b"}',
        '{"id": "c", "text": "x", "title": 3}',
        '{"id":"d","text":"\\ud800"}',
    ]
    (tmp_path / "d.jsonl").write_text("\ufeff" + "\n".join(lines))
    found = {number: getattr(row, "reason", row) for number, row in rows(tmp_path / "d.jsonl")}
    assert found[1] == good and 2 not in found
    for number, part in (
        (3, "not JSON"),
        (4, "a JSON list"),
        (5, "'text' is missing"),
        (6, "'title'"),
        (7, "half a character"),
    ):
        assert part in found[number]


def test_content_decides_where_a_name_lies(tmp_path: Path, make: SimpleNamespace) -> None:
    make.write_pdf(tmp_path / "a.txt", [make.lines(72, 80, make.sentences(5), width=80)])
    parsed = read(tmp_path / "a.txt")
    assert parsed.parser == "liteparse" and parsed.notes == ("named .txt, but it is PDF",)
    (tmp_path / "b.pdf").write_text("<!doctype html><p>Words.</p>")
    assert read(tmp_path / "b.pdf").notes == ("named .pdf, but it is HTML",)
    for name, text in (
        ("c.md", "# On PDF\n\nA file begins with %PDF-1.7 there."),
        ("d.html", "<p>It has %PDF-1.7</p>"),
    ):
        (tmp_path / name).write_text(text)
        assert read(tmp_path / name).parser != "liteparse"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.pdf", b"", "empty: zero bytes"),
        ("a.pdf", b"just words", "does not begin as a PDF"),
        ("a.pdf", b"\x89PNG\r\n", "a PNG picture"),
        ("a.docx", b"words", "no Office file"),
        ("a.docx", b"PK\x03\x04" + bytes(100), "truncated or damaged"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "password"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "an old binary Office file"),
        ("a.txt", b"\x7fELF" + bytes(99), "a program"),
        ("a.xyz", b"words", "a kind of file that is not read"),
        ("a.txt", b"x" * 21_000_000, "more than corpus.max_file_mb"),
    ],
)
def test_files_that_are_refused(name: str, data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ParseError, match=reason):
        read(tmp_path / name)


def test_pdf_files_that_are_refused(tmp_path: Path, make: SimpleNamespace) -> None:
    page = make.lines(72, 80, make.sentences(5), width=80)
    make.write_pdf(tmp_path / "locked.pdf", [page], password="secret")
    whole = make.write_pdf(tmp_path / "whole.pdf", [page]).read_bytes()
    (tmp_path / "cut.pdf").write_bytes(whole[: len(whole) // 3])
    make.picture_pdf(tmp_path / "scan.pdf")
    make.write_pdf(tmp_path / "long.pdf", [[(72, 80, 10, str(n))] for n in range(40)])
    for name, reason in (
        ("locked", "password"),
        ("cut", "truncated"),
        ("scan", "a scan without"),
        ("long", "40 pages"),
    ):
        with pytest.raises(ParseError, match=reason):
            read(tmp_path / f"{name}.pdf", ParseOptions(max_pages=30))


def test_a_zip_bomb_is_refused_unpacked(tmp_path: Path, make: SimpleNamespace) -> None:
    with pytest.raises(ParseError, match="zip bomb"):
        read(make.zip_bomb(tmp_path / "bomb.docx", 60))


def test_quality_flags() -> None:
    good = "The quick brown fox jumps over the lazy dog and the cat. " * 5
    assert text_flags(good) == ()
    assert (
        is_garbled(good[:100] + "\ufffd" * 20)
        and is_garbled("(cid:12)(cid:13) " * 20)
        and is_garbled("GrÃ¶ÃŸe der MÃ¤use " * 9)
    )
    assert not is_garbled("اللقاح المساعد يحفز الخلايا " * 5) and not is_garbled("日本語の文章です。" * 9)
    across = [f"left column words {n} go here     right column words {n} go there" for n in range(60)]
    assert text_flags("\n".join(across)) == (INTERLEAVED,)
    stray = [line for n in range(12) for line in (f"The words of line {n} are bro-", "The other column starts here.")]
    assert is_interleaved(stray) and GARBLED not in text_flags("\n".join(stray))


def test_every_kind_has_a_suffix_and_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(set(SUFFIXES.values())) == 10
    monkeypatch.setenv("PATH", os.devnull)
    for chosen, package in (({"pdf_parser": "docling"}, "docling"), ({"pdf_parser": "mineru"}, "mineru")):
        with pytest.raises(MissingExtra) as raised:
            check_parsers(ParseOptions(**chosen))
        assert raised.value.hint == f'pip install "gag[{package}]"'
