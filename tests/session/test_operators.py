"""The frame of the semantic operators: what is cut out of a select, where, and that the rest means the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pytest
from sqlglot import exp

from sqlllm.errors import ParseError
from sqlllm.session import Session
from sqlllm.session.operators import running
from sqlllm.session.operators.asking import Asker
from sqlllm.session.operators.cut import Context, Cut, Unfit, Way, arguments, looked_up, own, parse, source
from sqlllm.settings import Settings
from sqlllm.udfs.transport import Endpoint
from tests.udfs import gateway as gateways

from .conftest import Recorder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.session.operators.tools import Tools

KEYS = pa.schema([("text", pa.string()), ("value", pa.string())])


class Louder:
    """ai_loud(text): the texts of its input in upper case, all at once."""

    functions: ClassVar[frozenset[str]] = frozenset({"ai_loud"})
    stand_in: ClassVar[Mapping[str, str]] = {"ai_loud": "concat({0}, '')"}

    def __init__(self) -> None:
        self.inputs: list[list[str]] = []

    def nodes(self, select: exp.Select, context: Context) -> Sequence[exp.Expr]:
        return own(select, self.functions)

    def cut(self, node: exp.Expr, select: exp.Select, context: Context) -> Cut:
        text = arguments(node).by_place[0]
        if text.find(exp.AggFunc):
            raise Unfit("its text is of several rows")
        query = source(select, [exp.alias_(text.copy(), "text")], {*self.functions, *context.models})

        def run(tables: Mapping[str, pa.Table], tools: Tools) -> pa.Table:
            texts = sorted({one for one in tables["rows"]["text"].to_pylist() if one is not None})
            self.inputs.append(texts)
            return pa.table([texts, [one.upper() for one in texts]], schema=KEYS)

        def put(view: str) -> None:
            node.replace(looked_up(view, {"text": text}, "value"))

        def ways(tables: Mapping[str, pa.Table], tools: Tools) -> Sequence[Way]:
            return [Way("at once", "loud", 1, 10, 5, taken=True), Way("each", "loud", tables["rows"].num_rows)]

        return Cut(node, {"rows": query}, run, put, ways, KEYS)


def test_ai_functions_that_sqlglot_knows_become_calls() -> None:
    tree = parse("select ai_agg(x, 'i'), ai_classify(x, array('a'), cascade => 'emb'), ai_summarize_agg(y) from t")
    assert tree is not None
    assert [call.name for call in own(tree, {"ai_agg", "ai_classify", "ai_summarize_agg"})] == [
        "ai_agg",
        "ai_classify",
        "ai_summarize_agg",
    ]
    given = arguments(tree.expressions[1])
    assert (len(given.by_place), given.constant("cascade")) == (2, "emb")


def test_calls_of_inner_queries_are_not_the_outer_ones() -> None:
    tree = parse("with c as (select f(a) from t) select f(b) from c where x in (select f(d) from u)")
    assert isinstance(tree, exp.Select)
    assert [call.sql() for call in own(tree, {"f"})] == ["F(b)"]


def test_the_source_keeps_cheap_conditions_alone() -> None:
    tree = parse("select a from t join u on t.k = u.k where a > 1 and ai_loud(b) = 'X' and m(c) = 1 order by a limit 3")
    assert isinstance(tree, exp.Select)
    below = source(tree, [exp.column("b")], {"ai_loud", "m"})
    assert below.sql() == "SELECT b FROM t JOIN u ON t.k = u.k WHERE a > 1"


# --- The asker ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gateway() -> Iterator[gateways.Gateway]:
    with gateways.serve() as server:
        yield server


def asker(gateway: gateways.Gateway, **options: object) -> Asker:
    return Asker(Endpoint(url=gateway.url, model="up", retry_seconds=0, **options))  # type: ignore[arg-type]


def test_distinct_prompts_are_asked_once(gateway: gateways.Gateway) -> None:
    lines: list[str] = []
    one = asker(gateway)
    one.progress = lines.append
    before = len(gateway.prompts)
    replies = one.ask(["a", "b", "a", "b", "c"], system="s", what="testing")
    assert [reply.text for reply in replies] == ["A", "B", "A", "B", "C"]
    assert [reply.text for reply in one.ask(["c", "d"], system="s")] == ["C", "D"]
    assert Counter(gateway.prompts[before:]) == Counter("abcd")
    assert lines[0] == "testing up: 3 of 3"


def test_a_prompt_fails_alone(gateway: gateways.Gateway) -> None:
    good, bad, empty = asker(gateway).ask(["good", "bad", " "])
    assert (good.text, good.failed) == ("GOOD", False)
    assert (bad.text, bad.error) == (None, "context_length_exceeded: too long")
    assert empty.error == "empty_prompt: the instruction is empty"


def test_typed_answers(gateway: gateways.Gateway) -> None:
    number, wrong = asker(gateway).ask(["42", "none"], returns="int")
    assert (number.text, number.failed) == ("42", False)
    assert wrong.error.startswith("unreadable_answer")
    schema = {"type": "array", "items": {"type": "integer"}}
    found, wrong = asker(gateway).ask(["[1, 2]", "no array"], schema=schema)
    assert found.value == [1, 2]
    assert wrong.error.startswith("unreadable_answer")
    assert gateway.requests[-1]["response_format"]["json_schema"]["schema"] == schema


def test_rows_are_counted_for_the_statement(gateway: gateways.Gateway) -> None:
    one = asker(gateway, query='{"id":"q-1"}')
    one.ask(["a", "bad"])
    one.ask(["b"])
    (told,) = {(report["part"][0], report["part"][1]) for report in gateway.reports[-2:]}
    assert told[0] < 0
    assert (gateway.reports[-1]["rows"], gateway.reports[-1]["failed"]) == (3, 1)


# --- In Spark -----------------------------------------------------------------------------------------------------


@pytest.fixture
def louder(monkeypatch: pytest.MonkeyPatch) -> Louder:
    operator = Louder()
    monkeypatch.setattr(running, "OPERATORS", (operator,))
    return operator


@pytest.fixture
def spoken(spark: SparkSession, recorder: Recorder) -> Session:
    session = Session(Settings(), spark=spark, observer=recorder)
    session.run("select * from values (1, 'a', 'g'), (2, 'b', 'g'), (3, null, 'h'), (4, 'a', 'h') as v(id, x, g) as t;")
    return session


SAME = [  # with ai_loud, and as Spark alone has it
    "select id, {x} as y from t",
    "select id from t where {x} = 'A' and id > 1",
    "select * from (select *, {x} as y from t) where y = 'A' order by id",
    "with c as (select id, {x} as y from t where g = 'g') select a.id, b.id as other from c a join c b on a.y = b.y",
    "select id from t where id in (select id from t as t where {x} = 'B') union all select id from t where {x} = 'A'",
    "with t as (select id, concat(x, x) as x from t) select id, {x} as y from t",
    "select id, {x} as y from t where g = 'g' union select id, {x} from t where g = 'h'",
]


@pytest.mark.slow
@pytest.mark.parametrize("select", SAME)
def test_the_rest_means_the_same(spoken: Session, louder: Louder, select: str) -> None:
    cut = spoken.run(select.format(x="ai_loud(x)") + ";")
    plain = spoken.run(select.format(x="upper(x)") + ";")
    assert cut is not None
    assert plain is not None
    assert Counter(cut.rows()) == Counter(plain.rows())
    assert cut.columns == plain.columns
    assert louder.inputs
    assert not [one for one in spoken.spark.catalog.listTables() if one.name.startswith("llm_operator")]


@pytest.mark.slow
def test_inputs_are_filtered_before(spoken: Session, louder: Louder) -> None:
    spoken.run("select id, ai_loud(x) as y from t where g = 'g' and id > 1 as u;")
    assert louder.inputs == [["b"]]


@pytest.mark.slow
def test_explain_runs_nothing(spoken: Session, louder: Louder) -> None:
    result = spoken.run("explain llm select id from t where ai_loud(x) = 'A';")
    assert result is not None
    taken, other, total = (row.asDict() for row in result.rows())
    assert (taken["note"], taken["calls"], taken["rows"]) == ("taken: at once", 1, 4)
    assert (other["note"], other["calls"]) == ("not taken: each", 4)
    assert (total["calls"], total["prompt_tokens"]) == (1, 10)
    assert louder.inputs == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("select", "reason"),
    [
        ("select ai_loud(max(x)) from t", "its text is of several rows"),
        ("select id from t where exists (select ai_loud(t.x) from t as u where ai_loud(t.x) = u.g)", "looked at alone"),
        ("select ai_loud(x) from (select *, rand() as r from t)", "other rows each time"),
    ],
)
def test_what_cannot_be_cut_out_says_why(spoken: Session, louder: Louder, select: str, reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        spoken.run(select + ";")
    assert louder.inputs == []
