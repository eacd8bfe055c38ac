"""connect format where options as name;"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Connect
from sqlllm.errors import ParseError

from .registry import statement

if TYPE_CHECKING:
    from .session import Session


@statement(Connect)
def connect(session: Session, connect: Connect) -> None:
    """Keep the options for later paths that begin with the name; nothing is connected yet."""
    if connect.name is None:
        raise ParseError("connect needs a name", cure='Write: connect jdbc where url="..." as db1;')
    key = (connect.format.resolve(session.variables).lower(), connect.name.resolve(session.variables))
    session.connections[key] = connect.options.resolve(session.variables)
