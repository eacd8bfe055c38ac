"""The rows that an operator takes by group, and how its result for each group stands in the select; pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlglot import exp

from sqlllm.errors import nearest
from sqlllm.planner.parts import aggregates, windows
from sqlllm.planner.sql import operand, write
from sqlllm.udfs.ai import FUNCTIONS

from .cut import Arguments, Context, Unfit, alone, arguments, looked_up, own, source

KEY, VALUE = "llm_key", "llm_value"
"""Columns of a result: the group, and what it has."""


@dataclass(frozen=True)
class Grouped:
    """A call of a function over the rows of a group, as `select` has it.

    `node` is the call with its FILTER, WITHIN GROUP and OVER; `keys` are what the rows are grouped by.
    """

    call: exp.Expr
    node: exp.Expr
    keys: tuple[exp.Expr, ...]
    condition: exp.Expr | None = None
    order: tuple[exp.Ordered, ...] = ()
    windowed: bool = False

    def rows(self, select: exp.Select, columns: Sequence[exp.Expr], last: Sequence[str] = ()) -> exp.Select:
        """The key and `columns` of each row, in the asked order, then by the columns that `last` names."""
        query = source(select, [exp.alias_(self.key(), KEY), *columns], ())
        if self.condition is not None:
            query = query.where(self.condition.copy(), copy=False)
        order = [
            *(one.copy() for one in self.order),
            *(exp.Ordered(this=exp.column(name), nulls_first=True) for name in last),
        ]
        if order:
            query.set("order", exp.Order(expressions=order))
        return query

    def key(self) -> exp.Expr:
        """The group of a row as one text, which is not NULL."""
        if not self.keys:
            return exp.Literal.string("")
        # As text, arrays that differ print alike; as JSON, times lose their microseconds.
        texts = [text for key in self.keys for text in (exp.cast(operand(key), "string"), _json(operand(key)))]
        return exp.Anonymous(this="to_json", expressions=[exp.Array(expressions=texts)])

    def value(self, view: str) -> exp.Expr:
        """The value of the row's group in `view`; as an aggregate, unless it stands over a window."""
        found = looked_up(view, {KEY: self.key()}, VALUE)
        return found if self.windowed else exp.Max(this=found)


def _json(value: exp.Expr) -> exp.Expr:
    """`value` of any type as JSON."""
    field = exp.Anonymous(this="named_struct", expressions=[exp.Literal.string("k"), value])
    return exp.Anonymous(this="to_json", expressions=[field])


def given(call: exp.Expr) -> Arguments:
    """The arguments of one of our functions. Raises Unfit for an unknown or missing one, and for too many."""
    found, name = arguments(call), str(call.name).lower()
    function = FUNCTIONS[name]
    known = (*function.parameters, *function.named)
    for key in found.by_name.keys() - {one.lower() for one in known}:
        near = nearest(key, known)
        raise Unfit(f"{name} has no {key}" + (f"; did you mean {near}?" if near else ""))
    if len(found.by_place) > len(function.parameters):
        raise Unfit(f"{name} takes at most {len(function.parameters)} arguments by place")
    for place, parameter in enumerate(function.parameters[: function.needed]):
        if found.get(parameter, place) is None:
            raise Unfit(f"{name} needs {parameter}")
    return found


def number(told: Arguments, name: str, default: float, place: int = -1) -> float:
    """The number that an argument is. Raises Unfit for anything else."""
    value = told.get(name, place)
    sign = -1 if isinstance(value, exp.Neg) else 1
    value = value.this if isinstance(value, exp.Neg) else value
    if value is None:
        return default
    try:
        return sign * float(value.name if isinstance(value, exp.Literal) else "")
    except ValueError:
        raise Unfit(f"{name} is not a number") from None


