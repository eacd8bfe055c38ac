"""Subqueries on top of each other: each adds columns to the rows of the one below, or drops rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlglot import exp

from .sql import identifier, write

_CUT = ("order", "limit", "offset", "cluster", "distribute")


class Layers:
    """`top` is the query so far; `own` are the names of the columns that were added to it."""

    def __init__(self, bottom: exp.Select, alias: str, name: Callable[[], str], *, open_: bool) -> None:
        self.top = bottom
        self.own: list[str] = []
        self._alias = identifier(alias) if alias else None
        self._name = name
        # Whether `top` shows its columns under the names that they have below, so that it can compute more of them.
        self._open = open_

    def name(self) -> str:
        """A new name for a column."""
        self.own.append(self._name())
        return self.own[-1]

    def wrap(self) -> exp.Select:
        """A new layer over what there is."""
        alias = self._alias and exp.TableAlias(this=self._alias.copy())
        below = exp.Subquery(this=self.top, alias=alias)
        self.top = exp.Select(expressions=[exp.Star()], from_=exp.From(this=below))
        self._open = True
        return self.top

    def opened(self) -> exp.Select:
        """The top layer if it can compute more columns from those below, or a new one over it."""
        top = self.top if self._open else self.wrap()
        self._open = False
        return top

    def uncut(self) -> exp.Select:
        """The top layer, or a new one over it if its rows are sorted or cut already."""
        if any(self.top.args.get(key) for key in _CUT):
            self.wrap()
        self._open = False
        return self.top

    def add(self, *columns: exp.Expr) -> list[exp.Column]:
        """Compute `columns` for every row; gives what to call them above."""
        names = [self.name() for _ in columns]
        self.opened().select(*map(exp.alias_, columns, names), copy=False)
        return [exp.column(name) for name in names]

    def compute_named(self, columns: dict[str, exp.Expr]) -> None:
        """Compute `columns` under their names, which are ours, one after the other."""
        for name, value in columns.items():
            self.own.append(name)
            self.wrap().select(exp.alias_(value, name), copy=False)
            self._open = False

    def compute(self, nodes: Sequence[exp.Expr]) -> None:
        """Compute `nodes`, equal ones once, and put their columns in their places."""
        distinct = {write(node): node for node in nodes}
        columns = dict(zip(distinct, self.add(*(node.copy() for node in distinct.values())), strict=True))
        for text, node in [(write(node), node) for node in nodes]:
            node.replace(columns[text].copy())

    def keep(self, *conditions: exp.Expr) -> None:
        """Drop the rows for which a condition does not hold."""
        self.wrap().where(*conditions, copy=False)
