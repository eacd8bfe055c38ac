"""ai_approx_count(condition) and ai_approx_avg(value): from a sample that grows until the interval is narrow enough.

    select product, ai_approx_count(ai_filter(llm_prompt('{review} is a complaint')), error => 0.05).value
    from reviews group by product

The result is a struct<value, low, high, asked>. `low` and `high` hold the true value with the stated `confidence`, in
each group by itself. `error` is a share: of the rows of the group, and for a mean of what is between `least` and
`most`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
from sqlglot import exp

from sqlllm.errors import TableError
from sqlllm.planner.parts import aggregates, windows
from sqlllm.planner.sql import here, write
from sqlllm.udfs import literals

from .. import prompts
from .cut import Arguments, Context, Cut, Unfit, Way, arguments, calls, own
from .estimating import Count, Mean, next_sample
from .groups import KEY, VALUE, given, grouped, number, put

if TYPE_CHECKING:
    from .tools import Tools

_COLUMN, _ROW = "llm_c", "llm_row"
_SEED = 17  # of the sample: the same rows each time, so that a second run asks nothing again


class Approximate:
    functions: ClassVar[frozenset[str]] = frozenset({"ai_approx_count", "ai_approx_avg"})
    stand_in: ClassVar[Mapping[str, str]] = {
        name: f"named_struct('value', {kind}({{0}}), 'low', {kind}(1), 'high', {kind}(1), 'asked', count(1))"
        for name, kind in (("ai_approx_count", "count"), ("ai_approx_avg", "avg"))
    }

    def nodes(self, select: exp.Select, context: Context) -> Sequence[exp.Expr]:
        """The calls."""
        return own(select, self.functions)

    def cut(self, node: exp.Expr, select: exp.Select, context: Context) -> Cut:
        """The call."""
        found = grouped(node, select, context, self.functions)
        if found.node is not node:
            raise Unfit("it has no FILTER, WITHIN GROUP or OVER; write the condition within, with AND")
        told, name = given(node), node.name.lower()
        counts = name == "ai_approx_count"
        wanted = told.get("condition" if counts else "value", 0)
        assert wanted is not None
        if any(True for part in (aggregates, windows) for _ in part(wanted)) or wanted.find(exp.Query):
            raise Unfit("it is about one row: no aggregate, window or query can stand in it")
        error, confidence = _share(told, "error", 0.05, 1), _share(told, "confidence", 0.95, 2)
        least, most = number(told, "least", 0), number(told, "most", 1)
        if not least < most:
            raise Unfit("least is below most")
        value, columns = _over_columns(wanted)
        kind = pa.int64() if counts else pa.float64()
        shape = pa.struct([("value", kind), ("low", kind), ("high", kind), ("asked", pa.int64())])
        result = pa.schema([(KEY, pa.string()), (VALUE, shape)])

        def estimate(rows: int) -> Count | Mean:
            return Count(rows, error, confidence) if counts else Mean(rows, error, confidence, least, most)

        def start(tables: Mapping[str, pa.Table], tools: Tools) -> pa.Table:
            rows, groups = tables["rows"], _groups(tables["rows"])
            known = {key: estimate(len(places)) for key, places in groups.items()}
            asked = dict.fromkeys(groups, 0)
            while True:
                more = {
                    key: groups[key][asked[key] : asked[key] + count]
                    for key, one in known.items()
                    if (count := next_sample(asked[key], len(groups[key]), one.off, error))
                }
                if not more:
                    break
                places = [place for chosen in more.values() for place in chosen]
                values = _values(rows, places, value, tools)
                for key, chosen in more.items():
                    try:
                        known[key].add(values[place] for place in chosen)
                    except ValueError as problem:
                        cure = "Write least => ..., most => ... around all values."
                        raise TableError(f"{name}: {problem}", cure=cure) from None
                    asked[key] += len(chosen)
                tools.step(f"{name}: {sum(asked.values()):,} of {rows.num_rows:,} rows asked")
            found_of = [known[key].interval._asdict() for key in groups]
            return pa.table([pa.array(list(groups), pa.string()), pa.array(found_of, shape)], schema=result)

        def stand(view: str) -> None:
            put(node, found.value(view))

        def ways(tables: Mapping[str, pa.Table], tools: Tools) -> Sequence[Way]:
            groups = _groups(tables["rows"])
            some = sum(_expected(len(places), error, estimate) for places in groups.values())
            rows, tokens = tables["rows"].num_rows, _tokens(tables["rows"], tools)
            model = tools.model(_model(wanted, context))
            return [
                Way("a sample that grows", model, some, tokens * some // max(1, rows), some, taken=True),
                Way("every row", model, rows, tokens, rows),
            ]

        items = [exp.alias_(column.copy(), f"{_COLUMN}{number}") for number, column in enumerate(columns)]
        query = found.rows(select, items, [f"{_COLUMN}{number}" for number in range(len(columns))])
        return Cut(node, {"rows": query}, start, stand, ways, result)


def _share(told: Arguments, name: str, default: float, place: int) -> float:
    value = number(told, name, default, place)
    if not 0 < value < 1:
        raise Unfit(f"{name} is between 0 and 1")
    return value


def _over_columns(part: exp.Expr) -> tuple[exp.Expr, list[exp.Column]]:
    """`part` over columns llm_c0, llm_c1 ..., and what these stand for. Raises Unfit."""
    root = exp.Paren(this=part.copy())
    for call in reversed(calls(root, {"llm_prompt"})):
        _write_out(call)
    names: dict[str, exp.Column] = {}
    for column in [node for node in here(root) if isinstance(node, exp.Column)]:
        if column.is_star:
            raise Unfit("it reads a star")
        text = write(column)
        names.setdefault(text, column.copy())
        column.replace(exp.column(f"{_COLUMN}{list(names).index(text)}"))
    return root.this, list(names.values())


def _write_out(call: exp.Expr) -> None:
    """Give the fields of a call of llm_prompt by position: those by name are columns, which get other names."""
    found = prompts.template(write(call))
    if found is None:
        return
    values = [literals.tree(value) for value in found[1]]
    if known := [value for value in values if value is not None]:
        if len(known) < len(values):
            raise Unfit(f"sqlglot does not read {write(call)}")
        more = call.expressions[1:]
        more = more if not more or isinstance(more[0], exp.Kwarg) else more[1:]
        call.set("expressions", [exp.Literal.string(found[0]), exp.Array(expressions=known), *more])


def _groups(rows: pa.Table) -> dict[str, list[int]]:
    """The rows of each group in random order, by their place in the table."""
    groups: dict[str, list[int]] = {}
    for place, key in enumerate(rows[KEY].to_pylist()):
        groups.setdefault(key, []).append(place)
    for key, places in groups.items():
        random.Random(f"{_SEED} {key}").shuffle(places)  # noqa: S311 - a sample, not a secret
    return groups


def _values(rows: pa.Table, places: list[int], value: exp.Expr, tools: Tools) -> dict[int, float | None]:
    """The value of each row, as Spark computes it and the models that it calls answer."""
    chosen = rows.take(places).append_column(_ROW, pa.array(places, pa.int64()))
    item = exp.alias_(exp.cast(value.copy(), "double"), VALUE)
    found = tools.compute(chosen, lambda view: write(exp.select(exp.column(_ROW), item).from_(view)))
    return dict(zip(found[_ROW].to_pylist(), found[VALUE].to_pylist(), strict=True))


def _expected(rows: int, error: float, estimate: Callable[[int], Count | Mean]) -> int:
    """Rows that are asked where half are true."""
    known, asked = estimate(rows), 0
    while more := next_sample(asked, rows, known.off, error):
        known.add(float(place % 2) for place in range(asked, asked + more))
        asked += more
    return asked


def _model(wanted: exp.Expr, context: Context) -> str:
    """The model that is named in the first call, or that is called itself."""
    for call in wanted.find_all(exp.Anonymous):
        if call.name.lower() in context.models:
            return call.name
        if named := arguments(call).constant("model"):
            return named
    return ""


def _tokens(rows: pa.Table, tools: Tools) -> int:
    texts = [name for name in rows.column_names if name.startswith(_COLUMN) and pa.types.is_string(rows[name].type)]
    return sum(tools.tokens(text) for name in texts for text in rows[name].to_pylist() if text)
