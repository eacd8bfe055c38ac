"""Rows on their way into an index."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from sqlllm.errors import TableError
from sqlllm.retrieval import dataset as index
from sqlllm.retrieval.dataset import HASH, VECTOR, About

if TYPE_CHECKING:
    import pyarrow as pa
    from lance import LanceDataset
    from pyspark.sql import DataFrame

    from .places import Place

_numbers = count(1)
_LEFT = 24 * 3600  # seconds after which an append that did not end is one that died


def merged(
    place: Place, about: About, schema: pa.Schema, beside: str, parts: Sequence[str]
) -> tuple[dict[str, int], LanceDataset]:
    """Commit the rows that `parts` hold, which lie at `beside` and go when they are in; an index that is not there yet
    is made."""
    dataset = place.find() or index.create(place.uri, schema, place.storage)
    _check_same(About.of(dataset.schema), about, place)
    if not parts:
        return {}, dataset
    rows = index.replace_all(beside, schema, parts, place.storage)
    try:
        documents: list[object] = []
        if about.document:
            column = rows.to_table(columns=[about.document])[about.document]
            documents = [one for one in column.unique().to_pylist() if one is not None]
        counts = index.merge(dataset, about, rows.scanner().to_reader(), documents)
    finally:
        index.lance().LanceDataset.drop(beside, storage_options=place.storage or None)
        sweep(place)
    found = place.find()
    assert found is not None
    return counts, found


def _check_same(found: About, about: About, place: Place) -> None:
    """Another writer may have written the index anew since its rows were embedded. Raises OptionError, TableError."""
    index.check_same(found, about, place.name)
    if (found.model, found.dimensions) != (about.model, about.dimensions):
        raise TableError(
            f"index {place.name} has {found.dimensions} numbers in a vector by now, not {about.dimensions}",
            cure="Another script has written it anew: run the statement again.",
        )


def sweep(place: Place) -> None:
    """Remove what appends that were killed have left on this disk."""
    folder = Path(place.uri) / "_staging"
    if "://" in place.uri or not folder.is_dir():
        return
    for one in folder.iterdir():
        if time.time() - one.stat().st_mtime > _LEFT:
            shutil.rmtree(one, ignore_errors=True)


def arrow_schema(frame: DataFrame) -> pa.Schema:
    """The columns of a table as Spark gives them to a task."""
    from pyspark.sql.pandas.types import to_arrow_schema

    return to_arrow_schema(frame.schema, timezone="UTC", error_on_duplicated_field_names_in_struct=True)


def columns(schema: pa.Schema) -> pa.Schema:
    """The columns of an index that are the table's."""
    import pyarrow as pa

    return pa.schema([one.remove_metadata() for one in schema if one.name not in (VECTOR, HASH)])


@contextmanager
def view(frame: DataFrame) -> Iterator[str]:
    """`frame` under a name of SQL's."""
    name = f"llm_index_{next(_numbers)}"
    frame.createOrReplaceTempView(name)
    try:
        yield name
    finally:
        frame.sparkSession.catalog.dropTempView(name)
