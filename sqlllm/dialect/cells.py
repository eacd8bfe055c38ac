"""Cells: `--%python` and its kin, in a notebook or in a file."""

from __future__ import annotations

from ..errors import ParseError, suggest
from .clauses import Cursor
from .statements import Cell, Option, Options
from .text import Text
from .tokens import CELL_KINDS, SQL_CELLS, header_lines

_KINDS = frozenset(kind.lower() for kind in CELL_KINDS)


def parse_cell(cursor: Cursor) -> Cell | None:
    """The cell of a CELL token; None if the header says that SQL follows."""
    token, source = cursor.tokens[cursor.index], cursor.source
    cursor.index += 1
    end, kind, params = token.start, "", list[Option]()
    for line in header_lines(source.text, token.start):
        end = line.end()
        key, key_place = line["key"], source.place(line.start("key"), line.end("key"))
        if line["value"] is None:
            if key.lower() not in _KINDS:
                raise ParseError(
                    f"unknown cell kind {key}", cure=suggest(key, CELL_KINDS, what="kinds"), place=key_place
                )
            kind = key.lower()
            continue
        value = line["value"].rstrip()
        place = source.place(line.start("value"), line.start("value") + len(value))
        params.append(Option(key, cursor.make(value, place, place.start), key_place))
    place = source.place(token.start, end)
    if not kind:
        raise ParseError("this cell header names no kind", cure="Write --%python or another kind above.", place=place)
    if kind in SQL_CELLS:
        return None
    start = min(end + 1, token.end)
    raw = source.text[start : token.end].rstrip()
    body = source.place(start, max(start + len(raw), start + 1))
    # `$` and braces belong to Python: `f"${price}"` is a dollar sign and a value.
    text = Text(raw, body, start, (raw,)) if kind == "python" else cursor.make(raw, body, start)
    return Cell(place=source.place(token.start, token.end), kind=kind, params=Options(params), body=text)
