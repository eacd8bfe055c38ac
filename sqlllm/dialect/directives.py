"""`#set` and `#foreach ... #end` in a select, which Byzer-SQL has from Velocity: SQL written once for several columns.

select
#set($columns = ["a", "b"])
#foreach($column in $columns)
    sum(`$column`) as $column,
#end
count(*) as n from t as sums;
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from json import JSONDecodeError
from typing import NamedTuple

from ..errors import ParseError, suggest
from ..places import Place, Source
from .text import RenderedSql
from .tokens import Kind, Tokenizer

_KNOWN = ("set", "foreach", "end")
_MAYBE = re.compile(r"#\w")
_ARGUMENT = {
    "set": (re.compile(r"\s*\$(\w+)\s*=\s*(.+?)\s*", re.DOTALL), "#set($names = ['a', 'b'])"),
    "foreach": (re.compile(r"\s*\$(\w+)\s+in\s+(.+?)\s*", re.DOTALL), "#foreach($name in $names) ... #end"),
}
_NAME = re.compile(r"\$(\w+)")

Value = str | list[str]


class _Directive(NamedTuple):
    name: str
    start: int
    end: int
    argument: str
    place: Place


def expand(sql: RenderedSql) -> RenderedSql:
    """`sql` with its directives carried out; raises ParseError at one that makes no sense."""
    if not _MAYBE.search(sql.text):
        return sql
    names: dict[str, Value] = {}
    loop: tuple[_Directive, str, list[str]] | None = None
    edits: list[tuple[int, int, str]] = []
    done = 0
    for directive in _directives(sql):
        if loop is None:
            edits += _named(sql.text, done, directive.start, names)
        if directive.name == "end":
            if loop is None:
                raise ParseError("#end without a #foreach before it", place=directive.place)
            opener, name, values = loop
            body = sql.text[opener.end : directive.start]
            edits.append((opener.start, directive.end, "".join(_filled(body, {**names, name: one}) for one in values)))
            loop = None
        elif loop is not None:
            cure = "Write #end before it."
            raise ParseError(f"#{directive.name} inside a #foreach", cure=cure, place=directive.place)
        else:
            name, value = _read(directive, names)
            if directive.name == "foreach":
                loop = directive, name, value if isinstance(value, list) else [value]
            else:
                names[name] = value
                edits.append((directive.start, directive.end, ""))
        done = directive.end
    if loop is not None:
        raise ParseError("this #foreach has no #end", place=loop[0].place)
    return sql.spliced([*edits, *_named(sql.text, done, len(sql.text), names)])


def _directives(sql: RenderedSql) -> Iterator[_Directive]:
    """What opens with a `#` outside strings and comments."""
    tokenizer, tokens = Tokenizer(Source(sql.text)), []
    while more := tokenizer.statement():
        tokens += more
    for index, (sign, word) in enumerate(pairwise(tokens)):
        if sign.text != "#" or word.kind is not Kind.WORD:
            continue
        place, name, end, argument = sql.place_at(sign.start, word.end), word.text, word.end, ""
        if name not in _KNOWN:
            raise ParseError(f"unknown directive #{name}", cure=suggest(name, _KNOWN, what="directives"), place=place)
        if name in _ARGUMENT:
            depth = 0
            for token in tokens[index + 2 :]:
                depth += {"(": 1, ")": -1}.get(token.text, 0)
                if depth == 0:
                    argument, end = sql.text[word.end : token.end].strip(), token.end
                    break
        yield _Directive(name, sign.start, end, argument, place)


def _read(directive: _Directive, names: Mapping[str, Value]) -> tuple[str, Value]:
    """The name and the value of a directive: a text, a number, a list of them, or a name that has one."""
    pattern, usage = _ARGUMENT[directive.name]
    found = pattern.fullmatch(directive.argument[1:-1])
    if found is None:
        raise ParseError(f"#{directive.name} makes no sense here", cure=f"Write {usage}.", place=directive.place)
    name, text = found.groups()
    if known := _NAME.fullmatch(text):
        if known[1] not in names:
            cure = suggest(known[1], list(names), what="names") if names else f"Write #set({text} = ['a', 'b']) before."
            raise ParseError(f"{text} is not set", cure=cure, place=directive.place)
        return name, names[known[1]]
    try:
        value = json.loads(re.sub(r"'([^'\"\\]*)'", r'"\1"', text))
    except JSONDecodeError:
        message = f"{text} is neither a text nor a list"
        raise ParseError(message, cure=f"Write {usage}.", place=directive.place) from None
    return name, [str(one) for one in value] if isinstance(value, list) else str(value)


def _filled(text: str, names: Mapping[str, Value]) -> str:
    return _NAME.sub(lambda match: str(names.get(match[1], match[0])), text)


def _named(text: str, start: int, end: int, names: Mapping[str, Value]) -> list[tuple[int, int, str]]:
    """The edits for each `$name` between two offsets."""
    found = _NAME.finditer(text, start, end) if names else ()
    return [(match.start(), match.end(), str(names[match[1]])) for match in found if match[1] in names]
