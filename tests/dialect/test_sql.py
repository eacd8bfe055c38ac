"""What reaches Spark: values inside quotes stay inside, and every character knows its place in the script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sqlllm.dialect import Load, Select, Set, SqlText, Variables, parse
from sqlllm.session.called import Functions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NASTY = [
    "", "it's", 'say "x"', "`tick`", "back\\slash", "\\", "\\'", "a\nb\r\n\tc", "a;b", "--c", "/* c */", "${x}",
    "{{x}}", "{0}", "%_\\%", "'''", '"""', "' or 1=1 --", "\\u0041", "é中文🙂", "$x ## #set", "\x00\x1a",
    "' as q; drop table t; --",
]  # fmt: skip
LITERALS = ["'{}'", '"{}"', "'a{}b'", "r'{}'", 'R"{}"', "'''{}'''", '"""{}"""', "'x''{}'"]


def select(text: str) -> Select:
    script = parse(text)
    assert not script.errors
    (statement,) = script.statements
    assert isinstance(statement, Select)
    return statement


@pytest.mark.parametrize("value", NASTY)
def test_an_option_a_path_and_a_name_get_the_value_itself(value: str) -> None:
    variables = Variables()
    variables.set("v", value)
    (load,) = parse("""load csv.`/x/${v}` where a="<${v}>" and b='''${v}''' and `${v}`="c" as `${v}`;""").statements
    assert isinstance(load, Load)
    assert load.path.resolve(variables) == f"/x/{value}"
    assert load.options.resolve(variables) == {"a": f"<{value}>", "b": value, value: "c"}
    assert load.table.resolve(variables) == value


@pytest.mark.slow
@pytest.mark.parametrize("literal", LITERALS)
def test_spark_reads_the_value_back(spark: SparkSession, literal: str) -> None:
    spark.conf.set("spark.sql.variable.substitute", "false")
    variables = Variables()
    around = {"'a{}b'": "a{}b", "'x''{}'": "x'{}"}.get(literal, "{}")
    for value in NASTY:
        variables.set("v", value)
        sql = select(f"select {literal.replace('{}', '${v}')} as q as t;").sql.resolve(variables)
        row = spark.sql(sql).collect()[0]
        assert row.asDict() == {"q": around.replace("{}", value)}, sql


@pytest.mark.slow
def test_spark_reads_a_backquoted_name_back(spark: SparkSession) -> None:
    variables = Variables()
    for value in ["it's", "`", "a``b", "a;b", 'x"', "a b", "--"]:
        variables.set("v", value)
        sql = select("select 1 as `${v}` as t;").sql.resolve(variables)
        assert spark.sql(sql).columns == [value]


@pytest.mark.slow
def test_spark_reads_block_strings_as_byzer_did(spark: SparkSession) -> None:
    sql = select("""select '''it's "q"\\n''' as a, \"\"\"x "y" 'z'\"\"\" as b, '''' as c as t;""").sql.resolve(
        Variables()
    )
    assert tuple(spark.sql(sql).collect()[0]) == ('it\'s "q"\n', "x \"y\" 'z'", "'")


def test_a_raw_literal_ends_at_its_quote_whatever_is_before() -> None:
    variables = Variables()
    variables.set("v", "it's")
    sql = select(r"""select r'a\' as a, R"b\" as b, r'${v}\' as c, 'd\'' as d as t;""").sql
    assert sql.resolve(variables) == r"""select r'a\' as a, R"b\" as b, 'it\'s\\' as c, 'd\'' as d"""


def test_outside_quotes_a_value_is_sql() -> None:
    variables = Variables()
    variables.set("table", "db.t")
    variables.set("cond", "a = 'x' and b in ('y')")
    sql = select("select * from ${table} where ${cond} as t;").sql.resolve(variables)
    assert sql == "select * from db.t where a = 'x' and b in ('y')"


