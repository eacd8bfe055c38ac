"""A CTE that calls a model and is read once stands where it is read.

WITH c AS (q) SELECT ... FROM c  =  SELECT ... FROM (q) AS c        q reads no other c, and is read once
"""

from __future__ import annotations

from collections.abc import Collection

from sqlglot import exp

from .scopes import has_columns, is_recursive
from .sql import has_calls, nodes


def inline_once(tree: exp.Query, models: Collection[str]) -> None:
    """Put each CTE of `tree` that calls a model and is read once where it is read."""
    with_ = tree.args.get("with_")
    if with_ is None:
        return
    for cte in list(with_.expressions):
        readers = [table for table in nodes(tree, exp.Table) if table.name.lower() == cte.alias.lower()]
        if len(readers) != 1 or has_columns(cte) or has_columns(readers[0]) or is_recursive(cte):
            continue
        (reader,) = readers
        inside = reader.find_ancestor(exp.CTE)
        if (
            not isinstance(reader.parent, exp.From | exp.Join)
            or any(value and key not in {"this", "alias"} for key, value in reader.args.items())
            or not isinstance(cte.this, exp.Select)
            or not has_calls(cte.this, models)
            or (inside is not None and is_recursive(inside))
        ):
            continue
        reader.replace(cte.this.subquery(reader.alias_or_name))
        cte.pop()
    if not with_.expressions:
        with_.pop()
