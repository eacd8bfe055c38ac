"""A batch of conversations answered: from the store, from an equal request under way, or by the model."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from .limits import Statement
from .store import Key, Store, StoreError
from .usage import Account

Choice = dict[str, Any]
Ask = Callable[[list[int]], Awaitable[tuple[list[Choice], bool]]]
"""Calls the model for the conversations at these places: a choice for each, and whether they may be kept."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Work:
    """A batch: a key for each conversation, or None, how to ask the model, who pays, and the choices found so far."""

    keys: Sequence[Key | None]
    ask: Ask
    statement: Statement
    account: Account
    found: dict[int, Choice] = field(default_factory=dict)


class Answers:
    """What all requests to a gateway share: the store, and who waits for whom."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way: dict[Key, asyncio.Future[Choice | None]] = {}
        self._tasks: dict[asyncio.Task[None], Statement] = {}

    async def choices(
        self, keys: Sequence[Key | None], ask: Ask, statement: Statement, account: Account
    ) -> list[Choice]:
        """A choice for each key, in order; without a key the model is asked.

        Those that needed no call say `cached` or `joined`. Raises RequestError if a limit leaves some without an
        answer; the others are kept by then.
        """
        work = _Work(keys, ask, statement, account)
        left = list(range(len(keys)))
        while left:
            left = await self._round(work, left)
        account.saved(
            cached=sum("cached" in choice for choice in work.found.values()),
            joined=sum("joined" in choice for choice in work.found.values()),
        )
        return [{"index": index, **work.found[index]} for index in range(len(keys))]

    def cancel(self, statements: Collection[Statement]) -> None:
        """Stop the calls of these statements; another that waits for their answers asks itself."""
        for task, statement in self._tasks.items():
            if statement in statements:
                task.cancel()

    async def stored(self, keys: Sequence[Key]) -> int:
        """How many of the keys have an answer."""
        return len(await self._look_up(keys))

    async def _round(self, work: _Work, places: list[int]) -> list[int]:
        """One try; gives the places whose answer another request promised and did not get."""
        mine: list[int] = []
        theirs: list[tuple[int, asyncio.Future[Choice | None]]] = []
        for place in places:
            key = work.keys[place]
            if key is not None and key in self._under_way:
                theirs.append((place, self._under_way[key]))
                continue
            mine.append(place)
            if key is not None:  # before the store is asked, so that nobody slips in between
                self._under_way[key] = asyncio.get_running_loop().create_future()
        await self._finished(work, mine)
        again = []
        for place, future in theirs:
            choice = await asyncio.shield(future)  # a reader that leaves must not take the answer from the others
            if choice is None:
                again.append(place)
            else:
                work.found[place] = {**choice, "joined": True}
        return again

    async def _finished(self, work: _Work, places: list[int]) -> None:
        """Answer these; if answers are kept, all of them, even if who asked has gone: they are being paid for."""
        if not any(work.keys[place] for place in places):
            await self._answer(work, places)
            return

        def hand_out(done: asyncio.Task[None]) -> None:  # not in the task: one that is cancelled may never have begun
            del self._tasks[done]
            for place in places:
                if (key := work.keys[place]) is not None:
                    self._under_way.pop(key).set_result(work.found.get(place))  # None: it was stopped, or refused

        # A context of its own: Serve cancels the calls that were made in that of a request with the request.
        task = asyncio.create_task(self._answer(work, places), context=contextvars.Context())
        self._tasks[task] = work.statement
        task.add_done_callback(hand_out)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody is left to hear of it
            raise

    async def _answer(self, work: _Work, places: list[int]) -> None:
        """Answer what nobody else does."""
        stored = await self._look_up([key for place in places if (key := work.keys[place]) is not None])
        missing = []
        for place in places:
            value = stored.get(work.keys[place] or b"")
            if value is None:
                missing.append(place)
            else:
                work.found[place] = {**orjson.loads(value), "cached": True}
        while missing:
            allowed = work.statement.allow(len(missing))
            asked, missing = missing[:allowed], missing[allowed:]
            with work.statement.calling(work.account, len(asked)):
                choices, keep = await work.ask(asked)
            work.statement.spent(work.account, choices)
            fresh: dict[Key, bytes] = {}
            for place, choice in zip(asked, choices, strict=True):
                work.found[place] = choice
                if keep and (key := work.keys[place]) is not None and "error" not in choice:
                    fresh[key] = orjson.dumps(choice)
            await self._keep(fresh)

    async def _look_up(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        if not keys:
            return {}
        try:
            return await self._store.get(keys)
        except StoreError as error:
            logger.warning("the store of answers cannot be read: %s", error)
            return {}

    async def _keep(self, answers: dict[Key, bytes]) -> None:
        try:
            await self._store.put(answers)
        except StoreError as error:
            logger.warning("the store of answers cannot be written: %s", error)
