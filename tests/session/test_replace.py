"""save overwrite: the old files stay until the new ones are whole."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sqlllm.errors import OptionError, SQLLLMError
from sqlllm.session import Session, replace

from .cases import rows_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FAILS = "select id, if(id = 8, raise_error('no'), 'new') as a from range(10) as bad;"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_the_place_of_another_when_it_is_whole(tmp_path: Path) -> None:
    target, link = tmp_path / "t.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)

    def stopped() -> None:
        with replace.file(link) as beside:
            beside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert target.read_text() == "old"
    with replace.file(link) as beside:
        beside.write_text("new")
        assert target.read_text() == "old"
    assert (target.read_text(), link.is_symlink(), names(tmp_path)) == ("new", True, ["link.txt", "t.txt"])


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["parquet", "csv", "json", "orc", "xml"])
@pytest.mark.parametrize("partitions", ["", "partitionBy id"])
def test_a_save_that_fails_leaves_the_old_rows(session: Session, tmp_path: Path, format_: str, partitions: str) -> None:
    options = 'where rowTag="row"' if format_ == "xml" else 'where header="true"' if format_ == "csv" else ""
    session.run(f"select id, 'old' as a from range(3) as t; save t as {format_}.`${{out}}/x` {options} {partitions};")
    with pytest.raises(SQLLLMError, match="no"):
        session.run(f"{FAILS} save overwrite bad as {format_}.`${{out}}/x` {options} {partitions};")
    assert rows_of(
        session, f"load {format_}.`${{out}}/x` {options} as u; select count(*) as n, max(a) as a from u;"
    ) == [{"n": 3, "a": "old"}]
    assert names(tmp_path / "out") == ["x"]


@pytest.mark.slow
def test_a_new_folder_is_not_there_before_it_is_whole(session: Session, tmp_path: Path) -> None:
    with pytest.raises(SQLLLMError, match="no"):
        session.run(f"{FAILS} save bad as parquet.`${{out}}/x`;")
    assert names(tmp_path / "out") == []
    session.run("select 1 as a as t; save t as parquet.`${out}/x`; save ignore t as parquet.`${out}/x`;")
    assert rows_of(session, "load parquet.`${out}/x` as u;") == [{"a": 1}]


@pytest.mark.slow
def test_a_save_that_is_stopped_leaves_the_old_rows(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.run("select 'old' as a as t; save t as json.`${out}/x`; select 'new' as a as u;")
    swap = replace._Place.swap

    def stopped(place: replace._Place, beside: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(replace._Place, "swap", stopped)
    with pytest.raises(KeyboardInterrupt):
        session.run("save overwrite u as json.`${out}/x`;")
    assert rows_of(session, "load json.`${out}/x` as v;") == [{"a": "old"}]
    assert names(tmp_path / "out") == ["x"]
    monkeypatch.setattr(replace._Place, "swap", swap)
    assert rows_of(session, "save overwrite u as json.`${out}/x`; load json.`${out}/x` as v;") == [{"a": "new"}]


@pytest.mark.slow
def test_a_rename_that_fails_puts_the_old_folder_back(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.run("select 'old' as a as t; save t as json.`${out}/x`; select 'new' as a as u;")
    rename = replace._Place._rename

    def fails(place: replace._Place, source: object, target: object) -> None:
        if str(source).endswith(".part"):
            raise OSError("the disk is gone")
        rename(place, source, target)

    monkeypatch.setattr(replace._Place, "_rename", fails)
    with pytest.raises(OSError, match="the disk is gone"):
        session.run("save overwrite u as json.`${out}/x`;")
    assert rows_of(session, "load json.`${out}/x` as v;") == [{"a": "old"}]
    assert names(tmp_path / "out") == ["x"]


@pytest.mark.slow
def test_a_folder_whose_save_was_killed_between_its_renames_is_found(session: Session, tmp_path: Path) -> None:
    session.run("select 'old' as a as t; save t as json.`${out}/x`;")
    moved = tmp_path / "out" / f".x.0123.{time.time() - 60:.0f}.old"
    (tmp_path / "out" / "x").rename(moved)
    assert rows_of(session, "load json.`${out}/x` as v;") == [{"a": "old"}]
    assert names(tmp_path / "out") == ["x"]
    (tmp_path / "out" / "x").rename(tmp_path / "out" / f".x.0123.{time.time():.0f}.old")
    with pytest.raises(SQLLLMError):  # its save may be under way
        session.run("load json.`${out}/x` as v;")


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["parquet", "csv"])
def test_a_table_is_saved_to_the_folder_it_is_read_from(session: Session, format_: str) -> None:
    options = 'where header="true" and inferSchema="true"' if format_ == "csv" else ""
    header = 'where header="true"' if format_ == "csv" else ""
    session.run(
        f"""select id from range(4) as first; save first as {format_}.`${{out}}/a folder` {header};
        load {format_}.`${{out}}/a folder` {options} as t;
        select id + 10 as id from t where id > 0 as more;
        save overwrite more as {format_}.`${{out}}/a folder` {header};"""
    )
    ask = "select sum(id) as n, count(*) as rows from {} as r;"
    assert rows_of(session, ask.format("t")) == [{"n": 36, "rows": 3}]  # what is there now
    assert rows_of(session, ask.format("more")) == [{"n": 36, "rows": 3}]  # what was saved, not once more
    assert rows_of(session, f"load {format_}.`${{out}}/a folder` {options} as u; {ask.format('u')}") == [
        {"n": 36, "rows": 3}
    ]


@pytest.mark.slow
def test_a_table_of_the_catalogue_stays_when_its_save_fails(session: Session) -> None:
    session.run("select id, 'old' as a from range(3) as t; save overwrite t as hive.`kept`;")
    with pytest.raises(SQLLLMError, match="no"):
        session.run(f"{FAILS} save overwrite bad as hive.`kept`;")
    assert rows_of(session, "select count(*) as n from kept as u;") == [{"n": 3}]
    session.run("load hive.`kept` as k; select id, 'new' as a from k where id > 1 as k2;")
    session.run("save overwrite k2 as hive.`kept`;")
    assert rows_of(session, "select id, a from kept as u;") == [{"id": 2, "a": "new"}]
    assert [table.name for table in session.spark.catalog.listTables() if "__" in table.name] == []
    session.run("drop table kept;")


@pytest.mark.slow
def test_a_link_to_a_folder_stays(session: Session, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    session.run("select 1 as a as t; save overwrite t as json.`${data}/link`; save overwrite t as json.`${data}/link`;")
    assert (tmp_path / "link").is_symlink()
    assert rows_of(session, "load json.`${data}/real` as u;") == [{"a": 1}]


@pytest.mark.slow
def test_a_mounted_disk_is_not_replaced(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path).endswith("disk"))
    with pytest.raises(OptionError, match="cannot be replaced as a whole"):
        session.run("select 1 as a as t; save overwrite t as json.`${data}/disk`;")


@pytest.mark.slow
def test_an_excel_file_stays_when_its_save_fails(session: Session, tmp_path: Path) -> None:
    session.run("select 'old' as a as t; save overwrite t as excel.`${out}/x.xlsx` where header='true';")
    with pytest.raises(SQLLLMError, match="no"):
        session.run(f"{FAILS} save overwrite bad as excel.`${{out}}/x.xlsx`;")
    assert rows_of(session, "load excel.`${out}/x.xlsx` where HEADER='true' as u;") == [{"a": "old"}]
    assert names(tmp_path / "out") == ["x.xlsx"]


@pytest.mark.slow
def test_only_the_partitions_of_the_rows_with_the_dynamic_mode(session: Session) -> None:
    session.run(
        """select id, id % 2 as part from range(4) as t; save t as parquet.`${out}/p` partitionBy part;
        select 9 as id, 1 as part as u;
        save overwrite u as parquet.`${out}/p` where partitionOverwriteMode="dynamic" partitionBy part;
        load parquet.`${out}/p` as v;"""
    )
    frame: DataFrame = session.spark.table("v")
    assert sorted(row.id for row in frame.collect()) == [0, 2, 9]
