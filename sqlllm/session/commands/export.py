"""!export table "file.csv"; a table as one file of this machine: CSV, Parquet or JSON lines."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.dialect.statements import Macro
from sqlllm.errors import OptionError, TableError, suggest

from .. import guard, queries, replace
from ..registry import command
from ..tables import Result, table_named
from ..values import csv_line, plain
from . import arguments

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from ..session import Session

_USAGE = '!export my_table "file.csv";'


@command("export")
def export(session: Session, macro: Macro) -> Result:
    """`!export my_table "file.csv";` or, of the last table, `!export "file.csv";` An earlier file is replaced."""
    words = arguments.words(session, macro, _USAGE, 1, 2)
    named, place = words[-1], macro.args[-1].place
    guard.check_path(session, named, place)
    file = Path(named.removeprefix("file://")).expanduser()
    if file.suffix not in _WRITERS:
        cure = suggest(file.suffix, list(_WRITERS), what="endings")
        raise OptionError(f"{named} does not end as a file of a table does", cure=cure, place=place)
    if len(words) == 2:
        frame = table_named(session, macro.args[0])
    elif session.last is not None:
        frame = session.last.frame
    else:
        raise TableError("no statement has given a table yet", cure=f"Write {_USAGE}", place=macro.place)
    try:
        with (
            replace.file(file) as beside,
            queries.errors_at(macro.place),
            _batches(session, frame) as (schema, batches),
        ):
            rows = _WRITERS[file.suffix](beside, schema, batches)
    except OSError as error:
        raise TableError(f"cannot write {named}: {error.strerror or error}", place=place) from None
    row = {"file": str(file), "rows": rows, "bytes": file.stat().st_size}
    return Result(session.table([row], "file string, rows bigint, bytes bigint"), place=macro.place)


@contextmanager
def _batches(session: Session, frame: DataFrame) -> Iterator[tuple[Any, Iterable[Any]]]:
    """Arrow's schema and batches, in order. Spark writes them to files first, so that no table is too large."""
    if session.settings.spark.remote:  # its files are elsewhere
        table = frame.toArrow()
        yield table.schema, table.to_batches()
        return
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory(prefix="sqlllm-export-") as folder:
        frame.write.mode("overwrite").parquet(folder)
        parts = sorted(Path(folder).glob("part-*"))
        yield pq.read_schema(parts[0]), (batch for part in parts for batch in pq.ParquetFile(part).iter_batches(8192))


def _csv(file: Path, schema: Any, batches: Iterable[Any]) -> int:
    rows = 0
    with file.open("w", newline="", encoding="utf-8") as out:
        out.write(csv_line(schema.names))
        for batch in batches:
            rows += batch.num_rows
            columns = [column.to_pylist() for column in batch.columns]
            if len(columns) == 1 and None in columns[0]:
                message = f"{schema.names[0]} is NULL in a row, and CSV has no line for it"
                raise TableError(message, cure="Write coalesce(its column, 'NULL'), or add another column.")
            out.writelines(map(csv_line, zip(*columns, strict=True)))
    return rows


def _json(file: Path, _: Any, batches: Iterable[Any]) -> int:
    rows = 0
    with file.open("w", encoding="utf-8") as out:
        for batch in batches:
            rows += batch.num_rows
            out.writelines(f"{json.dumps(row, default=plain, ensure_ascii=False)}\n" for row in batch.to_pylist())
    return rows


def _parquet(file: Path, schema: Any, batches: Iterable[Any]) -> int:
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as out:
        for batch in batches:
            rows += batch.num_rows
            out.write_batch(batch)
    return rows


_WRITERS: dict[str, Callable[[Path, Any, Iterable[Any]], int]] = {
    ".csv": _csv,
    ".json": _json,
    ".jsonl": _json,
    ".parquet": _parquet,
}
