"""User text that may hold `${variables}`: split once when parsed, filled in by value when run.

A value is inserted as it is and never read again as script text. In a SQL statement what "as it is" means depends on
where the reference stands: inside a literal or a backquoted name the value is escaped for it, so it cannot end it;
outside it is SQL, as Byzer has it (`select * from ${table}`).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from ..errors import ParseError
from ..places import Place, Source

_ARGUMENT = r"""(?:\\?"[^"\\]*+\\?"|\\?'[^'\\]*+\\?'|[\w.+-]++)"""
_CALL = rf"\.\w++\(\s*+(?:{_ARGUMENT}(?:\s*+,\s*+{_ARGUMENT})*+\s*+)?+\)"
_NAME = r"\w++(?:\.\w++(?!\())*+"
REFERENCE = rf"\$\{{\s*+{_NAME}(?:{_CALL})*+\s*+(?::(?:[^{{}}]|\{{[^{{}}]*+\}})*+)?+\}}"
"""Pattern of `${name}`, `${name:default}` and `${name.method("x")}`; a default may hold one level of braces."""

_PARTS = re.compile(rf"(?P<escape>\\\$\{{)|(?P<reference>{REFERENCE})|(?P<broken>\$\{{)")
_ANATOMY = re.compile(rf"\$\{{\s*(?P<name>{_NAME})(?P<calls>(?:{_CALL})*)\s*(?::(?P<default>.*))?\}}", re.DOTALL)
_CALLS = re.compile(r"\.(?P<method>\w+)\((?P<arguments>(?:\"[^\"]*\"|'[^']*'|[^\"')])*)\)")
_ARGUMENTS = re.compile(_ARGUMENT)


@dataclass(frozen=True, slots=True)
class Call:
    """`.method("argument", ...)` on a built-in variable."""

    method: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """`${name:default}` or `${name.method(...)}`; `place` is the whole of it, from `$` to `}`."""

    name: str
    calls: tuple[Call, ...]
    default: Text | None
    place: Place = field(compare=False, repr=False)


class Lookup(Protocol):
    """Where values come from; `Variables` is one."""

    def lookup(self, reference: Reference, *, in_select: bool = False) -> str:
        """The value of `reference`; raises VariableError at its place."""


Parts = tuple["str | Reference", ...]


@dataclass(frozen=True, slots=True)
class Text:
    """User text. `raw` is the text as written, without its quotes; equality looks at `raw` alone.

    `place` is the text with its quotes, `start` the offset where `raw` begins.
    """

    raw: str
    place: Place = field(compare=False, repr=False)
    start: int = field(compare=False, repr=False)
    parts: Parts = field(compare=False, repr=False)

    @classmethod
    def of(cls, raw: str, place: Place, *, start: int | None = None, errors: list[ParseError] | None = None) -> Text:
        """`raw`, which begins at offset `start` of `place.source`; what is not a reference goes to `errors`."""
        start = place.start if start is None else start
        return cls(raw, place, start, split(raw, place, start, errors))

    def resolve(self, variables: Lookup, *, in_select: bool = False) -> str:
        """The text with every reference replaced by its value; raises VariableError at the reference."""
        return "".join(
            part if isinstance(part, str) else variables.lookup(part, in_select=in_select) for part in self.parts
        )

    @property
    def references(self) -> tuple[Reference, ...]:
        return tuple(part for part in self.parts if not isinstance(part, str))

    def __str__(self) -> str:
        return self.raw


def split(raw: str, place: Place, start: int, errors: list[ParseError] | None = None) -> Parts:
    """`raw` as plain stretches and references."""
    if "${" not in raw:
        return (raw,)
    parts: list[str | Reference] = []
    done = 0
    for match in _PARTS.finditer(raw):
        if match.lastgroup == "broken":
            if errors is not None:
                errors.append(broken_reference(place.source, start + match.start(), raw[match.start() :]))
            continue
        if match.start() > done:
            parts.append(raw[done : match.start()])
        parts.append("${" if match.lastgroup == "escape" else reference(match[0], place.source, start + match.start()))
        done = match.end()
    if done < len(raw) or not parts:
        parts.append(raw[done:])
    return tuple(parts)


