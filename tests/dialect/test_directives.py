from __future__ import annotations

import pytest

from sqlllm.dialect import Variables, parse
from sqlllm.dialect.statements import Select
from sqlllm.errors import ParseError


def rendered(sql: str, **variables: str) -> str:
    values = Variables()
    for name, value in variables.items():
        values.set(name, value)
    (select,) = parse(f"{sql} as t;").statements
    assert isinstance(select, Select)
    return " ".join(select.sql.render(values).text.split())


def test_a_loop_writes_its_body_for_each_value() -> None:
    sql = """select
#set($columns = ["a", "b"])
#foreach( $c in $columns )
    sum(`$c`) as $c, '$c' as name_$c,
#end
    count(*) as n from ${table}"""
    assert rendered(sql, table="t") == (
        "select sum(`a`) as a, 'a' as name_a, sum(`b`) as b, 'b' as name_b, count(*) as n from t"
    )


def test_literals_and_names() -> None:
    assert rendered("select #set($n = 3) $n as a #set($m = 'x') , '$m' as b, $k as c") == (
        "select 3 as a , 'x' as b, $k as c"
    )
    assert rendered("select #foreach($n in [1, 2]) $n, #end 3 #foreach($n in []) , $n #end as a") == (
        "select 1, 2, 3 as a"
    )


@pytest.mark.parametrize("sql", ["select '#foreach($x in $y)' as a", "select /* #end */ 1", "select '#set($a=1) $a'"])
def test_what_stands_in_strings_and_comments_is_text(sql: str) -> None:
    assert rendered(sql) == sql


def test_a_value_is_never_a_directive() -> None:
    value = "#set($x = 1) it's $x #end"
    assert rendered("select '${v}' as a", v=value) == "select '" + value.replace("'", "\\'") + "' as a"


@pytest.mark.parametrize(
    ("sql", "message", "at"),
    [
        ("select #foreach($n in $names) 1 #end", "$names is not set", "#foreach"),
        ("select 1, #foreach($n in ['a']) 1", "this #foreach has no #end", "#foreach"),
        ("select #end 1", "#end without a #foreach before it", "#end"),
        ("select #if($x) 1", "unknown directive #if", "#if"),
        ("select #set 1", "#set makes no sense here", "#set"),
        ("select #set($n = select) 1", "select is neither a text nor a list", "#set"),
        ("select #foreach($a in [1]) #foreach($b in [2]) 1 #end #end", "#foreach inside a #foreach", "#foreach"),
    ],
)
def test_errors_stand_at_the_directive(sql: str, message: str, at: str) -> None:
    with pytest.raises(ParseError) as raised:
        rendered(sql)
    assert raised.value.message == message
    assert raised.value.place is not None
    assert raised.value.place.text == at
    (warning,) = parse(f"{sql} as t;").warnings
    assert warning.message == message
