"""A batch of conversations answered: from the store, from an equal request under way, or by the model."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import orjson

from .limits import Statement
from .store import Key, Store, StoreError
from .usage import Account

Choice = dict[str, Any]
Ask = Callable[[list[int]], Awaitable[tuple[list[Choice], bool]]]
"""Calls the model for the conversations at these places: a choice for each, and whether they may be kept."""

logger = logging.getLogger(__name__)


class Answers:
    """What all requests to a gateway share: the store, and who waits for whom."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way: dict[Key, asyncio.Future[Choice | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def choices(
        self, keys: Sequence[Key | None], ask: Ask, statement: Statement, account: Account
    ) -> list[Choice]:
        """A choice for each key, in order; without a key the model is asked.

        Those that needed no call say `cached` or `joined`. Raises RequestError if a limit leaves some without an
        answer; the others are kept by then.
        """
        found: dict[int, Choice] = {}
        left = list(range(len(keys)))
        while left:
            left = await self._round(left, keys, ask, statement, account, found)
        account.saved(
            cached=sum("cached" in choice for choice in found.values()),
            joined=sum("joined" in choice for choice in found.values()),
        )
        return [{"index": index, **found[index]} for index in range(len(keys))]

    async def stored(self, keys: Sequence[Key]) -> int:
        """How many of the keys have an answer."""
        return len(await self._look_up(keys))

    async def _round(
        self,
        places: list[int],
        keys: Sequence[Key | None],
        ask: Ask,
        statement: Statement,
        account: Account,
        found: dict[int, Choice],
    ) -> list[int]:
        """One try; gives the places whose answer another request promised and did not get."""
        mine: list[int] = []
        theirs: list[tuple[int, asyncio.Future[Choice | None]]] = []
        for place in places:
            key = keys[place]
            if key is not None and key in self._under_way:
                theirs.append((place, self._under_way[key]))
                continue
            mine.append(place)
            if key is not None:  # before the store is asked, so that nobody slips in between
                self._under_way[key] = asyncio.get_running_loop().create_future()
        await self._finished(self._own(mine, keys, ask, statement, account, found), kept=any(keys[i] for i in mine))
        again = []
        for place, future in theirs:
            choice = await asyncio.shield(future)  # a reader that leaves must not take the answer from the others
            if choice is None:
                again.append(place)
            else:
                found[place] = {**choice, "joined": True}
        return again

    async def _finished(self, work: Coroutine[Any, Any, None], *, kept: bool) -> None:
        """Do the work; if its answers are kept, to its end, even if who asked has gone: they are being paid for."""
        if not kept:
            await work
            return
        # A context of its own: Serve cancels the calls that were made in that of a request with the request.
        task = asyncio.create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody is left to hear of it
            raise

    async def _own(
        self,
        places: list[int],
        keys: Sequence[Key | None],
        ask: Ask,
        statement: Statement,
        account: Account,
        found: dict[int, Choice],
    ) -> None:
        """Answer what nobody else does, and hand the answers to those who wait."""
        try:
            await self._answer(places, keys, ask, statement, account, found)
        finally:
            for place in places:
                if (key := keys[place]) is not None:
                    self._under_way.pop(key).set_result(found.get(place))  # None: it was stopped, or refused

    async def _answer(
        self,
        places: list[int],
        keys: Sequence[Key | None],
        ask: Ask,
        statement: Statement,
        account: Account,
        found: dict[int, Choice],
    ) -> None:
        stored = await self._look_up([key for place in places if (key := keys[place]) is not None])
        missing = []
        for place in places:
            value = stored.get(keys[place] or b"")
            if value is None:
                missing.append(place)
            else:
                found[place] = {**orjson.loads(value), "cached": True}
        while missing:
            allowed = statement.allow(len(missing))
            asked, missing = missing[:allowed], missing[allowed:]
            with account.calling(len(asked)):
                choices, keep = await ask(asked)
            statement.spent(account, choices)
            fresh: dict[Key, bytes] = {}
            for place, choice in zip(asked, choices, strict=True):
                found[place] = choice
                if keep and (key := keys[place]) is not None and "error" not in choice:
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
