"""What the shell takes from a pipe, from -c and from a prompt, without Spark."""

from __future__ import annotations

import io
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from sqlllm.console import render
from sqlllm.console.cli import cli
from sqlllm.console.entries import Entries, entries, is_line
from sqlllm.console.view import View
from sqlllm.session import Session
from sqlllm.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PIPE = """set a = 'x;
exit
';
.timer on
  \\d people
!if ''':a == "x"''';
  set b = '1';
!fi;
; ;
select 1
from t;
exit;
--%python
print(1)
--%sql
!show tables; set c = "2\""""


def test_a_text_is_cut_into_entries() -> None:
    found = list(entries(PIPE))
    assert [text for _, text in found] == [
        "set a = 'x;\nexit\n';",
        ".timer on",
        "\\d people",
        "!if ''':a == \"x\"''';\n  set b = '1';\n!fi;",
        "select 1\nfrom t;",
        "exit;",
        "--%python\nprint(1)\n",
        "--%sql",
        "!show tables;",
        'set c = "2"',
    ]
    assert all(PIPE.startswith(text, start) for start, text in found)


@pytest.mark.parametrize("text", ["exit", " quit; ", "help", "\\d t", ".mode csv", "", "\\q", ".exit", "EXIT"])
def test_these_need_no_semicolon(text: str) -> None:
    assert is_line(text)


@pytest.mark.parametrize("text", ["exit wounds", "select 1", "exit\nfrom", ".5", "helpers"])
def test_these_are_statements(text: str) -> None:
    assert not is_line(text)


class Taken:
    """A session with its entries and what they print."""

    def __init__(self, folder: Path, spark: SparkSession | None = None) -> None:
        self.session = Session(Settings.load(home=folder), spark=spark)
        self.out, self.err = (Console(file=io.StringIO(), width=100) for _ in range(2))
        self.entries = Entries(self.session, self.out, self.err)

    def printed(self, console: Console) -> str:
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()


@pytest.fixture
def taken(tmp_path: Path) -> Taken:
    return Taken(tmp_path)


def test_all_of_a_pipe_runs(taken: Taken) -> None:
    assert taken.entries.run_all("set a = '1';\nset b = '${a}2';\n\nset c = '${b}3'", "<stdin>") == 0
    assert taken.session.variables.get("c") == "123"
    assert not taken.session.spark_runs


def test_a_pipe_stops_at_the_first_error_which_names_its_place(taken: Taken) -> None:
    assert taken.entries.run_all("set a = '1';\n  selct 1;\nset b = '2';", "<stdin>") == 1
    assert "<stdin>:2:3\n2 |   selct 1;\n  |   ^^^^^" in taken.printed(taken.err)
    assert taken.session.variables.get("a") == "1"
    assert taken.session.variables.get("b") is None


def test_exit_leaves_and_what_follows_does_not_run(taken: Taken) -> None:
    assert taken.entries.run_all("set a = '1';\nexit\nset b = '2';", "<stdin>") == 0
    assert taken.entries.left
    assert taken.session.variables.get("b") is None


@pytest.mark.parametrize("word", ["help", "\\?", ".help;", "HELP"])
def test_help_lists_what_there_is(taken: Taken, word: str) -> None:
    assert taken.entries.run(word) == 0
    assert ".timer  on or off" in taken.printed(taken.out)
    assert "\\d      tables" in taken.printed(taken.out)


def test_the_timer_says_how_long_a_statement_took(taken: Taken) -> None:
    assert taken.entries.run_all(".timer on\nset a = '1';\n.timer off\nset a = '2';", "<stdin>") == 0
    assert taken.printed(taken.err).count(" s\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (".mode cvs", ".mode takes how tables are shown: table, line, markdown, json, csv"),
        (".timr on", "there is no .timr; did you mean .timer?"),
        (".timer", ".timer takes on or off"),
        (".rows 0", ".rows takes how many rows"),
        ("\\x", "there is no \\x; help lists all"),
        ("\\e", "\\e: `\\e t file.csv` writes a table"),
    ],
)
def test_a_mistyped_setting_is_refused(taken: Taken, text: str, message: str) -> None:
    assert taken.entries.run(text) == 1
    assert message in taken.printed(taken.err)


def test_settings_are_taken(taken: Taken) -> None:
    for text in (".mode line", ".rows 7", ".pager on;"):
        assert taken.entries.run(text) == 0
    assert (taken.entries.mode, taken.entries.rows, taken.entries.pager) == ("line", 7, True)


def cli_shell(*arguments: str, text: str = "") -> Result:
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        return CliRunner().invoke(cli, ["shell", *arguments], input=text)
    finally:
        signal.signal(signal.SIGINT, interrupt)  # which the shell turns off when it leaves


def test_the_command_runs_what_it_is_given() -> None:
    assert cli_shell("-c", "set a = '1'", "-c", "help").exit_code == 0
    assert cli_shell("-c", "selct 1", "-c", "help").output.endswith("Did you mean select?\n")
    assert cli_shell("-c", "selct 1", "-c", "help").exit_code == 1


def test_the_command_reads_a_pipe() -> None:
    assert cli_shell(text="\ufeffset a = '1';\nexit\nselct 1;").exit_code == 0
    failed = cli_shell(text="set a = '1';\nselct 1;\nset b = 1;")
    assert failed.exit_code == 1
    assert "<stdin>:2:1" in failed.output
    assert cli_shell(text="").exit_code == 0


@pytest.mark.slow
def test_each_statement_of_a_pipe_shows_its_table(spark: SparkSession, tmp_path: Path) -> None:
    taken = Taken(tmp_path, spark)
    text = "select 1 as a, '' as e, null as n;\n.mode csv\nselect '' as e, cast(null as int) as n as t;\n"
    text += ".mode json\nselect 1 as a, 2 as a as t;"
    assert taken.entries.run_all(text, "<stdin>") == 1
    shown = taken.printed(taken.out)
    assert "int" in shown
    assert "1 row" in shown
    assert shown.endswith('e,n\n"",\n')
    assert "two columns are named a" in taken.printed(taken.err)
    assert "<stdin>:5:1" in taken.printed(taken.err)


VIEW = View((("id", "int"), ("text", "string")), ((1, "a|b\nc"), (2, None)), more=False)


def test_lines_show_each_value_on_its_own() -> None:
    assert render.lines(VIEW).plain == "row 1\n  id  1\ntext  a|b\n      c\nrow 2\n  id  2\ntext  NULL\n2 rows"


def test_markdown_is_a_table_of_a_page() -> None:
    assert render.markdown(VIEW).plain == "| id | text |\n| --- | --- |\n| 1 | a\\|b<br>c |\n| 2 | NULL |"


def test_a_table_says_its_types_and_how_many_rows_it_has() -> None:
    out = Console(file=io.StringIO(), width=60)
    out.print(render.table(VIEW, types=True))
    assert isinstance(out.file, io.StringIO)
    shown = out.file.getvalue()
    assert "int" in shown
    assert "string" in shown
    assert "2 rows" in shown
