"""A statement: its selects from the inside out, and the queries that are read more than once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import count

from sqlglot import exp
from sqlglot.errors import SqlglotError

from .block import Block
from .sql import PREFIX, NotUnderstood, calls, has_calls, read, write

Columns = Callable[[str], Collection[str]]
"""The names of the columns of a query."""


def normal(sql: str) -> str | None:
    """`sql` as sqlglot writes it, which should mean the same; None if it is no query sqlglot knows."""
    tree = read(sql)
    try:
        return None if tree is None else write(tree)
    except SqlglotError:
        return None


def rewrite(sql: str, models: Collection[str], columns: Columns | None = None) -> str:
    """`sql` with fewer calls of `models` (names in lower case), or `sql` itself.

    `columns` tells the columns of a query; without it, selects that reuse their aliases stay as they are.
    """
    tree = read(sql)
    if tree is None or PREFIX in sql or not has_calls(tree, models):
        return sql
    try:
        return _Statement(tree, models, columns).run()
    except (NotUnderstood, SqlglotError):
        return sql


class _Statement:
    def __init__(self, tree: exp.Query, models: Collection[str], columns: Columns | None) -> None:
        self._tree, self._models, self._columns = tree, models, columns
        numbers = count(1)
        self._name = lambda: f"{PREFIX}{next(numbers)}"

    def run(self) -> str:
        root = exp.Paren(this=self._tree)  # so that the outermost select can be replaced, too
        for select in reversed(list(self._tree.find_all(exp.Select, bfs=True))):
            if any(calls(part, self._models) for part in select.iter_expressions() if not isinstance(part, exp.From)):
                self._rewrite(select)
        return write(root.this)

    def _rewrite(self, select: exp.Select) -> None:
        keeps_order = isinstance(select.parent, exp.Paren) and select.parent.parent is None
        try:
            select.replace(
                Block(select.copy(), self._models, self._name, self._columns_of, keeps_order=keeps_order).run()
            )
        except NotUnderstood:
            return

    def _columns_of(self, select: exp.Select) -> frozenset[str]:
        if self._columns is None:
            raise NotUnderstood
        probe = exp.Select(
            expressions=[exp.Star()],
            **{key: select.args[key] for key in ("with_", "from_", "joins", "laterals") if select.args.get(key)},
        )
        return frozenset(name.lower() for name in self._columns(write(probe.copy())))
