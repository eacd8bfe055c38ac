"""Calls in a LATERAL VIEW, or in a function behind LATERAL, come before it: once for a row, not for what it becomes.

    SELECT l FROM t LATERAL VIEW f(m(p)) v WHERE c AND d
        =  SELECT l FROM (SELECT *, m(p) AS x FROM t WHERE c) AS t LATERAL VIEW f(x) v WHERE d

`c` reads columns of `t` alone; a star in `l` leaves `x` out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from sqlglot import exp

from .columns import Columns
from .names import conjuncts
from .scopes import has_columns
from .sql import NotUnderstood, calls, identifier, is_volatile, nodes


def lift(select: exp.Select, models: Collection[str], name: Callable[[], str], columns: Columns) -> None:
    """Move the calls in the laterals of `select` into a subquery around its table, where that can be."""
    joins = [join.this for join in select.args.get("joins") or ()]
    laterals = [*joins, *(select.args.get("laterals") or ())]
    found = [call for lateral in laterals if isinstance(lateral, exp.Lateral) for call in calls(lateral, models)]
    functions = [one for one in laterals if isinstance(one, exp.Lateral) and not isinstance(one.this, exp.Subquery)]
    if not found or len(functions) < len(laterals):
        return
    source = select.args["from_"].this
    if not isinstance(source, exp.Table | exp.Subquery) or not source.alias_or_name or has_columns(source):
        return
    try:
        known = set(columns.source(source))
    except NotUnderstood:
        return
    aliases = {lateral.alias.lower() for lateral in laterals}

    def only_below(node: exp.Expr) -> bool:
        """Whether `node` depends on nothing but a row of the table."""
        return not is_volatile(node) and not node.find(exp.Query) and all(map(is_below, nodes(node, exp.Column)))

    def is_below(column: exp.Column) -> bool:
        table = column.table.lower()
        if column.is_star or column.args.get("db"):
            return False
        if table in {"", source.alias_or_name.lower()}:
            return column.name.lower() in known
        return table in known and table not in aliases  # a field of a struct

    if not all(only_below(call) for call in found):
        return
    inner = exp.select("*").from_(source.copy())
    parts = conjuncts(select, "where")
    if below := [part.this for part in parts if only_below(part)]:
        inner.where(*below, copy=False)
        rest = [part.this for part in parts if not only_below(part)]
        select.set("where", exp.Where(this=exp.and_(*rest)) if rest else None)
    answers = [name() for _ in found]
    for call, answer in zip(found, answers, strict=True):
        inner.select(exp.alias_(call, answer), copy=False)
        call.replace(exp.column(answer))
    source.replace(exp.Subquery(this=inner, alias=exp.TableAlias(this=identifier(source.alias_or_name))))
    for item in select.expressions:
        star = item.this if isinstance(item, exp.Column) else item
        if isinstance(star, exp.Star):
            star.set("except_", [*(star.args.get("except_") or ()), *map(exp.to_identifier, answers)])
