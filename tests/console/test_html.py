"""Tables in a notebook: every value is text, however it looks, and a page stays small."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from sqlllm.console import html, render
from sqlllm.console.view import View


class Reader(HTMLParser):
    """Collects the text of the table's cells, and every tag there is."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: set[str] = set()
        self._skip = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        self._skip += tag in ("summary", "style", "script", "button") or attrs == [("class", "foot")]

    def handle_endtag(self, tag: str) -> None:
        self._skip -= tag in ("summary", "style", "script", "button")

    def handle_data(self, data: str) -> None:
        if self.cells and not self._skip:
            self.cells[-1] += data


def view(*rows: tuple[object, ...], kinds: tuple[str, ...] = ("string",)) -> View:
    return View(tuple((f"c{index}", kind) for index, kind in enumerate(kinds)), rows, False)


OURS = {"div", "style", "table", "thead", "tbody", "tr", "th", "td", "span", "script", "details", "summary", "pre"}
OURS |= {"p", "button", "label", "select", "figure", "svg", "code", "input"}  # of what searches, exports and draws


@given(st.text())
def test_a_value_is_never_markup(text: str) -> None:
    shown = Reader(html.table(view((text,), (f"<script>alert(1)</script>{text}",), (f"</table>{text * 50}",))))
    assert shown.tags <= OURS
    assert html.table(view((text,))).count("<script>") == 1


def test_every_cell_reads_as_its_value() -> None:
    rows = [("<b>&amp;",), (None,), ("x" * 500,), ("two\nlines",)]
    assert Reader(html.table(view(*rows))).cells[1:5] == ["<b>&amp;", "NULL", "x" * 500, "two\nlines"]


def test_columns_are_named_as_text_and_numbers_stand_right() -> None:
    columns = View((("<i>", "int"), ("t", "string")), ((1, "a"),), False)
    page = html.table(columns)
    assert '<th class="n"><span class="name">&lt;i&gt;</span><button class="kind" title="int: show' in page
    assert ">int</button></th>" in page
    assert '<td class="n">1</td><td class="t">a</td>' in html.table(columns)


def test_a_table_says_how_it_is_exported_and_drawn() -> None:
    named = replace(view((1,), (2,), kinds=("int",)), name="orders", links=(("Spark's pages", "http://a?b=1&c"),))
    page = html.table(named)
    assert "!export orders &quot;orders.parquet&quot;;" in page
    assert "--%input=orders\norders.toPandas()" in page
    assert "CSV of all rows" in page
    assert 'class="panel chart"' in page
    assert '<a href="http://a?b=1&amp;c" target="_blank">Spark&#x27;s pages</a>' in page
    unnamed = html.table(replace(view(("a",)), name="`<b>`", more=True))
    assert "!export &quot;table.parquet&quot;;" in unnamed
    assert "CSV of the first 1 rows" in unnamed
    assert 'class="panel chart"' in unnamed  # its rows can be counted
    assert 'class="csv"' not in html.table(view(("z" * 1_000_000,)))  # which is cut
    assert "Export" not in html.table(view()).partition("<script>")[0]


def test_a_longer_table_has_a_field_to_search_in() -> None:
    assert "Search 11 rows" in html.table(view(*[("a",)] * 11))
    assert "Search" not in html.table(view(*[("a",)] * 10)).partition("<script>")[0]


def test_texts_that_are_numbers_with_units_stand_right() -> None:
    columns = View((("took", "string"), ("day", "string")), (("3 min 20 s", "2 May"), ("1,200 tok/s", "3")), False)
    assert columns.kinds == ("m", "t")
    assert view((None,), ("",)).kinds == ("t",)


def test_json_is_read_on_a_click_with_its_lines() -> None:
    shown = html.table(view(('{"a": [' + "1, " * 100 + '1], "b": "<x>"}',)))
    assert '<pre class="json">' in shown
    assert "\n  &quot;b&quot;: &quot;&lt;x&gt;&quot;" in shown


def test_bytes_of_an_image_are_seen() -> None:
    page = html.table(view((b"\x89PNG<script>",), (bytearray(b"\x00\xff"),), kinds=("binary",)))
    assert '<img alt="12 bytes" src="data:image/png;base64,iVBORzxzY3JpcHQ+">' in page
    assert ">00ff</td>" in page


def test_long_tables_are_a_bounded_page_that_says_so() -> None:
    page = html.table(view(*[("y" * 10_000,)] * 1000))
    assert len(page) < html.BUDGET + 50_000
    rows = page.count("<tr><td")
    assert 100 < rows < 1000
    assert f"the first {rows} rows; the table has more" in page


def test_a_very_long_value_is_cut_and_says_so() -> None:
    page = html.table(view(("z" * 1_000_000,)))
    assert len(page) < 100_000
    assert "… 980,000 more characters" in page


def test_a_short_table_knows_its_number_of_rows() -> None:
    assert ">3 rows<" in html.table(view(("a",), ("b",), ("c",)))
    assert ">no rows<" in html.table(view())


def test_markup_of_a_model_is_kept_in_a_frame_without_scripts() -> None:
    framed = html.framed('"><script>alert(1)</script>')
    assert framed.startswith('<iframe sandbox=""')
    assert "<script>" not in framed


def test_nothing_is_fetched() -> None:
    assert not re.search(r"https?://|@import|url\(", html.table(view(("a",))))


def test_plain_text_stays_short() -> None:
    assert len(render.text(view(*[("w" * 100_000,)] * 500))) < 20_000
