"""Highlighting, by the dialect's own tokenizer: what is coloured is what is parsed."""

from __future__ import annotations

from collections.abc import Iterator

from pygments.lexer import Lexer
from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text, _TokenType

from sqlllm.dialect.clauses import CLAUSE_WORDS
from sqlllm.dialect.parser import SAVE_MODES, STATEMENTS
from sqlllm.dialect.tokens import Kind, Token, Tokenizer, header_lines
from sqlllm.places import Source
from sqlllm.udfs.ai import FUNCTIONS as AI_FUNCTIONS
from sqlllm.udfs.functions import FUNCTIONS

from .catalogue import SQL_WORDS

Piece = tuple[int, _TokenType, str]

_KINDS: dict[Kind, _TokenType] = {
    Kind.STRING: String, Kind.BLOCK: String, Kind.BACKQUOTED: String.Backtick, Kind.VARIABLE: Name.Variable,
    Kind.HINT: Comment.Special, Kind.COMMENT: Comment, Kind.UNCLOSED: String, Kind.END: Punctuation,
}  # fmt: skip
_WORDS = CLAUSE_WORDS | frozenset(SQL_WORDS) | STATEMENTS.keys() | SAVE_MODES.keys()


class SqlllmLexer(Lexer):
    """Scripts of SQLLLM."""

    name = "SQLLLM"
    aliases = ("sqlllm", "byzer")
    filenames = ("*.sqlllm", "*.byzer")
    mimetypes = ("text/x-sqlllm",)

    def get_tokens_unprocessed(self, text: str) -> Iterator[Piece]:
        done = 0
        tokenizer = Tokenizer(Source(text))
        while tokens := tokenizer.statement(comments=True):
            for index, token in enumerate(tokens):
                if token.start > done:
                    yield done, Text.Whitespace, text[done : token.start]
                yield from self._pieces(tokens, index, text)
                done = token.end
        if done < len(text):
            yield done, Text.Whitespace, text[done:]

    def _pieces(self, tokens: list[Token], index: int, text: str) -> Iterator[Piece]:
        token = tokens[index]
        if token.kind is Kind.CELL:
            yield from _cell(token, text)
        elif token.kind is Kind.WORD:
            following = tokens[index + 1].text if index + 1 < len(tokens) else ""
            yield token.start, _word(token.text, tokens[index - 1].text if index else "", following), token.text
        elif token.kind is Kind.SYMBOL:
            yield token.start, Punctuation if token.text in "()[]{},." else Operator, token.text
        else:
            yield token.start, _KINDS[token.kind], token.text


def _word(word: str, before: str, following: str) -> _TokenType:
    low = word.lower()
    if before == "!":
        return Name.Builtin
    if word.isdigit():
        return Number
    if following == "(":
        return Name.Builtin if low in FUNCTIONS or low in AI_FUNCTIONS else Name.Function
    if following == "=" and low not in _WORDS:
        return Name.Attribute
    return Keyword if low in _WORDS and before != "." else Name


def _cell(token: Token, text: str) -> Iterator[Piece]:
    lines = header_lines(text, token.start)
    end = min(lines[-1].end(), token.end)
    yield token.start, Comment.Preproc, text[token.start : end]
    body = text[end : token.end]
    if any(line["value"] is None and line["key"].lower() == "python" for line in lines):
        yield from ((end + start, kind, piece) for start, kind, piece in PythonLexer().get_tokens_unprocessed(body))
    elif body:
        yield end, String, body
