"""ai_rank(content [, criterion]) over (partition by ...): the rank of each row, as the model orders the texts.

    ai_rank(llm_prompt('which is angrier: {text}')) over (partition by product)
    ai_rank(text, 'which is angrier') over ()

The rank is SQL's: rows that are tied share one. Only the first k are ordered where the select keeps no others. A row
whose content is NULL or blank, or has no answer, has no rank.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar
from zlib import crc32

import pyarrow as pa
from sqlglot import exp

from sqlllm.planner.names import conjuncts
from sqlllm.planner.parts import windows
from sqlllm.planner.sql import here
from sqlllm.udfs import templates

from . import listwise
from .asking import Reply
from .cut import Arguments, Context, Cut, Unfit, Way, looked_up, own
from .groups import KEY, Grouped, given, grouped, number, put
from .ranking import SIZE, Listing, Ranked, ranked, ranks
from .steps import Prompt, Steps, run, together
from .telling import failures

if TYPE_CHECKING:
    from .tools import Tools

_Groups = dict[str, dict[str, int]]
"""The texts of each group, and how many rows each has."""
_TEXT, _RANK = "llm_text", "llm_rank"
_RESULT = pa.schema([(KEY, pa.string()), (_TEXT, pa.string()), (_RANK, pa.int32())])


class Rank:
    functions: ClassVar[frozenset[str]] = frozenset({"ai_rank"})
    stand_in: ClassVar[Mapping[str, str]] = {"ai_rank": "count({0})"}

    def nodes(self, select: exp.Select, context: Context) -> Sequence[exp.Expr]:
        """The calls."""
        return own(select, self.functions)

    def cut(self, node: exp.Expr, select: exp.Select, context: Context) -> Cut:
        """The call with its OVER."""
        found = grouped(node, select, context, self.functions)
        if not found.windowed:
            raise Unfit("a rank is over rows; write OVER () or OVER (PARTITION BY ...) behind it")
        if found.condition is not None or found.order:
            raise Unfit("a rank has neither FILTER nor WITHIN GROUP")
        if found.node.find_ancestor(exp.Qualify) and _others(select, self.functions):
            raise Unfit("QUALIFY filters other window functions, too; give the rank a name in the list of the select")
        told = given(node)
        criterion, item = _question(told)
        model, size = told.constant("model"), int(number(told, "list_size", SIZE))
        orders = number(told, "orders", 2)
        if orders not in (1, 2) or size < 2:
            raise Unfit("orders is 1 or 2, and list_size at least 2")
        most = _most(found.node, select)

        def steps(groups: _Groups, tools: Tools, both: bool) -> Steps[list[Ranked]]:
            listing = Listing(criterion, partial(tools.tokens, model=model), tools.context(model), size, both)
            return together([ranked(list(own), list(own.values()), listing, most) for own in groups.values()])

        def start(tables: Mapping[str, pa.Table], tools: Tools) -> pa.Table:
            groups, both = _groups(tables["rows"]), orders == 2
            limit = tools.settings.max_calls
            if both and limit and _expected(steps(groups, tools, True), tools, model)[0] > limit:
                both = False
                tools.note(f"ai_rank lists texts in one order alone: both would take more than {limit:,} calls")
            asker = tools.asker(model)

            def ask(prompts: Sequence[Prompt]) -> list[Reply]:
                return asker.ask([prompt.text for prompt in prompts], what="ranking")

            results = run(steps(groups, tools, both), ask)
            tools.step(f"ai_rank: {sum(map(len, groups.values())):,} texts in {asker.asked:,} calls")
            failures(tools, "ai_rank", (error for one in results for error in one.failed.values()))
            return _result(groups, results, most)

        def stand(view: str) -> None:
            keys = {KEY: found.key(), _TEXT: item}
            _put(found, select, looked_up(view, keys, _RANK))

        def ways(tables: Mapping[str, pa.Table], tools: Tools) -> Sequence[Way]:
            groups, name = _groups(tables["rows"]), tools.model(model)
            texts = sum(map(len, groups.values()))
            asked = [_expected(steps(groups, tools, both), tools, model) for both in (True, False)]
            each = sum(tools.tokens(f"{criterion} {text}", model) + 40 for own in groups.values() for text in own)
            limit = tools.settings.max_calls
            both = orders == 2 and not (limit and asked[0][0] > limit)
            return [
                Way("lists in both orders", name, *asked[0], taken=both, note="disagreement is a tie"),
                Way("lists in one order", name, *asked[1], taken=not both, note="what is shown first may win"),
                Way("a score a text", name, texts, each, texts, note="order by ai_score(...)"),
            ]

        query = found.rows(select, [exp.alias_(item.copy(), _TEXT)])
        return Cut(found.node, {"rows": query}, start, stand, ways, _RESULT)


def _question(told: Arguments) -> tuple[str, exp.Expr]:
    """The criterion, and what is ranked: the values of a prompt's fields, or the content itself. Raises Unfit."""
    content = told.get("content", 0)
    assert content is not None
    if criterion := told.constant("criterion", 1):
        return criterion, content
    template = content.expressions[0] if _is_prompt(content) else None
    if not isinstance(template, exp.Literal) or not template.is_string:
        raise Unfit("it needs a criterion: write ai_rank(text, 'which is angrier') or ai_rank(llm_prompt('...{text}'))")
    pieces = templates.parse(str(template.this))
    fields = [piece for piece in pieces if isinstance(piece, templates.Field)]
    if not fields:
        raise Unfit("its prompt shows no column")
    shown = "".join(piece if isinstance(piece, str) else piece.name or "the text" for piece in pieces)
    if isinstance(pieces[-1], templates.Field):
        shown = shown[: -len(fields[-1].name or "the text")].rstrip(" :\n")
    written = "{}" if len(fields) == 1 else "; ".join(f"{one.name}: {{}}" if one.name else "{}" for one in fields)
    for field in fields:
        written = written.replace("{}", field.written, 1)
    item = content.copy()
    item.expressions[0].replace(exp.Literal.string(written))
    if len(fields) == 1 and len(item.expressions) < 3 and not fields[0].default:
        item.append("expressions", exp.Kwarg(this=exp.var("nulls"), expression=exp.Literal.string("skip")))
    return re.sub(r"\s+", " ", shown).strip() or "which fits best?", item


