"""vector_search and ai_search in a statement, written out as calls of models and of a function that searches.

    select q.id, hit.* from questions as q, lateral vector_search(index => 'kb', query => q.question) as hit
    select id, ai_search(index => 'kb', query => question) as hits from questions

The first is a table, the second an array of structs. The vectors of all questions of a table are asked for together, as
those of any other call of a model are.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from sqlllm.errors import ModelError, OptionError, ParseError, TableError, nearest
from sqlllm.retrieval import filters
from sqlllm.retrieval.dataset import HASH, VECTOR, About
from sqlllm.retrieval.search import KINDS, SCORE, Search
from sqlllm.udfs import index as tasks
from sqlllm.udfs import literals

from .. import calls
from ..tables import quoted
from . import PARAMETERS, SAME, SEARCHES, exact, places, read, staged

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

    from sqlllm.dialect import RenderedSql

    from ..calls import Call, Cut
    from ..session import Session

_FIXED = ("index", "num_results", "query_type", "model", "reranker", "num_candidates", "version", *exact.FIXED)
_RESULTS = 5
_MOST = 10_000  # results of one question
_USAGE = "vector_search(index => 'kb', query => question, num_results => 5, query_type => 'hybrid')"


def written_out(session: Session, sql: RenderedSql) -> RenderedSql:
    """`sql` with each search written out. Raises ParseError, TableError or ModelError at the call."""

    def write(call: Call, cut: Cut) -> str:
        place = sql.place_at(call.start, call.end)
        try:
            made = _written(session, call, cut)
        except OptionError as error:
            raise ParseError(error.message, cure=error.cure, place=place) from None
        except ValueError as error:
            raise ParseError(str(error), cure=f"Write {_USAGE}.", place=place) from None
        except (ModelError, TableError) as error:
            raise error.at(place) from None
        return made

    return calls.written_out(sql, SEARCHES, write)


def _written(session: Session, call: Call, cut: Cut) -> str:
    """The SQL of one call: a subquery, or an array of structs."""
    given = _arguments(call, cut)
    fixed = {key: _constant(key, given[key]) for key in _FIXED if key in given}
    if "table" not in fixed:
        if other := next((key for key in exact.FIXED if key in fixed), ""):
            raise ValueError(f"{other} is of a search in a table: the index knows its own")
        hits = _hits(session, given, fixed)
        return hits if call.name == "ai_search" else f"(select inline({hits}))"
    if call.name == "ai_search":
        raise ValueError("a table without an index is searched by vector_search")
    limit = _count("num_results", fixed.get("num_results", _RESULTS))
    plain = str(_constant("filters", given["filters"])) if "filters" in given else ""
    return exact.search(session, given, fixed, limit, plain, lambda names: _columns(given.get("columns"), names))


def _hits(session: Session, given: dict[str, str], fixed: dict[str, Any]) -> str:
    """The SQL of the array of hits."""
    name = str(fixed.get("index", ""))
    if not name:
        raise ValueError("the search needs an index")
    place, dataset = places.existing(session, name)
    dataset = read.at(dataset, {"version": str(fixed["version"])} if "version" in fixed else {})
    about = About.of(dataset.schema)
    kind = str(fixed.get("query_type", "ann")).lower()
    if kind not in KINDS:
        near = nearest(kind, KINDS)
        hint = f"; did you mean {near}?" if near else f", which is one of {', '.join(KINDS)}"
        raise ValueError(f"{kind} is not a query_type{hint}")
    limit = _count("num_results", fixed.get("num_results", _RESULTS))
    reranker = str(fixed.get("reranker", ""))
    if reranker and "num_candidates" not in fixed:
        candidates = min(max(4 * limit, 20), _MOST)
    else:
        candidates = _count("num_candidates", fixed.get("num_candidates", limit))
    if candidates < limit or ("num_candidates" in fixed and not reranker):
        raise ValueError("num_candidates are what a reranker chooses num_results from")
    names = [one for one in dataset.schema.names if one not in (VECTOR, HASH)]
    shown = _columns(given.get("columns"), names)
    plain = ""
    if told := given.get("filters"):
        try:
            plain = str(literals.constant(told))
        except literals.NotConstant:
            plain = ""
        if plain:
            filters.condition(plain, tuple(names))
    columns = tuple(dict.fromkeys((*shown, about.text))) if reranker else shown
    storage = tuple(sorted(place.storage.items()))
    search = Search(place.uri, dataset.version, kind, candidates, plain, columns, storage=storage, made=about.made)
    returns = _returns(staged.columns(dataset.schema), columns)
    function = f"llm_search_{hashlib.sha256(repr((search, place.storage)).encode()).hexdigest()[:16]}"
    tasks.register_search(session.spark, function, search, returns)
    query, vector = _asked(session, given, about, kind, str(fixed.get("model", "")))
    apart = "cast(null as string)" if plain or "filters" not in given else f"cast({given['filters']} as string)"
    found = f"{function}({query}, {vector}, {apart})"
    if not reranker:
        return found
    model = session.models.named(reranker, "model")
    return _reranked(found, query, quoted(model), about.text, shown, limit)


def _asked(session: Session, given: dict[str, str], about: About, kind: str, model: str) -> tuple[str, str]:
    """The SQL of the question's text and of its vector, as far as the kind of search needs them."""
    query = f"cast({given['query']} as string)" if "query" in given else "cast(null as string)"
    if kind != "ann" and "query" not in given:
        raise ValueError(f"a search of the type {kind} needs query")
    if kind == "full_text":
        return query, "cast(null as array<float>)"
    if "query_vector" in given:
        return query, f"cast({given['query_vector']} as array<float>)"
    if "query" not in given:
        raise ValueError("the search needs query or query_vector")
    if about.model and model and session.models.named(model, "embedding_model").lower() != about.model.lower():
        raise ValueError(f"the index was made with the model {about.model}, not {model}")
    if not about.model and not model:
        raise ValueError("the vectors of the index came with its table: name their model => '...' or give query_vector")
    name = quoted(session.models.named(about.model or model, "embedding_model"))
    blank = f"{query} rlike r'(?U)\\S'"
    request = f"if({blank}, llm_param(map('instruction', {query}, 'embedding', 'true')), null)"
    return query, f"from_json(llm_result({name}({request})), 'array<float>')"


