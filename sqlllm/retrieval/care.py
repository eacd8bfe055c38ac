"""What keeps an index fast and small: its search indexes, few files, few versions. Rows are the same before and after.

A search without any of this gives the same rows, only later: Lance scans what no index covers.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .dataset import HASH, VECTOR, About, quoted

if TYPE_CHECKING:
    from lance import LanceDataset

VERSIONS = 64
"""The newest versions of an index that stay, for `version` and `asOf`."""

_MEANING, _WORDS = "sqlllm_meaning", "sqlllm_words"  # names of the indexes over vectors and texts
FEW = 4096  # vectors: a scan of this number takes a few milliseconds
_SMALL = 16  # files that are not full: then they become one
_LATE = 16  # versions between two looks at what has piled up
_UNCOVERED = 4096  # rows that no index covers: each search reads all of them
_GROWN = 2  # times the partitions that there are: the rows have become four times as many


def tend(dataset: LanceDataset, *, whole: bool = False) -> LanceDataset:
    """Build what is missing, and from time to time put small files together; gives the newest version.

    `whole`: the rows are all new, so the indexes are, too.
    """
    about = About.of(dataset.schema)
    if not dataset.count_rows():
        return dataset
    indexes = {one.name: one for one in dataset.describe_indices()}
    if not whole and dataset.version % _LATE and _WORDS in indexes and not _falls_behind(dataset):
        return dataset
    if not whole:
        if len(dataset.get_fragments()) > _SMALL or any(one.num_deletions for one in dataset.get_fragments()):
            dataset.optimize.compact_files()
        if indexes:
            dataset.optimize.optimize_indices()
    for column in dict.fromkeys((HASH, *about.key, *([about.document] if about.document else []), *about.filters)):
        if whole or f"sqlllm_{column}" not in indexes:
            dataset.create_scalar_index(quoted(column), "BTREE", name=f"sqlllm_{column}", replace=True)
    rows = dataset.count_rows(f"{VECTOR} is not null")
    if about.dimensions and rows >= FEW and (whole or _MEANING not in indexes or _outgrown(dataset, rows)):
        training: dict[str, Any] = {
            "num_partitions": partitions(rows),
            "sample_rate": 64,
            "max_iters": 10,
        }  # a quarter of the time
        dataset.create_index(VECTOR, "IVF_SQ", name=_MEANING, metric="cosine", replace=True, **training)
    if whole or _WORDS not in indexes:  # the last one: with it the version is finished
        words: dict[str, Any] = {"base_tokenizer": "icu", "lower_case": True, "stem": False, "remove_stop_words": False}
        dataset.create_scalar_index(
            quoted(about.text), "INVERTED", name=_WORDS, replace=True, with_position=False, **words
        )
    dataset.cleanup_old_versions(older_than=timedelta(0), retain_versions=VERSIONS, error_if_tagged_old_versions=False)
    return dataset


def finished(dataset: LanceDataset) -> LanceDataset:
    """The newest version that is searched: an older one while the rows that were saved last have no indexes yet."""
    if has_words(dataset) or not dataset.count_rows():
        return dataset
    for version in sorted((int(one["version"]) for one in dataset.versions()), reverse=True)[1:]:
        older = dataset.checkout_version(version)
        if has_words(older):
            return older
    return dataset


def partitions(rows: int) -> int:
    """How many groups of near vectors to make of `rows` vectors."""
    return max(16, int(2 ** round(math.log2(math.sqrt(rows) / 2))))


def searched_by_index(dataset: LanceDataset) -> bool:
    """Whether an index finds the nearest vectors, not a scan."""
    return any(one.name == _MEANING for one in dataset.describe_indices())


def has_words(dataset: LanceDataset) -> bool:
    """Whether the texts have their index: an index without rows has none."""
    return any(one.name == _WORDS for one in dataset.describe_indices())


def _falls_behind(dataset: LanceDataset) -> bool:
    """Whether many rows have come since the indexes were made."""
    told: dict[str, Any] = dataset.stats.index_stats(_WORDS)
    return int(told.get("num_unindexed_rows", 0)) > _UNCOVERED


def _outgrown(dataset: LanceDataset, rows: int) -> bool:
    told: dict[str, Any] = dataset.stats.index_stats(_MEANING)
    made = [int(one.get("num_partitions", 0)) for one in told.get("indices", ())]
    return bool(made and made[0]) and partitions(rows) >= _GROWN * made[0]


def sizes(dataset: LanceDataset) -> dict[str, Any]:
    """What `!show indexes` shows of an index: rows, files, versions, bytes of its rows."""
    about = About.of(dataset.schema)
    parts = dataset.get_fragments()
    return {
        "rows": dataset.count_rows(),
        "model": about.model,
        "dimensions": about.dimensions,
        "text": about.text,
        "key": ", ".join(about.key),
        "document": about.document,
        "files": sum(len(part.data_files()) for part in parts),
        "bytes": sum(one.file_size_bytes or 0 for part in parts for one in part.data_files()),
        "version": dataset.version,
        "versions": len(dataset.versions()),
        "indexes": ", ".join(sorted(one.name.removeprefix("sqlllm_") for one in dataset.describe_indices())),
    }
