"""The streams of models, on their way to clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ..protocol import SSE_DONE, RequestError
from .metrics import Request
from .metrics import counted as tokens
from .models import FAILURES, unavailable

Wrap = Callable[[str, AsyncIterator[dict[str, Any]]], AsyncIterator[bytes]]


class Stream(StreamingResponse):
    """A stream that ends at the model, too, when its client goes away: Starlette alone leaves that to the collector."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().__call__(scope, receive, send)


async def events(handle: Any, name: str, route: str, body: bytes) -> AsyncIterator[bytes]:
    """The events of a stream; a refusal before the first is a RequestError, a later one the last event."""
    begun = False
    try:
        async for status, event in handle.options(stream=True).stream.remote(route, body):
            if status != 200 and not begun:
                raise RequestError.from_json(status, event)
            begun = True
            yield event if status == 200 else b"data: " + event + b"\n\n"
    except FAILURES as error:
        if not begun:
            raise unavailable(name, error) from error
        yield b"data: " + unavailable(name, error).to_json() + b"\n\n"


async def counted(
    events: AsyncIterator[bytes], size: int, spend: Callable[[int, int], None], counter: Request
) -> AsyncIterator[bytes]:
    """The events, the first one timed and the tokens counted: before the client knows that it was the last.

    If no event tells them, a prompt (of `size` bytes) has a token for four bytes, and each event is one.
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
