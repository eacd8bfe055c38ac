"""A statement: first its selects become fewer, then each becomes layers, from the inside out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from sqlglot import exp
from sqlglot.errors import SqlglotError

from . import joins, unions
from .block import Block
from .merge import inline_once, merge
from .narrow import narrow
from .parts import aggregates, windows
from .sql import PREFIX, NotUnderstood, calls, has_calls, read, write


def normal(sql: str) -> str | None:
    """`sql` as sqlglot writes it, which should mean the same; None if it is no query sqlglot knows."""
    tree = read(sql)
    try:
        return None if tree is None else write(tree)
    except SqlglotError:
        return None


def first(sql: str, rows: int) -> str | None:
    """`sql` with that limit; None if it has one, or sqlglot does not know it."""
    tree = read(sql)
    try:
        return None if tree is None or tree.args.get("limit") else write(tree.limit(rows))
    except SqlglotError:
        return None


def limit(sql: str) -> int:
    """The fewest rows that a LIMIT without an order asks for, which may be full before every row is asked; 0: none."""
    queries = () if (tree := read(sql)) is None else tree.find_all(exp.Query)
    limits = [
        query.args["limit"].expression for query in queries if query.args.get("limit") and not query.args.get("order")
    ]
    return min((int(rows.this) for rows in limits if isinstance(rows, exp.Literal) and rows.is_int), default=0)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A select as it is to run.

    `reason` says why a part of it that calls a model runs as written: a clause that goes on from "because", without a
    full stop. It is empty where all of it is planned, and where no model is called.
    """

    text: str
    reason: str = ""


def rewrite(sql: str, models: Collection[str], columns: Callable[[str], Collection[str]] | None = None) -> Rewritten:
    """`sql` with fewer calls of `models` (names in lower case), or `sql` itself.

    `columns` gives the names of the columns of a query; without it, a select that reuses its aliases stays as it is.
    """
    tree = read(sql)
    if tree is None:
        return Rewritten(sql, "sqlglot does not read it as a query")
    if not has_calls(tree, models):
        return Rewritten(sql)
    if PREFIX in sql:
        return Rewritten(sql, f"it holds a name that begins with {PREFIX}, as the planner's own names do")
    try:
        before = write(tree)
        statement = _Statement(tree, models, columns)
        after = statement.run()
    except NotUnderstood as error:
        return Rewritten(sql, str(error))
    except SqlglotError:
        return Rewritten(sql, "sqlglot has no Spark syntax for a part of it")
    return Rewritten(sql if after == before else after, statement.reason)


def merged(sql: str, models: Collection[str], columns: Callable[[str], Collection[str]]) -> str:
    """`sql` with its calls in as few selects as may be, as `rewrite` has it before it makes layers of them."""
    tree = read(sql)
    if tree is None or not has_calls(tree, models) or PREFIX in sql:
        return sql
    try:
        return _Statement(tree, models, columns).merged()
    except (NotUnderstood, SqlglotError):
        return sql


_Query = TypeVar("_Query", exp.Select, exp.Union)


class _Statement:
    def __init__(
        self, tree: exp.Query, models: Collection[str], columns: Callable[[str], Collection[str]] | None
    ) -> None:
        self._root = exp.Paren(this=tree)  # so that the outermost select can be replaced, too
        self._models, self._columns = models, columns
        self._numbers = count(1)
        self.reason = ""

    def _name(self) -> str:
        return f"{PREFIX}{next(self._numbers)}"

    def run(self) -> str:
        self._merge()
        for select in self._inside_out(exp.Select):
            self._layer(select)
        return write(self._root.this)

    def merged(self) -> str:
        """The statement before it becomes layers."""
        self._merge()
        return write(self._root.this)

    def _merge(self) -> None:
        inline_once(self._root.this, self._models)
        narrow(self._root.this, self._models)
        for union in self._inside_out(exp.Union):
            self._pull_up(union)
        for select in self._inside_out(exp.Select):
            merge(select, self._models, self._columns_of)
        shared = [cte for select in self._inside_out(exp.Select) for cte in self._join(select)]
        if shared:
            self._add_ctes(shared)

    def _inside_out(self, kind: type[_Query]) -> list[_Query]:
        return list(reversed(list(self._root.find_all(kind, bfs=True))))

    def _pull_up(self, union: exp.Union) -> None:
        """The calls of a union's arms after it; at least its ORDER BY in a select of its own."""
        if isinstance(union.parent, exp.Union) or not has_calls(union, self._models):
            return
        try:
            union.replace(unions.above(union, self._models, self._name))
        except NotUnderstood:
            if union.args.get("order") and not union.args.get("limit"):
                inner = union.copy()
                outer = exp.select("*")
                for key in ("order", "with_"):
                    outer.set(key, union.args.get(key))
                    inner.set(key, None)
                union.replace(
                    outer.from_(exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(self._name()))))
                )

    def _join(self, select: exp.Select) -> list[exp.CTE]:
        joins.lift(select, self._models)
        try:
            return joins.share(select, self._models, self._name)
        except NotUnderstood:
            return []

    def _add_ctes(self, ctes: list[exp.CTE]) -> None:
        tree = self._root.this
        with_ = tree.args.get("with_") or exp.With(expressions=[])
        tree.set("with_", exp.With(expressions=[*with_.expressions, *ctes]))

    def _layer(self, select: exp.Select) -> None:
        parts = [part for part in select.iter_expressions() if not isinstance(part, exp.From | exp.With)]
        below = self._calls_below(select)
        sorts = below and select.args.get("order") and not select.args.get("limit")
        if not (sorts or any(calls(part, self._models) for part in parts)):
            return
        if self._ends_early(select):
            self.reason = self.reason or "a LIMIT without ORDER BY around it stops as soon as it is full"
            return
        try:
            block = Block(
                select.copy(),
                self._models,
                self._name,
                self._columns_of,
                keeps_order=select.parent is self._root,
                calls_below=below,
            )
            select.replace(block.run())
        except NotUnderstood as error:
            self.reason = self.reason or str(error)

    def _calls_below(self, select: exp.Select) -> bool:
        """Whether what the select reads calls models."""
        sources = [select.args.get("from_"), *(select.args.get("joins") or ())]
        named = {cte.alias.lower() for cte in self._root.find_all(exp.CTE) if has_calls(cte.this, self._models)}
        return any(
            has_calls(source, self._models) or any(table.name.lower() in named for table in source.find_all(exp.Table))
            for source in sources
            if source is not None
        )

    def _ends_early(self, select: exp.Select) -> bool:
        """Whether a select around this one stops reading as soon as it has the rows of its LIMIT."""
        query = select.parent_select if not isinstance(select.parent, exp.SetOperation) else select.parent
        while query is not None:
            if query.args.get("order") or query.args.get("group") or query.args.get("distinct"):
                return False
            if any(True for item in query.selects for part in (aggregates, windows) for _ in part(item)):
                return False
            if query.args.get("limit"):
                return True
            query = query.parent if isinstance(query.parent, exp.SetOperation) else query.parent_select
        return False

    def _columns_of(self, select: exp.Select) -> frozenset[str]:
        if self._columns is None:
            raise NotUnderstood("the columns of its tables are not known")
        probe = exp.Select(
            expressions=[exp.Star()],
            **{key: select.args.get(key) for key in ("from_", "joins", "laterals")},
            with_=self._root.this.args.get("with_"),
        )
        return frozenset(name.lower() for name in self._columns(write(probe.copy())))
