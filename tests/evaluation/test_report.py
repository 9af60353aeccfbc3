"""The report: whole, escaped, without a network, and working in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gag.errors import MissingExtra
from gag.evaluation.bench.config import BenchConfig
from gag.evaluation.bench.found import Found
from gag.evaluation.bench.views import findings, markdown, problem_lines, views
from gag.evaluation.report.charts import (
    bar_chart,
    curve_chart,
    log_ticks,
    map_chart,
    nice_ticks,
    scatter_chart,
)
from gag.evaluation.report.page import embedded, report_html, write_report
from gag.evaluation.report.pngs import write_pngs
from gag.evaluation.report.series import Point, Series, bars, cost_and_quality, curves
from gag.evaluation.routing_tables import MapPoint, PrototypeMap

FACTS = [("Base", "tiny <model>"), ("Questions", "3")]


class Tags(HTMLParser):
    """The tags and attributes of a page, and the text of its data element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self._in_data = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        self._in_data = dict(attrs).get("id") == "data"

    def handle_endtag(self, tag: str) -> None:
        self._in_data = self._in_data and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self.data += data


@pytest.fixture(scope="session")
def page(bench_config: BenchConfig, found: Found) -> str:
    return report_html(bench_config, found, FACTS)


def test_what_users_wrote_stays_text(page: str, evil: str) -> None:
    tags = Tags(page)
    names = [tag for tag, _ in tags.seen]
    assert "img" not in names and "b" not in names
    assert names.count("script") == 2 and not any("onerror" in attrs for _, attrs in tags.seen)
    data = json.loads(tags.data)
    assert any(evil in q["q"] for q in data["questions"]), "and it is all there"
    assert "<" not in tags.data and "\u2028" not in tags.data
    assert "tiny &lt;model&gt;" in page


def test_every_background_is_there_and_how_sure_the_expert_was(page: str) -> None:
    data = json.loads(Tags(page).data)
    gag, egc = (data["methods"].index(name) for name in ("gag", "egc"))
    answers = [answer for question in data["questions"] for answer in question["a"]]
    assert {answer.get("u") for answer in answers if answer["m"] == gag and "b" in answer} == {"83%"}
    assert all("b" in answer and "u" not in answer for answer in answers if answer["m"] == egc)


def test_nothing_is_asked_of_a_network(page: str) -> None:
    tags = Tags(page)
    for _, attrs in tags.seen:
        assert not attrs.keys() & {"src", "srcset", "integrity", "action"}
        assert (attrs.get("href") or "#").startswith("#")
    assert not re.search(r"@import|url\(", page)
    assert "default-src 'none'" in page


def test_every_section_and_chart_is_there(page: str, bench_config: BenchConfig, found: Found) -> None:
    tags = Tags(page)
    ids = {attrs["id"] for tag, attrs in tags.seen if tag == "section" and "id" in attrs}
    assert ids == {"main", "cost", "general", "routing", "stages", "readout", "depth", "questions"}
    links = {attrs["href"] for tag, attrs in tags.seen if tag == "a" and attrs.get("href")}
    assert {f"#{name}" for name in ids} <= links
    charts = [attrs for tag, attrs in tags.seen if tag == "svg"]
    assert len(charts) == 3 + 3 + 1 + 1 + 1 + 1
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in charts)
    assert sum(tag == "table" for tag, _ in tags.seen) == len(views(bench_config, found))
    for line in findings(bench_config, found):
        assert line.split(":")[0] in ("materials", "medicine", "adjuvant")
    assert len(findings(bench_config, found)) == 3
    assert "2 questions failed, the first q3" in page and "Name domains.medicine.documents." in page


def test_empty_sections_are_absent(bench_config: BenchConfig, make_found: Callable[..., Found]) -> None:
    whole = make_found(4, ("base", "gag"))
    part = Found(main=whole.main, rows=[row for row in whole.rows if row.table.startswith("main")])
    tags = Tags(report_html(bench_config, part, FACTS))
    assert {attrs["id"] for tag, attrs in tags.seen if tag == "section" and "id" in attrs} == {"main", "questions"}
    nothing = report_html(bench_config, Found(), FACTS)
    assert "<table" not in nothing and 'id="data"' not in nothing and "<svg" not in nothing


def test_marks_only_where_the_interval_excludes_zero(bench_config: BenchConfig, found: Found) -> None:
    table = next(view for view in views(bench_config, found) if view.slug == "main-materials")
    gaps = {(r.method, r.metric): r for r in found.rows if r.table == "main-difference" and r.dataset == "materials"}
    metrics = ["nll", "token_f1", "contains"]
    seen = set()
    for line in table.lines:
        for cell, metric in zip(line[1:], metrics, strict=False):
            gap = gaps.get((f"{line[0].text} - base", metric))
            clear = gap is not None and gap.ci_low is not None and gap.ci_high is not None
            clear = clear and (gap.ci_low > 0 or gap.ci_high < 0)  # type: ignore[union-attr,operator]
            assert bool(cell.mark) == clear
            if gap is not None and cell.mark:
                assert (cell.mark == "better") == ((gap.value < 0) if metric == "nll" else (gap.value > 0))
            seen.add(cell.mark)
    assert seen >= {"", "better"}
    assert sum(cell.best for line in table.lines for cell in line) == len(metrics)


