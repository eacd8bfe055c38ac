"""The columns of what a select reads, as Spark knows them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from sqlglot import exp

from .scopes import is_recursive, visible
from .sql import NotUnderstood, copied, write

Ask = Callable[[str], Collection[str]]
"""The names of the columns of a query, in their order."""


class Columns:
    """Asks once for each FROM. Raises NotUnderstood where nobody can be asked."""

    def __init__(self, ask: Ask | None) -> None:
        self._ask = ask
        self._known: dict[str, tuple[str, ...]] = {}

    def below(self, select: exp.Select) -> tuple[str, ...]:
        """The columns of the FROM of `select`, which stands in its statement, in lower case and in order."""
        below = copied({key: select.args.get(key) for key in ("from_", "joins", "laterals")})
        found = self._of(exp.Select(expressions=[exp.Star()], **below), select.args["from_"])
        return tuple(name.lower() for name in found)

    def source(self, source: exp.Expr) -> tuple[str, ...]:
        """The columns of one table or subquery of a FROM, in lower case."""
        return tuple(name.lower() for name in self.exact(source))

    def exact(self, source: exp.Expr) -> tuple[str, ...]:
        """The columns of one table or subquery of a FROM, as they are written there."""
        return self._of(exp.Select(expressions=[exp.Star()], from_=exp.From(this=source.copy())), source)

    def sources(self, select: exp.Select) -> dict[str, Callable[[], Collection[str]]]:
        """For each source in the FROM of `select`, by its alias in lower case, a function that gives its columns."""
        from_ = select.args.get("from_")
        sources = [from_.this] if from_ else []
        sources += [join.this for join in select.args.get("joins") or ()]
        return {source.alias_or_name.lower(): partial(self.source, source) for source in sources}

    def _of(self, probe: exp.Select, place: exp.Expr) -> tuple[str, ...]:
        if self._ask is None:
            raise NotUnderstood("the columns of its tables are not known")
        if ctes := visible(place):
            recursive = any(map(is_recursive, ctes))
            probe.set("with_", exp.With(expressions=[cte.copy() for cte in ctes], recursive=recursive))
        text = write(probe)
        if text not in self._known:
            self._known[text] = tuple(self._ask(text))
        return self._known[text]
