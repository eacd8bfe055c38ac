"""Streams of Byzer-SQL's scripts as tables: every row is there at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.errors import OptionError

from . import options
from .tables import table_named

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from .formats import Request

_MOCK = ("fixSize", "stepSizeRange")
_RATE = ("numPartitions", "rowsPerSecond", "seconds")


def mock(ask: Request) -> DataFrame:
    """load mockStream.`table`: the rows that Byzer-SQL would send bit by bit, with Kafka's types of key and value."""
    for key in ("valueFormat", "valueSchema"):
        if key in ask.options:
            cure = "Write from_json(cast(value as string), 'a string') or from_csv(...) in a select."
            raise OptionError(f"mockStream has no {key} here", cure=cure, key=key)
    options.check(ask.options, _MOCK)
    ask.session.observer.warned("mockStream is a table here: every row is there at once")
    frame = table_named(ask.session, ask.path)
    names = {name.lower(): name for name in frame.columns}
    kinds = {names[key]: "binary" for key in ("key", "value") if key in names}
    if "timestamp" in names:
        kinds[names["timestamp"]] = "timestamp"
    return frame.withColumns({name: frame[name].cast(kind) for name, kind in kinds.items()})


def rate(ask: Request) -> DataFrame:
    """load rate.``: the columns of Spark's source, `timestamp` and `value`, for the last `seconds` (10) until now."""
    options.check(ask.options, _RATE)
    given = {"rowsPerSecond": "1", "seconds": "10", **ask.options}
    each, seconds = options.count(given, "rowsPerSecond"), options.count(given, "seconds")
    parts = options.count(given, "numPartitions") if "numPartitions" in given else None
    rows = ask.session.spark.range(0, each * seconds, 1, parts)
    start = f"now() - make_interval(0, 0, 0, 0, 0, 0, {seconds})"
    return rows.selectExpr(f"{start} + make_dt_interval(0, 0, 0, id / {each}) as timestamp", "id as value")
