"""JupyterLab in real headless Chromium, as an analyst meets it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
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
    browser.run(page, 2).locator(".sqlllm-drawn svg").wait_for()
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
    output.locator("th .name").first.click()
    output.locator("th .name").first.click()
    assert output.locator("td").first.inner_text() == "59"
    output.locator(".pages button").last.click()
    assert output.locator("td").first.inner_text() == "34"
    assert "page 2 of 3" in output.inner_text()


def test_a_hundred_thousand_long_rows_do_not_freeze_the_page(page: Page) -> None:
    output = browser.run(page, 3, "select id, repeat('x', 10000) as s from range(100000) as big;")
    output.locator("text=the table has more").wait_for()
    output.locator("td summary").first.click()
    assert len(output.locator("td pre").first.inner_text()) == 10_000
    assert output.locator("tbody tr").count() == 25
    # What makes a page slow is what it holds, however fast the machine is.
    assert page.evaluate("document.body.innerHTML.length") < 3_000_000


def test_a_table_is_exported_and_drawn_without_a_second_run(page: Page) -> None:
    script = """select city, n, if(n = 2, null, concat('{"a": [', repeat('1, ', 80), '1], "b": "x  y"}')) as j
    from values ('Oslo', 1), ('Bern, "CH"', 2), ('Rome', 3) as t(city, n) as cities;"""
    output = browser.run(page, 3, script)
    output.locator("summary", has_text="Export").click()
    with page.expect_download() as download:
        output.locator("button.csv").click()
    assert download.value.suggested_filename == "cities.csv"
    read = list(csv.reader(Path(download.value.path()).read_text().splitlines()))
    assert [row[:2] for row in read] == [["city", "n"], ["Oslo", "1"], ['Bern, "CH"', "2"], ["Rome", "3"]]
    assert json.loads(read[1][2]) == {"a": [1] * 81, "b": "x  y"}
    assert read[2][2] == ""
    assert '!export cities "cities.parquet";' in output.inner_text()
    drawing = browser.chart(output, "bar")
    assert drawing.locator("rect").count() == 3
    assert "Oslo" in (drawing.text_content() or "")
    for kind, shape, count in (("line", "polyline", 1), ("scatter", "circle", 3), ("histogram", "rect", 20)):
        output.locator("select[name=kind]").select_option(kind)
        assert drawing.locator(shape).count() == count, kind
    output.locator("select[name=kind]").select_option("pie")
    assert drawing.locator("path").count() == 3
    assert "--%visualize\n--%input=cities\npie:\n  x: city\n  y: n" in output.locator(".chart code").inner_text()


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
    output.locator("text=Spark stage").wait_for()  # the live bar
    page.keyboard.press("Escape")
    page.keyboard.press("i")
    page.keyboard.press("i")
    output.locator("text=stopped").first.wait_for()
    assert browser.run(page, 3, "select 40 + 2 as n as t;").locator("td").inner_text() == "42"


@pytest.mark.rare
def test_a_model_is_trained_deployed_asked_and_talked_to(page: Page) -> None:
    output = browser.run(page, 3, browser.TRAIN)
    output.locator(".curve polyline").wait_for()  # while it trains, or at least when it has
    output.locator("td", has_text="succeeded").wait_for()
    assert output.locator(".bar").count() == 1
    assert "step 40/40" in output.inner_text()
    browser.run(page, 3, browser.DEPLOY).locator("td", has_text="RUNNING").wait_for()
    output = browser.run(page, 3, browser.ASK)
    output.locator("text=40 rows").first.wait_for()
    output.locator("text=models: 40 rows, 40 calls").wait_for()
    browser.write(page, 3, browser.CHAT)
    page.evaluate(
        """cell => { window.lengths = new Set(); new MutationObserver(() => {
            const answer = cell.querySelector(".jp-RenderedMarkdown");
            if (answer) window.lengths.add(answer.innerText.length);
        }).observe(cell, { childList: true, subtree: true, characterData: true }); }""",
        browser.cell(page, 3).element_handle(),
    )
    page.keyboard.press("Control+Enter")
    browser.done(page, 3)
    assert len(page.evaluate("[...window.lengths]")) > 2  # it grew
    browser.run(page, 3, "!show usage;").locator("td", has_text="--%chat").wait_for()
