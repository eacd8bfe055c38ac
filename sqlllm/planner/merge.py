"""A subquery that only computes becomes part of the select around it, so that its calls come after its filters.

    SELECT f(a), c FROM (SELECT e AS a FROM t WHERE w) AS x WHERE c  =  SELECT f(e), c FROM t AS x WHERE c AND w

A column of `t` that the subquery does not show is visible afterwards: where the select uses such a name for something
else, that name is qualified first, or the two stay apart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from sqlglot import exp

from .columns import Columns
from .names import Below, Names
from .parts import aggregates, is_known, windows
from .sql import NotUnderstood, calls, here, identifier, is_plain_star, is_volatile, nodes, operand, size

SIMPLE = {"expressions", "from_", "joins", "laterals", "where", "hint"}
# The joins that keep, of their left side, what there is, and drop, of their right side, what does not match.
INNER = {("", ""), ("", "INNER"), ("", "CROSS")}

_AROUND = {*SIMPLE, "with_", "group", "having", "qualify", "order", "limit", "offset", "distinct"}
_MOST = 500
"""Nodes that one merge may add: an alias that is used often stands for its expression each time."""
_MOST_CALLS = 8
"""Calls in the list of a select that takes up a subquery, or of the subquery: they guard each other."""


def calls_in_list(select: exp.Select, models: Collection[str]) -> bool:
    return any(calls(item, models) for item in select.expressions)


def merge(outer: exp.Select, models: Collection[str], columns: Columns) -> bool:
    """Merge into `outer` the subqueries of its FROM that call models and only compute; whether there was one."""
    if outer.args.get("from_") is None:
        return False
    sources = _sources(outer)
    for position, source in enumerate(sources):
        if not (isinstance(source, exp.Subquery) and isinstance(source.this, exp.Select)):
            continue
        if not calls_in_list(source.this, models):
            continue
        try:
            if sum(len(calls(item, models)) for item in source.this.expressions) > _MOST_CALLS:
                raise NotUnderstood
            trial = outer.copy()
            others = columns.sources(outer)
            for hidden in [source, *(join.this for join in outer.args.get("joins") or () if _only_tests(join))]:
                others.pop(hidden.alias_or_name.lower(), None)
            below = partial(columns.below, source.this)  # the copy stands in no statement
            _Merge(trial, _sources(trial)[position], models, below, others).run()
            if sum(len(calls(item, models)) for item in trial.expressions) > _MOST_CALLS:
                raise NotUnderstood
        except NotUnderstood:
            continue
        for key in {*outer.args, *trial.args}:
            outer.set(key, trial.args.get(key))
        merge(outer, models, columns)
        return True
    return False


def _only_tests(join: exp.Join) -> bool:
    """Whether nothing outside of the join's condition sees the columns of its right side."""
    return join.kind.upper() in {"SEMI", "ANTI"} or join.side.upper() in {"SEMI", "ANTI"}


def _sources(select: exp.Select) -> list[exp.Expr]:
    return [select.args["from_"].this, *(join.this for join in select.args.get("joins") or ())]


