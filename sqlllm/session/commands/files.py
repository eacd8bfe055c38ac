"""!hdfs -ls folder; (also !fs) for folders of this machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Macro
from sqlllm.errors import ParseError, TableError

from .. import guard
from ..registry import command
from ..tables import Result
from . import arguments

if TYPE_CHECKING:
    from ..session import Session

_SCHEMA = "path string, kind string, bytes bigint, modified string"


@command("hdfs", "fs")
def list_files(session: Session, macro: Macro) -> Result:
    found = arguments.words(session, macro, f"!{macro.name} -ls /a/folder;", 1, 2)
    if found[0] != "-ls":
        raise ParseError(
            f"!{macro.name} {found[0]} is not here: a script reads and writes files with load and save",
            cure=f"Only !{macro.name} -ls /a/folder; is.",
            place=macro.args[0].place,
        )
    folder, place = (found[1], macro.args[1].place) if len(found) == 2 else (".", macro.place)
    guard.check_path(session, folder, place)
    path = Path(folder.removeprefix("file://")).expanduser()
    if not path.exists():
        raise TableError(f"there is no folder {folder}", cure="It has to be one of this machine.", place=place)
    rows = [_row(entry) for entry in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return Result(session.table(rows, _SCHEMA), place=macro.place)


def _row(path: Path) -> dict[str, object]:
    stat = path.lstat()
    modified = datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(timespec="seconds")
    return {
        "path": str(path),
        "kind": "folder" if path.is_dir() else "file",
        "bytes": stat.st_size,
        "modified": modified,
    }
