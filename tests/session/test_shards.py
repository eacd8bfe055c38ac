"""`run t as Ray`: Byzer's names over the shards of a table, in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sqlllm.errors import ForbiddenError, OptionError, ParseError, TableError
from sqlllm.session import Session, shards
from sqlllm.session.modules.ray import _ddl

from .cases import rows_of
from .conftest import Recorder


def run(folder: Path, code: str, *tables: pa.Table) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What `code` reports, and its rows."""
    files = []
    for number, table in enumerate(tables):
        files.append(str(folder / f"part-{number}.parquet"))
        pq.write_table(table, files[-1])
    (folder / "code.py").write_text(code)
    (folder / "job.json").write_text(json.dumps({"shards": files, "conf": {"owner": "me"}}))
    done = shards.run(folder)
    return done, [row for file in done.get("files", ()) for row in pq.read_table(file).to_pylist()]


ONE, TWO = pa.table({"id": [1, 2], "t": ["a", None]}), pa.table({"id": [3], "t": ["c"]})


@pytest.mark.parametrize(
    ("code", "rows"),
    [
        ("context.build_result([{'a': 1}, {'a': 2}])", [{"a": 1}, {"a": 2}]),
        ("x = 1\nx = = 2", None),
        (
            "from pyjava.api.mlsql import RayContext\nrc = RayContext.connect(globals(), '127.0.0.1:10001')\n"
            "rc.foreach(lambda row: {'id': row['id'] * 10})",
            [{"id": 10}, {"id": 20}, {"id": 30}],
        ),
        (
            "def total(rows):\n    rows = list(rows)\n    yield {'n': len(rows)}\nray_context.map_iter(total)",
            [{"n": 2}, {"n": 1}],
        ),
        (
            "rows = RayContext.collect_from(ray_context.data_servers())\n"
            "context.build_result({'t': row['t']} for row in rows)",
            [{"t": "a"}, {"t": None}, {"t": "c"}],
        ),
        ("ray_context.build_result(ray_context.collect())", [*ONE.to_pylist(), *TWO.to_pylist()]),
        ("df = ray_context.to_pandas()\ncontext.build_result(df.to_dict('records')[2:])", [{"id": 3, "t": "c"}]),
        ("context.build_result(next(context.fetch_once_as_dataframe()))", ONE.to_pylist()),
        ("context.build_result({'a': n} for n in range(3000))", [{"a": n} for n in range(3000)]),
        ("context.build_result([{'owner': ray_context.conf()['owner']}])", [{"owner": "me"}]),
        ("context.build_result([])", []),
    ],
)
def test_byzer_s_names(tmp_path: Path, code: str, rows: list[dict[str, Any]] | None) -> None:
    done, found = run(tmp_path, code, ONE, TWO)
    if rows is None:
        assert (done["kind"], done["line"]) == ("syntax", 2)
    else:
        assert (done.get("error"), found) == (None, rows)


@pytest.mark.parametrize(
    ("code", "error", "line"),
    [
        ("x = 1\nx.missing", "AttributeError: 'int' object has no attribute 'missing'", 2),
        ("context.build_result([1])", "TypeError: a row of the result is a dict, not 1", 1),
        ("def f(row):\n    return row['no']\nray_context.foreach(f)", "KeyError: 'no'", 2),
    ],
)
def test_an_error_has_its_line(tmp_path: Path, code: str, error: str, line: int) -> None:
    done, _ = run(tmp_path, code, ONE)
    assert (done["error"], done["line"]) == (error, line)


@pytest.mark.parametrize(
    ("schema", "ddl"),
    [
        ("st(field(a,string),field(b,long))", "`a` string, `b` bigint"),
        (
            "st(field(a,map(string,array(double))),field(b,st(field(c,integer))))",
            "`a` map<string, array<double>>, `b` struct<`c`: int>",
        ),
        ("file", "start bigint, offset bigint, value binary"),
        ("a int, b array<string>", "a int, b array<string>"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_ways_to_write_a_schema(schema: str, ddl: str) -> None:
    assert _ddl(schema) == ddl


CODE = """
print("shards:", len(ray_context.data_servers()))
ray_context.foreach(lambda row: {"id": row["id"], "double": row["id"] * 2})
"""


@pytest.mark.slow
def test_a_table_goes_through_python(session: Session, recorder: Recorder) -> None:
    session.override("allow.python", "true")
    script = f"""select id from range(6) as t; run t as TableRepartition.`` where partitionNum="3" as t3;
    run t3 as Ray.`` where code='''{CODE}''' as u; select * from u order by id as v;"""
    assert rows_of(session, script) == [{"id": n, "double": 2 * n} for n in range(6)]
    assert recorder.lines == ["shards: 3"]


@pytest.mark.slow
def test_byzer_s_own_scripts(session: Session, tmp_path: Path, recorder: Recorder) -> None:
    session.override("allow.python", "true")
    session.override("project", str(tmp_path))
    (tmp_path / "algs").mkdir()
    (tmp_path / "algs" / "wow.py").write_text(
        "import pyjava\nfrom pyjava.api.mlsql import RayContext\nray_context = RayContext.connect(globals(), None)\n"
        "context.build_result([{'content': row['title'], 'n': 1} for row in ray_context.collect()])\n"
    )
    script = """
    set rows='''
    {"title": "first"}
    {"title": "second"}
    ''';
    load jsonStr.`rows` as data;
    !python env "PYTHON_ENV=:";
    !python conf "schema=st(field(content,string),field(n,long))";
    """
    named = f"{script} !pyInclude FILE named wow; !ray on data py.wow named u; select * from u order by content as v;"
    expected = [{"content": "first", "n": 1}, {"content": "second", "n": 1}]
    assert rows_of(session, named.replace("FILE", "project 'algs/wow.py'")) == expected
    assert rows_of(session, named.replace("FILE", "algs.wow.py")) == expected
    assert [line for line in recorder.lines if "schema" in line] == []
    run_as = """!pyInclude project 'algs/wow.py' named wow;
    run command as Ray.`` where inputTable="data" and outputTable="out1" and code='''py.wow''';
    select count(*) as n from out1 as v;"""
    assert rows_of(session, script + run_as) == [{"n": 2}]


@pytest.mark.slow
def test_what_is_wrong_is_at_its_line(session: Session) -> None:
    with pytest.raises(ForbiddenError, match="runs code of the script"):
        session.run("run command as Ray.`` where code='1' as t;")
    session.override("allow.python", "true")
    with pytest.raises(TableError, match="ZeroDivisionError") as raised:
        session.run("run command as Ray.`` where code='''\nx = 1\nx / 0\n''' as t;")
    assert raised.value.place is not None
    assert (raised.value.place.line, raised.value.place.text) == (3, "x / 0")
    with pytest.raises(ParseError, match="Python"):
        session.run("run command as Ray.`` where code='''\nx =\n''' as t;")
    with pytest.raises(TableError, match="the code gives no rows"):
        session.run("run command as Ray.`` where code='x = 1' as t;")
    with pytest.raises(TableError, match="Python ended with 7: bye"):
        session.run("""run command as Ray.`` where code='print("bye"); import os; os._exit(7)' as t;""")
    with pytest.raises(OptionError, match="the rows have no b, which schema names"):
        session.run("""run command as Ray.`` where code='context.build_result([{"a": 1}])' and schema="b int" as t;""")
    with pytest.raises(ForbiddenError, match="lies outside the folders"):
        session.run("!pyInclude project '/etc/hostname' named t;")
