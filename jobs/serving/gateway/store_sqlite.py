"""Answers in a SQLite file: what one machine needs."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from .store import Key, StoreError

T = TypeVar("T")

_SCHEMA = """
create table if not exists answers (
  key blob primary key, answer blob not null, stored integer not null, used integer not null
);
create index if not exists answers_used on answers (used);
"""
_DAY = 86_400  # seconds; so coarse is "last used", so that a look-up seldom writes
_PARAMETERS = 500  # of one query


def connect(path: Path) -> sqlite3.Connection:
    """A connection that several processes can have to one file; what is committed survives a kill.

    Only its owner may read the file: it holds what people asked.
    """
    path.touch(mode=0o600)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    db.execute("pragma journal_mode = wal")
    db.execute("pragma synchronous = normal")
    db.execute("pragma cache_size = -65536")  # 64 MiB
    return db


class SQLiteStore:
    """Keeps at most `max_bytes`, the least recently used go first; none older than `ttl` seconds (0: any age)."""

    def __init__(self, path: Path, *, max_bytes: int, ttl: float, clock: Callable[[], float] = time.time) -> None:
        self._max_bytes, self._ttl, self._clock = max_bytes, ttl, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answers")
        self._db = self._thread.submit(connect, path).result()
        self._db.executescript(_SCHEMA)

    async def get(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        """The answers that are there."""
        return await self._run(lambda: self._get(keys))

    async def put(self, answers: Mapping[Key, bytes]) -> None:
        """Keep answers."""
        if answers:
            await self._run(lambda: self._put(answers))

    async def close(self) -> None:
        """Close the file."""
        await self._run(self._db.close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def _get(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        now = int(self._clock())
        oldest = now - self._ttl if self._ttl else 0
        found: dict[Key, bytes] = {}
        touched = []
        for start in range(0, len(keys), _PARAMETERS):
            some = keys[start : start + _PARAMETERS]
            marks = ",".join("?" * len(some))
            query = f"select key, answer, used from answers where stored >= ? and key in ({marks})"  # noqa: S608
            for key, answer, used in self._db.execute(query, (oldest, *some)):
                found[key] = answer
                if used < now - _DAY:
                    touched.append((now, key))
        if touched:
            self._write("update answers set used = ? where key = ?", touched)
        return found

    def _put(self, answers: Mapping[Key, bytes]) -> None:
        now = int(self._clock())
        rows = [(key, answer, now, now) for key, answer in answers.items()]
        self._write("insert or replace into answers values (?, ?, ?, ?)", rows)
        if self._bytes() > self._max_bytes:  # a little at a time: nobody waits for a large clean-up
            self._db.execute(
                "delete from answers where rowid in (select rowid from answers order by used limit ?)",
                (max(2 * len(rows), 100),),
            )

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        self._db.execute("begin immediate")
        with self._db:  # commits, or rolls back
            self._db.executemany(statement, rows)

    def _bytes(self) -> int:
        (pages,), (free,), (size,) = (
            self._db.execute(f"pragma {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)
