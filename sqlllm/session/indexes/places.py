"""Where an index lies: `kb` is a folder under `indexes`, anything with a slash a path or an address of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlllm.errors import OptionError, TableError, suggest
from sqlllm.retrieval import dataset as index

from .. import guard

if TYPE_CHECKING:
    from lance import LanceDataset

    from sqlllm.places import Place as Where

    from ..session import Session

_SUFFIX = ".lance"
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
    if "/" in name:
        guard.check_path(session, name, where)
        uri = name if "://" in name else str(Path(name).expanduser().absolute())
        return Place(name, uri if uri.endswith(_SUFFIX) else uri + _SUFFIX, storage)
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise OptionError(
            f"{name!r} is not a name of an index",
            cure="Write letters, digits, _, - and ., or a path with a slash.",
            place=where,
        )
    return Place(name, f"{folder(session)}/{name}{_SUFFIX}", storage)


def folder(session: Session) -> str:
    """Where indexes with plain names lie: a folder, or an address."""
    given = session.settings.indexes
    if "://" in given:
        return given.rstrip("/")
    return str((Path(given) if given else session.settings.home / "indexes").expanduser().absolute())


def names(session: Session) -> list[str]:
    """The indexes with plain names, in alphabetical order; none of them is known where `indexes` is an address."""
    found = folder(session)
    if "://" in found or not Path(found).is_dir():
        return []
    return sorted(one.name.removesuffix(_SUFFIX) for one in Path(found).glob(f"*{_SUFFIX}") if one.is_dir())


def existing(
    session: Session,
    name: str,
    options: dict[str, str] | None = None,
    where: Where | None = None,
    *,
    version: int | None = None,
) -> tuple[Place, LanceDataset]:
    """The place and the dataset of an index; TableError with the nearest name if there is none."""
    place = of(session, name, options, where)
    found = place.find(version)
    if found is None:
        if version is not None and place.find() is not None:
            raise TableError(f"index {name} has no version {version}", cure="!show indexes; shows them.", place=where)
        known = names(session)
        cure = suggest(name, known, what="indexes") if known else "Write it first: save overwrite t as index.`NAME`;"
        raise TableError(f"there is no index {name}", cure=cure, place=where)
    return place, found