def reference(text: str, source: Source, start: int) -> Reference:
    """The Reference that `text` (a match of REFERENCE at offset `start`) spells."""
    anatomy = _ANATOMY.fullmatch(text)
    assert anatomy is not None, text
    place = source.place(start, start + len(text))
    calls = tuple(
        Call(call["method"], tuple(argument.strip("\\\"'") for argument in _ARGUMENTS.findall(call["arguments"])))
        for call in _CALLS.finditer(anatomy["calls"])
    )
    name, default, at = anatomy["name"], anatomy["default"], anatomy.start("default")
    if name == "env" and default is not None and not calls:
        # `${env:NAME}` and `${env:NAME:default}` read the environment.
        variable, colon, rest = default.partition(":")
        name, default, at = f"env:{variable}", rest if colon else None, at + len(variable) + 1
    return Reference(name, calls, None if default is None else Text.of(default, place, start=start + at), place)


def broken_reference(source: Source, start: int, text: str) -> ParseError:
    """The error for a `${` that opens no reference."""
    shown = re.match(r"\$\{[^}\n]{0,40}\}?", text)
    assert shown is not None
    return ParseError(
        f"{shown[0]} is not a variable",
        cure='Write ${name}, ${name:default} or ${date.toString("yyyyMMdd")}; write \\${ to keep the text as it is.',
        place=source.place(start, start + len(shown[0])),
    )


@dataclass(frozen=True)
class RenderedSql:
    """SQL ready for Spark, which knows where in the script each of its characters came from."""

    text: str
    place: Place = field(compare=False, repr=False)
    # Where each stretch begins here and in the script, and whether the two run in step (a value does not).
    _starts: tuple[int, ...] = field(default=(0,), repr=False)
    _origins: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    def place_at(self, start: int, end: int | None = None) -> Place:
        """The script's place of `text[start:end]` (offsets from 0); inside a value, the place of its reference."""
        start = min(start, max(len(self.text) - 1, 0))
        first, last = self._origin(start)
        if end is not None and end > start + 1:
            last = max(last, self._origin(min(end, len(self.text)) - 1)[1])
        return self.place.source.place(first, last)

    def place_of(self, line: int, column: int) -> Place:
        """The script's place of a line and a column of `text`, both from 1."""
        lines = self._lines
        line = min(max(line, 1), len(lines))
        return self.place_at(min(lines[line - 1] + column - 1, max(len(self.text) - 1, 0)))

    def spliced(self, edits: Iterable[tuple[int, int, str]]) -> RenderedSql:
        """The same with `text[start:end]` replaced by each edit's text, which gets the place of what it replaces.

        The edits are in order and do not overlap; one with start == end inserts.
        """
        out, starts, origins, length, done = [], [], [], 0, 0

        def add(text: str, origin: tuple[int, int]) -> None:
            nonlocal length
            if text:
                out.append(text)
                starts.append(length)
                origins.append(origin)
                length += len(text)

        def keep(start: int, end: int) -> None:
            old = self._origins or ((self.place.start, -1),)
            for begin, stop, (first, last) in zip(self._starts, (*self._starts[1:], len(self.text)), old, strict=True):
                if (low := max(start, begin)) < (high := min(end, stop)):
                    add(self.text[low:high], (first, last) if last >= 0 else (first + low - begin, -1))

        for start, end, text in edits:
            keep(done, start)
            place = self.place_at(min(start, len(self.text) - 1), end)
            add(text, (place.start, place.end))
            done = end
        keep(done, len(self.text))
        return RenderedSql("".join(out), self.place, tuple(starts), tuple(origins))

    @cached_property
    def _lines(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def _origin(self, offset: int) -> tuple[int, int]:
        if not self._origins:
            start = min(self.place.start + offset, max(self.place.end - 1, self.place.start))
            return start, start + 1
        index = bisect_right(self._starts, offset) - 1
        start, end = self._origins[index]
        if end >= 0:
            return start, end
        start += offset - self._starts[index]
        return start, start + 1
