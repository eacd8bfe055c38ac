"""Semantic operators in a select: each is cut out, run on its input, and stands as a view in its place.

What cannot be cut out so that the rest means the same runs as written, row by row, and the reason is shown; a function
that has no value of one row (`ai_agg`, `ai_rank`) is an error with that reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.errors import SqlglotError

from sqlllm.dialect import RenderedSql
from sqlllm.errors import ParseError, TableError
from sqlllm.planner import NotUnderstood
from sqlllm.planner.sql import write

from .. import ai, planning, queries
from .. import calls as texts
from .cut import Context, Cut, Operator, Unfit, Way, alone, has_operators, parse, selects, stay, stays
from .known import OPERATORS
from .tools import Tools

if TYPE_CHECKING:
    import pyarrow as pa

    from sqlllm.jobs.serving.gateway.usage import Query

    from ..session import Session

_numbers = count(1)
_SEED = 17  # of samples: the same rows each time, whose answers are kept
MOST = 1_000_000
"""Rows of an operator's input that are held in this process."""


@dataclass(frozen=True)
class Planned:
    """How one operator would run: what was written, the rows of its input, and the ways, of which one is taken."""

    request: str
    rows: int
    ways: Sequence[Way]


@dataclass
class Cutting:
    """A select whose operators have run: the rest of it, and the statement that they asked under."""

    sql: RenderedSql
    query: Query | None = None
    planned: list[Planned] = field(default_factory=list)

    @property
    def id(self) -> str:
        """What the gateway counts the statement under; empty if nothing was asked."""
        return self.query.id if self.query else ""

    @property
    def was_cut(self) -> bool:
        return bool(self.planned)


@contextmanager
def cut_out(session: Session, sql: RenderedSql, *, explain: bool = False) -> Iterator[Cutting]:
    """Run the operators of `sql`; within, their views are there. With `explain` nothing is asked."""
    views: list[str] = []
    try:
        yield _Run(session, sql, views, explain=explain).cutting()
    finally:
        for view in views:
            session.spark.catalog.dropTempView(view)


@contextmanager
def with_cut_query(session: Session, sql: RenderedSql) -> Iterator[Cutting]:
    """The same for the query of an `insert` or a `create table ... as`."""
    found = planning.QUERY.match(sql.text)
    if found is None:
        yield Cutting(sql)
        return
    at, end = found.start("query"), len(sql.text)
    with cut_out(session, RenderedSql(sql.text[at:], sql.place_at(at, end))) as cutting:
        if cutting.was_cut:
            cutting.sql = sql.spliced([(at, end, cutting.sql.text)])
        else:
            cutting.sql = sql
        yield cutting


