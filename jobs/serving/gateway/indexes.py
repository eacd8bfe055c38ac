"""Searches of indexes in the shapes of OpenAI's vector stores: `POST /v1/vector_stores/{id}/search`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from sqlllm.errors import OptionError, PackageError, SQLLLMError

from ..protocol import RequestError, check_fields, well_formed

if TYPE_CHECKING:
    from sqlllm.retrieval.dataset import About
    from sqlllm.retrieval.search import Search

_FIELDS = ("query", "max_num_results", "filters", "ranking_options", "rewrite_query", "query_type")
_RANKING = ("ranker", "score_threshold")
_MOST = 50  # results, as at OpenAI
_QUERIES = 256  # of a request


class IndexSearch:
    """One request: what is asked of which index. Raises RequestError for what cannot be answered."""

    def __init__(self, name: str, fields: Mapping[str, Any], folder: str) -> None:
        check_fields(fields, _FIELDS)
        self._name, self._folder = name, folder
        ranking = fields.get("ranking_options") or {}
        with well_formed():
            check_fields(ranking, _RANKING)
            given = fields["query"]
            self.queries: list[str] = [given] if isinstance(given, str) else given
            self._limit = int(fields.get("max_num_results", 10))
            self._threshold = float(ranking.get("score_threshold") or float("-inf"))
        if not 1 <= self._limit <= _MOST:
            raise RequestError(f"max_num_results is a number from 1 to {_MOST}", param="max_num_results")
        if not isinstance(self.queries, list) or not all(isinstance(one, str) for one in self.queries):
            raise RequestError("query is a text or a list of texts", param="query")
        if len(self.queries) > _QUERIES:
            raise RequestError(f"a request has at most {_QUERIES} queries", param="query")
        if not self.queries or not all(one.strip() for one in self.queries):
            raise RequestError("query is empty", param="query")
        if fields.get("rewrite_query"):
            raise RequestError("questions are searched as they are: leave rewrite_query out", param="rewrite_query")
        if ranking.get("ranker") not in (None, "auto", "none"):
            raise RequestError(f"there is no ranker {ranking['ranker']}: write auto", param="ranking_options")
        self._kind = fields.get("query_type")
        told = fields.get("filters")
        if told is not None and not isinstance(told, dict):
            raise RequestError("filters is an object", param="filters")
        try:
            self._filters = orjson.dumps(told).decode() if told else ""
        except orjson.JSONEncodeError:  # more than 254 levels
            raise RequestError("filters stand within each other too deeply", param="filters") from None
        self._about: About | None = None
        self._search: Search | None = None

    def open(self) -> About:
        """Find the index; reads files, so not in an event loop."""
        from sqlllm.retrieval import care, dataset, filters, places
        from sqlllm.retrieval.search import KINDS, Search

        if "/" in self._name:  # a path of this machine is nobody's to name
            raise RequestError(f"there is no index {self._name}", status=404, param="vector_store_id")
        try:
            found = dataset.find(places.uri(self._name, self._folder))
            if found is None:
                raise places.missing(self._name, self._folder)
            found = care.finished(found)
            self._about = dataset.About.of(found.schema)
            names = tuple(one for one in found.schema.names if one not in (dataset.VECTOR, dataset.HASH))
            filters.condition(self._filters, names)
        except PackageError as error:
            raise RequestError(str(error), status=501) from None
        except OptionError as error:
            raise RequestError(str(error), param=error.key or "vector_store_id") from None
        except SQLLLMError as error:
            raise RequestError(str(error), status=404, param="vector_store_id") from None
        kind = str(self._kind or ("hybrid" if self._about.model else "full_text")).lower()
        if kind not in KINDS:
            raise RequestError(f"{kind} is not a query_type: {', '.join(KINDS)}", param="query_type")
        if kind != "full_text" and not self._about.model:
            raise RequestError("the vectors of this index came with its table: search by full_text", param="query_type")
        self._search = Search(found.uri, found.version, kind, self._limit, self._filters, made=self._about.made)
        return self._about

    @property
    def embeds(self) -> bool:
        """Whether the questions need vectors."""
        assert self._search is not None
        return self._search.kind != "full_text"

    def run(self, vectors: Sequence[Any]) -> bytes:
        """The answer, as JSON; reads files, so not in an event loop."""
        from sqlllm.retrieval.search import SCORE

        assert self._search is not None
        assert self._about is not None
        best: dict[tuple[Any, ...], dict[str, Any]] = {}
        asked = [(text, vector, None) for text, vector in zip(self.queries, vectors, strict=True)]
        try:
            found = list(self._search.run_all(asked))
        except SQLLLMError as error:  # a filter that does not fit its column, a version that has just gone
            status = 400 if isinstance(error, OptionError) else 404
            raise RequestError(str(error), status=status, param=getattr(error, "key", None)) from None
        for hit in (hit for hits in found for hit in hits):
            key = tuple(hit[name] for name in self._about.key)
            if hit[SCORE] >= self._threshold and (key not in best or best[key][SCORE] < hit[SCORE]):
                best[key] = hit
        order = sorted(best.items(), key=lambda item: (-item[1][SCORE], item[0]))[: self._limit]
        page = {
            "object": "vector_store.search_results.page",
            "search_query": self.queries,
            "data": [self._shown(key, hit) for key, hit in order],
            "has_more": False,
            "next_page": None,
        }
        return orjson.dumps(page, default=str)

    def _shown(self, key: tuple[Any, ...], hit: dict[str, Any]) -> dict[str, Any]:
        from sqlllm.retrieval.search import SCORE

        assert self._about is not None
        name = "/".join(map(str, key))
        document = hit.get(self._about.document) if self._about.document else None
        attributes = {column: value for column, value in hit.items() if column not in (self._about.text, SCORE)}
        return {
            "file_id": name,
            "filename": str(document if document is not None else name),
            "score": hit[SCORE],
            "attributes": attributes,
            "content": [{"type": "text", "text": hit[self._about.text]}],
        }
