"""What statements use of models: counted at the gateway, which sees every call once, and kept in a file.

A task that Spark runs again sends the same requests again: they come from the store and cost nothing, and the rows
that it reports take the place of those it reported before.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .store_sqlite import connect

logger = logging.getLogger(__name__)


_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Query(BaseModel):
    """The statement that a request belongs to and what it may use (0: no limit), as JSON in `x-sqlllm-query`."""

    model_config = ConfigDict(frozen=True)

    id: str = ""
    user: str = ""
    statement: str = ""
    store: Literal["on", "all", "off"] = "on"
    prices: dict[str, tuple[_Price, _Price]] = {}  # per million tokens of prompts and of answers, by model or `*`
    max_calls: int = Field(0, ge=0)
    max_tokens: int = Field(0, ge=0)
    max_cost: _Price = 0
    max_seconds: _Price = 0
    calls_per_minute: int = Field(0, ge=0)
    tokens_per_minute: int = Field(0, ge=0)

    def cost(self, model: str, prompt_tokens: int, answer_tokens: int) -> float:
        """What these tokens cost."""
        prompt, answer = self.prices.get(model) or self.prices.get("*") or (0.0, 0.0)
        return (prompt_tokens * prompt + answer_tokens * answer) / 1e6


class Report(BaseModel):
    """What a task says at its end of the rows that it gave."""

    model: str
    part: tuple[int, int]  # stage and partition
    rows: int
    failed: int
    retried: int


@dataclass(slots=True)
class Usage:
    """What one statement has used of one model."""

    query: str
    model: str
    user: str = ""
    statement: str = ""
    started: float = 0.0  # seconds since 1970
    updated: float = 0.0
    rows: int = 0  # that the function was called for
    calls: int = 0  # prompts that the model was asked
    cached: int = 0  # prompts answered from the store
    joined: int = 0  # prompts that waited for the answer to an equal one
    failed: int = 0  # rows without an answer, for another reason than NULL
    retried: int = 0  # requests sent again
    prompt_tokens: int = 0  # of the calls
    answer_tokens: int = 0  # of the calls
    cost: float = 0.0
    seconds: float = 0.0  # during which the model was busy with it

    @property
    def tokens(self) -> int:
        """Of prompts and answers."""
        return self.prompt_tokens + self.answer_tokens


def made(choices: Sequence[dict[str, Any]]) -> int:
    """The calls that these choices took: one each, unless they say otherwise."""
    return sum(choice.get("calls", 1) for choice in choices)


class Account:
    """The usage of one model by one statement, while it grows."""

    def __init__(self, usage: Usage, query: Query, save: Callable[[Usage], None], clock: Callable[[], float]) -> None:
        self.usage, self.query = usage, query
        self.reserved = 0  # calls under way
        self._save, self._clock = save, clock
        self._rows_before = usage.rows, usage.failed, usage.retried
        self._parts: dict[tuple[int, int], tuple[int, int, int]] = {}
        self._busy, self._since = 0, 0.0

    @property
    def seconds(self) -> float:
        """The model was busy with the statement, up to now."""
        return self.usage.seconds + (monotonic() - self._since if self._busy else 0.0)

    @contextmanager
    def calling(self, calls: int) -> Iterator[None]:
        """Calls are under way: they are reserved, and the clock runs."""
        self.reserved += calls
        if not self._busy:
            self._since = monotonic()
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self.usage.seconds += monotonic() - self._since
            self.reserved -= calls

    def spent(self, choices: Sequence[dict[str, Any]], query: Query | None = None) -> tuple[int, float]:
        """Count answered calls, at the prices of `query` or else the account's; gives their tokens and cost."""
        counts = [choice["usage"] for choice in choices if "usage" in choice]
        prompt, answer = (sum(count[key] for count in counts) for key in ("prompt_tokens", "completion_tokens"))
        cost = (query or self.query).cost(self.usage.model, prompt, answer)
        usage = self.usage
        usage.calls += made(choices)
        usage.prompt_tokens += prompt
        usage.answer_tokens += answer
        usage.cost += cost
        self._touch()
        return prompt + answer, cost

    def saved(self, *, cached: int, joined: int) -> None:
        """Count answers that needed no call."""
        if cached or joined:
            self.usage.cached += cached
            self.usage.joined += joined
            self._touch()

    def reported(self, told: Report) -> None:
        """Count a task's rows, in place of what it said before Spark ran it again."""
        self._parts[told.part] = told.rows, told.failed, told.retried
        totals = zip(self._rows_before, *self._parts.values(), strict=True)
        self.usage.rows, self.usage.failed, self.usage.retried = (sum(counts) for counts in totals)
        self._touch()

    def _touch(self) -> None:
        self.usage.updated = self._clock()
        self._save(self.usage)


_COLUMNS = [field.name for field in fields(Usage)]
_SCHEMA = f"create table if not exists usage ({', '.join(_COLUMNS)}, primary key (query, model)) without rowid"
_INSERT = f"insert or replace into usage values ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608


class UsageFile:
    """The file `usage.db`. Writes are queued in order; reads see all of them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="usage")
        self._db = self._thread.submit(connect, folder / "usage.db").result()
        self._db.execute(_SCHEMA)
        self._waiting: dict[tuple[str, str], Usage] = {}
        self._lock = threading.Lock()

    def save(self, usage: Usage) -> None:
        """Write the usage as it stands, soon."""
        with self._lock:
            if not self._waiting:
                self._thread.submit(self._flush)
            self._waiting[usage.query, usage.model] = usage

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._thread.shutdown()
        self._db.close()

    async def find(self, where: str, *values: object) -> list[Usage]:
        """The usages for which a condition of SQL holds, the oldest first."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, _select, self._db, where, values)

    async def total(self, user: str, since: float) -> tuple[int, int, float]:
        """Calls, tokens and cost of a user's statements that began after `since` (seconds since 1970)."""
        found = await self.find("user = ? and started >= ?", user, since)
        return sum(one.calls for one in found), sum(one.tokens for one in found), sum(one.cost for one in found)

    def _flush(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        try:
            self._db.execute("begin immediate")
            with self._db:  # commits, or rolls back
                self._db.executemany(_INSERT, [astuple(usage) for usage in waiting.values()])
        except sqlite3.Error as error:
            logger.warning("the file of usage cannot be written: %s", error)


def read(folder: Path) -> list[dict[str, Any]]:
    """Every usage in the file of `folder`, the oldest first; none if there is no file."""
    if not (folder / "usage.db").is_file():
        return []
    db = connect(folder / "usage.db")
    try:
        db.execute(_SCHEMA)
        return [asdict(usage) for usage in _select(db, "true", ())]
    finally:
        db.close()


def _select(db: sqlite3.Connection, where: str, values: Sequence[object]) -> list[Usage]:
    columns = ", ".join(_COLUMNS)
    return [Usage(*row) for row in db.execute(f"select {columns} from usage where {where} order by started", values)]  # noqa: S608
