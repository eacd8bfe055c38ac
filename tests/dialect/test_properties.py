"""Random valid scripts: formatting keeps them, one wrong token is reported in its own statement, no text breaks us."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlllm.dialect import format_script, parse

from .fuzz import ATOMS, survive

names = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True).filter(
    lambda name: name not in {"as", "into", "where", "options", "and"}
)
quoted_names = st.one_of(names, st.text("ab c.;'\"${}中-", max_size=8).map(lambda text: f"`{text.replace('${', '')}`"))
spaces = st.sampled_from([" ", "  ", "\n", "\n\n  ", " -- a ; comment\n", " /* it's */ ", "\t"])
strings = st.one_of(
    st.text("ab ;`'\n${}-/*中", max_size=12).map(lambda text: '"' + text.replace("${", "") + '"'),
    st.text('ab ;`\n"{}-', max_size=12).map(lambda text: f"'{text}'"),
    st.text('ab ;`\n"{}-', max_size=12).map(lambda text: f"'''{text} '''"),
    st.sampled_from(["'${x}'", '"${x:d}"', '"\\"esc\\""', "'a\\'b'"]),
)


@st.composite
def options(draw: st.DrawFn) -> str:
    keys = draw(st.lists(quoted_names, min_size=1, max_size=4))
    space = draw(spaces)
    lead = draw(st.sampled_from(["where", "options", "WHERE", "where and"]))
    return f"{lead}{space}" + f"{space}and ".join(f"{key}={draw(strings)}" for key in keys)


@st.composite
def statements(draw: st.DrawFn) -> str:
    def maybe(strategy: st.SearchStrategy[str]) -> str:
        return draw(st.one_of(st.just(""), strategy))

    name, path, gap = draw(names), draw(quoted_names), draw(spaces)
    out = draw(names)
    body = draw(
        st.sampled_from(
            [
                "select {v} as x",
                "select f(a,b) , 'k;' from t",
                "with q as (select 1 as n)\nselect * from q\nwhere n > {v}",
            ]
        )
    )
    return draw(
        st.sampled_from(
            [
                f"load {name}.{path}{gap}{maybe(options())}{gap}as {out}",
                f"save {maybe(st.just('overwrite'))} {name} as{gap}csv.{path} {maybe(options())} partitionBy {out}",
                f"run {name}{gap}as LLM.{path} {maybe(options())}{gap}as {out}",
                f"set {name}{gap}={gap}{draw(strings)} {maybe(options())}",
                f"connect jdbc {draw(options())} as {out}",
                f"register {name}.`` as {out} {maybe(options())}",
                f"!{name} {draw(names)}{gap}{draw(strings)} -k",
                f"!if ''':a > 1''';{gap}select 1 as {out};{gap}!else;{gap}!{name};{gap}!fi",
                body.replace("{v}", draw(strings)) + f"{gap}as{gap}{out}",
            ]
        )
    )


scripts = st.lists(statements(), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(scripts, spaces)
def test_formatting_keeps_the_statements(parts: list[str], space: str) -> None:
    text = f"{space};{space}".join(parts)
    script = parse(text)
    assert not script.errors, script.errors[0]
    formatted = format_script(text)
    assert parse(formatted).statements == script.statements
    assert format_script(formatted) == formatted


WRONG = [
    (
        "load csv.`a` where k='v' as t",
        [
            "zz csv.`a` as t",
            "load csv`a` as t",
            "load csv.`a` k 'v' as t",
            "load csv.`a` t",
            "load csv.`a` where k=v as t",
        ],
    ),
    ("save overwrite t as csv.`a`", ["saev t as csv.`a`", "save overwrite t sa csv.`a`", "save overwrite t as .`a`"]),
    ("run t as LLM.`` where a='b'", ["run t LLM.``", "run t as LLM.`` where ='b'", "run t as LLM.`` where a='b' and"]),
    ("set a = 'b'", ["set a 'b'", "set = 'b'", "set a = 'b' 'c'", "set a ="]),
    ("select '${x}' as t", ["selct '${x}' as t", "select '${x y}' as t", "select 1 as t.u"]),
    ("!show tables", ["! ;", "@show"]),
]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(statements(), max_size=3), st.lists(statements(), max_size=3), st.sampled_from(WRONG), st.data())
def test_a_wrong_token_is_reported_in_its_statement(
    before: list[str], after: list[str], case: tuple[str, list[str]], data: st.DataObject
) -> None:
    right, wrongs = case
    assert not parse(right).errors
    head = "".join(part + "\n;" for part in before)
    wrong = data.draw(st.sampled_from(wrongs))
    script = parse(head + wrong + ";" + ";".join(after))
    assert script.errors
    for error in script.errors:
        assert error.place is not None
        assert len(head) <= error.place.start <= len(head) + len(wrong)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.sampled_from(ATOMS), st.text(max_size=5)), max_size=30).map("".join))
def test_no_text_breaks_the_parser(text: str) -> None:
    survive(text)


FOUND = [
    "connect${x:d}--%python\noptions",
    ";--%python\n",
    "select a /*c*/ #%chat\n from t",
    "--%chat\n--%sql\nselect 1",
    "run t as LLM.`x``y`=''",
    "run comm${x}and as LLM.`` where a='b'",
    "!a create/*+ x */where",
    "set`a`==----%sql\n`a`='''z'''",
    "connect``load${x:d}load='''z'''",
    "!a b\n--c\r\x7fd\n",
    "connect`a`\r\noptions--%python\n--%python\n!fiset",
    "connect`a` options\n--%python\n;",
    "select as--c\nload ,,",
    "select 1 as a,2",
    "connect`a` options --c\r--%python\n;",
    "!if a--c\n--%a=b\n;\n--c\n!fi",
    "\n--%AE\x1d\x1d",
]


@pytest.mark.parametrize("text", FOUND)
def test_what_fuzzing_found(text: str) -> None:
    survive(text)
