"""What the names in a select stand for: aliases of its own list, ordinals, columns of its FROM."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from .parts import aggregates, within
from .sql import NotUnderstood, here, identifier, is_volatile, nodes, operand, size

Below = Callable[[], Collection[str]]
"""The columns of a select's FROM, in lower case and in their order."""

Sources = Mapping[str, Below]
"""The columns of each source of a FROM, by its alias in lower case."""


_MOST = 5_000
"""Nodes that the aliases of one select may stand for."""


@dataclass
class Item:
    """One expression of the select list; `name` is what it is called outside, "" if Spark makes one up."""

    holder: exp.Paren
    name: str

    @property
    def value(self) -> exp.Expr:
        value: exp.Expr = self.holder.this
        return value

    @property
    def is_star(self) -> bool:
        """Whether it shows columns of a table, or the fields of a struct."""
        return self.value.is_star


@dataclass
class Names:
    """A select's expressions with every alias and ordinal replaced by what it stands for, each in a holder."""

    select: exp.Select
    columns: Below
    """Asked only where an alias may be one of them."""
    sources: Sources = field(default_factory=dict)
    """Asked only where ORDER BY may mean a column that a star shows."""

    name: Callable[[], str] | None = None
    """Makes names for columns that are computed once; without it, such a select raises NotUnderstood."""

    once: dict[str, exp.Expr] = field(init=False)
    """What may give something else each time and stands behind an alias that is used: computed once, below."""
    items: list[Item] = field(init=False)
    keys: list[exp.Paren] = field(init=False)
    having: list[exp.Paren] = field(init=False)
    qualify: list[exp.Paren] = field(init=False)
    order: list[exp.Ordered] = field(init=False)

    def __post_init__(self) -> None:
        self._aliases: dict[str, exp.Expr] = {}
        self._added = 0
        self._from: Collection[str] | None = None
        self.items, self.once = [], {}
        for item in self.select.expressions:
            value = hold(item.unalias())
            self._fill(value, self._outer)
            named = isinstance(item, exp.Alias | exp.Column | exp.Dot)
            self.items.append(Item(value, item.alias_or_name if named else ""))
            if isinstance(item, exp.Alias):
                self._aliases[item.alias.lower()] = value.this
        group = self.select.args.get("group")
        if group and group.args.get("all"):
            self.keys = self._all_keys()
        else:
            self.keys = [self._numbered(key, self._outer) for key in group.expressions] if group else []
        if any(isinstance(key.this, exp.Literal) for key in self.keys):
            raise NotUnderstood("it groups by a constant")
        self.having = self._conditions("having")
        self.qualify = self._conditions("qualify")
        order = self.select.args.get("order")
        self.order = [copy for key in order.expressions for copy in self._sorted(key)] if order else []
        self._aliases = {item.name.lower(): item.value for item in self.items if item.name and not item.is_star}
        for key in self.order:
            self._of_stars(key)
            key.set("this", self._numbered(key.this, self._aliases.get))

    def _conditions(self, clause: str) -> list[exp.Paren]:
        found = conjuncts(self.select, clause)
        for condition in found:
            self._fill(condition, self._either)
        return found

    def _of_stars(self, key: exp.Ordered) -> None:
        """Say which table a name in ORDER BY is of, if a star of the list shows it."""
        if not self.select.args.get("joins"):
            return
        tables = [item.value.table for item in self.items if isinstance(item.value, exp.Column) and item.is_star]
        for column in [node for node in here(key) if isinstance(node, exp.Column) and not node.table]:
            name = column.name.lower()
            found = [table for table in tables if name in self.sources.get(table.lower(), tuple)()]
            if name not in self._aliases and found:
                column.set("table", identifier(found[0]))

    def _all_keys(self) -> list[exp.Paren]:
        """GROUP BY ALL: what of the list holds no aggregate."""
        self._no_column("all")
        keys = []
        for item in self.items:
            found = list(aggregates(item.holder))
            if any(not within(column, found) for column in nodes(item.holder, exp.Column)):
                if found or item.is_star:
                    raise NotUnderstood("GROUP BY ALL groups by a part of an expression, or by a star")
                keys.append(hold(item.value))
            elif not found:
                raise NotUnderstood("it groups by a constant")
        if not keys:
            raise NotUnderstood("GROUP BY ALL finds no key")
        return keys

    def _sorted(self, key: exp.Ordered) -> list[exp.Ordered]:
        """A key of ORDER BY; ALL is each column of the list."""
        if not (isinstance(key.this, exp.Var) and key.name.upper() == "ALL"):
            return [key.copy()]
        self._no_column("all")
        keys = []
        for value in self._shown():
            keys.append(key.copy())
            keys[-1].set("this", value.copy())
        return keys

    def _shown(self) -> list[exp.Expr]:
        """The columns that the list shows, one expression each."""
        shown: list[exp.Expr] = []
        for item in self.items:
            if not item.is_star:
                shown.append(item.value)
                continue
            if not isinstance(item.value, exp.Star) or self.select.args.get("joins"):
                raise NotUnderstood("its columns are counted or sorted by, and a star stands for some of them")
            star = item.value.args
            if star.get("replace") or star.get("rename"):
                raise NotUnderstood("a star replaces or renames columns")
            hidden = {column.name.lower() for column in star.get("except_") or ()}
            names = [name for name in self._columns if name not in hidden]
            shown += [exp.column(identifier(name)) for name in names]
        return shown

    def _no_column(self, name: str) -> None:
        if name in self._columns:
            raise NotUnderstood(f"{name} is the name of a column")

    def _numbered(self, key: exp.Expr, meaning: Callable[[str], exp.Expr | None]) -> exp.Paren:
        """A key of GROUP BY or ORDER BY."""
        if isinstance(key, exp.Literal) and not key.is_string:
            number = int(key.name) if key.name.isdigit() else 0
            shown = self._shown()
            if not 0 < number <= len(shown):
                raise NotUnderstood("a number in GROUP BY or ORDER BY is not that of a column")
            return hold(shown[number - 1])
        held = hold(key)
        self._fill(held, meaning)
        held.set("this", held.this.unnest())
        return held

    def _fill(self, held: exp.Paren, meaning: Callable[[str], exp.Expr | None]) -> None:
        for column in list(here(held)):
            if isinstance(column, exp.Column) and not column.table and not column.is_star:
                value = meaning(column.name.lower())
                if value is not None and is_volatile(value):
                    value = self._computed(value)
                if value is not None:
                    self._added += size(value)
                    if self._added > _MOST:
                        raise NotUnderstood("its aliases stand for too much")
                    column.replace(operand(value))

    def _computed(self, value: exp.Expr) -> exp.Expr:
        """The column that holds the volatile `value`, which stands in the select list."""
        if self.name is None or value.find(exp.Query, exp.AggFunc, exp.Window, exp.UDTF):
            raise NotUnderstood("an alias stands for something that may be another value each time")
        column = exp.column(self.name())
        for item in self.items:
            if item.value is value:
                item.holder.set("this", column.copy())
        self._aliases = {name: column if found is value else found for name, found in self._aliases.items()}
        self.once[column.name] = value
        return column

    def _outer(self, name: str) -> exp.Expr | None:
        """Where a column of the FROM comes before an alias."""
        value = self._aliases.get(name)
        return None if value is None or _is_column(value, name) or name in self._columns else value

    def _either(self, name: str) -> exp.Expr | None:
        """Where what comes first depends on the query."""
        value = self._aliases.get(name)
        if value is None or _is_column(value, name):
            return None
        if name in self._columns:
            raise NotUnderstood(f"{name} is a column of its table and an alias of its list")
        return value

    @property
    def _columns(self) -> Collection[str]:
        if self._from is None:
            self._from = self.columns()
        return self._from


def hold(value: exp.Expr) -> exp.Paren:
    """A copy of `value` in a node of ours, so that it can be replaced as a whole."""
    return exp.Paren(this=value.copy())


def conjuncts(select: exp.Select, clause: str) -> list[exp.Paren]:
    """The conditions of WHERE, HAVING or QUALIFY, all of which must hold."""
    found = select.args.get(clause)
    if found is None:
        return []
    condition = found.this.unnest()
    return [hold(part) for part in (condition.flatten() if isinstance(condition, exp.And) else (condition,))]


def _is_column(value: exp.Expr, name: str) -> bool:
    return isinstance(value, exp.Column) and not value.table and value.name.lower() == name
