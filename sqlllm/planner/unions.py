"""UNION of selects that call models in the same columns: the calls come after it, once for all of them.

    SELECT f(m(a)) FROM t UNION ALL SELECT f(m(b)) FROM u  =  SELECT f(m(x)) FROM (SELECT a AS x FROM t UNION ALL ...)

`f` is the same expression over the same number of calls in each arm, and reads nothing else. A UNION that drops
duplicates is the DISTINCT of that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from sqlglot import exp

from .parts import aggregates, uses_own_aliases, windows
from .sql import NotUnderstood, calls, identifier, is_volatile, nodes, write

_PLACE = "__llm_place_"
_SIMPLE = {"expressions", "from_", "joins", "laterals", "where", "hint"}


def above(union: exp.Union, models: Collection[str], name: Callable[[], str]) -> exp.Select:
    """A select over the union of what the arms of `union` ask. Raises NotUnderstood if they do not ask alike."""
    arms = _arms(union, distinct=bool(union.args.get("distinct")))
    width = len(arms[0].expressions)
    if any(len(arm.expressions) != width for arm in arms):
        raise NotUnderstood
    columns: list[list[exp.Expr]] = [[] for _ in arms]
    items: list[exp.Expr] = []
    for index in range(width):
        values = [arm.expressions[index] for arm in arms]
        if any(value.is_star or is_volatile(value) for value in values):
            raise NotUnderstood
        output = values[0].alias_or_name if isinstance(values[0], exp.Alias | exp.Column) else ""
        split = [_split(value.unalias(), models) for value in values]
        if len({(write(found), len(asked)) for found, asked in split}) != 1:
            raise NotUnderstood
        template = split[0][0]
        # In one order: the n-th place is for the n-th request of each arm.
        places = [column for column in nodes(template, exp.Column) if column.name.startswith(_PLACE)]
        names = [name() for _ in split[0][1]]
        for column in places:
            column.replace(exp.column(names[int(column.name.removeprefix(_PLACE))]))
        if isinstance(template, exp.Column):  # replaced as a whole
            template = exp.column(names[0])
        for arm, (_, asked) in zip(columns, split, strict=True):
            arm.extend(exp.alias_(request.copy(), column) for request, column in zip(asked, names, strict=True))
        items.append(exp.alias_(template, identifier(output)) if output else template)
    for select, shown in zip(arms, columns, strict=True):
        select.set("expressions", shown)
    joined: exp.Query = arms[0]
    for select in arms[1:]:
        joined = exp.Union(this=joined, expression=select, distinct=False)
    result = exp.select(*items).from_(joined.subquery(name()))
    if union.args.get("distinct"):
        result = result.distinct()
    for key in ("with_", "order", "limit", "offset"):
        result.set(key, union.args.get(key))
    return result


def _arms(query: exp.Expr, *, distinct: bool) -> list[exp.Select]:
    """The selects of a union whose parts all drop duplicates, or all keep them."""
    if isinstance(query, exp.Union) and bool(query.args.get("distinct")) == distinct:
        for side in (query.left, query.right):
            if isinstance(side, exp.Union) and any(side.args.get(key) for key in ("with_", "order", "limit", "offset")):
                raise NotUnderstood
        if query.args.get("by_name") or query.args.get("side"):
            raise NotUnderstood
        return [*_arms(query.this, distinct=distinct), *_arms(query.expression, distinct=distinct)]
    if not isinstance(query, exp.Select) or any(value and key not in _SIMPLE for key, value in query.args.items()):
        raise NotUnderstood
    if any(True for item in query.expressions for part in (aggregates, windows) for _ in part(item)):
        raise NotUnderstood
    if uses_own_aliases(query):
        raise NotUnderstood  # these go
    return [query.copy()]


def _split(value: exp.Expr, models: Collection[str]) -> tuple[exp.Expr, list[exp.Expr]]:
    """What is computed after the union, with places for columns, and what these are before it."""
    holder = exp.Paren(this=value.copy())
    found = calls(holder, models)
    if not found:
        return exp.column(f"{_PLACE}0"), [value]
    if len(found) != len([call for call in found if not calls(call.expressions[0], models)]):
        raise NotUnderstood  # a conversation
    asked = [call.expressions[0] for call in found]
    for number, call in enumerate(found):
        call.set("expressions", [exp.column(f"{_PLACE}{number}")])
    ours = {id(call.expressions[0]) for call in found}
    if any(id(column) not in ours for column in nodes(holder, exp.Column)) or holder.find(exp.Query):
        raise NotUnderstood
    return holder.this, asked
