"""Indexes made without Spark and without a model, for tests of what they hold and find."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pyarrow as pa

from sqlllm.retrieval import care
from sqlllm.retrieval import dataset as index
from sqlllm.retrieval.dataset import About
from sqlllm.session.indexes import staged
from sqlllm.session.indexes.places import Place

from .embedding import SIZE, vector

if TYPE_CHECKING:
    from lance import LanceDataset

COLUMNS = pa.schema([("id", pa.string()), ("doc", pa.string()), ("content", pa.string()), ("year", pa.int64())])
Row = tuple[str, str, str | None, int]


def about(**more: Any) -> About:
    return About(**{"text": "content", "key": ("id",), "model": "emb", "dimensions": SIZE, **more})


def table(rows: Sequence[Row], told: About, vectors: Any = None) -> list[pa.RecordBatch]:
    """Rows as a task writes them."""
    texts = [row[2] for row in rows]
    if vectors is None:
        vectors = [vector(text) if text and text.strip() else None for text in texts]
    found = {name: [row[place] for row in rows] for place, name in enumerate(COLUMNS.names)}
    found["vector"] = pa.array(vectors, pa.list_(pa.float32()))
    found["_text_hash"] = pa.array(
        [crc32(text.encode()) if text and text.strip() else None for text in texts], pa.int64()
    )
    return [index.as_rows(batch, told.schema(COLUMNS)) for batch in pa.table(found).to_batches()]


def overwrite(folder: Path, rows: Sequence[Row], told: About | None = None, vectors: Any = None) -> LanceDataset:
    told = told or about()
    schema, uri = told.schema(COLUMNS), str(folder / "kb.lance")
    with index.one_at_a_time(uri):
        made = index.replace_all(uri, schema, index.fragments(table(rows, told, vectors), uri, schema, {}), {})
        return care.tend(made, whole=True)


def append(folder: Path, rows: Sequence[Row], told: About | None = None) -> dict[str, int]:
    told = told or about()
    schema, uri = told.schema(COLUMNS), str(folder / "kb.lance")
    beside = index.staging(uri)
    parts = index.fragments(table(rows, told), beside, schema, {})
    with index.one_at_a_time(uri):
        counts, dataset = staged.merged(Place("kb", uri, {}), told, schema, beside, parts)
        care.tend(dataset)
    return counts


def opened(folder: Path) -> LanceDataset:
    found = index.find(str(folder / "kb.lance"))
    assert found is not None
    return found


def searched(folder: Path) -> LanceDataset:
    """The version that a search sees."""
    return care.finished(opened(folder))


def held(folder: Path) -> dict[str, str | None]:
    """The text of each row by its id; fails if an id is there twice."""
    rows = searched(folder).to_table(columns=["id", "content"]).to_pylist()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row["content"] for row in rows}
