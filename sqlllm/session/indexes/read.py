"""load index.`kb` as chunks; and the versions that it may name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlllm.errors import OptionError, TableError
from sqlllm.retrieval import care
from sqlllm.retrieval.dataset import VECTOR
from sqlllm.udfs import index as tasks

from . import places, staged

if TYPE_CHECKING:
    from lance import LanceDataset
    from pyspark.sql import DataFrame

    from ..formats import Request
    from ..session import Session

_SHOWN = (
    "name string, rows bigint, model string, dimensions int, text string, key string, document string, files int,"
    " bytes bigint, version bigint, versions int, indexes string"
)


def load(ask: Request) -> DataFrame:
    """The rows of an index with their vectors, as they are now or as they were."""
    session = ask.session
    place, dataset = places.existing(session, ask.path, ask.options, ask.place)
    dataset = at(dataset, ask.options)
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.sql.types import ArrayType, FloatType, StructField

    schema = from_arrow_schema(staged.columns(dataset.schema))
    schema.add(StructField(VECTOR, ArrayType(FloatType())))
    files = [part.fragment_id for part in dataset.get_fragments()]
    return tasks.read(session.spark, place.uri, dataset.version, schema, files, place.storage)


def at(dataset: LanceDataset, options: dict[str, str]) -> LanceDataset:
    """The version that the options `version` or `asOf` name, else the newest. Raises OptionError, TableError."""
    if options.get("version"):
        return _version(dataset, _number(options["version"]))
    if options.get("asOf"):
        moment = _moment(options["asOf"])
        earlier = [told["version"] for told in versions(dataset) if told["timestamp"].astimezone(UTC) <= moment]
        if not earlier:
            raise TableError(f"the index has no version of {options['asOf']} or before", cure=_cure(dataset))
        return _version(dataset, max(earlier))
    return dataset


def versions(dataset: LanceDataset) -> list[dict[str, Any]]:
    """The versions that are kept: `version`, `timestamp` of this machine's zone."""
    return [dict(one) for one in dataset.versions()]


def _version(dataset: LanceDataset, number: int) -> LanceDataset:
    if number not in {one["version"] for one in versions(dataset)}:
        raise TableError(f"the index has no version {number}", cure=_cure(dataset))
    return dataset.checkout_version(number)


def _cure(dataset: LanceDataset) -> str:
    kept = sorted(one["version"] for one in versions(dataset))
    return f"Versions {kept[0]} to {kept[-1]} are kept, the newest {care.VERSIONS} of all."


def _number(text: str) -> int:
    if not text.strip().isdigit():
        raise OptionError(f"{text!r} is not a version", cure='Write a number: version="3".', key="version")
    return int(text)


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        cure = 'Write a time as in asOf="2026-11-30 12:00:00".'
        raise OptionError(f"{text!r} is not a time", cure=cure, key="asOf") from None
    return found.astimezone(UTC)


def show(session: Session) -> DataFrame:
    """The indexes with plain names, and what each costs."""
    rows = []
    for name in places.names(session):
        try:
            found = places.of(session, name).find()
        except TableError:  # a Lance dataset of somebody else
            continue
        if found is not None:
            rows.append({"name": name, **care.sizes(found)})
    return session.table(rows, _SHOWN)
