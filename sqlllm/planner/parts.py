"""The parts of an expression that the layers of a select compute apart."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlglot import exp

from .sql import NotUnderstood, here, nodes

# Aggregates whose result depends on the order of the rows, which a call changes.
ORDERED = (
    exp.First, exp.Last, exp.FirstValue, exp.LastValue, exp.AnyValue, exp.ArrayAgg, exp.ArrayUniqueAgg, exp.ArgMax,
    exp.ArgMin, exp.GroupConcat, exp.Mode,
)  # fmt: skip


def atoms(root: exp.Expr) -> Iterator[exp.Expr]:
    """What a subquery around the FROM must hand on for `root`: columns, and queries as a whole."""
    if isinstance(root, exp.Column | exp.Star | exp.Subquery | exp.Exists):
        yield root
    elif isinstance(root, exp.Query) or root.args.get("query"):
        raise NotUnderstood("a subquery stands beside a call above a join")
    else:
        for child in root.iter_expressions():
            yield from atoms(child)


def windows(root: exp.Expr) -> Iterator[exp.Expr]:
    """The window functions in `root`."""
    if isinstance(root, exp.Window):
        yield root
    elif not isinstance(root, exp.Query):
        for child in root.iter_expressions():
            yield from windows(child)


def aggregates(root: exp.Expr, *, in_window: bool = False) -> Iterator[exp.Expr]:
    """The outermost aggregates in `root`, with their FILTER; a window's own function is none."""
    if isinstance(root, exp.Query):
        return
    if isinstance(root, exp.WithinGroup | exp.IgnoreNulls | exp.RespectNulls):
        raise NotUnderstood("an aggregate has WITHIN GROUP, IGNORE NULLS or RESPECT NULLS")
    aggregate = root.this if isinstance(root, exp.Filter) else root
    if isinstance(aggregate, exp.AggFunc) and not in_window:
        yield root
        return
    for child in root.iter_expressions():
        function = child.arg_key == "this" and (
            isinstance(root, exp.Window) or (in_window and isinstance(root, exp.Filter))
        )
        yield from aggregates(child, in_window=function)


def is_known(root: exp.Expr, models: Collection[str]) -> bool:
    """Whether sqlglot knows every function in `root`: another may be an aggregate or make rows."""
    names = (node.name.lower() for node in here(root) if isinstance(node, exp.Anonymous))
    return all(name in models or name.startswith("llm_") for name in names)


def is_plain_table(source: exp.Expr) -> bool:
    """Whether `source` is a table whose rows are the same each time it is read: no sample, no list of columns."""
    named = {"this", "db", "catalog", "alias"}
    return (
        isinstance(source, exp.Table)
        and not any(value and key not in named for key, value in source.args.items())
        and not (source.args.get("alias") and source.args["alias"].columns)
    )


def uses_own_aliases(select: exp.Select) -> bool:
    """Whether an item of the list of `select` may use the alias of another one."""
    aliases = {item.alias.lower() for item in select.expressions if isinstance(item, exp.Alias)}
    return any(
        not column.table and column.name.lower() in aliases and item.alias_or_name.lower() != column.name.lower()
        for item in select.expressions
        for column in nodes(item, exp.Column)
    )


def within(node: exp.Expr, roots: Collection[exp.Expr]) -> bool:
    """Whether `node` is one of `roots` or below one."""
    parent: exp.Expr | None = node
    while parent is not None:
        if any(parent is root for root in roots):
            return True
        parent = parent.parent
    return False
