"""Where the cursor stands: in which statement, in which of its places, over which half-written word."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from sqlllm.dialect.parser import SAVE_MODES, STATEMENTS
from sqlllm.dialect.tokens import SQL_CELLS, Kind, Token, Tokenizer, header_lines
from sqlllm.places import Source

_REFERENCE = re.compile(r"\$\{\s*([\w.:]*)\Z")
_HEADER = re.compile(r"[ \t]*(?:--|#)%[ \t]*(?:(?P<key>[\w.-]*)|(?P<param>[\w.-]+)[ \t]*=[ \t]*(?P<value>[^\n]*))\Z")
_CLAUSES = ("where", "options", "and")
_RUN = ("run", "train", "predict")
_OPENERS = ("'''", '"""', "'", '"', "`")
PLAIN = frozenset(STATEMENTS) & {
    "load", "save", "set", "connect", "register", "unregister", "include", *_RUN,
}  # fmt: skip
"""Statements that are not SQL: `where` opens their options."""


@dataclass(frozen=True)
class Slot:
    """A place for a word. `kind` says what fits: a kind of the catalogue, or `none`."""

    kind: str
    word: str = ""  # the half-written word, without its quotes
    start: int = 0  # where it begins
    head: str = ""  # first word of the statement, the kind of a cell, or the `!command`
    before: tuple[str, ...] = ()  # the statement up to the word, without quotes
    key: str = ""  # the option whose value this is
    options: dict[str, str] = field(default_factory=dict)  # those written before
    next: tuple[str, ...] = ()  # keywords that fit, for kind `keyword`


def slot(text: str, cursor: int) -> Slot:
    """The slot at `cursor`; never raises."""
    head = text[:cursor]
    if reference := _REFERENCE.search(head):
        return Slot("variable", reference[1], reference.start(1))
    tokenizer, tokens = Tokenizer(Source(head)), list[Token]()
    while more := tokenizer.statement(comments=True):
        tokens = more
    if header := _HEADER.match(head, head.rfind("\n") + 1):
        return _header(head, header)
    if not tokens or tokens[-1].kind is Kind.END:
        return Slot("statement", "", cursor)
    last = tokens[-1]
    if last.kind is Kind.COMMENT and last.end == cursor:
        return Slot("none" if last.text.startswith("--") else "statement", "", cursor)
    if last.kind is Kind.CELL:
        kinds = [line["key"].lower() for line in header_lines(head, last.start) if line["value"] is None]
        return Slot("statement" if set(kinds) & SQL_CELLS else "none", "", cursor)
    tokens = [token for token in tokens if token.kind is not Kind.COMMENT]
    return _in_statement(tokens, head) if tokens else Slot("statement", "", cursor)


def _header(head: str, header: re.Match[str]) -> Slot:
    """A cell's kind, the name of a parameter, or its value."""
    start = head.rfind("\n", 0, header.start() - 1) + 1 if header.start() else 0
    lines = header_lines(head, start) if header.start() else []
    kind = next((line["key"].lower() for line in lines if line["value"] is None), "")
    if header["param"]:
        return Slot("value", header["value"], header.start("value"), f"--%{kind}", key=header["param"])
    above = lines and lines[0].start() < header.start() and kind
    return Slot("parameter" if above else "cell", header["key"], header.start("key"), f"--%{kind}" if above else "")


def _in_statement(tokens: list[Token], text: str) -> Slot:
    cursor = start = len(text)
    quote = ""
    if tokens[-1].kind is Kind.UNCLOSED and tokens[-1].end == cursor:
        opened = tokens.pop()
        quote = next((opener for opener in _OPENERS if opened.text.startswith(opener)), "/*")
        start = opened.start + len(quote)
    else:  # names that touch the cursor and each other, with their dots: sft.int.max
        while tokens and tokens[-1].end == start and (tokens[-1].kind is Kind.WORD or tokens[-1].text == "."):
            if tokens[-1].text == "." and (len(tokens) == 1 or tokens[-2].kind is not Kind.WORD):
                break
            start = tokens.pop().start
    word = text[start:]
    if not tokens:
        return Slot("none" if quote else "statement", word, start)
    head = tokens[0].text.lower()
    before = tuple(token.content for token in tokens)
    slot = Slot("none", word, start, head, before)
    if head == "!":
        if len(tokens) == 1:
            return replace(slot, kind="command")
        return replace(slot, kind="argument", head=f"!{before[1].lower()}", before=before[2:])
    if head in PLAIN:
        return _plain(slot, tokens, quote)
    return slot if quote not in ("", "`") or head not in STATEMENTS else replace(slot, kind="sql")


