"""The rows of an index that answer a question best: by meaning, by words, or by both.

A score is the same whichever way a row was found, and a higher one is better: the cosine of the two vectors (`ann`),
BM25 (`full_text`), or the sum of 1 / (60 + rank) over both lists (`hybrid`). Rows of one score stand by their key.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlllm.errors import OptionError, TableError

from . import care, filters
from .dataset import HASH, VECTOR, About, find, first_line, gone, quoted

if TYPE_CHECKING:
    from lance import LanceDataset

SCORE = "search_score"
KINDS = ("ann", "full_text", "hybrid")
_RANK = 60  # of reciprocal rank fusion, as its authors chose it
_PROBES, _REFINED = 12, 4
_TIES = 4096  # rows of one score among which the key decides

Hit = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """How an index is searched: the `limit` best rows that pass `filters`, with `columns` (none: all of the table)."""

    uri: str
    version: int
    kind: str = "ann"
    limit: int = 5
    filters: str = ""
    columns: tuple[str, ...] = ()
    exact: bool = False
    storage: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    made: str = ""
    """`About.made`: an index that is removed and written again has the same versions, and other rows."""

    def run(self, text: str | None, vector: Sequence[float] | None = None, filters: str | None = None) -> list[Hit]:
        """The hits, best first, each with `search_score`. A question without words has none."""
        dataset, about, indexed, few = _opened(self.uri, self.version, self.storage, self.made)
        told = [one for one in (self.filters, filters) if one]
        names = tuple(name for name in dataset.schema.names if name not in (VECTOR, HASH))
        passes = " and ".join(f"({read})" for one in told if (read := _condition(one, names)))
        if wrong := [one for one in self.columns if one not in names]:
            raise OptionError(f"the index has no column {wrong[0]}", cure=f"Columns: {', '.join(names)}.")
        reads = list(dict.fromkeys((*(self.columns or names), *about.key)))
        with _explained(self, passes):
            finder = _Finder(dataset, about, passes, reads, exact=self.exact or not indexed or few(passes))
            if self.kind == "full_text":
                found = finder.words(text, self.limit)
            elif self.kind == "ann":
                found = finder.near(vector, self.limit)
            else:
                depth = max(4 * self.limit, 50)
                found = _fused(finder.near(vector, depth), finder.words(text, depth), about.key)[: self.limit]
        shown = self.columns or names
        return [{name: hit[name] for name in (*shown, SCORE)} for hit in found]

    def run_all(self, asked: Sequence[tuple[str | None, Any, str | None]]) -> Iterator[list[Hit]]:
        """`run` for each of many, side by side, in order."""
        with ThreadPoolExecutor(max(2, (os.cpu_count() or 2))) as pool:
            yield from pool.map(lambda one: self.run(*one), asked)


def _condition(text: str, names: tuple[str, ...]) -> str:
    return filters.condition(text, names)


@contextmanager
def _explained(search: Search, passes: str) -> Iterator[None]:
    """Lance's errors as ours: files of a version that is gone, and a filter that does not fit its columns."""
    try:
        yield
    except ValueError as error:
        if "not found: " in str(error).lower():
            raise gone(search.uri, search.version) from None
        if not passes:
            raise
        why = first_line(error).rpartition("Invalid user input: ")[2]
        raise OptionError(
            f"filters cannot be used: {why}", cure="Compare a column with a value of its own type.", key="filters"
        ) from None


_Opened = tuple["LanceDataset", About, bool, Callable[[str], bool]]


@lru_cache(maxsize=32)
def _opened(uri: str, version: int, storage: tuple[tuple[str, str], ...], made: str) -> _Opened:
    """The dataset, whether its vectors are indexed, and whether so few rows pass a filter that they are best compared
    one by one. It is opened once a process: its indexes stay in memory.
    """
    dataset = find(uri, version, dict(storage) or None)
    about = About.of(dataset.schema) if dataset is not None else None
    if dataset is None or about is None or (made and about.made != made):
        raise gone(uri, version)

    @lru_cache(maxsize=256)
    def few(passes: str) -> bool:
        return bool(passes) and dataset.count_rows(passes) <= care.FEW

    return dataset, about, care.searched_by_index(dataset), few


