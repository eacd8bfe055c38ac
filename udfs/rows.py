"""Rows of a table, packed in the executors so that they reach the driver exactly, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa  # PySpark evaluates the hints of `pack` at run time

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_ROWS = 1024  # of a batch


def stream(frame: DataFrame) -> Iterator[pa.RecordBatch]:
    """The rows of `frame` in order; each of its partitions is computed when its first row is asked for.

    The names of its columns differ from each other.
    """
    for row in frame.mapInArrow(_pack, "batch binary").toLocalIterator():
        with pa.ipc.open_stream(row.batch) as reader:
            yield from reader


def _pack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, _ROWS):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(batch.slice(start, _ROWS))
            yield pa.record_batch([pa.array([sink.getvalue().to_pybytes()], pa.binary())], names=["batch"])
