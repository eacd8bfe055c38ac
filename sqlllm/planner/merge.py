"""Subqueries that only compute become part of the select around them, so that their calls come after its filters."""

from __future__ import annotations

from collections.abc import Collection

from sqlglot import exp

from .names import Columns, Names
from .parts import aggregates, is_known, windows
from .sql import NotUnderstood, calls, here, is_volatile, operand

SIMPLE = {"expressions", "from_", "joins", "laterals", "where", "hint"}
# The joins that keep, of their left side, what there is, and drop, of their right side, what does not match.
INNER = {("", ""), ("", "INNER"), ("", "CROSS")}


def inline_once(tree: exp.Query, models: Collection[str]) -> None:
    """Put each CTE that calls a model and is read once where it is read."""
    with_ = tree.args.get("with_")
    if with_ is None or with_.recursive or len(list(tree.find_all(exp.With))) > 1:
        return
    for cte in list(with_.expressions):
        readers = [table for table in tree.find_all(exp.Table) if not table.db and _same(table.name, cte.alias)]
        if len(readers) != 1 or cte.args["alias"].columns or not isinstance(readers[0].parent, exp.From | exp.Join):
            continue
        if not isinstance(cte.this, exp.Select) or not calls_in_list(cte.this, models) or readers[0].args.get("sample"):
            continue
        (reader,) = readers
        inside = reader.find_ancestor(exp.CTE)
        if inside is not None and inside.index <= cte.index:  # there the name is still that of a table
            continue
        reader.replace(cte.this.subquery(reader.alias_or_name))
        cte.pop()
    if not with_.expressions:
        with_.pop()


def calls_in_list(select: exp.Select, models: Collection[str]) -> bool:
    return any(calls(item, models) for item in select.expressions)


def merge(outer: exp.Select, models: Collection[str], columns: Columns) -> None:
    """Merge into `outer` the subqueries of its FROM that call models and only compute. Changes nothing it must not."""
    from_ = outer.args.get("from_")
    joins = outer.args.get("joins") or []
    if from_ is None:
        return
    for source in [from_.this, *(join.this for join in joins)]:
        if isinstance(source, exp.Subquery) and isinstance(source.this, exp.Select):
            trial = outer.copy()
            try:
                _Merge(trial, _sources(trial)[_position(outer, source)], models, columns).run()
            except NotUnderstood:
                continue
            for key in {*outer.args, *trial.args}:
                outer.set(key, trial.args.get(key))
            merge(outer, models, columns)
            return


def _sources(select: exp.Select) -> list[exp.Expr]:
    return [select.args["from_"].this, *(join.this for join in select.args.get("joins") or ())]


def _position(select: exp.Select, source: exp.Expr) -> int:
    return next(index for index, found in enumerate(_sources(select)) if found is source)


class _Merge:
    def __init__(self, outer: exp.Select, source: exp.Expr, models: Collection[str], columns: Columns) -> None:
        self._outer, self._source, self._inner = outer, source, source.this
        self._alone = not outer.args.get("joins") and not outer.args.get("laterals")
        self._alias = source.alias.lower()
        inner = self._inner
        if (
            any(value and key not in SIMPLE for key, value in inner.args.items())
            or any(value and key not in {"this", "alias"} for key, value in source.args.items())
            or (source.args.get("alias") and source.args["alias"].columns)
            or not calls_in_list(inner, models)
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
            ):
                raise NotUnderstood
        if not self._alone:
            self._check_joins()
        # An alias of the list may be used in the list itself; here it stands for what it means.
        self._items = Names(inner, columns).items
        self._star = any(item.is_star for item in self._items)
        if any(item.is_star and item.value.args.get("except_") for item in self._items):
            raise NotUnderstood
        names = [item.name.lower() for item in self._items if not item.is_star]
        if len(names) != len(set(names)) or (self._star and not self._alone):
            raise NotUnderstood
        self._meaning = {item.name.lower(): item.value for item in self._items if not item.is_star and item.name}

    def _check_joins(self) -> None:
        """A model above a join is called for what the join lets through: right where it makes no NULL of answers."""
        inner, joins = self._inner, self._outer.args.get("joins") or []
        if inner.args.get("joins") or inner.args.get("laterals") or not self._alias:
            raise NotUnderstood
        if not isinstance(inner.args["from_"].this, exp.Table) or self._outer.args.get("laterals"):
            raise NotUnderstood
        for join in joins:
            kind = (join.side.upper(), join.kind.upper())
            left_only = self._source is not join.this and kind[0] == "LEFT"
            if (kind not in INNER and not left_only) or join.args.get("using") or join.args.get("method"):
                raise NotUnderstood
            if left_only and self._source is not self._outer.args["from_"].this:
                raise NotUnderstood
        table = inner.args["from_"].this
        old = table.alias_or_name.lower()
        for column in _columns(inner):
            if column.args.get("db") or (column.table and column.table.lower() != old):
                raise NotUnderstood
            if not column.is_star:
                column.set("table", exp.to_identifier(self._source.alias))
        table.set("alias", exp.TableAlias(this=exp.to_identifier(self._source.alias)))

    def run(self) -> None:
        outer, inner = self._outer, self._inner
        aliases = {item.alias.lower() for item in outer.expressions if isinstance(item, exp.Alias)}
        outer.set("expressions", [new for item in outer.expressions for new in self._list(item)])
        for key, hidden in (("where", set()), ("group", set()), ("having", aliases), ("qualify", aliases)):
            if clause := outer.args.get(key):
                if any(column.name.lower() in hidden and self._meaning_of(column) for column in _columns(clause)):
                    raise NotUnderstood
                self._fill(clause)
        if order := outer.args.get("order"):
            self._fill(order, hidden=aliases | {item.name.lower() for item in outer.expressions if item.alias == ""})
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

    def _list(self, item: exp.Expr) -> list[exp.Expr]:
        if item.is_star:
            if isinstance(item, exp.Column) and item.table.lower() != self._alias:
                return [item]
            if isinstance(item, exp.Star) and (item.args.get("except_") or not self._alone):
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
        return exp.alias_(value.copy(), exp.to_identifier(name))

    def _meaning_of(self, column: exp.Column) -> exp.Expr | None:
        """What `column` is in the subquery, if it is one of its list."""
        table = column.table.lower()
        if column.is_star and isinstance(column.parent, exp.Select | exp.Count):
            return None
        if column.is_star or column.args.get("db") or (table and self._alone and table != self._alias):
            raise NotUnderstood
        return self._meaning.get(column.name.lower()) if table in {"", self._alias} else None

    def _fill(self, root: exp.Expr, hidden: Collection[str] = ()) -> None:
        for node in list(here(root)):
            if isinstance(node, exp.Query):
                raise NotUnderstood  # it may mean columns of the subquery
            if not isinstance(node, exp.Column) or (not node.table and node.name.lower() in hidden):
                continue
            value = self._meaning_of(node)
            if value is not None:
                if node.parent is not None and isinstance(node.parent, exp.Group) and isinstance(value, exp.Literal):
                    raise NotUnderstood  # a number there is a place in the list
                node.replace(operand(value))
            elif node.table.lower() == self._alias and self._alone:
                node.set("table", None)


def _columns(tree: exp.Expr) -> list[exp.Column]:
    return list(tree.find_all(exp.Column))


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()
