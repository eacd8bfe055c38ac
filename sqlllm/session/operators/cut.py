"""What a semantic operator is: a node of a select that is cut out, run on its input, and whose result is a view; pure.

An operator names the nodes of a select that it takes. For each it gives a Cut: the queries of its input, which Spark
runs, how it runs on their tables, and how the view with its result takes the node's place. The framework (`running`)
does the rest: scopes and CTEs, Spark, models, the meter, `explain llm`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sqlglot import exp

from sqlllm.planner import scopes
from sqlllm.planner.names import conjuncts
from sqlllm.planner.parts import aggregates, windows
from sqlllm.planner.sql import copied, has_calls, here, is_volatile, read

if TYPE_CHECKING:
    import pyarrow as pa

    from sqlllm.settings import LLMSettings

    from .tools import Tools

_STAYS = "llm_stays"  # mark of a node that runs as written


class Unfit(Exception):
    """The operator cannot take this node; the message is the reason, which goes on from "because"."""


@dataclass(frozen=True)
class Context:
    """What an operator may know before anything runs.

    `models` are the functions that ask a model, in lower case. `columns` gives the names of a query's columns; it
    raises Unfit where the query cannot stand alone.
    """

    settings: LLMSettings
    models: Collection[str] = ()
    columns: Callable[[str], list[str]] = lambda _: []


@dataclass(frozen=True)
class Way:
    """One way to run an operator, as `explain llm` shows it; the numbers are expected ones."""

    name: str
    model: str
    calls: int
    prompt_tokens: int = 0
    answer_tokens: int | None = None
    taken: bool = False
    note: str = ""


@dataclass
class Cut:
    """A node that an operator takes out of a select.

    `inputs`: the queries of its input by name; CTEs that they read are put in front. `run`: their tables to the result.
    `put`: change the tree so that the view of that name stands for the node. `ways`: how it could run on these tables,
    at least one of them taken; nothing may be asked. `result`: the columns of the result, for `explain llm`; None if
    `run` gives none, and `put` gets no name: then `unasked` stands in the place of the node in `explain llm`, if it is
    given. `samples`: of these inputs that number of rows at random, and in a random order.
    """

    node: exp.Expr
    inputs: Mapping[str, exp.Query]
    run: Callable[[Mapping[str, pa.Table], Tools], pa.Table | None]
    put: Callable[[str], None]
    ways: Callable[[Mapping[str, pa.Table], Tools], Sequence[Way]]
    result: pa.Schema | None = None
    unasked: exp.Expr | None = None
    samples: Mapping[str, int] = field(default_factory=dict)


class Operator(Protocol):
    """One semantic operator.

    `functions`: those whose calls it may take, in lower case. `stand_in`: for those with no value of one row, SQL of
    the same shape over `{0}`, their first argument: it serves to check that sqlglot reads the select as Spark does.
    """

    @property
    def functions(self) -> frozenset[str]: ...

    @property
    def stand_in(self) -> Mapping[str, str]: ...

    def nodes(self, select: exp.Select, context: Context) -> Sequence[exp.Expr]:
        """The nodes of `select`, not of queries inside it, that are this operator's."""

    def cut(self, node: exp.Expr, select: exp.Select, context: Context) -> Cut:
        """How to take one of them out. Raises Unfit: it runs as written if its function can, else that is the error."""


# --- Trees ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arguments:
    """Those of a call: by position, and by name in lower case."""

    by_place: tuple[exp.Expr, ...]
    by_name: Mapping[str, exp.Expr] = field(default_factory=dict)

    def get(self, name: str, place: int = -1) -> exp.Expr | None:
        """The argument of that name, else the one at `place`; None if it is not given."""
        at = self.by_place[place] if 0 <= place < len(self.by_place) else None
        return self.by_name.get(name.lower(), at)

    def constant(self, name: str, place: int = -1) -> str:
        """The text of a literal; empty if it is not given. Raises Unfit for another expression."""
        given = self.get(name, place)
        if given is None:
            return ""
        if isinstance(given, exp.Boolean):
            return str(given.this).lower()
        if not isinstance(given, exp.Literal):
            raise Unfit(f"{name} is not a literal")
        return str(given.this)


def parse(sql: str) -> exp.Query | None:
    """The select, with every CTE under a name of its own; None if sqlglot does not know its syntax."""
    tree = read(sql)
    if tree is None:
        return None
    numbers = iter(range(1_000_000))
    scopes.resolve(tree, lambda: f"llm_scope_{next(numbers)}")
    return tree


