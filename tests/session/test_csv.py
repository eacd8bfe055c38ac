"""CSV is RFC 4180: what the product writes it reads back, and what other programs write, too."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sqlllm.errors import TableError
from sqlllm.session import Session
from sqlllm.session.values import csv_line

from .cases import rows_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

HOSTILE = [
    None, "", " ", "  x  ", '"', '""', 'He said "no", twice',
    "a\nb", "a\r\nb", "a\rb", "\n", "\r", '"\n', "\n\"", ",", ",,", "\t",
    "\\", "\\\\", '\\"', "x\\", "\\n", "#c", "# \n", "'", "NULL", "null", "\\N", "NaN",
    "😀", "\ufeffx", "é\u2028", "\x85", ";",
    "${x}", "=1+1", "1", "true", 'a"b', '"a', 'a"', '","', '",\n"',
]  # fmt: skip


def hostile_rows(seed: int, count: int) -> list[tuple[int, str | None, str | None]]:
    """Every hostile text, then texts made of parts of them."""
    chance = random.Random(seed)

    def text() -> str | None:
        parts = [chance.choice(HOSTILE) for _ in range(chance.randint(1, 4))]
        return None if None in parts else "".join(part or "" for part in parts)

    made = [(text(), text()) for _ in range(count)]
    return [(number, *pair) for number, pair in enumerate([*((one, one) for one in HOSTILE), *made])]


def test_a_line_of_csv_is_what_python_reads() -> None:
    rows = [pair[1:] for pair in hostile_rows(1, 2_000)]
    text = "".join(map(csv_line, rows))
    assert list(csv.reader(io.StringIO(text, newline=""))) == [[one or "" for one in row] for row in rows]
    assert csv_line([None, "", 1, True]) == ',"",1,true\n'


@pytest.fixture
def hostile(session: Session) -> DataFrame:
    frame = session.spark.createDataFrame(hostile_rows(2, 1_000), 'id int, `the\n"text"` string, other string')
    frame.createOrReplaceTempView("hostile")
    return frame


def same(found: Iterable[tuple[object, ...]], expected: Iterable[tuple[object, ...]]) -> None:
    """The rows are equal; the first that differ are shown."""
    pairs = zip(sorted(found, key=lambda row: int(str(row[0]))), expected, strict=True)
    assert [pair for pair in pairs if (int(str(pair[0][0])), *pair[0][1:]) != tuple(pair[1])][:3] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "written", ["save overwrite hostile as csv.`${out}/t` where header='true'", '!export hostile "${out}/t.csv"']
)
def test_what_is_written_is_read_back(session: Session, hostile: DataFrame, written: str) -> None:
    path = "t.csv" if "export" in written else "t"
    session.run(f"""{written}; load csv.`${{out}}/{path}` where header="true" as t;""")
    assert session.spark.table("t").columns == hostile.columns
    same(session.spark.table("t").collect(), hostile.collect())


@pytest.mark.slow
def test_other_options_of_a_writer_are_those_of_the_reader(session: Session, hostile: DataFrame) -> None:
    session.run(
        """save overwrite hostile as csv.`${out}/t` where quote="'" and sep=";" and header="true";
        load csv.`${out}/t` where quote="'" and sep=";" and header="true" as t;"""
    )
    same(session.spark.table("t").collect(), hostile.collect())


@pytest.mark.slow
def test_files_of_other_programs(session: Session, tmp_path: Path) -> None:
    """Excel ends records with CR LF and breaks lines in cells with LF."""
    rows = [["1", "a\nb"], ["2", 'He said "no", twice'], ["3", "c\r\nd"], ["4", '5" pipe']]
    with (tmp_path / "excel.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *rows])
    (tmp_path / "mac.csv").write_bytes(b"id,text\r1,a\r2,b\r")
    (tmp_path / "bom.csv").write_bytes('\ufeffid,text\r\n1,"a\r\nb"\r\n'.encode())
    assert rows_of(session, 'load csv.`${data}/excel.csv` where header="true" as t;') == [
        {"id": number, "text": text} for number, text in rows
    ]
    assert rows_of(session, 'load csv.`${data}/mac.csv` where header="true" as t;') == [
        {"id": "1", "text": "a"}, {"id": "2", "text": "b"},
    ]  # fmt: skip
    assert rows_of(session, 'load csv.`${data}/bom.csv` where header="true" as t;') == [{"id": "1", "text": "a\r\nb"}]


@pytest.mark.slow
def test_a_script_s_own_options_win(session: Session, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text('id,text\n1,"say \\"a\\", b"\n2,"c\nd"\n')
    (first, second) = rows_of(session, """load csv.`${data}/old.csv` where header="true" and escape='''\\''' as t;""")
    assert (first["text"], second["text"]) == ('say "a", b', "c\nd")
    split = rows_of(session, """load csv.`${data}/old.csv` where header="true" and multiLine="false" as t;""")
    assert len(split) == 3


@pytest.mark.slow
def test_files_without_line_breaks_in_quotes_are_split_among_workers(session: Session, tmp_path: Path) -> None:
    session.spark.conf.set("spark.sql.files.maxPartitionBytes", "64k")
    session.spark.conf.set("spark.sql.files.openCostInBytes", "1k")
    try:
        (tmp_path / "plain.csv").write_text("".join(f'{n},"a ""quoted"", text"\n' for n in range(20_000)))
        (tmp_path / "broken.csv").write_text("".join(f'{n},"a\ntext"\n' for n in range(20_000)))
        session.run("load csv.`${data}/plain.csv` as plain; load csv.`${data}/broken.csv` as broken;")
        plain, broken = session.spark.table("plain"), session.spark.table("broken")
        assert plain.rdd.getNumPartitions() > 4
        assert broken.rdd.getNumPartitions() == 1
        assert (plain.count(), broken.count()) == (20_000, 20_000)
    finally:
        session.spark.conf.unset("spark.sql.files.maxPartitionBytes")
        session.spark.conf.unset("spark.sql.files.openCostInBytes")


@pytest.mark.slow
def test_lines_are_left_out_around_texts_of_several_lines(session: Session, tmp_path: Path) -> None:
    (tmp_path / "ends.csv").write_text('made by hand\nid,text\n1,"a\nb ""c"""\n2,\n3,""\ntotal\n')
    options = 'where header="true" and skipFirstNLines="1" and skipLastNLines="1"'
    expected = [{"id": "1", "text": 'a\nb "c"'}, {"id": "2", "text": None}, {"id": "3", "text": ""}]
    assert rows_of(session, f"load csv.`${{data}}/ends.csv` {options} as t;") == expected
    session.override("rows", (tmp_path / "ends.csv").read_text())
    assert rows_of(session, f"load csvStr.`rows` {options} as t;") == expected


