"""Hostile input costs no more than its length. A quadratic step takes minutes on each of these: they need no clock."""

from __future__ import annotations

import pytest

from sqlllm.dialect import format_script, parse
from sqlllm.dialect.nesting import DEEPEST

N = 20_000


@pytest.mark.parametrize(
    "text",
    [
        "(" * N,
        "select " + "(" * N + ")" * N + " as t;",
        "select " + "f(" * N + ";",
        "${" * N,
        "select '" + "${x:" * N + "' as t;",
        "select ${" + "a." * N + " as t;",
        "select ${date" + ".f(1)" * N + " as t;",
        "load csv.`a` where " + 'a="b" ' * N,
        "load csv.`a` as t\n" * N,
        "'" * N + "x",
        '\\";\n' * N,
        "/* ;\n" * N,
        "''';\n" * N,
        "`;\n" * N,
        "a='x;\nb;\n" * N,
        "!if;" * N,
        "!if ''':a''';" * N,
        "!fi;" * N,
        "--%a=b\n" * N,
        "--%python\n" + "--%a=b\n" * N,
        "--%python\n\n" + "--%a=b\n" * N + "x",
        ";" * N,
        "\n" * N + "x",
        " " * N + "x",
        "-- c\n" * N,
        "\\" * N,
        "!m " + "a" * N + " {" * N,
        "set a = '" + "x;\n" * N + "';",
    ],
    ids=lambda text: repr(text[:24]),
)
def test_is_read_in_linear_time(text: str) -> None:
    script = parse(text)
    for error in script.errors[:10]:
        str(error)


def test_branches_nest_as_deep_as_said() -> None:
    deep = "!if ''':a''';" * DEEPEST + "select 1 as t;" + "!fi;" * DEEPEST
    script = parse(deep)
    assert not script.errors
    assert parse(format_script(deep)).statements == script.statements
    assert "nested more than" in parse("!if ''':a''';" + deep + "!fi;").errors[0].message


def test_a_long_script_is_formatted() -> None:
    script = 'load csv.`a` where x="1" and y="2" as t;\nselect a,b from t as u;\n' * 2_000
    assert format_script(script).count("\n") == 2_000 * 5