def arguments(call: exp.Expr) -> Arguments:
    """Those of an ai_* call."""
    by_name = {one.this.name.lower(): one.expression for one in call.expressions if isinstance(one, exp.Kwarg)}
    return Arguments(tuple(one for one in call.expressions if not isinstance(one, exp.Kwarg)), by_name)


def calls(part: exp.Expr, functions: Collection[str]) -> list[exp.Expr]:
    """The calls of these functions in `part`, not in queries inside it, outer ones first."""
    return [node for node in here(part) if isinstance(node, exp.Anonymous) and node.name.lower() in functions]


def own(select: exp.Select, functions: Collection[str]) -> list[exp.Expr]:
    """The same in every clause of `select`, its CTEs and the queries in it aside."""
    parts: Iterator[exp.Expr] = (child for child in select.iter_expressions() if not isinstance(child, exp.With))
    return [call for part in parts for call in calls(part, functions)]


def source(select: exp.Select, items: Sequence[exp.Expr], functions: Collection[str]) -> exp.Select:
    """`items` over the rows of `select` that its cheap conditions leave: those without a call of `functions`.

    A row of a WHERE is kept if all its conditions are true, whatever their order.
    """
    kept = ("with_", "from_", "joins", "laterals", "hint")
    below = exp.Select(**copied({key: select.args[key] for key in kept if select.args.get(key)}))
    below.set("expressions", [item.copy() for item in items])
    cheap = [part.this.copy() for part in conjuncts(select, "where") if not has_operators(part.this, functions)]
    return below.where(*cheap, copy=False) if cheap else below


def check_of_row(node: exp.Expr, content: exp.Expr, select: exp.Select, functions: Collection[str]) -> None:
    """Unfit unless `content`, of the call `node`, is of one row of what `select` reads, and no answer."""
    if any(True for part in (aggregates, windows) for _ in part(content)) or content.find(exp.Query):
        raise Unfit("its text is not of one row")
    if has_operators(content, functions):
        raise Unfit("its text is an answer")
    clause = node.find_ancestor(exp.Join, exp.Where, exp.Select)
    if isinstance(clause, exp.Join):
        raise Unfit("its rows are pairs")
    shaped = select.args.get("group") or any(True for item in select.expressions for _ in aggregates(item))
    if shaped and not isinstance(clause, exp.Where):
        raise Unfit("its rows are groups")


def looked_up(view: str, keys: Mapping[str, exp.Expr], value: str) -> exp.Expr:
    """The `value` of `view` in the row of these keys; NULL if there is none, as for a key that is NULL.

    Within, the columns of `view` bear its name: a key that reads a column of the same name would read the view's.
    """
    named = {name: f"{view}_{name}" for name in (*keys, value)}
    rows = exp.select(*(exp.alias_(exp.column(name, table=view), own) for name, own in named.items())).from_(view)
    conditions = [exp.EQ(this=exp.column(named[name]), expression=key.copy()) for name, key in keys.items()]
    item = exp.Max(this=exp.column(named[value]))
    return exp.Subquery(this=exp.select(item).from_(rows.subquery(f"{view}_rows")).where(*conditions, copy=False))


def has_operators(node: exp.Expr, functions: Collection[str]) -> bool:
    """Whether one of `functions`, models or ours, is called anywhere in `node`."""
    return any(one.name.lower() in functions for one in node.find_all(exp.Anonymous)) or has_calls(node, functions)


def alone(query: exp.Query, select: exp.Select) -> exp.Query:
    """`query`, which reads what `select` reads, with the CTEs that `select` sees in front. Raises Unfit."""
    outer = scopes.visible(select)
    if any(scopes.is_recursive(cte) for cte in outer) or any(
        isinstance(one, exp.CTE) and scopes.is_recursive(one) for one in _above(select)
    ):
        raise Unfit("it stands in a recursive query")
    if is_volatile(query) or any(is_volatile(cte) for cte in outer):
        raise Unfit("its input gives other rows each time it is read")
    if outer:
        mine = query.args.get("with_")
        ctes = [*(cte.copy() for cte in outer), *(mine.expressions if mine else ())]
        query = query.copy()
        query.set("with_", exp.With(expressions=ctes))
    return query


def _above(node: exp.Expr) -> Iterator[exp.Expr]:
    parent = node.parent
    while parent is not None:
        yield parent
        parent = parent.parent


def selects(tree: exp.Query) -> list[exp.Select]:
    """Every select in `tree`, inner ones first."""
    return list(reversed(list(tree.find_all(exp.Select, bfs=True))))


def stay(node: exp.Expr) -> None:
    """Leave `node` as it is written from here on."""
    node.meta[_STAYS] = True


def stays(node: exp.Expr) -> bool:
    """Whether `node` has been left."""
    return bool(node.meta.get(_STAYS))
