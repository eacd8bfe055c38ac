"""Where an index lies: `kb` is a folder under `indexes`, anything with a slash a path or an address of its own."""

from __future__ import annotations

import re
from pathlib import Path

from sqlllm.errors import OptionError, TableError, suggest

SUFFIX = ".lance"


def folder(indexes: str, home: Path) -> str:
    """Where indexes with plain names lie, by the settings of these names: a folder, or an address."""
    if "://" in indexes:
        return indexes.rstrip("/")
    return str((Path(indexes) if indexes else home / "indexes").expanduser().absolute())


def uri(name: str, folder: str) -> str:
    """The address of the index `name`. Raises OptionError for a name that cannot be used."""
    if "/" in name:
        found = name if "://" in name else str(Path(name).expanduser().absolute())
        return found if found.endswith(SUFFIX) else found + SUFFIX
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise OptionError(
            f"{name!r} is not a name of an index", cure="Write letters, digits, _, - and ., or a path with a slash."
        )
    return f"{folder}/{name}{SUFFIX}"


def names(folder: str) -> list[str]:
    """The indexes with plain names, in alphabetical order; none of them is known where `folder` is an address."""
    if "://" in folder or not Path(folder).is_dir():
        return []
    return sorted(one.name.removesuffix(SUFFIX) for one in Path(folder).glob(f"*{SUFFIX}") if one.is_dir())


def missing(name: str, folder: str) -> TableError:
    """The error for an index that is not there, with the nearest one."""
    known = names(folder)
    cure = suggest(name, known, what="indexes") if known else "Write it first: save overwrite t as index.`NAME`;"
    return TableError(f"there is no index {name}", cure=cure)
