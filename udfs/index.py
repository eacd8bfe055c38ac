"""What Spark's tasks do with an index: write rows, find vectors that are known, read rows, answer questions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # PySpark evaluates the hints of functions at run time

from sqlllm.errors import OptionError
from sqlllm.retrieval import care
from sqlllm.retrieval import dataset as index
from sqlllm.retrieval.dataset import HASH, VECTOR, About
from sqlllm.retrieval.search import Search

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

KEY_HASH, ERROR = "_key_hash", "_error"  # beside the columns of an index, of rows that are to be written
WRITTEN = "fragments string, rows long, blank long, failed long, error string, keys binary"
_MOST = 10_000  # rows of an answer
_READ = 1024  # rows of a batch, vectors and all

Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class Written:
    """What one task has written: fragments for the commit, and what it has seen."""

    fragments: list[str]
    rows: int
    blank: int  # texts of spaces or none
    failed: int  # texts without a vector
    error: str  # of the first of these
    keys: bytes  # a hash of 8 bytes for each row


def write(uri: str, schema: pa.Schema, storage: dict[str, str]) -> Callable[[Batches], Batches]:
    """A task: its rows, with KEY_HASH and ERROR, into new files beside the index at `uri`; gives a row of WRITTEN."""

    def run(batches: Batches) -> Batches:
        about = About.of(schema)
        counts = {"rows": 0, "blank": 0, "failed": 0}
        error, keys = "", bytearray()

        def rows() -> Batches:
            nonlocal error
            for batch in batches:
                if not batch.num_rows:
                    continue
                made = index.as_rows(batch, schema)
                counts["rows"] += batch.num_rows
                counts["blank"] += made.column(HASH).null_count
                missing = made.column(VECTOR).null_count
                if missing and about.model:
                    counts["failed"] += missing - made.column(HASH).null_count
                    told = [one for one in batch.column(ERROR).to_pylist() if one]
                    error = error or next(iter(told), "")
                keys.extend(batch.column(KEY_HASH).cast(pa.int64()).to_numpy(zero_copy_only=False).tobytes())
                yield made

        fragments = index.fragments(rows(), uri, schema, storage)
        told = {"fragments": [json.dumps(fragments)], **{name: [count] for name, count in counts.items()}}
        yield pa.RecordBatch.from_pydict({**told, "error": [error], "keys": [bytes(keys)]})

    return run


def written(frame: DataFrame, uri: str, schema: pa.Schema, storage: dict[str, str]) -> list[Written]:
    """Write the rows of `frame`, each task its own."""
    rows = frame.mapInArrow(write(uri, schema, storage), WRITTEN).collect()
    return [Written(**{**row.asDict(), "fragments": json.loads(row.fragments)}) for row in rows]


def read(
    spark: SparkSession, uri: str, version: int, schema: StructType, files: list[int], storage: dict[str, str]
) -> DataFrame:
    """The rows of a version of an index, a partition for each of its files."""
    columns = schema.names

    def run(batches: Batches) -> Batches:
        dataset = index.find(uri, version, storage or None)
        if dataset is None:
            raise index.gone(uri, version)
        for number in (number for batch in batches for number in batch.column(0).to_pylist()):
            part = dataset.get_fragment(number)
            if part is not None:
                for rows in part.scanner(columns=columns, batch_size=_READ).to_batches():
                    yield _plain(rows)

    numbers = spark.createDataFrame([(one,) for one in files], "file int")
    return numbers.repartitionByRange(max(len(files), 1), "file").mapInArrow(run, schema)


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows with lists in place of vectors of a fixed size, which Spark does not know."""
    columns = [
        column.cast(pa.list_(column.type.value_type)) if pa.types.is_fixed_size_list(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def register_known(spark: SparkSession, name: str, uri: str, version: int, storage: dict[str, str]) -> None:
    """`name(text, hash)`: the vector that the index holds of a text, else NULL."""
    from pyspark.sql.pandas.functions import arrow_udf

    def known(texts: pa.Array, hashes: pa.Array) -> pa.Array:
        found = index.known_vectors(uri, version, texts.to_pylist(), hashes, storage)
        return pa.array(found, pa.list_(pa.float32()))

    spark.udf.register(name, arrow_udf(known, "array<float>"))  # type: ignore[call-overload]


def register_lookup(spark: SparkSession, name: str, uri: str) -> None:
    """`name(map)`: the hits in the newest version as JSON, by Byzer's keys: `query.keyword`, `query.vector`, ..."""
    from pyspark.sql.pandas.functions import arrow_udf

    def look_up(asked: pa.Array) -> pa.Array:
        found = index.find(uri)
        if found is None:
            return pa.array(["[]" if one is not None else None for one in asked.to_pylist()], pa.string())
        found = care.finished(found)
        search = Search(uri, found.version, made=About.of(found.schema).made)
        return pa.array([None if one is None else _byzer(search, dict(one)) for one in asked.to_pylist()], pa.string())

    spark.udf.register(name, arrow_udf(look_up, "string"))  # type: ignore[call-overload]


def _byzer(search: Search, asked: dict[str, str]) -> str:
    text, told = asked.get("query.keyword"), asked.get("query.vector")
    kind = "hybrid" if text and told else "ann" if told else "full_text"
    columns = tuple(one.strip() for one in (asked.get("query.fields") or "").split(",") if one.strip())
    limit = (asked.get("query.limit") or "10").strip()
    if not limit.isdecimal() or not 0 < int(limit) <= _MOST:
        raise OptionError(f"query.limit is a number from 1 to {_MOST:,}, not {limit}", key="query.limit")
    one = replace(search, kind=kind, limit=int(limit), columns=columns)
    return json.dumps(one.run(text, _vector(told) if told else None), default=str, ensure_ascii=False)


def _vector(text: str) -> list[float]:
    """The vector that a JSON array is. Raises OptionError."""
    try:
        return [float(one) for one in json.loads(text)]
    except (ValueError, TypeError):
        raise OptionError("query.vector is not an array of numbers", cure="Write [0.1, 0.2].") from None


def register_search(spark: SparkSession, name: str, search: Search, schema: StructType) -> None:
    """`name(text, vector, filters)`: the hits as an array of structs, NULL where there is nothing to ask."""
    from pyspark.sql.pandas.functions import arrow_udf
    from pyspark.sql.pandas.types import to_arrow_type
    from pyspark.sql.types import ArrayType

    returns = ArrayType(schema)
    kind: Any = to_arrow_type(returns)

    def hits(texts: pa.Array, vectors: pa.Array, filters: pa.Array) -> pa.Array:
        asked = list(zip(texts.to_pylist(), vectors.to_pylist(), filters.to_pylist(), strict=True))
        return pa.array(list(search.run_all(asked)), kind)

    spark.udf.register(name, arrow_udf(hits, returns))  # type: ignore[call-overload]
