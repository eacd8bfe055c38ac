"""Byzer-LLM's storage client: vectors of texts, and queries of the index `cluster.database.table`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from sqlllm.client import LLM, Index
from sqlllm.errors import OptionError


class DataType(Enum):
    """Types of fields, as Byzer's schemas write them."""

    STRING = "string"
    LONG = "long"
    FLOAT = "float"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    ARRAY = "array"
    MAP = "map"
    STRUCT = "st"


class FieldOption(Enum):
    """Marks of fields, as Byzer's schemas write them."""

    ANALYZE = "analyze"
    SORT = "sort"
    NO_INDEX = "no_index"


class SortOption(Enum):
    """Orders of rows."""

    DESC = "desc"
    ASC = "asc"


class ByzerStorage:
    """A table of Byzer's storage. `emb_model` is a model that is deployed here. Byzer's cluster is not needed.

    Rows are written in SQL, by `run command as Retrieval` or `save`.
    """

    def __init__(
        self, cluster_name: str | None, database: str, table: str, *_: Any, emb_model: str = "emb", **__: Any
    ) -> None:
        self.cluster_name = cluster_name or "byzerai_store"
        self.database, self.table, self.emb_model = database, table, emb_model

    def emb(self, s: str) -> list[float]:
        """The vector of a text."""
        return LLM(self.emb_model).embed(s)

    def query_builder(self) -> QueryBuilder:
        """A new query."""
        return QueryBuilder(self)

    def commit(self) -> bool:
        """Nothing is left to do: each write is committed when it ends."""
        return True

    def __getattr__(self, name: str) -> Any:
        if name in _WRITES:
            raise OptionError(
                f"ByzerStorage.{name} is not here",
                cure="Write rows in SQL: run command as Retrieval, or save ... as index.`NAME`.",
            )
        raise AttributeError(name)

    @property
    def index(self) -> Index:
        """The index of the table. Raises: TableError if there is none."""
        return Index(f"{self.cluster_name}.{self.database}.{self.table}", model=self.emb_model)


_WRITES = ("delete_by_ids", "drop", "memorize", "remember", "schema_builder", "write_builder")


class _Filter:
    """Conditions that are joined by `and` or by `or`."""

    def __init__(self, query: QueryBuilder, kind: str) -> None:
        self._query, self._kind = query, kind
        self._conditions: list[dict[str, Any]] = []

    def add_condition(self, field: str, value: Any) -> _Filter:
        """Rows whose `field` is `value`."""
        self._conditions.append({"type": "eq", "key": field, "value": value})
        return self

    def build(self) -> QueryBuilder:
        """The query with the conditions, beside those of its other filters."""
        if self._conditions:
            known = [self._query.filters] if self._query.filters else []
            built = {"type": self._kind, "filters": self._conditions}
            self._query.filters = {"type": "and", "filters": [*known, built]}
        return self._query


class QueryBuilder:
    """A query by words, by a vector, or by both."""

    def __init__(self, storage: ByzerStorage) -> None:
        self._storage = storage
        self._text: str | None = None
        self._vector: list[float] | None = None
        self._columns: list[str] = []
        self._limit = 10
        self.filters: dict[str, Any] | None = None

    def set_search_query(self, query: str, fields: Sequence[str] | str = ()) -> QueryBuilder:
        """Search by words. The index knows which of its columns is searched."""
        self._text = query
        return self

    def set_vector_query(self, query: Sequence[float] | str, fields: Sequence[str] | str = ()) -> QueryBuilder:
        """Search by a vector, or by the vector of a text. The index knows which of its columns is searched."""
        self._vector = self._storage.emb(query) if isinstance(query, str) else list(query)
        return self

    def and_filter(self) -> _Filter:
        """Conditions that must all be true."""
        return _Filter(self, "and")

    def or_filter(self) -> _Filter:
        """Conditions of which one must be true."""
        return _Filter(self, "or")

    def set_fields(self, fields: Sequence[str]) -> QueryBuilder:
        """The columns of the result; all without this."""
        self._columns = list(fields)
        return self

    def set_limit(self, limit: int) -> QueryBuilder:
        """The number of rows; 10 without this."""
        self._limit = limit
        return self

    def sort(self, *_: Any) -> QueryBuilder:
        """Refused: rows come by their score."""
        raise OptionError("rows come by their score", cure="Leave sort out, and sort the rows that execute returns.")

    def execute(self) -> list[dict[str, Any]]:
        """The rows, best first."""
        if self._text is None and self._vector is None:
            raise OptionError("the query is empty", cure="Call set_search_query or set_vector_query first.")
        kind = "full_text" if self._vector is None else "ann" if self._text is None else "hybrid"
        return self._storage.index.search(
            self._text, num_results=self._limit, query_type=kind, filters=self.filters, query_vector=self._vector,
            columns=self._columns,
        )  # fmt: skip


NAMES = {one.__name__: one for one in (ByzerStorage, DataType, FieldOption, QueryBuilder, SortOption)}
"""What scripts import from `byzerllm.apps.byzer_storage.simple_api`."""
