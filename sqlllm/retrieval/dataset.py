"""An index of texts: one Lance dataset. Executors write its rows side by side, one commit makes them its next version.

A row has the columns of the table that was saved, `vector` (that of its text; NULL: the text is blank, so a search by
meaning does not find it) and `_text_hash`, by which the vector of a text that is known is found again.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlllm.errors import OptionError, PackageError, TableError

if TYPE_CHECKING:
    from lance import LanceDataset
    from lance.fragment import FragmentMetadata

VECTOR, HASH = "vector", "_text_hash"
RESERVED = (VECTOR, HASH, "search_score")
_ABOUT = b"sqlllm"  # in the schema's metadata
_KEY = {b"lance-schema:unenforced-primary-key": b"true"}  # two writers of one new key: the second one sees the first
_RETRIES = 50  # of a commit that met another


@dataclass(frozen=True)
class About:
    """What an index is of: kept in the dataset, so that it moves with the rows.

    `model` embeds the texts ("": the table brought its vectors). `key` names the columns that identify a row,
    `document` the column whose rows are replaced together, `filters` the columns with an index of their own.
    """

    text: str
    key: tuple[str, ...]
    model: str = ""
    dimensions: int = 0
    document: str = ""
    filters: tuple[str, ...] = ()
    given: str = field(default="", kw_only=True)  # the column that the vectors came from
    made: str = field(default="", kw_only=True)  # a name of its own for each index that is written anew

    @classmethod
    def of(cls, schema: pa.Schema) -> About:
        """What an index's schema says. Raises TableError if the dataset is not an index of ours."""
        told = (schema.metadata or {}).get(_ABOUT)
        if told is None:
            raise TableError("the Lance dataset there is not an index", cure="Write it with: save ... as index.`NAME`;")
        values = json.loads(told)
        return cls(**{**values, "key": tuple(values["key"]), "filters": tuple(values["filters"])})

    def schema(self, columns: pa.Schema) -> pa.Schema:
        """The dataset's schema for a table with these columns."""
        fields = [
            pa.field(one.name, one.type, nullable=False, metadata=_KEY) if one.name in self.key else one
            for one in columns
            if one.name not in (VECTOR, HASH)
        ]
        fields += [pa.field(VECTOR, pa.list_(pa.float32(), self.dimensions)), pa.field(HASH, pa.int64())]
        return pa.schema([one.remove_metadata() if one.name not in self.key else one for one in fields]).with_metadata(
            {_ABOUT: json.dumps(asdict(self)).encode()}
        )


def lance() -> Any:
    """The package; PackageError if it is not there."""
    os.environ.setdefault("LANCE_LOG", "error")  # it warns of a dataset that is about to be made
    try:
        import lance
    except ImportError as error:
        raise PackageError.from_import_error(error, package="lance", extra="retrieval") from None
    return lance


def find(uri: str, version: int | None = None, storage: dict[str, str] | None = None) -> LanceDataset | None:
    """The dataset, None if there is none."""
    module = lance()
    try:
        found: LanceDataset = module.dataset(uri, version=version, storage_options=storage)
        return found
    except ValueError as error:
        if "not found" in str(error).lower():
            return None
        raise TableError(f"the index at {uri} cannot be read: {first_line(error)}") from None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TableError(f"the index at {uri} cannot be read: {first_line(error)}") from None


def fragments(batches: Iterable[pa.RecordBatch], uri: str, schema: pa.Schema, storage: dict[str, str]) -> list[str]:
    """Write rows beside the index at `uri`, and give what a commit needs to make them its own, as JSON."""
    module = lance()
    stream = iter(batches)
    first = next(stream, None)
    if first is None:
        return []

    def rows() -> Iterator[pa.RecordBatch]:
        yield first
        yield from stream

    reader = pa.RecordBatchReader.from_batches(schema, rows())
    made = module.fragment.write_fragments(reader, uri, schema=schema, storage_options=storage or None)
    return [json.dumps(one.to_json()) for one in made]


def _read(written: Iterable[str]) -> list[FragmentMetadata]:
    return [lance().FragmentMetadata.from_json(one) for one in written]


def replace_all(uri: str, schema: pa.Schema, written: Sequence[str], storage: dict[str, str]) -> LanceDataset:
    """Commit: the rows of `written` are the index from now on."""
    module = lance()
    operation = module.LanceOperation.Overwrite(schema, _read(written))
    made: LanceDataset = module.LanceDataset.commit(uri, operation, storage_options=storage or None)
    return made


def create(uri: str, schema: pa.Schema, storage: dict[str, str]) -> LanceDataset:
    """An index without rows; the one that is there if another writer was first."""
    module = lance()
    try:
        made: LanceDataset = module.write_dataset(
            schema.empty_table(), uri, mode="create", storage_options=storage or None
        )
        return made
    except OSError as error:
        if (found := find(uri, storage=storage or None)) is None:
            raise TableError(f"the index at {uri} cannot be written: {first_line(error)}") from None
        return found


