"""Files take the place of others only when they are whole: written beside them, then renamed.

A statement that fails, or is stopped, leaves the old files. A process that is killed between the two renames of a
folder leaves them beside it; the next load or save of the path puts them back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from sqlllm.errors import OptionError, TableError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from .formats import Request
    from .session import Session

FORMATS = frozenset({"avro", "csv", "json", "libsvm", "orc", "parquet", "text", "xml"})
"""What Spark writes as a folder of files; other formats, such as delta, have transactions of their own."""

_RENAMING = 5  # seconds, of which two renames take a small part


@contextmanager
def file(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; the file there replaces it at the end of the block, or is removed."""
    target = target.resolve()  # a link stays
    beside = target.with_name(f".{target.stem}.{uuid4().hex}{target.suffix}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield beside
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def folder(ask: Request, frame: DataFrame, write: Callable[[DataFrame, str], None], table: str) -> None:
    """`write(frame, folder)` writes a folder, which then takes the place of the one at the path, if there is one.

    `table`, whose rows `frame` has, may be read from that folder. Through Spark Connect the files are out of reach:
    Spark overwrites.
    """
    session = ask.session
    place = _Place(session, ask.path)
    place.recover()
    replaces = place.exists(place.target)
    if replaces and place.is_whole_volume():
        cure = "Save to a folder in it."
        raise OptionError(f"{ask.path} cannot be replaced as a whole", cure=cure, place=ask.place)
    if replaces and place.holds(frame):
        frame = session.keep(frame)  # the table stays what it is when its files are gone
        if any(view.name.lower() == table.lower() for view in session.spark.catalog.listTables() if view.isTemporary):
            session.name_table(frame, table, None)
    beside = place.beside("part")
    try:
        write(frame, beside)
        place.swap(beside)
    finally:
        place.delete(beside)
    if replaces:
        _look_again(session, place)


def recover(session: Session, path: str) -> None:
    """Put back the folder of a save that was killed between its two renames."""
    _Place(session, path).recover()


def exists(ask: Request) -> bool:
    """Whether there is something at the path."""
    place = _Place(ask.session, ask.path)
    return place.exists(place.target)


def dynamic(ask: Request) -> bool:
    """Whether Spark overwrites only the partitions that the table has rows for."""
    mode = ask.options.get("partitionOverwriteMode") or ask.session.spark.conf.get(
        "spark.sql.sources.partitionOverwriteMode", "static"
    )
    return str(mode).lower() == "dynamic"


class _Place:
    """A path of Hadoop's file systems: of this machine, of HDFS, of an object store."""

    def __init__(self, session: Session, path: str) -> None:
        context: Any = session.spark.sparkContext
        self._java = context._jvm.org.apache.hadoop.fs
        self.target = self._java.Path(path)
        self._system = self.target.getFileSystem(context._jsc.hadoopConfiguration())
        self.target = self._system.makeQualified(self.target)
        self.local = self.target.toUri().getScheme() == "file"
        if self.local:  # a link to a folder stays
            self.target = self._java.Path("file", None, str(Path(self.target.toUri().getPath()).resolve()))

    def exists(self, path: Any) -> bool:
        return bool(self._system.exists(path))

    def is_whole_volume(self) -> bool:
        """Whether there is no room beside it: a bucket, a mounted disk."""
        return self.target.getParent() is None or (self.local and os.path.ismount(self.target.toUri().getPath()))

    def beside(self, kind: str) -> str:
        """A new hidden path in the same folder: readers of that folder pass over it."""
        name = f".{self.target.getName()}.{uuid4().hex}.{time.time():.0f}.{kind}"
        return str(self._java.Path(self.target.getParent(), name).toString())

    def holds(self, frame: DataFrame) -> bool:
        """Whether `frame` is read from files in the folder."""
        root = self.target.toUri().getPath().rstrip("/")
        return any(f"{unquote(urlsplit(one).path)}/".startswith(f"{root}/") for one in frame.inputFiles())

    def swap(self, beside: str) -> None:
        """The folder `beside` takes the place of the target."""
        old = self.beside("old")
        replaces = self.exists(self.target)
        if replaces:
            self._rename(self.target, self._java.Path(old))
        try:
            if self.exists(self.target):  # Hadoop would move the new folder into it
                raise TableError(f"another statement has written {self.target.toString()} meanwhile")
            self._rename(self._java.Path(beside), self.target)
        except BaseException:
            if replaces and not self.exists(self.target):
                self._rename(self._java.Path(old), self.target)
            raise
        self.delete(old)

    def recover(self) -> None:
        """Put back what the first of two renames moved away."""
        parent = self.target.getParent()
        if parent is None or self.exists(self.target) or not self.exists(parent):
            return
        moved = self._java.Path(parent, f".{self.target.getName()}.*.old")
        for one in self._system.globStatus(moved) or ():
            if time.time() - int(one.getPath().getName().split(".")[-2]) > _RENAMING:  # else it may be under way
                self._rename(one.getPath(), self.target)
                return

    def delete(self, path: str) -> None:
        self._system.delete(self._java.Path(path), True)

    def _rename(self, source: Any, target: Any) -> None:
        if not self._system.rename(source, target):
            raise TableError(f"cannot rename {source.toString()} to {target.toString()}")


def _look_again(session: Session, place: _Place) -> None:
    """Tables loaded from the folder show its new rows: their lists of files are made again."""
    for table in session.spark.catalog.listTables():
        if table.isTemporary:
            frame: Any = session.spark.table(f"`{table.name.replace('`', '``')}`")
            if place.holds(frame):
                frame._jdf.queryExecution().analyzed().refresh()
