"""The semantic join: `a join b on ai_filter(llm_prompt('{a.x} is the same product as {b.y}'))`.

Its input are the distinct texts of both tables, by the equalities that stand beside the condition; its result are the
pairs of texts for which the condition is true. Spark joins the tables through these pairs, so duplicates, NULLs and
whatever else stands in ON mean what they mean in SQL. A NULL and a blank text match nothing, and are not asked about.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import ClassVar

import pyarrow as pa
from sqlglot import exp

from sqlllm.errors import OptionError, suggest
from sqlllm.planner.sql import is_volatile, write
from sqlllm.udfs.requests import RequestError

from .. import options
from .blocks import Ask, Block, Reply, Sides
from .cut import Arguments, Context, Cut, Unfit, Way, alone, arguments, has_operators, own
from .matching import METHODS, Problem, costs, match
from .neighbours import Vectors, spelled
from .pairwise import Condition, Value, columns, read
from .tools import Tools

RECALL = 0.95
"""The share of matches that `method => 'candidates'` finds unless `recall_target` says otherwise."""

_SIDES = ("left", "right")
_NAMED = {"method", "recall_target", "confidence", "model"}
_PAIR = "Is this true? Answer with true or false and nothing else."
_NOTES = {
    "pairs": "a prompt for each pair",
    "blocks": "rows of both sides in a prompt",
    "classify": "all rows of one side in a prompt for each row of the other",
    "candidates": "neighbours by their vectors, to a recall target; the numbers are a guess",
}
# Types whose values Python compares as Spark does.
_GROUPED = (pa.types.is_integer, pa.types.is_string, pa.types.is_boolean, pa.types.is_date, pa.types.is_decimal)
_Texts = tuple[str, ...]
_Key = tuple[object, ...]


class Join:
    """Takes ai_filter over two tables from ON, or from the WHERE of an inner join."""

    functions: ClassVar[frozenset[str]] = frozenset({"ai_filter"})
    stand_in: ClassVar[Mapping[str, str]] = {}

    def nodes(self, select: exp.Select, context: Context) -> Sequence[exp.Expr]:
        joined = select.args.get("joins") and context.settings.planner
        found = [call for call in _calls(select) if len(_Sources(select, context).of(call)) > 1] if joined else []
        forced = [call for call in own(select, self.functions) if "method" in arguments(call).by_name]
        return [*found, *(call for call in forced if not any(call is one for one in found))]

    def cut(self, node: exp.Expr, select: exp.Select, context: Context) -> Cut:
        given = arguments(node)
        if not select.args.get("joins") or not any(node is call for call in _calls(select)):
            cure = "Leave it out, or write the ai_filter in ON, beside AND, with values of both tables."
            raise OptionError("method of ai_filter is for a condition between two tables of a join", cure=cure)
        options = _Options.read(given, context)
        if given.by_name.keys() - _NAMED or len(given.by_place) != 1:
            raise Unfit("it has arguments that a join does not take")
        place = _Place(node, select, _Sources(select, context), {*context.models, *self.functions})
        condition = read(given.by_place[0], place.side)
        keys = place.keys()
        inputs: dict[str, exp.Query] = {
            name: place.input(side, condition.values[side], [key[side] for key in keys])
            for side, name in enumerate(_SIDES)
        }
        schema = pa.schema([(name, pa.string()) for side in (0, 1) for name in _names(condition, side)])
        work = _Work(condition, options, len(keys))
        return Cut(
            node,
            inputs,
            lambda tables, tools: work.run(tables, tools, schema),
            lambda view: place.put(view, condition),
            work.ways,
            schema,
        )


@dataclass(frozen=True)
class _Options:
    """How the user wants it done."""

    method: str
    recall: float
    confidence: float
    model: str
    rows: int

    @classmethod
    def read(cls, given: Arguments, context: Context) -> _Options:
        method = given.constant("method") or context.settings.join_method
        if method not in METHODS:
            raise OptionError(f"a join has no method {method}", cure=suggest(method, METHODS, what="methods"))
        shares = {"recall_target": RECALL if method == "candidates" else 1.0, "confidence": 0.95}
        for name in shares:
            if text := given.constant(name):
                shares[name] = options.share({name: text}, name)
        model = given.constant("model")
        return cls(method, shares["recall_target"], shares["confidence"], model, context.settings.join_rows)


# --- The select --------------------------------------------------------------------------------------------------


def _parts(condition: exp.Expr) -> list[exp.Expr]:
    """The conditions that must all hold."""
    condition = condition.unnest()
    return (
        [inner for part in condition.flatten() for inner in _parts(part)]
        if isinstance(condition, exp.And)
        else [condition]
    )


def _calls(select: exp.Select) -> list[exp.Expr]:
    """The ai_filter that stand alone, or beside AND, in ON and WHERE."""
    where = select.args.get("where")
    places = [join.args.get("on") for join in select.args["joins"]] + [where and where.this]
    parts = [part for place in places if place is not None for part in _parts(place)]
    return [part for part in parts if isinstance(part, exp.Anonymous) and part.name.lower() == "ai_filter"]


class _Sources:
    """The tables of a FROM, in order, and which of them a column is of."""

    def __init__(self, select: exp.Select, context: Context) -> None:
        self._select, self._context = select, context
        self.nodes = [select.args["from_"].this, *(join.this for join in select.args["joins"])]
        self._names = [node.alias_or_name.lower() for node in self.nodes]

    def of(self, part: exp.Expr) -> set[int]:
        """The places of the tables that `part` reads; -1 for what is of none, or of a query in it."""
        found = {-1} if part.find(exp.Query) else set[int]()
        texts = [call for call in part.find_all(exp.Anonymous) if call.name.lower() == "llm_prompt"]
        named = [column for call in texts for column in columns(call)]
        return found | {self._place(column) for column in (*part.find_all(exp.Column), *named)}

    def _place(self, column: exp.Expr) -> int:
        table = column.table.lower() if isinstance(column, exp.Column) else ""
        if table:
            return self._names.index(table) if self._names.count(table) == 1 else -1
        found = [place for place, names in enumerate(self._columns) if column.name.lower() in names]
        return found[0] if len(found) == 1 else -1

    @cached_property
    def _columns(self) -> list[set[str]]:
        """The columns of each table in lower case; none for one that cannot be looked at alone."""
        found = []
        for node in self.nodes:
            query = _with_ctes(exp.select("*").from_(node.copy()), self._select)
            try:
                found.append({name.lower() for name in self._context.columns(write(alone(query, self._select)))})
            except Unfit:
                found.append(set())
        return found


def _with_ctes(query: exp.Select, select: exp.Select) -> exp.Select:
    """`query` with the CTEs of `select`."""
    if select.args.get("with_"):
        query.set("with_", select.args["with_"].copy())
    return query


class _Place:
    """Where the condition stands: at a join, whose table is its right side. Raises Unfit."""

    def __init__(self, node: exp.Expr, select: exp.Select, sources: _Sources, functions: Collection[str]) -> None:
        self._node, self._select, self._sources, self._functions = node, select, sources, functions
        joins = select.args["joins"]
        self._at = next((at for at, join in enumerate(joins, 1) if _within(node, join)), 0)
        in_where = not self._at
        self._at = self._at or max(sources.of(node))
        if self._at < 1 or -1 in sources.of(node):
            raise Unfit("a column in it is of no table, or of several")
        join = joins[self._at - 1]
        self._join, side, kind = join, join.side.upper(), join.kind.upper()
        later = {one.side.upper() for one in joins[self._at :]}
        if join.method or side == "FULL" or (in_where and (side or kind not in ("", "INNER", "CROSS"))):
            raise Unfit(
                "its join is neither inner nor left" if not in_where else "it stands in the WHERE of an outer join"
            )
        if side == "RIGHT" and self._at > 1:
            raise Unfit("it stands at the right join of three tables")
        if select.args.get("laterals") or any(isinstance(one, exp.Lateral) for one in sources.nodes):
            raise Unfit("it stands beside a LATERAL VIEW")
        if any(not isinstance(one, exp.Table | exp.Subquery | exp.Values) for one in sources.nodes):
            raise Unfit("it joins what is not a table")
        stars = [star for star in select.find_all(exp.Star) if star.find_ancestor(exp.Select) is select]
        if any(star.parent is not select and not isinstance(star.parent, exp.Column | exp.Count) for star in stars):
            raise Unfit("a star stands in an expression")
        self._hides = kind in ("SEMI", "ANTI")
        self._attached = 0 if side == "RIGHT" else 1
        # What WHERE says of a side may be used before the join, unless the join makes rows of that side up.
        made_up = {"LEFT": {1}, "RIGHT": {0}}.get(side, set())
        self._filtered = set[int]() if later & {"RIGHT", "FULL"} else {0, 1} - made_up
        self._inner = not side and not later & {"RIGHT", "FULL"}

    def side(self, part: exp.Expr) -> int:
        """0 for what is of the left side, 1 for the right side. Raises Unfit for anything else."""
        found = self._side(part)
        if found is None:
            raise Unfit(f"{write(part)} is not of one table")
        return found

    def _side(self, part: exp.Expr) -> int | None:
        places = self._sources.of(part)
        if not places or min(places) < 0 or max(places) > self._at or is_volatile(part):
            return None
        sides = {int(place == self._at) for place in places}
        return sides.pop() if len(sides) == 1 else None

    def _conditions(self) -> Iterator[tuple[exp.Expr, bool]]:
        """The other conditions of ON and WHERE, without calls, and whether each is of WHERE."""
        where, on = self._select.args.get("where"), self._join.args.get("on")
        for place, of_where in ((on, False), (where and where.this, True)):
            for part in _parts(place) if place is not None else ():
                if not has_operators(part, self._functions) and not is_volatile(part):
                    yield part, of_where

    def keys(self) -> list[tuple[exp.Expr, exp.Expr]]:
        """Both sides of the equalities that a pair must fulfil."""
        found = []
        for part, of_where in self._conditions():
            if isinstance(part, exp.EQ) and (self._inner or not of_where):
                sides = {self._side(one): one for one in (part.this, part.expression)}
                if sides.keys() == {0, 1}:
                    found.append((sides[0], sides[1]))
        return found

    def input(self, side: int, values: Sequence[Value], keys: Sequence[exp.Expr]) -> exp.Select:
        """The distinct texts and keys of one side, after the conditions that are about it alone."""
        items = [exp.alias_(value.text(), f"v{number}") for number, value in enumerate(values)]
        items += [exp.alias_(key.copy(), f"k{number}") for number, key in enumerate(keys)]
        query = exp.Select(expressions=items, distinct=exp.Distinct())
        _with_ctes(query, self._select)
        query.set("from_", exp.From(this=self._sources.nodes[self._at if side else 0].copy()))
        if not side:
            query.set("joins", [join.copy() for join in self._select.args["joins"][: self._at - 1]])
        cheap = [
            part.copy()
            for part, of_where in self._conditions()
            if self._side(part) == side and (not of_where or side in self._filtered)
        ]
        return query.where(*cheap, copy=False) if cheap else query

    def put(self, view: str, condition: Condition) -> None:
        """The table that is attached to the pairs, in place of itself; an equality in place of the call."""
        mine, other = self._attached, 1 - self._attached
        source = self._sources.nodes[self._at if mine else 0]
        alias = exp.to_identifier(source.alias_or_name, quoted=True)
        pairs = [exp.column(name, table=view) for name in _names(condition, mine)]
        shown = [f"{view}_{number}" for number in range(len(condition.values[other]))]
        items = [
            exp.alias_(exp.column(name, table=view), own)
            for name, own in zip(_names(condition, other), shown, strict=True)
        ]
        on = [
            exp.EQ(this=value.text(), expression=pair)
            for value, pair in zip(condition.values[mine], pairs, strict=True)
        ]
        star = exp.Column(this=exp.Star(), table=alias.copy())
        query = exp.select(star, *items).from_(source.copy()).join(exp.to_table(view), on=exp.and_(*on))
        columns = [exp.column(exp.to_identifier(own), table=alias.copy()) for own in shown]
        equal = [
            exp.EQ(this=value.text(), expression=one)
            for value, one in zip(condition.values[other], columns, strict=True)
        ]
        self._node.replace(exp.paren(exp.and_(*equal)))
        source.replace(exp.Subquery(this=query, alias=exp.TableAlias(this=alias)))
        for item in self._select.expressions:
            star = item.this if isinstance(item, exp.Column) else item
            table = item.table.lower() if isinstance(item, exp.Column) else alias.name.lower()
            if isinstance(star, exp.Star) and table == alias.name.lower() and not self._hides:
                star.set("except_", [*(star.args.get("except_") or []), *map(exp.to_identifier, shown)])


def _within(node: exp.Expr, other: exp.Expr) -> bool:
    parent: exp.Expr | None = node
    while parent is not None and parent is not other:
        parent = parent.parent
    return parent is other


def _names(condition: Condition, side: int) -> list[str]:
    return [f"{_SIDES[side]}_{number}" for number in range(len(condition.values[side]))]


# --- The work ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Work:
    condition: Condition
    options: _Options
    keys: int

    def ways(self, tables: Mapping[str, pa.Table], tools: Tools) -> Sequence[Way]:
        problem, _, _ = self._problem(tables, tools)
        found = costs(problem, self.options.method)
        method = found[0].method if self.options.method == "auto" else self.options.method
        model = tools.model(self.options.model)
        return [
            Way(
                one.method,
                model,
                one.calls,
                one.prompt_tokens,
                one.answer_tokens,
                one.method == method,
                _NOTES[one.method],
            )
            for one in found
        ]

    def run(self, tables: Mapping[str, pa.Table], tools: Tools, schema: pa.Schema) -> pa.Table:
        problem, lefts, rights = self._problem(tables, tools)
        if not problem.pairs:
            return schema.empty_table()
        found = match(
            problem, asks(tools, self.options.model, "joining with"), partial(embedded, tools), self.options.method
        )
        if found.failed:
            count, error = sum(block.pairs for block, _ in found.failed), found.failed[0][1]
            tools.note(
                f"{count:,} pairs of the join have no answer and count as not true: {error.kind}: {error.message}"
            )
        rows = [(*lefts[left], *rights[right]) for left, right in sorted(found.pairs)]
        return (
            pa.table([list(column) for column in zip(*rows, strict=True)], schema=schema)
            if rows
            else schema.empty_table()
        )

    def _problem(self, tables: Mapping[str, pa.Table], tools: Tools) -> tuple[Problem, list[_Texts], list[_Texts]]:
        model, condition = self.options.model, self.condition
        kinds = [[tables[side].schema.field(f"k{key}").type for side in _SIDES] for key in range(self.keys)]
        used = [
            key for key, (one, other) in enumerate(kinds) if one == other and any(is_kind(one) for is_kind in _GROUPED)
        ]
        texts, grouped = zip(*(self._side(tables[name], side, used) for side, name in enumerate(_SIDES)), strict=True)
        shared = [key for key in grouped[0] if key in grouped[1]]
        blocks = [Block(tuple(grouped[0][key]), tuple(grouped[1][key])) for key in shared]
        shown = [[condition.row(side, one) for one in texts[side]] for side in (0, 1)]
        sides = Sides(
            shown[0],
            shown[1],
            condition.statement(),
            lambda left, right: f"{_PAIR}\n\n{condition.filled(texts[0][left], texts[1][right])}",
        )
        problem = Problem(
            sides,
            blocks,
            lambda text: tools.tokens(text, model),
            tools.context(model) if blocks else 0,
            self.options.recall,
            self.options.confidence,
            self.options.rows,
        )
        return problem, texts[0], texts[1]

    def _side(self, table: pa.Table, side: int, keys: Sequence[int]) -> tuple[list[_Texts], dict[_Key, list[int]]]:
        """The distinct texts of a side, and the numbers of those of each key."""
        count = len(self.condition.values[side])
        numbers: dict[_Texts, int] = {}
        grouped: dict[_Key, list[int]] = defaultdict(list)
        texts = zip(*(table[f"v{number}"].to_pylist() for number in range(count)), strict=True)
        values = zip(*(table[f"k{key}"].to_pylist() for key in keys), strict=True) if keys else ((),) * table.num_rows
        # In the order of the texts, not of Spark's tasks: the same rows, the same prompts, whose answers are kept.
        both = [(text, key) for text, key in zip(texts, values, strict=True) if None not in text and None not in key]
        for text, key in sorted(both, key=lambda one: (one[0], repr(one[1]))):
            if any(part.strip() for part in text):
                grouped[key].append(numbers.setdefault(text, len(numbers)))
        return list(numbers), grouped


def asks(tools: Tools, model: str, what: str) -> Ask:
    """A model of the statement as the algorithms ask it."""
    asker = tools.asker(model)
    asker.endpoint = replace(asker.endpoint, rows_per_prompt=1)  # these prompts hold many rows as it is

    def ask(prompts: Sequence[str]) -> list[Reply]:
        return [
            reply.text if reply.text is not None else _error(reply.error) for reply in asker.ask(prompts, what=what)
        ]

    return ask


def _error(text: str) -> RequestError:
    kind, _, message = text.partition(": ")
    return RequestError(kind, message)


def embedded(tools: Tools, texts: Sequence[str]) -> Vectors:
    """A vector for each text: by `llm.embedding_model`, else by its spelling."""
    if tools.settings.embedding_model:
        return tools.embed(texts)
    tools.step("neighbours are found by spelling; set llm.embedding_model to find them by meaning")
    return spelled(texts)