def test_markdown_is_a_table_that_nothing_breaks(bench_config: BenchConfig, found: Found) -> None:
    for view in views(bench_config, found):
        lines = [line for line in markdown(view).splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert len(lines) == len(view.lines) + 2
    assert "main: xrag on medicine: There are no passages for medicine. (Name" in problem_lines(found.problems)[0]


def test_charts_are_well_formed_and_inside(found: Found) -> None:
    drawn = [bar_chart(s, "base") for s in bars(found.rows, "token_f1")]
    drawn += [scatter_chart(s, "base") for s in cost_and_quality(found.rows, "token_f1")]
    drawn += [curve_chart(s) for s in curves(found.rows, "readout", "token_f1")]
    assert found.prototype_map is not None
    drawn.append(map_chart(found.prototype_map, ["general", "materials", "medicine", "adjuvant"]))
    assert len(drawn) == 8
    for svg in drawn:
        root = ElementTree.fromstring(svg)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for part in root.iter():
            for name, limit in (("x", width), ("cx", width), ("y", height), ("cy", height), ("x2", width)):
                if name in part.attrib:
                    assert -1 <= float(part.attrib[name]) <= limit + 1, (name, part.attrib)


@pytest.mark.parametrize(
    "points",
    [
        (Point("a", 0.0, 0.0, 0.0, 1.0), Point("b", 0.0, 0.0, 0.0, 1.0)),
        (Point("a", 5.0, None, None, 1e-3), Point("b", 5.0, None, None, 900.0)),
        (Point("a", -3.0, -4.0, -2.0, 0.1), Point("<b> & co, with a long name", 1e6, 1e6, 1e6, 0.1)),
    ],
)
def test_charts_of_odd_numbers(points: tuple[Point, ...]) -> None:
    series = Series("d", "m", "%", "higher", points, "seconds")
    for draw in (lambda s: bar_chart(s, "a"), lambda s: scatter_chart(s, "a"), curve_chart):
        ElementTree.fromstring(draw(series))
    same = PrototypeMap((MapPoint(0, 0, "a"), MapPoint(0, 0, "a", "q", "b")), 1.0)
    ElementTree.fromstring(map_chart(same, ["a"]))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0), (-5, -5), (0.123, 0.124), (0, 99.9), (3, 1e7)])
def test_ticks_enclose_what_they_are_for(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low and ticks[-1] >= high and ticks == sorted(set(ticks))
    assert 2 <= len(ticks) <= 9
    if low > 0:
        powers = log_ticks(low, high)
        assert powers[0] <= low and powers[-1] >= high and powers == sorted(set(powers))


def test_pngs_are_small_and_whole(tmp_path: Path, bench_config: BenchConfig, found: Found) -> None:
    made = write_pngs(tmp_path, bench_config, found)
    names = {path.stem for path in made}
    assert names == {"comparison", "cost", "stages", "readout", "depth", "confusion-own", "prototypes"}
    for path in made:
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) < 120_000
    assert write_pngs(tmp_path / "none", bench_config, Found()) == []


def test_embedded_json_comes_back() -> None:
    value = {"a": "</script><!-- & \u2028 \u2029 \" ' \\u003c"}
    assert json.loads(embedded(value)) == value
    assert "</" not in embedded(value)


def test_without_jinja2(monkeypatch: pytest.MonkeyPatch, bench_config: BenchConfig, found: Found) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match="needs the package jinja2") as error:
        report_html(bench_config, found, FACTS)
    assert error.value.hint == "pip install 'gag[eval]'"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium under playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on this system")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_in_a_real_browser(
    browser: Any, tmp_path: Path, bench_config: BenchConfig, found: Found, width: int, scheme: str
) -> None:
    write_report(tmp_path / "report.html", bench_config, found, FACTS)
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce")
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    assert page.title() == "Three private domains on SmolLM2-135M", "nothing of a question ran"

    assert page.locator(".q").count() == 25
    count = page.locator("#f-count")
    assert count.inner_text() == "200 of 200 questions"
    page.select_option("#f-set", label="materials")
    assert count.inner_text() == "40 of 200 questions"
    page.select_option("#f-method", "rag")
    page.select_option("#f-outcome", "failed")
    assert count.inner_text() == "2 of 200 questions"
    assert "failed: ValueError" not in page.locator(".q").first.inner_text()
    assert "failed: InputError: the prompt does not fit <the> context" in page.locator(".q").first.inner_text()
    page.select_option("#f-outcome", "")
    page.select_option("#f-method", "")
    page.fill("#f-text", "ONERROR")
    count.filter(has_text="1 of 200").wait_for()
    assert "</script><img src=x" in page.locator(".q summary").first.inner_text()
    assert page.locator(".q mark").first.inner_text().lower() == "onerror"
    page.fill("#f-text", "")
    count.filter(has_text="40 of 200").wait_for()
    page.locator("#more").focus()
    page.keyboard.press("Enter")
    assert page.locator(".q").count() == 40 and page.locator("#more").is_hidden()

    bar = page.locator("svg g[data-tip]").first
    bar.scroll_into_view_if_needed()
    page.wait_for_timeout(200)  # scrolling hides what is shown
    bar.hover()
    page.locator("#tip").filter(has_text="base: ").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing is wider than the window"
    assert said == [] and [url for url in asked if not url.startswith("file:")] == []
    assert page.locator("img").count() == 0
    page.close()