class _Merge:
    def __init__(
        self,
        outer: exp.Select,
        source: exp.Expr,
        models: Collection[str],
        below: Below,
        others: dict[str, Callable[[], Collection[str]]],
    ) -> None:
        self._outer, self._source, self._inner = outer, source, source.this
        self._below, self._others = below, others
        self._alone = not outer.args.get("joins") and not outer.args.get("laterals")
        self._alias = source.alias.lower()
        self._added = 0
        inner = self._inner
        if (
            any(value and key not in SIMPLE for key, value in inner.args.items())
            or any(value and key not in _AROUND for key, value in outer.args.items())
            or any(value and key not in {"this", "alias"} for key, value in source.args.items())
            or (source.args.get("alias") and source.args["alias"].columns)
            or not inner.args.get("from_")
            or any(calls(item, models) for item in (inner.args.get("where"), *(inner.args.get("joins") or ())) if item)
        ):
            raise NotUnderstood
        for item in inner.expressions:
            if (
                is_volatile(item)
                or not is_known(item, models)
                or any(True for _ in aggregates(item))
                or any(True for _ in windows(item))
                or item.find(exp.UDTF, exp.Query)
                or (item.is_star and not is_plain_star(item))
            ):
                raise NotUnderstood
        # An alias of the list may be used in the list itself; here it stands for what it means.
        self._items = Names(inner, below).items
        if not self._alone:
            self._check_joins()
        self._star = any(item.is_star for item in self._items)
        names = [item.name.lower() for item in self._items if not item.is_star]
        if len(names) != len(set(names)) or (self._star and not self._alone):
            raise NotUnderstood
        several = inner.args.get("joins") or inner.args.get("laterals")
        if several and any(isinstance(item.value, exp.Column) for item in self._items if item.is_star):
            raise NotUnderstood  # the star of one source does not show what the others would
        self._meaning = {item.name.lower(): item.value for item in self._items if not item.is_star and item.name}
        self._sizes = {name: size(value) for name, value in self._meaning.items()}

    def _check_joins(self) -> None:
        """A model above a join is called for what the join lets through: right where it makes no NULL of answers."""
        inner, joins = self._inner, self._outer.args.get("joins") or []
        if inner.args.get("joins") or inner.args.get("laterals") or not self._alias:
            raise NotUnderstood
        if not isinstance(inner.args["from_"].this, exp.Table) or self._outer.args.get("laterals"):
            raise NotUnderstood
        if not all(isinstance(source, exp.Table | exp.Subquery) for source in _sources(self._outer)):
            raise NotUnderstood  # a LATERAL may mean the subquery's columns
        if (where := inner.args.get("where")) and where.find(exp.Query):
            raise NotUnderstood
        for join in joins:
            kind = (join.side.upper(), join.kind.upper())
            left_only = self._source is not join.this and kind[0] == "LEFT"
            if (kind not in INNER and not left_only) or join.args.get("using") or join.args.get("method"):
                raise NotUnderstood
            if left_only and self._source is not self._outer.args["from_"].this:
                raise NotUnderstood
        table = inner.args["from_"].this
        if any(value and key not in {"this", "db", "catalog", "alias"} for key, value in table.args.items()):
            raise NotUnderstood
        old = table.alias_or_name.lower()
        roots = [*(item.holder for item in self._items), *([inner.args["where"]] if inner.args.get("where") else [])]
        for column in [column for root in roots for column in _columns(root)]:
            if column.args.get("db") or (column.table and column.table.lower() != old):
                raise NotUnderstood
            if not column.is_star:
                column.set("table", identifier(self._source.alias))
        alias = exp.TableAlias(this=identifier(self._source.alias))
        alias.set("columns", (table.args.get("alias") or alias).args.get("columns"))
        table.set("alias", alias)

    def run(self) -> None:
        outer, inner = self._outer, self._inner
        aliases = {item.alias.lower() for item in outer.expressions if isinstance(item, exp.Alias)}
        shown = aliases | {item.name.lower() for item in outer.expressions if item.alias == ""}
        self._keep_apart(shown)
        outer.set("expressions", [new for item in outer.expressions for new in self._list(item)])
        shown |= {item.alias_or_name.lower() for item in outer.expressions}  # a star has become its columns
        for key, hidden in (("where", set()), ("group", set()), ("having", aliases), ("qualify", aliases)):
            if clause := outer.args.get(key):
                if any(column.name.lower() in hidden and self._meaning_of(column) for column in _columns(clause)):
                    raise NotUnderstood
                self._fill(clause)
        if order := outer.args.get("order"):
            self._fill(order, hidden=shown)
        for join in outer.args.get("joins") or ():
            if on := join.args.get("on"):
                if not all(isinstance(self._meaning_of(column), exp.Column | None) for column in _columns(on)):
                    raise NotUnderstood
                self._fill(on)
        if where := inner.args.get("where"):
            outer.where(where.this, copy=False)
        if self._alone:
            for key in ("from_", "joins", "laterals", "hint"):
                outer.set(key, inner.args.get(key) or (outer.args.get(key) if key == "hint" else None))
        else:
            self._source.replace(inner.args["from_"].this)

    def _keep_apart(self, shown: Collection[str]) -> None:
        """Qualify the names of `outer` that the columns below would capture."""
        if self._star:  # it shows them all already
            return
        order = self._outer.args.get("order")
        columns = [
            column
            for part in self._outer.iter_expressions()
            if part.arg_key not in {"from_", "with_"}
            for column in here(part)
            if isinstance(column, exp.Column) and not column.table and not column.is_star
            and column.name.lower() not in self._meaning
            and not (column.name.lower() in shown and order is not None and column.find_ancestor(exp.Order) is order)
        ]  # fmt: skip
        if not columns:
            return
        below = set(self._below())
        for column in columns:
            if column.name.lower() not in below:
                continue
            owners = [alias for alias, known in self._others.items() if column.name.lower() in known()]
            if len(owners) != 1 or not owners[0]:
                raise NotUnderstood
            column.set("table", identifier(owners[0]))

    def _list(self, item: exp.Expr) -> list[exp.Expr]:
        if item.is_star:
            if isinstance(item, exp.Column) and item.table.lower() != self._alias:
                return [item]
            if not is_plain_star(item) or (isinstance(item, exp.Star) and not self._alone):
                raise NotUnderstood
            return [self._shown(held.value, held.name) for held in self._items]
        name = item.alias_or_name if isinstance(item, exp.Alias | exp.Column) else ""
        holder = exp.Paren(this=item.unalias())
        self._fill(holder)
        return [self._shown(holder.this, name)]

    @staticmethod
    def _shown(value: exp.Expr, name: str) -> exp.Expr:
        if not name or value.is_star or (isinstance(value, exp.Column) and value.name == name):
            return value.copy()
        return exp.alias_(value.copy(), identifier(name))

    def _meaning_of(self, column: exp.Column) -> exp.Expr | None:
        """What `column` is in the subquery, if it is one of its list."""
        table = column.table.lower()
        if column.is_star and isinstance(column.parent, exp.Select | exp.Count):
            return None
        if column.is_star or column.args.get("db") or (table and self._alone and table != self._alias):
            raise NotUnderstood
        return self._meaning.get(column.name.lower()) if table in {"", self._alias} else None

    def _is_shadowed(self, column: exp.Column) -> bool:
        """Whether the list shows something else under the name of `column`, which is below."""
        named = [item for item in self._outer.expressions if item.alias_or_name.lower() == column.name.lower()]
        return not column.table and any(not isinstance(item, exp.Column) for item in named)

    def _fill(self, root: exp.Expr, hidden: Collection[str] = ()) -> None:
        for node in list(here(root)):
            if isinstance(node, exp.Query):
                raise NotUnderstood  # it may mean columns of the subquery
            if not isinstance(node, exp.Column) or (not node.table and node.name.lower() in hidden):
                continue
            value = self._meaning_of(node)
            if value is not None:
                if hidden and any(self._is_shadowed(column) for column in _columns(value)):
                    raise NotUnderstood  # ORDER BY would mean the alias of that name
                if isinstance(node.parent, exp.Group | exp.Ordered) and isinstance(value, exp.Literal):
                    raise NotUnderstood  # a number there is a place in the list
                self._added += self._sizes[node.name.lower()]
                if self._added > _MOST:
                    raise NotUnderstood
                node.replace(operand(value))
            elif node.table.lower() == self._alias and self._alone:
                node.set("table", None)


def _columns(tree: exp.Expr) -> list[exp.Column]:
    return nodes(tree, exp.Column)
