"""What a select would ask of models, as queries that call none.

An answer is not known yet, so a made one stands in its place: the length of `made`, and another for each request. A
condition on an answer counts as true: what is found is the most that can be asked.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlglot import exp

from .parts import aggregates, windows
from .sql import PREFIX, NotUnderstood, calls, is_call, nodes, read, size, write

REQUEST = "request"
"""The column of requests, an array of texts."""

_FILTERS = ("where", "having", "qualify")
_SHAPES_ROWS = ("group", "having", "qualify", "distinct")


_MOST = 50_000  # calls times nodes: each call is looked at in a copy of its statement


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of a select: `model` in lower case, the expression that makes the `request`, a query that gives it.

    `at_most`: what is asked depends on answers.
    """

    model: str
    request: str
    query: str
    at_most: bool


def asked(sql: str, models: Collection[str], made: str = "") -> list[Asked]:
    """The calls in `sql`, those that others need first. Raises NotUnderstood if one cannot be looked at alone."""
    tree = read(sql)
    if tree is None:
        raise NotUnderstood
    number = len(_calls(tree, models))
    if number * size(tree) > _MOST:
        raise NotUnderstood("it is too long")
    tainted = _tainted(tree, models)
    return [_asked(tree, index, models, tainted, made) for index in reversed(range(number))]


def _calls(tree: exp.Expr, models: Collection[str]) -> list[exp.Expr]:
    """Every call in `tree`, outer ones first."""
    return [node for node in nodes(tree, exp.Anonymous) if is_call(node, models)]


def _asked(tree: exp.Expr, index: int, models: Collection[str], tainted: set[str], made: str) -> Asked:
    copied = tree.copy()
    call = _calls(copied, models)[index]
    select, request = call.find_ancestor(exp.Select), call.expressions[0]
    if select is None:
        raise NotUnderstood
    if any(select.args.get(key) for key in _SHAPES_ROWS) or any(
        True for item in select.expressions for part in (aggregates, windows) for _ in part(item)
    ):
        raise NotUnderstood
    fills_limit = bool(select.args.get("limit")) and call.find_ancestor(exp.Where, exp.Order, exp.Select) is not select
    unused = ["cluster", "distribute", "sort"]
    if fills_limit or not select.args.get("limit"):  # nobody knows how many rows it takes until enough pass
        unused += ["order", "limit", "offset"]
    select.set("expressions", [exp.alias_(request.copy(), REQUEST)])
    for key in unused:
        select.set(key, None)
    ctes = [cte for with_ in nodes(copied, exp.With) if with_.parent is not select for cte in with_.expressions]
    own = select.args.get("with_")
    outer = [cte.copy() for cte in ctes if cte.find_ancestor(exp.CTE) is None and not _holds(cte, select)]
    select = select.copy()
    if outer:
        select.set("with_", exp.With(expressions=[*outer, *(own.copy().expressions if own else ())]))
    at_most = _open(select, models, tainted) or fills_limit
    root = exp.Paren(this=select)
    for node in reversed(_calls(root, models)):
        node.replace(_made(node.expressions[0], made))
    shown = _as_written(request, tree)
    return Asked(call.name.lower(), write(shown), write(root.this), at_most or bool(calls(shown, models)))


def _as_written(request: exp.Expr, tree: exp.Expr) -> exp.Expr:
    """`request` without the planner's names for columns."""
    ours = {one.alias: one.this for one in nodes(tree, exp.Alias) if one.alias.startswith(PREFIX)}
    root = exp.Paren(this=request.copy())
    while columns := [column for column in nodes(root, exp.Column) if column.name in ours]:
        for column in columns:
            column.replace(ours[column.name].copy())
    found: exp.Expr = root.this
    return found


def _holds(cte: exp.Expr, select: exp.Expr) -> bool:
    return any(node is select for node in nodes(cte, exp.Select))


def _tainted(tree: exp.Expr, models: Collection[str]) -> set[str]:
    """The names of columns that hold answers, or something made of them."""
    names: set[str] = set()
    while True:
        more = {
            alias.alias.lower()
            for alias in nodes(tree, exp.Alias)
            if alias.alias.lower() not in names and _is_tainted(alias.this, models, names)
        }
        if not more:
            return names
        names |= more


def _is_tainted(node: exp.Expr, models: Collection[str], names: Collection[str]) -> bool:
    return bool(calls(node, models)) or any(column.name.lower() in names for column in nodes(node, exp.Column))


def _open(select: exp.Select, models: Collection[str], tainted: set[str]) -> bool:
    """Drop every condition on an answer; whether there was one."""
    found = False
    for query in nodes(select, exp.Select):
        for key in _FILTERS:
            clause = query.args.get(key)
            if clause is None:
                continue
            parts = list(clause.this.flatten()) if isinstance(clause.this, exp.And) else [clause.this]
            kept = [part for part in parts if not _is_tainted(part, models, tainted)]
            if len(kept) < len(parts):
                found = True
                query.set(key, type(clause)(this=exp.and_(*kept, copy=True)) if kept else None)
    for branch in nodes(select, exp.If):
        condition = branch.this
        if _is_tainted(condition, models, tainted) and not condition.find(exp.Is):
            condition.replace(exp.true())
            found = True
    return found


def _made(request: exp.Expr, made: str) -> exp.Expr:
    """An answer to `request` that holds its conversation, as a model's would; NULL for NULL."""
    tree = read(
        "select transform(x, r -> to_json(named_struct('output', y || md5(r), 'history', array("
        "named_struct('role', 'user', 'content', coalesce(get_json_object(r, '$.instruction'), '')),"
        "named_struct('role', 'assistant', 'content', y || md5(r))))))"
    )
    assert isinstance(tree, exp.Select)
    answer: exp.Expr = tree.expressions[0]
    for column in nodes(answer, exp.Column):
        if column.name == "x":
            column.replace(request.copy())
        elif column.name == "y":
            column.replace(exp.Literal.string(made))
    return answer
