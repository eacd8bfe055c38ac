"""Where the indexes of a session lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlllm.errors import OptionError
from sqlllm.retrieval import care, places
from sqlllm.retrieval import dataset as index

from .. import guard

if TYPE_CHECKING:
    from lance import LanceDataset

    from sqlllm.places import Place as Where

    from ..session import Session

_STORAGE = "storage."  # options that are Lance's own, for object storage


@dataclass(frozen=True)
class Place:
    """An index by its name in the script, its address, and what opens the storage that it lies in."""

    name: str
    uri: str
    storage: dict[str, str]

    def find(self, version: int | None = None) -> LanceDataset | None:
        """The dataset; None if there is none. Raises TableError if it cannot be read or is not an index."""
        found = index.find(self.uri, version, self.storage or None)
        if found is not None:
            index.About.of(found.schema)
        return found


def of(session: Session, name: str, options: dict[str, str] | None = None, where: Where | None = None) -> Place:
    """The place of the index `name`. Raises OptionError for a name that cannot be used, ForbiddenError."""
    given = dict(options or {})
    connection, _, rest = name.partition(".")
    if (known := session.connections.get(("index", connection))) is not None and rest:
        name, given = rest, {**known, **given}
    storage = {key.removeprefix(_STORAGE): value for key, value in given.items() if key.startswith(_STORAGE)}
    try:
        uri = places.uri(name, folder(session))
        if "/" in name:  # what is checked is what is opened: `~/kb` and `file:/kb` are read otherwise elsewhere
            guard.check_path(session, uri, where)
        return Place(name, uri, storage)
    except OptionError as error:
        raise error.at(where) from None


def folder(session: Session) -> str:
    """Where indexes with plain names lie: a folder, or an address."""
    return places.folder(session.settings.indexes, session.settings.home)


def names(session: Session) -> list[str]:
    """The indexes with plain names, in alphabetical order."""
    return places.names(folder(session))


def existing(
    session: Session, name: str, options: dict[str, str] | None = None, where: Where | None = None
) -> tuple[Place, LanceDataset]:
    """The place and the dataset of an index; TableError with the nearest name if there is none."""
    place = of(session, name, options, where)
    found = place.find()
    if found is None:
        raise places.missing(name, folder(session)).at(where)
    return place, care.finished(found)
