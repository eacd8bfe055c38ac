"""Streams of an answer, to be read in a thread or in an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from sqlllm.errors import ModelError

from .effects import AsyncLink, Link, Steps, emitted, emitted_async
from .replies import Delta, Reply

T = TypeVar("T")


def in_thread() -> Link:
    """What carries a call out here; httpx is loaded with it, not before."""
    from .transport import ThreadLink

    return ThreadLink()


def in_loop() -> AsyncLink:
    """The same for an event loop."""
    from .transport import LoopLink

    return LoopLink()


class Stream(Generic[T]):
    """The pieces of an answer: `for delta in llm.stream(...): print(delta, end="")`.

    A stream that is left early ends the request. `reply` is the whole answer.
    """

    def __init__(self, steps: Steps[Reply[T]]) -> None:
        self._reply: Reply[T] | None = None
        self._deltas: Iterator[Delta] = emitted(steps, in_thread(), self._finish)

    def __iter__(self) -> Iterator[Delta]:
        return self

    def __next__(self) -> Delta:
        return next(self._deltas)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def reply(self) -> Reply[T]:
        """The whole answer; what is not yet read of it is read now."""
        for _ in self._deltas:
            pass
        return _whole(self._reply)

    def close(self) -> None:
        """End the request."""
        self._deltas.close()  # type: ignore[attr-defined]

    def _finish(self, reply: Reply[T]) -> None:
        self._reply = reply


class AsyncStream(Generic[T]):
    """`Stream` in an event loop: `async for delta in llm.astream(...)`; `await stream.finish()` is the whole answer."""

    def __init__(self, steps: Steps[Reply[T]]) -> None:
        self._reply: Reply[T] | None = None
        self._deltas: AsyncIterator[Delta] = emitted_async(steps, in_loop(), self._finish)

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self

    async def __anext__(self) -> Delta:
        return await anext(self._deltas)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def finish(self) -> Reply[T]:
        """The whole answer; what is not yet read of it is read now."""
        async for _ in self._deltas:
            pass
        return _whole(self._reply)

    async def close(self) -> None:
        """End the request."""
        await self._deltas.aclose()  # type: ignore[attr-defined]

    def _finish(self, reply: Reply[T]) -> None:
        self._reply = reply


def _whole(reply: Reply[T] | None) -> Reply[T]:
    if reply is None:
        raise ModelError("the stream was left before its end", cure="Read it to its end before `reply`.")
    return reply
