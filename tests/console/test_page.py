"""A notebook's table in a real browser, without a notebook: searched, summed up, drawn, readable in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sqlllm.console import charts, html
from sqlllm.console.view import View
from sqlllm.session.cells.visualize import Chart

from . import browser
from .test_charts import WEATHER

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here: apt-get install chromium"),
]

TICKETS = View(
    (("id", "int"), ("day", "date"), ("topic", "string"), ("note", "string"), ("seconds", "double")),
    tuple(
        (
            number,
            f"2025-04-{number % 28 + 1:02}",
            ("refund", "delivery", "account")[number % 3],
            None if number == 7 else f"The order {number} has not come. " * (1 + number % 9),
            number / 7,
        )
        for number in range(120)
    ),
    more=False,
    name="tickets",
)
LIGHT = "--jp-layout-color1:#fff;--jp-content-font-color1:rgba(0,0,0,.87);--jp-content-font-color2:rgba(0,0,0,.54)"
DARK = "--jp-layout-color1:#111;--jp-content-font-color1:#fff;--jp-content-font-color2:rgba(255,255,255,.7)"


def shown(page: Page, content: str, *, dark: bool = False) -> None:
    """`content` as JupyterLab shows an output."""
    background = "#111;color:#fff" if dark else "#fff;color:#000"
    page.set_content(
        f'<html lang="en"><head><title>t</title></head><body data-jp-theme-light="{str(not dark).lower()}" '
        f'style="background:{background};font-family:sans-serif;{DARK if dark else LIGHT}">'
        f"<main><h1>Output</h1>{content}</main></body></html>"
    )


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser.blank(width=900) as page:
        yield page


def test_a_search_keeps_the_rows_that_hold_the_text(page: Page) -> None:
    shown(page, html.table(TICKETS))
    assert "120 rows" in page.locator(".note").inner_text()
    page.locator(".search").fill("REFUND")
    assert page.locator(".found").inner_text().startswith("40 of 120 rows")
    page.locator("th .name", has_text="id").click()
    page.locator("th .name", has_text="id").click()
    assert page.locator("td").first.inner_text() == "117"
    page.locator(".found button").click()
    assert page.locator("td").first.inner_text() == "119"
    page.locator(".search").fill("null")  # what is shown can be found
    assert page.locator("tbody tr").count() == 1


def test_a_type_is_clicked_to_see_what_the_column_holds(page: Page) -> None:
    shown(page, html.table(TICKETS))
    assert page.locator("th .kind").all_inner_texts() == ["int", "date", "string", "string", "double"]
    page.locator("th .kind").nth(2).click()
    assert page.locator(".about p").inner_text() == "topic 3 distinct, 0 NULL in 120 rows"
    page.locator(".about button", has_text="delivery").click()
    assert page.locator(".found").inner_text().startswith("40 of 120 rows with topic: delivery")
    assert page.locator("tbody tr td:nth-child(3)").first.inner_text() == "delivery"
    page.locator("th .kind").nth(3).click()
    assert "1 NULL" in page.locator(".about p").inner_text()
    page.locator("th .kind").nth(4).click()
    assert page.locator(".about button").count() == 10
    assert "from 0 to 17" in page.locator(".about p").inner_text()
    page.locator("th .kind").nth(4).click()
    assert page.locator(".about").count() == 0


def test_a_chart_counts_and_averages_groups(page: Page) -> None:
    shown(page, html.table(TICKETS))
    page.locator("summary", has_text="Chart").click()
    titles = page.locator(".chart figure rect title").all_text_contents()
    assert titles == ["refund: 40", "delivery: 40", "account: 40"]
    assert "count(*) as rows from tickets group by 1" in page.locator(".chart code").inner_text()
    page.locator("select[name=y]").select_option("seconds")
    titles = page.locator(".chart figure rect title").all_text_contents()
    assert titles == ["refund: 8.357", "delivery: 8.5", "account: 8.643"]
    page.locator("select[name=of]").select_option("max")
    assert page.locator(".chart figure rect title").first.text_content() == "refund: 16.714"
    page.locator(".search").fill("account")  # what is drawn is what is shown
    assert page.locator(".chart figure rect title").all_text_contents() == ["account: 17"]


def test_a_table_without_numbers_is_drawn_as_counts(page: Page) -> None:
    words = View((("word", "string"),), (("a",), ("b",), ("a",), (None,)), more=False)
    shown(page, html.table(words))
    page.locator("summary", has_text="Chart").click()
    assert page.locator(".chart figure rect title").all_text_contents() == ["a: 2", "b: 1", "NULL: 1"]


def test_words_are_not_broken(page: Page) -> None:
    narrow = View(
        (("day", "date"), ("state", "string"), ("note", "string")), (("2025-04-12", "RUNNING", "w " * 75),), more=False
    )
    shown(page, f'<div style="width:300px">{html.table(narrow)}</div>')
    lines = page.locator("td").evaluate_all(
        "cells => cells.slice(0, 2).map(cell => { const range = document.createRange();"
        "range.selectNodeContents(cell); return range.getClientRects().length; })"
    )
    assert lines == [1, 1]


@pytest.mark.parametrize("dark", [False, True])
def test_everything_is_readable(page: Page, dark: bool) -> None:
    from axe_playwright_python.sync_playwright import Axe

    drawn = html.drawing(charts.inline(charts.svg(Chart("bar", "city", ("t",)), WEATHER)))  # type: ignore[arg-type]
    shown(page, html.table(TICKETS) + drawn, dark=dark)
    page.locator("summary", has_text="Export").click()
    page.locator("summary", has_text="Chart").click()
    page.locator("th .kind").nth(2).click()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
