"""The semantic join in selects: the rows are those of an exact predicate on another engine."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from sqlglot import exp

from sqlllm.errors import OptionError
from sqlllm.planner.sql import read, write
from sqlllm.session.operators.asking import Reply
from sqlllm.session.operators.cut import Context, Cut, Unfit, alone, parse, selects
from sqlllm.session.operators.join import Join
from sqlllm.settings import LLMSettings
from sqlllm.udfs.transport import Endpoint
from tests.planner.duck import translated

from .oracles import Oracle, alike

COLUMNS = {"a": ("id", "k", "x", "n"), "b": ("bid", "k", "y", "m"), "c": ("cid", "k", "z")}
WORDS = [
    "Acme Inc",
    "acme inc",
    "ACME, INC",
    "Globex",
    "globex",
    "Initech",
    "it's 5\"",
    "two\nlines",
    "Two Lines",
    "  ",
    "",
    None,
]
P = "ai_filter(llm_prompt('<{a.x}> is <{b.y}>'))"

SELECTS = [
    f"select a.id, b.bid from a join b on {P}",
    f"select a.id, b.bid from a left join b on {P}",
    f"select a.id, b.bid from a right join b on {P}",
    f"select a.id, b.bid from a join b on a.k = b.k and {P}",
    f"select a.id, b.bid from a left join b on a.k = b.k and {P}",
    f"select a.id, b.bid from a left join b on {P} and a.n > 1 and b.m < 3",
    f"select a.id, b.bid from a left join b on {P} where a.n > 1",
    f"select a.id, b.bid from a left join b on {P} where b.m is null or b.m < 2",
    f"select a.id, b.bid from a join b on {P} and a.n < b.m",
    f"select a.id, b.bid from a, b where {P} and a.k = b.k",
    f"select a.id, b.bid from a cross join b where {P} and b.m > 0",
    f"select * from a join b on a.k = b.k and {P}",
    f"select b.*, a.id from a join b on {P} where a.n > 0",
    f"select count(*) as c from a join b on {P}",
    f"select a.k, count(*) as c, max(b.m) as m from a left join b on {P} group by a.k",
    f"select id from a left semi join b on {P}",
    f"select * from a left anti join b on a.k = b.k and {P}",
    f"select a.id, b.bid, c.cid from a join b on {P} join c on c.k = a.k where c.cid > 1",
    f"select a.id, b.bid, c.cid from a join c on c.k = a.k left join b on {P} and b.k = c.k",
    f"select a.id, b.bid, c.cid from a left join c on c.k = a.k join b on {P}",
    f"select a.id, b.bid from a join b on {P} right join c on c.k = b.k where a.n > 1",
    "select id, bid from a join b on ai_filter(llm_prompt('<{0}> is <{1}>', array(x, y)))",
    "select id, bid from a join b on ai_filter(concat('<', x, '> is <', y, '>')) and n > 0",
    "select id, bid from a join b on ai_filter('<' || upper(x) || '> is <' || b.y || '>')",
    "select id, bid from a join b on ai_filter(llm_prompt('<{a.x:globex}> is <{b.y}>'))",
    "select l.id, r.id as other from a as l join a as r on l.id < r.id and ai_filter(llm_prompt('<{l.x}> is <{r.x}>'))",
    f"with a as (select * from a where n > 0), b as (select * from b) select a.id, b.bid from a join b on {P}",
    "select s.id, t.bid from (select id, x from a where n < 3) s left join (select bid, y from b) t"
    " on ai_filter(llm_prompt('<{s.x}> is <{t.y}>'))",
    f"select id from a where exists (select 1 from c) and id in (select a.id from a join b on {P})",
    f"select a.id, b.bid from a join b on {P} union all select a.id, b.bid from a left join b on a.k = b.k and {P}",
    f"select a.id, b.bid, c.cid from a join b on {P} join c on ai_filter(llm_prompt('<{{b.y}}> is <{{c.z}}>'))",
    f"select a.id, b.bid from a join b on {P} order by a.id, b.bid limit 5",
    f"select distinct a.x, b.y from a join b on (a.k = b.k and ({P}))",
]


class Tools:
    """What the operator runs with, in this process."""

    def __init__(self) -> None:
        self.oracle = Oracle(alike, refuses="\0")
        self.notes: list[str] = []
        self.settings = LLMSettings()
        self.endpoint = Endpoint(url="", model="judge")

    def asker(self, model: str) -> Tools:
        return self

    def ask(self, prompts: Sequence[str], *, what: str) -> list[Reply]:
        said = self.oracle.ask(prompts)
        return [Reply(one) if isinstance(one, str) else Reply(None, error=f"{one.kind}: {one.message}") for one in said]

    def tokens(self, text: str, model: str = "") -> int:
        return len(text) // 4 + 1

    def context(self, model: str) -> int:
        return 2000

    def model(self, name: str) -> str:
        return name or "judge"

    def step(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


class Database:
    """DuckDB with random rows. The values of a prompt are those of its array."""

    def __init__(self, seed: int) -> None:
        self._duck = duckdb.connect(config={"threads": 1})
        chance = random.Random(seed)
        for table, columns in COLUMNS.items():
            kinds = ["bigint" if name not in "xyz" else "varchar" for name in columns]
            listed = ", ".join(f"{name} {kind}" for name, kind in zip(columns, kinds, strict=True))
            self._duck.execute(f"create table {table} ({listed})")
            for row in range({"a": chance.choice([7, 9, 11]), "b": 9 if seed else 0, "c": 4}[table]):
                values = [row, chance.choice([1, 2, None]), chance.choice(WORDS), chance.randrange(4)][: len(columns)]
                self._duck.execute(f"insert into {table} values ({', '.join('?' * len(columns))})", values)
        self._duck.create_function("alike", _alike, ["VARCHAR", "VARCHAR"], "BOOLEAN", null_handling="special")
        default = "nullif(regexp_extract(t, ':(.*)}', 1), '')"
        self._duck.execute(f"create macro llm_prompt(t, v, n) as coalesce(v[1]::varchar, {default})")

    def table(self, sql: str) -> pa.Table:
        return self._duck.sql(translated(sql)).to_arrow_table()

    def rows(self, sql: str) -> Counter[tuple[Any, ...]]:
        return Counter(self._duck.execute(translated(sql)).fetchall())

    def columns(self, sql: str) -> list[str]:
        self._duck.execute(translated(f"select * from ({sql}) limit 0"))
        return [column[0] for column in self._duck.description or ()]

    def view(self, name: str, table: pa.Table) -> None:
        self._duck.register(name, table)


def _alike(one: str | None, other: str | None) -> bool:
    return bool(one and other and one.strip() and other.strip()) and alike(one or "", other or "")


def _column(name: str, default: str) -> exp.Expr:
    column = exp.column(*reversed(name.split(".")))
    return exp.Coalesce(this=column, expressions=[exp.Literal.string(default)]) if default else column


def exact(sql: str) -> str:
    """The select with the exact predicate in place of the call."""
    tree = read(sql)
    assert tree is not None
    for call in [one for one in tree.find_all(exp.Anonymous) if one.name == "ai_filter"]:
        text = call.expressions[0]
        if isinstance(text, exp.Concat | exp.DPipe):
            parts = list(text.flatten()) if isinstance(text, exp.DPipe) else text.expressions
            values = [part for part in parts if not isinstance(part, exp.Literal)]
        elif len(text.expressions) == 2:
            values = text.expressions[1].expressions
        else:
            names = [one[1:-1] for one in re.findall(r"\{.*?\}", text.expressions[0].name)]
            values = [_column(*name.partition(":")[::2]) for name in names]
        call.replace(exp.Anonymous(this="alike", expressions=values))
    return write(tree)


def run(sql: str, database: Database, settings: LLMSettings | None = None) -> tuple[str, list[Cut], Tools]:
    """What is left of the select once its joins have run."""
    tree, operator, tools, cuts = parse(sql), Join(), Tools(), list[Cut]()
    assert tree is not None
    context = Context(settings or LLMSettings(), (), database.columns)
    while found := [(node, select) for select in selects(tree) for node in operator.nodes(select, context)]:
        node, select = found[0]
        cut = operator.cut(node, select, context)
        tables = {name: database.table(write(alone(query, select))) for name, query in cut.inputs.items()}
        database.view(f"llm_operator_{len(cuts)}", cut.run(tables, tools))  # type: ignore[arg-type]
        cut.put(f"llm_operator_{len(cuts)}")
        cuts.append(cut)
    return write(tree), cuts, tools


@pytest.fixture(scope="module")
def databases() -> list[Database]:
    return [Database(seed) for seed in range(3)]


@pytest.mark.parametrize("sql", SELECTS)
def test_the_rows_are_those_of_the_exact_predicate(sql: str, databases: list[Database]) -> None:
    for database in databases:
        rest, cuts, tools = run(sql, database)
        assert cuts
        assert database.rows(rest) == database.rows(exact(sql)), rest
        assert database.columns(rest) == database.columns(exact(sql))
        assert tools.notes == []
        assert len(tools.oracle.prompts) <= 4


def drawn(chance: random.Random) -> str:
    """A random select over a semantic join."""
    kind = chance.choice(["join", "join", "left join", "left join", "right join", "left semi join", "left anti join"])
    hidden = "semi" in kind or "anti" in kind
    beside = ["a.k = b.k", "a.n > 1", "b.m < 3", "a.n <= b.m", "a.k <=> b.k", "a.id % 3 = b.bid % 3", "a.n in (0, 2)"]
    on = chance.sample(beside, chance.choice([0, 0, 1, 2]))
    on.insert(chance.randrange(len(on) + 1), P)
    third = chance.choice(["", "", "join c on c.k = a.k", "left join c on c.cid = a.n"])
    after = [] if hidden else ["b.m is null", "b.m > 1", "coalesce(b.m, a.n) < 3"]
    where = chance.sample(["a.n > 0", "a.id < 8", "a.k = 1 or a.k is null", *after], chance.choice([0, 1, 2]))
    mine = chance.choice(["*", "a.*", "a.id", "a.x, a.id", "count(*) as c", "a.k, count(*) as c"])
    items = mine if hidden or mine in ("*", "count(*) as c", "a.k, count(*) as c") else f"{mine}, b.bid, b.y"
    conditions = f" where {' and '.join(f'({one})' for one in where)}" if where else ""
    group = " group by a.k" if mine.startswith("a.k") else ""
    return f"select {items} from a {kind} b on {' and '.join(on)} {third}{conditions}{group}"


@pytest.mark.parametrize("seed", range(8))
def test_random_joins_give_the_rows_of_the_exact_predicate(seed: int) -> None:
    chance, database = random.Random(seed), Database(seed + 10)
    for _ in range(12):
        sql = drawn(chance)
        rest, cuts, _ = run(sql, database, LLMSettings(join_rows=chance.choice([1, 2, 32])))
        assert len(cuts) == 1, sql
        assert database.rows(rest) == database.rows(exact(sql)), (sql, rest)
        assert database.columns(rest) == database.columns(exact(sql)), sql


def test_conditions_beside_it_come_first() -> None:
    database = Database(1)
    select = f"select a.id from a join b on a.k = b.k and a.n > 1 and {P} where b.m < 2"
    _, (cut,), _ = run(select, database)
    left, right = (write(query) for query in cut.inputs.values())
    assert left == "SELECT DISTINCT llm_prompt('{0}', ARRAY(`a`.`x`), 'skip') AS v0, a.k AS k0 FROM a WHERE a.n > 1"
    assert right == "SELECT DISTINCT llm_prompt('{0}', ARRAY(`b`.`y`), 'skip') AS v0, b.k AS k0 FROM b WHERE b.m < 2"


def test_conditions_of_the_side_that_a_join_makes_up_come_after_it() -> None:
    _, (cut,), _ = run(f"select a.id from a left join b on {P} where b.m is null and a.n > 1", Database(1))
    assert [" WHERE " in write(query) for query in cut.inputs.values()] == [True, False]


def test_nulls_and_blanks_are_not_asked_about() -> None:
    """'Paris', NULL and ' ' on both sides: one pair is left of nine."""
    _, _, tools = run(
        "select 1 from (values ('Paris'), (null), (' ')) as a(x) join (values ('paris'), (null), (' ')) as b(y)"
        f" on {P}",
        Database(1),
    )
    assert tools.oracle.pairs == 1
    _, _, tools = run(
        f"select 1 from (values (null), (' ')) as a(x) join (values ('paris')) as b(y) on {P}", Database(1)
    )
    assert tools.oracle.prompts == []


@pytest.mark.parametrize(
    ("select", "reason"),
    [
        (f"select 1 from a full join b on {P}", "neither inner nor left"),
        (f"select 1 from a left join b on a.k = b.k where {P}", "WHERE of an outer join"),
        (f"select 1 from a join c on a.k = c.k right join b on {P}", "right join of three tables"),
        ("select 1 from a join b on ai_filter(llm_prompt('{0}', array(concat(a.x, b.y))))", None),
        ("select 1 from a join b on ai_filter(concat(a.x, lower(concat(a.x, b.y))))", "not of one table"),
        ("select 1 from a join b on ai_filter(llm_prompt(a.x, array(b.y)))", "not a literal"),
        (f"select struct(*) from a join b on {P}", "star stands in an expression"),
    ],
)
def test_other_forms_are_left(select: str, reason: str | None) -> None:
    database = Database(1)
    tree, operator, context = parse(select), Join(), Context(LLMSettings(), (), database.columns)
    assert isinstance(tree, exp.Select)
    nodes = operator.nodes(tree, context)
    if reason is None:
        assert nodes
        return
    with pytest.raises(Unfit, match=reason):
        operator.cut(nodes[0], tree, context)


def test_a_filter_of_one_table_is_not_a_join() -> None:
    database = Database(1)
    for sql in (
        "select 1 from a join b on a.k = b.k and ai_filter(llm_prompt('is <{a.x}> good?'))",
        "select 1 from a join b on a.k = b.k where ai_filter(concat(x, n))",
        "select 1 from a where ai_filter(x)",
        f"select case when {P} then 1 end from a join b on a.k = b.k",
    ):
        tree = parse(sql)
        assert isinstance(tree, exp.Select)
        assert Join().nodes(tree, Context(LLMSettings(), (), database.columns)) == []


@pytest.mark.parametrize("method", ["pairs", "blocks", "classify", "candidates"])
def test_a_way_can_be_forced(method: str) -> None:
    select = "select a.id, b.bid from a join b on ai_filter(llm_prompt('<{a.x}> is <{b.y}>')"
    database = Database(1)
    expected = database.rows(exact(select + ")"))
    for sql, settings in (
        (f"{select}, method => '{method}')", LLMSettings()),
        (f"{select})", LLMSettings(join_method=method)),
    ):
        rest, (cut,), tools = run(sql, database, settings)
        assert database.rows(rest) == expected
        tables = {name: database.table(write(query)) for name, query in cut.inputs.items()}
        ways = cut.ways(tables, tools)  # type: ignore[arg-type]
        assert [way.name for way in ways if way.taken] == [method]
        assert {way.name for way in ways} >= {"pairs", "blocks", "classify"}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("method => 'block'", "a join has no method block"),
        ("recall_target => 2", "recall_target is a number between 0 and 1, not 2"),
        ("confidence => 'high'", "confidence is a number between 0 and 1, not high"),
    ],
)
def test_wrong_arguments(argument: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        run(f"select 1 from a join b on ai_filter(llm_prompt('{{a.x}} is {{b.y}}'), {argument})", Database(1))


@pytest.mark.parametrize(
    "select",
    [
        "select id from a where ai_filter(x, method => 'blocks')",
        "select ai_filter(concat(a.x, b.y), method => 'blocks') from a join b on a.k = b.k",
    ],
)
def test_a_method_is_for_joins(select: str) -> None:
    with pytest.raises(OptionError, match="method of ai_filter is for a condition between two tables"):
        run(select, Database(1))


def test_pairs_without_an_answer_are_counted() -> None:
    database = Database(1)
    tree = parse(f"select a.id, b.bid from a join b on {P}")
    assert isinstance(tree, exp.Select)
    context, tools = Context(LLMSettings(), (), database.columns), Tools()
    tools.oracle.refuses = "Initech"
    cut = Join().cut(Join().nodes(tree, context)[0], tree, context)
    cut.run({"left": pa.table({"v0": ["Acme", "Initech"]}), "right": pa.table({"v0": ["acme", "b", "c"]})}, tools)  # type: ignore[arg-type]
    assert tools.notes == ["3 pairs of the join have no answer and count as not true: refusal: the model refuses"]
