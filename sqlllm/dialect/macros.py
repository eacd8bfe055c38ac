"""Placeholders (`{}`, `{0}`, `{0:default}`, `{-1:next(named,uuid())}`, `{:all}`) and macros: scripts with placeholders.

A macro's arguments become variables of its script and its placeholders references to them. So an argument is inserted
by value, whatever it holds, and cannot end the quotes around its placeholder.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Sequence

from ..errors import ParseError
from ..places import Source
from .text import REFERENCE
from .tokens import QUOTED, Kind, Tokenizer

_PLACEHOLDER = r"\{(?P<index>-?\d+)?(?::(?P<rest>(?:[^{}]|\{[^{}]*\})*))?\}"
_ONE = re.compile(_PLACEHOLDER)
_REFERENCE_OR_ONE = re.compile(rf"{REFERENCE}|{_PLACEHOLDER}")
_NEXT = re.compile(r"next\(\s*([\w-]+)\s*(?:,\s*(.*?)\s*)?\)", re.DOTALL)


def render(template: str, args: Sequence[str]) -> str:
    """`template` with its placeholders filled in; one without an argument or a default is empty."""
    fill = _Filler(args)
    return _ONE.sub(lambda match: fill(match, missing=lambda _: ""), template)


def expand(name: str, body: str, args: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The script of `!name args`, and the variables to run it with.

    `body` is the macro's text. With `_` as first argument the others are `-key value` pairs, for `${key}` in the body.
    Raises ParseError if an argument is missing.
    """
    if args[:1] == ["_"]:
        return body, _named(name, args[1:])
    bindings: dict[str, str] = {}
    fill = _Filler(args)

    def missing(placeholder: str) -> str:
        raise ParseError(
            f"!{name} needs an argument for {placeholder}", cure=f"Give one, or write {placeholder[:-1]}:default}}."
        )

    def bind(match: re.Match[str], quoted: bool) -> str:
        if match[0].startswith("$"):
            return match[0]
        value = fill(match, missing)
        if value == match[0] or (not quoted and value.isidentifier()):
            return value  # a bare word may be a keyword, which no variable can stand for
        variable = f"argument_{len(bindings)}"
        bindings[variable] = value
        return f"${{{variable}}}"

    out, done = [], 0
    for kind, start, end in _quoted(body):
        out.append(_REFERENCE_OR_ONE.sub(lambda match: bind(match, False), body[done:start]))
        inside = body[start:end]
        out.append(inside if kind is Kind.COMMENT else _REFERENCE_OR_ONE.sub(lambda match: bind(match, True), inside))
        done = end
    out.append(_REFERENCE_OR_ONE.sub(lambda match: bind(match, False), body[done:]))
    return "".join(out), bindings


class _Filler:
    """Gives each placeholder its value; other braces stay as they are."""

    def __init__(self, args: Sequence[str]) -> None:
        self._args = args
        self._next = 0

    def __call__(self, match: re.Match[str], missing: Callable[[str], str]) -> str:
        index, rest = match["index"], match["rest"]
        if index is None and rest is not None:
            return json.dumps(list(self._args), ensure_ascii=False) if rest.strip() == "all" else match[0]
        if index is not None and int(index) < 0:
            after = _NEXT.fullmatch((rest or "").strip())
            return self._after(after[1], after[2]) if after else match[0]
        if index is None:
            position, self._next = self._next, self._next + 1
        else:
            position = int(index)
        if position < len(self._args):
            return self._args[position]
        return missing(match[0]) if rest is None else _default(rest)

    def _after(self, word: str, default: str | None) -> str:
        following = dict(zip(reversed(self._args[:-1]), reversed(self._args[1:]), strict=True))
        return following[word] if word in following else _default(default or "")


def _default(text: str) -> str:
    return uuid.uuid4().hex if text.strip() == "uuid()" else text.strip("\"'")


def _named(name: str, args: Sequence[str]) -> dict[str, str]:
    keys, values = args[::2], args[1::2]
    for key in keys:
        if not key.startswith("-"):
            raise ParseError(f"!{name} _ expects -key value pairs, found {key}", cure=f"Write !{name} _ -{key} value;")
    if len(keys) > len(values):
        raise ParseError(f"!{name} has no value for {keys[-1]}")
    return {key.lstrip("-"): value for key, value in zip(keys, values, strict=True)}


def _quoted(body: str) -> list[tuple[Kind, int, int]]:
    found: list[tuple[Kind, int, int]] = []
    tokenizer = Tokenizer(Source(body))
    while tokens := tokenizer.statement(comments=True):
        found += [
            (token.kind, token.start, token.end)
            for token in tokens
            if token.kind in QUOTED or token.kind is Kind.COMMENT
        ]
    return found
