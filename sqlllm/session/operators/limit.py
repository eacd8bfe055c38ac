"""A LIMIT that the answers of a model fill: rows are asked about until there are enough, and no more.

Spark asks about whole partitions, and goes on after the LIMIT is full. Here the input of the model's condition is read
row by row, in order, and the condition is computed for as many rows as are still needed at the share that has passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING

from sqlllm import planner
from sqlllm.dialect import RenderedSql
from sqlllm.planner.sql import read

from .. import planning
from .filling import fill
from .form import Form, Unfit, form

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from ..session import Session

MOST = 20_000
"""Rows of a LIMIT that are held in this process; a larger one runs in Spark alone."""

_OTHERS = ('"variant"', '"udt"', '"geometry', '"geography')
"""Kinds of columns that Arrow has no type of its own for."""

_ROW = "llm_row"
_numbers = count(1)
_Row = tuple[object, "pa.RecordBatch", int]
"""What the condition reads of a row, and where the row is."""


def filled(session: Session, frame: DataFrame, sql: RenderedSql) -> DataFrame | None:
    """The table of `sql`, which `frame` is as Spark reads it, once the model has been asked; None for another form.

    The rows are the first that pass, in the order of the select, else of its table.
    """
    operator = _made(session, frame, sql)
    return operator.run() if operator else None


def fits(session: Session, frame: DataFrame, sql: RenderedSql) -> bool:
    """Whether `filled` would run `sql`; nothing is asked."""
    return _made(session, frame, sql) is not None


def _made(session: Session, frame: DataFrame, sql: RenderedSql) -> _Limit | None:
    from pyspark.errors import PySparkException

    tree = read(sql.text)
    if not session.settings.llm.planner or tree is None or not tree.args.get("limit"):
        return None
    frame, sql = planning.reordered(session, frame, sql)
    try:
        volatile = session.models.volatile(sql.text)
        text = planner.merged(sql.text, session.models, partial(planning.columns, session.spark), volatile)
        parts = form(text, session.models, volatile)
        if parts.limit + parts.offset > MOST or not planning.is_read_alike(session, frame, sql.text):
            return None
        return _Limit(session, parts, planning.analysed(session.spark, parts.below), frame, sql)
    except (Unfit, PySparkException):  # as written, it runs or says what is wrong
        return None


def first(session: Session, sql: RenderedSql, rows: int) -> DataFrame | None:
    """That many rows of `sql`, if a model's condition decides which these are; None for another form."""
    from pyspark.errors import PySparkException

    text = planner.first(sql.text, rows)
    if text is None:
        return None
    try:
        frame = planning.analysed(session.spark, text)
    except PySparkException:
        return None
    return filled(session, frame, RenderedSql(text, sql.place))


class _Limit:
    """One run. Raises Unfit where the rows cannot pass through this process unchanged."""

    def __init__(self, session: Session, parts: Form, below: DataFrame, frame: DataFrame, sql: RenderedSql) -> None:
        from pyspark.errors import PySparkException
        from pyspark.sql.pandas.types import to_arrow_schema
        from pyspark.sql.types import LongType, StructField, StructType

        self._session, self._parts, self._place, self._columns = session, parts, sql.place, frame.columns
        kinds = [field.dataType for field in below.schema.fields]
        shown = [f"llm_{number}" for number in range(len(kinds) - len(parts.reads))]
        fields = [StructField(name, kind) for name, kind in zip((*shown, *parts.reads), kinds, strict=True)]
        self._schema = StructType(fields)
        self._asked = StructType([*fields[len(shown) :], StructField(_ROW, LongType())])
        self._below = below.toDF(*self._schema.names)
        self._view = f"llm_limit_{next(_numbers)}"
        self._condition = f"SELECT {_ROW} FROM {self._view} WHERE {parts.condition}"  # noqa: S608 - of parts of SQL
        self._items = f"SELECT {', '.join(_items(parts, shown))} FROM {self._view}"  # noqa: S608
        try:
            to_arrow_schema(self._schema, timezone="UTC", error_on_duplicated_field_names_in_struct=True)
        except PySparkException:
            raise Unfit from None
        if any(kind in self._schema.json() for kind in _OTHERS):
            raise Unfit
        with self._seen(self._table([])):
            result = planning.analysed(session.spark, self._items)
        if [kind for _, kind in result.dtypes] != [kind for _, kind in frame.dtypes]:
            raise Unfit

    def run(self) -> DataFrame:
        """The rows that pass, with the answers that the select list asks for."""
        self._session.meter.ask_all()
        found = fill(self._rows(), self._parts.limit + self._parts.offset, lambda row: row[0], self._pass)
        with self._seen(self._table(found[self._parts.offset :])):
            return self._run(self._items).toDF(*self._columns)

    def _rows(self) -> Iterator[_Row]:
        from sqlllm.udfs import rows as packed

        shown = len(self._schema) - len(self._parts.reads)
        for batch in packed.stream(self._below):
            for index, key in enumerate(_keys(batch, shown)):
                yield key, batch, index

    def _pass(self, rows: Sequence[_Row]) -> set[int]:
        """The places of the rows for which the condition is true."""
        import pyarrow as pa

        table = _gathered(rows)
        reads = table.select(list(range(len(self._schema) - len(self._parts.reads), len(self._schema))))
        numbered = reads.append_column(_ROW, pa.array(range(len(rows)), pa.int64()))
        with self._seen(self._session.spark.createDataFrame(numbered, self._asked)):
            return {row[0] for row in self._run(self._condition).collect()}

    def _run(self, text: str) -> DataFrame:
        """A select over the view, planned."""
        spark, sql = self._session.spark, RenderedSql(text, self._place)
        better = planning.rewritten(self._session, planning.analysed(spark, text), sql)
        return planning.analysed(spark, better.text)

    def _table(self, rows: Sequence[_Row]) -> DataFrame:
        if not rows:
            return self._session.spark.createDataFrame([], self._schema)
        return self._session.spark.createDataFrame(_gathered(rows), self._schema)

    @contextmanager
    def _seen(self, frame: DataFrame) -> Iterator[None]:
        """`frame` is the view that our selects read."""
        frame.createOrReplaceTempView(self._view)
        try:
            yield
        finally:
            self._session.spark.catalog.dropTempView(self._view)


def _gathered(rows: Sequence[_Row]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_batches([batch.slice(index, 1) for _, batch, index in rows]).combine_chunks()


def _items(parts: Form, shown: list[str]) -> Iterator[str]:
    """The select list over our columns: those of items without calls are `shown`, a star has as many as are left."""
    rest = iter(shown)
    plain = sum(item is None and not star for item, star in zip(parts.items, parts.stars, strict=True))
    several = parts.stars.count(True) > 1  # then all items are plain
    if several:
        yield from shown
        return
    for item, star in zip(parts.items, parts.stars, strict=True):
        if item is not None:
            yield item
        else:
            yield from islice(rest, len(shown) - plain if star else 1)


def _keys(batch: pa.RecordBatch, start: int) -> Iterator[object]:
    """Of each row what is in its columns from `start` on, to be compared."""
    try:
        columns = [column.to_pylist() for column in batch.columns[start:]]
    except (ValueError, OverflowError):  # a date that Python does not know: no row is like another
        yield from (object() for _ in range(batch.num_rows))
        return
    yield from map(repr, zip(*columns, strict=True)) if columns else ("" for _ in range(batch.num_rows))
