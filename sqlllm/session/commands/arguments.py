"""The arguments of a `!command`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.errors import ParseError

if TYPE_CHECKING:
    from sqlllm.dialect.statements import Macro
    from sqlllm.places import Place

    from ..session import Session


def words(session: Session, macro: Macro, usage: str, least: int, most: int | None = None) -> list[str]:
    """The arguments with their variables filled in; ParseError, which shows `usage`, if there are too few or many."""
    most = least if most is None else most
    if not least <= len(macro.args) <= most:
        raise misused(macro, usage, macro.args[most].place.text if len(macro.args) > most else "")
    return [argument.resolve(session.variables) for argument in macro.args]


def named(session: Session, macro: Macro, usage: str, known: tuple[str, ...]) -> dict[str, str]:
    """`_ -key value -key value` as a dict with every key of `known`; ParseError, which shows `usage`."""
    found = words(session, macro, usage, 2 * len(known) + 1)
    values = dict(zip(found[1::2], found[2::2], strict=True))
    if found[0] != "_" or values.keys() != {f"-{key}" for key in known}:
        raise misused(macro, usage, " ".join(found))
    return {key: values[f"-{key}"] for key in known}


def misused(macro: Macro, usage: str, found: str = "", place: Place | None = None) -> ParseError:
    """The error for arguments that make no sense."""
    wrong = f"!{macro.name} does not know {found}" if found else f"!{macro.name} needs more"
    return ParseError(wrong, cure=f"Write {usage}", place=place or macro.place)
