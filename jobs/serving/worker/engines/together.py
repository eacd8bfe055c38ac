"""What waits for a model and is alike goes through it together, in a thread of the model's own."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ...protocol import RequestError

logger = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    kind: Hashable
    item: Any
    future: asyncio.Future[Any]


class Lane:
    """The thread that a model is used in, so that the event loop stays free; first come, first served."""

    def __init__(self, run: Callable[[Any, list[Any]], list[Any]], most: int) -> None:
        """`run(kind, items)` gives a result for each of at most `most` items, or raises for all of them."""
        self._run, self._most = run, most
        self._waiting: deque[_Waiting] = deque()  # its end is the event loop's, its beginning the thread's
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def do(self, kind: Hashable, item: Any) -> Any:
        """The result of an item, which goes together with others of its kind; RequestError if the model fails."""
        waiting = _Waiting(kind, item, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._thread.submit(self._next)
        return await waiting.future

    def _next(self) -> None:
        """Answer the first that waits, and those like it behind it; nothing if an earlier turn has."""
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self._most and (not batch or self._waiting[0].kind == batch[0].kind):
            if not self._waiting[0].future.cancelled():  # who asked has not gone
                batch.append(self._waiting[0])
            self._waiting.popleft()
        if batch:
            for waiting, result in zip(batch, self._results(batch), strict=True):
                waiting.future.get_loop().call_soon_threadsafe(_tell, waiting.future, result)

    def _results(self, batch: list[_Waiting]) -> list[Any]:
        """The result for each; if they fail together, each is tried alone."""
        try:
            return self._run(batch[0].kind, [waiting.item for waiting in batch])
        except Exception as error:
            if len(batch) > 1:
                return [result for waiting in batch for result in self._results([waiting])]
            if isinstance(error, RequestError):
                return [error]
            logger.exception("the model failed")
            return [failure(error)]


def failure(error: Exception) -> RequestError:
    """The error for each caller when a model fails."""
    words = " ".join(str(error).split())
    return RequestError(f"the model failed: {type(error).__name__}: {words}", status=500, kind="server_error")


def _tell(future: asyncio.Future[Any], result: Any) -> None:
    if future.cancelled():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