def _reranked(found: str, query: str, model: str, text: str, shown: tuple[str, ...], limit: int) -> str:
    """The best of `found` as another model sees them, with its scores."""
    texts = f"to_json(transform({found}, hit -> hit.{quoted(text)}))"
    request = f"llm_param(map('instruction', {query}, 'rerank', {texts}))"
    kind = "'array<struct<index:int,score:float,text:string>>'"
    ranks = f"from_json(llm_result({model}(if(size({found}) > 0, {request}, null))), {kind})"
    fields = ", ".join(f"'{name}', pair.hits[rank.index].{quoted(name)}" for name in shown)
    row = f"named_struct({fields}, '{SCORE}', cast(rank.score as double))"
    best = f"transform(slice(pair.ranks, 1, {limit}), rank -> {row})"
    # Spark takes no Python function inside a lambda, so the lambdas get what the functions gave.
    return f"transform(array(named_struct('hits', {found}, 'ranks', {ranks})), pair -> {best})[0]"


def _arguments(call: Call, cut: Cut) -> dict[str, str]:
    """The SQL of each argument by its parameter; ValueError for an unknown or repeated argument."""
    arguments: dict[str, str] = {}
    for position, given in enumerate(call.arguments):
        if given.start == given.end:
            raise ValueError(f"{given.name or 'an argument'} is empty")
        if given.name:
            wanted = SAME.get(given.name.lower(), given.name.lower())
            if wanted not in PARAMETERS:
                near = nearest(wanted, PARAMETERS)
                raise ValueError(f"{call.name} has no {given.name}" + (f"; did you mean {near}?" if near else ""))
        elif position < len(PARAMETERS):
            wanted = PARAMETERS[position]
        else:
            raise ValueError(f"{call.name} takes {len(PARAMETERS)} arguments")
        if wanted in arguments:
            raise ValueError(f"{call.name} gets {wanted} twice")
        arguments[wanted] = cut(given.start, given.end)
    return arguments


def _constant(key: str, sql: str) -> object:
    try:
        return literals.constant(sql)
    except literals.NotConstant:
        raise ValueError(f"{key} is written out: the query is planned by it") from None


def _count(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MOST:
        raise ValueError(f"{key} is a number from 1 to {_MOST:,}")
    return value


def _columns(sql: str | None, names: list[str]) -> tuple[str, ...]:
    """The columns that are shown: all of the table, or those that are asked for."""
    if sql is None:
        return tuple(names)
    wanted = _constant("columns", sql)
    if isinstance(wanted, str):
        wanted = [one.strip() for one in wanted.split(",")]
    by_lower = {name.lower(): name for name in names}
    if not isinstance(wanted, list) or not wanted or not all(isinstance(one, str) for one in wanted):
        raise ValueError("columns are names: array('id', 'content')")
    for one in wanted:
        if one.lower() not in by_lower:
            raise ValueError(f"the index has no column {one}. Columns: {', '.join(names)}")
    return tuple(by_lower[one.lower()] for one in wanted)


def _returns(schema: object, columns: tuple[str, ...]) -> StructType:
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.sql.types import DoubleType, StructField, StructType

    kinds = {one.name: one.dataType for one in from_arrow_schema(schema)}
    return StructType([*(StructField(name, kinds[name]) for name in columns), StructField(SCORE, DoubleType())])
