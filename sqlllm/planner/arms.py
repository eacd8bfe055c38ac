"""EXCEPT and INTERSECT of two selects that show the same of the same rows: one select with both conditions.

    SELECT l FROM t WHERE c EXCEPT SELECT l FROM t WHERE d
        =  SELECT DISTINCT l FROM t WHERE c AND NOT coalesce(d, false)
    SELECT l FROM t WHERE c INTERSECT SELECT l FROM t WHERE d
        =  SELECT DISTINCT l FROM t WHERE c AND d

`d` reads nothing but what `l` shows, so that it holds for all rows with the same values or for none.
"""

from __future__ import annotations

from sqlglot import exp

from .parts import is_plain_table, uses_own_aliases
from .sql import is_plain_star, is_volatile, write

_SIMPLE = {"expressions", "from_", "joins", "laterals", "where", "distinct"}
_ROWS = ("from_", "joins", "laterals")


def one_select(operation: exp.SetOperation) -> exp.Select | None:
    """What `operation` means as one select, or None."""
    left, right = operation.this, operation.expression
    if (
        not isinstance(operation, exp.Except | exp.Intersect)
        or not operation.args.get("distinct")
        or any(operation.args.get(key) for key in ("by_name", "side", "kind", "on"))
    ):
        return None
    if not (isinstance(left, exp.Select) and isinstance(right, exp.Select) and _is_simple(left) and _is_simple(right)):
        return None
    shown = [write(item.unalias()) for item in right.expressions]
    if [write(item.unalias()) for item in left.expressions] != shown or _rows(left) != _rows(right):
        return None
    condition = right.args.get("where")
    if condition is not None and not _reads_only(condition.this, shown, right):
        return None
    select = left.copy()
    select.set("distinct", exp.Distinct())
    if isinstance(operation, exp.Except):
        holds = exp.Coalesce(this=condition.this.copy(), expressions=[exp.false()]) if condition else exp.true()
        select.where(exp.not_(holds), copy=False)
    elif condition:
        select.where(condition.this.copy(), copy=False)
    for key in ("with_", "order", "limit", "offset"):
        select.set(key, operation.args.get(key))
    return select


def _is_simple(select: exp.Select) -> bool:
    return (
        not any(value and key not in _SIMPLE for key, value in select.args.items())
        and (not select.args.get("distinct") or not select.args["distinct"].args.get("on"))
        and all(map(is_plain_table, _sources(select)))
        and not any(is_volatile(part) or part.find(exp.Query, exp.UDTF, exp.AggFunc, exp.Window)
                    for part in select.iter_expressions() if part.arg_key not in _ROWS)
        and not uses_own_aliases(select)
    )  # fmt: skip


def _sources(select: exp.Select) -> list[exp.Expr]:
    from_ = select.args.get("from_")
    return [*([from_.this] if from_ else []), *(join.this for join in select.args.get("joins") or ())]


def _rows(select: exp.Select) -> list[str]:
    """What the rows of `select` come from."""
    parts = [select.args.get(key) for key in _ROWS]
    return [write(node) for part in parts for node in (part if isinstance(part, list) else [part]) if node is not None]


def _reads_only(condition: exp.Expr, shown: list[str], select: exp.Select) -> bool:
    """Whether `condition` depends on nothing but the expressions `shown`."""
    star = any(is_plain_star(item) for item in select.expressions) and not select.args.get("joins")
    todo = [condition]
    while todo:
        node = todo.pop()
        if write(node) in shown or (star and isinstance(node, exp.Column) and not node.is_star):
            continue
        if isinstance(node, exp.Column):
            return False
        todo += node.iter_expressions()
    return True
