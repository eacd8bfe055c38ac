"""The kernel, by Jupyter's own suite for kernels and through its protocol."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jupyter_kernel_test
import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import start_new_kernel

from sqlllm.console.jupyter import install

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module", autouse=True)
def kernelspec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The kernel as `sqlllm console` installs it, in a folder of its own."""
    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "share" / "jupyter"))
        patch.setenv("SQLLLM_HOME", str(folder / "home"))
        patch.setenv("SQLLLM_SPARK__MASTER", "local[2]")
        patch.setenv("SQLLLM_SPARK__DRIVER_MEMORY", "1g")
        install(folder)
        assert KernelSpecManager().get_kernel_spec("sqlllm").display_name == "SQLLLM"
        yield
    # By type: isinstance would ask objects of torch for their class, which warn of it.
    for loop in [one for one in gc.get_objects() if issubclass(type(one), asyncio.AbstractEventLoop)]:
        if not loop.is_running():
            loop.close()  # Jupyter's client leaves its own open


@pytest.mark.slow
class TestSuite(jupyter_kernel_test.KernelTests):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        # The suite waits 15 seconds for each cell: Spark starts before.
        cls.kc.execute_interactive("select 1;", output_hook=lambda _: None, timeout=120)

    kernel_name = "sqlllm"
    language_name = "sqlllm"
    file_extension = ".sql"
    code_hello_world = "!println 'hello, world';"
    code_stderr = "!byzerllm setup 'timeout=3';"  # a note goes to standard error
    code_generate_error = "selec 1;"
    code_inspect_sample = "load"
    code_execute_result: list[dict[str, str]] = []  # noqa: RUF012 - tables are displayed, not executed results
    completion_samples = [  # noqa: RUF012
        {"text": "!sho", "matches": {"show"}},
        {"text": "load csvS", "matches": {"csvStr"}},
    ]
    complete_code_samples = ["select 1;", "!show tables;"]  # noqa: RUF012
    incomplete_code_samples = ["select 1", "set x = '''a"]  # noqa: RUF012
    invalid_code_samples = ["selec 1;"]  # noqa: RUF012


Message = dict[str, Any]


@pytest.fixture(scope="module")
def kernel(kernelspec: None) -> Iterator[tuple[Any, Any]]:
    manager, client = start_new_kernel(kernel_name="sqlllm")
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel()


@pytest.fixture
def run(kernel: tuple[Any, Any]) -> Callable[[str], tuple[Message, list[Message]]]:
    def run(code: str) -> tuple[Message, list[Message]]:
        shown: list[Message] = []
        reply = kernel[1].execute_interactive(code, output_hook=shown.append, timeout=120)
        return reply["content"], [one for one in shown if one["msg_type"] not in ("status", "execute_input")]

    return run


def tables(shown: list[Message]) -> list[str]:
    return [one["content"]["data"]["text/plain"] for one in shown if "<table>" in str(one["content"].get("data"))]


@pytest.mark.slow
def test_cells_share_one_session_and_show_tables(run: Callable[[str], tuple[Message, list[Message]]]) -> None:
    run("set many = '3';")
    reply, shown = run("select id, '<script>alert(1)</script>' as s from range(${many}) as t;")
    assert reply["status"] == "ok"
    assert tables(shown)[0].count("<script>") == 3
    page = next(one["content"]["data"]["text/html"] for one in shown if "<table>" in str(one["content"]))
    assert "&lt;script&gt;alert(1)" in page
    assert ">3 rows<" in page
    _, shown = run("select count(*) as n from t as u;")
    assert tables(shown)[0].split() == ["n", "─", "3"]


@pytest.mark.slow
def test_an_error_underlines_its_place_without_a_stack(run: Callable[[str], tuple[Message, list[Message]]]) -> None:
    reply, _ = run("select 1 as a as t;\nselect b from t;")
    assert reply["ename"] == "TableError"
    lines = "\n".join(reply["traceback"])
    assert "\x1b[1;4;31mb\x1b[0m" in lines
    assert "Traceback" not in lines
    reply, _ = run("set api_key = 'abc123';\nset x == 'abc123';")
    assert "abc123" not in str(reply) or "api_key" not in str(reply)


@pytest.mark.slow
def test_an_interrupt_cancels_the_jobs_and_leaves_the_session(
    kernel: tuple[Any, Any], run: Callable[[str], tuple[Message, list[Message]]]
) -> None:
    run("select 1 as a as t;")
    pressed: list[float] = []

    def press() -> None:
        time.sleep(3)
        pressed.append(time.monotonic())
        kernel[0].interrupt_kernel()

    threading.Thread(target=press).start()
    reply, shown = run("select sum(a.id * b.id % 7) as n from range(10000000000) a cross join range(10000) b;")
    assert time.monotonic() - pressed[0] < 10  # it is less than one; the query would take hours
    assert reply["ename"] == "Stopped"
    assert any(one["msg_type"] == "update_display_data" for one in shown)  # it reported its tasks meanwhile
    assert "no rows" in str(run("!show jobs;")[1])
    assert tables(run("select * from t;")[1])[0].split()[-1] == "1"


@pytest.mark.slow
def test_notebooks_run_headless(tmp_path: Path) -> None:
    cells = ["set n = '4';", "select sum(id) as total from range(${n}) as t;"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata["kernelspec"] = {"name": "sqlllm", "display_name": "SQLLLM", "language": "sqlllm"}
    nbformat.write(book, tmp_path / "book.ipynb")
    jupyter = Path(sys.executable).with_name("jupyter")
    subprocess.run([jupyter, "execute", "--inplace", "book.ipynb"], cwd=tmp_path, check=True, capture_output=True)
    assert ">6</td>" in (tmp_path / "book.ipynb").read_text()
    bad = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("selec 1;")], metadata=book.metadata)
    nbformat.write(bad, tmp_path / "bad.ipynb")
    papermill = [sys.executable, "-m", "papermill", "bad.ipynb", "out.ipynb"]
    shown = subprocess.run(papermill, cwd=tmp_path, capture_output=True, text=True)
    assert shown.returncode == 1
    assert "unknown statement selec" in (tmp_path / "out.ipynb").read_text()
