"""Ray: Python code over the shards of a table, in a process of its own; Byzer's way to Python."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.dialect import Text
from sqlllm.errors import OptionError, ParseError, TableError
from sqlllm.jobs import cluster

from .. import guard, options, python, queries, shards
from ..registry import module
from ..tables import Result, table_named
from .inputs import DUMMY, options_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.dialect.statements import Run

    from ..session import Session

_FILE = "start bigint, offset bigint, value binary"  # Byzer's schema="file"


@module(
    "Ray",
    code="the Python code, or py.NAME: the only cell of the table NAME",
    inputTable="the table, in place of the one behind run",
    outputTable="the name of the result, as well as the one behind as",
    schema="the columns of the result: DDL, st(field(a,string)), Spark's JSON, file; else they follow from the rows",
)
def ray(session: Session, run: Run) -> Result:
    """The rows that the code gives to `context.build_result`, `ray_context.foreach` or `ray_context.map_iter`."""
    guard.require(session, "python", "run ... as Ray runs code of the script", run.place)
    given = options_of(session, run)
    options.require(given, ["code"], "Ray")
    name = given.get("inputTable") or run.table.resolve(session.variables)
    table = None if name.lower() == DUMMY else table_named(session, name if "inputTable" in given else run.table)
    result = execute(session, table, given["code"], run.options["code"].value, given.get("schema", ""))
    if output := given.get("outputTable"):
        return session.name_table(result, output, run.place)
    return Result(result, place=run.place)


def execute(session: Session, table: DataFrame | None, code: str, text: Text, schema: str = "") -> DataFrame:
    """The result of `code`, which stands at `text`, over the shards of `table`.

    Raises ParseError or TableError at the line of the script that is wrong.
    """
    if named := re.fullmatch(r"\s*py\.(\w+)\s*", code):
        code, text = _cell(session, named[1]), Text.of("py", text.place)
    wanted = _ddl(schema or session.bridge.get("schema", ""))
    with tempfile.TemporaryDirectory(prefix="sqlllm-ray-") as name:
        folder = Path(name)
        (folder / "code.py").write_text(textwrap.dedent(code))
        files = _write(session, table, folder / "input") if table is not None else []
        conf = {"rayAddress": cluster.address(session.settings.ray) or "", "owner": session.user}
        (folder / "job.json").write_text(json.dumps({"shards": files, "conf": conf}))
        done = _run(session, folder, conf["rayAddress"], text)
        if "error" in done:
            kind = ParseError if done["kind"] == "syntax" else TableError
            raise kind(f"Python: {done['error']}", place=python.place(text, done["line"]))
        if not done["built"]:
            raise TableError(
                "the code gives no rows", cure="Write context.build_result([{...}, ...]) in it.", place=text.place
            )
        with queries.errors_at(text.place):
            return _read(session, done["files"], wanted)


def _run(session: Session, folder: Path, address: str, text: Text) -> dict[str, Any]:
    """The process: what it prints goes to the observer, line by line."""
    if address:
        cluster.authorize(address)
    # -P: beside the file lie modules with the names of Python's own
    command = [sys.executable, "-P", "-u", shards.__file__, str(folder)]
    # The second: else Ray warns in every process of a default that it will change.
    environment = {"PYTHONIOENCODING": "utf-8", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", **os.environ}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", env=environment
    ) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                session.observer.printed(session.mask(lines[-1]))
        except BaseException:  # Ctrl-C
            process.kill()
            raise
    if not (folder / "done.json").exists():
        last = lines[-1] if lines else "it was killed: the machine may be out of memory"
        raise TableError(f"Python ended with {process.returncode}: {last}", place=text.place)
    found: dict[str, Any] = json.loads((folder / "done.json").read_text())
    return found


def _write(session: Session, table: DataFrame, folder: Path) -> list[str]:
    """The table's shards, one file for each of its partitions that has rows."""
    folder.mkdir()
    if session.settings.spark.remote:  # its files are elsewhere
        import pyarrow.parquet as pq

        pq.write_table(table.toArrow(), folder / "part-00000.parquet")
    else:
        table.write.mode("overwrite").parquet(str(folder))
    return [str(file) for file in sorted(folder.glob("part-*"))]


def _read(session: Session, files: list[str], wanted: str) -> DataFrame:
    """The result in this session's Spark, whose workers may not see the files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [table for table in map(pq.read_table, files) if table.num_columns]
    if not tables:
        return session.spark.createDataFrame([], wanted or "value string")
    frame = session.spark.createDataFrame(pa.concat_tables(tables, promote_options="permissive"))
    if not wanted:
        return frame
    from pyspark.sql.types import StructType

    kinds = session.spark.createDataFrame([], wanted).schema
    assert isinstance(kinds, StructType)
    missing = [field.name for field in kinds if field.name not in frame.columns]
    if missing:
        raise OptionError(f"the rows have no {missing[0]}, which schema names", key="schema")
    return frame.select([frame[field.name].cast(field.dataType).alias(field.name) for field in kinds])


def _ddl(schema: str) -> str:
    """Byzer's ways to write a schema, as Spark's DDL."""
    text = schema.strip()
    if text == "file":
        return _FILE
    if text.startswith("{"):
        from pyspark.sql.types import StructType

        return str(StructType.fromJson(json.loads(text)).toDDL())
    if text.startswith("st("):
        return _fields(text)
    return text


def _fields(text: str) -> str:
    """`st(field(a,string),field(b,array(double)))` as DDL."""
    inner = re.sub(r"\s+", "", text)[3:-1]
    out = []
    for part in _split(inner):
        name, kind = _split(part.removeprefix("field(")[:-1])
        out.append(f"`{name}` {_kind(kind)}")
    return ", ".join(out)


def _kind(text: str) -> str:
    if text.startswith("array("):
        return f"array<{_kind(text[6:-1])}>"
    if text.startswith("map("):
        key, value = _split(text[4:-1])
        return f"map<{_kind(key)}, {_kind(value)}>"
    if text.startswith("st("):
        return "struct<" + re.sub(r"` ", "`: ", _fields(text)) + ">"
    return {"integer": "int", "long": "bigint", "short": "smallint", "byte": "tinyint"}.get(text, text)


def _split(text: str) -> list[str]:
    """At the commas that stand in no brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _cell(session: Session, name: str) -> str:
    """The only cell of a table, as !pyInclude makes one."""
    rows = table_named(session, name).take(2)
    if len(rows) != 1 or not isinstance(rows[0][0], str):
        raise OptionError(f"{name} is not one cell of Python code", cure="Make it by !pyInclude.", key="code")
    return str(rows[0][0])
