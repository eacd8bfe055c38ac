"""The calls in a statement, cut by its tokens."""

from __future__ import annotations

import pytest

from sqlllm.dialect import RenderedSql
from sqlllm.places import Source
from sqlllm.session.calls import Call, Cut, calls, written_out


def shown(text: str, found: list[Call] | tuple[Call, ...]) -> list[object]:
    return [
        (text[call.start : call.end], [(one.name, text[one.start : one.end]) for one in call.arguments])
        if not call.inside
        else (call.name, shown(text, call.inside))
        for call in found
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select f(a, b => c[1, 2])", [("f(a, b => c[1, 2])", [("", "a"), ("b", "c[1, 2]")])]),
        ("select F ( 'f(x)' , /* g(1) */ (1, 2) )",
         [("F ( 'f(x)' , /* g(1) */ (1, 2) )", [("", "'f(x)'"), ("", "(1, 2)")])]),
        ("select f(g(1), f(2))", [("f", [("g(1)", [("", "1")]), ("f(2)", [("", "2")])])]),
        ("select h(f(1)), g()", [("f(1)", [("", "1")]), ("g()", [])]),
        ("select `f`(1), `g h`(2)", [("`f`(1)", [("", "1")]), ("`g h`(2)", [("", "2")])]),
        ("select f(1,)", [("f(1,)", [("", "1"), ("", "")])]),
        ("select f(a =>)", [("f(a =>)", [("a", "")])]),
        ("select g(f(1", []),
        ("select 'f(1)', \"f(2)\", t.f(3), f from f", []),
        ("select 1 from values (1) as f(a)", []),
        ("select 1 from t f(a)", []),
        ("with f(a) as (select g(1)) select 1", [("g(1)", [("", "1")])]),
        ("create function f(a int) returns int return g(a)", [("g(a)", [("", "a")])]),
        ("select x -> f(x), case when f(1) then f(2) end",
         [("f(x)", [("", "x")]), ("f(1)", [("", "1")]), ("f(2)", [("", "2")])]),
    ],
)  # fmt: skip
def test_calls_are_found(text: str, expected: list[object]) -> None:
    assert shown(text, calls(text, {"f", "g", "g h"})) == expected


def test_calls_are_written_from_the_inside_and_the_rest_keeps_its_place() -> None:
    text = "select f(g(1) + a), g(f(2)), b"
    sql = RenderedSql(text, Source(text).place(0, len(text)))

    def write(call: Call, cut: Cut) -> str | None:
        if call.name == "g":
            return None
        return f"<{cut(call.arguments[0].start, call.arguments[0].end)}>"

    out = written_out(sql, {"f", "g"}, write)
    assert out.text == "select <g(1) + a>, g(<2>), b"
    assert out.place_at(out.text.index("g(<")).text == "g"
    assert out.place_at(out.text.index("<2>"), out.text.index("<2>") + 3).text == "f(2)"
