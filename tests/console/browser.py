"""A real JupyterLab and a real Chromium for tests; `python -m tests.console.browser` takes the manual's pictures."""

from __future__ import annotations

import json
import os
import re
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

from sqlllm.console.cli.console import FOLDER

TOKEN = "of-a-test"
NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"
PICTURES = Path(__file__).parents[2] / "docs" / "console"
ANSWERS = """select id, concat('{"answer": "', repeat('due on 2 May 2020, ', 12), '"}') as answer,
  if(id % 3 = 0, null, id / 7) as score
from range(120) as answers;"""
# What the quickstart does, on a small table: only the way counts here. The answers are long, to be seen as they come.
TRAIN = """select concat('number ', id) as instruction, repeat(concat(id % 10, ' '), 50) as output
from range(64) as lessons;

run lessons as LLM.`` where action="finetune" and name="short" and `sft.int.max_steps`="40"
and `sft.int.logging_steps`="1" and `sft.int.num_hidden_layers`="1" as trained;"""
DEPLOY = """set model = '''select model from trained''' where type="sql";

run command as LLM.`` where action="infer" and udfName="answer" and localModelDir="${model}"
and infer_backend="transformers" as deployed;"""
ASK = """select id, llm_result(answer(llm_param(map("instruction", concat('number ', id), "max_tokens", "8")))) as found
from range(40) as answers;"""
CHAT = """--%chat
--%model=answer
--%max_tokens=120
number 7"""


def chromium() -> str | None:
    """Where Chromium is, if it is."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def lab(folder: Path, **environment: str) -> Iterator[str]:
    """`sqlllm console` over `folder`; gives the address that it opens, of the welcome page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from sqlllm.console.cli import main; main()", "console", "--no-browser"]
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [*command, f"--port={port}", f"--token={TOKEN}", f"--folder={folder}"],
            env={**os.environ, "SQLLLM_HOME": str(folder / ".home"), "SQLLLM_SPARK__MASTER": "local[2]",
                 "SQLLLM_SPARK__DRIVER_MEMORY": "1g",
                 # Else what another time had open, and the user's own colours, are there again.
                 "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".workspaces"),
                 "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"), **environment},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            for _ in range(300):
                try:
                    httpx.get(f"http://127.0.0.1:{port}/api", trust_env=False)
                    break
                except httpx.TransportError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/?token={TOKEN}"
        finally:
            server.terminate()  # which ends its kernels, too
            server.wait(60)


@contextmanager
def blank(width: int = 1180, height: int = 900) -> Iterator[Page]:
    """An empty page in a browser."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser.new_page(viewport={"width": width, "height": height})
        finally:
            browser.close()


@contextmanager
def opened(address: str, name: str = "") -> Iterator[Page]:
    """The page that the console opens, or another notebook of its folder, in a browser; its kernel is ready."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1180, "height": 900}, device_scale_factor=1.5)
        page.set_default_timeout(240_000)  # of a busy machine
        page.goto(address if not name else address.replace("/?", f"/lab/tree/{FOLDER}/{name}.ipynb?"))
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        page.get_by_text("SQLLLM | Idle").wait_for()
        files = page.locator("#filebrowser")
        if files.is_visible():  # which it is on wide screens
            page.keyboard.press("Control+b")
            files.wait_for(state="hidden")
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


def done(page: Page, number: int) -> None:
    """Wait until a cell has run."""
    cell(page, number).locator(".jp-InputPrompt", has_text="[*]").wait_for(state="hidden")


def chart(output: Locator, kind: str) -> Locator:
    """Draw the rows of a table by choosing; gives the drawing."""
    output.locator("summary", has_text="Chart").click()
    output.locator("select[name=kind]").select_option(kind)
    return output.locator(".chart figure svg")


def picture(shown: Locator | Page, name: str) -> None:
    """Take a picture of the manual."""
    shown.screenshot(path=PICTURES / f"{name}.png", animations="disabled", caret="hide")


def welcome() -> None:
    with whole("welcome") as page:
        page.mouse.move(0, 0)
        page.locator(".jp-Notebook h1").scroll_into_view_if_needed()
        picture(page, "notebook")
        output = run(page, 3, ANSWERS)
        output.locator("td summary").first.click()
        page.mouse.move(0, 0)
        picture(output, "table")
        output = run(page, 3, "select id + 1 as day, cast(10 + 8 * sin(id / 3) as int) as tickets from range(30) as t;")
        done(page, 3)
        chart(output, "bar").wait_for()
        picture(output.locator(".panel.chart"), "chart")
        output = run(page, 3, "select city, celsius from wheather;")
        output.locator("text=TableError").wait_for()
        picture(cell(page, 3), "error")
        write(page, 3, "load csv.`orders.csv` where e")
        page.keyboard.press("Tab")
        page.locator(".jp-Completer-item").first.wait_for()
        picture(page, "completion")


def tour() -> None:
    with whole("tour") as page:
        said = page.locator(".jp-CodeCell", has_text="--%chat").first  # the usage shows it, too
        said.scroll_into_view_if_needed()
        picture(said, "chat")


def quickstart() -> None:
    with whole("quickstart", live=("training", 1, re.compile(r"step [5-9]\d\d/1000"))):
        pass


@contextmanager
def whole(name: str, live: tuple[str, int, re.Pattern[str]] | None = None) -> Iterator[Page]:
    """Run a notebook from its first cell to its last and keep it; then it is as a reader has it.

    live: the name of a picture that is taken while a cell runs, the cell, and the text to wait for in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="sqlllm-pictures-"))
    file = folder / FOLDER / f"{name}.ipynb"
    with lab(folder) as address, opened(_emptied(file, address), name) as page:
        page.set_default_timeout(1_200_000)
        for number in range(page.locator(".jp-Notebook .jp-CodeCell").count()):
            output = run(page, number)
            if live and live[1] == number:
                output.get_by_text(live[2]).first.wait_for()
                cell(page, number).scroll_into_view_if_needed()
                picture(page, live[0])
            cell(page, number).locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]")).wait_for()
        page.keyboard.press("Escape")
        page.keyboard.press("Control+s")
        while any(
            cell["cell_type"] == "code" and not cell["outputs"] for cell in json.loads(file.read_text())["cells"]
        ):
            page.keyboard.press("Control+s")  # the last outputs may have come after the save
            page.wait_for_timeout(1000)
        outputs = [output for cell in json.loads(file.read_text())["cells"] for output in cell.get("outputs", ())]
        assert "error" not in [output["output_type"] for output in outputs]
        kept = file.read_text().replace(str(folder / ".home"), "~/.sqlllm").replace(str(folder), "~")
        if name != "welcome":  # which a reader runs first
            (NOTEBOOKS / f"{name}.ipynb").write_text(kept)
        yield page
    shutil.rmtree(folder)


def _emptied(file: Path, address: str) -> str:
    """The address, once the notebook is without outputs: those of another time would be taken for these."""
    book = json.loads(file.read_text())
    for one in book["cells"]:
        if one["cell_type"] == "code":
            one |= {"outputs": [], "execution_count": None}
    file.write_text(json.dumps(book))
    return address


if __name__ == "__main__":  # the notebooks that are named run to their end, else all: it takes some minutes
    parts = {"welcome": welcome, "tour": tour, "quickstart": quickstart}
    for part in sys.argv[1:] or parts:
        parts[part]()
