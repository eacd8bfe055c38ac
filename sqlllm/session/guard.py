"""What a script may do only if a setting says so: files outside the allowed folders, commands, code.

This keeps a pasted script from harm; it is no sandbox. Spark SQL has more ways to the machine than can be listed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from sqlllm.dialect import RenderedSql
from sqlllm.dialect.parser import QUERIES
from sqlllm.dialect.tokens import Kind, Token, Tokenizer
from sqlllm.errors import ForbiddenError
from sqlllm.places import Source

if TYPE_CHECKING:
    from sqlllm.places import Place

    from .session import Session

_ANY_METHOD = frozenset({"reflect", "java_method", "try_reflect"})
_BEFORE_PATH = frozenset({"location", "directory", "inpath", "path"})
_FILES = frozenset({"avro", "binaryfile", "csv", "delta", "image", "json", "libsvm", "orc", "parquet", "text", "xml"})
_RAW = re.compile(r"""\b[rR]['"]""")
_ADDED = frozenset({"jar", "jars", "file", "files", "archive", "archives"})
_SUSPECT = re.compile(
    rf"(?i){'|'.join(_ANY_METHOD | _BEFORE_PATH)}|using|immediate|\A\s*add\b|(?:{'|'.join(_FILES)})\s*\.\s*`"
)


def require(session: Session, name: str, what: str, place: Place | None = None) -> None:
    """ForbiddenError unless the setting `allow.NAME` is on."""
    if not getattr(session.settings.allow, name):
        cure = f"Allow it with --set allow.{name}=true, or SQLLLM_ALLOW__{name.upper()}=true."
        raise ForbiddenError(f"{what}, so it is off", cure=cure, place=place)


def check_path(session: Session, path: str, place: Place | None) -> None:
    """ForbiddenError if `path` is local and outside the allowed folders. A remote Spark's files are its own."""
    scheme, colon, rest = path.partition(":")
    has_scheme = bool(colon and re.fullmatch(r"[A-Za-z][\w+.-]+", scheme))
    if session.settings.spark.remote or (has_scheme and scheme.lower() != "file"):
        return
    local = re.sub("^//[^/]*", "", rest) if has_scheme else path
    allowed = _allowed(session)
    if Path("/") in allowed:
        return
    plain = re.split(r"[*?\[{\\]", local, maxsplit=1)[0]  # up to what Hadoop reads as a pattern
    if plain != local:
        plain = plain[: plain.rfind("/") + 1]
    folder = Path(plain).resolve()
    if not _strays(local[len(plain) :]) and any(folder.is_relative_to(parent) for parent in allowed):
        return
    wider = os.pathsep.join((session.settings.allow.folders, str(folder if folder.is_dir() else folder.parent)))
    raise ForbiddenError(
        f"{path} lies outside the folders that scripts may use ({session.settings.allow.folders})",
        cure=f"Allow it with --set allow.folders={wider}, or all with --set allow.folders=/.",
        place=place,
    )


def check_sql(session: Session, sql: RenderedSql) -> None:
    """ForbiddenError if `sql` reads files outside the allowed folders, runs commands or loads jars."""
    if not _SUSPECT.search(sql.text):
        return
    tokens = list(_tokens(sql.text))
    is_query = tokens[0].text.lower() in QUERIES
    _check_added(session, sql, tokens)
    for before, token in pairwise(tokens):
        word = (before.content if before.kind is Kind.BACKQUOTED else before.text).lower()
        place = sql.place_at(before.start, token.end)
        if word in _ANY_METHOD and token.text == "(":
            require(session, "shell", f"{word} calls any method of the JVM", place)
        elif word == "using" and token.kind is Kind.STRING:
            require(session, "shell", "transform ... using runs a command", place)
        elif word == "using" and token.text.lower() in {"jar", "file", "archive"}:
            require(session, "shell", "a function's jar is code", place)
        elif (word, token.text.lower()) == ("execute", "immediate"):
            _check_immediate(session, tokens[tokens.index(token) + 1 :], place)
    for first, second, third in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if first.text.lower() in _FILES and second.text == "." and third.kind is Kind.BACKQUOTED:
            check_path(session, third.content, sql.place_at(first.start, third.end))
    for token in () if is_query else _paths(tokens):
        check_path(session, token.content, sql.place_at(token.start, token.end))


def _check_added(session: Session, sql: RenderedSql, tokens: list[Token]) -> None:
    """`add jar` brings code, `add file` reads a file."""
    if tokens[0].text.lower() != "add" or len(tokens) < 3 or (kind := tokens[1].text.lower()) not in _ADDED:
        return
    place = sql.place_at(tokens[0].start, tokens[-1].end)
    if kind.startswith("jar"):
        require(session, "shell", "a jar is code", place)
    check_path(session, sql.text[tokens[1].end : tokens[-1].end].strip().strip("'\""), place)


def _check_immediate(session: Session, tokens: list[Token], place: Place) -> None:
    """The SQL that `execute immediate` runs, if it is one literal; any other text cannot be looked at before."""
    if [token.kind for token in tokens[:2]] in ([Kind.STRING], [Kind.STRING, Kind.WORD], [Kind.STRING, Kind.END]):
        check_sql(session, RenderedSql(tokens[0].content, place))
    else:
        require(session, "shell", "execute immediate takes SQL from a value, which is not checked", place)


def _strays(pattern: str) -> bool:
    """Whether a pattern may leave its folder: by `..`, or by braces over several folders, which can spell it."""
    if ".." in pattern.replace("\\", "").split("/"):
        return True
    inner = 1
    while inner:
        pattern, inner = re.subn(r"\{[^{}/]*\}", "", pattern)
    return "{" in pattern and "/" in pattern


def _paths(tokens: list[Token]) -> Iterator[Token]:
    """The literals that a statement of Spark takes as a path: after `location`, `directory`, `path =`."""
    for index, token in enumerate(tokens):
        if token.content.lower() in _BEFORE_PATH:
            following = [one for one in tokens[index + 1 : index + 3] if one.text != "="][:1]
            yield from (one for one in following if one.kind is Kind.STRING)


def _allowed(session: Session) -> list[Path]:
    folders = [folder for folder in session.settings.allow.folders.split(os.pathsep) if folder]
    return [Path(folder).expanduser().resolve() for folder in [*folders, str(session.settings.home)]]


def _tokens(text: str) -> Iterator[Token]:
    """The tokens, but for the `r` of raw strings: what stands before it stands before the string."""
    tokenizer = Tokenizer(Source(text))
    while tokens := tokenizer.statement():
        yield from (token for token in tokens if not _RAW.match(text, token.start))
