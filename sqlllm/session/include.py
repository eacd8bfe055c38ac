"""include format.`path`; runs another script here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from sqlllm.dialect.statements import Include
from sqlllm.errors import OptionError, TableError, suggest

from . import guard, libraries, nested, options
from .registry import statement
from .tables import table_named

if TYPE_CHECKING:
    from .session import Session
    from .tables import Result

_MOST = 10_000_000  # characters of a script from the network
_TIMEOUT = 30.0


@statement(Include)
def include(session: Session, include: Include) -> Result | None:
    """Run the script and return its last table. What it sets and names stays."""
    kind, path = include.format.resolve(session.variables), include.path.resolve(session.variables)
    text, name = source(session, include, kind, path)
    return nested.run_script(session, text, name, include.place)


def source(session: Session, include: Include, kind: str, path: str) -> tuple[str, str]:
    """The script that an include names, and what errors call it."""
    kind = kind.lower()
    if kind not in _SOURCES:
        why = f"include {kind} is not here" if kind in _ABSENT else f"unknown kind of include {kind}"
        raise OptionError(why, cure=suggest(kind, list(_SOURCES), what="kinds"), place=include.format.place)
    if kind != "lib":
        options.check(include.options.resolve(session.variables), ())
    return _SOURCES[kind](session, include, path)


def _file(session: Session, include: Include, path: str) -> tuple[str, str]:
    """A file of a library, beside the script that includes it, or in the working folder."""
    if (found := libraries.find(session, path)) is not None:
        return found.read_text(encoding="utf-8-sig"), str(found.resolve())
    written = Path(path.removeprefix("file://")).expanduser()
    beside = Path(include.place.source.name).parent / written
    return _read(session, include, beside if beside.is_file() else written)


def _project(session: Session, include: Include, path: str) -> tuple[str, str]:
    return _read(session, include, session.settings.project / path)


def _read(session: Session, include: Include, file: Path) -> tuple[str, str]:
    guard.check_path(session, str(file), include.path.place)
    try:
        return file.read_text(encoding="utf-8-sig"), str(file.resolve())
    except FileNotFoundError:
        raise TableError(f"there is no script {file}", place=include.path.place) from None
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"cannot read {file}: {error}", place=include.path.place) from None


def _http(session: Session, include: Include, url: str) -> tuple[str, str]:
    guard.require(session, "http", "include http runs a script from the network", include.path.place)
    try:
        reply = httpx.get(url, timeout=_TIMEOUT, follow_redirects=True).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TableError(f"cannot read {url}: {error}", place=include.path.place) from None
    if len(reply.text) > _MOST:
        raise TableError(f"{url} is longer than a script may be", place=include.path.place)
    return reply.text, url


def _table(session: Session, include: Include, name: str) -> tuple[str, str]:
    """The first column of a table, a row a line."""
    rows = table_named(session, include.path).collect()
    return "\n".join(str(row[0]) for row in rows if row[0] is not None), f"table {name}"


def _variable(session: Session, include: Include, name: str) -> tuple[str, str]:
    text = session.variables.source(name)
    if text is None:
        cure = suggest(name, session.variables.names(), what="variables")
        raise TableError(f"there is no variable {name}", cure=cure, place=include.path.place)
    return text, f"variable {name}"


def _library(session: Session, include: Include, path: str) -> tuple[str, str]:
    """A library runs nothing by itself: `include local.`alias.udf.hello`` runs one of its scripts."""
    folder = libraries.include(session, path, include.options.resolve(session.variables), include.path.place)
    return "", str(folder)


_SOURCES: dict[str, Callable[[Session, Include, str], tuple[str, str]]] = {
    "file": _file,
    "hdfs": _file,
    "http": _http,
    "lib": _library,
    "local": _file,
    "project": _project,
    "table": _table,
    "variable": _variable,
}
_ABSENT = ("function", "job", "plugin", "store", "view")  # of Byzer-SQL