def _plain(slot: Slot, tokens: list[Token], quote: str) -> Slot:
    """In a statement of names, paths and options."""
    bare = [token.text.lower() if token.kind is Kind.WORD else token.text for token in tokens]
    last = bare[-1]
    options, key = _options(tokens)
    if slot.head == "set" and "where" not in bare:
        if len(bare) == 1:
            return replace(slot, kind="setting")
        if last == "=":
            return replace(slot, kind="value", key=slot.before[1] if len(bare) == 3 else "".join(slot.before[1:-1]))
        return replace(slot, kind="keyword", next=("where",))
    if "where" in bare or "options" in bare:
        if last == "partitionby" or (last == "," and "partitionby" in bare):
            return replace(slot, kind="column")
        if last in _CLAUSES:
            return replace(slot, kind="option", options=options)
        if last == "=":
            return replace(slot, kind="value", key=key, options=options)
        if last == "as":
            return slot
        return replace(slot, kind="keyword", next=("and", *_AFTER.get(slot.head, ())), options=options)
    return _names(slot, bare, quote)


def _names(slot: Slot, bare: list[str], quote: str) -> Slot:
    """Before the options: tables, formats, paths, the keywords between them."""
    last, count = bare[-1], len(bare)
    opens = {"load": 1, "connect": 1, "include": 1, "register": 1, "unregister": 1}.get(slot.head)
    if opens is None:  # save and run: a table first, then `as` and a format
        written = [word for word in bare[1:] if slot.head != "save" or word not in SAVE_MODES]
        if not written:
            return replace(slot, kind="table")
        opens = next((index + 1 for index, word in enumerate(bare) if word in ("as", "into")), 0)
        if not opens:
            return replace(slot, kind="keyword", next=("as",))
        if slot.head == "save" and last in ("partitionby", ",") and count > opens + 1:
            return replace(slot, kind="column")
    if count == opens:
        name, dot, rest = slot.word.partition(".")
        if dot and not quote:  # csv.file, without quotes
            before = (*slot.before, name, ".")
            return replace(slot, kind="path", word=rest, start=slot.start + len(name) + 1, before=before)
        return replace(slot, kind="module" if slot.head in _RUN else "format")
    if last == ".":
        return replace(slot, kind="path")
    if slot.head == "register" and "as" in bare[opens:] and last == "as":
        return slot
    if last == "as":
        return slot
    return replace(slot, kind="keyword", next=("where", *_AFTER.get(slot.head, ())))


def _options(tokens: list[Token]) -> tuple[dict[str, str], str]:
    """The options written so far, and the key that waits for its value."""
    found: dict[str, str] = {}
    key = ""
    where = next((i for i, token in enumerate(tokens) if token.text.lower() in ("where", "options")), len(tokens))
    for index in range(where + 1, len(tokens)):
        token = tokens[index]
        if token.text != "=":
            continue
        first = index
        while first > where + 1 and (first == index or tokens[first - 1].end == tokens[first].start):
            first -= 1
        key = "".join(one.content for one in tokens[first:index])
        value = tokens[index + 1].content if index + 1 < len(tokens) else ""
        found[key] = value
    if tokens[-1].text == "=":
        found.pop(key, None)
    return found, key


_AFTER = {"load": ("as",), "connect": ("as",), "save": ("partitionBy",), "register": ("as",)} | dict.fromkeys(
    _RUN, ("as",)
)