def _is_prompt(node: exp.Expr) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.lower() == "llm_prompt" and bool(node.expressions)


_Test = Callable[[exp.Expr], bool]


# --- How many are wanted ------------------------------------------------------------------------------------------


def _most(node: exp.Expr, select: exp.Select) -> int | None:
    """The last rank that the select, or the one around it, keeps; None for all."""
    item = node.parent if isinstance(node.parent, exp.Alias) and node.parent.parent is select else None
    alias = item.alias.lower() if item is not None else ""

    def is_rank(part: exp.Expr, table: str = "") -> bool:
        named = bool(alias) and isinstance(part, exp.Column) and part.name.lower() == alias
        return part == node or (named and part.text("table").lower() in ("", table))

    bounds = [_bound(part, is_rank) for part in _conditions(select, "qualify")]
    around = _reader(select)
    if alias and around is not None and not around.args.get("joins"):
        is_read = partial(is_rank, table=around.args["from_"].this.alias_or_name.lower())
        bounds += [_bound(part, is_read) for part in _conditions(around, "where")]
    bounds.append(_limited(select, is_rank))
    return min((bound for bound in bounds if bound is not None), default=None)


def _reader(select: exp.Select) -> exp.Select | None:
    """The select whose FROM `select` is, itself or as a CTE that nothing else reads."""
    outer = select.parent
    if isinstance(outer, exp.CTE):
        name = outer.alias.lower()
        readers = [table for table in select.root().find_all(exp.Table) if table.name.lower() == name]
        outer = readers[0] if len(readers) == 1 else None
    if not isinstance(outer, exp.Subquery | exp.Table) or not isinstance(outer.parent, exp.From):
        return None
    found = outer.parent.parent
    return found if isinstance(found, exp.Select) else None


def _conditions(select: exp.Select, clause: str) -> Iterator[exp.Expr]:
    found = select.args.get(clause)
    if found is not None:
        condition = found.this.unnest()
        yield from condition.flatten() if isinstance(condition, exp.And) else (condition,)


