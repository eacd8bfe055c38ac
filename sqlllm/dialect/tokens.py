"""Text to tokens, by one regular expression, in time linear in the text. It never raises: what is wrong becomes an
UNCLOSED token and an error, and reading goes on at the next `;` that ends a line.

Strings keep their backslashes (`\\"` does not end one, and stays two characters), as Byzer has it.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from ..errors import ParseError
from ..places import Source
from .text import REFERENCE


class Kind(Enum):
    """What a token is."""

    WORD = auto()  # a name, a keyword or digits
    STRING = auto()  # '...' or "..."
    BLOCK = auto()  # '''...''' or \"\"\"...\"\"\"
    BACKQUOTED = auto()  # `...`
    VARIABLE = auto()  # ${...} outside quotes
    SYMBOL = auto()  # any other single character
    HINT = auto()  # /*+ ... */, which is Spark's
    COMMENT = auto()  # -- ... or /* ... */
    CELL = auto()  # --%kind and what follows it
    UNCLOSED = auto()  # a string or comment without an end
    END = auto()  # ;


class Token(NamedTuple):
    """A stretch of the script; `start` and `end` are offsets."""

    kind: Kind
    text: str
    start: int
    end: int

    @property
    def content(self) -> str:
        """The text without its quotes."""
        if self.kind is Kind.BLOCK:
            return self.text[3:-3]
        if self.kind is Kind.STRING:
            return self.text[1:-1]
        if self.kind is Kind.BACKQUOTED:
            return self.text[1:-1].replace("``", "`")
        return self.text

    @property
    def content_start(self) -> int:
        if self.kind is Kind.BLOCK:
            return self.start + 3
        return self.start + (self.kind is Kind.STRING or self.kind is Kind.BACKQUOTED)


# Four quotes alone are Spark's literal of one quote, not the start of a block. After r a backslash escapes nothing.
_PATTERN = re.compile(
    rf"""\s*+(?:
      (?P<WORD>\w++)
    | (?P<END>;)
    | (?P<CELL>(?:--|\#)%[ \t]*+[A-Za-z_][^\n]*+)
    | (?P<COMMENT>--[^\r\n]*+|/\*(?!\+).*?\*/)
    | (?P<HINT>/\*\+.*?\*/)
    | (?P<BLOCK>'''(?!'(?:[\s,;)\]]|\Z)).*?'''|\"\"\"(?!"(?:[\s,;)\]]|\Z)).*?\"\"\")
    | (?P<OPEN_BLOCK>'''(?!'(?:[\s,;)\]]|\Z))|\"\"\"(?!"(?:[\s,;)\]]|\Z)))
    | (?P<STRING>(?<=\b[rR])(?:'[^']*+'|"[^"]*+")|'[^'\\]*+(?:\\.[^'\\]*+)*+'|"[^"\\]*+(?:\\.[^"\\]*+)*+")
    | (?P<BACKQUOTED>`[^`]*+(?:``[^`]*+)*+`)
    | (?P<OPEN>['"`]|/\*)
    | (?P<VARIABLE>{REFERENCE})
    | (?P<SYMBOL>\\\$\{{|.)
    )""",
    re.DOTALL | re.VERBOSE,
)
_KINDS = {kind.name: kind for kind in Kind} | {"OPEN": Kind.UNCLOSED, "OPEN_BLOCK": Kind.UNCLOSED}
_COMMENT_MARK = re.compile(r"/\*(?!\+)|\*/")
_STATEMENT_END = re.compile(r";[ \t\r]*+(?=\n|\Z)")
# What may touch the end of a string that really ends there; a string that swallowed the next one's start is followed
# by that one's content.
_RUNAWAY = re.compile(r"[\w$\\.{~@]|/(?!\*)|-(?!-)")
_MOST_UNCLOSED = 50
SQL_CELLS = frozenset({"sql", "byzer", "mlsql"})


class Tokenizer:
    """Reads a script one statement at a time, so that a mistake costs one statement."""

    def __init__(self, source: Source) -> None:
        self.errors: list[ParseError] = []
        self._source = source
        self._text = source.text
        self._position = 0
        self._flat = 0  # comments whose `/*` inside is not a comment
        self._plain = 0  # up to here, lines like cell headers are comments

    def statement(self, comments: bool = False) -> list[Token]:
        """The tokens up to and with the next `;`, or one CELL token; empty at the end of the script."""
        text, match, tokens = self._text, _PATTERN.match, list[Token]()
        while found := match(text, self._position):
            group = found.lastgroup
            assert group is not None
            kind, (start, end) = _KINDS[group], found.span(group)
            if kind is Kind.WORD or kind is Kind.SYMBOL:
                tokens.append(Token(kind, found[group], start, end))
                self._position = end
                continue
            if kind is Kind.CELL:
                kind, end = self._cell(start, end)
                if kind is Kind.CELL and tokens:
                    return tokens
            elif kind is Kind.UNCLOSED:
                end = self._unclosed(start, text[start:end])
            elif kind is Kind.COMMENT and text.find("/*", start + 2, end) > 0 and text[start] == "/":
                end = self._nested(start, end)
            elif kind in QUOTED and (cut := self._runaway(start, end)):
                kind, end = Kind.UNCLOSED, self._unclosed(start, text[start], cut)
            self._position = end
            if comments or kind is not Kind.COMMENT:
                tokens.append(Token(kind, text[start:end], start, end))
            if kind is Kind.END or kind is Kind.CELL:
                return tokens
        return tokens

    def _nested(self, start: int, end: int) -> int:
        """The end of a comment with a `/*` in it: the `*/` that balances it, as Spark has it, or else the first one."""
        depth = 0
        for mark in _COMMENT_MARK.finditer(self._text, start) if self._flat < _MOST_UNCLOSED else ():
            depth += 1 if mark[0] == "/*" else -1
            if not depth:
                return mark.end()
        self._flat += 1  # `/* of /data/* */`: each may search to the end of the script, so there is a bound
        return end

    def _runaway(self, start: int, end: int) -> int:
        """Where a string that swallowed the start of the next one should have ended by; 0 if it is sound."""
        ending = _STATEMENT_END.search(self._text, start, end)
        return ending.start() if ending and _RUNAWAY.match(self._text, end) else 0

    def _unclosed(self, start: int, opener: str, end: int = 0) -> int:
        ending = _STATEMENT_END.search(self._text, start + len(opener))
        end = end or (ending.start() if ending else len(self._text))
        what = "comment" if opener.startswith("/*") else "backquoted name" if opener == "`" else "string"
        closer = "*/" if what == "comment" else opener
        message = f"this {what} is not closed"
        if len(self.errors) == _MOST_UNCLOSED:
            # Each one may search to the end of the script; the bound keeps the whole linear.
            message, end = "too many strings are not closed: the rest of the script was not read", len(self._text)
        place = self._source.place(start, start + len(opener))
        self.errors.append(ParseError(message, cure=f"Add {closer} where it ends.", place=place))
        return end

    def _cell(self, start: int, end: int) -> tuple[Kind, int]:
        """Kind and end of what a `--%` or `#%` line opens: the header lines and, but for SQL, the body."""
        text = self._text
        lines = [] if start < self._plain else header_lines(text, start)
        if lines and text[start] == "-" and all(line["value"] is not None for line in lines):
            self._plain, lines = lines[-1].end(), []  # `--%key=value` without a kind is for the tool that reads it
        if not lines:
            return (Kind.COMMENT, end) if text[start] == "-" else (Kind.SYMBOL, start + 1)
        end = lines[-1].end()
        if any(line["value"] is None and line["key"].lower() in SQL_CELLS for line in lines):
            return Kind.CELL, end
        following = _NEXT_CELL.search(text, end)
        return Kind.CELL, following.start() if following else len(text)


# Tuples, because they compare by identity first: a set would hash an Enum in Python.
QUOTED = (Kind.STRING, Kind.BLOCK, Kind.BACKQUOTED)
CELL_KINDS = (
    "sql", "byzer", "mlsql", "python", "chat", "string", "visualize", "direct-jdbc", "deployModel", "deployScript",
    "deployPythonModel", "kylin", "openmldb",
)  # fmt: skip
HEADER_LINE = re.compile(
    r"^[ \t]*(?:--|#)%[ \t]*(?P<key>[A-Za-z_][\w.-]*)[ \t]*(?:=[ \t]*(?P<value>[^\n]*))?\r?$", re.MULTILINE
)
"""One line of a cell header: `--%kind` or `--%key=value`; `#%` means the same."""


def header_lines(text: str, start: int) -> list[re.Match[str]]:
    """The lines of the cell header that begins in the line of offset `start`; none if it is not a header."""
    lines: list[re.Match[str]] = []
    at, kind = text.rfind("\n", 0, start) + 1, False
    while line := HEADER_LINE.match(text, at):
        names_kind = line["value"] is None
        if kind and names_kind and line["key"].lower() in _CELL_KINDS:
            break  # the next cell
        kind |= names_kind
        lines.append(line)
        at = line.end() + 1
    return lines


_CELL_KINDS = frozenset(kind.lower() for kind in CELL_KINDS)
_NEXT_CELL = re.compile(
    r"^[ \t]*(?:(?:--|#)%[ \t]*[\w.-]+[ \t]*=[^\n]*\n[ \t]*){0,20}"
    rf"(?:--|#)%[ \t]*(?:{'|'.join(CELL_KINDS)})[ \t\r]*$",
    re.MULTILINE | re.IGNORECASE,
)
