"""JupyterLab in real headless Chromium, as an analyst meets it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from . import browser

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser.lab(tmp_path_factory.mktemp("lab")) as address, browser.opened(address) as page:
        yield page


def values(output: Locator) -> list[str]:
    """The cells of the table, once it is there."""
    output.locator("td").first.wait_for()
    return output.locator("td").all_inner_texts()


def test_the_welcome_notebook_runs_to_its_end(page: Page) -> None:
    assert values(browser.run(page, 0)) == ["Oslo", "4", "Rome", "19", "Cairo", "31"]
    assert values(browser.run(page, 1)) == ["Cairo", "88.0", "Rome", "66.0"]
    browser.run(page, 2).locator("img").wait_for()
    assert "weather" in browser.run(page, 3).locator("table").inner_text()


def test_a_value_with_a_script_is_text(page: Page) -> None:
    output = browser.run(
        page, 3, "select '<script>window.hit = 1</script><img src=x onerror=\"window.hit = 2\">' as s;"
    )
    output.locator("td:has-text('onerror')").wait_for()
    assert page.evaluate("window.hit") is None
    assert output.locator("td img").count() == 0


def test_tables_sort_and_page(page: Page) -> None:
    output = browser.run(page, 3, "select id, concat('n', id) as name from range(60) as sixty;")
    output.locator("text=60 rows").wait_for()
    assert output.locator("tbody tr").count() == 25
    output.locator("th").first.click()
    output.locator("th").first.click()
    assert output.locator("td").first.inner_text() == "59"
    output.locator("button").last.click()
    assert output.locator("td").first.inner_text() == "34"
    assert "page 2 of 3" in output.inner_text()


def test_a_hundred_thousand_long_rows_do_not_freeze_the_page(page: Page) -> None:
    output = browser.run(page, 3, "select id, repeat('x', 10000) as s from range(100000) as big;")
    output.locator("text=the table has more").wait_for()
    started = time.monotonic()
    output.locator("summary").first.click()
    assert len(output.locator("pre").first.inner_text()) == 10_000
    assert time.monotonic() - started < 20  # it answers; on an idle machine at once


def test_an_error_is_underlined(page: Page) -> None:
    output = browser.run(page, 3, "select city from wheather;")
    output.locator("text=Did you mean weather").wait_for()
    underlined = output.locator(".ansi-underline").all_inner_texts()
    assert underlined == ["wheather"]
    assert "Traceback" not in output.inner_text()


def test_tab_completes_an_option(page: Page) -> None:
    browser.write(page, 3, "load csv.`orders.csv` where inferS")
    page.keyboard.press("Tab")
    page.locator(".jp-Completer-item").first.wait_for()
    page.keyboard.press("Enter")
    browser.cell(page, 3).locator(".cm-content", has_text="inferSchema").wait_for()


def test_interrupt_stops_a_cell_and_the_next_one_runs(page: Page) -> None:
    output = browser.run(
        page, 3, "select sum(a.id * b.id % 7) as n from range(10000000000) a cross join range(10000) b;"
    )
    output.locator("text=Spark:").wait_for()  # the live bar
    page.keyboard.press("Escape")
    page.keyboard.press("i")
    page.keyboard.press("i")
    output.locator("text=stopped").first.wait_for()
    assert browser.run(page, 3, "select 40 + 2 as n as t;").locator("td").inner_text() == "42"