class _Run:
    def __init__(self, session: Session, sql: RenderedSql, views: list[str], *, explain: bool) -> None:
        self._session, self._sql, self._views, self._explain = session, sql, views, explain
        self._functions = frozenset(name for one in OPERATORS for name in one.functions)

    def cutting(self) -> Cutting:
        session, sql = self._session, self._sql
        found = texts.calls(sql.text, self._functions)
        if not found:
            return Cutting(sql)
        tree = parse(sql.text)
        if tree is None:
            helped = any(given.name.lower() == "cascade" for call in found for given in call.arguments)
            return self._as_written("sqlglot does not know its syntax") if helped else Cutting(sql)
        context = Context(session.settings.llm, frozenset(session.models), self._columns)
        if not any(operator.nodes(select, context) for select in selects(tree) for operator in OPERATORS):
            return Cutting(sql)
        if not self._is_read_alike(tree):
            return self._as_written("sqlglot does not read it as Spark does")
        statement = None if self._explain else session.meter.open(sql.text)
        tools, cutting = Tools(session, statement), Cutting(sql, statement)
        while (taken := self._next(tree, context)) is not None:
            cut, select = taken
            request = session.mask(write(cut.node))  # before it is replaced
            tables = {
                name: self._input(alone(query, select), cutting.query, cut.samples.get(name, 0))
                for name, query in cut.inputs.items()
            }
            ways = cut.ways(tables, tools) if self._explain else ()
            cutting.planned.append(Planned(request, sum(table.num_rows for table in tables.values()), ways))
            self._put(cut, tables, tools)
        if cutting.was_cut:
            place = sql.place  # whatever is wrong in the rest is wrong in the statement
            cutting.sql = RenderedSql(write(tree), place, (0,), ((place.start, place.end),))
        return cutting

    def _next(self, tree: exp.Query, context: Context) -> tuple[Cut, exp.Select] | None:
        """The next node to cut out, inner ones first; those that cannot be are left, or an error."""
        for select in selects(tree):
            for operator in OPERATORS:
                for node in operator.nodes(select, context):
                    if stays(node):
                        continue
                    try:
                        cut = operator.cut(node, select, context)
                        for query in cut.inputs.values():
                            self._check(alone(query, select), context)
                        return cut, select
                    except (Unfit, SqlglotError) as error:
                        self._leave(operator, node, str(error))
        return None

    def _put(self, cut: Cut, tables: Mapping[str, pa.Table], tools: Tools) -> None:
        """Run it, unless this explains, and let the result take the place of the node."""
        if not self._explain:
            result = cut.run(tables, tools)
            cut.put("" if result is None else self._view(result))
        elif cut.result is not None:
            cut.put(self._view(cut.result.empty_table()))
        elif cut.unasked is not None:
            cut.node.replace(cut.unasked)
        else:
            stay(cut.node)

    def _leave(self, operator: Operator, node: exp.Expr, reason: str) -> None:
        names = {one.name.lower() for one in node.find_all(exp.Anonymous)} & operator.stand_in.keys()
        if names:
            raise ParseError(f"{min(names)} cannot run here, because {reason}", place=self._sql.place)
        stay(node)
        self._session.observer.warned(f"{write(node)} is asked row by row, because {reason}")

    def _as_written(self, reason: str) -> Cutting:
        only = {name for one in OPERATORS for name in one.stand_in}
        if found := texts.calls(self._sql.text, only):
            place = self._sql.place_at(found[0].start, found[0].end)
            raise ParseError(f"{found[0].name} cannot run here, because {reason}", place=place)
        self._session.observer.warned(f"the select is asked row by row, because {reason}")
        return Cutting(self._sql)

    def _check(self, query: exp.Query, context: Context) -> None:
        """Unfit for an input that cannot stand alone, or that would be paid for twice: here and in the select."""
        context.columns(write(query))
        if self._session.settings.llm.store == "off" and has_operators(query, {*self._functions, *context.models}):
            raise Unfit("its input asks a model, whose answers are not kept (llm.store)")

    def _input(self, query: exp.Query, statement: Query | None, sample: int) -> pa.Table:
        """The table of an input, computed by Spark; the functions ai_* in it ask row by row."""
        from pyspark.sql.functions import rand

        session, place = self._session, self._sql.place
        sql = ai.written_out(session, RenderedSql(write(query), place))
        if called := session.models.called(sql.text):
            if statement is None:
                cure = "Run the select that asks it, give its table a name, and explain llm the rest."
                raise TableError(f"the input of an operator asks {min(called)} itself", cure=cure, place=place)
            session.meter.begin(self._sql.text, called, query=statement)
        with queries.errors_at(place):
            frame = planning.analysed(session.spark, sql.text)
            frame = frame.orderBy(rand(_SEED)).limit(sample) if sample else frame.limit(MOST + 1)
            table = frame.toArrow()
        if table.num_rows > MOST:
            cure = "Filter it with a cheap condition, or ask row by row."
            raise TableError(f"the input of an operator has more than {MOST:,} rows", cure=cure, place=place)
        return table

    def _view(self, result: pa.Table) -> str:
        name = f"llm_operator_{next(_numbers)}"
        self._session.spark.createDataFrame(result).createOrReplaceTempView(name)
        self._views.append(name)
        return name

    def _columns(self, sql: str) -> list[str]:
        """The columns of a query that calls ai_* functions, perhaps."""
        try:
            return planning.columns(self._session.spark, self._stood_in(sql))
        except NotUnderstood as error:
            raise Unfit(str(error)) from None

    def _stood_in(self, sql: str) -> str:
        """`sql` for Spark's analyser, with what only operators can run as something of the same shape."""
        shapes = {name: shape for one in OPERATORS for name, shape in one.stand_in.items()}

        def shape(call: texts.Call, cut: texts.Cut) -> str:
            given = [cut(one.start, one.end) for one in call.arguments if not one.name]
            return shapes[call.name].format(*(given or ["null"]))

        place = self._sql.place
        stood = texts.written_out(RenderedSql(sql, place), shapes, shape)
        return ai.written_out(self._session, stood).text

    def _is_read_alike(self, tree: exp.Query) -> bool:
        from pyspark.errors import PySparkException

        try:
            mine = planning.analysed(self._session.spark, self._stood_in(self._sql.text))
            read = planning.analysed(self._session.spark, self._stood_in(write(tree)))
        except PySparkException:  # the statement as written says what is wrong
            queries.run_sql(self._session, RenderedSql(self._stood_in(self._sql.text), self._sql.place))
            return False
        except SqlglotError:
            return False
        return planning.is_same(mine, read)
