"""vector_search(table => 'chunks', ...): exact search over a table that has no index, in Spark alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlllm.errors import suggest
from sqlllm.retrieval import filters
from sqlllm.retrieval.search import SCORE
from sqlllm.udfs import literals

from ..tables import identifier, quoted, table_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..session import Session

_TEXTS = ("content", "text", "chunk")
FIXED = ("table", "text", "vector", "key")
_QUOTED = re.compile(r"`(?:[^`]|``)*`|'(?:[^']|'')*'")


def search(
    session: Session,
    given: Mapping[str, str],
    fixed: Mapping[str, Any],
    limit: int,
    plain: str,
    shown: Callable[[list[str]], tuple[str, ...]],
) -> str:
    """The subquery of the nearest rows. Raises ValueError for an argument that cannot be used, TableError."""
    name = str(fixed["table"])
    columns = table_named(session, name).columns
    if str(fixed.get("query_type", "ann")).lower() != "ann":
        raise ValueError(
            "a table without an index is searched by meaning alone: leave query_type out, or save an index"
        )
    if {"reranker", "num_candidates", "version", "index"} & fixed.keys():
        raise ValueError("reranker, num_candidates, version and index are of a search in an index")
    if "filters" in given and not plain:
        raise ValueError("filters of a table are written out")

    def column(key: str) -> str:
        found = str(fixed[key])
        if found not in columns:
            raise ValueError(f"table {name} has no column {found}. {suggest(found, columns, what='columns')}")
        return quoted(found)

    def embedded(text: str) -> str:
        model = quoted(session.models.named(str(fixed.get("model", "")), "embedding_model"))
        request = f"llm_param(map('instruction', {text}, 'embedding', 'true'))"
        return f"from_json(llm_result({model}(if({text} rlike r'(?U)\\S', {request}, null))), 'array<float>')"

    if "vector" in fixed:
        vector = f"cast({column('vector')} as array<float>)"
    else:
        text = next((one for one in _TEXTS if one in columns), "")
        if not text and "text" not in fixed:
            raise ValueError("which column is searched? Write text => 'COLUMN' or vector => 'COLUMN'")
        vector = embedded(f"cast({column('text') if 'text' in fixed else quoted(text)} as string)")
    if "query_vector" in given:
        question = f"cast({given['query_vector']} as array<float>)"
    elif "query" in given:
        question = embedded(f"cast({given['query']} as string)")
    else:
        raise ValueError("the search needs query or query_vector")
    rest = [one for one in columns if "vector" not in fixed or one != fixed["vector"]]
    items = ", ".join(map(quoted, shown(rest)))
    passes = _spark(filters.condition(plain, tuple(columns))) if plain else ""
    order = f"{SCORE} desc" + (f", {column('key')}" if "key" in fixed else "")
    score = f"cast(vector_cosine_similarity({vector}, {question}) as double) as {SCORE}"
    where = f" where {passes}" if passes else ""
    inner = f"select *, {score} from {identifier(name)}{where}"  # noqa: S608 - of parts that are quoted or SQL already
    best = f"where {SCORE} is not null order by {order} limit {limit}"
    return f"(select {items}, {SCORE} from ({inner}) {best})"  # noqa: S608


def _spark(condition: str) -> str:
    """A condition of Lance in Spark's SQL, which reads a backslash in a text as the beginning of an escape."""

    def written(match: re.Match[str]) -> str:
        return match[0] if match[0][0] == "`" else literals.text(match[0][1:-1].replace("''", "'"))

    return _QUOTED.sub(written, condition)
