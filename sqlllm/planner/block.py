"""One select as layers: what is cheap at the bottom, the models on what is left.

    FROM, WHERE without models
    WHERE with models, one condition after the other
    calls that keys and aggregates need, GROUP BY, HAVING
    calls that windows need, windows, QUALIFY
    ORDER BY and LIMIT, where they need no model
    calls of the select list
    the select list, ORDER BY

A call is a layer of its own: equal requests meet in one task, one after the other (CLUSTER BY), and are made once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import takewhile

from sqlglot import exp

from .answers import Answers
from .layers import Layers
from .names import Below, Item, Names, Sources, conjuncts
from .parts import ORDERED, aggregates, atoms, is_known, windows, within
from .sql import PREFIX, NotUnderstood, calls, here, identifier, is_random, is_volatile, nodes, partition, write

_CLAUSES = {
    "with_", "hint", "expressions", "distinct", "from_", "joins", "laterals", "where", "group", "having", "qualify",
    "order", "limit", "offset",
}  # fmt: skip


_MOST_RANKED = 1_000
"""Rows of a LIMIT up to which Spark ranks rows without gathering all of them in one task."""


class Block:
    """A select on its way to layers. Raises NotUnderstood where the meaning may not stay, or nothing is won.

    `name` makes names for columns, `columns` gives those of a select's FROM. With `keeps_order` rows come out in the
    order in which they came in, as they do from a select without models. `calls_below`: the FROM calls models.
    """

    def __init__(
        self,
        select: exp.Select,
        models: Collection[str],
        name: Callable[[], str],
        columns: Below,
        sources: Sources,
        *,
        keeps_order: bool,
        calls_below: bool,
    ) -> None:
        args = self._args = select.args
        self._models = models
        if unknown := [key for key, value in args.items() if value and key not in _CLAUSES]:
            raise NotUnderstood(f"it has the clause {unknown[0].rstrip('_').upper()}, which the planner does not know")
        if not args.get("from_"):
            raise NotUnderstood("it reads no table")
        group, distinct = args.get("group"), args.get("distinct")
        keys = group.expressions if group else []
        if group and (
            any(value for key, value in group.args.items() if key not in {"expressions", "all"})
            or any(isinstance(key, exp.Cube | exp.Rollup | exp.GroupingSets) for key in keys)
        ):
            raise NotUnderstood("it groups by more than a list of expressions")
        self._alone = not args.get("joins") and not args.get("laterals")
        self._sources = {
            source.alias_or_name.lower()
            for source in (
                args["from_"].this,
                *(join.this for join in args.get("joins") or ()),
                *(args.get("laterals") or ()),
            )
        }
        self._names = Names(select, columns, sources, name)
        self._names.keys = [key for key in self._names.keys if not self._follows(key)]
        self._distinct = bool(distinct)
        found = [node for root in self._above() for node in aggregates(root)]
        self._groups = bool(group or self._names.having or found)
        self._limit = {key: args[key] for key in ("limit", "offset") if args.get(key)}
        where = conjuncts(select, "where")
        self._costly = [condition for condition in where if self._calls(condition)]
        self._check()
        self._layers = self._bottom([condition.this for condition in where if not self._calls(condition)], name)
        self._layers.compute_named(self._names.once)
        keeps_order = keeps_order and not (self._names.order or self._groups or self._distinct)
        self._answers = Answers(self._layers, models, keeps_order=keeps_order)
        self._answers.fresh = calls_below

    def run(self) -> exp.Select:
        """The select as layers."""
        names = self._names
        for condition in self._costly:
            self._filter(condition)
        if self._groups:
            self._aggregate()
        for condition in sorted(names.having, key=self._calls_number):
            self._filter(condition)
        if found := [node for root in self._above() for node in windows(root)]:
            self._answers.fill(found)
            self._layers.compute([node for root in self._above() for node in windows(root)])
        for condition in sorted(names.qualify, key=self._calls_number):
            self._filter(condition)
        if self._limit and self._limit_first() and any(self._calls(item.holder) for item in names.items):
            self._compute_keys()
            self._sort(self._layers.uncut())
        self._keep_first()
        self._answers.fill([*(item.holder for item in names.items), *(key.this for key in names.order)])
        return self._top()

    # What there is.

    def _above(self) -> list[exp.Expr]:
        """Every expression above WHERE."""
        names = self._names
        items, order = [item.holder for item in names.items], [key.this for key in names.order]
        return [*names.keys, *items, *names.having, *names.qualify, *order]

    def _calls(self, node: exp.Expr) -> list[exp.Expr]:
        return calls(node, self._models)

    def _follows(self, key: exp.Paren) -> bool:
        """Whether `key` calls a model about other keys alone: it makes no more groups, and is computed above them."""
        plain = {write(other.this) for other in self._names.keys if isinstance(other.this, exp.Column)}
        columns = {write(column) for column in nodes(key, exp.Column)}
        return bool(self._calls(key) and columns and columns <= plain) and not (is_volatile(key) or key.find(exp.Query))

    def _calls_number(self, node: exp.Expr) -> int:
        return len(self._calls(node))

    def _check(self) -> None:
        names, args = self._names, self._args
        above = self._above()
        for item in names.items:
            star = item.value.this if isinstance(item.value, exp.Column) else item.value
            if isinstance(star, exp.Star) and (star.args.get("replace") or star.args.get("rename")):
                raise NotUnderstood("a star replaces or renames columns")
        sources = [args["from_"], *args.get("joins", ()), *args.get("laterals", ())]
        if any(self._calls(source) for source in sources):
            raise NotUnderstood("a model is called in its FROM, in the condition of a join or in a LATERAL VIEW")
        if any(is_random(root) for root in (*self._costly, *above) if self._calls(root)):
            raise NotUnderstood("a function that gives another value each time stands beside a call")
        if any(map(is_volatile, names.keys)) or (names.once and (self._groups or self._costly)):
            raise NotUnderstood("a function that may give another value each time stands in GROUP BY or beside a call")
        if self._groups and not all(is_known(root, self._models) for root in above):
            raise NotUnderstood("it groups, and a function that the planner does not know may be an aggregate")
        if self._distinct and args.get("order") and self._calls(args["order"]):
            raise NotUnderstood("a SELECT DISTINCT is sorted by an answer that it does not show")
        # Spark ends such a query as soon as it has the rows; a call that waits for all of them would be worse.
        ends_early = self._limit and not (names.order or self._groups or self._distinct)
        if ends_early and (self._costly or not self._limit_first()):
            raise NotUnderstood("a LIMIT without ORDER BY stops as soon as it is full")

    def _limit_first(self) -> bool:
        """Whether ORDER BY and LIMIT can come before the calls of the select list."""
        return not self._distinct and not any(self._calls(key) for key in self._names.order) and self._list_is_plain()

    def _list_is_plain(self) -> bool:
        """Whether the select list makes one row of each."""
        return all(is_known(item.holder, self._models) and not item.value.find(exp.UDTF) for item in self._names.items)

    # The layers.

    def _bottom(self, cheap: list[exp.Expr], name: Callable[[], str]) -> Layers:
        """FROM and WHERE."""
        args = self._args
        bottom = exp.Select(**{key: args.get(key) for key in ("hint", "from_", "joins", "laterals")}).copy()
        if cheap:
            bottom.set("where", exp.Where(this=exp.and_(*cheap)))
        if self._alone:
            bottom.select("*", copy=False)
            return Layers(bottom, args["from_"].this.alias_or_name, name, open_=True)
        # Outside this subquery the names of its tables mean nothing, so its columns get names of ours.
        layers = Layers(bottom, "", name, open_=False)
        stars = [item.value for item in self._names.items if self._is_star(item)]
        columns: dict[str, exp.Expr] = {}
        once = [exp.Paren(this=value) for value in self._names.once.values()]
        for node in [node for root in (*self._costly, *self._above(), *once) for node in atoms(root)]:
            if node.is_star:
                if isinstance(node, exp.Column) and not any(node is star for star in stars):
                    self._keep_struct(node, columns, layers)
                continue
            if node.name in self._names.once:
                continue
            text = ".".join(part.name for part in node.parts) if isinstance(node, exp.Column) else write(node)
            if text not in columns:
                columns[text] = exp.alias_(node, layers.name())
            node.replace(exp.column(columns[text].alias))
        shown = [*(star.copy() for star in stars), *columns.values()]
        self._names.once = dict(zip(self._names.once, (held.this for held in once), strict=True))
        bottom.set("expressions", shown or [exp.alias_(exp.Literal.number(1), layers.name())])
        return layers

    @staticmethod
    def _keep_struct(star: exp.Column, columns: dict[str, exp.Expr], layers: Layers) -> None:
        """A column for the struct whose fields `star` shows."""
        struct = exp.Column(this=star.args["table"].copy(), table=star.args.get("db"), db=star.args.get("catalog"))
        text = write(struct)
        if text not in columns:
            columns[text] = exp.alias_(struct, layers.name())
        star.set("db", None)
        star.set("catalog", None)
        star.set("table", exp.to_identifier(columns[text].alias))

    def _filter(self, condition: exp.Paren) -> None:
        kept = [condition.this]
        if self._calls(condition):
            self._answers.fill([condition])
            # Else Spark copies the call into the filter, and makes it again for the rows that pass.
            (pin,) = self._layers.add(partition())
            kept = [exp.GTE(this=pin, expression=exp.Literal.number(0)), condition.this]
        self._layers.keep(*kept)

    def _aggregate(self) -> None:
        """GROUP BY; above it stand the columns of its keys and aggregates."""
        keys, layers = self._names.keys, self._layers
        above = [root for root in self._above() if not any(root is key for key in keys)]
        found = [node for root in above for node in aggregates(root)]
        if any(map(self._calls, [*keys, *found])) and any(node.find(*ORDERED) for node in found):
            raise NotUnderstood("an aggregate depends on the order of the rows")
        columns = {write(key.this): (key, layers.name()) for key in keys}
        for root in above:
            for node in list(here(root)):
                if node is root or isinstance(node, exp.Identifier):  # a field's name, or a lambda's argument
                    continue
                if write(node) in columns and not within(node, found):
                    node.replace(exp.column(columns[write(node)][1]))
        self._answers.fill([*keys, *found])
        shown = [exp.alias_(key.this.copy(), name) for key, name in columns.values()]
        results: dict[str, str] = {}
        for node in found:
            text = write(node)
            if text not in results:
                results[text] = layers.name()
                shown.append(exp.alias_(node.copy(), results[text]))
            node.replace(exp.column(results[text]))
        made = {column.alias for column in shown}
        if not made or any(column.name not in made for root in above for column in nodes(root, exp.Column)):
            raise NotUnderstood("a column stands above GROUP BY that is not a key of it")
        grouped = layers.opened()
        grouped.set("expressions", shown)
        if keys:
            grouped.set("group", exp.Group(expressions=[key.this.copy() for key, _ in columns.values()]))
        self._answers.forget()

    def _keep_first(self) -> None:
        """ORDER BY begins with keys that need no model: whoever is behind the LIMIT by these alone is never shown.

        ORDER BY a, b LIMIT k  =  WHERE rank() OVER (ORDER BY a) <= k, then ORDER BY a, b LIMIT k
        """
        order = self._names.order
        cheap = list(takewhile(lambda key: not self._calls(key) and not is_volatile(key), order))
        rows = [value.expression for value in self._limit.values()]
        if not (self._limit.get("limit") and cheap) or len(cheap) == len(order) or self._distinct:
            return
        if not all(isinstance(value, exp.Literal) and value.is_int for value in rows):
            return
        most = sum(int(value.this) for value in rows)
        if most > _MOST_RANKED or not self._list_is_plain():
            return
        self._compute_keys(cheap)
        keys = [key.copy() for key in cheap]
        for key in keys:
            key.set("this", key.this.this)
        (rank,) = self._layers.add(exp.Window(this=exp.Rank(), order=exp.Order(expressions=keys), over="OVER"))
        self._layers.keep(exp.LTE(this=rank, expression=exp.Literal.number(most)))

    def _compute_keys(self, order: list[exp.Ordered] | None = None) -> None:
        """Columns for what ORDER BY sorts by, which no alias of the select list hides."""
        keys = [key.this.this for key in order or self._names.order]
        if computed := [key for key in keys if not (isinstance(key, exp.Column) and key.name.startswith(PREFIX))]:
            self._layers.compute(computed)

    def _sort(self, select: exp.Select) -> None:
        """ORDER BY, and LIMIT if it is still to come."""
        keys: list[exp.Expr] = [key.copy() for key in self._names.order]
        for key in keys:
            key.set("this", key.this.this)
        if keys or self._answers.row:
            select.set("order", exp.Order(expressions=keys or [self._answers.row]))
        while self._limit:
            select.set(*self._limit.popitem())

    def _top(self) -> exp.Select:
        args, layers = self._args, self._layers
        if self._distinct:
            top = layers.wrap()
            for key in ("distinct", "order", "limit", "offset"):  # sorted by the select list, whose names stay
                top.set(key, args.get(key))
        else:
            if self._names.order:
                self._compute_keys()
            by = [key.this.this.copy() for key in self._names.order]
            if self._answers.row and not by:
                by = [self._answers.row.copy()]
            if by and self._answers.fresh and not self._limit:
                # A global sort reads its input twice, to find its ranges first: this keeps the answers.
                layers.uncut().set("distribute", exp.Distribute(expressions=by))
            top = layers.wrap()
            self._sort(top)
        top.set("expressions", list(self._items()))
        top.set("with_", args.get("with_"))
        return top

    def _items(self) -> Iterator[exp.Expr]:
        """The select list of the top. Below it a star shows the layers' own columns, too."""
        hidden = [exp.to_identifier(name) for name in self._layers.own]
        stars = [index for index, item in enumerate(self._names.items) if self._is_star(item)]
        if not self._alone and stars and stars[-1] - stars[0] >= len(stars):
            raise NotUnderstood("other columns stand between its stars")
        for index, item in enumerate(self._names.items):
            if not self._is_star(item):
                yield _named(item)
            elif self._alone:
                star = item.value.this if isinstance(item.value, exp.Column) else item.value
                dropped = [*(star.args.get("except_") or ()), *hidden]
                yield exp.Star(except_=[name.copy() for name in dropped]) if dropped else exp.Star()
            elif index == stars[0]:
                yield exp.Star(except_=hidden) if hidden else exp.Star()

    def _is_star(self, item: Item) -> bool:
        """Whether `item` shows columns of the FROM; `s.*` of a struct `s` is a column's fields."""
        value = item.value
        return item.is_star and (not isinstance(value, exp.Column) or value.table.lower() in self._sources)


def _named(item: Item) -> exp.Expr:
    if not item.name or (isinstance(item.value, exp.Column) and item.value.name == item.name):
        return item.value.copy()
    return exp.alias_(item.value, identifier(item.name))
