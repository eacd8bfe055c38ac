"""What lies outside: modules by entry point, packages that may be missing, jobs of other threads, the console."""

from __future__ import annotations

import sys
import threading
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from sqlllm.console.progress import PlainObserver
from sqlllm.errors import OptionError, PackageError, TableError
from sqlllm.session import Result, Session

from .cases import rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow

MODULE = """
from sqlllm.session import Result
from sqlllm.session.modules import input_table

def double(session, run):
    factor = run.options.resolve(session.variables).get("factor", "2")
    return Result(input_table(session, run).selectExpr(f"n * {factor} as n"))
"""


def test_a_package_adds_a_module(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sqlllm_double.py").write_text(MODULE)
    info = tmp_path / "sqlllm_double-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sqlllm-double\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sqlllm.modules]\nDouble = sqlllm_double:double\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [point.name for point in entry_points(group="sqlllm.modules")] == ["Double"]
    script = 'select 21 as n as t; run t as double.`` where factor="3" as u; select n + 1 as n from u as v;'
    assert rows_of(session, script) == [{"n": 64}]
    assert {"name": "Double"} in rows_of(session, "!show modules;")


def test_excel_there_and_back(session: Session) -> None:
    pytest.importorskip("openpyxl")
    script = """
    select 1 as a, 'x' as b, date'2026-01-02' as c union all select 2, null, null as t;
    save overwrite t as excel.`${out}/t.xlsx` where header="true" and sheet="first";
    load excel.`${out}/t.xlsx` where useHeader="true" and sheet="first" as u;
    """
    assert rows_of(session, script + "select a, b, year(c) as c from u order by a as v;") == [
        {"a": 1, "b": "x", "c": 2026},
        {"a": 2, "b": None, "c": None},
    ]
    assert rows_of(session, "load excel.`${out}/t.xlsx` as w;")[0] == {"_c0": "a", "_c1": "b", "_c2": "c"}
    with pytest.raises(TableError, match=r"t.xlsx exists already"):
        session.run("select 1 as a as t; save t as excel.`${out}/t.xlsx`;")
    with pytest.raises(TableError, match=r"cannot read .*people.csv"):
        session.run("load excel.`${data}/people.csv` as t;")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("dataAddress=\"'second'!B2:C4\" and header='true'", [{"b1": 2, "c1": 3}, {"b1": None, "c1": 4}]),
        ("dataAddress='B3:C3'", [{"_c0": 2, "_c1": 3}]),
        ("dataAddress='first' and skipFirstNLines='2' and maxRowsInMemory='9'", [{"_c0": 1}]),
        ("sheet='first' and header='true' and comment='#[[#]]#'", [{"x": 1}]),
    ],
)
def test_parts_of_an_excel_file(session: Session, tmp_path: Path, options: str, expected: list[object]) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    first, second = book.active, book.create_sheet("second")
    first.title = "first"
    for row in (["x"], ["# a comment"], [1]):
        first.append(row)
    for row in ([0, 0, 0], ["a1", "b1", "c1"], [1, 2, 3], ["", None, 4], [9, 9, 9]):
        second.append(row)
    if "B3" in options:
        book.move_sheet("second", -1)
    book.save(tmp_path / "book.xlsx")
    assert rows_of(session, f"load excel.`${{data}}/book.xlsx` where {options} as t;") == expected


def test_an_unknown_part_of_an_excel_file(session: Session) -> None:
    pytest.importorskip("openpyxl")
    with pytest.raises(OptionError, match="A1:9 is not a part of a sheet"):
        session.run("load excel.`${data}/book.xlsx` where dataAddress='A1:9' as t;")


def test_excel_names_the_package_it_needs(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(PackageError, match="openpyxl") as raised:
        session.run("load excel.`${data}/x.xlsx` as t;")
    assert "sqlllm[excel]" in raised.value.cure


def test_kill_stops_the_jobs_of_a_group(session: Session) -> None:
    failed: list[str] = []

    def sleep() -> None:
        session.spark.sparkContext.setJobGroup("slow", "sleeps for a minute", interruptOnCancel=True)
        try:
            Result(session.spark.range(1).selectExpr("java_method('java.lang.Thread', 'sleep', 60000L + id)")).rows()
        except TableError as error:
            failed.append(error.message)

    thread = threading.Thread(target=sleep)
    thread.start()
    deadline = time.monotonic() + 30
    while not rows_of(session, "!show jobs;") and time.monotonic() < deadline:
        time.sleep(0.05)
    session.run("!kill slow;")
    thread.join(30)
    assert not thread.is_alive()
    assert len(failed) == 1
    assert "cancel" in failed[0].lower()


def test_python_prints_on_the_console(spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(soft_wrap=True)  # on standard output, which is the cell's while it runs
    with Session(spark=spark, observer=PlainObserver(console, Console(stderr=True))) as session:
        session.override("allow.python", "true")
        session.run("--%python\nprint('one\\ntwo', end='')\n")
    assert capsys.readouterr().out == "one\ntwo\n"
