"""Which rows need a call: CASE, IF, COALESCE, NULLIF, AND and OR evaluate what is behind them only for some."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from .sql import NotUnderstood, is_volatile, nodes, operand, size

_MOST = 500
"""Nodes of a request with its conditions, which stand there once more for each call that they guard."""


def request(call: exp.Expr, root: exp.Expr) -> tuple[exp.Expr, bool]:
    """The argument of `call` where `root` needs it and NULL elsewhere, and whether it is needed everywhere."""
    asked, node, guarded = call.expressions[0].copy(), call, False
    while node is not root:
        parent = node.parent
        if parent is None or isinstance(parent, exp.Lambda):
            raise NotUnderstood("a model is called in a lambda")
        guard = next((guard for kind, guard in _GUARDS.items() if isinstance(parent, kind)), None)
        if guard is not None:
            guarded_request = guard(parent, node, asked)
            if guarded_request is not None:
                asked, guarded = guarded_request, True
                if size(asked) > _MOST:
                    raise NotUnderstood("what decides whether a model is called is too long")
        node = parent
    if guarded and _volatile(asked) > _volatile(call.expressions[0]):
        raise NotUnderstood("a function that may give another value each time decides whether a model is called")
    return asked, not guarded


def _volatile(node: exp.Expr) -> int:
    return sum(is_volatile(found) for found in nodes(node, exp.Func) if not isinstance(found, exp.Case | exp.If))


def branch(call: exp.Expr, root: exp.Expr) -> tuple[exp.Expr, int] | None:
    """The innermost CASE or IF in `root` with `call` in the value of a branch, and which branch."""
    node = call
    while node is not root:
        parent = node.parent
        if parent is None:
            raise NotUnderstood("a model is called in a lambda")
        if isinstance(parent, exp.Case) and node.arg_key == "default":
            return parent, len(parent.args["ifs"])
        if isinstance(parent, exp.If) and isinstance(parent.parent, exp.Case) and node.arg_key == "true":
            return parent.parent, parent.index or 0
        if isinstance(parent, exp.If) and not isinstance(parent.parent, exp.Case) and node.arg_key in {"true", "false"}:
            return parent, int(node.arg_key == "false")
        node = parent
    return None


def when(condition: exp.Expr, asked: exp.Expr) -> exp.Case:
    """`asked` where `condition` is true."""
    return exp.Case(ifs=[exp.If(this=condition.copy(), true=asked)])


def unless(condition: exp.Expr, asked: exp.Expr) -> exp.Case:
    """`asked` where `condition` is false or NULL."""
    return exp.Case(ifs=[exp.If(this=condition.copy(), true=exp.null())], default=asked)


def first(*values: exp.Expr) -> exp.Expr:
    """The first of `values` that is not NULL."""
    return exp.Coalesce(this=values[0], expressions=list(values[1:])) if len(values) > 1 else values[0]


def is_null(value: exp.Expr) -> exp.Expr:
    return exp.Is(this=operand(value), expression=exp.null())


# What follows gives `asked`, which `child` of `parent` needs, where `parent` evaluates `child`; None for everywhere.


def _branch(parent: exp.Expr, child: exp.Expr, asked: exp.Expr) -> exp.Expr | None:
    if isinstance(parent.parent, exp.Case):
        case, wanted = parent.parent, child.arg_key
        before = [branch.this for branch in case.args["ifs"][: parent.index]]
        if wanted == "true":
            return _case(case, before, (parent.this, asked))
        return _case(case, before, None, asked) if before else None
    if child.arg_key == "this":
        return None
    return when(parent.this, asked) if child.arg_key == "true" else unless(parent.this, asked)


def _default(parent: exp.Expr, child: exp.Expr, asked: exp.Expr) -> exp.Expr | None:
    if child.arg_key != "default":
        return None
    return _case(parent, [branch.this for branch in parent.args["ifs"]], None, asked)


def _case(
    case: exp.Expr,
    before: list[exp.Expr],
    branch: tuple[exp.Expr, exp.Expr] | None,
    default: exp.Expr | None = None,
) -> exp.Case:
    """`case` with NULL for the branches `before`, then `branch` or `default`."""
    ifs = [exp.If(this=condition.copy(), true=exp.null()) for condition in before]
    if branch is not None:
        ifs.append(exp.If(this=branch[0].copy(), true=branch[1]))
    operand = case.args.get("this")
    return exp.Case(this=operand and operand.copy(), ifs=ifs, default=default)


def _coalesce(parent: exp.Expr, child: exp.Expr, asked: exp.Expr) -> exp.Expr | None:
    if child.arg_key == "this":
        return None
    before = [parent.this, *parent.expressions[: child.index]]
    return when(is_null(first(*(value.copy() for value in before))), asked)


def _nvl2(parent: exp.Expr, child: exp.Expr, asked: exp.Expr) -> exp.Expr | None:
    if child.arg_key == "this":
        return None
    missing = is_null(parent.this)
    return unless(missing, asked) if child.arg_key == "true" else when(missing, asked)


def _nullif(parent: exp.Expr, child: exp.Expr, asked: exp.Expr) -> exp.Expr | None:
    return None if child.arg_key == "this" else unless(is_null(parent.this), asked)


def _and(parent: exp.Expr, child: exp.Expr, asked: exp.Expr) -> exp.Expr | None:
    return None if child.arg_key == "this" else unless(exp.not_(parent.this), asked)


def _or(parent: exp.Expr, child: exp.Expr, asked: exp.Expr) -> exp.Expr | None:
    return None if child.arg_key == "this" else unless(parent.this, asked)


def _filter(parent: exp.Expr, child: exp.Expr, asked: exp.Expr) -> exp.Expr | None:
    return when(parent.expression.this, asked) if child.arg_key == "this" else None


_GUARDS: dict[type[exp.Expr], Callable[[exp.Expr, exp.Expr, exp.Expr], exp.Expr | None]] = {
    exp.If: _branch,
    exp.Case: _default,
    exp.Coalesce: _coalesce,
    exp.Nvl2: _nvl2,
    exp.Nullif: _nullif,
    exp.And: _and,
    exp.Or: _or,
    exp.Filter: _filter,
}