def _bound(condition: exp.Expr, is_rank: _Test) -> int | None:
    """The last rank for which `condition` can be true, if it says so."""
    condition = condition.unnest()
    if isinstance(condition, exp.Between) and is_rank(condition.this):
        return _number(condition.args["high"])
    left, right = condition.args.get("this"), condition.args.get("expression")
    if not isinstance(left, exp.Expr) or not isinstance(right, exp.Expr):
        return None
    left, right = left.unnest(), right.unnest()
    if isinstance(condition, exp.LTE | exp.LT | exp.EQ) and is_rank(left):
        number = _number(right)
    elif isinstance(condition, exp.GTE | exp.GT | exp.EQ) and is_rank(right):
        number = _number(left)
    else:
        return None
    return number - 1 if number is not None and isinstance(condition, exp.LT | exp.GT) else number


def _number(part: exp.Expr) -> int | None:
    return int(part.name) if isinstance(part, exp.Literal) and part.is_int else None


def _limited(select: exp.Select, is_rank: _Test) -> int | None:
    """The rows of ORDER BY the rank LIMIT n: they have the first n ranks, whatever is between equal ones."""
    order, limit = select.args.get("order"), select.args.get("limit")
    if order is None or limit is None or select.args.get("distinct") or select.args.get("qualify"):
        return None
    first = order.expressions[0]
    if not isinstance(first, exp.Ordered) or first.args.get("desc") or not is_rank(first.this):
        return None
    rows, offset = _number(limit.expression), select.args.get("offset")
    skipped = 0 if offset is None else _number(offset.expression)
    return None if rows is None or skipped is None else rows + skipped


# --- Tables -------------------------------------------------------------------------------------------------------


def _groups(rows: pa.Table) -> _Groups:
    """The rows of each text in each group, in an order that does not depend on that of the rows."""
    groups: _Groups = {}
    for key, text in sorted(zip(rows[KEY].to_pylist(), map(_text, rows[_TEXT].to_pylist()), strict=True)):
        if text.strip():
            own = groups.setdefault(key, {})
            own[text] = own.get(text, 0) + 1
    return groups


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _result(groups: _Groups, results: Sequence[Ranked], most: int | None) -> pa.Table:
    """The ranks; a text after the last that is wanted has a rank of its own kind: one more."""
    keys: list[str] = []
    texts: list[str] = []
    numbers: list[int | None] = []
    for (key, counts), found in zip(groups.items(), results, strict=True):
        known = ranks(found, list(counts.values()))
        for index, text in enumerate(counts):
            keys.append(key)
            texts.append(text)
            numbers.append(None if index in found.failed else known.get(index, (most or 0) + 1))
    return pa.table([pa.array(keys, pa.string()), pa.array(texts, pa.string()), numbers], schema=_RESULT)


def _expected(steps: Steps[list[Ranked]], tools: Tools, model: str) -> tuple[int, int, int]:
    """Calls, and tokens of prompts and of answers: as if a model that orders by a hash were asked."""
    asked: list[Prompt] = []
    numbers = 0

    def ask(prompts: Sequence[Prompt]) -> list[Reply]:
        nonlocal numbers
        replies = []
        for prompt in prompts:
            texts = listwise.listed(prompt.text)
            numbers += len(texts)
            order = sorted(range(1, len(texts) + 1), key=lambda number: crc32(texts[number - 1].encode()))
            replies.append(Reply(str(order)))
        asked.extend(prompts)
        return replies

    run(steps, ask)
    return len(asked), sum(tools.tokens(prompt.text, model) for prompt in asked), 3 * numbers


def _others(select: exp.Select, functions: Collection[str]) -> bool:
    """Whether the select has window functions of Spark's."""
    parts = [part for part in (*select.expressions, select.args.get("qualify")) if part is not None]
    return any(window.this.name.lower() not in functions for part in parts for window in windows(part))


def _put(found: Grouped, select: exp.Select, value: exp.Expr) -> None:
    """The rank in its place. Without a window function QUALIFY is a WHERE."""
    qualify = select.args.get("qualify")
    alias = found.node.parent if isinstance(found.node.parent, exp.Alias) else None
    put(found.node, value)
    if qualify is None or any(True for part in [*select.expressions, qualify] for _ in windows(part)):
        return
    conditions = [part.this for part in conjuncts(select, "qualify")]
    for condition in conditions if alias is not None else ():
        for column in [node for node in here(condition) if isinstance(node, exp.Column) and not node.table]:
            if alias is not None and column.name.lower() == alias.alias.lower():
                column.replace(alias.this.copy())
    select.set("qualify", None)
    select.where(*conditions, copy=False)
