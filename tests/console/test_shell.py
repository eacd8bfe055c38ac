"""The shell in a pseudo-terminal, as a person uses it."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pexpect
import pytest
from prompt_toolkit.document import Document
from rich.console import Console

from sqlllm.console.language import Language
from sqlllm.console.shell import Completions, MaskedHistory, Shell
from sqlllm.jobs.serving import ModelSpec
from sqlllm.session import Session
from sqlllm.settings import Settings

if TYPE_CHECKING:
    from sqlllm.jobs.serving import Serving

SHELL = ["-c", "from sqlllm.console.cli import main; main()", "shell"]
_SIZE = ("COLUMNS", "LINES")  # readline sets them in a process that starts others, as pytest-xdist does


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def shell(home: Path, serving: Serving) -> Iterator[pexpect.spawn[str]]:
    """A shell that joins the Ray of the tests."""
    import ray

    environment = {
        **{name: value for name, value in os.environ.items() if name not in _SIZE},
        "SQLLLM_RAY__ADDRESS": ray.get_runtime_context().gcs_address,
        "TERM": "xterm",
        "PROMPT_TOOLKIT_NO_CPR": "1",
        "SQLLLM_HOME": str(home),
        "SQLLLM_SPARK__MASTER": "local[2]",
        "SQLLLM_SPARK__DRIVER_MEMORY": "1g",
    }
    child = pexpect.spawn(
        sys.executable,
        SHELL,
        env=environment,
        encoding="utf-8",
        codec_errors="replace",  # the terminal drops what is on its way when Ctrl-C comes, in the middle of a character
        timeout=60,
        dimensions=(50, 160),  # type: ignore[arg-type]
    )
    child.expect("sqlllm>")
    yield child
    child.sendcontrol("d")
    if child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=5):  # typed between two prompts it is lost
        child.sendcontrol("d")
        child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


@pytest.mark.slow
def test_a_statement_of_several_lines_runs_when_it_ends(shell: pexpect.spawn[str]) -> None:
    shell.send("select id * 7 as seven\r")
    shell.expect("->")
    shell.send("from range(7) as t;\r")
    shell.expect("42")
    shell.expect("sqlllm>")


@pytest.mark.slow
def test_tab_completes(shell: pexpect.spawn[str]) -> None:
    shell.send("!sho\t")
    time.sleep(2)  # it looks for what fits beside what is typed
    shell.send(" tables;\r")
    shell.expect("isTemporary")
    shell.expect("sqlllm>")


@pytest.mark.slow
def test_ctrl_c_stops_the_statement_and_keeps_the_shell(shell: pexpect.spawn[str]) -> None:
    shell.send("select sum(a.id * b.id % 7) as n from range(10000000000) a cross join range(1000) b;\r")
    time.sleep(4)
    shell.sendcontrol("c")
    pressed = time.monotonic()
    shell.expect("stopped")
    assert time.monotonic() - pressed < 10  # it is far less than two; the query would take days
    shell.send("!show jobs;\r")
    shell.expect("no rows")
    shell.send("select max(seven) as most from t as u;\r")
    shell.expect("42")
    shell.expect("sqlllm>")


@pytest.mark.rare
@pytest.mark.slow
def test_ctrl_c_stops_a_million_rows_over_a_model_and_leaves_nothing_running(
    shell: pexpect.spawn[str], serving: Serving
) -> None:
    options = {"function": "tests.serving.oracles:upper", "latency": "0.2"}
    serving.deploy(ModelSpec(name="slow", engine="oracle", model_path="", engine_options=options))
    shell.send('run command as LLM.`` where action="infer" and udfName="slow" and reconnect="true";\r')
    shell.expect("RUNNING")
    shell.send("select count(slow(llm_param(map('instruction', string(id))))) as n from range(1000000) as t;\r")
    shell.expect("models: [^\\r]*[1-9][0-9,]* calls")  # the live line
    shell.sendcontrol("c")
    pressed = time.time()
    shell.expect("stopped")
    assert time.time() - pressed < 10  # it is less than two; the query would take hours
    while time.time() - (load := serving.workers("slow")[0]).last < 2:
        time.sleep(0.1)
    assert load.under_way == 0
    assert load.last - pressed < 10  # Spark gives its Python half a second to end
    shell.send("!show jobs;\r")
    shell.expect("no rows")
    shell.send("--%chat\r--%model=slow\rhello you;\r")
    shell.expect("HELLO YOU")
    shell.send("\\u\r")
    shell.expect("--%chat --%model=slow")
    assert serving.workers("slow")[0].requests == load.requests + 1
    serving.undeploy("slow")


@pytest.mark.slow
def test_errors_and_short_cuts(shell: pexpect.spawn[str], home: Path) -> None:
    shell.send("selec 1;\r")
    shell.expect("Did you mean select")
    shell.send("select id * 7 as seven from range(2) as t;\r")
    shell.expect("seven")
    shell.send("\\d\r")
    shell.expect("isTemporary")
    shell.send("\\d t\r")
    shell.expect("bigint")
    shell.send("\\r\r")
    shell.expect("no rows")
    shell.send(f"\\e t {home}/t.csv\r")
    shell.expect("bytes")
    shell.expect("sqlllm>")
    assert (home / "t.csv").read_text().startswith("seven\n0\n7\n")
    shell.send("\\x\r")
    shell.expect("there is no")
    shell.send("help\r")
    shell.expect("deployed models")
    shell.expect("sqlllm>")


@pytest.mark.slow
def test_history_is_kept_without_secrets(shell: pexpect.spawn[str], home: Path) -> None:
    shell.send("set api_key = 'abc123';\r")
    shell.expect("sqlllm>")
    shell.send("\x1b[A")  # arrow up
    shell.expect("api_key")
    shell.sendcontrol("c")
    shell.expect("sqlllm>")
    kept = (home / "history").read_text()
    assert "+set api_key = '******';" in kept
    assert "abc123" not in kept
    assert (home / "history").stat().st_mode & 0o077 == 0


def test_completions_replace_the_half_written_word() -> None:
    (offer,) = Completions(Language()).get_completions(Document("load csvS"), None)  # type: ignore[arg-type]
    assert (offer.text, offer.start_position) == ("csvStr", -4)


def test_the_history_of_another_day_is_read(tmp_path: Path) -> None:
    MaskedHistory(tmp_path / "history").store_string("select 1;")
    assert list(MaskedHistory(tmp_path / "history").load_history_strings()) == ["select 1;"]


@pytest.mark.parametrize("typed", ["\\q", " \\q ;", "exit", "quit;", "EXIT"])
def test_leaving_with_or_without_a_semicolon(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(Settings.load(home=tmp_path))
    prompts = iter([typed])
    monkeypatch.setattr("sqlllm.console.shell.PromptSession", lambda **_: SimpleNamespace(prompt=prompts.__next__))
    Shell(session, Console(file=io.StringIO()), Console(file=io.StringIO())).run()
    assert next(prompts, None) is None
