"""What the names in a select stand for: aliases of its own list, ordinals, columns of its FROM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlglot import exp

from .sql import NotUnderstood, here, operand

Columns = Callable[[exp.Select], frozenset[str]]
"""The columns of a select's FROM, in lower case."""


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
        return self.value.is_star


@dataclass
class Names:
    """A select's expressions with every alias and ordinal replaced by what it stands for, each in a holder."""

    select: exp.Select
    columns: Columns
    """Asked only where an alias may be one of them."""

    items: list[Item] = field(init=False)
    keys: list[exp.Paren] = field(init=False)
    having: list[exp.Paren] = field(init=False)
    qualify: list[exp.Paren] = field(init=False)
    order: list[exp.Ordered] = field(init=False)

    def __post_init__(self) -> None:
        self._aliases: dict[str, exp.Expr] = {}
        self._from: frozenset[str] | None = None
        self.items = []
        for item in self.select.expressions:
            value = hold(item.unalias())
            self._fill(value, self._outer)
            named = isinstance(item, exp.Alias | exp.Column | exp.Dot)
            self.items.append(Item(value, item.alias_or_name if named else ""))
            if isinstance(item, exp.Alias):
                self._aliases[item.alias.lower()] = value.this
        group = self.select.args.get("group")
        self.keys = [self._numbered(key, self._outer) for key in group.expressions] if group else []
        self.having = self._conditions("having")
        self.qualify = self._conditions("qualify")
        order = self.select.args.get("order")
        self.order = [key.copy() for key in order.expressions] if order else []
        self._aliases = {item.name.lower(): item.value for item in self.items if item.name and not item.is_star}
        for key in self.order:
            key.set("this", self._numbered(key.this, self._aliases.get))

    def _conditions(self, clause: str) -> list[exp.Paren]:
        found = conjuncts(self.select, clause)
        for condition in found:
            self._fill(condition, self._either)
        return found

    def _numbered(self, key: exp.Expr, meaning: Callable[[str], exp.Expr | None]) -> exp.Paren:
        """A key of GROUP BY or ORDER BY."""
        if isinstance(key, exp.Literal) and not key.is_string:
            number = int(key.name) if key.name.isdigit() else 0
            if not 0 < number <= len(self.items) or any(item.is_star for item in self.items):
                raise NotUnderstood("a number in GROUP BY or ORDER BY counts columns of a star")
            return hold(self.items[number - 1].value)
        held = hold(key)
        self._fill(held, meaning)
        held.set("this", held.this.unnest())
        return held

    def _fill(self, held: exp.Paren, meaning: Callable[[str], exp.Expr | None]) -> None:
        for column in list(here(held)):
            if isinstance(column, exp.Column) and not column.table and not column.is_star:
                value = meaning(column.name.lower())
                if value is not None:
                    column.replace(operand(value))

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
    def _columns(self) -> frozenset[str]:
        if self._from is None:
            self._from = self.columns(self.select)
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
