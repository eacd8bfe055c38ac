"""Short forms of a select written out, so that the rules meet one form of each thing.

f() OVER w ... WINDOW w AS (spec)   =  f() OVER (spec)
identifier('a.b')                   =  a.b
decode(e, s, r, d)                  =  CASE WHEN e <=> s THEN r ELSE d END
"""

from __future__ import annotations

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from .sql import Dialect, NotUnderstood, is_volatile, nodes, operand


def write_out(tree: exp.Query) -> None:
    """Write out the named windows, the identifiers and the decode() of `tree`."""
    for node in nodes(tree):
        if isinstance(node, exp.DecodeCase):
            _decode(node)
        elif isinstance(node, exp.Anonymous) and node.name.lower() == "identifier":
            _identifier(node)
        elif isinstance(node, exp.Select) and node.args.get("windows"):
            _named_windows(node)


def _identifier(call: exp.Anonymous) -> None:
    name = call.expressions[0] if len(call.expressions) == 1 else None
    if not (isinstance(name, exp.Literal) and name.is_string):
        raise NotUnderstood("identifier() takes a name that is computed")
    table = call.parent if isinstance(call.parent, exp.Table) else None
    kind: type[exp.Expr] = exp.Table if table is not None else exp.Column
    try:
        meant = parse_one(name.name, dialect=Dialect, into=kind)
    except SqlglotError:
        raise NotUnderstood("identifier() takes a text that is not a name") from None
    if table is None:
        call.replace(meant)
    else:
        for key in ("this", "db", "catalog"):
            table.set(key, meant.args.get(key))


def _decode(call: exp.DecodeCase) -> None:
    value, *rest = call.expressions
    if is_volatile(value):
        return
    ifs = [
        exp.If(this=exp.NullSafeEQ(this=operand(value), expression=operand(wanted)), true=result.copy())
        for wanted, result in zip(rest[::2], rest[1::2], strict=False)
    ]
    call.replace(exp.Case(ifs=ifs, default=rest[-1].copy() if len(rest) % 2 else None))


def _named_windows(select: exp.Select) -> None:
    named = {window.name.lower(): window for window in select.args["windows"]}
    if any(window.args.get("alias") for window in named.values()):
        raise NotUnderstood("a named window extends another")
    for window in [node for node in nodes(select, exp.Window) if node.parent_select is select]:
        name = window.args.get("alias")
        if name is None or not window.args.get("over"):
            continue
        meant = named.get(name.name.lower())
        if meant is None or any(window.args.get(key) for key in ("partition_by", "order", "spec")):
            raise NotUnderstood("a window extends a named one")
        copy = meant.copy()
        for key in ("partition_by", "order", "spec"):
            window.set(key, copy.args.get(key))
        window.set("alias", None)
    select.set("windows", None)
