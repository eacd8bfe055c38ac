"""Errors point at the right character whatever stands before it: emoji, accents of their own, tabs, line ends."""

from __future__ import annotations

import pytest

from sqlllm.dialect import parse
from sqlllm.errors import ScriptError

BEFORE = [
    "'🎉'", "'👩‍👩‍👧 🇩🇪 ❤️'", "'e\u0301a\u0308'", "'中文'", "'\t'", "'\u2028\u0085\x0b'", "'שלום'",
    "/* 🎉\r\n🎉 */ 1", "'a' -- 🎉\r\n",
]  # fmt: skip


def place(error: ScriptError) -> tuple[int, int]:
    assert error.place is not None
    return error.place.line, error.place.column


def of(text: str, word: str) -> tuple[int, int]:
    """Line and column of `word` in `text`, in characters."""
    start = text.index(word)
    return text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)


@pytest.mark.parametrize("before", BEFORE)
def test_errors_of_the_dialect(before: str) -> None:
    text = f"select {before} as a as t;\r\nload csv.`🎉` where a='🎉' wrong as t;"
    (error,) = [one for one in parse(text).errors if "wrong" in one.message and "and" in one.message]
    assert place(error) == of(text, "wrong")


@pytest.mark.parametrize("before", BEFORE)
def test_warnings_about_sql(before: str) -> None:
    text = f"-- 🎉\r\nselect {before}, ('🎉' MARK MARK2) from t as u;"
    (warning,) = parse(text).warnings
    assert place(warning) == of(text, "MARK2")


@pytest.mark.parametrize(
    ("before", "within", "line"),
    [
        ("a ", "bc", "  ^^"),
        ("", "🎉", "^^"),
        ("'🎉' ", "x", "     ^"),
        ("'e\u0301' ", "x", "    ^"),
        ("中文 ", "文b", "     ^^^"),
        ("\t🎉\t", "x", "\t  \t^"),
        ("'👩‍👩‍👧' ", "x", "     ^"),
    ],
)
def test_the_caret_stands_under_the_character(before: str, within: str, line: str) -> None:
    source = parse(f"{before}{within} rest").source
    quoted = source.place(len(before), len(before) + len(within)).quote()
    assert quoted == f"1 | {before}{within} rest\n  | {line}"


def test_a_place_at_the_end_of_a_line_has_a_caret() -> None:
    source = parse("ab\r\ncd").source
    assert source.place(2, 3).quote() == "1 | ab\n  |   ^"
    assert source.place(1, 6).quote() == "1 | ab\n  |  ^"
