"""A real JupyterLab and a real Chromium for tests; `python -m tests.console.browser` takes the manual's pictures."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Locator, Page, sync_playwright

TOKEN = "of-a-test"
QUICKSTART = Path(__file__).parents[2] / "examples" / "notebooks" / "quickstart.ipynb"
ANSWERS = """select id, concat('{"answer": "', repeat('due on 2 May 2020, ', 12), '"}') as answer,
  if(id % 3 = 0, null, id / 7) as score
from range(120) as answers;"""
PICTURES = Path(__file__).parents[2] / "docs" / "console"


def chromium() -> str | None:
    """Where Chromium is, if it is."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def lab(folder: Path, **environment: str) -> Iterator[str]:
    """`sqlllm console` over `folder`; gives the address to open."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from sqlllm.console.cli import main; main()", "console", "--no-browser"]
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [*command, f"--port={port}", f"--token={TOKEN}", f"--folder={folder}"],
            env={**os.environ, "SQLLLM_HOME": str(folder / ".home"), "SQLLLM_SPARK__MASTER": "local[2]",
                 "SQLLLM_SPARK__DRIVER_MEMORY": "1g", **environment},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            for _ in range(300):
                try:
                    httpx.get(f"http://127.0.0.1:{port}/api", trust_env=False)
                    break
                except httpx.TransportError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/lab/tree/welcome.ipynb?token={TOKEN}"
        finally:
            server.terminate()  # which ends its kernels, too
            server.wait(30)


@contextmanager
def opened(address: str) -> Iterator[Page]:
    """The notebook in a browser, its kernel ready."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1180, "height": 860})
        page.set_default_timeout(240_000)  # of a busy machine
        page.goto(address)
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        page.get_by_text("SQLLLM | Idle").wait_for()
        page.wait_for_timeout(1000)
        page.keyboard.press("Control+b")  # the file browser away
        try:
            yield page
        finally:
            browser.close()


def cell(page: Page, number: int) -> Locator:
    """A code cell of the notebook, from 0."""
    return page.locator(".jp-Notebook .jp-CodeCell").nth(number)


def write(page: Page, number: int, text: str) -> None:
    """Put `text` into a code cell."""
    editor = cell(page, number).locator(".cm-content")
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def run(page: Page, number: int, text: str | None = None) -> Locator:
    """Run a code cell and give its output."""
    if text is not None:
        write(page, number, text)
    else:
        cell(page, number).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    return cell(page, number).locator(".jp-Cell-outputArea")


def picture(shown: Locator | Page, name: str) -> None:
    """Take a picture of the manual."""
    PICTURES.mkdir(exist_ok=True)
    shown.screenshot(path=PICTURES / f"{name}.png")


def pictures() -> None:
    """Take all of them."""
    folder = Path(tempfile.mkdtemp(prefix="sqlllm-pictures-"))
    trusted = shutil.copy(QUICKSTART, folder)  # else Jupyter leaves out what its outputs draw
    subprocess.run([sys.executable, "-m", "jupyter", "trust", trusted], check=True)
    with lab(folder) as address, opened(address) as page:
        output = run(page, 0)
        output.locator("table").wait_for()
        run(page, 1).locator("table").wait_for()
        run(page, 2).locator("img").wait_for()
        page.wait_for_timeout(800)
        picture(page, "notebook")
        output = run(page, 3, ANSWERS)
        output.locator("table").wait_for()
        output.locator("summary").first.click()
        picture(output, "table")
        output = run(page, 3, "select city, celsius from wheather;")
        output.locator("text=TableError").wait_for()
        picture(cell(page, 3), "error")
        write(page, 3, "load csv.`orders.csv` where head")
        page.keyboard.press("Tab")
        page.locator(".jp-Completer-item").first.wait_for()
        page.wait_for_timeout(800)
        picture(page, "completion")
        page.keyboard.press("Escape")
        page.goto(address.replace("welcome", "quickstart"))  # as it was run
        curve = page.locator(".curve").first
        curve.scroll_into_view_if_needed()
        page.wait_for_timeout(800)
        picture(page, "training")
    shutil.rmtree(folder)


if __name__ == "__main__":
    pictures()
