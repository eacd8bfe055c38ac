"""`%llm` and `%%llm` in a notebook in Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from sqlllm.console.jupyter import magics
from sqlllm.errors import ScriptError, TableError
from sqlllm.session import Result, Session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow


@pytest.fixture
def notebook(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell: Any = InteractiveShell()
    session = Session(spark=spark)
    session.override("home", str(tmp_path))
    magics.load(shell, session)
    yield shell
    session.close()
    shell.history_manager.end_session()
    for table in spark.catalog.listTables():
        spark.catalog.dropTempView(table.name)


def test_tables_and_variables_are_shared_with_python(notebook: Any) -> None:
    notebook.run_cell("import pandas\npeople = pandas.DataFrame({'name': ['Al', 'Bo'], 'age': [20, 41]})\nleast = 30")
    notebook.run_cell("%%llm older\nselect name, age from people where age > ${least} as older_people;").raise_error()
    older = notebook.user_ns["older"]
    assert isinstance(older, Result)
    assert [row.name for row in older.rows()] == ["Bo"]
    notebook.run_cell("t = %llm select count(*) as n from older_people as counted;").raise_error()
    assert notebook.user_ns["t"].rows()[0].n == 1
    notebook.run_cell("%%llm again\nselect n + 1 as m from t as u;").raise_error()
    assert notebook.user_ns["again"].frame.toPandas()["m"].tolist() == [2]


def test_a_result_is_shown_as_a_table(notebook: Any) -> None:
    notebook.run_cell("t = %llm select '<b>' as s as t;")
    data, _ = notebook.display_formatter.format(notebook.user_ns["t"])
    assert "&lt;b&gt;" in data["text/html"]
    assert "<b>" in data["text/plain"]


def test_errors_have_their_place_and_no_stack(notebook: Any) -> None:
    with capture_output() as shown:
        ran = notebook.run_cell("%%llm\nselect 1 as a as t;\nselect b from t;")
    assert isinstance(ran.error_in_exec, TableError)
    assert "\x1b[1;4;31mb\x1b[0m" in shown.stdout
    assert "Traceback" not in shown.stdout
    with capture_output():
        ran = notebook.run_cell("%%llm select 1;\nselect 1;")
    assert isinstance(ran.error_in_exec, ScriptError)


def test_a_variable_that_is_not_a_frame_is_named_without_a_stack(notebook: Any) -> None:
    notebook.run_cell("import pandas\nmixed = pandas.DataFrame({'a': [1, 'x', [2]]})")
    with capture_output() as shown:
        ran = notebook.run_cell("%%llm\nselect a from mixed as t;")
    assert isinstance(ran.error_in_exec, TableError)
    assert "the DataFrame mixed cannot become a table: " in shown.stdout
    assert "Traceback" not in shown.stdout


def test_a_cell_shows_its_table_once_while_it_can_be_stopped(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, told = list[dict[str, str]](), list[bool]()
    monkeypatch.setattr(magics, "publish_display_data", lambda bundle, **_: shown.append(bundle))
    session = notebook.user_ns["session"]
    monkeypatch.setattr(session, "tell_usage", lambda: told.append(bool(shown)))
    ran = notebook.run_cell("%%llm\nselect 'one' as word as t;")
    ran.raise_error()
    assert ran.result is None
    assert ["one" in bundle["text/plain"] for bundle in shown if "<table>" in bundle["text/html"]] == [True]
    assert told[-1]  # what the table used, too


def test_what_a_script_prints_is_shown(notebook: Any) -> None:
    with capture_output() as shown:
        notebook.run_cell("who = 'Bo'")
        notebook.run_cell("%llm !println 'hello ${who}';")
    assert "hello Bo" in shown.stdout


def test_cells_are_completed(notebook: Any) -> None:
    text = "%%llm\nload csv.`x` where inferS"
    with provisionalcompleter():
        found = {one.text for one in notebook.Completer.completions(text, len(text))}
    assert "inferSchema" in found
