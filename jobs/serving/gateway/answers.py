"""Every answer comes through here: from the store, from an equal request under way, or by the model."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from sqlllm.wire import CANCELLED, OF_ALL

from ..protocol import RequestError
from . import single
from .limits import Statement
from .store import Key, Store, StoreError
from .streams import Shared
from .usage import Account

Choice = dict[str, Any]
Ask = Callable[[list[int]], Awaitable[tuple[list[Choice], bool]]]
"""Calls the model for the conversations at these places: a choice for each, and whether they may be kept."""

Pump = Callable[[Shared], Awaitable[None]]
"""Fills a stream with the events of a model, and counts them."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Work:
    """A batch: a key for each conversation, or None, how to ask the model, who pays, and the choices found so far."""

    keys: Sequence[Key | None]
    ask: Ask
    statement: Statement
    account: Account
    found: dict[int, Choice] = field(default_factory=dict)


def stopped() -> RequestError:
    """The error of a call whose statement was cancelled."""
    return RequestError("the statement was cancelled", status=409, kind="cancelled_error", code=CANCELLED)


class Answers:
    """What all requests to a gateway share: the store, and who waits for whom."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way: dict[Key, asyncio.Future[Choice | None]] = {}
        self._streams: dict[tuple[Key, bool], Shared] = {}
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

    async def stream(
        self, key: Key | None, pump: Pump, statement: Statement, account: Account, *, with_usage: bool, model: str
    ) -> tuple[AsyncIterator[bytes], str]:
        """The events of one answer, and `cached`, `joined` or nothing; `pump` fills a stream from the model.

        A stream that is not shared ends at the model when its reader leaves. Raises RequestError if a limit is reached.
        """
        if key is not None:
            while shared := self._streams.get((key, with_usage)):
                if await shared.begins():  # else it was stopped or refused, which is between its model and who pays
                    account.saved(cached=0, joined=1)
                    return shared.read(), "joined"
            if (promise := self._under_way.get(key)) is None:
                return await self._first(key, pump, statement, account, with_usage=with_usage, model=model)
            if not any((key, told) in self._streams for told in (True, False)):  # a batch or a call has it soon
                choice = await asyncio.shield(promise)
                if choice is not None and choice.get("message"):
                    account.saved(cached=0, joined=1)
                    return single.events(choice, model, with_usage=with_usage), "joined"
        return self._begin(Shared(), None, pump, statement, with_usage=with_usage), ""

    async def _first(
        self, key: Key, pump: Pump, statement: Statement, account: Account, *, with_usage: bool, model: str
    ) -> tuple[AsyncIterator[bytes], str]:
        """The stream of a request that nobody else makes: from the store, else from the model."""
        shared = self._streams[key, with_usage] = Shared()  # before the store is asked, so that nobody slips in between
        self._under_way[key] = asyncio.get_running_loop().create_future()
        found: Choice | None = None
        stored: bytes | None = b""
        try:
            stored = (await self._look_up([key])).get(key)
            if stored is None:
                return self._begin(shared, key, pump, statement, with_usage=with_usage), ""
            found = orjson.loads(stored)
            async for piece in single.events(found, model, with_usage=with_usage):
                shared.add(piece)
        finally:
            if stored is not None:  # else it goes on
                shared.end(None if found else stopped())
                del self._streams[key, with_usage]
                self._under_way.pop(key).set_result(found)
        account.saved(cached=1, joined=0)
        return shared.read(), "cached"

    def _begin(
        self, shared: Shared, key: Key | None, pump: Pump, statement: Statement, *, with_usage: bool
    ) -> AsyncIterator[bytes]:
        """Fill a stream in a task of its own, and read it."""

        choice: Choice | None = None

        async def fill() -> None:
            nonlocal choice
            await pump(shared)
            if key is None or (made := single.assembled(shared.pieces)) is None or not single.may_be_kept(made):
                return
            choice = made
            if "usage" in made:  # a later reader sees what it took
                await self._keep({key: orjson.dumps(made)})

        def finish(done: asyncio.Task[None]) -> None:  # not in the task: a cancelled task may never have begun
            del self._tasks[done]
            error = stopped() if done.cancelled() else done.exception()
            if error is not None and not isinstance(error, RequestError):
                logger.error("a stream failed", exc_info=error)
                error = RequestError(f"the stream failed: {error!r}", status=500, kind="server_error")
            shared.end(error)
            if key is not None:
                del self._streams[key, with_usage]
                self._under_way.pop(key).set_result(choice)

        async def read() -> AsyncIterator[bytes]:
            try:
                async for piece in shared.read():
                    yield piece
            finally:
                if key is None:  # nobody else reads it
                    task.cancel()

        task = asyncio.create_task(fill(), context=contextvars.Context())
        self._tasks[task] = statement
        task.add_done_callback(finish)
        return read()

    def cancel(self, statements: Collection[Statement]) -> None:
        """Stop the calls of these statements; another that waits for their answers asks itself."""
        for task, statement in self._tasks.items():
            if statement in statements:
                task.cancel()

    async def close(self) -> None:
        """Stop all calls, and close the store."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._store.close()

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
                work.found[place] = choice if "cached" in choice else {**choice, "joined": True}  # counted once
        return again

    async def _finished(self, work: _Work, places: list[int]) -> None:
        """Answer these; if any is to be kept, all of them, even if who asked has gone: they are being paid for."""

        def hand_out(done: asyncio.Task[None]) -> None:  # not in the task: a cancelled task may never have begun
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
            if not any(work.keys[place] for place in places):
                task.cancel()
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody is left to get it
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
            fatal = None
            for place, choice in zip(asked, choices, strict=True):
                choice.pop("calls", None)  # they are counted
                work.found[place] = choice
                if "error" in choice:
                    fatal = choice if choice["error"].get("code") in OF_ALL else fatal
                elif keep and (key := work.keys[place]) is not None:
                    fresh[key] = orjson.dumps(choice)
            await self._keep(fresh)
            if fatal is not None:  # what is left would get it, too
                work.found.update(dict.fromkeys(missing, fatal))
                return

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
