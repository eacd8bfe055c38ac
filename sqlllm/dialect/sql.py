"""SQL that Spark reads: its `${variables}` filled in so that a value inside quotes cannot end them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

from ..errors import ParseError
from ..places import Place, Source
from . import directives
from .text import Lookup, Reference, RenderedSql, Text, broken_reference, reference, split
from .tokens import QUOTED, Kind, Token, Tokenizer

# A variable, a block, or a comment that Spark reads in another way than we do: `/* /data/* */`, `-- to here \`.
_NEEDS_WORK = re.compile(r"\$\{|'''|\"\"\"|/\*(?:(?!\*/).)*/\*|--[^\n]*\\\r?$", re.DOTALL | re.MULTILINE)
_UNESCAPED = {quote: re.compile(rf"\\.|{quote}", re.DOTALL) for quote in "'\""}


@dataclass(frozen=True, eq=False)
class SqlText:
    """SQL as written in a script. Two are equal when they differ in spacing and comments only."""

    text: str
    place: Place = field(repr=False)

    @classmethod
    def of(cls, text: Text) -> SqlText:
        """A quoted text that holds SQL, as in `set n = "select ..." where type="sql"`."""
        place = text.place.source.place(text.start, text.start + len(text.raw))
        if place.text != text.raw:  # a backquoted text with a doubled backquote in it
            place = Source(text.raw, place.source.name).place(0, len(text.raw))
        return cls(text.raw, place)

    @cached_property
    def tokens(self) -> tuple[Token, ...]:
        """The tokens without comments; their offsets are those of the script."""
        return tuple(token for token in self._all_tokens if token.kind is not Kind.COMMENT)

    @cached_property
    def _all_tokens(self) -> tuple[Token, ...]:
        if "tokens" in self.__dict__ and "--" not in self.text and "/*" not in self.text:
            return self.tokens  # which the parser gave
        tokenizer, shift, found = Tokenizer(Source(self.text)), self.place.start, list[Token]()
        while tokens := tokenizer.statement(comments=True):  # quoted SQL may hold a `;`
            found += [token._replace(start=token.start + shift, end=token.end + shift) for token in tokens]
        return tuple(found)

    @cached_property
    def _essence(self) -> tuple[str, ...]:
        return tuple(token.text for token in self.tokens)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SqlText) and (self.text == other.text or self._essence == other._essence)

    def __hash__(self) -> int:
        return hash(self._essence)

    def resolve(self, variables: Lookup) -> str:
        """The SQL for Spark; raises VariableError at a reference without a value."""
        return self.render(variables).text

    def render(self, variables: Lookup) -> RenderedSql:
        """The SQL for Spark, with the way back to places in the script. Raises VariableError, ParseError."""
        if not _NEEDS_WORK.search(self.text):
            return directives.expand(RenderedSql(self.text, self.place))
        return directives.expand(_Renderer(self, variables).run())

    def check(self, errors: list[ParseError]) -> None:
        """Add an error for each `${` that is not a reference."""
        if "${" not in self.text:
            return
        source = self.place.source
        for token, following in zip(self.tokens, (*self.tokens[1:], None), strict=True):
            if token.kind in QUOTED or token.kind is Kind.HINT:
                split(token.content, source.place(token.start, token.end), token.content_start, errors)
            elif token.text == "$" and following and following.text == "{" and following.start == token.end:
                errors.append(broken_reference(source, token.start, source.text[token.start : self.place.end]))


class _Renderer:
    def __init__(self, sql: SqlText, variables: Lookup) -> None:
        self._sql, self._variables = sql, variables
        self._out: list[str] = []
        self._length = 0
        self._starts: list[int] = []
        self._origins: list[tuple[int, int]] = []

    def run(self) -> RenderedSql:
        source, done = self._sql.place.source, self._sql.place.start
        for token in self._sql._all_tokens:
            special = token.kind in (Kind.VARIABLE, Kind.BLOCK, Kind.COMMENT) or token.text == "\\${"
            if not special and not (token.kind in (*QUOTED, Kind.HINT) and "${" in token.text):
                continue
            self._copy(source.text[done : token.start], done)
            done = token.end
            if token.kind is Kind.COMMENT:
                # A value must never meet a comment, and Spark's may end elsewhere than ours.
                self._copy(" ", token.start)
            elif token.kind is Kind.VARIABLE:
                self._insert(reference(token.text, source, token.start), "")
            elif token.kind is Kind.SYMBOL:
                self._copy("${", token.start + 1)
            elif token.kind is Kind.HINT:
                self._pieces(token, token.text, "", str)
            else:
                self._literal(token)
        self._copy(source.text[done : self._sql.place.end], done)
        return RenderedSql("".join(self._out), self._sql.place, tuple(self._starts), tuple(self._origins))

    def _literal(self, token: Token) -> None:
        source = self._sql.place.source
        quote = token.text[0]
        previous = source.text[token.start - 1 : token.start]
        raw = previous in {"r", "R"} and not re.match(r"\w", source.text[token.start - 2 : token.start - 1])
        change: Callable[[str], str] = str
        if raw:
            # A raw literal has no escapes, so a value with a quote in it has no place there: make it a plain one.
            self._out[-1], self._length = self._out[-1][:-1], self._length - 1
            change = partial(escape, quote=quote)
        elif token.kind is Kind.BLOCK:
            change = partial(_UNESCAPED[quote].sub, lambda match: match[0] if len(match[0]) > 1 else "\\" + match[0])
        self._copy(quote, token.start)
        content = token.text[token.content_start - token.start : -3 if token.kind is Kind.BLOCK else -1]
        self._pieces(token, content, quote, change)
        self._copy(quote, token.end - 1)

    def _pieces(self, token: Token, content: str, quote: str, change: Callable[[str], str]) -> None:
        """`content` of `token` with its references filled in for `quote`, and what is between them by `change`."""
        source, at = self._sql.place.source, token.content_start
        for part in split(content, source.place(token.start, token.end), at):
            if isinstance(part, Reference):
                self._insert(part, quote)
                at = part.place.end
            else:
                self._copy(change(part), at, at + len(part))
                at += len(part) + (part == "${" and source.text.startswith("\\${", at))

    def _copy(self, text: str, origin: int, end: int = -1) -> None:
        if text:
            self._add(text, origin, end if end >= 0 and end - origin != len(text) else -1)

    def _insert(self, found: Reference, quote: str) -> None:
        value = self._variables.lookup(found, in_select=True)
        self._add(escape(value, quote) if quote else value, found.place.start, found.place.end)

    def _add(self, text: str, start: int, end: int) -> None:
        self._starts.append(self._length)
        self._origins.append((start, end))
        self._out.append(text)
        self._length += len(text)


def escape(value: str, quote: str) -> str:
    """`value` as the inside of a Spark literal in `quote`, or of a backquoted name."""
    if quote == "`":
        return value.replace("`", "``")
    return value.replace("\\", "\\\\").replace(quote, "\\" + quote)
