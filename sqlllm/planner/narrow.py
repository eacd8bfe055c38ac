"""A CTE that is read several times and calls models: it keeps only the rows that one of its readers keeps.

    with s as (select *, m(p) as a from t) select ... from s x join s y on x.a = y.a where x.g = 1 and y.g = 2

The CTE gets `where g = 1 or g = 2`: Spark would call the model for every row of `t`.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlglot import exp

from .merge import INNER, SIMPLE, calls_in_list
from .parts import aggregates, windows
from .scopes import has_columns
from .sql import calls, is_volatile, nodes, operand, write


def narrow(tree: exp.Query, models: Collection[str]) -> None:
    """Add the conditions of its readers to each CTE for which that changes nothing else."""
    with_ = tree.args.get("with_")
    if with_ is None or with_.recursive:
        return
    for cte in reversed(with_.expressions):  # a reader may be a CTE itself, and narrower by then
        select = cte.this
        if not isinstance(select, exp.Select) or not _is_simple(select, models) or cte.args["alias"].columns:
            continue
        found: dict[str, exp.Expr] = {}
        for reader in _readers(tree, cte):
            condition = _condition(reader, select, models)
            if condition is None:  # it reads every row
                break
            found[write(condition)] = condition
        else:
            if found:
                select.where(exp.or_(*found.values()), copy=False)


def _is_simple(select: exp.Select, models: Collection[str]) -> bool:
    """Whether a row of `select` depends on one row of its FROM alone, and some of its columns on models."""
    return (
        not any(value and key not in SIMPLE for key, value in select.args.items())
        and calls_in_list(select, models)
        and not any(True for item in select.expressions for part in (aggregates, windows) for _ in part(item))
        and not any(item.find(exp.UDTF, exp.Query) or is_volatile(item) for item in select.expressions)
        and not select.args.get("joins")
        and not select.args.get("laterals")
    )


def _readers(tree: exp.Query, cte: exp.CTE) -> list[exp.Table]:
    name = cte.alias.lower()
    return [table for table in nodes(tree, exp.Table) if not table.db and table.name.lower() == name]


def _condition(reader: exp.Table, select: exp.Select, models: Collection[str]) -> exp.Expr | None:
    """What the select around `reader` asks of its rows, in the columns that `select` has below; None if nothing."""
    around = reader.parent_select
    if around is None or not isinstance(reader.parent, exp.From | exp.Join) or around.args.get("laterals"):
        return None
    if has_columns(reader):
        return None
    where = around.args.get("where")
    if where is None:
        return None
    joins = around.args.get("joins") or []
    if any((join.side.upper(), join.kind.upper()) not in INNER or join.args.get("method") for join in joins):
        return None
    parts = where.this.flatten() if isinstance(where.this, exp.And) else [where.this]
    below = [moved for part in parts if (moved := _moved(part, reader, select, models, alone=not joins)) is not None]
    return exp.and_(*below) if below else None


def _moved(
    part: exp.Expr, reader: exp.Table, select: exp.Select, models: Collection[str], *, alone: bool
) -> exp.Expr | None:
    """A condition in terms of what is below the CTE; None if it cannot go there."""
    if calls(part, models) or is_volatile(part) or part.find(exp.Query):
        return None
    meaning = {item.alias_or_name.lower(): item.unalias() for item in select.expressions if not item.is_star}
    star = any(item.is_star for item in select.expressions)
    holder = exp.Paren(this=part.copy())
    columns = nodes(holder, exp.Column)
    for column in columns:
        qualified = column.table.lower() == reader.alias_or_name.lower()
        if column.args.get("db") or not (qualified or (alone and not column.table)):
            return None
        value = meaning.get(column.name.lower(), exp.column(column.name) if star else None)
        if value is None or calls(value, models) or isinstance(value, exp.Alias):
            return None
        if any(inner.name.lower() in meaning and inner.name.lower() != column.name.lower()
               for inner in nodes(value, exp.Column)):  # fmt: skip
            return None  # an alias of the same list
        column.replace(operand(value))
    return holder.this if columns else None
