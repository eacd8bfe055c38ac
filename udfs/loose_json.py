# ruff: noqa: RUF001 - other scripts' marks are meant
"""JSON as models write it: Python's quotes and words, bare keys, comments, trailing commas; never cut short."""

from __future__ import annotations

import json
import re
from typing import Any

Value = Any
"""None, bool, Number, str, list or dict."""


class Number(str):
    """A number as it was written."""

    __slots__ = ()


class Malformed(ValueError):
    """The text is not JSON, not even loosely."""


class Cut(Malformed):
    """The text ends inside a value."""


_SPACE = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])")
_WORD = re.compile(r"[^\W\d][\w$-]*")
_WORDS = {"true": True, "false": False, "null": None, "none": None, "undefined": None}
_NOT_NUMBERS = {"nan": "NaN", "infinity": "Infinity"}
_CLOSING = {'"': '"', "'": "'", "“": "”", "‘": "’", "`": "`"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_STARTS = re.compile(
    r"""\{\s*(?:["'“‘}]|[^\W\d][\w$-]*\s*[:：])|\[\s*(?:["'“‘\[\]{\d.-]|(?:null|true|false|None|True|False)\b)"""
)
_DEEPEST = 100
_STRICT = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=Number)


def loads(text: str) -> Value:
    """The value that the whole of `text` is; raises Malformed or Cut."""
    try:
        return _STRICT.decode(text)
    except (json.JSONDecodeError, RecursionError):
        pass
    value, end = _value(text, _skip(text, 0), 0)
    if _skip(text, end) < len(text):
        raise Malformed(f"something follows at {end}")
    return value


def found(text: str) -> list[Value]:
    """The objects and arrays in `text`, outermost, in order; raises Malformed or Cut if one of them is broken."""
    values, at = [], 0
    while match := _STARTS.search(text, at):
        try:
            value, at = _STRICT.raw_decode(text, match.start())
        except (json.JSONDecodeError, RecursionError):
            value, at = _value(text, match.start(), 0)
        values.append(value)
    return values


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _peek(text: str, at: int) -> str:
    if at >= len(text):
        raise Cut("the text ends inside a value")
    return text[at]


def _value(text: str, at: int, depth: int) -> tuple[Value, int]:
    start = _peek(text, at)
    if depth > _DEEPEST:
        raise Malformed(f"more than {_DEEPEST} values stand in each other")
    if start == "{":
        return _object(text, at + 1, depth + 1)
    if start == "[":
        return _array(text, at + 1, depth + 1)
    if start in _CLOSING:
        return _string(text, at)
    if number := _NUMBER.match(text, at):
        return Number(number[0]), number.end()
    sign = "-" if start == "-" else ""
    if (word := _WORD.match(text, at + len(sign))) and (key := word[0].lower()) in (
        _NOT_NUMBERS if sign else _WORDS | _NOT_NUMBERS
    ):
        return (Number(sign + _NOT_NUMBERS[key]) if key in _NOT_NUMBERS else _WORDS[key]), word.end()
    if word and word.end() == len(text) and any(known.startswith(word[0].lower()) for known in _WORDS):
        raise Cut("the text ends inside a value")
    raise Malformed(f"no value at {at}")


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Value], int]:
    fields: dict[str, Value] = {}
    while True:
        at = _skip(text, at)
        if _peek(text, at) == "}":
            return fields, at + 1
        if text[at] in _CLOSING:
            key, at = _string(text, at)
        elif word := (_WORD.match(text, at) or _NUMBER.match(text, at)):
            key, at = word[0], word.end()
        else:
            raise Malformed(f"no key at {at}")
        at = _skip(text, at)
        if _peek(text, at) not in ":：":
            raise Malformed(f"no colon at {at}")
        fields[key], at = _value(text, _skip(text, at + 1), depth)
        at = _end(text, at, "}")


def _array(text: str, at: int, depth: int) -> tuple[list[Value], int]:
    values: list[Value] = []
    while True:
        at = _skip(text, at)
        if _peek(text, at) == "]":
            return values, at + 1
        value, at = _value(text, at, depth)
        values.append(value)
        at = _end(text, at, "]")


def _end(text: str, at: int, closing: str) -> int:
    """Where the next element or the closing bracket stands."""
    at = _skip(text, at)
    if _peek(text, at) in ",，":
        return at + 1
    if text[at] != closing:
        raise Malformed(f"neither a comma nor {closing} at {at}")
    return at


def _string(text: str, at: int) -> tuple[str, int]:
    closing, parts, at = _CLOSING[text[at]], [], at + 1
    while (char := _peek(text, at)) != closing:
        at += 1
        if char == "\\":
            char = _peek(text, at)
            at += 1
            if char == "u" and re.fullmatch("[0-9a-fA-F]{4}", text[at : at + 4]):
                char, at = chr(int(text[at : at + 4], 16)), at + 4
            else:
                char = _ESCAPES.get(char, char)
        parts.append(char)
    joined = "".join(parts)
    if any("\ud800" <= char <= "\udfff" for char in joined):  # the halves of a pair, each escaped
        joined = joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return joined, at + 1