def merge(
    dataset: LanceDataset, about: About, source: pa.RecordBatchReader | pa.Table, documents: Sequence[object] = ()
) -> dict[str, int]:
    """Commit: rows of `source` in place of those of the same key, new ones added; of `documents` no others stay.

    Gives `num_inserted_rows`, `num_updated_rows` and `num_deleted_rows`.
    """
    builder = dataset.merge_insert(list(about.key)).when_matched_update_all().when_not_matched_insert_all()
    if documents:
        try:
            condition = f"{quoted(about.document)} in ({listed(documents)})"
        except ValueError as error:
            raise TableError(f"the column {about.document} cannot name documents: {error}") from None
        builder = builder.when_not_matched_by_source_delete(condition)
    # Through the key's own index, Lance would not see a key that another writer has added since.
    told: dict[str, int] = builder.use_index(False).conflict_retries(_RETRIES).execute(source)
    return told


def staging(uri: str) -> str:
    """Where the rows of one append wait for their commit."""
    return f"{uri.removesuffix('/')}/_staging/{uuid.uuid4().hex}.lance"


def known_vectors(
    uri: str, version: int, texts: Sequence[str | None], hashes: pa.Array, storage: dict[str, str]
) -> list[Any]:
    """The vector of each text that the index holds under any key, else None."""
    dataset = find(uri, version, storage or None)
    wanted = sorted({one for one in hashes.to_pylist() if one is not None})
    if dataset is None or not wanted:
        return [None] * len(texts)
    about = About.of(dataset.schema)
    found: dict[str, Any] = {}
    condition = f"{HASH} in ({', '.join(map(str, wanted))}) and {VECTOR} is not null"
    table = dataset.to_table(columns=[about.text, VECTOR], filter=condition)
    for text, vector in zip(table[about.text].to_pylist(), table[VECTOR].to_pylist(), strict=True):
        found[text] = vector
    return [None if text is None else found.get(text) for text in texts]


def quoted(name: str) -> str:
    """A column's name in an expression of Lance."""
    return "`" + name.replace("`", "``") + "`"


def literal(value: object) -> str:
    """A value in an expression of Lance; ValueError for a kind that has no literal."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, datetime):
        return f"timestamp '{value.isoformat(' ')}'"
    if isinstance(value, date):
        return f"date '{value.isoformat()}'"
    raise ValueError(f"{value!r} is not a text, a number, a date or a boolean")


def listed(values: Iterable[object]) -> str:
    """Values between the brackets of IN."""
    return ", ".join(map(literal, values))


def as_rows(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch as the dataset holds it: `vector` of a fixed size. Raises TableError for a vector of another size."""
    size = schema.field(VECTOR).type.list_size
    columns = []
    for one in schema:
        column = batch.column(one.name)
        if one.name == VECTOR:
            column = _fixed(column, size)
        elif one.name in {field.name for field in schema if not field.nullable} and column.null_count:
            raise TableError(f"a row has no {one.name}, which is its key", cure="Give each row a key of its own.")
        columns.append(column.cast(one.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _fixed(column: pa.Array, size: int) -> pa.Array:
    if pa.types.is_fixed_size_list(column.type):
        return column
    lengths = set(column.value_lengths().drop_null().unique().to_pylist()) - {size}
    if lengths:
        raise TableError(
            f"a vector has {min(lengths)} numbers, and those of the index have {size}",
            cure="Vectors of an index come from one model.",
        )
    values = column.flatten().cast(pa.float32())
    if column.null_count == 0:
        return pa.FixedSizeListArray.from_arrays(values, size)
    places, end = [], 0
    for valid in column.is_valid().to_pylist():
        places.append(end if valid else None)
        end += bool(valid)
    whole = pa.FixedSizeListArray.from_arrays(values, size)
    return whole.take(pa.array(places, pa.int64()))


def gone(uri: str, version: int) -> TableError:
    """The error for a version that is not kept any more."""
    return TableError(f"version {version} of the index at {uri} is not kept any more", cure="Run the statement again.")


def first_line(error: BaseException) -> str:
    """What Lance says, without the place in its own source."""
    return str(error).strip().partition("\n")[0].partition(", /")[0]


@contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Writers of one index on this machine's disk follow each other. Elsewhere Lance makes the second one try again."""
    if "://" in uri:
        yield
        return
    import fcntl

    path = Path(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # it ends with the process, however that ends
        yield


def with_dimensions(about: About, dimensions: int) -> About:
    """The same for vectors of that many numbers."""
    return replace(about, dimensions=dimensions)


def check_same(found: About, wanted: About, name: str) -> About:
    """What the index `name` is of, if rows of `wanted` may join it. Raises OptionError that names both."""
    told = {"model": "model", "text": "text", "key": "key", "document": "document"}
    for attribute, option in told.items():
        old, new = getattr(found, attribute), getattr(wanted, attribute)
        if new and old != new:
            old, new = (", ".join(one) if isinstance(one, tuple) else one for one in (old, new))
            what = "vectors of the table" if attribute == "model" and not old else old
            raise OptionError(
                f"index {name} has {option}={what!r}, not {new!r}",
                cure=f"Leave {option} out, or write the index anew with save overwrite.",
                key=option,
            )
    return found
