"""What names of tables mean, made plain before a rule touches them.

After `resolve` a CTE's name belongs to it alone in the whole statement, so a table of that name is a reader of it, and
moving a reader cannot change what it reads. A list of columns behind an alias is a select list:

    q AS x(n1, n2)  =  (SELECT c1 AS n1, c2 AS n2 FROM q) AS x        c1, c2: the columns of q
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from sqlglot import exp

from .sql import identifier, nodes

Environment = dict[str, exp.CTE]
"""The CTEs that a name in lower case may mean."""


def resolve(tree: exp.Query, name: Callable[[], str]) -> None:
    """Give each CTE of `tree` a name of its own, and write out the lists of columns behind aliases."""
    found = nodes(tree)
    tables = [node for node in found if isinstance(node, exp.Table)]
    ctes = [node for node in found if isinstance(node, exp.CTE)]
    bound = dict(_bindings(tree, {})) if ctes else {}
    free = {table.name.lower() for table in tables if id(table) not in bound}
    times = Counter(cte.alias.lower() for cte in ctes)
    renamed: dict[int, str] = {}
    for cte in ctes:
        if times[cte.alias.lower()] > 1 or cte.alias.lower() in free:
            renamed[id(cte)] = name()
    for table in tables:
        meant = bound.get(id(table))
        if meant is not None and id(meant) in renamed:
            if not table.alias:
                table.set("alias", exp.TableAlias(this=table.this.copy()))
            table.set("this", exp.to_identifier(renamed[id(meant)]))
    for cte in ctes:
        if id(cte) in renamed:
            cte.args["alias"].set("this", exp.to_identifier(renamed[id(cte)]))
    for cte in ctes:
        _list_of_cte(cte, name)
    for alias in nodes(tree, exp.TableAlias) if any(map(_has_list, found)) else ():
        _list_of_source(alias, {cte.alias.lower(): cte for cte in ctes}, name)


def is_recursive(cte: exp.Expr) -> bool:
    """Whether a CTE reads itself; only after `resolve`."""
    return any(table.name.lower() == cte.alias.lower() for table in nodes(cte.this, exp.Table))


def has_columns(source: exp.Expr) -> bool:
    """Whether `source` has a list of columns behind its alias."""
    alias = source.args.get("alias")
    return bool(alias is not None and alias.args.get("columns"))


def visible(node: exp.Expr) -> list[exp.CTE]:
    """The CTEs that a query in the place of `node` can read, outer ones first."""
    found: list[exp.CTE] = []
    child, parent = node, node.parent
    while parent is not None:
        if isinstance(parent, exp.With):
            found = [*parent.expressions[: child.index], *found]
        elif (with_ := parent.args.get("with_")) and with_ is not child:
            found = [*with_.expressions, *found]
        child, parent = parent, parent.parent
    return found


def _has_list(node: exp.Expr) -> bool:
    return isinstance(node, exp.TableAlias) and bool(node.args.get("columns"))


def _bindings(node: exp.Expr, environment: Environment) -> Iterator[tuple[int, exp.CTE]]:
    """The tables below `node` that are CTEs, by identity."""
    if isinstance(node, exp.Column | exp.Identifier | exp.Literal):
        return
    with_ = node.args.get("with_")
    if with_ is not None:
        environment = dict(environment)
        for cte in with_.expressions:
            inside = {**environment, cte.alias.lower(): cte} if with_.recursive else environment
            yield from _bindings(cte.this, inside)
            environment[cte.alias.lower()] = cte
    if isinstance(node, exp.Table) and not node.db and node.name.lower() in environment:
        yield id(node), environment[node.name.lower()]
    for child in node.iter_expressions():
        if child is not with_:
            yield from _bindings(child, environment)


def _list_of_cte(cte: exp.CTE, name: Callable[[], str]) -> None:
    columns = cte.args["alias"].columns
    below = outputs(cte.this)
    if columns and below and len(below) == len(columns) and not is_recursive(cte):
        cte.set("this", _renamed(cte.this.subquery(name()), below, columns))
        cte.args["alias"].set("columns", None)


def _list_of_source(alias: exp.Expr, ctes: Environment, name: Callable[[], str]) -> None:
    """`alias` with a list of columns, of a subquery or of a reader of a CTE."""
    source, columns = alias.parent, alias.args.get("columns")
    if not columns or source is None or not isinstance(source.parent, exp.From | exp.Join):
        return
    if isinstance(source, exp.Subquery):
        below = outputs(source.this)
    elif isinstance(source, exp.Table) and not source.db and source.name.lower() in ctes:
        cte = ctes[source.name.lower()]
        below = [column.name for column in cte.args["alias"].columns] or outputs(cte.this)
    else:
        return
    if any(value and key not in {"this", "alias"} for key, value in source.args.items()) or len(below) != len(columns):
        return
    inner = source.copy()
    inner.set("alias", exp.TableAlias(this=exp.to_identifier(name())) if isinstance(source, exp.Subquery) else None)
    shown = alias.copy()
    shown.set("columns", None)
    source.replace(exp.Subquery(this=_renamed(inner, below, columns), alias=shown))


def _renamed(source: exp.Expr, below: list[str], columns: list[exp.Identifier]) -> exp.Select:
    items = [exp.alias_(_column(old), new.copy()) for old, new in zip(below, columns, strict=True)]
    return exp.select(*items).from_(source)


def outputs(query: exp.Expr) -> list[str]:
    """The names of the columns of `query`; none where they are not all known, or not different."""
    while isinstance(query, exp.SetOperation | exp.Subquery | exp.Paren):
        query = query.this
    if not isinstance(query, exp.Select):
        return []
    names = [
        item.alias_or_name if isinstance(item, exp.Alias | exp.Column) and not item.is_star else ""
        for item in query.expressions
    ]
    return names if all(names) and len({one.lower() for one in names}) == len(names) else []


def _column(name: str) -> exp.Column:
    return exp.column(identifier(name))
