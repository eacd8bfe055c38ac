"""A statement: first its selects become fewer, then each becomes layers, from the inside out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TypeVar

from sqlglot import exp
from sqlglot.errors import SqlglotError

from . import joins, laterals, unions
from .arms import one_select
from .block import Block
from .columns import Columns
from .inline import inline_once
from .merge import merge
from .narrow import narrow
from .parts import aggregates, windows
from .plain import write_out
from .scopes import is_recursive, resolve
from .sql import PREFIX, NotUnderstood, calls, depth, has_calls, mark_volatile, nodes, read, size, write
from .stars import expand, is_inside, named_by_columns


def normal(sql: str) -> str | None:
    """`sql` as sqlglot writes it, which should mean the same; None if it is not a query sqlglot knows."""
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
    queries = () if (tree := read(sql)) is None else nodes(tree, exp.Query)
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


def rewrite(
    sql: str,
    models: Collection[str],
    columns: Callable[[str], Collection[str]] | None = None,
    volatile: Collection[str] = (),
) -> Rewritten:
    """`sql` with fewer calls of `models` (names in lower case), or `sql` itself.

    `columns` gives the names of the columns of a query, in their order, or raises NotUnderstood; without it, a select
    that reuses its aliases stays as it is. `volatile`: functions, in lower case, that may give something else each
    time, and are evaluated as often as they stand there.
    """
    lowered = sql.lower()
    if not any(name.replace("`", "``") in lowered for name in models):
        return Rewritten(sql)
    tree = read(sql)
    if tree is None:
        return Rewritten(sql, "sqlglot does not read it as a query")
    if not has_calls(tree, models):
        return Rewritten(sql)
    if PREFIX in sql:
        return Rewritten(sql, f"it holds a name that begins with {PREFIX}, as the planner's own names do")
    if size(tree) > _MOST_NODES or depth(tree) > _MOST_DEPTH:
        return Rewritten(sql, "it is too long or nested too deeply")
    apart: set[int] = set()
    try:
        while True:
            mark_volatile(tree, sql, volatile)
            before = write(tree)
            statement = _Statement(tree, models, columns, apart)
            try:
                after = statement.run()
                break
            except _Apart as error:
                tree = read(sql)
                assert tree is not None
                apart = {*apart, error.number} if len(apart) < _MOST_TRIES else {*range(size(tree))}
    except NotUnderstood as error:
        return Rewritten(sql, str(error))
    except SqlglotError:
        return Rewritten(sql, "sqlglot has no Spark syntax for a part of it")
    except RecursionError:
        return Rewritten(sql, "it is nested too deeply")
    if len(after) > _MOST_TIMES * len(sql) + _MOST_MORE:
        return Rewritten(sql, "it would become too long")
    return Rewritten(sql if after == before else after, statement.reason)


def merged(
    sql: str,
    models: Collection[str],
    columns: Callable[[str], Collection[str]] | None = None,
    volatile: Collection[str] = (),
) -> str:
    """`sql` with its calls in as few selects as may be, as `rewrite` has it before it makes layers of them."""
    tree = read(sql)
    if tree is None or not has_calls(tree, models) or PREFIX in sql:
        return sql
    if size(tree) > _MOST_NODES or depth(tree) > _MOST_DEPTH:
        return sql
    mark_volatile(tree, sql, volatile)
    try:
        write(tree)
        return _Statement(tree, models, columns, ()).merged()
    except (NotUnderstood, SqlglotError, RecursionError):
        return sql


_MOST_TRIES = 3
_MOST_CALLS = 40  # of one select
_MOST_NODES, _MOST_DEPTH = 20_000, 120  # parsers and generators of SQL recurse
_MOST_TIMES, _MOST_MORE = 20, 20_000  # what a text may grow to, in characters


class _Apart(Exception):
    """A select that took up a subquery cannot be planned: they stay apart, and the statement is planned anew."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


_MERGED = "merged"  # in a select's meta: its number, if it took up subqueries


def _repeats(select: exp.Select) -> bool:
    """Whether `select` is part of a recursive CTE."""
    cte = select.find_ancestor(exp.CTE)
    while cte is not None:
        if is_recursive(cte):
            return True
        cte = cte.find_ancestor(exp.CTE)
    return False


_Query = TypeVar("_Query", exp.Select, exp.Union, exp.SetOperation)


