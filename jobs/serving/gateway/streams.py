"""The streams of models, on their way to clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ..protocol import SSE_DONE, RequestError
from .metrics import Request
from .metrics import counted as tokens
from .models import Worker

Wrap = Callable[[str, AsyncIterator[dict[str, Any]]], AsyncIterator[bytes]]


class Stream(StreamingResponse):
    """A stream that ends at the model, too, when its client goes away: Starlette alone leaves that to the collector."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().__call__(scope, receive, send)


class Shared:
    """A stream that is under way, for all clients that read it, each from its beginning."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._ended: RequestError | bool = False
        self._waiting: set[asyncio.Future[None]] = set()

    def add(self, piece: bytes) -> None:
        """The next events."""
        self.pieces.append(piece)
        self._wake()

    def end(self, error: RequestError | None = None) -> None:
        """No more come; `error` is why, if it is not whole."""
        self._ended = self._ended or error or True
        self._wake()

    async def begins(self) -> bool:
        """Wait for the first events; False if none come."""
        while not self.pieces and not self._ended:
            await self._next()
        return bool(self.pieces)

    async def read(self) -> AsyncIterator[bytes]:
        """The events; an error before the first is raised, a later one is the last event."""
        place = 0
        while True:
            while place < len(self.pieces):
                place += 1
                yield self.pieces[place - 1]
            if isinstance(self._ended, RequestError):
                if not place:
                    raise self._ended
                yield b"data: " + self._ended.to_json() + b"\n\n"
            if self._ended:
                return
            await self._next()

    async def _next(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        await waiter

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


async def events(worker: Worker, route: str, body: bytes) -> AsyncIterator[bytes]:
    """The events of a model's stream; a refusal before the first is a RequestError, a later one the last event."""
    begun = False
    async for status, event in worker.stream(route, body):
        if status != 200 and not begun:
            raise RequestError.from_json(status, event)
        begun = True
        yield event if status == 200 else b"data: " + event + b"\n\n"


async def counted(
    events: AsyncIterator[bytes], size: int, spend: Callable[[int, int], None], counter: Request
) -> AsyncIterator[bytes]:
    """The events, the first one timed and the tokens counted: before the client knows that it was the last.

    If no event holds the counts, a prompt (of `size` bytes) has a token for four bytes, and each event is one.
    """
    used, seen, begun, told = (0, 0), 0, False, False

    def tell() -> None:
        nonlocal told
        if begun and not told:
            told = True
            counter.end()
            spend(*(used if any(used) else (size // 4, seen)))

    try:
        async for some in events:  # vLLM's come several at a time, the last one with what it used
            if not begun and some != SSE_DONE:
                counter.first()
            begun, ended = True, some.endswith(SSE_DONE)
            seen += some.count(b"\n\n") - ended
            used = tokens(some) if b'"usage":{' in some else used
            if ended:
                tell()
            yield some
    finally:
        tell()


async def _chunks(events: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """OpenAI's events as values."""
    async for event in events:
        for line in event.splitlines():
            if line.startswith(b"data: {"):
                yield orjson.loads(line.removeprefix(b"data: "))


async def whole(first: bytes, events: AsyncIterator[bytes], wrap: Wrap | None, model: str) -> AsyncIterator[bytes]:
    """All events of a stream, the first of which was waited for."""

    async def all_() -> AsyncIterator[bytes]:
        yield first
        async for event in events:
            yield event

    async with aclosing(events):  # type: ignore[type-var]
        async for event in all_() if wrap is None else wrap(model, _chunks(all_())):
            yield event