def test_a_value_never_meets_a_comment() -> None:
    """Spark's comments nest and go on after a backslash; ours do neither."""
    variables = Variables()
    variables.set("x", "*/ from secrets --\n, y")
    text = "select 1 -- ${nothing} it's \\\n, /* /* ${nothing} */ '${x}' as t"
    assert select(text).sql.resolve(variables) == "select 1  \n,   '*/ from secrets --\n, y'"


def test_comments_stay_where_no_value_comes() -> None:
    text = "select 1 -- it's\n/* a */ + /*+ hint */ 2"
    assert select(text).sql.resolve(Variables()) == text


def test_a_hint_takes_variables() -> None:
    text = "select /*+ repartition(${n:4}) */ a from t as u"
    assert select(text).sql.resolve(Variables()) == "select /*+ repartition(4) */ a from t"


def test_an_escaped_dollar_stays_a_dollar() -> None:
    assert select(r"select '\${a}', \${b} as t").sql.resolve(Variables()) == "select '${a}', ${b}"


def test_every_character_knows_its_place() -> None:
    variables = Variables()
    variables.set("short", "s")
    variables.set("long", "l'" * 50)
    text = (
        "-- first\nselect ${short}, '${long}${short}' as x,\n  '''it's''' as b, MARK from t where r'${long}' = '' as t;"
    )
    statement = select(text)
    rendered = statement.sql.render(variables)
    for word in ["MARK", "from", "as b", "t where"]:
        start = rendered.text.index(word)
        assert rendered.place_at(start, start + len(word)).text == word
        line = rendered.text.count("\n", 0, start) + 1
        column = start - rendered.text.rfind("\n", 0, start)
        assert rendered.place_of(line, column).text == word[0]
    inside = rendered.text.index("l\\'l")
    assert rendered.place_at(inside + 20).text == "${long}"
    assert rendered.place_at(0).text == "s"
    assert rendered.place_at(len(rendered.text) + 100).text  # never outside


def test_quoted_sql_has_its_place_too() -> None:
    variables = Variables()
    variables.set("v", "it's")
    (statement,) = parse('set n = "select \'${v}\' MARK" where type="sql";').statements
    assert isinstance(statement, Set)
    rendered = SqlText.of(statement.value).render(variables)
    assert rendered.text == "select 'it\\'s' MARK"
    assert rendered.place_at(rendered.text.index("MARK")).text == "M"


def test_quoted_sql_is_escaped_to_its_end() -> None:
    variables = Variables()
    variables.set("v", "it's")
    (statement,) = parse("""set n = "select 1; select '${v}'" where type="sql";""").statements
    assert isinstance(statement, Set)
    assert SqlText.of(statement.value).resolve(variables) == "select 1; select 'it\\'s'"


@pytest.mark.parametrize(
    ("sql", "message", "place", "cure"),
    [
        ("select *\nform t as u", "SQL: `t` is unexpected here", "2:6", "Did you mean from in place of form?"),
        ("select a from t\nwhere as u", "SQL: something is missing at `where`", "2:1", ""),
        ("select '${v}${v}', f((1 from t as u", "SQL: expecting )", "1:25", ""),
        ("select cast(a as) from t as u", "SQL: expected TYPE after CAST", "1:17", ""),
    ],
)
def test_wrong_sql_is_found_at_its_place(sql: str, message: str, place: str, cure: str) -> None:
    (warning,) = parse(sql).warnings
    assert warning.place is not None
    found = (warning.message, f"{warning.place.line}:{warning.place.column}", warning.cure)
    assert found == (message, place, cure)


@pytest.mark.parametrize("sql", (Path(__file__).parent / "valid.sql").read_text().splitlines())
def test_right_sql_is_not_warned_of(sql: str) -> None:
    script = parse(sql)
    assert not script.errors
    assert not script.warnings
    (statement,) = script.statements
    assert isinstance(statement, Select)
    own = ["m-1", "u"]
    assert [str(error) for error in Functions(own).check(statement.sql)] == []


def test_sql_that_a_variable_completes_is_not_judged() -> None:
    assert not parse("select a ${rest} b from t ${more} c as u").warnings
    assert parse("!if ''':a''';\nselect a b c as u;\n!fi;").warnings
