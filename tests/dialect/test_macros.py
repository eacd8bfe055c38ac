from __future__ import annotations

import re

import pytest

from sqlllm.dialect import Load, Run, Save, Select, Variables, expand, parse, render
from sqlllm.errors import ParseError


@pytest.mark.parametrize(
    ("template", "args", "text"),
    [
        ("{} and {}", ["a", "b"], "a and b"),
        ("{1} {0} {0}", ["a", "b"], "b a a"),
        ("{0:x} {1:y} {2:'z w'}", ["a"], "a y z w"),
        ("{0}{1}", [], ""),
        ("{:all}", ['a"', "é"], '["a\\"", "é"]'),
        ("{-1:next(named,none)}", ["t", "named", "u"], "u"),
        ("{-1:next(named,none)}", ["t"], "none"),
        ('{"a": 1} {a} { } {-1}', ["x"], '{"a": 1} {a} { } {-1}'),
        ("{0}", ["{1} ${x} {0}"], "{1} ${x} {0}"),
    ],
)
def test_placeholders(template: str, args: list[str], text: str) -> None:
    assert render(template, args) == text


def test_uuid_default_is_new_each_time() -> None:
    first, second = (render("{-1:next(named,uuid())}", []) for _ in range(2))
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


NASTY = ["a'b", 'a"b', "a`b", "a\\", "a;b", "--", "/*", "${x}", "{0}", "a\nb", "'''", '"""', "x; drop table t;"]


@pytest.mark.parametrize("argument", NASTY)
def test_an_argument_reaches_its_place_unchanged(argument: str) -> None:
    body = """
    load csv.`{0}` where a="{0}" and b='''x{0}y''' as {1};
    select '{0}' as q from {1} as u;
    run {1} as {2:LLM}.`` where `{1}`="{:all}"
    """
    text, bindings = expand("m", body, [argument, "t"])
    variables = Variables()
    script = parse(text)
    assert not script.errors
    load, select, run = script.statements
    with variables.bound(bindings):
        assert isinstance(load, Load)
        assert load.path.resolve(variables) == argument
        assert load.options.resolve(variables) == {"a": argument, "b": f"x{argument}y"}
        assert load.table.resolve(variables) == "t"
        assert isinstance(select, Select)
        escaped = argument.replace("\\", "\\\\").replace("'", "\\'")
        assert select.sql.resolve(variables) == f"select '{escaped}' as q from t"
        assert isinstance(run, Run)
        assert run.module.resolve(variables) == "LLM"
        assert set(run.options.resolve(variables)) == {"t"}


@pytest.mark.parametrize("argument", NASTY)
def test_outside_quotes_it_cannot_begin_another_statement(argument: str) -> None:
    text, bindings = expand("m", "select {0} as t", [argument])
    script = parse(text)
    assert not script.errors
    (select,) = script.statements
    assert isinstance(select, Select)
    with (variables := Variables()).bound(bindings):
        assert select.sql.resolve(variables) == f"select {argument}"


def test_a_bare_word_may_be_a_keyword() -> None:
    text, bindings = expand("m", "save {0} t as csv.`/x`", ["append"])
    (save,) = parse(text).statements
    assert isinstance(save, Save)
    assert (save.mode, bindings) == ("append", {})


def test_named_arguments() -> None:
    body = "load csv.`${path}` as ${table}"
    assert expand("m", body, ["_", "-path", "/a b", "-table", "t"]) == (body, {"path": "/a b", "table": "t"})
    with pytest.raises(ParseError, match="expects -key value pairs, found path"):
        expand("m", body, ["_", "path", "x"])
    with pytest.raises(ParseError, match="has no value for -path"):
        expand("m", body, ["_", "-path"])


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(ParseError, match=r"!m needs an argument for \{1\}") as caught:
        expand("m", "select '{0}' as a, '{1}' as b as t", ["x"])
    assert "{1:default}" in caught.value.cure


def test_braces_of_others_are_left_alone() -> None:
    body = """select '{"a": {0}}' as j, '${x}' as k -- {1} in a comment
    as t"""
    text, bindings = expand("m", body, ["7"])
    with (variables := Variables()).bound(bindings):
        variables.set("x", "v")
        (select,) = parse(text).statements
        assert isinstance(select, Select)
        assert select.sql.resolve(variables) == """select '{"a": 7}' as j, 'v' as k"""
