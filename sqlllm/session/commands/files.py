"""!hdfs -ls folder; (also !fs) and its kin, for files of this machine; !saveFile, which writes one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Macro
from sqlllm.errors import OptionError, ParseError, TableError, suggest

from .. import guard, queries, replace
from ..registry import command
from ..tables import Result, table_named
from . import arguments

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from ..session import Session

_REMOVE = ("-mv", "-rm", "-rmr")
_LOCAL = "It has to be one of this machine."
_SCHEMA = "path string, kind string, bytes bigint, modified string"
Row = dict[str, object]


@command("hdfs", "fs")
def files(session: Session, macro: Macro) -> Result:
    """Paths are checked as those of load and save are; a row shows what is there afterwards."""
    usage = "; ".join(f"!{macro.name} {name} {about}" for name, (_, about) in _ACTIONS.items()) + ";"
    found = arguments.words(session, macro, f"!{macro.name} -ls /a/folder;", 1, 4)
    name, words = found[0], found[1:]
    if name not in _ACTIONS:
        cure = suggest(name, list(_ACTIONS), what="actions")
        raise ParseError(f"!{macro.name} does not know {name}", cure=cure, place=macro.args[0].place)
    action, about = _ACTIONS[name]
    if name in _REMOVE:
        guard.require(session, "shell", f"!{macro.name} {name} removes files", macro.args[0].place)
    for text, word in zip(macro.args[1:], words, strict=True):
        guard.check_path(session, word, text.place)
    paths = [Path(word.removeprefix("file://")).expanduser() for word in words if word not in {"-r", "-R", "-p", "-f"}]
    if name in {"-help", "-usage"}:
        return Result(session.table([{"usage": line.strip()} for line in usage.split(";") if line], "usage string"))
    if len(paths) != max(len(about.split()), 1) and not (name == "-ls" and not paths):
        raise arguments.misused(macro, f"!{macro.name} {name} {about};")
    try:
        rows = action(*paths)
    except FileNotFoundError as error:
        place = macro.args[1].place if len(macro.args) > 1 else macro.place
        raise TableError(f"there is no folder or file {error.filename}", cure=_LOCAL, place=place) from None
    except OSError as error:
        raise TableError(f"!{macro.name} {name}: {error.strerror}: {error.filename}", place=macro.place) from None
    schema = _COUNTED if name == "-count" else "value string" if name in {"-cat", "-text"} else _SCHEMA
    return Result(session.table(rows, schema), place=macro.place)


def _list(folder: Path = Path()) -> list[Row]:
    return [_row(path) for path in (sorted(folder.iterdir()) if folder.is_dir() else [folder])]


def _make(folder: Path) -> list[Row]:
    folder.mkdir(parents=True, exist_ok=True)
    return [_row(folder)]


def _remove(path: Path) -> list[Row]:
    gone = [_row(path)]
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    return gone


def _copy(source: Path, target: Path) -> list[Row]:
    target = target / source.name if target.is_dir() else target
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)
    return [_row(target)]


def _move(source: Path, target: Path) -> list[Row]:
    return [_row(Path(shutil.move(source, target)))]


def _merge(folder: Path, target: Path) -> list[Row]:
    """The files that Spark wrote to a folder, in order, as one."""
    parts = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith((".", "_"))]
    with target.open("wb") as out:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, out)
    return [_row(target)]


def _show(file: Path) -> list[Row]:
    return [{"value": line} for line in file.read_text(errors="replace").splitlines()]


_COUNTED = "fileSystem string, folders bigint, files bigint, bytes bigint"


def _count(folder: Path) -> list[Row]:
    inside = [folder, *folder.rglob("*")]
    sizes = [path.stat().st_size for path in inside if path.is_file()]
    folders = sum(path.is_dir() for path in inside)
    return [{"fileSystem": str(folder.resolve()), "folders": folders, "files": len(sizes), "bytes": sum(sizes)}]


_ACTIONS: dict[str, tuple[Callable[..., list[Row]], str]] = {
    "-cat": (_show, "/a/file"),
    "-count": (_count, "/a/folder"),
    "-cp": (_copy, "/a/source /a/target"),
    "-getmerge": (_merge, "/a/folder /a/file"),
    "-help": (_list, ""),
    "-ls": (_list, "/a/folder"),
    "-mkdir": (_make, "/a/folder"),
    "-mv": (_move, "/a/source /a/target"),
    "-rm": (_remove, "/a/path"),
    "-rmr": (_remove, "/a/path"),
    "-text": (_show, "/a/file"),
    "-usage": (_list, ""),
}


def _row(path: Path) -> Row:
    stat = path.lstat()
    modified = datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(timespec="seconds")
    return {
        "path": str(path),
        "kind": "folder" if path.is_dir() else "file",
        "bytes": stat.st_size,
        "modified": modified,
    }


@command("savefile")
def save_file(session: Session, macro: Macro) -> Result:
    """`!saveFile _ -i my_table -o /a/file;` writes the only cell of a table, bytes or text, to a file."""
    values = arguments.named(session, macro, "!saveFile _ -i my_table -o /a/file;", ("i", "o"))
    guard.check_path(session, values["o"], macro.place)
    content = _only_cell(table_named(session, values["i"]), values["i"])
    file = Path(values["o"].removeprefix("file://")).expanduser()
    try:
        with replace.file(file) as beside:
            beside.write_bytes(content)
    except OSError as error:
        raise TableError(f"cannot write {file}: {error.strerror}", place=macro.place) from None
    return Result(session.table([_row(file)], _SCHEMA), place=macro.place)


def _only_cell(frame: DataFrame, name: str) -> bytes:
    with queries.errors_at(None):
        rows = frame.take(2)
    if len(rows) != 1 or len(rows[0]) != 1 or not isinstance(rows[0][0], bytes | bytearray | str):
        raise OptionError(f"{name} is more or less than one cell of bytes", cure="Select one row and one column of it.")
    cell = rows[0][0]
    return cell.encode() if isinstance(cell, str) else bytes(cell)
