"""One style for every script. Comments stay, the statements stay equal, and formatting twice is formatting once.

Line breaks inside SQL are the author's; indentation follows brackets and clauses. Strings are never touched.
"""

from __future__ import annotations

from ..errors import ScriptErrors
from ..places import Source
from .clauses import Cursor
from .layout import INDENT, layout, on_its_own_line
from .parser import parse, parse_statement
from .statements import Cell, Macro
from .tokens import Kind, Token, Tokenizer, header_lines


def format_script(text: str) -> str:
    """The script in the house style. Raises ScriptErrors if it does not parse."""
    script = parse(text)
    if script.errors:
        raise ScriptErrors.of(script.errors)
    writer, tokenizer = _Writer(script.source), Tokenizer(script.source)
    while tokens := tokenizer.statement(comments=True):
        writer.write(tokens)
    return writer.text()


class _Writer:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._out: list[str] = []
        self._depth = 0  # of `!if`
        self._end = 0  # of what was written, in the source

    def text(self) -> str:
        text = "".join(self._out).strip("\n")
        return text + "\n" if text else ""

    def write(self, tokens: list[Token]) -> None:
        """Write one statement with the comments before it and in it."""
        if tokens[0].kind is Kind.CELL:
            self._cell(tokens[0])
            return
        start = next((index for index, token in enumerate(tokens) if token.kind is not Kind.COMMENT), len(tokens))
        self._comments(tokens[:start])
        tokens = tokens[start:]
        if tokens and tokens[0].kind is not Kind.END:
            self._statement(tokens)

    def _statement(self, tokens: list[Token]) -> None:
        significant = [token for token in tokens if token.kind is not Kind.COMMENT]
        statement = parse_statement(Cursor(self._source, significant))
        assert statement is not None
        step = statement.name if isinstance(statement, Macro) else ""
        self._depth -= step in {"elif", "else", "fi"}
        before, indent = self._new_line(tokens[0]), INDENT * self._depth
        self._depth += step in {"if", "elif", "else"}
        self._put(before, layout(self._source.text, statement, tokens, indent, INDENT * self._depth), tokens[-1])

    def _comments(self, comments: list[Token]) -> None:
        for comment in comments:
            same_line = self._out and "\n" not in self._gap(comment)
            if same_line:
                self._put("  ", comment.text.rstrip(), comment)
            else:
                self._put(self._new_line(comment), on_its_own_line(self._source.text, comment), comment)

    def _cell(self, token: Token) -> None:
        cell = parse_statement(Cursor(self._source, [token]))
        lines: list[str] = []
        for line in header_lines(self._source.text, token.start):
            lines.append(f"--%{line['key']}" + ("" if line["value"] is None else f"={line['value'].rstrip()}"))
        if isinstance(cell, Cell):
            lines.append(cell.body.raw)
        self._put("\n\n" if self._out else "", "\n".join(lines), token)

    def _put(self, before: str, text: str, token: Token) -> None:
        self._out += [before, text]
        self._end = token.end

    def _new_line(self, token: Token) -> str:
        breaks = 2 if self._gap(token).count("\n") > 1 else 1
        return ("\n" * breaks if self._out else "") + INDENT * self._depth

    def _gap(self, token: Token) -> str:
        return self._source.text[self._end : token.start]
