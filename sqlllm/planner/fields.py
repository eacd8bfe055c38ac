"""The fields of prompts in the order that lets them share the longest prefixes; `llm.reorder_fields` allows it.

    llm_prompt('Review: {}\\nMovie: {}\\nIs it good?', array(review, movie))

has two fields, each a line of the template. A movie stands in many rows and a review in one, so `Movie: ...` goes first
and the cache of the model serves it. Lines without a placeholder stay where they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from itertools import count, groupby, pairwise

from sqlglot import exp

from .sql import NotUnderstood, has_calls, is_volatile, nodes, read, write

SAMPLE = 5_000
"""Rows whose values decide."""

_BLOCK = 64  # characters: 16 tokens of about four

_PLACEHOLDER = re.compile(r"\{(\d*)(:[^{}]*)?\}")

Rows = Callable[[str], Sequence[Sequence[str | None]]]
"""The rows of a query, as texts."""


def reorder(sql: str, models: Collection[str], rows: Rows) -> str:
    """`sql` with the fields of its prompts reordered, or `sql` itself. `rows` is asked for a sample of their values."""
    tree = read(sql)
    if tree is None or not has_calls(tree, models):
        return sql
    changed = False
    for call in nodes(tree, exp.Anonymous):
        try:
            changed |= _reorder_call(call, models, rows)
        except NotUnderstood:
            continue
    return write(tree) if changed else sql


def _reorder_call(call: exp.Expr, models: Collection[str], rows: Rows) -> bool:
    """Whether `call` is of llm_prompt with a template that was changed."""
    arguments = call.expressions
    if call.name.lower() != "llm_prompt" or len(arguments) != 2:
        return False
    template, array = arguments
    if not (isinstance(template, exp.Literal) and template.is_string and isinstance(array, exp.Array)):
        return False
    if "{{" in template.this:  # what looks like a field in doubled braces is text
        return False
    lines = _numbered(template.this).split("\n")
    select = call.find_ancestor(exp.Select)
    if select is None or any(is_volatile(value) for value in array.expressions):
        return False
    moved: list[str] = []
    for has_field, group in groupby(lines, key=lambda line: bool(_PLACEHOLDER.search(line))):
        block = list(group)
        if has_field and len(block) > 1:
            values = rows(_sample(select, _texts(block, array), models))
            block = [block[index] for index in field_order([[value or "" for value in row] for row in values])]
        moved += block
    if moved == lines:
        return False
    template.replace(exp.Literal.string("\n".join(moved)))
    return True


def _numbered(template: str) -> str:
    """The template with every placeholder's position written: `{}` is the next one."""
    following = count()

    def number(match: re.Match[str]) -> str:
        position = match[1] or str(next(following))
        return f"{{{position}{match[2] or ''}}}"

    return _PLACEHOLDER.sub(number, template)


def _texts(lines: Sequence[str], array: exp.Array) -> list[exp.Expr]:
    """For each line, the text of its arguments."""
    found: list[exp.Expr] = []
    for line in lines:
        positions = [int(match[1]) for match in _PLACEHOLDER.finditer(line)]
        values = [array.expressions[position] for position in positions if position < len(array.expressions)]
        if not values:
            raise NotUnderstood
        parts = [exp.cast(value.copy(), "string") for value in values]
        found.append(exp.Anonymous(this="concat_ws", expressions=[exp.Literal.string("\n"), *parts]))
    return found


def _sample(select: exp.Select, texts: Sequence[exp.Expr], models: Collection[str]) -> str:
    """A query for the texts of some rows of `select`."""
    probe = exp.Select(
        expressions=list(texts),
        **{key: value for key in ("from_", "joins", "laterals", "where") if (value := select.args.get(key))},
    ).copy()
    root = select.root()
    if with_ := root.args.get("with_"):
        probe.set("with_", with_.copy())
    if has_calls(probe, models):
        raise NotUnderstood
    return write(probe.limit(SAMPLE))


def field_order(rows: Sequence[Sequence[str]]) -> list[int]:
    """The order of fields in which sorted rows share most with the row before, in blocks of a cache.

    The best of the order that there is and greedy ones, one for each first field: the next field is always that whose
    text is repeated most, counted in characters, among rows alike so far.
    """
    if not rows:
        return []
    fields = range(len(rows[0]))
    orders = [list(fields), *(_greedy(rows, first) for first in fields)]
    return max(orders, key=lambda order: _shared(rows, order))


def _shared(rows: Sequence[Sequence[str]], order: Sequence[int]) -> int:
    """The blocks that sorted rows share with the row before."""
    texts = sorted("\n".join(row[field] for field in order) for row in rows)
    return sum(_common(one, other) for one, other in pairwise(texts))


def _common(one: str, other: str) -> int:
    """The whole blocks with which both begin."""
    blocks, most = 0, min(len(one), len(other)) // _BLOCK
    while blocks < most and one.startswith(other[blocks * _BLOCK : (blocks + 1) * _BLOCK], blocks * _BLOCK):
        blocks += 1
    return blocks


def _greedy(rows: Sequence[Sequence[str]], first: int) -> list[int]:
    """An order that begins with `first`; fields that repeat nothing keep their order at its end."""
    _, groups = _repeats(rows, [0] * len(rows), first)
    order, left = [first], [field for field in range(len(rows[0])) if field != first]
    while left:
        found = {field: _repeats(rows, groups, field) for field in left}
        best = max(left, key=lambda field: (found[field][0], -field))
        gain, groups = found[best]
        if not gain:
            break
        order.append(best)
        left.remove(best)
    return order + left


def _repeats(rows: Sequence[Sequence[str]], groups: Sequence[int], field: int) -> tuple[int, list[int]]:
    """The characters of `field` that stood before in a row of the same group, and the groups that it makes."""
    seen: dict[tuple[int, str], int] = {}
    gain, numbers = 0, []
    for group, row in zip(groups, rows, strict=True):
        key = (group, row[field])
        if key in seen:
            gain += len(row[field])
        numbers.append(seen.setdefault(key, len(seen)))
    return gain, numbers
