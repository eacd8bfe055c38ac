"""Tables that are computed once, for a script or for the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .tables import identifier

if TYPE_CHECKING:
    from .session import Session

LIFECYCLES = ("script", "session")


def add(session: Session, name: str, lifecycle: str) -> None:
    """Compute the table `name` once, until the script or the session ends."""
    session.spark.catalog.cacheTable(identifier(name))
    if lifecycle == "script":
        session.cached.add(identifier(name))


def remove(session: Session, name: str) -> None:
    """Compute it no longer once."""
    session.spark.catalog.uncacheTable(identifier(name))
    session.cached.discard(identifier(name))
