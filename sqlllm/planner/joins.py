"""Calls in the ON of a join: after the join where its other conditions suffice, else on the side they are about."""

from __future__ import annotations

from collections.abc import Callable, Collection

from sqlglot import exp

from .names import hold
from .parts import is_plain_table
from .sql import NotUnderstood, calls, is_volatile, nodes, write


def lift(select: exp.Select, models: Collection[str]) -> None:
    """Move conditions with calls from the ON of an inner join to WHERE, if an equality is left in ON."""
    joins = select.args.get("joins") or []
    if any(join.side or join.kind.upper() not in {"", "INNER"} for join in joins):
        return
    for join in joins:
        on = join.args.get("on")
        if on is None or not calls(on, models):
            continue
        parts = [hold(part).this for part in (on.flatten() if isinstance(on, exp.And) else (on,))]
        cheap = [part for part in parts if not calls(part, models)]
        if any(isinstance(part, exp.EQ) for part in cheap):
            join.set("on", exp.and_(*cheap))
            where = select.args.get("where")
            # First, as ON comes before WHERE: what it drops is not asked by the conditions there.
            lifted = [*(part for part in parts if calls(part, models)), *([where.this] if where else [])]
            select.set("where", exp.Where(this=exp.and_(*lifted)))


def share(select: exp.Select, models: Collection[str], name: Callable[[], str]) -> list[exp.CTE]:
    """Answer the calls in ON below the join, in CTEs that sides which ask the same of the same table share."""
    joins = select.args.get("joins") or []
    found = [call for join in joins if join.args.get("on") for call in calls(join.args["on"], models)]
    if not found:
        return []
    sources = {source.alias_or_name.lower(): source for source in _tables(select)}
    if any(item.is_star for item in select.expressions):
        raise NotUnderstood
    asked: dict[str, tuple[exp.Expr, dict[str, tuple[exp.Expr, list[exp.Expr]]]]] = {}
    for call in found:
        sides = {column.table.lower() for column in nodes(call, exp.Column)}
        if (
            len(sides) != 1
            or not sides <= set(sources)
            or call.find(exp.Query)
            or calls(call.expressions[0], models)
            or is_volatile(call)
        ):
            raise NotUnderstood
        (side,) = sides
        source = sources[side]
        plain = call.copy()
        for column in nodes(plain, exp.Column):
            column.set("table", None)
        table = source.copy()
        table.set("alias", None)
        _, texts = asked.setdefault(write(table), (table, {}))
        texts.setdefault(write(plain), (plain, []))[1].append(call)
    made = []
    for text, (table, texts) in asked.items():
        cte = name()
        columns = {key: name() for key in texts}
        answers = [exp.alias_(plain, columns[key]) for key, (plain, _) in texts.items()]
        body = exp.select("*", *answers).from_(table)
        made.append(exp.CTE(this=body, alias=exp.TableAlias(this=exp.to_identifier(cte))))
        for key, (_, places) in texts.items():
            for call in places:
                side = next(column.table for column in nodes(call, exp.Column))
                call.replace(exp.column(columns[key], table=side))
        for alias, source in sources.items():
            plain_source = source.copy()
            plain_source.set("alias", None)
            if write(plain_source) == text:
                source.replace(exp.to_table(cte).as_(alias))
    return made


def _tables(select: exp.Select) -> list[exp.Expr]:
    found = [select.args["from_"].this, *(join.this for join in select.args.get("joins") or ())]
    if not all(map(is_plain_table, found)):
        raise NotUnderstood
    return found
