"""An index from Python: no Spark, no Ray. The question's vector comes from the model, by the gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from sqlllm.errors import OptionError, TableError

from .llm import LLM

if TYPE_CHECKING:
    from sqlllm.retrieval.search import Search

Hit = dict[str, Any]
"""A row of the index: its columns and `search_score`, of which a higher one is better."""


class Index:
    """The index `name`: a plain name lies under the setting `indexes`, a name with a slash is a path or an address.

        Index("kb").search("how do I reset my password?", num_results=3, query_type="hybrid")

    `model` gives the vectors of questions, for an index whose vectors came with its table, or where the gateway has
    another address: an `LLM`, or a name that it is deployed under. `storage` opens object storage. Raises: TableError
    if there is no such index or no such version.
    """

    def __init__(
        self,
        name: str,
        *,
        model: LLM | str | None = None,
        version: int | None = None,
        storage: Mapping[str, str] | None = None,
    ) -> None:
        from sqlllm.retrieval import dataset, places
        from sqlllm.settings import Settings

        settings = Settings.load()
        folder = places.folder(settings.indexes, settings.home)
        self.name, self._version, self._model = name, version, model
        self._storage = dict(storage or {})
        self._uri = places.uri(name, folder)
        if dataset.find(self._uri, storage=self._storage or None) is None:
            raise places.missing(name, folder)
        if version is not None:
            self._opened()

    @property
    def columns(self) -> list[str]:
        """The columns of a hit but `search_score`."""
        from sqlllm.retrieval.dataset import HASH, VECTOR

        return [one for one in self._opened().schema.names if one not in (VECTOR, HASH)]

    def __len__(self) -> int:
        return int(self._opened().count_rows())

    def search(
        self,
        query: str | None = None,
        *,
        num_results: int = 5,
        query_type: str = "ann",
        filters: str | Mapping[str, Any] | None = None,
        query_vector: Sequence[float] | None = None,
        columns: Sequence[str] = (),
    ) -> list[Hit]:
        """The rows that answer `query` best, as SQL's vector_search gives them.

        Raises: OptionError for an argument that cannot be used, ModelError if the model gives no vector.
        """
        search = self._search(num_results, query_type, filters, columns)
        if query_vector is None and search.kind != "full_text":
            (query_vector,) = self._vectors([query])
        return search.run(query, query_vector)

    def search_all(
        self,
        queries: Sequence[str],
        *,
        num_results: int = 5,
        query_type: str = "ann",
        filters: str | Mapping[str, Any] | None = None,
        columns: Sequence[str] = (),
    ) -> list[list[Hit]]:
        """`search` for each of many questions, whose vectors are asked for together."""
        search = self._search(num_results, query_type, filters, columns)
        vectors = [None] * len(queries) if search.kind == "full_text" else self._vectors(queries)
        return list(search.run_all([(text, vector, None) for text, vector in zip(queries, vectors, strict=True)]))

    def _search(self, limit: int, kind: str, filters: str | Mapping[str, Any] | None, columns: Sequence[str]) -> Search:
        from sqlllm.retrieval.dataset import About
        from sqlllm.retrieval.search import KINDS, Search

        if kind.lower() not in KINDS:
            raise OptionError(f"{kind} is not a query_type", cure=f"Write one of {', '.join(KINDS)}.")
        if limit < 1:
            raise OptionError("num_results is 1 or more")
        known = self.columns if columns else []
        if wrong := [one for one in columns if one not in known]:
            raise OptionError(f"the index has no column {wrong[0]}", cure=f"Columns: {', '.join(known)}.")
        told = filters if isinstance(filters, str) else "" if filters is None else orjson.dumps(filters).decode()
        storage = tuple(sorted(self._storage.items()))
        found = self._opened()
        made = About.of(found.schema).made
        return Search(self._uri, found.version, kind.lower(), limit, told, tuple(columns), storage=storage, made=made)

    def _opened(self) -> Any:
        from sqlllm.retrieval import care, dataset

        found = dataset.find(self._uri, self._version, self._storage or None)
        if found is None:
            raise TableError(f"index {self.name} has no version {self._version}")
        return found if self._version is not None else care.finished(found)

    def _vectors(self, texts: Sequence[str | None]) -> list[Any]:
        """Of each text that is not blank; one request for all."""
        from sqlllm.retrieval.dataset import About

        about = About.of(self._opened().schema)
        asked = list(dict.fromkeys(text for text in texts if text and text.strip()))
        if not asked:
            return [None] * len(texts)
        if not self._model and not about.model:
            raise OptionError(
                "the vectors of the index came with its table", cure='Name their model: Index("NAME", model="emb").'
            )
        model = self._model or about.model
        llm = model if isinstance(model, LLM) else LLM(model)
        found = dict(zip(asked, llm.embed(asked), strict=True))
        return [found.get(text or "") for text in texts]
