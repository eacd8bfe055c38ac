"""The select whose LIMIT the answers of a model fill, in parts; pure.

    select ITEMS from ... where CHEAP and COSTLY [order by ...] limit N

is the first N rows of `select ITEMS from ... where CHEAP [order by ...]` of which COSTLY is true: Spark keeps the rows
of a WHERE in which every condition is true, whatever their order, and a LIMIT takes the first rows of its input.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlglot import exp

from sqlllm.planner.names import conjuncts
from sqlllm.planner.parts import aggregates, windows
from sqlllm.planner.sql import has_calls, is_volatile, read, write

_CLAUSES = {"expressions", "from_", "joins", "laterals", "where", "order", "limit", "offset", "with_", "hint"}
_COLUMN = "llm_c"
"""How the names of ours begin, for columns that conditions and calls read."""


class Unfit(Exception):
    """The select has another form."""


@dataclass(frozen=True)
class Form:
    """The parts of a select; `offset` and `limit` count rows.

    `below` gives, for each row in order, the columns of some items and then those that `condition` and the other items
    read, by the names in `reads`. In `items` those are None whose columns `below` has.
    """

    below: str
    reads: tuple[str, ...]
    condition: str
    items: tuple[str | None, ...]
    stars: tuple[bool, ...]
    limit: int
    offset: int


def form(sql: str, models: Collection[str], volatile: Collection[str] = ()) -> Form:
    """The parts of `sql`; `volatile` names functions of the user that give another value each time. Raises Unfit."""
    tree = read(sql)
    if not isinstance(tree, exp.Select) or any(value and key not in _CLAUSES for key, value in tree.args.items()):
        raise Unfit
    limit, offset = (_number(tree.args.get(key)) for key in ("limit", "offset"))
    where = [condition.this for condition in conjuncts(tree, "where")]
    costly = [condition for condition in where if has_calls(condition, models)]
    called = [has_calls(item, models) for item in tree.expressions]
    late = [calls or _waits(item, tree, volatile) for item, calls in zip(tree.expressions, called, strict=True)]
    stars = [item.is_star for item in tree.expressions]
    if sum(stars) > 1:  # nobody knows which columns are of which
        late = called
    ours = [*costly, *(item for item, waits in zip(tree.expressions, late, strict=True) if waits)]
    if not limit or not costly or not tree.args.get("from_") or any(item.find(exp.Query) for item in ours):
        raise Unfit
    if any(_is_unstable(part, volatile) for part in ours) or _shapes([*tree.expressions, *costly]):
        raise Unfit
    _check_order(tree, called, models)
    names: dict[str, str] = {}
    condition = _renamed(exp.and_(*costly), names)
    items = [_renamed(item, names) if waits else None for item, waits in zip(tree.expressions, late, strict=True)]
    if any(late) and sum(stars) > 1:
        raise Unfit
    below = tree.copy()
    plain = [item.copy() for item, waits in zip(tree.expressions, late, strict=True) if not waits]
    for key in ("limit", "offset", "where"):
        below.set(key, None)
    reads = [f"{text} AS {_COLUMN}{number}" for number, text in enumerate(names)]
    below = below.select(*plain, *reads, append=False, dialect="spark")
    cheap = [part.copy() for part in where if not has_calls(part, models)]
    below = below.where(*cheap) if cheap else below
    if has_calls(below, models):
        raise Unfit
    return Form(write(below), tuple(names.values()), condition, tuple(items), tuple(stars), limit, offset)


def _number(clause: exp.Expr | None) -> int:
    if clause is None:
        return 0
    if not isinstance(clause.expression, exp.Literal) or not clause.expression.is_int:
        raise Unfit
    return int(clause.expression.name)


def _waits(item: exp.Expr, tree: exp.Select, volatile: Collection[str]) -> bool:
    """Whether an item is computed for the rows that pass alone: for the others it may cost, or fail."""
    order = tree.args.get("order")
    sorted_by = {column.name.lower() for column in order.find_all(exp.Column)} if order else set()
    stays = item.is_star or isinstance(item.unalias(), exp.Column | exp.Literal)
    return not (stays or _is_unstable(item, volatile) or item.find(exp.Query) or item.alias.lower() in sorted_by)


def _shapes(items: list[exp.Expr]) -> bool:
    """Whether an item is not of one row alone."""
    return any(True for item in items for part in (aggregates, windows) for _ in part(item))


def _is_unstable(part: exp.Expr, volatile: Collection[str]) -> bool:
    return is_volatile(part) or any(node.name.lower() in volatile for node in part.find_all(exp.Anonymous))


def _check_order(tree: exp.Select, called: list[bool], models: Collection[str]) -> None:
    """Unfit if the order depends on a model, or counts items."""
    order = tree.args.get("order")
    if order is None:
        return
    answers = {item.alias.lower() for item, calls in zip(tree.expressions, called, strict=True) if calls}
    if has_calls(order, models) or any(column.name.lower() in answers for column in order.find_all(exp.Column)):
        raise Unfit
    keys = [key.this if isinstance(key, exp.Ordered) else key for key in order.expressions]
    # A number counts the items, and ALL names them: those of ours would count, too.
    if any(isinstance(key, exp.Literal) or key.name.lower() == "all" for key in keys):
        raise Unfit


def _renamed(part: exp.Expr, names: dict[str, str]) -> str:
    """`part` over columns of one table, whose names `names` gets by what they stand for."""
    root = exp.Paren(this=part.copy())
    for column in list(_columns(root)):
        text, taken = write(column), {name.lower() for name in names.values()}
        name = names.setdefault(text, f"{_COLUMN}{len(names)}" if column.name.lower() in taken else column.name)
        if name != column.name and isinstance(column.parent, exp.Struct | exp.ArraysZip):
            raise Unfit  # it names its fields by its columns
        column.replace(exp.column(exp.to_identifier(name, quoted=True)))
    return write(root.this)


def _columns(root: exp.Expr) -> Iterator[exp.Column]:
    for column in root.find_all(exp.Column):
        if column.is_star:
            raise Unfit
        yield column
