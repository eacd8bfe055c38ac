"""Stars inside expressions, and other expressions whose fields are named by columns, written out.

Layers add columns of their own and rename those of a join, so what takes its fields from columns gets their names
first:

    struct(*)      =  struct(a AS a, b AS b)        a, b: the columns of the FROM
    concat_ws(*)   =  concat_ws(a, b)
    (a, b + 1)     =  struct(a AS a, b + 1 AS col2)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlglot import exp

from .columns import Columns
from .sql import NotUnderstood, here, identifier, write


def expand(select: exp.Select, columns: Columns) -> None:
    """Write out the stars inside the expressions of `select`; raises NotUnderstood where their columns are unknown."""
    for part in [part for part in select.iter_expressions() if part.arg_key not in {"from_", "with_"}]:
        for node in [node for node in here(part) if isinstance(node, exp.Tuple)]:
            if _is_row(node):
                node.replace(_struct(node))
    shown = {id(item) for item in select.expressions}
    parts = [part for part in select.iter_expressions() if part.arg_key != "with_"]
    for star in [node for part in parts for node in here(part) if node.is_star and id(node) not in shown]:
        parent = star.parent
        if isinstance(star, exp.Column | exp.Star) and not isinstance(parent, exp.Column):
            if isinstance(star, exp.Star) and isinstance(parent, exp.Count):
                continue
            found = _meant(star, select, columns)
            if found is not None and parent is not None:
                _put(star, found, parent)


def is_inside(node: exp.Expr) -> bool:
    """Whether `node` is a star inside an expression, or a row: what `expand` may have to write out."""
    around = node.parent.parent if isinstance(node.parent, exp.Column) else node.parent
    return isinstance(node, exp.Tuple) or (isinstance(node, exp.Star) and not isinstance(around, exp.Select))


def named_by_columns(found: Iterable[exp.Expr]) -> set[tuple[str, ...]]:
    """The arguments of each call among the nodes `found` that names fields by them."""
    return {tuple(write(one) for one in node.iter_expressions()) for node in found if isinstance(node, exp.ArraysZip)}


def _is_row(node: exp.Tuple) -> bool:
    """Whether `node` is a value: a struct of its parts."""
    return bool(node.expressions) and isinstance(node.parent, exp.Alias | exp.Func | exp.PropertyEQ | exp.Select)


def _struct(node: exp.Tuple) -> exp.Struct:
    fields = []
    for number, value in enumerate(node.expressions, 1):
        if isinstance(value, exp.Alias) or value.is_star:
            fields.append(value.copy())
        else:
            name = value.name if isinstance(value, exp.Column | exp.Dot) else f"col{number}"
            fields.append(exp.alias_(value.copy(), identifier(name)))
    return exp.Struct(expressions=fields)


def _meant(star: exp.Expr, select: exp.Select, columns: Columns) -> list[exp.Column] | None:
    """The columns that `star` stands for; None if they are the fields of a struct."""
    from_, joins = select.args.get("from_"), select.args.get("joins") or []
    if from_ is None:
        raise NotUnderstood("a star stands inside an expression, and it reads no table")
    sources = [from_.this, *(join.this for join in joins if not _only_tests(join))]
    if isinstance(star, exp.Column):
        meant = [source for source in sources if source.alias_or_name.lower() == star.table.lower()]
        if not meant:
            laterals = [lateral.alias_or_name.lower() for lateral in select.args.get("laterals") or ()]
            if star.table.lower() in laterals:
                raise NotUnderstood("a star of a LATERAL VIEW stands inside an expression")
            return None
        sources = meant
    elif select.args.get("laterals") or any(join.args.get("using") or join.args.get("method") for join in joins):
        raise NotUnderstood("a star inside an expression stands for the columns of USING, NATURAL or a LATERAL VIEW")
    plain = star.this if isinstance(star, exp.Column) else star
    if plain.args.get("replace") or plain.args.get("rename"):
        raise NotUnderstood("a star replaces or renames columns")
    hidden = {column.name.lower() for column in plain.args.get("except_") or ()}
    alone = not joins and not select.args.get("laterals")
    found = [
        exp.column(identifier(name), table=None if alone else identifier(source.alias_or_name))
        for source in sources
        for name in columns.exact(source)
        if name.lower() not in hidden
    ]
    names = [write(column).lower() for column in found]
    if len(set(names)) < len(names):
        raise NotUnderstood("a star inside an expression shows two columns of one name")
    return found


def _only_tests(join: exp.Join) -> bool:
    return join.kind.upper() in {"SEMI", "ANTI"} or join.side.upper() in {"SEMI", "ANTI"}


def _put(star: exp.Expr, found: list[exp.Column], parent: exp.Expr) -> None:
    """`found` among the arguments of `parent`, in the place of `star`."""
    values: list[exp.Expr] = list(_fields(found)) if isinstance(parent, exp.Struct) else list(found)
    given = parent.args.get(str(star.arg_key))
    if isinstance(given, list):
        parent.set(str(star.arg_key), [value for one in given for value in (values if one is star else [one])])
    elif len(values) == 1:
        star.replace(values[0])
    else:
        raise NotUnderstood("a star stands where one value is expected")


def _fields(found: list[exp.Column]) -> Iterator[exp.Expr]:
    for column in found:
        yield exp.alias_(column, identifier(column.name))
