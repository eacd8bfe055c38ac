"""explain llm select ...: what a select would ask of models, before anything is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from sqlllm import planner, wire
from sqlllm.dialect.statements import Explain
from sqlllm.errors import ModelError, TableError
from sqlllm.jobs.serving.gateway.usage import Query
from sqlllm.udfs import requests

from . import ai, given, queries, system
from .mentions import mentions
from .meter import fetch
from .operators import limit
from .planning import analysed, reordered, rewritten
from .registry import statement
from .tables import Result
from .wording import wording

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.dialect import RenderedSql
    from sqlllm.planner.asked import Asked

    from .operators.running import Cutting
    from .session import Session

SCHEMA = (
    "model string, request string, rows bigint, prompts bigint, stored bigint, calls bigint, prompt_tokens bigint,"
    " answer_tokens bigint, seconds double, cost double, at_most boolean, note string"
)
SAMPLE = 1024  # prompts whose tokens are counted and that are looked up in the store
_DISTINCT = """select r, count(*) as n from (select explode({request}) as r from ({query}))
    where coalesce(get_json_object(r, '$.query'), get_json_object(r, '$.instruction')) is not null group by r"""


@dataclass(frozen=True)
class _Past:
    """What a model has done so far, per call; None where nothing is known."""

    answer_tokens: float | None = None
    seconds: float | None = None


@dataclass
class _Cost:
    """What one call of a select would take; the fields of SCHEMA."""

    model: str | None
    request: str
    rows: int = 0
    prompts: int = 0
    stored: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    answer_tokens: int | None = 0
    seconds: float | None = 0.0
    cost: float = 0.0
    at_most: bool = False
    note: str | None = None


@statement(Explain)
def explain(session: Session, explain: Explain) -> Result:
    """One row for each way of an operator, one for each call, in the order in which they are made, and one for all."""
    from .operators.running import cut_out  # it brings pyarrow

    written = explain.select.sql.render(session.variables)
    with cut_out(session, written, explain=True) as cutting:
        costs = [*_ways(session, cutting), *_calls(session, written, cutting)]
    table = session.table([asdict(cost) for cost in costs], SCHEMA)
    if explain.select.table is None:
        return Result(table, place=explain.place)
    return session.name_table(table, explain.select.table.resolve(session.variables), explain.place)


def _ways(session: Session, cutting: Cutting) -> Iterator[_Cost]:
    """How the operators could run; what is not taken stands beside what is, and is not part of the sum."""
    prices = Query(prices=session.settings.llm.price_table)
    for planned in cutting.planned:
        for way in planned.ways:
            cost = _Cost(way.model, planned.request, planned.rows, planned.rows, calls=way.calls)
            cost.prompt_tokens, cost.answer_tokens = way.prompt_tokens, way.answer_tokens
            cost.seconds, cost.at_most = None, True
            cost.cost = prices.cost(way.model, way.prompt_tokens, way.answer_tokens or 0)
            said = f"{'taken' if way.taken else 'not taken'}: {way.name}"
            cost.note = f"{said}; {way.note}" if way.note else said
            yield cost


def _calls(session: Session, written: RenderedSql, cutting: Cutting) -> list[_Cost]:
    """The calls that Spark would make, row by row, and the sum."""
    sql = ai.written_out(session, cutting.sql)
    called = session.models.called(sql.text)
    if inner := called - mentions(sql.text).functions:
        raise TableError(
            f"a view or a function of this select calls {session.models[min(inner)].name} itself",
            cure="Write what it stands for in its place, and explain llm that.",
            place=sql.place,
        )
    frame = queries.run_sql(session, sql)
    given.check(session.models, frame, sql)
    frame, planned = reordered(session, frame, sql)
    better = rewritten(session, frame, planned)
    names = {model.name.lower(): model.name for model in system.deployed(session)}
    models = session.models.keys() & names.keys()
    past = _past(session, names)
    longest = max((past[names[model]].answer_tokens or 0 for model in models), default=0)
    try:
        calls = planner.asked(better.text, models, made="word " * round(longest))
    except planner.NotUnderstood:
        raise TableError(
            "what this select asks is not known before it runs",
            cure="Write the requests as a select of their own, and explain llm that.",
            place=sql.place,
        ) from None
    costs = [_cost(session, call, names[call.model], past[names[call.model]]) for call in calls]
    texts = wording(sql, calls, models)
    costs = [replace(cost, request=session.mask(text)) for cost, text in zip(costs, texts, strict=True)]
    note = f"it runs as written, because {better.reason}" if calls and better.reason else None
    if calls and limit.fits(session, frame, planned):
        note = "rows are asked about until the LIMIT is full"
    if calls and cutting.was_cut:
        note = "calls that depend on the result of an operator are not counted"
    taken = [cost for cost in _ways(session, cutting) if (cost.note or "").startswith("taken")]
    text = session.mask(" ".join(written.place.text.split()))
    return [*costs, replace(_total([*taken, *costs], text), note=note)]


def _cost(session: Session, call: Asked, model: str, past: _Past) -> _Cost:
    from pyspark.sql.functions import expr

    frame = analysed(session.spark, _DISTINCT.format(request=planner.REQUEST, query=call.query))
    _refuse_unanswered(session, frame)
    distinct = frame.persist()
    try:
        rows, prompts, size = distinct.selectExpr("sum(n)", "count(*)", "sum(octet_length(r))").first() or (0, 0, 0)
        # The order of a hash is not an order of the table, and the same each time.
        sample = [row.r for row in distinct.orderBy(expr("xxhash64(r)")).limit(SAMPLE).select("r").collect()]
    finally:
        distinct.unpersist()
    cost = _Cost(model, call.request, rows or 0, prompts, at_most=call.at_most)
    if not sample:
        return cost
    groups = _by_params(sample, constrains=session.models[model.lower()].constrains)
    asked = sum(len(batch) for batch in groups.values())
    share = prompts / len(sample)  # prompts for each of the sample
    stored = sum(_stored(session, model, params, batch) for params, batch in groups.items())
    tokens = sum(session.serving.count_tokens(model, [messages for batch in groups.values() for messages in batch]))
    by_size = (size or 0) / sum(len(request.encode()) for request in sample)  # longer prompts have more tokens
    cost.stored = round(stored * share)
    cost.calls = round((asked - stored) * share)
    part = cost.calls / (asked * share) if asked else 0
    cost.prompt_tokens = round(tokens * by_size * part)
    answers = [_answer_tokens(params, past) for params, batch in groups.items() for _ in batch]
    known = [tokens for tokens in answers if tokens is not None]
    cost.answer_tokens = round(sum(known) * share * part) if len(known) == asked else None
    cost.seconds = None if past.seconds is None else round(cost.calls * past.seconds, 1)
    query = Query(prices=session.settings.llm.price_table)
    cost.cost = query.cost(model, cost.prompt_tokens, cost.answer_tokens or 0)
    return cost


def _by_params(sample: list[str], *, constrains: bool) -> dict[bytes, list[list[dict[str, Any]]]]:
    """The conversations of the requests that can be sent, by their other fields."""
    groups: dict[bytes, list[list[dict[str, Any]]]] = {}
    for request in sample:
        try:
            conversation = requests.parse(request, constrains=constrains)
        except requests.RequestError:  # its row gets an error without a call
            continue
        if conversation is not None:
            groups.setdefault(conversation.params, []).append(conversation.messages)
    return groups


def _stored(session: Session, model: str, params: bytes, batch: list[list[dict[str, Any]]]) -> int:
    """How many of the conversations have an answer in the store."""
    if session.settings.llm.store == "off":
        return 0
    body = orjson.loads(params) | {"model": model, "messages": batch}
    with session.serving.client(timeout=60) as http:
        reply = http.post(wire.STORED, content=orjson.dumps(body))
    if reply.status_code != 200:
        raise ModelError(f"the gateway does not look up answers: {reply.text[:200]}")
    return int(reply.json()["stored"])


def _answer_tokens(params: bytes, past: _Past) -> float | None:
    """Tokens of an answer: as many as before, at most as many as asked for; None if neither is known."""
    bounds = [past.answer_tokens, orjson.loads(params).get("max_tokens")]
    return min((bound for bound in bounds if bound is not None), default=None)


def _past(session: Session, names: dict[str, str]) -> dict[str, _Past]:
    """By model, from the usage that the gateway keeps."""
    found = {name: _Past() for name in names.values()}
    if not names:
        return found
    totals: dict[str, list[float]] = {}
    for usage in fetch(session, {}):
        total = totals.setdefault(usage["model"], [0, 0, 0])
        for index, key in enumerate(("calls", "answer_tokens", "seconds")):
            total[index] += usage[key]
    for model, (calls, tokens, seconds) in totals.items():
        if calls and model in found:
            found[model] = _Past(tokens / calls, seconds / calls)
    return found


def _total(costs: list[_Cost], text: str) -> _Cost:
    """All calls together; `request` is the select."""
    total = _Cost(None, text)
    for cost in costs:
        total.rows += cost.rows
        total.prompts += cost.prompts
        total.stored += cost.stored
        total.calls += cost.calls
        total.prompt_tokens += cost.prompt_tokens
        total.cost += cost.cost
        total.at_most |= cost.at_most
    answers, seconds = [cost.answer_tokens for cost in costs], [cost.seconds for cost in costs]
    total.answer_tokens = None if None in answers else sum(answer or 0 for answer in answers)
    total.seconds = None if None in seconds else round(0.0 + sum(second or 0.0 for second in seconds), 1)
    return total


def _refuse_unanswered(session: Session, frame: DataFrame) -> None:
    """TableError if a table under `frame` holds answers that nobody has asked for yet: to look at it would ask."""
    if not session.models or not hasattr(frame, "_jdf"):
        return
    leaves = frame._jdf.queryExecution().withCachedData().collectLeaves()
    for index in range(leaves.size()):
        leaf = leaves.apply(index)
        if leaf.getClass().getSimpleName() != "InMemoryRelation" or leaf.cacheBuilder().isCachedColumnBuffersLoaded():
            continue
        called = _functions(orjson.loads(leaf.cacheBuilder().logicalPlan().toJSON()))
        if found := next((name for name in called if name.lower() in session.models), None):
            raise TableError(
                f"a table of this select calls {found} itself, and has not been asked for yet",
                cure="Explain the select that makes that table, or run it first.",
            )


def _functions(plan: Any) -> Iterator[str]:
    """The names of the Python functions in a plan, which Spark gives as JSON."""
    if isinstance(plan, list):
        for part in plan:
            yield from _functions(part)
    elif isinstance(plan, dict):
        if str(plan.get("class", "")).endswith(".PythonUDF"):
            yield plan["name"]
        yield from _functions(list(plan.values()))