def grouped(call: exp.Expr, select: exp.Select, context: Context, functions: Collection[str]) -> Grouped:
    """`call` and what stands around it. Raises Unfit. `functions` are those that stand for an aggregate."""
    node, condition, order = call, None, tuple[exp.Ordered, ...]()
    while isinstance(node.parent, exp.WithinGroup | exp.Filter | exp.Window) and node.arg_key == "this":
        node = node.parent
        if isinstance(node, exp.WithinGroup):
            order = tuple(node.expression.expressions)
        elif isinstance(node, exp.Filter):
            condition = node.expression.this
        else:
            return Grouped(call, node, _partition(node, select), condition, order, windowed=True)
    clause = next((part for part in _clauses(node, select) if part in ("where", "group", "joins")), "")
    if clause:
        raise Unfit(f"it is an aggregate, and stands in {clause.upper()}")
    return Grouped(call, node, _keys(select, context, functions), condition, order)


def _clauses(node: exp.Expr, select: exp.Select) -> list[str]:
    while node.parent is not None and node.parent is not select:
        node = node.parent
    return [node.arg_key or ""]


def _partition(window: exp.Expr, select: exp.Select) -> tuple[exp.Expr, ...]:
    if window.args.get("alias"):
        raise Unfit("its window has a name; write PARTITION BY within OVER (...)")
    if window.args.get("order") or window.args.get("spec"):
        raise Unfit("its window is ordered; every row of a partition has the same result")
    if select.args.get("group") or any(True for item in select.expressions for _ in aggregates(item)):
        raise Unfit("it stands beside aggregates; write it in a select around this one")
    return tuple(window.args.get("partition_by") or ())


def _keys(select: exp.Select, context: Context, functions: Collection[str]) -> tuple[exp.Expr, ...]:
    """What GROUP BY stands for: numbers, aliases and ALL are the items that they name."""
    group = select.args.get("group")
    if group is None:
        return ()
    several = any(group.args.get(key) for key in ("rollup", "cube", "grouping_sets", "totals"))
    if several or group.find(exp.Rollup, exp.Cube, exp.GroupingSets):
        raise Unfit("it is grouped in several ways at once")
    if group.args.get("all"):
        kept = [item.unalias() for item in select.expressions if not _is_aggregate(item, functions)]
        if any(item.is_star for item in kept):
            raise Unfit("GROUP BY ALL groups by a star")
        return tuple(item for item in kept if not isinstance(item, exp.Literal))
    aliases = {item.alias.lower(): item.this for item in select.expressions if isinstance(item, exp.Alias)}
    below: list[str] | None = None
    keys = []
    for key in group.expressions:
        if isinstance(key, exp.Literal) and key.is_int and 0 < int(key.name) <= len(select.expressions):
            key = select.expressions[int(key.name) - 1].unalias()
            if key.is_star:
                raise Unfit("a number in GROUP BY counts a star")
        elif isinstance(key, exp.Column) and not key.table and key.name.lower() in aliases:
            if below is None:
                below = [
                    name.lower() for name in context.columns(write(alone(source(select, [exp.Star()], ()), select)))
                ]
            key = key if key.name.lower() in below else aliases[key.name.lower()]
        keys.append(key)
    return tuple(keys)


def _is_aggregate(item: exp.Expr, functions: Collection[str]) -> bool:
    holder = exp.Select(expressions=[item.copy()])
    return bool(own(holder, functions)) or any(True for _ in aggregates(item)) or any(True for _ in windows(item))


def put(node: exp.Expr, value: exp.Expr) -> None:
    """`value` in the place of `node`; a column of the select keeps its name."""
    item = node
    while item.parent is not None and not isinstance(item.parent, exp.Select):
        item = item.parent
    is_item = isinstance(item.parent, exp.Select) and item.arg_key == "expressions"
    if not is_item or isinstance(item, exp.Alias):
        node.replace(value)
        return
    holder = exp.Paren(this=item.copy())
    name = write(item)
    if item is node:
        holder.set("this", value)
        item.replace(exp.alias_(holder.this, name, quoted=True))
    else:
        node.replace(value)
        item.replace(exp.alias_(item.copy(), name, quoted=True))
