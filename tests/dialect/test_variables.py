from __future__ import annotations

from datetime import datetime

import pytest

from sqlllm.dialect import Set, Text, Variables, parse
from sqlllm.errors import OptionError, VariableError
from sqlllm.places import Source

NOW = datetime(2024, 2, 29, 15, 4, 5, 678000)


def text(raw: str) -> Text:
    return Text.of(raw, Source(raw).place(0, len(raw)))


@pytest.fixture
def variables() -> Variables:
    return Variables(home="/home/ann", owner="ann", environment={"DATA": "/data"}, now=lambda: NOW)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain $5 {0} #{x}", "plain $5 {0} #{x}"),
        ("${today} ${yesterday} ${tomorrow}", "2024-02-29 2024-02-28 2024-03-01"),
        ("${theDayBeforeYesterday}", "2024-02-27"),
        ('${date.toString("yyyyMMdd")}', "20240229"),
        ("${date.toString('yy/M/d HH:mm:ss.SSS a EEEE')}", "24/2/29 15:04:05.678 PM Thursday"),
        ("${date.toString(\"yyyy'year' 'o''clock' hh\")}", "2024year o'clock 03"),
        ('${date.minusYears("1").toString("yyyy-MM-dd")}', "2023-02-28"),
        ('${date.plusMonths("12").minusDays(1)}', "2025-02-27"),
        ("${HOME}/${OWNER}", "/home/ann/ann"),
        ("${env:DATA}/${env:NONE:x}", "/data/x"),
        ("${none:}|${none:a ${OWNER} b}", "|a ann b"),
        (r"\${today}", "${today}"),
    ],
)
def test_built_ins_and_defaults(variables: Variables, written: str, value: str) -> None:
    assert text(written).resolve(variables) == value


@pytest.mark.parametrize(
    ("written", "message", "cure", "column"),
    [
        ("a ${nmae} b", "variable nmae is not set", "Did you mean name?", 3),
        ("a ${name} ${x:${yy}}", "variable yy is not set", 'Write set yy="..."', 15),
        ("${env:NONE}", "the environment variable NONE is not set", "", 1),
        ("${date.tostring('y')}", "date has no method tostring", "Did you mean toString?", 1),
        ("${name.trim()}", "name has no method trim", "Only date", 1),
        ("${date.toString('yyyy-Q')}", "a date pattern has no letter Q", "yyyy-MM-dd", 1),
        ("${date.plusDays('many')}", "Days must be a whole number, not many", "", 1),
        ("${date.plusYears('99999')}", "the date moved by 99999 years is out of range", "", 1),
    ],
)
def test_what_is_not_set_is_an_error_at_its_place(
    variables: Variables, written: str, message: str, cure: str, column: int
) -> None:
    variables.set("name", "n")
    with pytest.raises(VariableError) as caught:
        text(written).resolve(variables)
    assert caught.value.message == message
    assert cure in caught.value.cure
    assert caught.value.place is not None
    assert caught.value.place.column == column


def test_a_value_is_bound_when_it_is_set(variables: Variables) -> None:
    variables.set("a", "1")
    variables.set("b", text("<${a}>"))
    variables.set("a", "2")
    assert variables.get("b") == "<1>"


def test_a_later_definition_fills_in_an_earlier_one(variables: Variables) -> None:
    variables.set("c", text("${b}!"))
    variables.set("b", text("<${a}>"))
    with pytest.raises(VariableError, match=r"c needs \$\{a\}, which is not set"):
        variables.get("c")
    variables.set("a", "1")
    assert variables.get("c") == "<1>!"
    variables.set("a", "2")
    assert variables.get("c") == "<1>!"


def test_a_variable_may_extend_itself_but_not_begin_with_itself(variables: Variables) -> None:
    variables.set("path", "/a")
    variables.set("path", text("${path}/b"))
    assert variables.get("path") == "/a/b"
    variables.set("loop", text("${pool}x"))
    variables.set("pool", text("${loop}x"))
    with pytest.raises(VariableError, match="the value of loop needs loop itself"):
        variables.get("loop")


def test_scopes(variables: Variables) -> None:
    variables.set("kept", "1", scope="session")
    variables.set("gone", "1")
    variables.set("kept", "2", default=True)
    assert variables.get("kept") == "1"
    variables.set("kept", "3")
    assert variables.get("kept") == "3"
    variables.end_request()
    assert (variables.get("kept"), variables.get("gone")) == ("1", None)
    variables.set("kept", "4")
    variables.set("kept", "5", scope="session")
    assert variables.get("kept") == "5"
    with pytest.raises(OptionError, match="unknown scope sesion") as caught:
        variables.set("x", "1", scope="sesion")
    assert caught.value.key == "scope"


def test_what_is_hidden_stays_out_of_selects_even_through_another_variable(variables: Variables) -> None:
    variables.set("key", "sk-1", visibility="un_select")
    variables.set("header", text("Bearer ${key}"))
    select = parse("select '${header}' as h as t;").statements[0]
    with pytest.raises(VariableError, match="not visible in a select"):
        select.sql.resolve(variables)  # type: ignore[attr-defined]
    assert text("${header}").resolve(variables) == "Bearer sk-1"
    assert variables.hidden_values() == ["sk-1", "Bearer sk-1"]
    with pytest.raises(OptionError, match="unknown visibility"):
        variables.set("x", "1", visibility="none")


def test_the_bindings_of_a_macro_end_with_it(variables: Variables) -> None:
    variables.set("x", "outer")
    with variables.bound({"x": "inner", "y": "1"}):
        variables.set("z", "kept")
        assert (variables.get("x"), variables.get("y")) == ("inner", "1")
    assert (variables.get("x"), variables.get("y"), variables.get("z")) == ("outer", None, "kept")


def test_template_get_fills_placeholders(variables: Variables) -> None:
    variables.set("greeting", "Hello {0}, {1:friend} of {0}")
    assert text('${template.get("greeting","Ann")}').resolve(variables) == "Hello Ann, friend of Ann"


def test_set_many_variables_is_linear(variables: Variables) -> None:
    # Quadratic binding takes minutes here.
    script = parse("".join(f"set v{n} = '${{v{n - 1}:0}}';" for n in range(1, 5_000)))
    assert not script.errors
    for statement in script.statements:
        assert isinstance(statement, Set)
        variables.set(statement.key.resolve(variables), statement.value)
    assert variables.get("v4999") == "0"