@pytest.mark.slow
def test_a_null_alone_in_its_row_is_an_error(session: Session) -> None:
    session.run("select explode(array('a', null, '')) as a as t;")
    with pytest.raises(TableError, match="a is NULL in a row, and CSV has no line for it"):
        session.run("save overwrite t as csv.`${out}/one`;")
    with pytest.raises(TableError, match="a is NULL in a row, and CSV has no line for it"):
        session.run('!export t "${out}/one.csv";')
    session.run(
        'save overwrite t as csv.`${out}/one` where nullValue="-"; load csv.`${out}/one` where nullValue="-" as u;'
    )
    assert [row[0] for row in session.spark.table("u").collect()] == ["a", None, ""]


@pytest.mark.slow
def test_microseconds_and_types_come_back(session: Session) -> None:
    session.run(
        """select timestamp'2026-01-02 03:04:05.678901' as at, timestamp_ntz'2026-01-02 03:04:05.000001' as plain,
        double('NaN') as x, true as b, date'2026-01-02' as d as t;
        save overwrite t as csv.`${out}/types` where header="true";
        load csv.`${out}/types` where header="true" and inferSchema="true" as u;"""
    )
    found, expected = session.spark.table("u").collect()[0], session.spark.table("t").collect()[0]
    assert (found.at, found.b, found.d) == (expected.at, expected.b, expected.d)
    assert isinstance(found.at, datetime)
