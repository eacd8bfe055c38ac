"""Cells: `--%kind`, `--%key=value` lines and a body; a file and a notebook mean the same by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Cell
from sqlllm.errors import ParseError

from ..registry import statement
from .chat import chat, string
from .python import python
from .visualize import visualize

if TYPE_CHECKING:
    from ..session import Session
    from ..tables import Result

_KINDS: dict[str, Callable[[Session, Cell], Result | None]] = {
    "chat": chat,
    "python": python,
    "string": string,
    "visualize": visualize,
}
_ABSENT = {
    "direct-jdbc": 'Write load jdbc.`db.` where query="select ..." as my_table;',
}


@statement(Cell)
def cell(session: Session, cell: Cell) -> Result | None:
    if handler := _KINDS.get(cell.kind):
        return handler(session, cell)
    cure = _ABSENT.get(cell.kind, "It posts to another engine of Byzer's.")
    raise ParseError(f"--%{cell.kind} cells are not here", cure=cure, place=cell.place.source.place(cell.place.start))
