"""The calls of functions in a statement: where each stands, what is in its brackets, and which calls are inside it.

Their text is cut by the dialect's own tokens, because what stands around a call has to reach Spark as it was written,
also where it is SQL that sqlglot does not read.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlllm.dialect.calls import is_call
from sqlllm.dialect.tokens import Kind, Token, Tokenizer
from sqlllm.places import Source

if TYPE_CHECKING:
    from sqlllm.dialect import RenderedSql

Edit = tuple[int, int, str]
"""`text[start:end]` becomes the text."""

_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_MADE = frozenset({"function", "view"})  # `create function name(...)` makes what it names


@dataclass(frozen=True, slots=True)
class Argument:
    """`text[start:end]`, without the spaces around it; `name` if it is given as `name => ...`."""

    start: int
    end: int
    name: str = ""
    is_text: bool = False  # a string in quotes and nothing else


@dataclass(frozen=True, slots=True)
class Call:
    """`name(...)` at `text[start:end]`, offsets from 0; `name` in lower case, without backquotes."""

    name: str
    start: int
    end: int
    arguments: tuple[Argument, ...]
    inside: tuple[Call, ...]


@dataclass(slots=True)
class _Bracket:
    """An open bracket, after the token at `index`: the tokens within it, cut at its commas, and the calls within."""

    index: int
    closing: str
    parts: list[list[Token]] = field(default_factory=lambda: [[]])
    inside: list[Call] = field(default_factory=list)


def calls(text: str, names: Container[str]) -> list[Call]:
    """The outermost calls of functions of these names (in lower case), in order."""
    tokens = tokens_of(text)
    opened = [_Bracket(-1, "")]
    for index, token in enumerate(tokens):
        within = opened[-1]
        if token.kind is Kind.SYMBOL and token.text in _BRACKETS:
            within.parts[-1].append(token)
            opened.append(_Bracket(index - 1, _BRACKETS[token.text]))
        elif token.kind is Kind.SYMBOL and token.text == within.closing:
            opened.pop()
            opened[-1].parts[-1].append(token)
            opened[-1].inside += _made(tokens, within, index, names)
        elif token.kind is Kind.SYMBOL and token.text == ",":
            within.parts.append([])
        else:
            within.parts[-1].append(token)
    return [call for bracket in opened for call in bracket.inside]  # Spark says where a bracket is missing


def _made(tokens: list[Token], bracket: _Bracket, end: int, names: Container[str]) -> list[Call]:
    """The call that a bracket is, if its function is meant; else those within it."""
    name = tokens[bracket.index] if bracket.index >= 0 and bracket.closing == ")" else None
    called = name is not None and name.kind in (Kind.WORD, Kind.BACKQUOTED) and name.content.lower() in names
    if name is None or not called or not is_call(tokens, bracket.index, end):
        return bracket.inside
    if bracket.index and tokens[bracket.index - 1].text.lower() in _MADE:
        return bracket.inside
    arguments = tuple(map(_argument, bracket.parts)) if bracket.parts != [[]] else ()
    return [Call(name.content.lower(), name.start, tokens[end].end, arguments, tuple(bracket.inside))]


Cut = Callable[[int, int], str]
"""The text between two offsets, with the calls in it written out."""
Write = Callable[[Call, Cut], "str | list[Edit] | None"]
"""What to write for a call: a text, edits within it, or None to leave it as it is."""


def written_out(sql: RenderedSql, names: Container[str], write: Write) -> RenderedSql:
    """`sql` with each call as `write` has it, the inner ones first. What is not written anew keeps its place."""
    text = sql.text

    def edits(found: Iterable[Call]) -> list[Edit]:
        made: list[Edit] = []
        for call in found:
            inner = edits(call.inside)
            told = write(call, lambda start, end, inner=inner: _cut(text, start, end, inner))  # type: ignore[misc]
            if isinstance(told, str):
                made.append((call.start, call.end, told))
            else:
                outer = told or []
                kept = [one for one in inner if not any(start <= one[0] and one[1] <= end for start, end, _ in outer)]
                made += sorted(kept + outer)
        return made

    found = edits(calls(text, names))
    return sql.spliced(found) if found else sql


def _cut(text: str, start: int, end: int, edits: list[Edit]) -> str:
    pieces, done = [], start
    for first, last, made in edits:
        if start <= first and last <= end:
            pieces += [text[done:first], made]
            done = last
    return "".join((*pieces, text[done:end]))


def tokens_of(text: str) -> list[Token]:
    """The tokens of SQL, without comments."""
    tokenizer, tokens = Tokenizer(Source(text)), list[Token]()
    while more := tokenizer.statement():
        tokens += more
    return tokens


def _argument(tokens: list[Token]) -> Argument:
    name = ""
    if len(tokens) > 2 and tokens[0].kind is Kind.WORD and tokens[1].text + tokens[2].text == "=>":
        name, tokens = tokens[0].text, tokens[3:] or tokens[:0]
    if not tokens:
        return Argument(0, 0, name)
    is_text = len(tokens) == 1 and tokens[0].kind in (Kind.STRING, Kind.BLOCK)
    return Argument(tokens[0].start, tokens[-1].end, name, is_text)
