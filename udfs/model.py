"""The model function: Arrow batches of requests in, JSON answers out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa  # PySpark evaluates the hints of `call`, so this import is needed at run time

from .batching import Window
from .transport import Client, Endpoint, client

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def register(spark: SparkSession, name: str, endpoint: Endpoint) -> None:
    """Make the deployed model callable as the SQL function `name(array<string>) -> array<string>`.

    Each element of a row's array is a request as `llm_param` makes it; its answer stands at the same index. NULL gives
    NULL. A request that fails gives an answer with `error`, which `llm_error` shows.
    """
    from pyspark.sql.pandas.functions import arrow_udf

    def call(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        yield from answer_batches(endpoint, batches)

    # Its kind follows from the hints of `call`, which PySpark's stubs do not know.
    spark.udf.register(name, arrow_udf(call, "array<string>"))  # type: ignore[call-overload]


def answer_batches(endpoint: Endpoint, batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
    """Answer arrays of type list<string>, in order, lengths kept."""
    arrays: list[pa.Array] = []  # read ahead of the answers

    def requests() -> Iterator[list[str | None]]:
        for array in _growing(batches, endpoint.first) if endpoint.first else batches:
            arrays.append(array)
            yield array.flatten().to_pylist()

    caller = client(endpoint.url, endpoint.api_key, endpoint.certificate)
    window = Window(caller, endpoint)
    try:
        for answers in window.answers(requests()):
            array = arrays.pop(0)
            yield pa.ListArray.from_arrays(_offsets(array), pa.array(answers, pa.string()))
    finally:
        if endpoint.query:
            _report(caller, endpoint, window)


def _growing(batches: Iterator[pa.Array], size: int) -> Iterator[pa.Array]:
    """The same rows, `size` of them, then twice as many each time: a LIMIT that is full takes no more."""
    for array in batches:
        start = 0
        while start < len(array):
            yield array.slice(start, size)
            start, size = start + size, 2 * size


def _report(caller: Client, endpoint: Endpoint, window: Window) -> None:
    """Report to the gateway what this task has done: a task that Spark runs again takes its own place."""
    from pyspark import TaskContext

    task = TaskContext.get()
    fields = {
        "model": endpoint.model,
        "part": (task.stageId(), task.partitionId()) if task else (0, 0),
        "rows": window.rows,
        "failed": window.failed,
        "retried": window.retried,
    }
    asyncio.run_coroutine_threadsafe(caller.report(endpoint, fields), caller.loop).result()


def _offsets(array: pa.Array) -> pa.Array:
    """Offsets of `array`'s lists into its flattened values, NULL where the list is NULL."""
    lengths = array.value_lengths().to_pylist()
    offsets: list[int | None] = []
    end = 0
    for length in lengths:
        offsets.append(None if length is None else end)
        end += length or 0
    return pa.array([*offsets, end], pa.int32())