class _Finder:
    """Looks in one version of one index."""

    def __init__(
        self, dataset: LanceDataset, about: About, passes: str, columns: Sequence[str], *, exact: bool
    ) -> None:
        self._dataset, self._about, self._passes = dataset, about, passes
        self._columns = {name: quoted(name) for name in columns}
        self._exact = exact

    def near(self, vector: Sequence[float] | None, limit: int) -> list[Hit]:
        """By meaning; a vector without a direction is near to nothing."""
        if vector is None:
            return []
        if len(vector) != self._about.dimensions:
            raise OptionError(
                f"the question's vector has {len(vector)} numbers, and those of the index have"
                f" {self._about.dimensions}",
                cure="Ask with the model that the index was made with.",
            )
        if not any(vector) or not all(map(math.isfinite, vector)):
            return []

        def look(count: int, *, exact: bool) -> list[Hit]:
            asked: dict[str, Any] = {"column": VECTOR, "q": pa.array(vector, pa.float32()), "k": count}
            asked |= {"metric": "cosine", "use_index": not exact}
            if not exact:
                asked |= {"minimum_nprobes": _PROBES, "refine_factor": _REFINED}
            table = self._scan({**self._columns, "_distance": "_distance"}, nearest=asked)
            return _scored(table, "_distance", lambda distance: 1.0 - distance)

        found = self._best(lambda count: look(count, exact=self._exact), limit)
        if len(found) < limit and not self._exact:  # what passes the filter may lie far from the question
            found = self._best(lambda count: look(count, exact=True), limit)
        return found

    def words(self, text: str | None, limit: int) -> list[Hit]:
        """By the words that the texts and the question share."""
        if text is None or not text.strip() or not self._dataset.count_rows():
            return []
        if not care.has_words(self._dataset):
            raise TableError("the index is not finished: its writer was stopped", cure="Save it again.")
        from lance.query import MatchQuery

        def look(count: int) -> list[Hit]:
            query = MatchQuery(text, self._about.text)
            table = self._scan({**self._columns, "_score": "_score"}, full_text_query=query, limit=count)
            return _scored(table, "_score", lambda score: score)

        return self._best(look, limit)

    def _scan(self, columns: Mapping[str, str], **asked: Any) -> pa.Table:
        told: dict[str, Any] = {"columns": dict(columns), "filter": self._passes or None, "prefilter": True}
        return self._dataset.scanner(**told, **asked).to_table()

    def _best(self, look: Any, limit: int) -> list[Hit]:
        """The `limit` best by score and key: as long as the last score goes on, more rows are looked at."""
        count = limit + 8
        while True:
            found = look(count)
            full = len(found) >= count
            if not full or found[-1][SCORE] < found[limit - 1][SCORE] or count >= _TIES:
                return sorted(found, key=lambda hit: _order(hit, self._about.key))[:limit]
            count = min(4 * count, _TIES)


def _scored(table: pa.Table, column: str, score: Any) -> list[Hit]:
    hits = table.to_pylist()
    for hit in hits:
        hit[SCORE] = score(hit.pop(column))
    hits = [hit for hit in hits if not math.isnan(hit[SCORE])]
    return sorted(hits, key=lambda hit: -hit[SCORE])


def _order(hit: Hit, key: Sequence[str]) -> tuple[Any, ...]:
    return (-hit[SCORE], *(hit[name] for name in key))


def _fused(near: Sequence[Hit], words: Sequence[Hit], key: Sequence[str]) -> list[Hit]:
    """Both lists as one, by reciprocal rank."""
    found: dict[tuple[Any, ...], Hit] = {}
    for hits in (near, words):
        for rank, hit in enumerate(hits, 1):
            one = found.setdefault(tuple(hit[name] for name in key), {**hit, SCORE: 0.0})
            one[SCORE] += 1 / (_RANK + rank)
    return sorted(found.values(), key=lambda hit: _order(hit, key))