class _Statement:
    def __init__(
        self,
        tree: exp.Query,
        models: Collection[str],
        columns: Callable[[str], Collection[str]] | None,
        apart: Collection[int],
    ) -> None:
        self._root = exp.Paren(this=tree)  # so that the outermost select can be replaced, too
        self._models, self._columns = models, Columns(columns)
        self._numbers = count(1)
        self._apart = apart
        self.reason = ""

    def _name(self) -> str:
        return f"{PREFIX}{next(self._numbers)}"

    def run(self) -> str:
        self._merge()
        for select in self._inside_out(exp.Select):
            self._layer(select)
        if self._named and not named_by_columns(nodes(self._root)) <= self._named:
            raise NotUnderstood("arrays_zip names its fields by columns that are computed anew")
        return write(self._root.this)

    def merged(self) -> str:
        """The statement before it becomes layers."""
        self._merge()
        return write(self._root.this)

    def _merge(self) -> None:
        write_out(self._root.this)
        resolve(self._root.this, self._name)
        found = nodes(self._root)
        if any(map(is_inside, found)):
            for select in self._inside_out(exp.Select):
                expand(select, self._columns)
        self._named = named_by_columns(found)
        for operation in self._inside_out(exp.SetOperation):
            if has_calls(operation, self._models) and (one := one_select(operation)):
                operation.replace(one)
        if any(isinstance(node, exp.Lateral) for node in found):
            for select in self._inside_out(exp.Select):
                laterals.lift(select, self._models, self._name, self._columns)
        for query in [node for node in nodes(self._root, exp.Query) if node.args.get("with_")]:
            inline_once(query, self._models)
            narrow(query, self._models)
        for union in self._inside_out(exp.Union):
            self._pull_up(union)
        for number, select in enumerate(self._inside_out(exp.Select)):
            if number not in self._apart and not _repeats(select) and merge(select, self._models, self._columns):
                select.meta[_MERGED] = number
        for select in self._inside_out(exp.Select):
            if shared := self._join(select):
                self._add_ctes(select, shared)

    def _inside_out(self, kind: type[_Query]) -> list[_Query]:
        return nodes(self._root, kind)[::-1]

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

    def _add_ctes(self, select: exp.Select, ctes: list[exp.CTE]) -> None:
        """Add `ctes` to the query that `select` is, or is an arm of: there its tables mean the same."""
        query: exp.Expr = select
        while isinstance(query.parent, exp.SetOperation):
            query = query.parent
        with_ = query.args.get("with_") or exp.With(expressions=[])
        query.set("with_", exp.With(expressions=[*with_.expressions, *ctes], recursive=with_.args.get("recursive")))

    def _layer(self, select: exp.Select) -> None:
        parts = [part for part in select.iter_expressions() if not isinstance(part, exp.From | exp.With)]
        below = self._calls_below(select)
        sorts = below and select.args.get("order") and not select.args.get("limit")
        if not (sorts or any(calls(part, self._models) for part in parts)):
            return
        if sum(len(calls(part, self._models)) for part in parts) > _MOST_CALLS:
            self._refuse(select, f"it holds more than {_MOST_CALLS} calls")
            return
        if _repeats(select):
            self.reason = self.reason or "a model is called in a recursive CTE"
            return
        if self._ends_early(select):
            self.reason = self.reason or "a LIMIT without ORDER BY around it stops as soon as it is full"
            return
        try:
            block = Block(
                select.copy(),
                self._models,
                self._name,
                partial(self._columns.below, select),
                self._columns.sources(select),
                keeps_order=select.parent is self._root,
                calls_below=below,
            )
            layered = block.run()
            if depth(layered) > _MOST_DEPTH:
                raise NotUnderstood("it is nested too deeply")
            select.replace(layered)
        except NotUnderstood as error:
            self._refuse(select, str(error))

    def _refuse(self, select: exp.Select, reason: str) -> None:
        if (number := select.meta_get(_MERGED)) is not None:
            raise _Apart(number)
        self.reason = self.reason or reason

    def _calls_below(self, select: exp.Select) -> bool:
        """Whether what the select reads calls models."""
        sources = [select.args.get("from_"), *(select.args.get("joins") or ())]
        named = {cte.alias.lower() for cte in nodes(self._root, exp.CTE) if has_calls(cte.this, self._models)}
        return any(
            has_calls(source, self._models) or any(table.name.lower() in named for table in nodes(source, exp.Table))
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
